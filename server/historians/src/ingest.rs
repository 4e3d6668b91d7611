//! The way of a record from a historian into its store, through the durable cache where needed, and how that is going.
//! Source: VOLTTRON `volttron/platform/agent/base_historian.py` (`_process_loop`).
//!
//! With a store on this machine a record is committed straight there: its commit is as durable as one to the cache, which lies on the same
//! disk, so that writing both would only halve the rate. It goes to the cache when the store is not set up, has failed, or when older
//! records still wait in the cache (a later value must not be overtaken by an earlier one). With a remote store every record goes through
//! the cache and leaves it when the store has committed.
//!
//! Differs from VOLTTRON: submitting runs beside taking in, so `max_time_publishing` is not needed to get back to new records and bounds
//! instead how long a remote store may take for a batch; and after a failure the wait grows from a second to `retry_period`, while new
//! records keep being cached.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};
use vt_types::HistoryRecord;

use crate::{
    cache::{Batch, Cache},
    config::HistorianConfig,
    error::HistoryError,
    store::HistoryStore,
};

/// First wait after a failure.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// How storing goes; VOLTTRON's health context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IngestHealth {
    /// The last submission succeeded.
    pub publishing: bool,
    /// Records wait in the cache longer than one round.
    pub backlogged: bool,
    /// The cache is over its report fraction.
    pub cache_full: bool,
    /// Records in the cache.
    pub cache_count: u64,
    /// Some records had timestamps out of tolerance.
    pub records_with_invalid_timestamp: bool,
    /// Submitting is switched off.
    pub cache_only_enabled: bool,
    /// Retention failed.
    pub error_managing_db_size: bool,
}

impl IngestHealth {
    /// Whether the historian counts as good.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.publishing && !self.backlogged && !self.cache_full && !self.records_with_invalid_timestamp && !self.error_managing_db_size
    }

    /// As the object in the agent's status.
    #[must_use]
    pub fn context(&self) -> Map<String, Value> {
        let context = json!({
            "publishing": self.publishing,
            "backlogged": self.backlogged,
            "cache_full": self.cache_full,
            "cache_count": self.cache_count,
            "records_with_invalid_timestamp": self.records_with_invalid_timestamp,
            "cache_only_enabled": self.cache_only_enabled,
            "error_managing_db_size": self.error_managing_db_size,
        });
        match context {
            Value::Object(context) => context,
            _ => Map::new(),
        }
    }
}

/// A submission on its way; it owns all it needs, so that taking in goes on beside it.
#[derive(Debug)]
pub struct Submission {
    store: Arc<dyn HistoryStore>,
    set_up: bool,
    batch: Option<Batch>,
    limit: Option<Duration>,
}

/// How a submission ended.
#[derive(Debug)]
pub struct Submitted {
    result: Result<(), HistoryError>,
    batch: Option<Batch>,
}

impl Submission {
    /// Sets the store up when it is not, and inserts the batch.
    pub async fn run(self) -> Submitted {
        let Self { store, set_up, batch, limit } = self;
        let mut result = if set_up { store.set_up().await } else { Ok(()) };
        if let (Ok(()), Some(batch)) = (&result, &batch) {
            let insert = store.insert(Arc::clone(&batch.records));
            result = match limit {
                Some(limit) => {
                    let unanswered = |_| Err(HistoryError::Unanswered { limit_s: limit.as_secs_f64() });
                    tokio::time::timeout(limit, insert).await.unwrap_or_else(unanswered)
                }
                None => insert.await,
            };
        }
        Submitted { result, batch }
    }
}

/// Store and cache together. One owner, who calls `take` with what was captured, and `begin`, `Submission::run`, `finish` while `is_due`.
#[derive(Debug)]
pub struct Ingest {
    store: Arc<dyn HistoryStore>,
    cache: Cache,
    submit_size_limit: usize,
    retry_period: Duration,
    /// How long a batch may take.
    submit_limit: Option<Duration>,
    limit_bytes: Option<u64>,
    report_bytes: Option<u64>,
    cache_only: bool,
    ready: bool,
    submitting: bool,
    failures: u32,
    retry_at: Option<Instant>,
    cache_full: bool,
    size_error: bool,
    stored: u64,
    dropped: u64,
}

impl Ingest {
    /// Puts `cache` in front of `store`; nothing is opened or sent yet.
    #[must_use]
    pub fn new(store: Arc<dyn HistoryStore>, cache: Cache, config: &HistorianConfig) -> Self {
        // A store on this machine does not fall silent, and its work goes on when nobody waits for it.
        let submit_limit = (!store.is_local()).then_some(config.max_time_publishing);
        Self {
            store,
            cache,
            submit_limit,
            submit_size_limit: config.submit_size_limit,
            retry_period: config.retry_period,
            limit_bytes: config.backup_storage_limit_bytes,
            report_bytes: config.report_bytes(),
            cache_only: config.cache_only_enabled,
            ready: false,
            submitting: false,
            failures: 0,
            retry_at: None,
            cache_full: false,
            size_error: false,
            stored: 0,
            dropped: 0,
        }
    }

