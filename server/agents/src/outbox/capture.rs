//! From what is published to what is sent: which messages, under which topic, with a time that a second sending does not change. Pure.
//! Source: agents.md §5.2 and §5.7, VOLTTRON `services/core/ForwardHistorian/forwarder/agent.py` (`capture_data`).

use std::sync::Arc;

use serde_json::{Map, Value, json};
use vt_historians::config::CaptureKind;
use vt_types::{HistoryRecord, Publication, Timestamp, TopicPrefix, headers, history::Source, timestamp};

use super::settings::Settings;

/// Names of the platforms that a message has passed.
pub const FORWARDED_FROM: &str = "X-Forwarded-From";
/// When which agent did what with a message.
pub const TIMING_DATA: &str = "timing_data";

/// Chooses messages and makes records of them.
#[derive(Debug)]
pub struct Capture {
    routes: Vec<(String, Option<CaptureKind>)>,
    replacements: Vec<(String, String)>,
    filter: Vec<(String, Vec<String>)>,
    /// Messages that have passed this platform already are left alone. Differs from VOLTTRON, where two platforms that forward to each
    /// other send the same message back and forth for ever.
    own_name: String,
    /// Who adds timing data, if somebody does.
    timing: Option<String>,
}

impl Capture {
    /// For the agent `identity` of the platform `instance`.
    pub fn new(settings: &Settings, instance: &str, identity: &str) -> Self {
        Self {
            routes: settings.routes.clone(),
            replacements: settings.replacements.clone(),
            filter: settings.base.device_data_filter.clone(),
            own_name: instance.to_owned(),
            timing: settings.gather_timing_data.then(|| identity.to_owned()),
        }
    }

    /// What to subscribe to; a prefix that another one covers is left out.
    pub fn prefixes(&self) -> Vec<TopicPrefix> {
        let covered = |prefix: &str| self.routes.iter().any(|(other, _)| other.len() < prefix.len() && prefix.starts_with(other.as_str()));
        let mut prefixes: Vec<_> = self.routes.iter().map(|(prefix, _)| prefix.as_str()).filter(|prefix| !covered(prefix)).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let parsed = prefixes.into_iter().map(|prefix| {
            TopicPrefix::parse(prefix).inspect_err(|error| tracing::error!(prefix, %error, "a topic prefix in the settings cannot be used"))
        });
        parsed.filter_map(Result::ok).collect()
    }

    /// The record of a message that is to be sent.
    pub fn take(&self, publication: &Publication, now: Timestamp) -> Option<HistoryRecord> {
        let topic = publication.topic.as_str();
        let (_, kind) = self.routes.iter().find(|(prefix, _)| topic.starts_with(prefix.as_str()))?;
        // Single points and breadth-first topics carry what `all` carries once more.
        if (*kind == Some(CaptureKind::Device) && !topic.ends_with("/all")) || self.has_passed_here(publication) {
            return None;
        }
        let renamed = self.renamed(topic)?;
        let mut headers = publication.headers.as_map().clone();
        let time = |name: &str| publication.headers.text(name).map(str::to_owned);
        if time(headers::DATE).is_none() {
            // A historian that got the message twice would store it under two times otherwise.
            headers.insert(headers::DATE.to_owned(), time(headers::TIMESTAMP).unwrap_or_else(|| timestamp::format(now)).into());
        }
        if let Some(identity) = &self.timing {
            note_time(&mut headers, identity, "collected", now);
        }
        let mut message = (*publication.message).clone();
        match kind {
            Some(CaptureKind::Device) if !self.filter.is_empty() && !self.keep_points(topic, &mut message) => return None,
            Some(CaptureKind::Log) => time_readings(&mut message, now),
            _ => {}
        }
        let value = json!({"headers": headers, "message": message});
        Some(HistoryRecord { timestamp: now, topic: Arc::from(renamed), source: Source::Forwarded, value, meta: Arc::default() })
    }

    /// The topic under which it is sent; none for one that the replacements do not change, for it is not anonymous then.
    fn renamed(&self, topic: &str) -> Option<String> {
        let renamed = self.replacements.iter().fold(topic.to_owned(), |topic, (from, to)| topic.replace(from.as_str(), to));
        if !self.replacements.is_empty() && renamed == topic {
            tracing::debug!(topic, "not sent: topic_replace_list does not change its topic");
            return None;
        }
        Some(renamed)
    }

    fn has_passed_here(&self, publication: &Publication) -> bool {
        match publication.headers.find(FORWARDED_FROM) {
            Some(Value::String(name)) => *name == self.own_name,
            Some(Value::Array(names)) => names.iter().any(|name| name.as_str() == Some(self.own_name.as_str())),
            _ => false,
        }
    }

    /// Leaves the points that `device_data_filter` lets through; says whether there are any.
    fn keep_points(&self, topic: &str, message: &mut Value) -> bool {
        let keeps = |point: &str| {
            let wanted = |(part, points): &(String, Vec<String>)| {
                topic.contains(part.as_str()) && (points.is_empty() || points.iter().any(|wanted| wanted == point))
            };
            self.filter.iter().any(wanted)
        };
        let parts = match message {
            Value::Array(parts) => parts.as_mut_slice(),
            other => std::slice::from_mut(other),
        };
        let mut left = false;
        for (index, part) in parts.iter_mut().enumerate() {
            if let Value::Object(points) = part {
                points.retain(|point, _| keeps(point));
                left |= index == 0 && !points.is_empty();
            }
        }
        left
    }
}

