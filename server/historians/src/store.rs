//! What every history store offers, with its questions and answers. Back-ends are in `backends/`, the in-memory fake in `fake`.
//! One contract suite (`tests/contract`) runs against all of them.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use vt_types::{HistoryRecord, Timestamp};

use crate::{downsample::Downsampled, error::HistoryError};

/// Row number of a topic in its store.
pub type TopicId = i64;

/// A span of time: start inclusive, end exclusive, either open. Equal start and end mean that exact moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeSpan {
    /// First moment, inclusive.
    pub start: Option<Timestamp>,
    /// First moment after it.
    pub end: Option<Timestamp>,
}

impl TimeSpan {
    /// The span as microseconds since 1970, start inclusive, end exclusive.
    #[must_use]
    pub fn range_us(&self) -> std::ops::Range<i64> {
        let start = self.start.map_or(i64::MIN, |time| time.timestamp_micros());
        let end = self.end.map_or(i64::MAX, |time| time.timestamp_micros());
        if self.start.is_some() && start == end { start..end.saturating_add(1) } else { start..end }
    }
}

/// Which end of the span comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// `FIRST_TO_LAST`.
    #[default]
    FirstToLast,
    /// `LAST_TO_FIRST`.
    LastToFirst,
}

/// Rows that an aggregate historian made instead of the readings themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// Such as `avg`; lower case letters only.
    pub kind: String,
    /// Such as `1h`; normalised.
    pub period: String,
}

/// A question for readings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Stored topics, found without regard to case.
    pub topics: Vec<String>,
    /// When.
    pub span: TimeSpan,
    /// Readings left out at the start, per topic.
    pub skip: usize,
    /// Most readings per topic; none is unlimited.
    pub count: Option<usize>,
    /// Order of the answer, and the end at which `skip` and `count` begin.
    pub order: Order,
    /// Set: rows of an aggregate table.
    pub aggregate: Option<Aggregate>,
}

/// Readings of one topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The topic as it was asked for.
    pub topic: String,
    /// Readings in the order asked for.
    pub values: Vec<(Timestamp, Value)>,
    /// `{units, type, tz}` or empty.
    pub metadata: Arc<Map<String, Value>>,
}

/// A topic that the store knows.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicEntry {
    /// Its row.
    pub id: TopicId,
    /// Its name, in the spelling last stored.
    pub name: Arc<str>,
    /// `{units, type, tz}` or empty.
    pub metadata: Arc<Map<String, Value>>,
}

/// A topic for which an aggregate historian makes rows.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateTopic {
    /// Name of the aggregate.
    pub name: String,
    /// Such as `avg`.
    pub kind: String,
    /// Such as `1h`.
    pub period: String,
    /// Topics or pattern it is made from, as configured.
    pub configured: Value,
}

impl AggregateTopic {
    /// From the columns of the two aggregate tables.
    #[must_use]
    pub(crate) fn from_row(name: String, kind: String, period: String, metadata: Option<&str>) -> Self {
        let metadata: Option<Map<String, Value>> = metadata.and_then(|text| serde_json::from_str(text).ok());
        let configured = metadata.and_then(|mut metadata| metadata.remove("configured_topics")).unwrap_or_else(|| Value::Array(Vec::new()));
        Self { name, kind, period, configured }
    }
}

/// What to drop. Both rules may apply; none drops nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Retention {
    /// Readings older than this many days before the newest reading go. Days, may have a fraction.
    pub history_limit_days: Option<f64>,
    /// The oldest readings go while the store is larger. Bytes.
    pub storage_limit_bytes: Option<u64>,
}

impl Retention {
    /// The oldest moment that `history_limit_days` keeps when the newest reading is at `newest_us` (microseconds since 1970).
    #[must_use]
    pub fn oldest_kept_us(&self, newest_us: i64) -> Option<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "a float to integer cast saturates")]
        self.history_limit_days.map(|days| newest_us.saturating_sub((days * 86_400e6) as i64))
    }
}

/// A place where history is kept.
///
/// All methods may be called at the same time from many tasks. Topics are one topic when they differ only in case.
#[async_trait]
pub trait HistoryStore: Send + Sync + std::fmt::Debug {
    /// Opens or makes the database and brings its layout up to date. Called again after a failure; a second success changes nothing.
    ///
    /// # Errors
    /// Any [`HistoryError`]; nothing already stored is lost by a failure.
    async fn set_up(&self) -> Result<(), HistoryError>;

    /// Stores all `records`, or none. When it returns `Ok` they survive `kill -9` and loss of power. The same (topic, timestamp) again
    /// replaces the value. Empty metadata leaves what is known.
    ///
    /// # Errors
    /// [`HistoryError::NotReady`] before `set_up`, [`HistoryError::Database`] when it could not be committed.
    async fn insert(&self, records: Arc<Vec<HistoryRecord>>) -> Result<(), HistoryError>;

    /// Readings, one series per topic asked for, in that order; unknown topics have empty ones.
    ///
    /// # Errors
    /// [`HistoryError::Invalid`] for an aggregate name that is none, else as `insert`.
    async fn query(&self, query: &HistoryQuery) -> Result<Vec<Series>, HistoryError>;

    /// Numeric readings of one topic, folded into at most `buckets_max` buckets of equal width.
    ///
    /// # Errors
    /// As `query`.
    async fn query_downsampled(&self, topic: &str, span: TimeSpan, buckets_max: usize) -> Result<Downsampled, HistoryError>;

    /// The newest reading of each topic that has one.
    ///
    /// # Errors
    /// As `query`.
    async fn latest(&self, topics: &[String]) -> Result<Vec<(String, Timestamp, Value)>, HistoryError>;

    /// Every topic, by name.
    ///
    /// # Errors
    /// As `query`.
    async fn topics(&self) -> Result<Vec<TopicEntry>, HistoryError>;

    /// Topics that have aggregate rows.
    ///
    /// # Errors
    /// As `query`.
    async fn aggregate_topics(&self) -> Result<Vec<AggregateTopic>, HistoryError>;

    /// Drops what `retention` no longer allows. Does its work in pieces, between which inserts go on.
    ///
    /// # Errors
    /// As `query`.
    async fn apply_retention(&self, retention: Retention) -> Result<(), HistoryError>;

    /// Whether a commit happens on this machine's disk. Then a cache in front would only write the same bytes to the same disk twice.
    fn is_local(&self) -> bool;

    /// Commits what is under way and lets go of the database. Calls after it fail with [`HistoryError::Closed`].
    async fn close(&self);
}
