//! `driver_config` of the Modbus interfaces: where the device is and how patiently it is asked.
//! Source: VOLTTRON documentation, "Modbus driver" and "Modbus-TK driver".

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::ConfigError;

/// Port of Modbus TCP.
const PORT: u16 = 502;
/// Longest time to wait for one answer.
const TIMEOUT_MAX_S: f64 = 60.0;

/// Where the device is.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Name or address of the host.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Unit behind the address; 0 for none.
    pub slave_id: u8,
    /// Longest wait for the connection and for each answer. Key `timeout`, in seconds, default 3.
    pub timeout: Duration,
    /// Whether the connection stays open between operations. Key `keep_open`, default true; false helps gateways that accept few
    /// connections.
    pub keep_open: bool,
    /// Whether registers are written with function 16; false: one by one with function 6. Key `write_multiple_registers`, default true.
    pub write_multiple: bool,
}

impl Target {
    /// Reads `config`; `port_default` and `slave_default` differ between the interfaces.
    ///
    /// # Errors
    /// [`ConfigError::Field`].
    pub fn parse(config: &Map<String, Value>, slave_default: u8) -> Result<Self, ConfigError> {
        let host = match find(config, "device_address") {
            Some(Value::String(host)) if !host.trim().is_empty() && host.len() <= 255 && !host.contains(char::is_control) => {
                host.trim().to_owned()
            }
            _ => return Err(field("device_address", "the name or address of the device is expected, such as \"10.0.0.5\"")),
        };
        let port = match find(config, "port") {
            None | Some(Value::Null) => PORT,
            Some(value) => whole(value)
                .and_then(|n| u16::try_from(n).ok())
                .filter(|port| *port > 0)
                .ok_or_else(|| field("port", "a whole number from 1 to 65535 is expected"))?,
        };
        let slave_id = match find(config, "slave_id") {
            None | Some(Value::Null) => slave_default,
            Some(value) => whole(value)
                .and_then(|n| u8::try_from(n).ok())
                .ok_or_else(|| field("slave_id", "a whole number from 0 to 255 is expected"))?,
        };
        let timeout = match find(config, "timeout") {
            None | Some(Value::Null) => Duration::from_secs(3),
            Some(value) => number(value)
                .filter(|seconds| (0.01..=TIMEOUT_MAX_S).contains(seconds))
                .map(Duration::from_secs_f64)
                .ok_or_else(|| field("timeout", "a number of seconds from 0.01 to 60 is expected"))?,
        };
        let keep_open = flag(config, "keep_open", true)?;
        let write_multiple = flag(config, "write_multiple_registers", true)?;
        Ok(Self { host, port, slave_id, timeout, keep_open, write_multiple })
    }

    /// `host:port`, with brackets round an IPv6 address.
    pub fn device(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }
}

/// An error about `driver_config`.
pub fn field(name: &str, reason: impl Into<String>) -> ConfigError {
    ConfigError::Field { field: name.to_owned(), reason: reason.into() }
}

/// The value of a key, found without regard to case.
pub fn find<'a>(config: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    config.get(key).or_else(|| config.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value))
}

fn flag(config: &Map<String, Value>, key: &str, default: bool) -> Result<bool, ConfigError> {
    match find(config, key) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(field(key, "true or false is expected")),
    }
}

fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()))
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(config: &Value) -> Result<Target, ConfigError> {
        Target::parse(config.as_object().unwrap(), 0)
    }

    #[test]
    fn defaults_and_texts() {
        let target = parse(&json!({"device_address": "10.0.0.5"})).unwrap();
        assert_eq!((target.port, target.slave_id, target.timeout, target.keep_open), (502, 0, Duration::from_secs(3), true));
        let target = parse(&json!({"device_address": "::1", "port": "1502", "slave_id": "5", "timeout": 0.5})).unwrap();
        assert_eq!((target.device().as_str(), target.slave_id), ("[::1]:1502", 5));
    }

    #[test]
    fn errors_name_the_field() {
        for (config, name) in [
            (json!({}), "device_address"),
            (json!({"device_address": 5}), "device_address"),
            (json!({"device_address": "h", "port": 70_000}), "port"),
            (json!({"device_address": "h", "port": 0}), "port"),
            (json!({"device_address": "h", "slave_id": -1}), "slave_id"),
            (json!({"device_address": "h", "timeout": 0}), "timeout"),
            (json!({"device_address": "h", "timeout": "NaN"}), "timeout"),
            (json!({"device_address": "h", "keep_open": 1}), "keep_open"),
        ] {
            let error = parse(&config).unwrap_err().to_string();
            assert!(error.starts_with(&format!("driver_config, field {name}: ")), "{error}");
        }
    }
}
