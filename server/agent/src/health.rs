//! Status, heartbeat and alerts of one agent. Source: VOLTTRON `vip/agent/subsystems/{health,heartbeat}.py`.

use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;
use vt_types::timestamp::Timestamp;
use vt_types::{Identity, Status, StatusWord};

/// Period of the heartbeat unless changed.
pub const HEARTBEAT_PERIOD_S: u64 = 60;

#[derive(Debug)]
pub(crate) struct Health {
    state: Mutex<State>,
    /// Woken when the heartbeat is to be sent at once or its period changed.
    pub beat: Notify,
}

#[derive(Debug)]
struct State {
    status: Status,
    period: Option<Duration>,
}

impl Health {
    pub fn new(now: Timestamp, period: Option<Duration>) -> Self {
        let status = Status { word: StatusWord::Good, context: Value::Null, last_updated: now };
        Self { state: Mutex::new(State { status, period }), beat: Notify::new() }
    }

    /// Sets the status; a changed word or reason sends a heartbeat at once, upon which the health service asks for the reason.
    pub fn set(&self, word: StatusWord, context: Value, now: Timestamp) {
        let mut state = self.state.lock();
        let changed = state.status.word != word || state.status.context != context;
        state.status = Status { word, context, last_updated: now };
        drop(state);
        if changed {
            self.beat.notify_one();
        }
    }

    pub fn status(&self) -> Status {
        self.state.lock().status.clone()
    }

    pub fn period(&self) -> Option<Duration> {
        self.state.lock().period
    }

    /// `None` stops the heartbeat.
    pub fn set_period(&self, period: Option<Duration>) {
        self.state.lock().period = period;
        self.beat.notify_one();
    }
}

/// Topic of an alert: `alerts/<Class>/<instance>_<identity>`, dots made underscores.
pub(crate) fn alert_topic(class_name: &str, instance: &str, identity: &Identity) -> String {
    format!("alerts/{class_name}/{}", format!("{instance}.{identity}").replace('.', "_"))
}
