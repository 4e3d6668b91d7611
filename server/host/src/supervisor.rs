//! The one task that owns the state of every agent: it takes commands, reads signs of life, restarts what failed and presses what does
//! not end. It waits for nothing but events and deadlines, so one agent never keeps it from another.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vt_agent::{AgentKind, Liveness};
use vt_backends::{InstalledAgent, LaunchError, RunState};
use vt_bus::Bus;
use vt_types::AgentUuid;

use crate::restart::FailureRecord;
use crate::supervised::{Answer, Around, End, Phase, Run, Supervised, Why, tell};
use crate::thread::{self, Exit, Job, Reports};

/// What others ask for.
pub enum Command {
    /// Start an agent of this kind.
    Start(Box<InstalledAgent>, AgentKind, Answer),
    /// Stop an agent and end its supervision.
    Stop(AgentUuid, Answer),
    /// Stop all agents.
    StopAll(oneshot::Sender<()>),
}

/// The supervisor; [`Supervisor::run`] is its task.
pub struct Supervisor {
    bus: Bus,
    around: Around,
    /// Agents that were forgotten and of which nothing need be kept.
    forgotten: Arc<Mutex<Vec<AgentUuid>>>,
    commands: mpsc::Receiver<Command>,
    /// Cancelled when the host is dropped; parent of every agent's stop token.
    all: CancellationToken,
    agents: HashMap<AgentUuid, Supervised>,
    reports: FuturesUnordered<BoxFuture<'static, Report>>,
    stopping_all: Vec<oneshot::Sender<()>>,
    runs: u64,
    checked: Instant,
}

/// What a thread reports.
struct Report {
    uuid: AgentUuid,
    run: u64,
    news: News,
}

enum News {
    Connected(Result<Liveness, LaunchError>, oneshot::Receiver<Exit>),
    Ended(Exit),
}

impl Supervisor {
    /// A supervisor of no agents yet.
    pub fn new(
        bus: Bus,
        around: Around,
        forgotten: Arc<Mutex<Vec<AgentUuid>>>,
        commands: mpsc::Receiver<Command>,
        all: CancellationToken,
    ) -> Self {
        Self {
            bus,
            around,
            forgotten,
            commands,
            all,
            agents: HashMap::new(),
            reports: FuturesUnordered::new(),
            stopping_all: Vec::new(),
            runs: 0,
            checked: Instant::now(),
        }
    }

