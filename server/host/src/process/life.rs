//! One agent's life as a child process: started, watched, started again when it fails, stopped step by step. A task of its own owns all of
//! its state; it ends when the agent neither runs nor waits for a restart.

use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use vt_backends::{InstalledAgent, LaunchError, PythonSource, RunState};
use vt_types::AgentUuid;

use super::Shared;
use super::config::StopLadder;
use super::crashes::{Crashes, Verdict};
use super::isolation::{AgentUser, Isolation};
use super::launch::Launch;
use super::relay::{self, LastWords, Stream};

/// How long the last lines of an agent's output are waited for after its end.
const LAST_LINES_LIMIT: Duration = Duration::from_secs(2);

/// Answers a command.
pub type Answer = oneshot::Sender<Result<(), LaunchError>>;

/// What others ask for.
pub enum Command {
    Start(Box<(InstalledAgent, PythonSource)>, Answer),
    Stop(Answer),
    /// Everything ends: with the shorter limits for that.
    StopAll,
}

/// The life of one agent.
pub struct Life {
    shared: Arc<Shared>,
    uuid: AgentUuid,
    commands: mpsc::Receiver<Command>,
    crashes: Crashes,
    restarts: u32,
}

/// A running process.
struct Run {
    child: Child,
    pid: Pid,
    since: Instant,
    relays: JoinSet<()>,
    last: LastWords,
    /// The user of its own.
    user: Option<AgentUser>,
}

/// How a run came to its end.
struct End {
    exit_code: i32,
    ran: Duration,
    reason: String,
    /// Who wanted it; `None` if it ended by itself.
    asked: Option<Vec<Answer>>,
}

/// How a stop is going.
struct Stopping {
    ladder: StopLadder,
    last_sent: Signal,
    until: Instant,
    answers: Vec<Answer>,
}

impl Life {
    pub fn new(shared: Arc<Shared>, uuid: AgentUuid, commands: mpsc::Receiver<Command>) -> Self {
        Self { shared, uuid, commands, crashes: Crashes::default(), restarts: 0 }
    }

    /// Obeys until there is nothing to do.
    pub async fn run(mut self) {
        while let Some(command) = self.next_or_leave() {
            match command {
                Command::Start(what, answer) => self.live(*what, answer).await,
                Command::Stop(answer) => tell(answer, Ok(())),
                Command::StopAll => {}
            }
        }
        self.shared.ended.notify_waiters();
    }

    /// The next command; without one this task is no longer known to others.
    fn next_or_leave(&mut self) -> Option<Command> {
        let mut lives = self.shared.lives.lock();
        let command = self.commands.try_recv().ok();
        if command.is_none() {
            lives.remove(&self.uuid);
        }
        command
    }

    /// From a start on request until the agent has stopped or is given up.
    async fn live(&mut self, (mut agent, mut python): (InstalledAgent, PythonSource), answer: Answer) {
        let mut answer = Some(answer);
        (self.crashes, self.restarts) = (Crashes::default(), 0);
        loop {
            let end = match self.launch(&agent, &python).await {
                Ok(run) => {
                    let pid = run.pid;
                    let state = RunState::Running { pid: number(pid), since: self.shared.clock.now(), restarts: self.restarts };
                    tracing::info!(agent = %agent.identity, pid = number(pid), restarts = self.restarts, "agent started");
                    self.shared.board.set(&agent, &state);
                    if let Some(answer) = answer.take() {
                        tell(answer, Ok(()));
                    }
                    let end = self.attend(run, &agent).await;
                    (pid, end)
                }
                Err(error) => {
                    if let Some(answer) = answer.take() {
                        return tell(answer, Err(error));
                    }
                    let end = End { exit_code: 1, ran: Duration::ZERO, reason: error.to_string(), asked: None };
                    (Pid::from_raw(0), end)
                }
            };
            let (pid, End { exit_code, ran, reason, asked }) = end;
            let (pid, at) = (number(pid), self.shared.clock.now());
            if exit_code == 0 || asked.is_some() {
                tracing::info!(agent = %agent.identity, pid, exit_code, "agent stopped");
                self.shared.board.set(&agent, &RunState::Stopped { pid, exit_code, at });
                return asked.into_iter().flatten().for_each(|answer| tell(answer, Ok(())));
            }
            let Verdict::RestartAfter(pause) = self.crashes.failed(ran, &self.shared.config) else {
                tracing::error!(agent = %agent.identity, pid, exit_code, reason, "agent failed and is not started again by itself");
                return self.shared.board.set(&agent, &RunState::Failed { pid, exit_code, reason, at });
            };
            let failures = self.crashes.count();
            tracing::warn!(agent = %agent.identity, pid, exit_code, reason, failures, restart_in_s = pause.as_secs_f32(), "agent failed");
            let restart_at = at + chrono::TimeDelta::from_std(pause).unwrap_or_default();
            self.shared.board.set(&agent, &RunState::BackingOff { pid, exit_code, reason, at, restart_at, failures });
            match self.pause(pause).await {
                Some(Command::Start(what, wanted)) => {
                    (agent, python) = *what;
                    answer = Some(wanted);
                    (self.crashes, self.restarts) = (Crashes::default(), 0);
                }
                Some(command @ (Command::Stop(_) | Command::StopAll)) => {
                    self.shared.board.set(&agent, &RunState::Stopped { pid, exit_code, at });
                    if let Command::Stop(answer) = command {
                        tell(answer, Ok(()));
                    }
                    return;
                }
                None => self.restarts += 1,
            }
        }
    }

