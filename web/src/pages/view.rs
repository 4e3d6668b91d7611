//! Agents, devices and points as templates show them. Plain data made from what services say; no requests, no HTML.

use std::sync::Arc;

use serde_json::{Map, Value};
use vt_services::devices::DeviceStatus;
use vt_services::live::LiveEvent;
use vt_services::{AgentView, DeviceNode, HealthView, PeerView, PointInfo, RunState};
use vt_types::timestamp::{self, Timestamp};
use vt_types::{StatusWord, headers};

use crate::error::sentence;
use crate::ui::{self, Tone};

/// A value older than so many scrape intervals (and a little) is stale.
const STALE_INTERVALS: f64 = 2.5;
const STALE_GRACE_S: f64 = 2.0;

/// An agent in tables and on its own page.
#[derive(Debug, Clone)]
pub struct AgentRow {
    /// Key of its row.
    pub id: String,
    /// Its page.
    pub href: String,
    /// Its VIP identity.
    pub identity: String,
    /// Its name as people see it.
    pub name: String,
    /// Installation id, if installed.
    pub uuid: Option<String>,
    /// Nickname.
    pub tag: Option<String>,
    /// Start order, if enabled.
    pub priority: Option<u8>,
    /// Whether it runs now.
    pub running: bool,
    /// It will be started again by the supervisor.
    pub waiting: bool,
    /// `running`, `stopped` or `failed`, for filters.
    pub run_key: &'static str,
    /// How its state looks.
    pub run_tone: Tone,
    /// Its state in words.
    pub run_word: &'static str,
    /// Why it is in that state.
    pub run_why: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Process or thread id.
    pub pid: Option<u32>,
    /// How it ended.
    pub exit_code: Option<i32>,
    /// Restarts by the supervisor.
    pub restarts: u32,
    /// How its health looks.
    pub health_tone: Tone,
    /// Its health in words.
    pub health_word: &'static str,
    /// Why.
    pub health_why: Option<String>,
}

impl AgentRow {
    /// An installed agent.
    #[must_use]
    pub fn of(agent: &AgentView, now: Timestamp) -> Self {
        let mut row = Self::named(agent.identity.as_str());
        row.name.clone_from(&agent.name);
        row.uuid = Some(agent.uuid.to_string());
        row.tag = agent.tag.as_ref().map(|tag| tag.as_str().to_owned());
        row.priority = agent.priority.as_ref().map(|priority| priority.value());
        row.set_state(&agent.state, now);
        row.set_health(agent.health.as_ref());
        if agent.lost > 0 {
            let lost = format!("It was too slow for {} messages, which were dropped.", ui::count(agent.lost));
            row.health_why = Some(row.health_why.map_or(lost.clone(), |why| format!("{why} {lost}")));
        }
        row
    }

    /// A peer that is connected but not installed, such as a service of the platform.
    #[must_use]
    pub fn of_peer(identity: &str, peer: Option<&PeerView>, health: Option<&HealthView>) -> Self {
        let mut row = Self::named(identity);
        match peer {
            Some(peer) => {
                row.name = format!("{} of the platform", if peer.kind == "service" { "Service" } else { "Peer" });
                (row.run_key, row.run_tone, row.run_word) = ("running", Tone::Good, "Connected");
                row.since = Some(peer.connected_at);
                row.set_health(health);
            }
            None => "Not installed; only its configuration is stored".clone_into(&mut row.name),
        }
        row
    }

    fn named(identity: &str) -> Self {
        Self {
            id: ui::id("agent", identity),
            href: format!("/agents/{}", ui::segment(identity)),
            identity: identity.to_owned(),
            name: String::new(),
            uuid: None,
            tag: None,
            priority: None,
            running: false,
            waiting: false,
            run_key: "stopped",
            run_tone: Tone::Off,
            run_word: "Not connected",
            run_why: None,
            since: None,
            pid: None,
            exit_code: None,
            restarts: 0,
            health_tone: Tone::Unknown,
            health_word: "Unknown",
            health_why: None,
        }
    }

