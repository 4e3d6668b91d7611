//! VOLTTRON's query parameters: topics, times (also relative), aggregates, paging and order, read into a [`HistoryQuery`].
//! Source: VOLTTRON `volttron/platform/agent/base_historian.py` (`query`), `base_aggregate_historian.py` (period units).

use chrono::TimeDelta;
use serde_json::{Map, Value};
use vt_types::{Timestamp, timestamp};

use crate::store::{Aggregate, HistoryQuery, Order, TimeSpan};

/// A parameter that cannot be used. The texts are what the caller reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// No topic, or null. VOLTTRON's own text.
    #[error("\"Topic\" required")]
    TopicRequired,
    /// Only one of the two aggregate parameters, or one that is none. VOLTTRON's own text for the first case.
    #[error("You must provide both aggregation type (agg_type) and aggregation time period (agg_period) to query aggregate data")]
    AggregateIncomplete,
    /// A parameter with a wrong type or value.
    #[error("{field}: {reason}")]
    Field {
        /// Which parameter.
        field: &'static str,
        /// What it should be.
        reason: String,
    },
}

/// A question and whether it named a single topic as text, which decides the shape of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedQuery {
    /// The question.
    pub query: HistoryQuery,
    /// The topic was given as text, not as a list.
    pub single: bool,
}

/// Reads `{topic, start, end, agg_type, agg_period, skip, count, order}`; relative times count from `now`.
///
/// # Errors
/// [`QueryError`] names the parameter.
pub fn parse(parameters: &Map<String, Value>, now: Timestamp) -> Result<ParsedQuery, QueryError> {
    let (topics, single) = topics(parameters.get("topic").unwrap_or(&Value::Null))?;
    let span = TimeSpan { start: time(parameters, "start", now)?, end: time(parameters, "end", now)? };
    let query = HistoryQuery {
        topics,
        span,
        skip: number(parameters, "skip")?.unwrap_or(0),
        count: number(parameters, "count")?,
        order: order(parameters)?,
        aggregate: aggregate(parameters)?,
    };
    Ok(ParsedQuery { query, single })
}

/// Reads one time: VOLTTRON's timestamp text (naive is UTC) or `now -1h -20m`.
///
/// # Errors
/// [`QueryError::Field`] under the name `field`.
pub fn parse_time(field: &'static str, text: &str, now: Timestamp) -> Result<Timestamp, QueryError> {
    if let Some(offsets) = text.trim().strip_prefix("now") {
        return relative(offsets, now).ok_or_else(|| QueryError::Field {
            field,
            reason: format!("{text:?} is not a time; write a relative one as now -1h -20m, with the units d, h, m and s"),
        });
    }
    timestamp::parse(text).map(timestamp::Parsed::assume_utc).map_err(|error| QueryError::Field { field, reason: error.to_string() })
}

/// Brings a period to its biggest whole unit: `60m` to `1h`, `48h` to `2d`, `7d` to `1w`. Units: m, h, d, w and M.
///
/// # Errors
/// [`QueryError::Field`] for anything else.
pub fn normalise_period(text: &str) -> Result<String, QueryError> {
    let bad =
        || QueryError::Field { field: "agg_period", reason: format!("{text:?} is not a period; write a number and one of m, h, d, w, M") };
    let text = text.trim();
    let unit = text.chars().last().filter(|unit| matches!(unit, 'm' | 'h' | 'd' | 'w' | 'M')).ok_or_else(bad)?;
    let mut count: u32 = text[..text.len() - 1].trim().parse().ok().filter(|count| *count > 0).ok_or_else(bad)?;
    let mut unit = unit;
    for (small, big, size) in [('m', 'h', 60), ('h', 'd', 24), ('d', 'w', 7)] {
        if unit == small && count.is_multiple_of(size) {
            (count, unit) = (count / size, big);
        }
    }
    Ok(format!("{count}{unit}"))
}

fn topics(value: &Value) -> Result<(Vec<String>, bool), QueryError> {
    let bad = || QueryError::Field { field: "topic", reason: "must be text or a list of texts".to_owned() };
    match value {
        Value::Null => Err(QueryError::TopicRequired),
        Value::String(topic) => Ok((vec![topic.trim_matches('/').to_owned()], true)),
        Value::Array(list) => {
            let topics: Option<Vec<_>> = list.iter().map(|topic| topic.as_str().map(|topic| topic.trim_matches('/').to_owned())).collect();
            let topics = topics.ok_or_else(bad)?;
            if topics.is_empty() { Err(QueryError::TopicRequired) } else { Ok((topics, false)) }
        }
        _ => Err(bad()),
    }
}

fn text<'a>(parameters: &'a Map<String, Value>, field: &'static str) -> Result<Option<&'a str>, QueryError> {
    match parameters.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(QueryError::Field { field, reason: "must be text".to_owned() }),
    }
}

fn time(parameters: &Map<String, Value>, field: &'static str, now: Timestamp) -> Result<Option<Timestamp>, QueryError> {
    text(parameters, field)?.map(|text| parse_time(field, text, now)).transpose()
}

