//! From publications to records: which messages are stored, under which topic, at what time, with what metadata. Pure.
//! Topics and metadata of records are shared: a point seen before costs a look-up, not a new text.
//! Source: VOLTTRON `volttron/platform/agent/base_historian.py` (`_capture_*`).

use std::{collections::HashMap, sync::Arc};

use chrono::TimeDelta;
use serde_json::{Map, Value};
use vt_historians::{
    HistorianConfig,
    config::{CaptureKind, TopicReplacement},
};
use vt_types::{Headers, HistoryRecord, Timestamp, TopicPrefix, headers, history::Source, timestamp};

/// Published topics whose points are remembered; when there are more, all are forgotten and learned anew.
const SOURCES_MAX: usize = 100_000;

/// Records made from messages, and those whose time is out of tolerance.
#[derive(Debug, Default)]
pub struct Captured {
    pub records: Vec<HistoryRecord>,
    pub invalid: Vec<HistoryRecord>,
}

impl Captured {
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.invalid.is_empty()
    }
}

/// What of a point does not change from message to message.
#[derive(Debug)]
struct Known {
    topic: Arc<str>,
    meta: Arc<Map<String, Value>>,
}

/// Makes records.
#[derive(Debug)]
pub struct Capture {
    /// Topic prefix to kind, most specific first.
    routes: Vec<(String, CaptureKind)>,
    replacements: Vec<TopicReplacement>,
    filter: Vec<(String, Vec<String>)>,
    sync_timestamp: bool,
    tolerance: Option<TimeDelta>,
    tolerance_topics: Vec<String>,
    /// Published topic and point to what is known.
    known: HashMap<String, HashMap<String, Known>>,
    captured: Captured,
}

impl Capture {
    pub fn new(config: &HistorianConfig) -> Self {
        let standard = config.capture.iter().map(|kind| (kind.prefix().to_owned(), *kind));
        let custom = config.custom_topics.iter().flat_map(|(kind, prefixes)| prefixes.iter().map(|prefix| (prefix.clone(), *kind)));
        let mut routes: Vec<_> = standard.chain(custom).collect();
        routes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self {
            routes,
            replacements: config.topic_replace_list.clone(),
            filter: config.device_data_filter.clone(),
            sync_timestamp: config.sync_timestamp,
            tolerance: config.time_tolerance.and_then(|tolerance| TimeDelta::from_std(tolerance).ok()),
            tolerance_topics: config.time_tolerance_topics.clone(),
            known: HashMap::new(),
            captured: Captured::default(),
        }
    }

    /// What to subscribe to; a prefix that another one covers is left out, so that no message comes twice.
    pub fn prefixes(&self) -> Vec<TopicPrefix> {
        let covered = |prefix: &str| self.routes.iter().any(|(other, _)| other.len() < prefix.len() && prefix.starts_with(other.as_str()));
        let mut prefixes: Vec<_> = self.routes.iter().map(|(prefix, _)| prefix).filter(|prefix| !covered(prefix)).collect();
        prefixes.sort();
        prefixes.dedup();
        let parsed = prefixes.into_iter().map(|prefix| {
            TopicPrefix::parse(prefix)
                .inspect_err(|error| tracing::error!(prefix, %error, "custom_topics has a prefix that cannot be used"))
        });
        parsed.filter_map(Result::ok).collect()
    }

    /// Takes one message; `captured` has what it gives.
    pub fn take(&mut self, topic: &str, headers: &Headers, message: &Value, now: Timestamp) {
        let kind = self.routes.iter().find(|(prefix, _)| topic.starts_with(prefix.as_str())).map(|(_, kind)| *kind);
        if let Some(kind) = kind {
            self.take_as(kind, topic, headers, message, now);
        }
    }

    /// Takes one message of an `insert` call by the root of its topic, whatever is subscribed. Says whether it has a known root.
    pub fn insert(&mut self, topic: &str, headers: &Headers, message: &Value, now: Timestamp) -> bool {
        let root = topic.split('/').next().unwrap_or_default();
        let kind = CaptureKind::ALL.into_iter().find(|kind| kind.prefix() == root);
        if let Some(kind) = kind {
            self.take_as(kind, topic, headers, message, now);
        }
        kind.is_some()
    }

