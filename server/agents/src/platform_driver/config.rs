//! The driver's configuration entries: `config`, and `devices/<path>` for each device.
//! Source: VOLTTRON documentation, "Platform driver configuration"; `platform_driver/{agent,driver}.py`.

use serde_json::{Map, Value};
use vt_drivers::catalog::open_sockets_max;

use super::schedule::Spacing;

/// Name of the main entry.
pub const MAIN: &str = "config";
/// What the names of device entries begin with.
pub const DEVICES: &str = "devices/";
/// Name of the entry that this agent writes itself.
pub const OVERRIDES: &str = "override_patterns";

/// Interval of a device that names none or no valid one.
const INTERVAL_S: u32 = 60;
/// Longest interval: a year.
const INTERVAL_MAX_S: u32 = 31_536_000;
/// Highest group number.
const GROUP_MAX: u64 = 1_000_000;
/// Longest spacing of slots or groups: a day.
const SPACING_MAX_S: f64 = 86_400.0;
/// Longest `timezone`, in bytes.
const TIMEZONE_BYTES_MAX: usize = 255;

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("field {field}: {reason}")]
pub struct FieldError {
    /// Which key.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

fn error(field: &'static str, reason: impl Into<String>) -> FieldError {
    FieldError { field, reason: reason.into() }
}

/// Which topics the values of a scrape are published on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish {
    /// `devices/<path>/all`.
    pub depth_first_all: bool,
    /// `devices/all/<path reversed>`.
    pub breadth_first_all: bool,
    /// `devices/<path>/<point>`.
    pub depth_first: bool,
    /// `devices/<point>/<path reversed>`.
    pub breadth_first: bool,
}

/// The main entry. Accepted and without effect here: `max_concurrent_publishes` (publishing never waits), `scalability_test*`.
#[derive(Debug, Clone, PartialEq)]
pub struct MainConfig {
    /// `max_open_sockets`: most sockets open at once; null for 80 % of the files that the process may have open. Takes effect at the next start of the agent.
    pub sockets_max: usize,
    /// `driver_scrape_interval` (0.02) and `group_offset_interval` (0), seconds.
    pub spacing: Spacing,
    /// `publish_*`; only `publish_depth_first_all` is on by default.
    pub publish: Publish,
    /// `scrape_at_start` (true), ours: whether a device is also scraped once when it is added, outside its schedule, so that values are
    /// there at once. Such a publication has no `SynchronizedTimeStamp`.
    pub scrape_at_start: bool,
}

impl Default for MainConfig {
    fn default() -> Self {
        Self {
            sockets_max: open_sockets_max(),
            spacing: Spacing { slot_us: 20_000, group_us: 0 },
            publish: Publish { depth_first_all: true, breadth_first_all: false, depth_first: false, breadth_first: false },
            scrape_at_start: true,
        }
    }
}

impl MainConfig {
    /// Reads `entry` over the defaults; unknown keys are ignored.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn parse(entry: &Value) -> Result<Self, FieldError> {
        let default = Self::default();
        let keys = match entry {
            Value::Object(keys) => keys,
            Value::Null => return Ok(default),
            _ => return Err(error("config", "a JSON object is expected")),
        };
        let sockets_max = match keys.get("max_open_sockets") {
            None | Some(Value::Null) => default.sockets_max,
            Some(value) => value
                .as_u64()
                .and_then(|count| usize::try_from(count).ok())
                .filter(|count| (1..=1_000_000).contains(count))
                .ok_or_else(|| error("max_open_sockets", "a whole number from 1 to 1000000, or null, is expected"))?,
        };
        let spacing = Spacing {
            slot_us: seconds(keys, "driver_scrape_interval", default.spacing.slot_us)?,
            group_us: seconds(keys, "group_offset_interval", default.spacing.group_us)?,
        };
        let scrape_at_start = flag(keys, "scrape_at_start", default.scrape_at_start)?;
        Ok(Self { sockets_max, spacing, publish: publish(keys, default.publish)?, scrape_at_start })
    }
}