    fn set_state(&mut self, state: &RunState, now: Timestamp) {
        let (pid, exit_code) = state.pid_and_exit_code();
        self.running = state.is_running();
        self.exit_code = exit_code;
        // The number of a process that has ended belongs to nobody, or to somebody else.
        self.pid = pid.filter(|_| self.running);
        (self.run_key, self.run_tone, self.run_word) = match state {
            RunState::NeverStarted => ("stopped", Tone::Off, "Never started"),
            RunState::Running { .. } => ("running", Tone::Good, "Running"),
            RunState::Stopped { exit_code: 0, .. } => ("stopped", Tone::Off, "Stopped"),
            RunState::Stopped { .. } => ("failed", Tone::Bad, "Ended with an error"),
            RunState::BackingOff { .. } => ("failed", Tone::Stale, "Restarting"),
            RunState::Failed { .. } => ("failed", Tone::Bad, "Failed"),
        };
        match state {
            RunState::NeverStarted => {}
            RunState::Running { since, restarts, .. } => (self.since, self.restarts) = (Some(*since), *restarts),
            RunState::Stopped { at, exit_code, .. } => {
                self.since = Some(*at);
                self.run_why = (*exit_code != 0).then(|| format!("Exit code {exit_code}."));
            }
            RunState::BackingOff { reason, at, restart_at, failures, .. } => {
                self.waiting = true;
                self.since = Some(*at);
                self.restarts = *failures;
                let wait = ui::span((*restart_at - now).num_seconds());
                self.run_why = Some(format!("{} Next start in {wait}; failed {failures} times in a row.", sentence(reason)));
            }
            RunState::Failed { reason, at, .. } => {
                self.since = Some(*at);
                self.run_why = Some(format!("{} The supervisor gave up; start it by hand.", sentence(reason)));
            }
        }
    }

    fn set_health(&mut self, health: Option<&HealthView>) {
        let Some(health) = health else {
            if !self.running && self.run_word != "Connected" {
                (self.health_tone, self.health_word) = (Tone::Off, "Not running");
            }
            return;
        };
        self.health_tone = Tone::from(health.status);
        self.health_word = status_word(health.status);
        self.health_why = context(&health.context);
    }

    /// Sorts agents without a start order last.
    #[must_use]
    pub fn priority_sort(&self) -> u16 {
        self.priority.map_or(1000, u16::from)
    }
}

/// `Good`, `Bad`, `Unknown`, `Starting`.
#[must_use]
pub fn status_word(word: StatusWord) -> &'static str {
    match word {
        StatusWord::Good => "Good",
        StatusWord::Bad => "Bad",
        StatusWord::Unknown => "Unknown",
        StatusWord::Starting => "Starting",
    }
}

/// A health context as one line: texts as they are, objects as `key: value`, objects in them in brackets.
#[must_use]
pub fn context(context: &Value) -> Option<String> {
    match context {
        Value::Null => None,
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Object(map) if map.is_empty() => None,
        Value::Object(map) => Some(pairs(map)),
        other => Some(ui::value(other)),
    }
}

fn pairs(map: &Map<String, Value>) -> String {
    let pair = |(key, value): (&String, &Value)| match value {
        Value::Object(inner) if !inner.is_empty() => format!("{key} ({})", pairs(inner)),
        value => format!("{key}: {}", ui::value(value)),
    };
    map.iter().map(pair).collect::<Vec<_>>().join(", ")
}

/// A device in lists and on its own page.
#[derive(Debug, Clone)]
pub struct DeviceRow {
    /// Its path.
    pub path: String,
    /// Last segment of the path.
    pub name: String,
    /// Its page.
    pub href: String,
    /// How its state looks.
    pub tone: Tone,
    /// Its state in words.
    pub word: &'static str,
    /// Why it is in that state.
    pub why: Option<String>,
    /// When it was last read.
    pub last_scrape: Option<Timestamp>,
    /// Age at which a value counts as stale, seconds.
    pub stale_after_s: u64,
    /// How often it is read.
    pub interval: String,
    /// Its interface.
    pub driver: String,
    /// Failed reads in a row.
    pub failures: u64,
    /// Whether writers are kept out.
    pub overridden: bool,
    /// Number of its points.
    pub points: usize,
}

impl DeviceRow {
    /// A configured device, what the driver says about it, and its last message.
    #[must_use]
    pub fn of(node: &DeviceNode, status: Option<&DeviceStatus>, latest: Option<&LiveEvent>, now: Timestamp) -> Self {
        let stale_after_s = stale_after_s(node.interval_s);
        let said = status.and_then(|status| status.last_scrape);
        let last_scrape = said.max(latest.map(read_at));
        let failing = status.and_then(|status| status.last_error.as_deref());
        let stale = last_scrape.is_some_and(|at| (now - at).num_seconds() > i64::try_from(stale_after_s).unwrap_or(i64::MAX));
        let (tone, word, why) = match (&node.problem, failing) {
            (Some(problem), _) => (Tone::Bad, "Misconfigured", Some(sentence(problem))),
            (None, Some(error)) => (Tone::Bad, "In trouble", Some(sentence(error))),
            (None, None) if stale => (Tone::Stale, "Stale", Some("Nothing new has come for several intervals.".to_owned())),
            (None, None) if last_scrape.is_some() => (Tone::Good, "Answering", None),
            (None, None) if status.is_some() => (Tone::Starting, "Not read yet", None),
            (None, None) => (Tone::Unknown, "Unknown", Some("The platform driver says nothing about it.".to_owned())),
        };
        let path = node.path.to_string();
        Self {
            name: path.rsplit('/').next().unwrap_or(&path).to_owned(),
            href: format!("/devices/{}", ui::path(&path)),
            path,
            tone,
            word,
            why,
            last_scrape,
            stale_after_s,
            interval: format!("{} s", ui::decimal(node.interval_s)),
            driver: node.driver_type.clone(),
            failures: status.map_or(0, |status| status.failures),
            overridden: status.is_some_and(|status| status.overridden),
            points: node.points.len(),
        }
    }

