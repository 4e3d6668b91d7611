//! Message headers. Names keep their spelling on the wire and are found without regard to case.
//! Source: VOLTTRON `volttron/platform/messaging/headers.py`.

use serde_json::{Map, Value};

/// When the message was made.
pub const DATE: &str = "Date";
/// When the values were read.
pub const TIMESTAMP: &str = "TimeStamp";
/// The scheduled time of a periodic scrape.
pub const SYNC_TIMESTAMP: &str = "SynchronizedTimeStamp";
/// Set by every publisher: `3.0` on the embedded and ZeroMQ bus.
pub const MIN_COMPATIBLE_VERSION: &str = "min_compatible_version";
/// Set by every publisher: empty.
pub const MAX_COMPATIBLE_VERSION: &str = "max_compatible_version";
/// Who asks, in the actuator protocol.
pub const REQUESTER_ID: &str = "requesterID";
/// Which task, in the actuator protocol.
pub const TASK_ID: &str = "taskID";
/// Which alert.
pub const ALERT_KEY: &str = "alert_key";

/// Headers in the order in which they were set; values are any JSON.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headers(Map<String, Value>);

impl Headers {
    /// No headers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value whose name equals `name` without regard to ASCII case.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Value> {
        self.0.get(name).or_else(|| self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    }

    /// The text value of `name`.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.find(name).and_then(Value::as_str)
    }

    /// Sets `name`, replacing a header of any spelling of that name.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        if !self.0.contains_key(name) {
            self.0.retain(|key, _| !key.eq_ignore_ascii_case(name));
        }
        self.0.insert(name.to_owned(), value.into());
    }

    /// The same headers with one more; for building.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// As a JSON object.
    #[must_use]
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl From<Map<String, Value>> for Headers {
    fn from(map: Map<String, Value>) -> Self {
        Self(map)
    }
}

impl serde::Serialize for Headers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_without_regard_to_case_and_keep_their_spelling() {
        let mut headers = Headers::new().with("date", "x");
        assert_eq!(headers.text("Date"), Some("x"));
        headers.set("Date", "y");
        assert_eq!(serde_json::to_string(&headers).unwrap(), r#"{"Date":"y"}"#);
    }
}
