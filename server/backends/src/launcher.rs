//! Starting and stopping agents, whatever they are made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use vt_types::timestamp::Timestamp;
use vt_types::{AgentUuid, Identity};

use crate::InstalledAgent;

/// One kind of agent that can be installed without bringing code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentKindInfo {
    /// Its name in the catalogue, such as `platform_driver`.
    pub kind: String,
    /// Name and version once installed, such as `platform_driveragent-4.0`.
    pub name: String,
    /// Identity it gets unless told otherwise; may contain `{n}` for numbering.
    pub default_identity: String,
    /// One sentence on what it does.
    pub summary: String,
}

/// What an agent is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// It was not started since the platform started.
    NeverStarted,
    /// It is running.
    Running {
        /// Process id, or thread id of an in-process agent; another one after each start.
        pid: u32,
        /// Since when.
        since: Timestamp,
        /// Restarts by the supervisor since it was last started on request.
        restarts: u32,
    },
    /// It ended by request or by itself.
    Stopped {
        /// Process or thread id it had.
        pid: u32,
        /// 0 for a wanted end; negative = signal.
        exit_code: i32,
        /// When.
        at: Timestamp,
    },
    /// It failed and will be started again.
    BackingOff {
        /// Process or thread id it had.
        pid: u32,
        /// Its exit code; not 0.
        exit_code: i32,
        /// Why, one sentence.
        reason: String,
        /// When it failed.
        at: Timestamp,
        /// When it will be started.
        restart_at: Timestamp,
        /// Failures in a row.
        failures: u32,
    },
    /// It failed too often; the supervisor gave up until somebody starts it.
    Failed {
        /// Process or thread id it had.
        pid: u32,
        /// Its exit code; not 0.
        exit_code: i32,
        /// Why, one sentence.
        reason: String,
        /// When.
        at: Timestamp,
    },
}

impl RunState {
    /// VOLTTRON's `[pid, exit code]`: `(None, None)` never started, `(pid, None)` running, `(pid, code)` ended.
    #[must_use]
    pub fn pid_and_exit_code(&self) -> (Option<u32>, Option<i32>) {
        match self {
            Self::NeverStarted => (None, None),
            Self::Running { pid, .. } => (Some(*pid), None),
            Self::Stopped { pid, exit_code, .. } | Self::BackingOff { pid, exit_code, .. } | Self::Failed { pid, exit_code, .. } => {
                (Some(*pid), Some(*exit_code))
            }
        }
    }

    /// Whether it is running now.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. })
    }

    /// Whether it is running or will be started again without anybody's doing.
    #[must_use]
    pub fn is_meant_to_run(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::BackingOff { .. })
    }
}

/// Why an agent could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// It runs.
    #[error("agent is already running")]
    AlreadyRunning,
    /// Its source is not known here.
    #[error("this server has no agent of kind {0:?}; see the list of kinds")]
    UnknownKind(String),
    /// Its configuration cannot be used.
    #[error("the configuration of {identity} cannot be used: {problem}")]
    Configuration {
        /// Whose.
        identity: Identity,
        /// Which field and why.
        problem: String,
    },
    /// Somebody else is connected under its identity.
    #[error("the identity {0} is in use by another peer")]
    IdentityInUse(Identity),
    /// It did not end in time, even when pressed.
    #[error("process is unresponsive")]
    Unresponsive,
    /// The system refused (threads, processes, memory).
    #[error("the agent could not be started: {0}")]
    System(String),
}

/// Is told of every change of a [`RunState`]. Must not block.
pub trait LaunchObserver: Send + Sync {
    /// `agent` is now in `state`.
    fn on_state(&self, agent: &InstalledAgent, state: &RunState);
}

/// Starts, stops and supervises agents.
#[async_trait]
pub trait AgentLauncher: Send + Sync {
    /// The built-in kinds, by name.
    fn kinds(&self) -> Vec<AgentKindInfo>;

    /// Starts; returns when the agent is connected to the bus (or was refused), or, of a package in Python, when its process runs.
    ///
    /// # Errors
    /// [`LaunchError`].
    async fn start(&self, agent: &InstalledAgent) -> Result<(), LaunchError>;

    /// Stops and ends supervision; returns when the agent is off the bus. Stopping one that does not run is fine.
    ///
    /// # Errors
    /// [`LaunchError::Unresponsive`].
    async fn stop(&self, uuid: AgentUuid) -> Result<(), LaunchError>;

    /// Stops all, in parallel, within the launcher's time limit.
    async fn stop_all(&self);

    /// What the agent is doing.
    fn state(&self, uuid: AgentUuid) -> RunState;

    /// Forgets the state of an agent that does not run; it is `NeverStarted` then.
    fn forget(&self, uuid: AgentUuid);

    /// Adds an observer.
    fn observe(&self, observer: Arc<dyn LaunchObserver>);

    /// Unix users of the agents that run as one of their own; `None` where agents have none.
    fn users(&self) -> Option<BTreeMap<AgentUuid, String>> {
        None
    }
}