    /// Takes in records and, aside, those whose timestamp is out of tolerance. On disk when it returns.
    ///
    /// # Errors
    /// Neither the store nor the cache took them; the caller still has them.
    pub async fn take(&mut self, records: Arc<Vec<HistoryRecord>>, invalid: &[HistoryRecord], now: Instant) -> Result<(), HistoryError> {
        if self.ready && self.store.is_local() && !self.cache_only && !self.submitting && self.cache.count() == 0 {
            match self.store.insert(Arc::clone(&records)).await {
                Ok(()) => {
                    self.succeeded(records.len());
                    if !invalid.is_empty() {
                        self.cache.append(&[], invalid).await?;
                    }
                    return Ok(());
                }
                Err(error) => self.failed(&error, now),
            }
        }
        self.cache.append(&records, invalid).await?;
        self.check_size().await
    }

    /// Whether there is something to submit (or to set up) and no reason to wait.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        let wanted = !self.ready || (self.cache.count() > 0 && !self.cache_only);
        wanted && !self.submitting && self.retry_at.is_none_or(|at| at <= now)
    }

    /// When `is_due` will turn true by time alone.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at.filter(|_| !self.submitting)
    }

    /// Starts a submission. Only one at a time.
    ///
    /// # Errors
    /// The cache could not be read.
    pub async fn begin(&mut self) -> Result<Submission, HistoryError> {
        let batch = if self.cache_only { None } else { self.cache.batch(self.submit_size_limit).await? };
        self.submitting = true;
        Ok(Submission { store: Arc::clone(&self.store), set_up: !self.ready, batch, limit: self.submit_limit })
    }

    /// Takes note of how a submission ended and removes what the store has committed.
    ///
    /// # Errors
    /// The cache could not be written; what it still has is submitted again.
    pub async fn finish(&mut self, submitted: Submitted, now: Instant) -> Result<(), HistoryError> {
        self.submitting = false;
        match submitted.result {
            Err(error) => self.failed(&error, now),
            Ok(()) => {
                self.ready = true;
                self.succeeded(submitted.batch.as_ref().map_or(0, |batch| batch.records.len()));
                if let Some(batch) = submitted.batch {
                    self.cache.remove(&batch).await?;
                    self.check_size().await?;
                }
            }
        }
        Ok(())
    }

    /// Whether the store is set up.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Takes note of whether retention succeeded.
    pub fn set_size_error(&mut self, failed: bool) {
        self.size_error = failed;
    }

    /// Records that the store has committed since the start.
    #[must_use]
    pub fn stored_count(&self) -> u64 {
        self.stored
    }

    /// Records that the cache dropped because it was over its limit, since the start.
    #[must_use]
    pub fn dropped_count(&self) -> u64 {
        self.dropped
    }

    /// How it is going.
    #[must_use]
    pub fn health(&self) -> IngestHealth {
        IngestHealth {
            publishing: self.failures == 0 && !self.cache_only,
            backlogged: self.cache.count() > 0 && (self.failures > 0 || self.cache_only || !self.submitting),
            cache_full: self.cache_full,
            cache_count: self.cache.count(),
            records_with_invalid_timestamp: self.cache.invalid_count() > 0,
            cache_only_enabled: self.cache_only,
            error_managing_db_size: self.size_error,
        }
    }

    /// Closes the cache. The store belongs to the caller.
    pub async fn close(self) {
        self.cache.close().await;
    }

    fn succeeded(&mut self, records: usize) {
        if self.failures > 0 {
            tracing::info!("history is stored again");
        }
        (self.failures, self.retry_at) = (0, None);
        self.stored += u64::try_from(records).unwrap_or(0);
    }

    fn failed(&mut self, error: &HistoryError, now: Instant) {
        let wait = RETRY_FIRST.saturating_mul(1 << self.failures.min(16)).min(self.retry_period);
        tracing::warn!(%error, retry_s = wait.as_secs_f64(), cached = self.cache.count(), "history could not be stored; it is kept in the cache");
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + wait);
    }

    async fn check_size(&mut self) -> Result<(), HistoryError> {
        let (Some(limit), Some(report)) = (self.limit_bytes, self.report_bytes) else { return Ok(()) };
        let dropped = self.cache.trim(limit, 0).await?;
        if dropped > 0 {
            tracing::warn!(dropped, "the historian's cache is over its limit; its oldest records were dropped");
            self.dropped += dropped;
        }
        self.cache_full = self.cache.used_bytes().await? > report;
        Ok(())
    }
}
