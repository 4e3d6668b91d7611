//! A history store in memory, for tests of whoever uses one. It can be told to fail. Keeps nothing on disk.

use std::{
    collections::BTreeMap,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use vt_types::{HistoryRecord, Timestamp};

use crate::{
    downsample::{Downsampled, Folder},
    error::HistoryError,
    store::{AggregateTopic, HistoryQuery, HistoryStore, Order, Retention, Series, TimeSpan, TopicEntry, TopicId},
    value::Cell,
};

/// Bytes that one reading counts for `storage_limit_bytes`.
pub const READING_BYTES: u64 = 64;

#[derive(Debug)]
struct FakeTopic {
    id: TopicId,
    name: Arc<str>,
    metadata: Arc<Map<String, Value>>,
    readings: BTreeMap<Timestamp, Value>,
}

/// The fake.
#[derive(Debug, Default)]
pub struct FakeHistory {
    topics: Mutex<BTreeMap<String, FakeTopic>>,
    ready: AtomicBool,
    closed: AtomicBool,
    failing: AtomicBool,
    silent: AtomicBool,
    remote: AtomicBool,
    inserts: AtomicU64,
}

impl FakeHistory {
    /// An empty store that is local.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store that says it is not local, as a database server does.
    #[must_use]
    pub fn remote() -> Self {
        let fake = Self::default();
        fake.remote.store(true, Ordering::Relaxed);
        fake
    }

    /// From now on every call fails, or works again.
    pub fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    /// From now on inserts are stored and never answered, or answered again.
    pub fn set_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }

    /// How many inserts succeeded.
    #[must_use]
    pub fn insert_count(&self) -> u64 {
        self.inserts.load(Ordering::Relaxed)
    }

    fn keep(&self, records: &[HistoryRecord]) {
        let mut topics = self.topics.lock();
        for record in records {
            let next_id = TopicId::try_from(topics.len()).unwrap_or(TopicId::MAX) + 1;
            let topic = topics.entry(record.topic.to_lowercase()).or_insert_with(|| FakeTopic {
                id: next_id,
                name: Arc::clone(&record.topic),
                metadata: Arc::default(),
                readings: BTreeMap::new(),
            });
            topic.name = Arc::clone(&record.topic);
            if !record.meta.is_empty() {
                topic.metadata = Arc::clone(&record.meta);
            }
            topic.readings.insert(record.timestamp, record.value.clone());
        }
        self.inserts.fetch_add(1, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), HistoryError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(HistoryError::Closed);
        }
        if self.failing.load(Ordering::Relaxed) {
            return Err(sqlx::Error::PoolTimedOut.into());
        }
        if self.ready.load(Ordering::Relaxed) { Ok(()) } else { Err(HistoryError::NotReady) }
    }
}

#[async_trait]
impl HistoryStore for FakeHistory {
    async fn set_up(&self) -> Result<(), HistoryError> {
        if self.failing.load(Ordering::Relaxed) {
            return Err(sqlx::Error::PoolTimedOut.into());
        }
        self.ready.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn insert(&self, records: Arc<Vec<HistoryRecord>>) -> Result<(), HistoryError> {
        self.check()?;
        self.keep(&records);
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn query(&self, query: &HistoryQuery) -> Result<Vec<Series>, HistoryError> {
        self.check()?;
        let topics = self.topics.lock();
        let range = query.span.range_us();
        let answer = query.topics.iter().map(|name| {
            let Some(topic) = topics.get(&name.to_lowercase()).filter(|_| query.aggregate.is_none()) else {
                return Series { topic: name.clone(), values: Vec::new(), metadata: Arc::default() };
            };
            let within = topic.readings.iter().filter(|(time, _)| range.contains(&time.timestamp_micros()));
            let mut values: Vec<_> = within.map(|(time, value)| (*time, value.clone())).collect();
            if query.order == Order::LastToFirst {
                values.reverse();
            }
            let values = values.into_iter().skip(query.skip).take(query.count.unwrap_or(usize::MAX)).collect();
            Series { topic: name.clone(), values, metadata: Arc::clone(&topic.metadata) }
        });
        Ok(answer.collect())
    }

    async fn query_downsampled(&self, topic: &str, span: TimeSpan, buckets_max: usize) -> Result<Downsampled, HistoryError> {
        self.check()?;
        let topics = self.topics.lock();
        let Some(topic) = topics.get(&topic.to_lowercase()) else { return Ok(Downsampled::default()) };
        let range = span.range_us();
        let within: Vec<_> =
            topic.readings.iter().map(|(time, value)| (time.timestamp_micros(), value)).filter(|(at, _)| range.contains(at)).collect();
        let (Some(first), Some(last)) = (within.first(), within.last()) else {
            return Ok(Downsampled { buckets: Vec::new(), metadata: Arc::clone(&topic.metadata) });
        };
        let range = if span.start.is_some() { range.start } else { first.0 }..if span.end.is_some() { range.end } else { last.0 + 1 };
        let mut folder = Folder::new(&range, buckets_max);
        for (at, value) in within {
            if let Some(number) = Cell::of(value).number() {
                folder.push(at, number);
            }
        }
        Ok(Downsampled { buckets: folder.finish(), metadata: Arc::clone(&topic.metadata) })
    }

    async fn latest(&self, topics: &[String]) -> Result<Vec<(String, Timestamp, Value)>, HistoryError> {
        self.check()?;
        let stored = self.topics.lock();
        let newest = |name: &String| {
            let (time, value) = stored.get(&name.to_lowercase())?.readings.last_key_value()?;
            Some((name.clone(), *time, value.clone()))
        };
        Ok(topics.iter().filter_map(newest).collect())
    }

    async fn topics(&self) -> Result<Vec<TopicEntry>, HistoryError> {
        self.check()?;
        let topics = self.topics.lock();
        let entry = |topic: &FakeTopic| TopicEntry { id: topic.id, name: Arc::clone(&topic.name), metadata: Arc::clone(&topic.metadata) };
        let mut entries: Vec<_> = topics.values().map(entry).collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    async fn aggregate_topics(&self) -> Result<Vec<AggregateTopic>, HistoryError> {
        self.check()?;
        Ok(Vec::new())
    }

    async fn apply_retention(&self, retention: Retention) -> Result<(), HistoryError> {
        self.check()?;
        let mut topics = self.topics.lock();
        let newest = topics.values().filter_map(|topic| topic.readings.last_key_value().map(|(time, _)| time.timestamp_micros())).max();
        if let Some(cutoff) = newest.and_then(|newest| retention.oldest_kept_us(newest)) {
            topics.values_mut().for_each(|topic| topic.readings.retain(|time, _| time.timestamp_micros() >= cutoff));
        }
        if let Some(limit) = retention.storage_limit_bytes {
            let mut times: Vec<_> = topics.values().flat_map(|topic| topic.readings.keys().copied()).collect();
            times.sort_unstable();
            let kept = usize::try_from(limit / READING_BYTES).unwrap_or(usize::MAX);
            if let Some(cutoff) = times.len().checked_sub(kept).and_then(|gone| times.get(gone)).copied() {
                topics.values_mut().for_each(|topic| topic.readings.retain(|time, _| *time >= cutoff));
            } else if kept == 0 {
                topics.values_mut().for_each(|topic| topic.readings.clear());
            }
        }
        Ok(())
    }

    fn is_local(&self) -> bool {
        !self.remote.load(Ordering::Relaxed)
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}
