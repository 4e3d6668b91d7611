//! Booking and cancelling schedules, and what everybody is told about it.

use chrono::{Local, TimeDelta};
use serde_json::{Value, json};
use vt_types::timestamp::Timestamp;

use super::request::{self, Refusal};
use super::schedule::Preempted;
use super::{Actuator, state, topics};

impl Actuator {
    /// Books a task for `requester`; the result object. Answered when it is stored.
    pub async fn request_new_schedule(&self, requester: &str, task: &Value, priority: &Value, requests: &Value) -> Value {
        let now = self.context.now();
        match self.book(requester, task, priority, requests, now) {
            Err(refusal) => refused(&refusal),
            Ok(preempted) => {
                self.saver.save().await;
                self.schedule_changed.notify_one();
                for (agent, victim) in &preempted {
                    let headers = topics::about_task(now, agent, victim).with(topics::TYPE, topics::CANCEL_SCHEDULE);
                    let by = json!({"agentID": requester, "taskID": task});
                    self.publish(topics::RESULT, headers, json!({"result": "PREEMPTED", "info": "", "data": by}));
                }
                match preempted.is_empty() {
                    true => succeeded(),
                    false => json!({"result": "SUCCESS", "data": preempted, "info": "TASK_WERE_PREEMPTED"}),
                }
            }
        }
    }

    /// Cancels a task of `requester`; the result object. Answered when it is stored.
    pub async fn request_cancel_schedule(&self, requester: &str, task: &Value) -> Value {
        let now = self.context.now();
        let cancelled = request::task_id(task).and_then(|id| self.scheduler.lock().cancel(requester, id, now));
        match cancelled {
            Err(refusal) => refused(&refusal),
            Ok(()) => {
                self.saver.save().await;
                self.schedule_changed.notify_one();
                succeeded()
            }
        }
    }

    fn book(&self, requester: &str, task: &Value, priority: &Value, requests: &Value, now: Timestamp) -> Result<Vec<Preempted>, Refusal> {
        let mut scheduler = self.scheduler.lock();
        scheduler.forget_finished(now);
        if task.as_str().is_some_and(|id| scheduler.knows(id)) {
            return Err(Refusal::TaskIdAlreadyExists);
        }
        let (task, priority) = (request::task_id(task)?, request::priority(priority)?);
        let slots = request::slots(requests, &Local)?;
        let grace = TimeDelta::from_std(self.config().preempt_grace).unwrap_or_default();
        scheduler.request(requester, task, priority, slots, grace, now)
    }

    /// Takes in what was stored before the last end.
    pub fn load_schedule(&self) {
        // Without an entry there is nothing to take in.
        let Ok(stored) = self.context.config(state::ENTRY) else { return };
        match state::from_json(&stored, self.context.now()) {
            Ok(scheduler) => {
                tracing::info!(tasks = scheduler.tasks().len(), "schedules of the last run are in force again");
                *self.scheduler.lock() = scheduler;
            }
            Err(error) => tracing::warn!(%error, entry = state::ENTRY, "the stored schedules cannot be read; starting without any"),
        }
    }

    /// Stores what the scheduler knows whenever somebody waits for it.
    pub async fn keep_schedule_stored(&self) {
        let mut version = 0;
        loop {
            version = self.saver.wanted_after(version).await;
            self.store_schedule().await;
            self.saver.stored(version);
        }
    }

    async fn store_schedule(&self) {
        let contents = state::to_json(&self.scheduler.lock());
        let stored = self.context.set_config(state::ENTRY, &contents).await;
        if let Err(error) = &stored {
            tracing::error!(%error, "schedules could not be stored; a restart would lose them");
        }
        self.set_problem("schedules", stored.err().map(|error| format!("schedules are not stored: {error}")));
    }

    /// Announces the devices in use: when that changes, and each publish interval.
    pub async fn announce_schedule(&self) {
        let mut announced = Vec::new();
        let mut next: Option<Timestamp> = None;
        loop {
            let now = self.context.now();
            let interval = TimeDelta::from_std(self.config().publish_interval).unwrap_or(TimeDelta::minutes(1));
            let (locks, event) = {
                let mut scheduler = self.scheduler.lock();
                scheduler.forget_finished(now);
                (scheduler.locks(now), scheduler.next_event(now))
            };
            // The second condition also holds after the clock was set back, or the interval shortened.
            let due = next.is_none_or(|next| next <= now || next > now + interval + TimeDelta::seconds(2));
            if locks != announced || due {
                for lock in &locks {
                    let left = (lock.until - now).as_seconds_f64();
                    let headers = topics::about_task(now, &lock.owner, &lock.task).with(topics::WINDOW, left);
                    self.publish(&format!("{}/{}", topics::ANNOUNCE, lock.device), headers, Value::Null);
                }
                next = Some(whole_second(now + interval));
                announced = locks;
            }
            let Some(event) = event else {
                // Nothing is booked.
                self.schedule_changed.notified().await;
                continue;
            };
            // At least once a second, because the clock may be set.
            let wait = (next.map_or(event, |next| event.min(next)) - now).to_std().unwrap_or_default().min(PATIENCE);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.schedule_changed.notified() => {}
            }
        }
    }
}

/// Longest sleep of the announcer while something is booked.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

fn whole_second(time: Timestamp) -> Timestamp {
    match time.timestamp_subsec_nanos() {
        0 => time,
        nanos => time + TimeDelta::nanoseconds(1_000_000_000 - i64::from(nanos)),
    }
}

fn succeeded() -> Value {
    json!({"result": "SUCCESS", "data": {}, "info": ""})
}

/// The result object of a refusal.
pub fn refused(refusal: &Refusal) -> Value {
    json!({"result": "FAILURE", "data": refusal.data(), "info": refusal.to_string()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use vt_types::timestamp;

    #[test]
    fn announcements_are_on_whole_seconds() {
        let time = |text| timestamp::parse(text).unwrap().assume_utc();
        assert_eq!(whole_second(time("2020-01-01T00:00:00.000001Z")), time("2020-01-01T00:00:01Z"));
        assert_eq!(whole_second(time("2020-01-01T00:00:01Z")), time("2020-01-01T00:00:01Z"));
    }
}
