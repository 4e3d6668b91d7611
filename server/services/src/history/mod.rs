//! History as people ask for it: which historians run, which topics they keep, values, and series thinned out for charts.
//! Keeps no values; every historian on the bus, Python or not, is asked over RPC. Source: VOLTTRON `volttron/platform/web/vui_endpoints.py`
//! (historians) and `volttron/platform/agent/base_historian.py` (`query`, `get_topic_list`).

mod chart;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use vt_agent::context::call_within;
use vt_bus::PeerHandle;
use vt_types::timestamp::{self, Timestamp};
use vt_types::{Clock, Identity, Params, RpcError};

pub use self::chart::ChartSeries;
use crate::ServiceError;

/// How long a historian may take to answer.
pub const HISTORY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a list of topics is good for, seconds.
const TOPICS_GOOD_FOR_S: i64 = 10;
/// Lists of topics kept; the cache is emptied when it is full.
const TOPIC_LISTS_MAX: usize = 64;
/// Most values of one topic that one query gives.
pub const VALUES_MAX: u64 = 100_000;
/// Most topics of one query.
pub const TOPICS_MAX: usize = 1_000;
/// Most points of a chart.
pub const CHART_POINTS_MAX: usize = 10_000;

/// A question to a historian. Times are VOLTTRON's texts, naive ones UTC; `start` is inclusive, `end` exclusive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Stored topics, without `devices/` and `all`.
    pub topics: Vec<String>,
    /// From when on.
    pub start: Option<String>,
    /// Until when.
    pub end: Option<String>,
    /// Values to leave out, per topic.
    pub skip: u64,
    /// Values at most, per topic; never more than [`VALUES_MAX`].
    pub count: Option<u64>,
    /// Newest value first.
    pub newest_first: bool,
    /// Aggregate wanted, such as `avg`; together with `agg_period` or not at all.
    pub agg_type: Option<String>,
    /// Its period, such as `1h`.
    pub agg_period: Option<String>,
}

/// Values of one topic, as texts of time and values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// As it was asked for.
    pub topic: String,
    /// In the order asked for.
    pub values: Vec<(String, Value)>,
    /// `{units, type, tz}`; empty when several topics were asked for, which historians answer without it.
    pub metadata: Map<String, Value>,
}

/// Topics and when they were told.
type TopicList = (Timestamp, Arc<Vec<String>>);

/// The service.
pub struct History {
    peer: PeerHandle,
    clock: Arc<dyn Clock>,
    topics: Mutex<HashMap<Identity, TopicList>>,
}

impl History {
    pub(crate) fn new(peer: PeerHandle, clock: Arc<dyn Clock>) -> Self {
        Self { peer, clock, topics: Mutex::default() }
    }

    /// Running peers whose identity says that they are historians, sorted.
    #[must_use]
    pub fn historians(&self) -> Vec<Identity> {
        self.peer.bus().peers().into_iter().filter(|identity| identity.as_str().contains("historian")).collect()
    }

    /// Topics that the historian keeps, sorted; up to ten seconds old.
    pub async fn topics(&self, historian: &Identity) -> Result<Arc<Vec<String>>, ServiceError> {
        let now = self.clock.now();
        if let Some((at, topics)) = self.topics.lock().get(historian)
            && (now - *at).abs() < TimeDelta::seconds(TOPICS_GOOD_FOR_S)
        {
            return Ok(Arc::clone(topics));
        }
        let answer = self.call(historian, "get_topic_list", Map::new()).await?;
        let Value::Array(list) = answer else {
            return Err(ServiceError::Unavailable(format!("{historian} did not answer with a list of topics.")));
        };
        let mut topics: Vec<String> = list.into_iter().filter_map(|topic| topic.as_str().map(str::to_owned)).collect();
        topics.sort_unstable();
        topics.dedup();
        let topics = Arc::new(topics);
        let mut cache = self.topics.lock();
        if cache.len() >= TOPIC_LISTS_MAX {
            cache.clear();
        }
        cache.insert(historian.clone(), (now, Arc::clone(&topics)));
        Ok(topics)
    }

