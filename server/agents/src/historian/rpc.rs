//! The historian's methods: VOLTTRON's query API with its shapes and texts, and `query_downsampled` for charts.
//! Source: VOLTTRON `volttron/platform/agent/base_historian.py` (`BaseQueryHistorianAgent`).

use std::sync::Arc;

use regex::RegexBuilder;
use serde_json::{Map, Value, json};
use vt_agent::{AgentContext, Call, MethodTable};
use vt_historians::{
    HistoryError, TimeSpan,
    downsample::Downsampled,
    query::{self, ParsedQuery, QueryError},
    store::Series,
};
use vt_types::{Headers, RpcError, Timestamp, timestamp};

use super::{Active, Running, VERSION, capture::Capture};

/// Largest compiled pattern of `get_topics_by_pattern`, bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Buckets of a chart unless told otherwise.
const CHART_POINTS: usize = 2000;

/// Exports all methods.
pub fn serve(context: &AgentContext, active: &Arc<Active>) {
    let mut table = MethodTable::new();
    table.method("get_version").doc("Version of the historian.").to(|_| async { Ok(json!(VERSION)) });
    export(&mut table, context, active, Method::Query);
    export(&mut table, context, active, Method::Downsampled);
    export(&mut table, context, active, Method::TopicList);
    export(&mut table, context, active, Method::TopicsByPattern);
    export(&mut table, context, active, Method::TopicsMetadata);
    export(&mut table, context, active, Method::AggregateTopics);
    export(&mut table, context, active, Method::Insert);
    context.serve(table);
}

#[derive(Clone, Copy)]
enum Method {
    Query,
    Downsampled,
    TopicList,
    TopicsByPattern,
    TopicsMetadata,
    AggregateTopics,
    Insert,
}

fn export(table: &mut MethodTable, context: &AgentContext, active: &Arc<Active>, method: Method) {
    let builder = match method {
        Method::Query => table
            .method("query")
            .doc("Readings of a topic, or of a list of topics, between start (inclusive) and end (exclusive).")
            .optional("topic", Value::Null)
            .optional("start", Value::Null)
            .optional("end", Value::Null)
            .optional("agg_type", Value::Null)
            .optional("agg_period", Value::Null)
            .optional("skip", 0)
            .optional("count", Value::Null)
            .optional("order", "FIRST_TO_LAST"),
        Method::Downsampled => table
            .method("query_downsampled")
            .doc("Numeric readings of a topic folded into at most max_points stretches with minimum, maximum and mean.")
            .param("topic")
            .optional("start", Value::Null)
            .optional("end", Value::Null)
            .optional("max_points", CHART_POINTS),
        Method::TopicList => table.method("get_topic_list").doc("All stored topics."),
        Method::TopicsByPattern => {
            table.method("get_topics_by_pattern").doc("Topics that match a regular expression, with their ids.").param("topic_pattern")
        }
        Method::TopicsMetadata => table.method("get_topics_metadata").doc("Metadata of a topic or of a list of topics.").param("topics"),
        Method::AggregateTopics => table.method("get_aggregate_topics").doc("Topics that have aggregates, their kind, period and origin."),
        Method::Insert => {
            table.method("insert").doc("Stores a list of {topic, headers, message} as if they had been published.").param("records")
        }
    };
    let (context, active) = (context.clone(), Arc::clone(active));
    builder.to(move |call| answer(method, context.clone(), Arc::clone(&active), call));
}

async fn answer(method: Method, context: AgentContext, active: Arc<Active>, call: Call) -> Result<Value, RpcError> {
    let running = active.running().await.ok_or_else(|| failed(HistoryError::NotReady))?;
    let now = context.now();
    match method {
        Method::Query => query(&running, &call, now).await,
        Method::Downsampled => downsampled(&running, &call, now).await,
        Method::TopicList => {
            let topics = running.store.topics().await.map_err(failed)?;
            Ok(topics.iter().map(|topic| json!(&*topic.name)).collect())
        }
        Method::TopicsByPattern => topics_by_pattern(&running, &call).await,
        Method::TopicsMetadata => topics_metadata(&running, &call).await,
        Method::AggregateTopics => {
            let topics = running.store.aggregate_topics().await.map_err(failed)?;
            Ok(topics.into_iter().map(|topic| json!([topic.name, topic.kind, topic.period, topic.configured])).collect())
        }
        Method::Insert => insert(&running, &call, now).await,
    }
}

async fn query(running: &Running, call: &Call, now: Timestamp) -> Result<Value, RpcError> {
    let names = ["topic", "start", "end", "agg_type", "agg_period", "skip", "count", "order"];
    let parameters: Map<_, _> = names.into_iter().map(|name| (name.to_owned(), call.value(name).clone())).collect();
    let ParsedQuery { query, single } = query::parse(&parameters, now).map_err(|error| refused(&error))?;
    let series = running.store.query(&query).await.map_err(failed)?;
    Ok(shape(series, single))
}

/// One topic given as text: `{"values": [[ts, value], ...], "metadata": {...}}`; a list: `{"values": {topic: [...]}, "metadata": {}}`;
/// nothing found: `{}`.
fn shape(series: Vec<Series>, single: bool) -> Value {
    let rows = |values: Vec<(Timestamp, Value)>| -> Value {
        values.into_iter().map(|(time, value)| Value::Array(vec![timestamp::format(time).into(), value])).collect()
    };
    let found: Vec<_> = series.into_iter().filter(|series| !series.values.is_empty()).collect();
    if found.is_empty() {
        return json!({});
    }
    if single {
        let metadata = found.first().map(|series| (*series.metadata).clone()).unwrap_or_default();
        let values = found.into_iter().next().map(|series| rows(series.values)).unwrap_or_default();
        return json!({"values": values, "metadata": metadata});
    }
    let values: Map<_, _> = found.into_iter().map(|series| (series.topic, rows(series.values))).collect();
    json!({"values": values, "metadata": {}})
}