    /// Waits before a restart; a command ends the wait.
    async fn pause(&mut self, pause: Duration) -> Option<Command> {
        tokio::select! {
            biased;
            () = self.shared.all.cancelled() => Some(Command::StopAll),
            command = self.commands.recv() => Some(command.unwrap_or(Command::StopAll)),
            () = tokio::time::sleep(pause) => None,
        }
    }

    async fn launch(&self, agent: &InstalledAgent, python: &PythonSource) -> Result<Run, LaunchError> {
        let shared = &self.shared;
        let system = |error: std::io::Error| LaunchError::System(error.to_string());
        let limits = shared.config.limits.of_package(&python.information(&agent.name)).map_err(LaunchError::System)?;
        let user = match &shared.isolation {
            Some(isolation) => Some(isolation.admit(agent, python).await.map_err(LaunchError::System)?),
            None => None,
        };
        let Launch { program, arguments, directory, environment } = Launch::new(agent, python, &shared.config, user.as_ref());
        let mut command = std::process::Command::new(&program);
        command.args(arguments).current_dir(&directory).env_clear().envs(environment);
        let mut harness = shared.groups.harness(agent.uuid.as_str(), &limits).map_err(system)?;
        harness.limits.extend(limits.of_user(user.is_some()));
        harness.user = user.clone();
        let mut child = shared
            .spawner
            .spawn(command, harness)
            .await
            .map_err(|error| LaunchError::System(format!("{} in {}: {error}", program.display(), directory.display())))?;
        let id = child.id().unwrap_or(0);
        if let Some(user) = &user {
            shared.users.lock().insert(agent.uuid, user.name.clone());
        }
        if let Err(error) = shared.records.begin(agent.uuid.as_str(), id) {
            tracing::warn!(agent = %agent.identity, %error, "the process of an agent could not be written down; it is not recognised should this server be killed");
        }
        // At the level that every filter lets through: log lines need these fields.
        let span = tracing::error_span!("agent", agent = %agent.identity, agent_name = %agent.name, pid = id);
        let (mut relays, last) = (JoinSet::new(), Arc::new(Mutex::new(String::new())));
        let relay = |stream, last: &LastWords| (stream, shared.config.clone(), span.clone(), Arc::clone(last));
        if let Some(source) = child.stdout.take() {
            let (stream, config, span, last) = relay(Stream::Out, &last);
            relays.spawn(relay::relay(stream, source, config, span, last));
        }
        if let Some(source) = child.stderr.take() {
            let (stream, config, span, last) = relay(Stream::Err, &last);
            relays.spawn(relay::relay(stream, source, config, span, last));
        }
        let pid = Pid::from_raw(i32::try_from(id).unwrap_or(0));
        Ok(Run { child, pid, since: Instant::now(), relays, last, user })
    }

    /// Watches a run to its end.
    async fn attend(&mut self, mut run: Run, agent: &InstalledAgent) -> End {
        let mut stopping: Option<Stopping> = None;
        let mut is_killed = false;
        let status = loop {
            let until = stopping.as_ref().map(|stopping| stopping.until);
            tokio::select! {
                status = run.child.wait() => break status,
                command = self.commands.recv() => match command {
                    Some(Command::Start(_, answer)) => tell(answer, Err(LaunchError::AlreadyRunning)),
                    Some(Command::Stop(answer)) => {
                        let ladder = self.shared.config.stop;
                        stopping.get_or_insert_with(|| Stopping::begin(run.pid, ladder)).answers.push(answer);
                    }
                    Some(Command::StopAll) | None => {
                        let ladder = self.shared.config.stop_all;
                        stopping.get_or_insert_with(|| Stopping::begin(run.pid, ladder)).hurry(ladder);
                    }
                },
                () = sleep_until(until) => {
                    if let Some(stopping) = &mut stopping {
                        stopping.press(run.pid, agent);
                    }
                }
                () = self.shared.all.cancelled(), if !is_killed => {
                    is_killed = true;
                    signal_group(run.pid, Signal::SIGKILL);
                }
            }
        };
        let ran = run.since.elapsed();
        self.clear_up(&mut run, agent).await;
        let exit_code = status.as_ref().ok().and_then(exit_code).unwrap_or(-1);
        let words = run.last.lock().trim().to_owned();
        let reason = reason(exit_code, &words);
        End { exit_code, ran, reason, asked: stopping.map(|stopping| stopping.answers) }
    }