    /// What was captured since the last call.
    pub fn captured(&mut self) -> Captured {
        let room = self.captured.records.len();
        std::mem::replace(&mut self.captured, Captured { records: Vec::with_capacity(room), invalid: Vec::new() })
    }

    fn take_as(&mut self, kind: CaptureKind, topic: &str, headers: &Headers, message: &Value, now: Timestamp) {
        if self.known.len() >= SOURCES_MAX && !self.known.contains_key(topic) {
            self.known.clear();
        }
        match kind {
            // Single points and breadth-first topics carry what `all` carries once more.
            CaptureKind::Device if !topic.ends_with("/all") => {}
            CaptureKind::Device => self.take_points(Source::Scrape, topic, inner(topic), headers, message, now),
            CaptureKind::Analysis => {
                let base = if topic.ends_with("all") { inner(topic) } else { topic.split_once('/').map_or("", |(_, base)| base) };
                self.take_points(Source::Analysis, topic, base, headers, message, now);
            }
            CaptureKind::Log => self.take_log(topic, message, now),
            CaptureKind::Record => {
                let time = header_time(headers, &[headers::DATE], topic, now);
                self.push(Source::Record, topic, "", topic, time, message.clone(), None, now);
            }
        }
    }

    fn take_points(&mut self, source: Source, topic: &str, base: &str, headers: &Headers, message: &Value, now: Timestamp) {
        let (values, meta) = match message {
            Value::Array(parts) => (parts.first().unwrap_or(&Value::Null), parts.get(1).and_then(Value::as_object)),
            other => (other, None),
        };
        let (Some(values), false) = (values.as_object(), base.is_empty()) else {
            tracing::warn!(
                topic,
                "a message of points does not start with an object of values, or its topic is too short; it is not stored"
            );
            return;
        };
        let names: &[&str] = if self.sync_timestamp {
            &[headers::SYNC_TIMESTAMP, headers::TIMESTAMP, headers::DATE]
        } else {
            &[headers::TIMESTAMP, headers::DATE]
        };
        let time = header_time(headers, names, topic, now);
        for (point, value) in values {
            if source == Source::Scrape && !self.keeps(base, point) {
                continue;
            }
            let meta = meta.and_then(|meta| meta.get(point)).and_then(Value::as_object);
            self.push(source, topic, point, base, time, value.clone(), meta, now);
        }
    }

    fn take_log(&mut self, topic: &str, message: &Value, now: Timestamp) {
        let Some(points) = message.as_object() else {
            tracing::error!(topic, "a datalogger message is not an object of points; it is not stored");
            return;
        };
        for (point, item) in points {
            let (Some(readings), Some(units)) = (item.get("Readings"), item.get("Units")) else {
                tracing::error!(topic, point, "a datalogger point has no Readings or no Units; it is not stored");
                continue;
            };
            let (time, value) = match readings.as_array().map(Vec::as_slice) {
                None => (now, readings),
                Some([time, value]) => match time.as_str().map(timestamp::parse) {
                    Some(Ok(time)) => (time.assume_utc(), value),
                    _ => {
                        tracing::error!(topic, point, "the time of a datalogger reading cannot be read; it is not stored");
                        continue;
                    }
                },
                Some(_) => {
                    tracing::error!(
                        topic,
                        point,
                        "Readings of a datalogger point is neither a value nor a time and a value; it is not stored"
                    );
                    continue;
                }
            };
            let kind = match item.get("data_type").and_then(Value::as_str) {
                None | Some("double") => "float",
                Some(kind) => kind,
            };
            let mut meta = Map::from_iter([("units".to_owned(), units.clone()), ("type".to_owned(), Value::from(kind))]);
            if let Some(tz) = item.get("tz") {
                meta.insert("tz".to_owned(), tz.clone());
            }
            self.push(Source::Log, topic, point, topic, time, value.clone(), Some(&meta), now);
        }
    }

