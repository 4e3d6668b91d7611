//! A request for a schedule as it comes from outside, read into slots. Texts are those that schedulers' clients compare with.
//! Source: VOLTTRON `services/core/ActuatorAgent/actuator/{agent,scheduler}.py`.

use std::collections::BTreeMap;

use chrono::{NaiveDateTime, TimeDelta, TimeZone};
use serde_json::{Value, json};
use vt_types::timestamp::{self, Parsed, Timestamp};
use vt_types::{DevicePath, TopicError};

use super::schedule::{Priority, Slot};

/// Longest task id, in characters.
const TASK_ID_CHARS_MAX: usize = 256;
/// Slots of one request; longer ones are malformed.
const SLOTS_MAX: usize = 1000;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The task exists.
    #[error("TASK_ID_ALREADY_EXISTS")]
    TaskIdAlreadyExists,
    /// No task id.
    #[error("MISSING_TASK_ID")]
    MissingTaskId,
    /// No priority.
    #[error("MISSING_PRIORITY")]
    MissingPriority,
    /// Not HIGH, LOW or LOW_PREEMPT.
    #[error("INVALID_PRIORITY")]
    InvalidPriority,
    /// No slots.
    #[error("MALFORMED_REQUEST_EMPTY")]
    Empty,
    /// Something else is wrong with it.
    #[error("MALFORMED_REQUEST: {class}: {problem}")]
    Malformed {
        /// Class of the error in Python.
        class: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Slots of the request overlap.
    #[error("REQUEST_CONFLICTS_WITH_SELF")]
    ConflictsWithSelf,
    /// Slots overlap with those of others: by agent, by task.
    #[error("CONFLICTS_WITH_EXISTING_SCHEDULES")]
    Conflicts(BTreeMap<String, BTreeMap<String, Vec<Slot>>>),
    /// There is no such task.
    #[error("TASK_ID_DOES_NOT_EXIST")]
    TaskIdDoesNotExist,
    /// The task is somebody else's.
    #[error("AGENT_ID_TASK_ID_MISMATCH")]
    AgentIdTaskIdMismatch,
    /// Neither NEW_SCHEDULE nor CANCEL_SCHEDULE.
    #[error("INVALID_REQUEST_TYPE")]
    InvalidRequestType,
}

impl Refusal {
    fn type_error(problem: impl Into<String>) -> Self {
        Self::Malformed { class: "TypeError", problem: problem.into() }
    }

    fn value_error(problem: impl Into<String>) -> Self {
        Self::Malformed { class: "ValueError", problem: problem.into() }
    }

    /// The `data` of the result.
    pub fn data(&self) -> Value {
        let Self::Conflicts(agents) = self else { return json!({}) };
        let slots = |slots: &Vec<Slot>| slots.iter().map(slot_json).collect::<Value>();
        let tasks = |tasks: &BTreeMap<String, Vec<Slot>>| tasks.iter().map(|(task, list)| (task.clone(), slots(list))).collect::<Value>();
        agents.iter().map(|(agent, list)| (agent.clone(), tasks(list))).collect()
    }
}

/// `[device, start, end]`.
pub fn slot_json(slot: &Slot) -> Value {
    json!([slot.device, timestamp::format(slot.start), timestamp::format(slot.end)])
}

/// The task id of a request.
///
/// # Errors
/// [`Refusal`].
pub fn task_id(value: &Value) -> Result<&str, Refusal> {
    match value {
        Value::Null => Err(Refusal::MissingTaskId),
        Value::String(text) if text.chars().count() > TASK_ID_CHARS_MAX => {
            Err(Refusal::value_error(format!("taskid must have at most {TASK_ID_CHARS_MAX} characters")))
        }
        Value::String(text) if !text.is_empty() => Ok(text),
        _ => Err(Refusal::type_error("taskid must be a nonempty string")),
    }
}

/// The priority of a request.
///
/// # Errors
/// [`Refusal`].
pub fn priority(value: &Value) -> Result<Priority, Refusal> {
    match value {
        Value::Null => Err(Refusal::MissingPriority),
        other => other.as_str().and_then(Priority::parse).ok_or(Refusal::InvalidPriority),
    }
}

/// The slots of a request: `[[device, start, end], ...]`, or one `[device, start, end]`, or a list of one such list. Times without an
/// offset are in `zone`.
///
/// # Errors
/// [`Refusal`] if there are none, one cannot be read, or two overlap.
pub fn slots(value: &Value, zone: &impl TimeZone) -> Result<Vec<Slot>, Refusal> {
    let mut items = match value {
        Value::Null => return Err(Refusal::Empty),
        Value::Array(items) => &items[..],
        _ => return Err(Refusal::type_error("requests must be a list of [device, start, end]")),
    };
    if let [Value::Array(inner)] = items
        && let Some(Value::Array(_)) = inner.first()
    {
        items = inner;
    }
    if items.is_empty() {
        return Err(Refusal::Empty);
    }
    if let Some(Value::String(_)) = items.first() {
        return Ok(vec![slot(value, zone)?]);
    }
    if items.len() > SLOTS_MAX {
        return Err(Refusal::value_error(format!("a request may have at most {SLOTS_MAX} slots")));
    }
    let mut slots = items.iter().map(|item| slot(item, zone)).collect::<Result<Vec<_>, _>>()?;
    slots.sort_by(|a, b| (&a.device, a.start).cmp(&(&b.device, b.start)));
    if slots.windows(2).any(|pair| pair[0].overlaps(&pair[1])) {
        return Err(Refusal::ConflictsWithSelf);
    }
    Ok(slots)
}