    /// Runs until the host is dropped.
    pub async fn run(mut self) {
        let mut check = tokio::time::interval(self.around.config.check_interval);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let deadline = self.next_deadline();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => break,
                },
                Some(report) = self.reports.next() => self.take(report),
                () = sleep_until(deadline) => {}
                _ = check.tick() => self.look_for_hanging(),
            }
            self.meet_deadlines();
            self.tidy();
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Start(agent, kind, answer) => self.start_on_request(*agent, kind, answer),
            Command::Stop(uuid, answer) => match self.agents.get_mut(&uuid) {
                Some(supervised) => {
                    let until = Instant::now() + self.around.config.stop_grace;
                    supervised.stop(until, Some(answer), &self.around);
                }
                None => tell(Some(answer), Ok(())),
            },
            Command::StopAll(done) => {
                let until = Instant::now() + self.around.config.stop_all_grace;
                for supervised in self.agents.values_mut() {
                    supervised.stop(until, None, &self.around);
                }
                self.stopping_all.push(done);
            }
        }
    }

    fn start_on_request(&mut self, agent: InstalledAgent, kind: AgentKind, answer: Answer) {
        let uuid = agent.uuid;
        let supervised = match self.agents.entry(uuid) {
            Place::Occupied(place) => {
                let known = place.into_mut();
                if !matches!(known.phase, Phase::Idle | Phase::BackingOff { .. }) {
                    return tell(Some(answer), Err(LaunchError::AlreadyRunning));
                }
                // Its configuration or tag may have changed since.
                known.agent = agent;
                known.kind = kind;
                known.record.failures = 0;
                known.restarts = 0;
                known
            }
            Place::Vacant(place) => {
                place.insert(Supervised { agent, kind, phase: Phase::Idle, record: FailureRecord::default(), restarts: 0 })
            }
        };
        let hanging = supervised.record.abandoned;
        if hanging >= self.around.config.abandoned_max {
            let problem = format!("{hanging} threads of earlier runs still hang; restart the platform to get rid of them");
            return tell(Some(answer), Err(LaunchError::System(problem)));
        }
        self.launch(uuid, Some(answer));
    }

    /// Starts a run of an agent that has none.
    fn launch(&mut self, uuid: AgentUuid, answer: Option<Answer>) {
        let Some(supervised) = self.agents.get_mut(&uuid) else { return };
        let job = Job::new(&self.bus, supervised.kind.clone(), &supervised.agent, &self.around.config, Arc::clone(&self.around.clock));
        match thread::start(job, self.all.child_token()) {
            Ok((grip, Reports { connected, ended })) => {
                self.runs += 1;
                let run = self.runs;
                supervised.phase =
                    Phase::Starting { run: Run { id: run, grip }, until: Instant::now() + self.around.config.start_limit, answer };
                self.reports.push(Box::pin(async move {
                    let gone = || LaunchError::System("the agent's thread ended before it was connected".to_owned());
                    let result = connected.await.unwrap_or_else(|_| Err(gone()));
                    Report { uuid, run, news: News::Connected(result, ended) }
                }));
            }
            Err(error) => self.could_not_start(uuid, 0, error, answer),
        }
    }

    /// An agent did not come up: whoever asked is told; a restart is tried again later.
    fn could_not_start(&mut self, uuid: AgentUuid, pid: u32, error: LaunchError, answer: Option<Answer>) {
        let Some(supervised) = self.agents.get_mut(&uuid) else { return };
        let exit = Exit { code: 1, reason: error.to_string() };
        let give_up = answer.is_some();
        supervised.failed(pid, exit, Duration::ZERO, give_up, &self.around);
        tell(answer, Err(error));
    }

    fn take(&mut self, report: Report) {
        let Report { uuid, run, news } = report;
        match news {
            News::Connected(Ok(liveness), ended) => {
                self.reports.push(Box::pin(async move {
                    let lost = Exit { code: 1, reason: "its thread ended without a word".to_owned() };
                    Report { uuid, run, news: News::Ended(ended.await.unwrap_or(lost)) }
                }));
                self.connected(uuid, run, liveness);
            }
            News::Connected(Err(error), _) => self.refused(uuid, run, error),
            News::Ended(exit) => self.ended(uuid, run, exit),
        }
    }

    fn connected(&mut self, uuid: AgentUuid, run_id: u64, liveness: Liveness) {
        let Some(supervised) = self.agents.get_mut(&uuid) else { return };
        match std::mem::replace(&mut supervised.phase, Phase::Idle) {
            Phase::Starting { run, answer, .. } if run.id == run_id => {
                let pid = run.grip.pid();
                let state = RunState::Running { pid, since: self.around.clock.now(), restarts: supervised.restarts };
                supervised.phase = Phase::Running { run, liveness, since: Instant::now(), suspected: false };
                tracing::info!(agent = %supervised.agent.identity, pid, restarts = supervised.restarts, "agent started");
                self.around.board.set(&supervised.agent, &state);
                tell(answer, Ok(()));
            }
            // It is being stopped already, or it was abandoned.
            other => supervised.phase = other,
        }
    }

    fn refused(&mut self, uuid: AgentUuid, run_id: u64, error: LaunchError) {
        let Some(supervised) = self.agents.get_mut(&uuid) else { return };
        match std::mem::replace(&mut supervised.phase, Phase::Idle) {
            Phase::Starting { run, answer, .. } if run.id == run_id => self.could_not_start(uuid, run.grip.pid(), error, answer),
            other => {
                supervised.phase = other;
                self.ended(uuid, run_id, Exit { code: 1, reason: error.to_string() });
            }
        }
    }

    fn ended(&mut self, uuid: AgentUuid, run_id: u64, exit: Exit) {
        let Some(supervised) = self.agents.get_mut(&uuid) else { return };
        match std::mem::replace(&mut supervised.phase, Phase::Idle) {
            Phase::Running { run, since, .. } if run.id == run_id => {
                let pid = run.grip.pid();
                if exit.code == 0 {
                    supervised.stopped(pid, 0, &self.around);
                } else {
                    supervised.failed(pid, exit, since.elapsed(), false, &self.around);
                }
            }
            Phase::Ending { run, ran, why, .. } if run.id == run_id => {
                supervised.finish(run.grip.pid(), End::Exited(exit.code), ran, why, &self.around);
            }
            other => {
                // A thread that had been abandoned came to its end after all.
                supervised.phase = other;
                supervised.record.abandoned = supervised.record.abandoned.saturating_sub(1);
                tracing::info!(agent = %supervised.agent.identity, "a thread that had been given up has ended");
            }
        }
    }

    fn look_for_hanging(&mut self) {
        let now = Instant::now();
        // When the supervisor itself was kept from running, so were the agents: that proves nothing about them.
        let late = now - self.checked > self.around.config.check_interval * 3;
        self.checked = now;
        if late {
            return;
        }
        let (silent_max, busy_max) = (millis(self.around.config.silent_max), millis(self.around.config.busy_max));
        for supervised in self.agents.values_mut() {
            let Phase::Running { run, liveness, since, suspected } = &mut supervised.phase else { continue };
            let (silent_ms, busy_ms) = (liveness.silent_ms(), liveness.busy_ms());
            let reason = if silent_ms > silent_max {
                format!("hung: its thread has been blocked for {silent_ms} ms")
            } else if busy_ms > busy_max {
                format!("hung: it has not asked for its next event for {busy_ms} ms")
            } else {
                *suspected = false;
                continue;
            };
            if !std::mem::replace(suspected, true) {
                continue;
            }
            tracing::error!(agent = %supervised.agent.identity, pid = run.grip.pid(), reason, "agent hangs; it is ended");
            run.grip.ask();
            run.grip.press();
            let (id, grip, ran) = (run.id, run.grip.clone(), since.elapsed());
            supervised.phase = Phase::Ending {
                run: Run { id, grip },
                until: now + self.around.config.kill_grace,
                pressed: true,
                ran,
                why: Why::Hangs(reason),
            };
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.agents
            .values()
            .filter_map(|supervised| match supervised.phase {
                Phase::Starting { until, .. } | Phase::Ending { until, .. } | Phase::BackingOff { until } => Some(until),
                Phase::Idle | Phase::Running { .. } => None,
            })
            .min()
    }

    fn meet_deadlines(&mut self) {
        let now = Instant::now();
        let mut due = Vec::new();
        for (uuid, supervised) in &mut self.agents {
            match std::mem::replace(&mut supervised.phase, Phase::Idle) {
                Phase::BackingOff { until } if until <= now => due.push(*uuid),
                Phase::Starting { run, until, answer } if until <= now => {
                    run.grip.ask();
                    run.grip.press();
                    let until = now + self.around.config.kill_grace;
                    supervised.phase = Phase::Ending { run, until, pressed: true, ran: Duration::ZERO, why: Why::NotConnected(answer) };
                }
                Phase::Ending { run, until, pressed: false, ran, why } if until <= now => {
                    tracing::warn!(agent = %supervised.agent.identity, pid = run.grip.pid(), "agent does not end by itself; it is pressed");
                    run.grip.press();
                    supervised.phase = Phase::Ending { run, until: now + self.around.config.kill_grace, pressed: true, ran, why };
                }
                Phase::Ending { run, until, pressed: true, ran, why } if until <= now => {
                    supervised.record.abandoned += 1;
                    let (pid, hanging) = (run.grip.pid(), supervised.record.abandoned);
                    tracing::error!(agent = %supervised.agent.identity, pid, hanging, "agent's thread does not end; it is given up");
                    supervised.finish(pid, End::GivenUp, ran, why, &self.around);
                }
                other => supervised.phase = other,
            }
        }
        for uuid in due {
            if let Some(supervised) = self.agents.get_mut(&uuid) {
                supervised.restarts += 1;
            }
            self.launch(uuid, None);
        }
    }

    /// Answers those who wait for all to stop; drops what need not be kept.
    fn tidy(&mut self) {
        if !self.stopping_all.is_empty() && self.agents.values().all(|supervised| matches!(supervised.phase, Phase::Idle)) {
            for done in self.stopping_all.drain(..) {
                if done.send(()).is_err() {
                    tracing::debug!("whoever asked for all agents to stop is gone");
                }
            }
        }
        let forgotten = std::mem::take(&mut *self.forgotten.lock());
        for uuid in forgotten {
            if let Place::Occupied(place) = self.agents.entry(uuid)
                && matches!(place.get().phase, Phase::Idle)
            {
                place.remove();
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
