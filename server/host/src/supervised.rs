//! One agent in the supervisor's care: where it is in its life, and the transitions that need nothing but the agent itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use vt_agent::{AgentKind, Liveness};
use vt_backends::{InstalledAgent, LaunchError, RunState};
use vt_types::Clock;

use crate::HostConfig;
use crate::board::Board;
use crate::restart::{FailureRecord, Verdict};
use crate::thread::{Exit, Grip};

/// Answers a command.
pub type Answer = oneshot::Sender<Result<(), LaunchError>>;

/// An agent that was started at least once.
pub struct Supervised {
    pub agent: InstalledAgent,
    pub kind: AgentKind,
    pub phase: Phase,
    pub record: FailureRecord,
    /// Restarts since the agent was last started on request.
    pub restarts: u32,
}

/// Where an agent is in its life.
pub enum Phase {
    /// The board says how it ended.
    Idle,
    Starting {
        run: Run,
        until: Instant,
        /// `None` for a restart by the supervisor.
        answer: Option<Answer>,
    },
    Running {
        run: Run,
        liveness: Liveness,
        since: Instant,
        /// Whether the last look found it hanging; the second one in a row counts.
        suspected: bool,
    },
    Ending {
        run: Run,
        until: Instant,
        pressed: bool,
        ran: Duration,
        why: Why,
    },
    BackingOff {
        until: Instant,
    },
}

/// One run of an agent.
pub struct Run {
    pub id: u64,
    pub grip: Grip,
}

/// Why an agent is being ended.
pub enum Why {
    Asked(Vec<Answer>),
    Hangs(String),
    /// It did not connect in time; somebody waits for that news.
    NotConnected(Option<Answer>),
}

/// How a run that was being ended came to its end.
#[derive(Clone, Copy)]
pub enum End {
    /// Its thread ended with this exit code.
    Exited(i32),
    /// Its thread hangs and was left behind.
    GivenUp,
}

/// What every agent's transitions need; one field of the supervisor, so that it can be lent beside its map of agents.
pub struct Around {
    pub config: HostConfig,
    pub board: Arc<Board>,
    pub clock: Arc<dyn Clock>,
}

impl Supervised {
    /// Asks the agent to end until `until`; `answer` hears of it.
    pub fn stop(&mut self, until: Instant, answer: Option<Answer>, around: &Around) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle => tell(answer, Ok(())),
            Phase::BackingOff { .. } => {
                let (pid, code) = around.board.state(self.agent.uuid).pid_and_exit_code();
                self.stopped(pid.unwrap_or(0), code.unwrap_or(0), around);
                tell(answer, Ok(()));
            }
            Phase::Starting { run, answer: starter, .. } => {
                tell(starter, Err(LaunchError::System("it was stopped before it was connected".to_owned())));
                run.grip.ask();
                self.phase =
                    Phase::Ending { run, until, pressed: false, ran: Duration::ZERO, why: Why::Asked(answer.into_iter().collect()) };
            }
            Phase::Running { run, since, .. } => {
                run.grip.ask();
                let why = Why::Asked(answer.into_iter().collect());
                self.phase = Phase::Ending { run, until, pressed: false, ran: since.elapsed(), why };
            }
            Phase::Ending { run, until: earlier, pressed, ran, why } => {
                let why = match why {
                    Why::Asked(mut answers) => {
                        answers.extend(answer);
                        Why::Asked(answers)
                    }
                    Why::Hangs(_) => Why::Asked(answer.into_iter().collect()),
                    Why::NotConnected(starter) => {
                        tell(starter, Err(LaunchError::System("it did not connect to the bus in time".to_owned())));
                        Why::Asked(answer.into_iter().collect())
                    }
                };
                self.phase = Phase::Ending { run, until: until.min(earlier), pressed, ran, why };
            }
        }
    }

    /// The end of a run that was being ended.
    pub fn finish(&mut self, pid: u32, end: End, ran: Duration, why: Why, around: &Around) {
        let killed = Exit::killed().code;
        match why {
            Why::Asked(answers) => {
                let exit_code = match end {
                    End::Exited(code) => code,
                    End::GivenUp => killed,
                };
                self.stopped(pid, exit_code, around);
                for answer in answers {
                    tell(Some(answer), if matches!(end, End::GivenUp) { Err(LaunchError::Unresponsive) } else { Ok(()) });
                }
            }
            Why::Hangs(reason) => self.failed(pid, Exit { code: killed, reason }, ran, false, around),
            Why::NotConnected(answer) => {
                let reason = format!("it did not connect to the bus within {} s", around.config.start_limit.as_secs_f32());
                self.failed(pid, Exit { code: killed, reason: reason.clone() }, ran, answer.is_some(), around);
                tell(answer, Err(LaunchError::System(reason)));
            }
        }
    }

    /// Notes that it ended as somebody wanted.
    pub fn stopped(&mut self, pid: u32, exit_code: i32, around: &Around) {
        self.phase = Phase::Idle;
        self.record.failures = 0;
        tracing::info!(agent = %self.agent.identity, pid, exit_code, "agent stopped");
        around.board.set(&self.agent, &RunState::Stopped { pid, exit_code, at: around.clock.now() });
    }

    /// Notes that it failed; books a restart unless it is to be given up.
    pub fn failed(&mut self, pid: u32, exit: Exit, ran: Duration, give_up: bool, around: &Around) {
        let Exit { code: exit_code, reason } = exit;
        let (at, identity) = (around.clock.now(), &self.agent.identity);
        let verdict = self.record.failed(ran, &around.config, rand::random::<f64>());
        let state = match verdict {
            Verdict::RestartAfter(pause) if !give_up => {
                let failures = self.record.failures;
                tracing::warn!(agent = %identity, pid, exit_code, reason, failures, restart_in_s = pause.as_secs_f32(), "agent failed");
                self.phase = Phase::BackingOff { until: Instant::now() + pause };
                let restart_at = at + chrono::TimeDelta::from_std(pause).unwrap_or_default();
                RunState::BackingOff { pid, exit_code, reason, at, restart_at, failures }
            }
            Verdict::RestartAfter(_) | Verdict::GiveUp => {
                tracing::error!(agent = %identity, pid, exit_code, reason, "agent failed and is not started again by itself");
                self.phase = Phase::Idle;
                RunState::Failed { pid, exit_code, reason, at }
            }
        };
        around.board.set(&self.agent, &state);
    }
}

/// Answers, if anybody asked.
pub fn tell(answer: Option<Answer>, result: Result<(), LaunchError>) {
    if let Some(answer) = answer {
        // Whoever asked stopped waiting.
        drop(answer.send(result));
    }
}
