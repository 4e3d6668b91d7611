//! The listener's configuration, as given when it is installed.

use std::time::Duration;

use serde_json::Value;
use vt_agent::BuildError;

/// Longest message that is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 1000;

/// Level at which messages are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// What can be configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `message`: logged at start and told as the context of its status. Default `Listener Message`.
    pub message: String,
    /// `heartbeat_period`, seconds. Default 5; 0 for none.
    pub heartbeat: Option<Duration>,
    /// `log-level`: `DEBUG`, `INFO`, `WARN` or `ERROR`. Default `INFO`.
    pub log_level: LogLevel,
    /// `runtime_limit`, seconds after which it ends by itself. Default 0: never.
    pub runtime_limit: Option<Duration>,
}

impl Config {
    /// Reads the configuration. `agentid`, which the usual file has, says nothing that the identity does not say better; like unknown keys
    /// it is ignored.
    ///
    /// # Errors
    /// [`BuildError`] names the key.
    pub fn parse(value: &Value) -> Result<Self, BuildError> {
        let Some(map) = value.as_object() else {
            return Err(BuildError("the configuration must be a JSON object".to_owned()));
        };
        let text = |key: &str, default: &str| match map.get(key) {
            None | Some(Value::Null) => Ok(default.to_owned()),
            Some(Value::String(text)) if text.chars().count() <= MESSAGE_CHARS_MAX => Ok(text.clone()),
            Some(_) => Err(BuildError(format!("{key}: must be a text of at most {MESSAGE_CHARS_MAX} characters"))),
        };
        Ok(Self {
            message: text("message", "Listener Message")?,
            heartbeat: seconds("heartbeat_period", map.get("heartbeat_period"), Some(Duration::from_secs(5)))?,
            log_level: log_level(&text("log-level", "INFO")?)?,
            runtime_limit: seconds("runtime_limit", map.get("runtime_limit"), None)?,
        })
    }
}

/// Seconds as a number or as digits in a text; 0 for `None`.
fn seconds(key: &str, value: Option<&Value>, default: Option<Duration>) -> Result<Option<Duration>, BuildError> {
    let seconds = match value {
        None | Some(Value::Null) => return Ok(default),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match duration {
        Some(Duration::ZERO) => Ok(None),
        Some(duration) if duration >= Duration::from_millis(100) => Ok(Some(duration)),
        _ => Err(BuildError(format!("{key}: must be a number of seconds, 0.1 or more, or 0 for none"))),
    }
}

fn log_level(text: &str) -> Result<LogLevel, BuildError> {
    match text.to_ascii_uppercase().as_str() {
        "DEBUG" => Ok(LogLevel::Debug),
        "INFO" => Ok(LogLevel::Info),
        "WARN" | "WARNING" => Ok(LogLevel::Warn),
        "ERROR" => Ok(LogLevel::Error),
        _ => Err(BuildError(format!("log-level: {text:?} is not DEBUG, INFO, WARN or ERROR"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_usual_file_and_an_empty_one_are_read() {
        let usual = json!({"agentid": "listener1", "message": "hello", "heartbeat_period": 5, "log-level": "INFO"});
        let config = Config::parse(&usual).unwrap();
        assert_eq!(config.message, "hello");
        let config = Config::parse(&json!({})).unwrap();
        assert_eq!((config.message.as_str(), config.heartbeat), ("Listener Message", Some(Duration::from_secs(5))));
        assert_eq!((config.log_level, config.runtime_limit), (LogLevel::Info, None));
        let config = Config::parse(&json!({"heartbeat_period": 0, "runtime_limit": "60", "log-level": "warn"})).unwrap();
        assert_eq!((config.heartbeat, config.runtime_limit), (None, Some(Duration::from_secs(60))));
        assert_eq!(config.log_level, LogLevel::Warn);
    }

    #[test]
    fn mistakes_are_told_with_their_key() {
        for (bad, key) in [
            (json!([]), "the configuration"),
            (json!({"message": 5}), "message"),
            (json!({"heartbeat_period": -1}), "heartbeat_period"),
            (json!({"heartbeat_period": 1e300}), "heartbeat_period"),
            (json!({"runtime_limit": "soon"}), "runtime_limit"),
            (json!({"log-level": "LOUD"}), "log-level"),
        ] {
            let error = Config::parse(&bad).unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
