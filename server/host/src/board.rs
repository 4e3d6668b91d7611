//! What each agent does: written by the supervisor alone, read by anybody, told to observers.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::RwLock;
use vt_backends::{InstalledAgent, LaunchObserver, RunState};
use vt_types::AgentUuid;

/// States by installation, and who wants to know of changes.
#[derive(Default)]
pub struct Board {
    states: RwLock<HashMap<AgentUuid, RunState>>,
    observers: RwLock<Vec<Arc<dyn LaunchObserver>>>,
}

impl Board {
    /// The state of an agent.
    pub fn state(&self, uuid: AgentUuid) -> RunState {
        self.states.read().get(&uuid).cloned().unwrap_or(RunState::NeverStarted)
    }

    /// Adds an observer.
    pub fn observe(&self, observer: Arc<dyn LaunchObserver>) {
        self.observers.write().push(observer);
    }

    /// Sets the state of `agent` and tells the observers.
    pub fn set(&self, agent: &InstalledAgent, state: &RunState) {
        self.states.write().insert(agent.uuid, state.clone());
        // Copied, so that an observer may add another one.
        let observers = self.observers.read().clone();
        for observer in observers {
            if catch_unwind(AssertUnwindSafe(|| observer.on_state(agent, state))).is_err() {
                tracing::error!(agent = %agent.identity, "an observer of agent states panicked; the supervisor goes on");
            }
        }
    }

    /// Forgets an agent that is neither running nor waiting for a restart; says whether it did.
    pub fn forget(&self, uuid: AgentUuid) -> bool {
        let mut states = self.states.write();
        if matches!(states.get(&uuid), Some(RunState::Running { .. } | RunState::BackingOff { .. })) {
            return false;
        }
        states.remove(&uuid);
        true
    }
}