/// One device entry.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceConfig {
    /// `driver_type`.
    pub driver_type: String,
    /// `driver_config`.
    pub driver_config: Map<String, Value>,
    /// `registry_config`: rows; null for none.
    pub registry: Value,
    /// `interval`, seconds.
    pub interval_s: u32,
    /// `group`.
    pub group: u32,
    /// `timezone`, copied into metadata.
    pub timezone: String,
    /// `heart_beat_point`.
    pub heart_beat_point: Option<String>,
    /// `publish_*` that the device names itself.
    keys: Map<String, Value>,
    /// What was odd.
    pub warnings: Vec<String>,
}

impl DeviceConfig {
    /// Reads `entry`, whose links are expanded.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn parse(entry: Value) -> Result<Self, FieldError> {
        let Value::Object(mut keys) = entry else { return Err(error("config", "a JSON object is expected")) };
        let registry = keys.swap_remove("registry_config").unwrap_or_default();
        let driver_config = match keys.swap_remove("driver_config") {
            Some(Value::Object(config)) => config,
            Some(_) => return Err(error("driver_config", "a JSON object is expected")),
            None => return Err(error("driver_config", "it is missing; write {} if the driver needs no settings")),
        };
        let driver_type = match keys.get("driver_type") {
            Some(Value::String(text)) if !text.is_empty() => text.clone(),
            Some(_) => return Err(error("driver_type", "the name of a driver is expected")),
            None => return Err(error("driver_type", "it is missing; name a driver, such as fake or modbus")),
        };
        let mut warnings = Vec::new();
        let interval_s = match keys.get("interval") {
            None => INTERVAL_S,
            Some(value) => interval(value).unwrap_or_else(|| {
                warnings.push(format!("field interval: a whole number of seconds from 1 is expected, {INTERVAL_S} is used"));
                INTERVAL_S
            }),
        };
        let group = match keys.get("group") {
            None | Some(Value::Null) => 0,
            Some(value) => number(value)
                .filter(|number| *number <= GROUP_MAX)
                .and_then(|number| u32::try_from(number).ok())
                .ok_or_else(|| error("group", format!("a whole number from 0 to {GROUP_MAX} is expected")))?,
        };
        let timezone = match keys.get("timezone") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) if text.len() <= TIMEZONE_BYTES_MAX && !text.contains(char::is_control) => text.clone(),
            Some(_) => return Err(error("timezone", "the name of a time zone is expected, such as US/Pacific")),
        };
        let heart_beat_point = match keys.get("heart_beat_point") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()).filter(|text| !text.is_empty()),
            Some(_) => return Err(error("heart_beat_point", "the name of a point is expected")),
        };
        // Checked now, so that a wrong flag is told when it is written.
        publish(&keys, MainConfig::default().publish)?;
        keys.retain(|key, _| key.starts_with("publish_"));
        Ok(Self { driver_type, driver_config, registry, interval_s, group, timezone, heart_beat_point, keys, warnings })
    }

    /// What this device publishes, given what the main entry says.
    pub fn publish(&self, main: Publish) -> Publish {
        if self.keys.is_empty() { main } else { publish(&self.keys, main).unwrap_or(main) }
    }
}

fn publish(keys: &Map<String, Value>, base: Publish) -> Result<Publish, FieldError> {
    Ok(Publish {
        depth_first_all: flag(keys, "publish_depth_first_all", base.depth_first_all)?,
        breadth_first_all: flag(keys, "publish_breadth_first_all", base.breadth_first_all)?,
        depth_first: flag(keys, "publish_depth_first", base.depth_first)?,
        breadth_first: flag(keys, "publish_breadth_first", base.breadth_first)?,
    })
}