    /// Whether `device_data_filter` lets a point through: its device is named, and the point listed or all of the device wanted.
    fn keeps(&self, device: &str, point: &str) -> bool {
        self.filter.is_empty()
            || self
                .filter
                .iter()
                .any(|(part, points)| device.contains(part.as_str()) && (points.is_empty() || points.iter().any(|p| p == point)))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one record; a struct for them would be built for this call alone")]
    fn push(
        &mut self,
        source: Source,
        published: &str,
        point: &str,
        base: &str,
        time: Timestamp,
        value: Value,
        meta: Option<&Map<String, Value>>,
        now: Timestamp,
    ) {
        if !self.known.contains_key(published) {
            self.known.insert(published.to_owned(), HashMap::new());
        }
        let Some(points) = self.known.get_mut(published) else { return };
        if !points.contains_key(point) {
            let topic = if point.is_empty() { base.to_owned() } else { format!("{base}/{point}") };
            let topic = self.replacements.iter().fold(topic, |topic, replacement| replacement.apply(&topic));
            points.insert(point.to_owned(), Known { topic: topic.into(), meta: Arc::default() });
        }
        let Some(known) = points.get_mut(point) else { return };
        let meta = match meta {
            Some(meta) if *meta == *known.meta => Arc::clone(&known.meta),
            Some(meta) => {
                known.meta = Arc::new(meta.clone());
                Arc::clone(&known.meta)
            }
            None => Arc::default(),
        };
        let record = HistoryRecord { timestamp: time, topic: Arc::clone(&known.topic), source, value, meta };
        let out_of_tolerance = self.tolerance.is_some_and(|tolerance| (time - now).abs() > tolerance)
            && self.tolerance_topics.iter().any(|prefix| published.starts_with(prefix.as_str()));
        if out_of_tolerance {
            self.captured.invalid.push(record);
        } else {
            self.captured.records.push(record);
        }
    }
}

/// A topic without its first and last segment.
fn inner(topic: &str) -> &str {
    let rest = topic.split_once('/').map_or("", |(_, rest)| rest);
    rest.rsplit_once('/').map_or("", |(base, _)| base)
}

fn header_time(headers: &Headers, names: &[&str], topic: &str, now: Timestamp) -> Timestamp {
    let Some(text) = names.iter().find_map(|name| headers.text(name)) else { return now };
    timestamp::parse(text).map_or_else(
        |error| {
            tracing::warn!(topic, %error, "the time in a message's headers cannot be read; the present is taken");
            now
        },
        timestamp::Parsed::assume_utc,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        timestamp::parse("2026-01-01T12:00:00Z").unwrap().assume_utc()
    }

    fn capture(settings: &Value) -> Capture {
        Capture::new(&HistorianConfig::parse(settings.as_object().unwrap()).unwrap())
    }

    fn taken(settings: &Value, topic: &str, headers: &Value, message: &Value) -> Captured {
        let mut capture = capture(settings);
        capture.take(topic, &headers.as_object().unwrap().clone().into(), message, now());
        capture.captured()
    }

    fn topics(captured: &Captured) -> Vec<&str> {
        captured.records.iter().map(|record| &*record.topic).collect()
    }

    #[test]
    fn only_depth_first_all_topics_of_devices_are_stored() {
        let message = json!([{"T": 1, "S": 2}, {"T": {"units": "F"}}]);
        let stored = taken(&json!({}), "devices/c/b/u/all", &json!({}), &message);
        assert_eq!(topics(&stored), ["c/b/u/T", "c/b/u/S"]);
        assert_eq!((stored.records[0].meta["units"].clone(), stored.records[1].meta.len()), (json!("F"), 0));
        assert_eq!(stored.records[0].source, Source::Scrape);
        for topic in ["devices/c/b/u/T", "devices/all/u/b/c", "devices/actuators/schedule/announce/c", "heartbeat/x", "devices/all"] {
            assert!(taken(&json!({}), topic, &json!({}), &message).is_empty(), "{topic}");
        }
    }

    #[test]
    fn analysis_topics_may_lack_all() {
        let message = json!({"T": 1});
        assert_eq!(topics(&taken(&json!({}), "analysis/app/c/u/all", &json!({}), &message)), ["app/c/u/T"]);
        assert_eq!(topics(&taken(&json!({}), "analysis/app/c/u", &json!({}), &message)), ["app/c/u/T"]);
    }

    #[test]
    fn a_datalogger_message_without_units_is_not_stored() {
        let message = json!({
            "good": {"Readings": ["2026-01-01T00:00:00", 5], "Units": "F", "tz": "UTC", "data_type": "double"},
            "now": {"Readings": 7, "Units": "C"},
            "bad": {"Readings": 5}, "worse": {"Units": "F"}, "worst": 5, "odd": {"Readings": [1, 2, 3], "Units": "F"}
        });
        let stored = taken(&json!({}), "datalogger/a", &json!({}), &message);
        assert_eq!(topics(&stored), ["datalogger/a/good", "datalogger/a/now"]);
        assert_eq!(Value::Object((*stored.records[0].meta).clone()), json!({"units": "F", "type": "float", "tz": "UTC"}));
        assert_eq!(timestamp::format(stored.records[0].timestamp), "2026-01-01T00:00:00.000000+00:00");
        assert_eq!(stored.records[1].timestamp, now());
    }

    #[test]
    fn record_topics_are_stored_whole() {
        let stored = taken(&json!({}), "record/x/y", &json!({"Date": "2026-01-01T01:00:00+00:00"}), &json!([1, {"a": null}]));
        assert_eq!((topics(&stored), stored.records[0].value.clone()), (vec!["record/x/y"], json!([1, {"a": null}])));
        assert_eq!(timestamp::format(stored.records[0].timestamp), "2026-01-01T01:00:00.000000+00:00");
    }

    #[test]
    fn the_time_is_taken_from_timestamp_then_date_then_now() {
        let all =
            json!({"TimeStamp": "2026-01-01T01:00:00", "SynchronizedTimeStamp": "2026-01-01T02:00:00", "Date": "2026-01-01T03:00:00"});
        let hour = |settings: Value, headers: Value| {
            timestamp::format(taken(&settings, "devices/u/all", &headers, &json!([{"T": 1}, {}])).records[0].timestamp)[11..13].to_owned()
        };
        assert_eq!(hour(json!({}), all.clone()), "01");
        assert_eq!(hour(json!({"sync_timestamp": true}), all), "02");
        assert_eq!(hour(json!({}), json!({"Date": "2026-01-01T03:00:00"})), "03");
        assert_eq!(hour(json!({}), json!({"TimeStamp": "yesterday"})), "12");
    }

    #[test]
    fn filters_replacements_and_custom_topics_apply() {
        let message = json!([{"T": 1, "S": 2}, {}]);
        let filter = json!({"device_data_filter": {"/u1": ["T"]}});
        assert_eq!(topics(&taken(&filter, "devices/c/u1/all", &json!({}), &message)), ["c/u1/T"]);
        assert!(taken(&filter, "devices/c/u2/all", &json!({}), &message).is_empty());
        let replace = json!({"topic_replace_list": [{"from": "CAMPUS", "to": "site"}]});
        assert_eq!(topics(&taken(&replace, "devices/campus/u/all", &json!({}), &json!([{"T": 1}, {}]))), ["site/u/T"]);
        let custom = json!({"capture_record_data": false, "custom_topics": {"capture_record_data": ["mine/"]}});
        assert_eq!(topics(&taken(&custom, "mine/x", &json!({}), &json!(1))), ["mine/x"]);
        assert!(taken(&custom, "record/x", &json!({}), &json!(1)).is_empty());
    }

    #[test]
    fn times_out_of_tolerance_are_kept_aside() {
        let settings = json!({"time_tolerance": 5});
        let late = json!({"TimeStamp": "2026-01-01T11:54:00"});
        let captured = taken(&settings, "devices/u/all", &late, &json!([{"T": 1}, {}]));
        assert_eq!((captured.records.len(), captured.invalid.len()), (0, 1));
        assert_eq!(taken(&settings, "record/u", &json!({"Date": "2020-01-01"}), &json!(1)).records.len(), 1);
    }

    #[test]
    fn topics_and_metadata_are_shared_between_records() {
        let mut capture = capture(&json!({}));
        let message = json!([{"T": 1}, {"T": {"units": "F"}}]);
        capture.take("devices/u/all", &Headers::new(), &message, now());
        capture.take("devices/u/all", &Headers::new(), &message.clone(), now());
        let records = capture.captured().records;
        assert!(Arc::ptr_eq(&records[0].topic, &records[1].topic) && Arc::ptr_eq(&records[0].meta, &records[1].meta));
    }

    #[test]
    fn no_message_comes_twice() {
        let capture = capture(&json!({"custom_topics": {"capture_device_data": ["devices/campus", "other"]}}));
        let prefixes = capture.prefixes();
        assert_eq!(prefixes.iter().map(TopicPrefix::as_str).collect::<Vec<_>>(), ["analysis", "datalogger", "devices", "other", "record"]);
    }
}