fn number(parameters: &Map<String, Value>, field: &'static str) -> Result<Option<usize>, QueryError> {
    let bad = || QueryError::Field { field, reason: "must be a whole number, 0 or more".to_owned() };
    match parameters.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => text.trim().parse().map(Some).map_err(|_| bad()),
        Some(value) => value.as_u64().and_then(|number| usize::try_from(number).ok()).map(Some).ok_or_else(bad),
    }
}

fn order(parameters: &Map<String, Value>) -> Result<Order, QueryError> {
    match text(parameters, "order")? {
        None | Some("FIRST_TO_LAST") => Ok(Order::FirstToLast),
        Some("LAST_TO_FIRST") => Ok(Order::LastToFirst),
        Some(other) => Err(QueryError::Field { field: "order", reason: format!("{other:?} is neither FIRST_TO_LAST nor LAST_TO_FIRST") }),
    }
}

fn aggregate(parameters: &Map<String, Value>) -> Result<Option<Aggregate>, QueryError> {
    match (text(parameters, "agg_type")?, text(parameters, "agg_period")?) {
        (None, None) => Ok(None),
        (Some(kind), Some(period)) => {
            let kind = kind.trim().to_ascii_lowercase();
            // It becomes part of a table's name.
            if kind.is_empty() || kind.len() > 30 || !kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                return Err(QueryError::Field {
                    field: "agg_type",
                    reason: format!("{kind:?} is not the name of an aggregation such as avg"),
                });
            }
            Ok(Some(Aggregate { kind, period: normalise_period(period)? }))
        }
        _ => Err(QueryError::AggregateIncomplete),
    }
}

fn relative(offsets: &str, now: Timestamp) -> Option<Timestamp> {
    let mut rest = offsets.trim();
    let mut time = now;
    while !rest.is_empty() {
        let sign = match rest.as_bytes()[0] {
            b'-' => -1,
            b'+' => 1,
            _ => return None,
        };
        rest = rest[1..].trim_start();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: i64 = rest[..digits].parse().ok()?;
        let seconds = match rest.as_bytes().get(digits)? {
            b'd' => 86_400,
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        time = time.checked_add_signed(TimeDelta::try_seconds(count.checked_mul(seconds)?.checked_mul(sign)?)?)?;
        rest = rest[digits + 1..].trim_start();
    }
    Some(time)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        timestamp::parse("2026-01-02T03:04:05Z").unwrap().assume_utc()
    }

    fn parsed(parameters: &Value) -> Result<ParsedQuery, QueryError> {
        parse(parameters.as_object().unwrap(), now())
    }

    #[test]
    fn query_without_topic_is_refused_with_volttrons_text() {
        assert_eq!(parsed(&json!({})).unwrap_err().to_string(), "\"Topic\" required");
        assert_eq!(parsed(&json!({"topic": null})).unwrap_err().to_string(), "\"Topic\" required");
    }

    #[test]
    fn relative_times_count_from_now() {
        let at = |text| parse_time("start", text, now()).map(timestamp::format).map_err(|error| error.to_string());
        assert_eq!(at("now -1h -20m").unwrap(), "2026-01-02T01:44:05.000000+00:00");
        assert_eq!(at("now").unwrap(), "2026-01-02T03:04:05.000000+00:00");
        assert_eq!(at("now+1d").unwrap(), "2026-01-03T03:04:05.000000+00:00");
        assert_eq!(at("2026-01-01T00:00:00").unwrap(), "2026-01-01T00:00:00.000000+00:00");
        for bad in ["now 1h", "now -1y", "now -h", "now -99999999999999999999d", "now -9999999999999d", "nowadays"] {
            assert!(at(bad).unwrap_err().starts_with("start: "), "{bad}");
        }
    }

    #[test]
    fn periods_are_brought_to_their_biggest_unit() {
        for (given, normal) in [("60m", "1h"), ("48h", "2d"), ("7d", "1w"), ("1440m", "1d"), ("90m", "90m"), ("2M", "2M"), ("10080m", "1w")]
        {
            assert_eq!(normalise_period(given).unwrap(), normal);
        }
        for bad in ["", "h", "0h", "1y", "-1h", "1h;", "1.5h", "é"] {
            assert!(normalise_period(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn aggregates_need_both_parameters_and_plain_names() {
        let query = parsed(&json!({"topic": "a", "agg_type": "AVG", "agg_period": "60m"})).unwrap().query;
        assert_eq!(query.aggregate, Some(Aggregate { kind: "avg".into(), period: "1h".into() }));
        assert_eq!(parsed(&json!({"topic": "a", "agg_type": "avg"})).unwrap_err(), QueryError::AggregateIncomplete);
        assert!(parsed(&json!({"topic": "a", "agg_type": "x; drop table", "agg_period": "1h"})).is_err());
    }

    #[test]
    fn a_bad_parameter_is_named() {
        for (field, value) in
            [("skip", json!(-1)), ("count", json!("x")), ("order", json!("UP")), ("start", json!(5)), ("topic", json!([1]))]
        {
            let mut parameters = json!({"topic": "a"});
            parameters[field] = value;
            assert!(parsed(&parameters).unwrap_err().to_string().starts_with(&format!("{field}: ")), "{field}");
        }
        assert!(!parsed(&json!({"topic": ["a", "b"]})).unwrap().single);
        assert!(parsed(&json!({"topic": "a"})).unwrap().single);
    }
}