    /// Ends whatever the process left behind.
    async fn clear_up(&self, run: &mut Run, agent: &InstalledAgent) {
        signal_group(run.pid, Signal::SIGKILL);
        if let Some(user) = run.user.take()
            && let Err(error) = tokio::task::spawn_blocking(move || Isolation::end_processes(user.uid)).await
        {
            tracing::warn!(agent = %agent.identity, %error, "processes of the agent's user could not be looked for");
        }
        self.shared.groups.end(agent.uuid.as_str());
        self.shared.records.end(agent.uuid.as_str());
        self.shared.users.lock().remove(&agent.uuid);
        let relays = std::mem::take(&mut run.relays);
        if tokio::time::timeout(LAST_LINES_LIMIT, relays.join_all()).await.is_err() {
            tracing::debug!(agent = %agent.identity, "somebody else still holds the agent's output");
        }
        if self.shared.bus.disconnect(&agent.identity) {
            tracing::debug!(agent = %agent.identity, "the peer of an agent that has ended was taken off the bus");
        }
    }
}

impl Stopping {
    fn begin(pid: Pid, ladder: StopLadder) -> Self {
        // To the process itself, which passes it on or not, as from VOLTTRON.
        signal(pid, Signal::SIGINT);
        Self { ladder, last_sent: Signal::SIGINT, until: Instant::now() + ladder.interrupt, answers: Vec::new() }
    }

    /// From now on the limits of `ladder` hold.
    fn hurry(&mut self, ladder: StopLadder) {
        let limit = match self.last_sent {
            Signal::SIGINT => ladder.interrupt,
            Signal::SIGTERM => ladder.terminate,
            _ => ladder.kill,
        };
        self.until = self.until.min(Instant::now() + limit);
        self.ladder = ladder;
    }

    /// The next step.
    fn press(&mut self, pid: Pid, agent: &InstalledAgent) {
        let now = Instant::now();
        match self.last_sent {
            Signal::SIGINT => {
                tracing::warn!(agent = %agent.identity, pid = number(pid), "agent does not end when interrupted; it gets SIGTERM");
                signal(pid, Signal::SIGTERM);
                (self.last_sent, self.until) = (Signal::SIGTERM, now + self.ladder.terminate);
            }
            Signal::SIGTERM => {
                tracing::warn!(agent = %agent.identity, pid = number(pid), "agent does not end when told; it gets SIGKILL");
                signal_group(pid, Signal::SIGKILL);
                (self.last_sent, self.until) = (Signal::SIGKILL, now + self.ladder.kill);
            }
            _ => {
                tracing::error!(agent = %agent.identity, pid = number(pid), "agent does not end even by force");
                self.answers.drain(..).for_each(|answer| tell(answer, Err(LaunchError::Unresponsive)));
                self.until = now + self.ladder.kill;
            }
        }
    }
}

/// VOLTTRON's: the code, or the signal's number with a minus.
fn exit_code(status: &std::process::ExitStatus) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| -signal))
}

fn reason(exit_code: i32, last_words: &str) -> String {
    let how = match Signal::try_from(-exit_code) {
        Ok(signal) if exit_code < 0 => format!("it was ended by {signal}"),
        _ => format!("exit code {exit_code}"),
    };
    if last_words.is_empty() {
        return how;
    }
    let last = last_words.lines().last().unwrap_or_default();
    format!("{how}: {}", last.chars().take(300).collect::<String>())
}

fn signal(pid: Pid, signal: Signal) {
    if pid.as_raw() > 1 {
        note(pid, kill(pid, signal));
    }
}

fn signal_group(pid: Pid, signal: Signal) {
    if pid.as_raw() > 1 {
        note(pid, killpg(pid, signal));
    }
}

fn note(pid: Pid, result: nix::Result<()>) {
    match result {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::warn!(pid = number(pid), %error, "a process could not be sent a signal"),
    }
}

fn number(pid: Pid) -> u32 {
    u32::try_from(pid.as_raw()).unwrap_or(0)
}

fn tell(answer: Answer, result: Result<(), LaunchError>) {
    // Whoever asked may have stopped waiting.
    drop(answer.send(result));
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
