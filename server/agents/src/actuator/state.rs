//! What the scheduler knows, kept in the actuator's own store entry so that schedules survive a restart.
//! Differs from VOLTTRON: JSON instead of a pickled object, which its current version cannot read back.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use vt_types::timestamp::{self, Timestamp};
use vt_types::{DevicePath, TopicError};

use super::request::slot_json;
use super::schedule::{Priority, Scheduler, Slot, Task};

/// Name of the store entry.
pub const ENTRY: &str = "_schedule_state";

/// Why the entry could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another shape than [`to_json`] writes.
    #[error("it has not the form that this version writes: {0}")]
    Form(#[from] serde_json::Error),
    /// A priority that does not exist.
    #[error("task {task:?} has no valid priority")]
    Priority {
        /// Which.
        task: String,
    },
    /// A device path that is none.
    #[error(transparent)]
    Device(#[from] TopicError),
    /// A time that is none.
    #[error(transparent)]
    Time(#[from] vt_types::TimestampError),
}

#[derive(Deserialize)]
struct State {
    tasks: BTreeMap<String, TaskState>,
}

#[derive(Deserialize)]
struct TaskState {
    agent: String,
    priority: String,
    preempted: bool,
    slots: Vec<(String, String, String)>,
}

/// `{"tasks": {id: {"agent", "priority", "preempted", "slots": [[device, start, end], ...]}}}`, times in UTC.
pub fn to_json(scheduler: &Scheduler) -> Value {
    let task = |task: &Task| {
        json!({
            "agent": task.owner,
            "priority": task.priority.as_str(),
            "preempted": task.preempted,
            "slots": task.slots.iter().map(slot_json).collect::<Value>(),
        })
    };
    json!({"tasks": scheduler.tasks().iter().map(|(id, state)| (id.clone(), task(state))).collect::<Value>()})
}

/// Reads what [`to_json`] wrote; tasks that are over are left out.
///
/// # Errors
/// [`StateError`].
pub fn from_json(value: &Value, now: Timestamp) -> Result<Scheduler, StateError> {
    let state = State::deserialize(value)?;
    let mut tasks = BTreeMap::new();
    for (id, TaskState { agent, priority, preempted, slots }) in state.tasks {
        let priority = Priority::parse(&priority).ok_or_else(|| StateError::Priority { task: id.clone() })?;
        let slots = slots.iter().map(slot).collect::<Result<_, _>>()?;
        tasks.insert(id, Task { owner: agent, priority, slots, preempted });
    }
    Ok(Scheduler::with_tasks(tasks, now))
}

fn slot((device, start, end): &(String, String, String)) -> Result<Slot, StateError> {
    let time = |text: &str| timestamp::parse(text).map(timestamp::Parsed::assume_utc);
    Ok(Slot { device: DevicePath::parse(device)?, start: time(start)?, end: time(end)? })
}

/// Lets callers wait until the state as they left it is stored; several that wait share one write.
#[derive(Debug)]
pub struct Saver {
    wanted: watch::Sender<u64>,
    done: watch::Sender<u64>,
}

impl Saver {
    /// Nothing to store yet.
    pub fn new() -> Self {
        Self { wanted: watch::Sender::new(0), done: watch::Sender::new(0) }
    }

    /// Returns when the present state was stored, or when that failed, which whoever stores tells.
    pub async fn save(&self) {
        let mut version = 0;
        self.wanted.send_modify(|wanted| {
            *wanted += 1;
            version = *wanted;
        });
        let waited = self.done.subscribe().wait_for(|done| *done >= version).await.is_ok();
        debug_assert!(waited, "the sender is this object's own");
    }

    /// Waits until somebody waits for more than version `stored`; the version to store.
    pub async fn wanted_after(&self, stored: u64) -> u64 {
        let mut wanted = self.wanted.subscribe();
        // The sender is this object's own, so that the wait does not fail.
        wanted.wait_for(|wanted| *wanted > stored).await.map_or(stored, |wanted| *wanted)
    }

    /// Tells that `version` is stored.
    pub fn stored(&self, version: u64) {
        self.done.send_replace(version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn what_was_written_is_read_back_without_what_is_over() {
        let now = Timestamp::UNIX_EPOCH;
        let slot = |from, to| Slot {
            device: DevicePath::parse("a/b").unwrap(),
            start: now + TimeDelta::minutes(from),
            end: now + TimeDelta::minutes(to),
        };
        let mut scheduler = Scheduler::default();
        let grace = TimeDelta::seconds(90);
        scheduler.request("x", "short", Priority::Low, vec![slot(0, 1)], grace, now).unwrap();
        scheduler.request("x", "low", Priority::LowPreempt, vec![slot(2, 9), slot(20, 21)], grace, now).unwrap();
        let running = now + TimeDelta::minutes(3);
        scheduler.request("y", "high", Priority::High, vec![slot(3, 9)], grace, running).unwrap();
        let text = to_json(&scheduler).to_string();
        let read = from_json(&serde_json::from_str(&text).unwrap(), running).unwrap();
        assert_eq!(read, scheduler);
        assert_eq!(read.tasks().len(), 2);
        assert!(read.tasks()["low"].preempted);
        assert!(from_json(&to_json(&scheduler), now + TimeDelta::hours(1)).unwrap().tasks().is_empty());
    }

    #[test]
    fn what_another_version_wrote_is_refused() {
        for bad in [json!("gAN9cQAu"), json!({}), json!({"tasks": {"t": {"agent": "a", "priority": "?", "preempted": false, "slots": []}}})]
        {
            assert!(from_json(&bad, Timestamp::UNIX_EPOCH).is_err(), "{bad}");
        }
    }
}
