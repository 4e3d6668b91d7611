//! Historians and what they keep.
//!
//! - `GET P/historians`: links, one per running historian. `GET P/historians/{h}`: link `topics`.
//! - `GET P/historians/{h}/topics[/{topic}]`: links, or for topics with values (or below a topic with `read-all=true`)
//!   `{topic: {"value": [[time, value], ...], "metadata"?, "route"}}`; `metadata` when one topic is asked for.
//!
//! Query: `start` (inclusive) and `end` (exclusive) as ISO 8601, naive = UTC; `skip`, `count` per topic; `order=FIRST_TO_LAST|LAST_TO_FIRST`;
//! `values`, `routes` (default true); `regex` and `tag`; `-` as a segment stands for any one; `agg-type` with `agg-period`, if the historian
//! has aggregates.
//!
//! For charts: `max-points=N` (1 to 10,000) folds the time from `start` (default: a day before `end`) to `end` (default: now) into at most N
//! stretches per topic. Then `value` is `[[time of the stretch's first value, mean], ...]`, and `min` and `max` are arrays of the same length;
//! null where a stretch has no number. At most 16 topics, and `skip`, `count`, `order` and aggregates do not apply.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};
use vt_services::{ChartSeries, HistoryQuery};
use vt_types::timestamp::{self, Timestamp};
use vt_types::{ErrorKind, Identity};

use super::{Answer, Cx, devices, links, ok_long};
use crate::error::ApiError;

/// Most topics with values in one answer.
const TOPICS_MAX: usize = 1_000;
/// Most values of all topics in one answer.
const VALUES_MAX: u64 = 200_000;
/// Most topics of one chart request.
const CHART_TOPICS_MAX: usize = 16;
/// Largest compiled regular expression, bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// `P/historians`.
pub fn list(cx: &Cx) -> Answer {
    cx.only_get()?;
    let historians = cx.services().history.historians();
    Ok(links(historians.iter().map(|historian| (historian.to_string(), cx.path(&format!("historians/{historian}"))))))
}

/// `P/historians/{h}`.
pub fn historian(cx: &Cx, historian: &str) -> Answer {
    cx.only_get()?;
    Ok(links([("topics".to_owned(), cx.path(&format!("historians/{historian}/topics")))]))
}

/// `P/historians/{h}/topics[/{topic}]`.
pub async fn topics(cx: &Cx, historian: &str, topic: &str) -> Answer {
    cx.only_get()?;
    let platform = &cx.services().instance.name;
    let unknown = || ApiError::invalid(format!("Historian {historian} is not running on platform: {platform}."));
    let identity = Identity::parse(historian).map_err(|_| unknown())?;
    let all = cx.services().history.topics(&identity).await.map_err(|error| match error.kind() {
        ErrorKind::Unavailable => unknown(),
        _ => error.into(),
    })?;
    let tagged = match cx.query.text("tag") {
        Some(tag) => Some(cx.services().devices.tagged(tag).await.map_err(devices::without_tagging)?),
        None => None,
    };
    let regex = cx.query.text("regex").map(compile).transpose()?;
    let topic = topic.trim_matches('/');
    let found = Found::of(&all, topic, regex.as_ref(), tagged.as_deref());
    if found.matched == 0 && !topic.is_empty() {
        return Err(ApiError::invalid(format!("Historian topic {topic} not found on platform: {platform}.")));
    }
    let base = format!("historians/{historian}/topics");
    let leaves = if cx.query.flag("read-all", false) { found.below } else { found.exact };
    if leaves.is_empty() {
        let below = if topic.is_empty() { base } else { format!("{base}/{topic}") };
        return Ok(links(found.next.into_iter().map(|name| (name.to_owned(), cx.path(&format!("{below}/{name}"))))));
    }
    if leaves.len() > TOPICS_MAX {
        return Err(ApiError::invalid(format!("{} topics are more than the {TOPICS_MAX} of one answer; ask for fewer.", leaves.len())));
    }
    let mut entries = match cx.query.number("max-points")? {
        Some(points) if cx.query.flag("values", true) => charts(cx, &identity, &leaves, points).await?,
        _ => series(cx, &identity, &leaves).await?,
    };
    if cx.query.flag("routes", true) {
        for (topic, entry) in &mut entries {
            entry["route"] = json!(cx.path(&format!("{base}/{topic}")));
        }
    }
    Ok(ok_long(&Value::Object(entries)))
}

async fn series(cx: &Cx, historian: &Identity, topics: &[&str]) -> Result<Map<String, Value>, ApiError> {
    let query = question(cx, topics)?;
    if !cx.query.flag("values", true) {
        return Ok(topics.iter().map(|topic| ((*topic).to_owned(), json!({}))).collect());
    }
    let single = topics.len() == 1;
    let series = cx.services().history.query(historian, query).await?;
    let entries = series.into_iter().map(|series| {
        let values: Vec<Value> = series.values.into_iter().map(|(at, value)| json!([at, value])).collect();
        let mut entry = json!({"value": values});
        if single {
            entry["metadata"] = Value::Object(series.metadata);
        }
        (series.topic, entry)
    });
    Ok(entries.collect())
}

