//! The actuator's configuration: the install-time file gives defaults, the store entry `config` overrides them key by key.

use std::time::Duration;

use serde_json::{Map, Value};
use vt_types::Identity;
use vt_types::identity::known;

/// Longest time that can be configured, seconds: a day.
const SECONDS_MAX: f64 = 86_400.0;

/// What can be configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `heartbeat_interval`, seconds: how often the driver's heartbeat points are toggled. Default 60; 0 for never.
    pub heartbeat_interval: Option<Duration>,
    /// `schedule_publish_interval`, seconds: how often running slots are announced. Default 60.
    pub publish_interval: Duration,
    /// `preempt_grace_time`, seconds: how long a pre-empted task that runs keeps its devices. Default 60.
    pub preempt_grace: Duration,
    /// `driver_vip_identity`. Default `platform.driver`.
    pub driver: Identity,
    /// `allow_no_lock_write`: whether a device may be written while nobody has scheduled it. Default true.
    pub allow_no_lock_write: bool,
}

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigProblem {
    /// Not an object.
    #[error("the configuration must be a JSON object")]
    NotAnObject,
    /// A number out of range.
    #[error("{key}: must be a number of seconds from {min} to {SECONDS_MAX}")]
    Seconds {
        /// Which.
        key: &'static str,
        /// Smallest value.
        min: f64,
    },
    /// Not a VIP identity.
    #[error("driver_vip_identity: {0}")]
    Driver(String),
    /// Neither true nor false.
    #[error("allow_no_lock_write: must be true or false")]
    AllowNoLockWrite,
}

impl Config {
    /// Reads `entry` over `install`; unknown keys are ignored.
    ///
    /// # Errors
    /// [`ConfigProblem`] names the key.
    pub fn parse(install: &Value, entry: Option<&Value>) -> Result<Self, ConfigProblem> {
        let mut keys = object(install)?.clone();
        if let Some(entry) = entry {
            keys.extend(object(entry)?.clone());
        }
        let interval = seconds(&keys, "heartbeat_interval", 60.0, 0.0)?;
        let driver = match keys.get("driver_vip_identity") {
            None | Some(Value::Null) => Identity::known(known::PLATFORM_DRIVER),
            Some(Value::String(text)) => Identity::parse(text).map_err(|error| ConfigProblem::Driver(error.to_string()))?,
            Some(other) => return Err(ConfigProblem::Driver(format!("{other} is not a text"))),
        };
        let allow_no_lock_write = match keys.get("allow_no_lock_write") {
            None | Some(Value::Null) => true,
            Some(value) => value.as_bool().ok_or(ConfigProblem::AllowNoLockWrite)?,
        };
        Ok(Self {
            heartbeat_interval: (!interval.is_zero()).then_some(interval),
            publish_interval: seconds(&keys, "schedule_publish_interval", 60.0, 1.0)?,
            preempt_grace: seconds(&keys, "preempt_grace_time", 60.0, 0.0)?,
            driver,
            allow_no_lock_write,
        })
    }
}

fn object(value: &Value) -> Result<&Map<String, Value>, ConfigProblem> {
    value.as_object().ok_or(ConfigProblem::NotAnObject)
}

fn seconds(keys: &Map<String, Value>, key: &'static str, default: f64, min: f64) -> Result<Duration, ConfigProblem> {
    let seconds = match keys.get(key) {
        None | Some(Value::Null) => Some(default),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(value) => value.as_f64(),
    };
    seconds.filter(|seconds| (min..=SECONDS_MAX).contains(seconds)).map(Duration::from_secs_f64).ok_or(ConfigProblem::Seconds { key, min })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_entry_overrides_the_install_file_key_by_key() {
        let install = json!({"preempt_grace_time": 30, "allow_no_lock_write": false});
        let config = Config::parse(&install, Some(&json!({"preempt_grace_time": "5", "heartbeat_interval": 0}))).unwrap();
        assert_eq!(config.preempt_grace, Duration::from_secs(5));
        assert_eq!(config.heartbeat_interval, None);
        assert!(!config.allow_no_lock_write);
        let config = Config::parse(&json!({}), None).unwrap();
        assert_eq!((config.driver.as_str(), config.publish_interval), ("platform.driver", Duration::from_secs(60)));
        assert!(config.allow_no_lock_write);
    }

    #[test]
    fn mistakes_are_told_with_their_key() {
        for (bad, key) in [
            (json!("text"), "the configuration"),
            (json!({"heartbeat_interval": -1}), "heartbeat_interval"),
            (json!({"preempt_grace_time": "NaN"}), "preempt_grace_time"),
            (json!({"schedule_publish_interval": 0}), "schedule_publish_interval"),
            (json!({"driver_vip_identity": "a b"}), "driver_vip_identity"),
            (json!({"allow_no_lock_write": "yes"}), "allow_no_lock_write"),
        ] {
            let error = Config::parse(&bad, None).unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