    /// Whether people should look at it.
    #[must_use]
    pub fn in_trouble(&self) -> bool {
        matches!(self.tone, Tone::Bad | Tone::Stale)
    }

    /// For filters.
    #[must_use]
    pub fn trouble_word(&self) -> &'static str {
        if self.in_trouble() { "yes" } else { "no" }
    }
}

/// When a value of this scrape interval counts as stale, seconds.
#[must_use]
pub fn stale_after_s(interval_s: f64) -> u64 {
    // Intervals are positive and far below 2^53 s; the cast saturates.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded up, positive, saturating")]
    let seconds = (interval_s.max(0.0) * STALE_INTERVALS + STALE_GRACE_S).ceil() as u64;
    seconds
}

/// When the values of a message were read.
#[must_use]
pub fn read_at(event: &LiveEvent) -> Timestamp {
    let headers = &event.publication.headers;
    let text = headers.text(headers::TIMESTAMP).or_else(|| headers.text(headers::DATE));
    text.and_then(|text| timestamp::parse(text).ok()).map_or(event.at, timestamp::Parsed::assume_utc)
}

/// Values and metadata of a device's message, `[{point: value}, {point: {units, type, tz}}]`.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// When the values were read.
    pub at: Option<Timestamp>,
    values: Map<String, Value>,
    meta: Map<String, Value>,
}

impl Reading {
    /// Takes a message apart; anything of another shape is an empty reading.
    #[must_use]
    pub fn of(event: Option<&Arc<LiveEvent>>) -> Self {
        let Some(event) = event else { return Self::default() };
        let part = |index: usize| event.publication.message.get(index).and_then(Value::as_object).cloned().unwrap_or_default();
        Self { at: Some(read_at(event)), values: part(0), meta: part(1) }
    }

    fn meta_text(&self, point: &str, key: &str) -> Option<&str> {
        self.meta.get(point)?.get(key)?.as_str()
    }
}

/// What a point takes and how it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A number.
    Number,
    /// Any text.
    Text,
    /// Neither the driver nor the registry says; numbers and true/false are recognised, all else is text.
    Any,
}

impl Kind {
    /// For scripts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Number => "number",
            Self::Text => "text",
            Self::Any => "any",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let word = word.trim().to_ascii_lowercase();
        match word.as_str() {
            "bool" | "boolean" => Some(Self::Bool),
            "str" | "string" | "text" => Some(Self::Text),
            "" => None,
            word if ["int", "float", "double", "real", "uint", "number"].iter().any(|start| word.starts_with(start)) => Some(Self::Number),
            _ => None,
        }
    }

    /// The value that somebody typed.
    ///
    /// # Errors
    /// One sentence that says what would fit.
    pub fn read(self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        let shown = ui::plain(text);
        match self {
            Self::Text => Ok(Value::from(text)),
            Self::Bool => match text.to_ascii_lowercase().as_str() {
                "true" | "on" | "1" => Ok(Value::from(true)),
                "false" | "off" | "0" => Ok(Value::from(false)),
                _ => Err(format!("This point takes true or false; “{shown}” is neither.")),
            },
            Self::Number if text.is_empty() => Err("Enter a number.".to_owned()),
            Self::Number => number(text).ok_or_else(|| {
                let comma = if text.contains(',') { " Write decimals with a point, such as 21.5." } else { "" };
                format!("This point takes a number; “{shown}” is not one.{comma}")
            }),
            Self::Any => Ok(number(text).unwrap_or_else(|| match text {
                "true" => Value::from(true),
                "false" => Value::from(false),
                text => Value::from(text),
            })),
        }
    }
}

fn number(text: &str) -> Option<Value> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Value::from(whole));
    }
    let float = text.parse::<f64>().ok()?;
    // from_f64 refuses what JSON cannot hold: infinity and not-a-number.
    serde_json::Number::from_f64(float).map(Value::Number)
}

/// A point in lists and on its own page.
#[derive(Debug, Clone)]
pub struct PointRow {
    /// Key of its row.
    pub id: String,
    /// Path of its device.
    pub device: String,
    /// Its name as people see it.
    pub name: String,
    /// Its page.
    pub href: String,
    /// Its value as text.
    pub value: String,
    /// The value as JSON; `None` before the first reading.
    pub raw: Option<Value>,
    /// Its unit.
    pub unit: String,
    /// When the values were read.
    pub at: Option<Timestamp>,
    /// Whether it can be set.
    pub writable: bool,
    /// Age at which a value counts as stale, seconds.
    pub stale_after_s: u64,
    /// Whether its device is in trouble, for filters.
    pub trouble: &'static str,
    /// What filters look at.
    pub search: String,
    /// What it takes.
    pub kind: Kind,
}