fn slot(value: &Value, zone: &impl TimeZone) -> Result<Slot, Refusal> {
    let Some([device, start, end]) = value.as_array().map(Vec::as_slice) else {
        return Err(Refusal::value_error("each slot must be [device, start, end]"));
    };
    let Some(device) = device.as_str() else {
        return Err(Refusal::type_error("the device of a slot must be a string"));
    };
    let device = DevicePath::parse(device.trim_matches('/')).map_err(|error: TopicError| Refusal::value_error(error.to_string()))?;
    let (start, end) = (time(start, zone)?, time(end, zone)?);
    if start >= end {
        return Err(Refusal::value_error("the start of a slot must be before its end"));
    }
    Ok(Slot { device, start, end })
}

fn time(value: &Value, zone: &impl TimeZone) -> Result<Timestamp, Refusal> {
    let Some(text) = value.as_str() else {
        return Err(Refusal::type_error("the times of a slot must be strings"));
    };
    match timestamp::parse(text).map_err(|error| Refusal::value_error(error.to_string()))? {
        Parsed::Utc(time) => Ok(time),
        Parsed::Naive(naive) => in_zone(naive, zone).ok_or_else(|| Refusal::value_error(format!("{text:?} is out of range"))),
    }
}

/// When clocks are set back, the second of two equal readings; when they are set forward, a skipped reading as if they were not.
fn in_zone(naive: NaiveDateTime, zone: &impl TimeZone) -> Option<Timestamp> {
    let shift = TimeDelta::hours(3);
    let exact = zone.from_local_datetime(&naive).latest().map(|time| time.to_utc());
    exact.or_else(|| zone.from_local_datetime(&naive.checked_sub_signed(shift)?).latest()?.to_utc().checked_add_signed(shift))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Utc;
    use chrono_tz::US::Pacific;

    fn start_of(text: &str) -> String {
        let slots = slots(&json!(["a/b", text, "2099-01-01T00:00:00Z"]), &Pacific).unwrap();
        timestamp::format(slots[0].start)
    }

    #[test]
    fn naive_times_are_local() {
        assert_eq!(start_of("2020-01-15 10:00:00"), "2020-01-15T18:00:00.000000+00:00");
        assert_eq!(start_of("2020-07-15T10:00:00.5"), "2020-07-15T17:00:00.500000+00:00");
        assert_eq!(start_of("2020-07-15T10:00:00+02:00"), "2020-07-15T08:00:00.000000+00:00");
        assert_eq!(start_of("2020-03-08 02:30:00"), "2020-03-08T10:30:00.000000+00:00", "skipped");
        assert_eq!(start_of("2020-11-01 01:30:00"), "2020-11-01T09:30:00.000000+00:00", "twice");
    }

    #[test]
    fn one_slot_or_a_list_or_a_list_in_a_list() {
        let one = json!(["/a/b/", "2020-01-01T00:00:00Z", "2020-01-01T01:00:00Z"]);
        let expected = slots(&one, &Utc).unwrap();
        assert_eq!(expected[0].device.as_str(), "a/b");
        assert_eq!(slots(&json!([one]), &Utc).unwrap(), expected);
        assert_eq!(slots(&json!([[one]]), &Utc).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let good = "2020-01-01T00:00:00Z";
        for (bad, text) in [
            (json!(null), "MALFORMED_REQUEST_EMPTY"),
            (json!([]), "MALFORMED_REQUEST_EMPTY"),
            (json!(5), "MALFORMED_REQUEST: TypeError: requests must be a list of [device, start, end]"),
            (json!([["a", good]]), "MALFORMED_REQUEST: ValueError: each slot must be [device, start, end]"),
            (json!([["a", good, good]]), "MALFORMED_REQUEST: ValueError: the start of a slot must be before its end"),
            (json!([[5, good, good]]), "MALFORMED_REQUEST: TypeError: the device of a slot must be a string"),
            (json!([["a", 5, good]]), "MALFORMED_REQUEST: TypeError: the times of a slot must be strings"),
            (json!([["a", "noon", good]]), "MALFORMED_REQUEST: ValueError: \"noon\" is not a time; write it as 2026-01-31T12:00:00+00:00"),
            (
                json!([["a/../b", good, good]]),
                "MALFORMED_REQUEST: ValueError: a device path is made of names separated by single slashes, such as campus/building/unit; \"a/../b\" is not",
            ),
        ] {
            assert_eq!(slots(&bad, &Utc).unwrap_err().to_string(), text);
        }
        let many: Value = (0..=SLOTS_MAX).map(|_| json!(["a", good, good])).collect();
        assert!(matches!(slots(&many, &Utc), Err(Refusal::Malformed { class: "ValueError", .. })));
        assert_eq!(task_id(&json!(null)), Err(Refusal::MissingTaskId));
        for bad in [json!(""), json!(7), json!([])] {
            assert_eq!(task_id(&bad).unwrap_err().to_string(), "MALFORMED_REQUEST: TypeError: taskid must be a nonempty string");
        }
        assert_eq!(priority(&json!(null)), Err(Refusal::MissingPriority));
        assert_eq!(priority(&json!("high")), Err(Refusal::InvalidPriority));
        assert_eq!(priority(&json!(1)), Err(Refusal::InvalidPriority));
    }

    #[test]
    fn touching_slots_are_fine_and_overlapping_ones_are_not() {
        let slot = |from: u8, to: u8| json!(["a", format!("2020-01-01T{from}:00:00Z"), format!("2020-01-01T{to}:00:00Z")]);
        assert!(slots(&json!([slot(11, 12), slot(10, 11)]), &Utc).is_ok());
        assert_eq!(slots(&json!([slot(10, 12), slot(11, 13)]), &Utc), Err(Refusal::ConflictsWithSelf));
    }
}