/// `{"times_ms", "end_ms", "count", "min", "max", "mean", "first", "last"}`, arrays of equal length, and `"metadata"`. Times are those of a
/// stretch's first and last reading, milliseconds since 1970.
async fn downsampled(running: &Running, call: &Call, now: Timestamp) -> Result<Value, RpcError> {
    let topic: Option<String> = call.arg("topic")?;
    let topic = topic.ok_or_else(|| refused(&QueryError::TopicRequired))?;
    let time = |name| -> Result<Option<Timestamp>, RpcError> {
        let text: Option<String> = call.arg(name)?;
        text.filter(|text| !text.trim().is_empty())
            .map(|text| query::parse_time(name, &text, now).map_err(|error| refused(&error)))
            .transpose()
    };
    let span = TimeSpan { start: time("start")?, end: time("end")? };
    let points: usize = call.arg("max_points")?;
    let Downsampled { buckets, metadata } = running.store.query_downsampled(&topic, span, points).await.map_err(failed)?;
    Ok(json!({
        "times_ms": buckets.iter().map(|bucket| bucket.first_at.timestamp_millis()).collect::<Vec<_>>(),
        "end_ms": buckets.iter().map(|bucket| bucket.last_at.timestamp_millis()).collect::<Vec<_>>(),
        "count": buckets.iter().map(|bucket| bucket.count).collect::<Vec<_>>(),
        "min": buckets.iter().map(|bucket| bucket.min).collect::<Vec<_>>(),
        "max": buckets.iter().map(|bucket| bucket.max).collect::<Vec<_>>(),
        "mean": buckets.iter().map(|bucket| bucket.avg).collect::<Vec<_>>(),
        "first": buckets.iter().map(|bucket| bucket.first).collect::<Vec<_>>(),
        "last": buckets.iter().map(|bucket| bucket.last).collect::<Vec<_>>(),
        "metadata": *metadata,
    }))
}

async fn topics_by_pattern(running: &Running, call: &Call) -> Result<Value, RpcError> {
    let pattern: String = call.arg("topic_pattern")?;
    let regex = RegexBuilder::new(&pattern).case_insensitive(true).size_limit(PATTERN_BYTES_MAX).build();
    let regex = regex.map_err(|error| RpcError::value_error(format!("topic_pattern: {error}")))?;
    let topics = running.store.topics().await.map_err(failed)?;
    let found = topics.iter().filter(|topic| regex.is_match(&topic.name));
    Ok(Value::Object(found.map(|topic| (topic.name.to_string(), json!(topic.id))).collect()))
}

async fn topics_metadata(running: &Running, call: &Call) -> Result<Value, RpcError> {
    let wanted: Vec<String> = match call.value("topics") {
        Value::String(topic) => vec![topic.clone()],
        Value::Array(_) => call.arg("topics")?,
        _ => return Err(RpcError::value_error("Please provide a valid topic name string or list of topic names")),
    };
    let topics = running.store.topics().await.map_err(failed)?;
    let known: std::collections::HashMap<_, _> = topics.iter().map(|topic| (topic.name.to_lowercase(), topic)).collect();
    let metadata = wanted.into_iter().map(|topic| {
        let metadata = known.get(&topic.to_lowercase()).map(|entry| (*entry.metadata).clone());
        (topic, Value::Object(metadata.unwrap_or_default()))
    });
    Ok(Value::Object(metadata.collect()))
}

async fn insert(running: &Running, call: &Call, now: Timestamp) -> Result<Value, RpcError> {
    let Some(inserts) = &running.inserts else {
        return Err(RpcError::runtime_error("Insert not supported by this historian."));
    };
    let records: Vec<Map<String, Value>> = call.arg("records")?;
    // Records of a call name their kind by their topic's root; no setting of the subscriptions applies but replacement and filter.
    let mut capture = Capture::new(&running.config);
    for (index, mut record) in records.into_iter().enumerate() {
        let topic = record.get("topic").and_then(Value::as_str).unwrap_or_default().to_owned();
        let headers = match record.remove("headers") {
            Some(Value::Object(headers)) => Headers::from(headers),
            _ => Headers::new(),
        };
        let message = record.remove("message").unwrap_or_default();
        if !capture.insert(&topic, &headers, &message, now) {
            return Err(RpcError::value_error(format!(
                "records[{index}]: topic {topic:?} starts with none of devices, analysis, datalogger, record"
            )));
        }
    }
    inserts.insert(capture.captured()).await.map_err(failed)?;
    Ok(Value::Null)
}

fn refused(error: &QueryError) -> RpcError {
    match error {
        QueryError::TopicRequired | QueryError::AggregateIncomplete => RpcError::type_error(error.to_string()),
        QueryError::Field { .. } => RpcError::value_error(error.to_string()),
    }
}

/// What went wrong inside is logged; the caller learns that it did.
fn failed(error: HistoryError) -> RpcError {
    match error {
        HistoryError::Invalid(text) => RpcError::value_error(text),
        HistoryError::NotReady | HistoryError::Closed => RpcError::runtime_error(error.to_string()),
        other => {
            tracing::error!(error = %other, "a question about history could not be answered");
            RpcError::runtime_error("the history database failed; the historian's log tells why")
        }
    }
}