    /// Values of topics, a series for each in the order asked; empty for a topic without values.
    pub async fn query(&self, historian: &Identity, query: HistoryQuery) -> Result<Vec<Series>, ServiceError> {
        if query.topics.is_empty() || query.topics.len() > TOPICS_MAX {
            return Err(ServiceError::Invalid(format!("One query names 1 to {TOPICS_MAX} topics; this one names {}.", query.topics.len())));
        }
        if query.agg_type.is_some() != query.agg_period.is_some() {
            return Err(ServiceError::Invalid("agg-type and agg-period are given together or not at all.".to_owned()));
        }
        let single = query.topics.len() == 1;
        let mut parameters = Map::new();
        parameters.insert("topic".into(), if single { json!(query.topics[0]) } else { json!(query.topics) });
        for (name, text) in [("start", &query.start), ("end", &query.end), ("agg_type", &query.agg_type), ("agg_period", &query.agg_period)]
        {
            if let Some(text) = text {
                parameters.insert(name.into(), json!(text));
            }
        }
        parameters.insert("skip".into(), json!(query.skip));
        parameters.insert("count".into(), json!(query.count.unwrap_or(VALUES_MAX).min(VALUES_MAX)));
        parameters.insert("order".into(), json!(if query.newest_first { "LAST_TO_FIRST" } else { "FIRST_TO_LAST" }));
        let answer = self.call(historian, "query", parameters).await?;
        let mut values = answer.get("values").cloned().unwrap_or_default();
        let metadata = answer.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
        if single {
            let topic = query.topics.into_iter().next().unwrap_or_default();
            return Ok(vec![Series { topic, values: pairs(values), metadata }]);
        }
        let series = query.topics.into_iter().map(|topic| {
            let values = values.get_mut(&topic).map(Value::take).unwrap_or_default();
            Series { topic, values: pairs(values), metadata: Map::new() }
        });
        Ok(series.collect())
    }

    /// One topic's values between `start` and `end`, folded into at most `max_points` stretches. The historian does the folding if it can;
    /// else its newest [`VALUES_MAX`] values are folded here.
    pub async fn chart(
        &self,
        historian: &Identity,
        topic: &str,
        start: Timestamp,
        end: Timestamp,
        max_points: usize,
    ) -> Result<ChartSeries, ServiceError> {
        let max_points = max_points.clamp(1, CHART_POINTS_MAX);
        let parameters = Map::from_iter([
            ("topic".to_owned(), json!(topic)),
            ("start".to_owned(), json!(timestamp::format(start))),
            ("end".to_owned(), json!(timestamp::format(end))),
            ("max_points".to_owned(), json!(max_points)),
        ]);
        let folded = match self.call(historian, "query_downsampled", parameters).await {
            Ok(answer) => ChartSeries::from_answer(topic, &answer),
            Err(ServiceError::Rpc(RpcError::MethodNotFound(_))) => None,
            Err(error) => return Err(error),
        };
        if let Some(series) = folded {
            return Ok(series);
        }
        let query = HistoryQuery {
            topics: vec![topic.to_owned()],
            start: Some(timestamp::format(start)),
            end: Some(timestamp::format(end)),
            newest_first: true,
            ..HistoryQuery::default()
        };
        let series = self.query(historian, query).await?.into_iter().next().unwrap_or_default();
        Ok(ChartSeries::fold(topic, &series, start, end, max_points))
    }

    async fn call(&self, historian: &Identity, method: &str, parameters: Map<String, Value>) -> Result<Value, ServiceError> {
        call_within(&self.peer, HISTORY_TIMEOUT, historian, method, Params::keyword(parameters)).await.map_err(|error| match error {
            RpcError::UnknownPeer(peer) | RpcError::PeerGone(peer) => {
                ServiceError::Unavailable(format!("The historian {peer} is not running."))
            }
            RpcError::Timeout { peer, .. } => {
                ServiceError::Timeout(format!("The historian {peer} did not answer within {} s.", HISTORY_TIMEOUT.as_secs()))
            }
            other => ServiceError::Rpc(other),
        })
    }
}

/// `[[time, value], ...]`.
fn pairs(values: Value) -> Vec<(String, Value)> {
    let Value::Array(rows) = values else { return Vec::new() };
    let pair = |row: Value| match row {
        Value::Array(row) => {
            let mut row = row.into_iter();
            match (row.next(), row.next()) {
                (Some(Value::String(at)), Some(value)) => Some((at, value)),
                _ => None,
            }
        }
        _ => None,
    };
    rows.into_iter().filter_map(pair).collect()
}