/// Adds `{identity: {phase: time}}` to the header of timing data.
pub fn note_time(headers: &mut Map<String, Value>, identity: &str, phase: &str, now: Timestamp) {
    let data = headers.entry(TIMING_DATA).or_insert_with(|| json!({}));
    if let Value::Object(agents) = data
        && let Value::Object(phases) = agents.entry(identity).or_insert_with(|| json!({}))
    {
        phases.insert(phase.to_owned(), timestamp::format(now).into());
    }
}

/// Readings without a time get the present one, which is the one that a historian here would store. Differs from VOLTTRON, where they get
/// the time at which they arrive, however late that is, and another one each time they arrive.
fn time_readings(message: &mut Value, now: Timestamp) {
    let Value::Object(points) = message else { return };
    for readings in points.values_mut().filter_map(|point| point.get_mut("Readings")).filter(|readings| !readings.is_array()) {
        *readings = json!([timestamp::format(now), readings.take()]);
    }
}

#[cfg(test)]
mod tests {
    use vt_types::{Headers, Identity, Topic};

    use super::super::settings::normal;
    use super::*;

    fn now() -> Timestamp {
        timestamp::parse("2026-01-01T12:00:00").unwrap().assume_utc()
    }

    fn taken(settings: &Value, topic: &str, headers: &Value, message: Value) -> Option<(String, Value)> {
        let settings = Settings::parse(&normal(settings.as_object().unwrap())).unwrap();
        let headers = Headers::from(headers.as_object().unwrap().clone());
        let publication = Publication::new(Identity::known("x"), Topic::parse(topic).unwrap(), headers, message);
        let record = Capture::new(&settings, "here", "forward.historian").take(&publication, now())?;
        assert_eq!((record.timestamp, record.source), (now(), Source::Forwarded));
        Some((record.topic.to_string(), record.value))
    }

    #[test]
    fn messages_go_whole_and_devices_depth_first_only() {
        let headers = json!({"Date": "2026-01-01T00:00:00", "x": 1});
        let message = json!([{"T": 1}, {"T": {"units": "F"}}]);
        let wanted = json!({"headers": headers, "message": message});
        assert_eq!(taken(&json!({}), "devices/a/b/all", &headers, message.clone()), Some(("devices/a/b/all".to_owned(), wanted)));
        for topic in ["devices/a/b/T", "devices/all/b/a", "heartbeat/x", "alerts/x"] {
            assert_eq!(taken(&json!({}), topic, &headers, message.clone()), None, "{topic}");
        }
        assert!(taken(&json!({"custom_topic_list": ["heartbeat"]}), "heartbeat/x", &headers, json!("GOOD")).is_some());
    }

    #[test]
    fn a_message_gets_a_time_that_a_second_sending_does_not_change() {
        let date = |headers: Value| taken(&json!({}), "record/x", &headers, json!(1)).unwrap().1["headers"]["Date"].clone();
        assert_eq!(date(json!({})), "2026-01-01T12:00:00.000000+00:00");
        assert_eq!(date(json!({"TimeStamp": "2026-01-01T01:00:00"})), "2026-01-01T01:00:00");
        assert_eq!(date(json!({"Date": "2025-01-01"})), "2025-01-01");
        let log = json!({"a": {"Readings": 5, "Units": "F"}, "b": {"Readings": ["2026-01-01T00:00:00", 6], "Units": "F"}});
        let (_, value) = taken(&json!({}), "datalogger/x", &json!({}), log).unwrap();
        assert_eq!(value["message"]["a"]["Readings"], json!(["2026-01-01T12:00:00.000000+00:00", 5]));
        assert_eq!(value["message"]["b"]["Readings"], json!(["2026-01-01T00:00:00", 6]));
    }

    #[test]
    fn item_68_topics_that_the_replacements_do_not_change_are_not_sent() {
        let settings = json!({"topic_replace_list": [{"from": "campus1", "to": "site"}, {"from": "b1", "to": "x"}]});
        let topic = |topic: &str| taken(&settings, topic, &json!({}), json!([{"T": 1}, {}])).map(|(topic, _)| topic);
        assert_eq!(topic("devices/campus1/b1/all").as_deref(), Some("devices/site/x/all"));
        assert_eq!(topic("devices/CAMPUS1/c/all"), None, "with regard to case");
        assert_eq!(topic("record/other"), None);
    }

    #[test]
    fn what_has_passed_here_is_not_sent_round_again() {
        for (from, wanted) in [(json!("here"), false), (json!(["there", "here"]), false), (json!("there"), true), (json!(["there"]), true)]
        {
            assert_eq!(taken(&json!({}), "record/x", &json!({"X-Forwarded-From": from}), json!(1)).is_some(), wanted, "{from}");
        }
    }

    #[test]
    fn points_are_filtered_and_timing_is_noted() {
        let settings = json!({"device_data_filter": {"/u1": ["T"]}, "gather_timing_data": true});
        let message = json!([{"T": 1, "S": 2}, {"T": {}, "S": {}}]);
        let (_, value) = taken(&settings, "devices/c/u1/all", &json!({}), message.clone()).unwrap();
        assert_eq!(value["message"], json!([{"T": 1}, {"T": {}}]));
        assert_eq!(value["headers"]["timing_data"]["forward.historian"]["collected"], "2026-01-01T12:00:00.000000+00:00");
        assert_eq!(taken(&settings, "devices/c/u2/all", &json!({}), message), None);
    }
}