fn flag(keys: &Map<String, Value>, key: &'static str, default: bool) -> Result<bool, FieldError> {
    match keys.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(error(key, "true or false is expected")),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn seconds(keys: &Map<String, Value>, key: &'static str, default_us: u64) -> Result<u64, FieldError> {
    let Some(value) = keys.get(key) else { return Ok(default_us) };
    let number = value.as_f64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
    match number {
        Some(seconds) if (0.0..=SPACING_MAX_S).contains(&seconds) => Ok((seconds * 1.0e6).round() as u64),
        _ => Err(error(key, format!("a number of seconds from 0 to {SPACING_MAX_S} is expected"))),
    }
}

/// A whole number; fractions are cut off and texts read, as Python's `int()` does.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn number(value: &Value) -> Option<u64> {
    let float = || value.as_f64().filter(|number| (0.0..1.0e15).contains(number)).map(|number| number as u64);
    value.as_u64().or_else(float).or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()))
}

fn interval(value: &Value) -> Option<u32> {
    number(value).and_then(|number| u32::try_from(number).ok()).filter(|seconds| (1..=INTERVAL_MAX_S).contains(seconds))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn main_defaults_and_overlay() {
        assert_eq!(MainConfig::parse(&json!({})), Ok(MainConfig::default()));
        let config =
            MainConfig::parse(&json!({"driver_scrape_interval": 0.05, "publish_breadth_first_all": true, "max_open_sockets": null}));
        let config = config.unwrap();
        assert_eq!(config.spacing.slot_us, 50_000);
        assert!(config.publish.breadth_first_all && config.publish.depth_first_all && !config.publish.depth_first);
    }

    #[test]
    fn main_errors_name_the_field() {
        for (entry, field) in [
            (json!([]), "config"),
            (json!({"driver_scrape_interval": "soon"}), "driver_scrape_interval"),
            (json!({"driver_scrape_interval": -1}), "driver_scrape_interval"),
            (json!({"group_offset_interval": null}), "group_offset_interval"),
            (json!({"publish_depth_first": 1}), "publish_depth_first"),
            (json!({"max_open_sockets": 0}), "max_open_sockets"),
        ] {
            assert_eq!(MainConfig::parse(&entry).unwrap_err().field, field);
        }
    }

    #[test]
    fn device_defaults() {
        let device = DeviceConfig::parse(json!({"driver_type": "fake", "driver_config": {}})).unwrap();
        assert_eq!((device.interval_s, device.group, device.timezone.as_str(), device.heart_beat_point), (60, 0, "", None));
        let device =
            DeviceConfig::parse(json!({"driver_type": "fake", "driver_config": {}, "interval": "5", "publish_depth_first": true})).unwrap();
        assert_eq!(device.interval_s, 5);
        assert!(device.publish(MainConfig::default().publish).depth_first);
    }

    #[test]
    fn an_interval_that_is_none_is_60_and_a_warning() {
        for interval in [json!(0), json!(-5), json!("often"), json!(null), json!(1e300)] {
            let device = DeviceConfig::parse(json!({"driver_type": "fake", "driver_config": {}, "interval": interval})).unwrap();
            assert_eq!((device.interval_s, device.warnings.len()), (60, 1));
        }
    }

    #[test]
    fn device_errors_name_the_field() {
        for (entry, field) in [
            (json!("text"), "config"),
            (json!({"driver_type": "fake"}), "driver_config"),
            (json!({"driver_type": "fake", "driver_config": []}), "driver_config"),
            (json!({"driver_config": {}}), "driver_type"),
            (json!({"driver_config": {}, "driver_type": 5}), "driver_type"),
            (json!({"driver_config": {}, "driver_type": "fake", "group": -1}), "group"),
            (json!({"driver_config": {}, "driver_type": "fake", "timezone": 5}), "timezone"),
            (json!({"driver_config": {}, "driver_type": "fake", "heart_beat_point": 5}), "heart_beat_point"),
            (json!({"driver_config": {}, "driver_type": "fake", "publish_depth_first_all": "perhaps"}), "publish_depth_first_all"),
        ] {
            assert_eq!(DeviceConfig::parse(entry).unwrap_err().field, field);
        }
    }
}
