//! Time limits and bounds of the host.

use std::time::Duration;

/// How patient the host is. The defaults are meant for production; tests shorten them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// Name of the instance, part of alert topics.
    pub instance_name: String,
    /// Period of every agent's heartbeat; `None` for none.
    pub heartbeat: Option<Duration>,
    /// How long an agent may take until it is connected to the bus.
    pub start_limit: Duration,
    /// How long one agent may take to end by itself once it is asked to.
    pub stop_grace: Duration,
    /// The same when all agents are stopped, which happens in parallel.
    pub stop_all_grace: Duration,
    /// How long an agent may take to end once its future was dropped; then its thread is abandoned.
    pub kill_grace: Duration,
    /// How often signs of life are read.
    pub check_interval: Duration,
    /// An agent whose thread ran no task for this long hangs.
    pub silent_max: Duration,
    /// An agent that did not ask for its next event for this long hangs.
    pub busy_max: Duration,
    /// Pause before the first restart; it doubles with each further failure in a row.
    pub backoff_first: Duration,
    /// Longest pause before a restart.
    pub backoff_max: Duration,
    /// An agent that ran this long starts to count its failures anew.
    pub backoff_reset_after: Duration,
    /// With this many failures in a row the supervisor gives up until somebody starts the agent.
    pub failures_max: u32,
    /// With this many hanging threads left behind by one agent the supervisor gives up, and refuses to start it while they hang.
    pub abandoned_max: u32,
    /// Threads for blocking work (files, databases) that one agent may use at the same time; further work waits.
    pub blocking_threads_max: usize,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            instance_name: "volttron".to_owned(),
            heartbeat: Some(Duration::from_secs(60)),
            start_limit: Duration::from_secs(20),
            stop_grace: Duration::from_secs(10),
            stop_all_grace: Duration::from_secs(3),
            kill_grace: Duration::from_secs(1),
            check_interval: Duration::from_secs(1),
            silent_max: Duration::from_secs(10),
            busy_max: Duration::from_secs(120),
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(300),
            backoff_reset_after: Duration::from_secs(600),
            failures_max: 10,
            abandoned_max: 3,
            blocking_threads_max: 16,
        }
    }
}