fn question(cx: &Cx, topics: &[&str]) -> Result<HistoryQuery, ApiError> {
    let text = |name: &str| cx.query.text(name).map(str::to_owned);
    for name in ["start", "end"] {
        if let Some(text) = cx.query.text(name) {
            check_time(name, text)?;
        }
    }
    let newest_first = match cx.query.text("order").unwrap_or("FIRST_TO_LAST") {
        "FIRST_TO_LAST" => false,
        "LAST_TO_FIRST" => true,
        other => return Err(ApiError::invalid(format!("'order' must be FIRST_TO_LAST or LAST_TO_FIRST, not {other}."))),
    };
    let count_max = (VALUES_MAX / topics.len().max(1) as u64).max(1);
    Ok(HistoryQuery {
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        start: text("start"),
        end: text("end"),
        skip: cx.query.number("skip")?.unwrap_or(0),
        count: Some(cx.query.number("count")?.unwrap_or(count_max).min(count_max)),
        newest_first,
        agg_type: text("agg-type"),
        agg_period: text("agg-period"),
    })
}

async fn charts(cx: &Cx, historian: &Identity, topics: &[&str], points: u64) -> Result<Map<String, Value>, ApiError> {
    let points_max = vt_services::history::CHART_POINTS_MAX;
    let points = usize::try_from(points).ok().filter(|points| (1..=points_max).contains(points));
    let points = points.ok_or_else(|| ApiError::invalid(format!("'max-points' must be 1 to {points_max}.")))?;
    if topics.len() > CHART_TOPICS_MAX {
        return Err(ApiError::invalid(format!("A chart has at most {CHART_TOPICS_MAX} topics; this would have {}.", topics.len())));
    }
    let end = cx.query.text("end").map(|text| time("end", text)).transpose()?.unwrap_or_else(|| cx.services().clock.now());
    let start = cx.query.text("start").map(|text| time("start", text)).transpose()?.unwrap_or(end - TimeDelta::days(1));
    if start >= end {
        return Err(ApiError::invalid("'start' must be before 'end'."));
    }
    let mut entries = Map::new();
    for topic in topics {
        let series = cx.services().history.chart(historian, topic, start, end, points).await?;
        entries.insert((*topic).to_owned(), chart(&series));
    }
    Ok(entries)
}

fn chart(series: &ChartSeries) -> Value {
    let at = |ms: i64| Timestamp::from_timestamp_millis(ms).map(timestamp::format);
    let value: Vec<Value> = series.times_ms.iter().zip(&series.mean).map(|(ms, mean)| json!([at(*ms), mean])).collect();
    json!({"value": value, "min": series.min, "max": series.max, "metadata": {"units": series.units}})
}

/// Relative times (`now -1h`) are the historian's to read.
fn check_time(name: &str, text: &str) -> Result<(), ApiError> {
    if text.trim_start().starts_with("now") { Ok(()) } else { time(name, text).map(drop) }
}

fn time(name: &str, text: &str) -> Result<Timestamp, ApiError> {
    timestamp::parse(text).map(timestamp::Parsed::assume_utc).map_err(|error| ApiError::invalid(format!("'{name}': {error}")))
}

fn compile(text: &str) -> Result<Regex, ApiError> {
    let broken = |error: regex::Error| {
        ApiError::invalid(format!("regex is not a usable regular expression: {}", error.to_string().replace('\n', " ")))
    };
    RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build().map_err(broken)
}

/// Topics that a pattern selects.
struct Found<'a> {
    /// Topics that match, filters left aside.
    matched: usize,
    /// Those that the pattern names in full and the filters keep.
    exact: Vec<&'a str>,
    /// Those at or below the pattern that the filters keep.
    below: Vec<&'a str>,
    /// Names of the next segment.
    next: BTreeSet<&'a str>,
}

impl<'a> Found<'a> {
    fn of(topics: &'a [String], pattern: &str, regex: Option<&Regex>, tagged: Option<&[String]>) -> Self {
        let wanted: Vec<&str> = if pattern.is_empty() { Vec::new() } else { pattern.split('/').collect() };
        let mut found = Self { matched: 0, exact: Vec::new(), below: Vec::new(), next: BTreeSet::new() };
        for topic in topics {
            let mut names = topic.split('/');
            if !wanted.iter().all(|wanted| names.next().is_some_and(|name| *wanted == "-" || *wanted == name)) {
                continue;
            }
            found.matched += 1;
            let tagged = tagged.is_none_or(|prefixes| prefixes.iter().any(|prefix| is_below(topic, prefix)));
            if !tagged || regex.is_some_and(|regex| !regex.is_match(topic)) {
                continue;
            }
            found.below.push(topic);
            match names.next() {
                Some(next) => {
                    found.next.insert(next);
                }
                None => found.exact.push(topic),
            }
        }
        found
    }
}

fn is_below(topic: &str, prefix: &str) -> bool {
    let prefix = prefix.strip_prefix("devices/").unwrap_or(prefix).trim_matches('/');
    topic.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_found_by_segments() {
        let topics = ["a/b/T", "a/bc/T", "a/b/U", "x/b/T"].map(str::to_owned);
        let found = |pattern: &str| {
            let found = Found::of(&topics, pattern, None, None);
            (found.exact.join(" "), found.below.len(), found.next.into_iter().collect::<Vec<_>>().join(" "))
        };
        assert_eq!(found(""), (String::new(), 4, "a x".to_owned()));
        assert_eq!(found("a/b"), (String::new(), 2, "T U".to_owned()));
        assert_eq!(found("-/b/T"), ("a/b/T x/b/T".to_owned(), 2, String::new()));
        let regex = Regex::new("U$").unwrap();
        assert_eq!(Found::of(&topics, "a", Some(&regex), None).below, ["a/b/U"]);
        assert_eq!(Found::of(&topics, "", None, Some(&["devices/a/b".to_owned()])).below, ["a/b/T", "a/b/U"]);
    }
}
