//! Bounds and places of agents that run as child processes.

use std::path::PathBuf;
use std::time::Duration;

use super::limits::Limits;

/// How child processes are started, stopped and limited. The defaults are meant for production; tests shorten them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessConfig {
    /// The platform's home; absolute.
    pub home: PathBuf,
    /// What every agent's environment begins with. Nothing else of the server's own environment reaches an agent.
    pub environment: Vec<(String, String)>,
    /// Interpreter of agents that have no environment of their own.
    pub interpreter: String,
    /// How one agent is stopped.
    pub stop: StopLadder,
    /// How all are stopped, which happens in parallel.
    pub stop_all: StopLadder,
    /// A failed agent is started again after 0, 1, 2 ... times this pause.
    pub restart_step: Duration,
    /// Restarts in a row before the supervisor gives up.
    pub restarts_max: u32,
    /// An agent that ran this long starts to count its failures anew.
    pub reset_after: Duration,
    /// Longest line of an agent's output that is kept, bytes; the rest of a longer one is cut off.
    pub line_bytes_max: usize,
    /// Lines per second and stream that are logged; further ones are dropped and counted.
    pub lines_per_s_max: u32,
    /// What each agent may use, unless its package asks for less.
    pub limits: Limits,
    /// Each agent runs as a Unix user of its own, in a group named after this instance; `None` for the platform's own user.
    pub isolate_as: Option<String>,
}

/// How long each step of stopping waits before the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopLadder {
    /// After SIGINT.
    pub interrupt: Duration,
    /// After SIGTERM.
    pub terminate: Duration,
    /// After SIGKILL; then the process is reported as unresponsive.
    pub kill: Duration,
}

impl ProcessConfig {
    /// The defaults for a home.
    #[must_use]
    pub fn new(home: PathBuf) -> Self {
        let s = Duration::from_secs;
        Self {
            home,
            environment: Vec::new(),
            interpreter: "python3".to_owned(),
            stop: StopLadder { interrupt: s(60), terminate: s(30), kill: s(30) },
            stop_all: StopLadder { interrupt: s(5), terminate: s(2), kill: s(2) },
            restart_step: s(300),
            restarts_max: 5,
            reset_after: s(600),
            line_bytes_max: 16 << 10,
            lines_per_s_max: 1000,
            limits: Limits::default(),
            isolate_as: None,
        }
    }
}