impl PointRow {
    /// A point of a device with its part of the last reading.
    #[must_use]
    pub fn of(device: &DeviceRow, point: &PointInfo, reading: &Reading) -> Self {
        let raw = reading.values.get(&point.name).cloned();
        let unit = if point.units.is_empty() { reading.meta_text(&point.name, "units").unwrap_or_default() } else { &point.units };
        let kind = match &raw {
            Some(Value::Bool(_)) => Kind::Bool,
            Some(Value::Number(_)) => Kind::Number,
            Some(Value::String(_)) => Kind::Text,
            _ => reading.meta_text(&point.name, "type").and_then(Kind::parse).or_else(|| kind_of_row(&point.row)).unwrap_or(Kind::Any),
        };
        Self {
            id: ui::id("point", &point.name),
            device: device.path.clone(),
            name: point.name.clone(),
            href: format!("{}/{}", device.href, ui::path(&point.name)),
            value: raw.as_ref().map_or_else(|| "–".to_owned(), ui::value),
            at: raw.is_some().then_some(reading.at).flatten(),
            raw,
            unit: unit.to_owned(),
            writable: point.writable,
            stale_after_s: device.stale_after_s,
            trouble: device.trouble_word(),
            search: format!("{}/{}", device.path, point.name),
            kind,
        }
    }

    /// For filters.
    #[must_use]
    pub fn writable_word(&self) -> &'static str {
        if self.writable { "yes" } else { "no" }
    }
}

fn kind_of_row(row: &Map<String, Value>) -> Option<Kind> {
    row.iter().find(|(column, _)| column.trim().eq_ignore_ascii_case("type")).and_then(|(_, value)| value.as_str()).and_then(Kind::parse)
}

/// One step of the path above a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crumb {
    /// Its name as people see it.
    pub name: String,
    /// Its page.
    pub href: String,
}

/// `Devices / campus / building / unit`, for the page at `path`.
#[must_use]
pub fn crumbs(path: &str) -> Vec<Crumb> {
    let mut crumbs = vec![Crumb { name: "Devices".to_owned(), href: "/devices".to_owned() }];
    let mut href = String::from("/devices");
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        href.push('/');
        href.push_str(&ui::segment(segment));
        crumbs.push(Crumb { name: segment.to_owned(), href: href.clone() });
    }
    crumbs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn typed_values_are_read_by_kind() {
        assert_eq!(Kind::Number.read(" 21.5 "), Ok(json!(21.5)));
        assert_eq!(Kind::Number.read("-3"), Ok(json!(-3)));
        assert!(Kind::Number.read("21,5").unwrap_err().contains("21.5"));
        for bad in ["", "NaN", "inf", "1e999", "abc", "<img onerror=x>"] {
            assert!(Kind::Number.read(bad).is_err(), "{bad}");
        }
        assert_eq!(Kind::Bool.read("Off"), Ok(json!(false)));
        assert!(Kind::Bool.read("maybe").is_err());
        assert_eq!(Kind::Text.read("5"), Ok(json!("5")));
        assert_eq!(Kind::Any.read("5"), Ok(json!(5)));
        assert_eq!(Kind::Any.read("auto"), Ok(json!("auto")));
    }

    #[test]
    fn kinds_are_known_by_the_words_of_registries() {
        for (word, kind) in
            [("float", Kind::Number), ("int16", Kind::Number), ("Bool", Kind::Bool), ("string", Kind::Text), ("uint32", Kind::Number)]
        {
            assert_eq!(Kind::parse(word), Some(kind), "{word}");
        }
        assert_eq!(Kind::parse("sine"), None);
    }

    #[test]
    fn crumbs_lead_down_encoded() {
        let crumbs = crumbs("campus/b?x");
        assert_eq!(crumbs[2], Crumb { name: "b?x".to_owned(), href: "/devices/campus/b%3Fx".to_owned() });
        assert_eq!(crumbs.len(), 3);
    }

    #[test]
    fn contexts_are_one_line() {
        assert_eq!(context(&json!(null)), None);
        assert_eq!(context(&json!("  ")), None);
        assert_eq!(context(&json!("busy")), Some("busy".to_owned()));
        assert_eq!(context(&json!({"backlog": 3, "full": false})), Some("backlog: 3, full: false".to_owned()));
        let nested = json!({"devices": {"a/b": "no answer"}, "more": {}});
        assert_eq!(context(&nested), Some("devices (a/b: no answer), more: {}".to_owned()));
    }
}
