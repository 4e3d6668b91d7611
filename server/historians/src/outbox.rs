//! The durable queue in front of another platform: `backup.sqlite` again, its messages in the order in which they came.
//!
//! What [`Outbox::take`] has accepted is on disk and leaves when the other platform has confirmed it, or when a configured bound drops it,
//! which is counted. A confirmation by the other platform's router is no proof that anybody there has stored the message, so such messages
//! are held until the other platform was heard a while later; when it is found to have started anew instead, they are sent once more.
//! Messages that the other platform refuses for what they are are set aside, so that they are in nobody's way, and tried again now and then.
//! Reads no clock: time is an argument.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use vt_types::{HistoryRecord, Timestamp};

use crate::{cache::Cache, config::HistorianConfig, error::HistoryError};

/// How long a message is held after the other platform's router has taken it.
pub const HOLD: Duration = Duration::from_secs(5);
/// Messages that are held at most; then nothing more is sent until the first of them may leave.
pub const HELD_MAX: usize = 50_000;
/// Pause between parts of them, as long as they are taken.
const ASIDE_PAUSE: Duration = Duration::from_secs(1);
/// Rows removed at once.
const REMOVED_AT_ONCE: usize = 2000;

/// One message on its way.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its row.
    pub row: i64,
    /// Topic, and a value `{"headers", "message"}`.
    pub record: HistoryRecord,
}

/// How a confirmed message leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// At once: the other side has stored it.
    Now,
    /// After [`HOLD`]: the other side has taken it.
    Held,
}

/// The queue. One owner, who calls [`Outbox::next`], sends, and calls [`Outbox::sent`]; one batch at a time.
#[derive(Debug)]
pub struct Outbox {
    cache: Cache,
    limit_bytes: Option<u64>,
    report_bytes: Option<u64>,
    /// Rows up to here are under way, held or gone, except for those that are to be sent again, which move it back.
    cursor: i64,
    /// First and last row under way, and when the first was taken.
    under_way: Option<(i64, i64, Timestamp)>,
    held: BTreeMap<i64, Instant>,
    /// Confirmed rows that could not be removed yet.
    removable: Vec<i64>,
    /// When those that were set aside are tried again.
    aside_at: Option<Instant>,
    oldest: Option<Timestamp>,
    is_full: bool,
    dropped: u64,
}

impl Outbox {
    /// Opens or makes the queue at `path`; its bounds are `backup_storage_limit_gb` and `backup_storage_report`.
    ///
    /// # Errors
    /// [`HistoryError::Database`].
    pub async fn open(path: &Path, config: &HistorianConfig) -> Result<Self, HistoryError> {
        let mut outbox = Self {
            cache: Cache::open(path).await?,
            limit_bytes: config.backup_storage_limit_bytes,
            report_bytes: config.report_bytes(),
            cursor: 0,
            under_way: None,
            held: BTreeMap::new(),
            removable: Vec::new(),
            aside_at: None,
            oldest: None,
            is_full: false,
            dropped: 0,
        };
        outbox.look().await?;
        Ok(outbox)
    }

    /// Puts messages that were set aside back behind the others if it is time for that at `now`.
    ///
    /// # Errors
    /// [`HistoryError::Database`].
    pub async fn retry_refused(&mut self, rows_max: usize, now: Instant) -> Result<(), HistoryError> {
        if self.cache.aside_count() == 0 {
            return Ok(());
        }
        if *self.aside_at.get_or_insert(now) <= now {
            self.cache.take_back(rows_max).await?;
            self.aside_at = Some(now + ASIDE_PAUSE);
            self.look().await?;
        }
        Ok(())
    }

    /// Something has changed: messages that were set aside are tried again at once.
    pub fn forget_refusals(&mut self) {
        self.aside_at = None;
    }

    /// When messages that were set aside are tried again, if there are any.
    #[must_use]
    pub fn retries_refused_at(&self) -> Option<Instant> {
        self.aside_at.filter(|_| self.cache.aside_count() > 0)
    }

    /// Messages that the other platform has refused and that are set aside.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.cache.aside_count()
    }

    /// Takes messages in. On disk when it returns.
    ///
    /// # Errors
    /// [`HistoryError::Database`]; then none of them was taken.
    pub async fn take(&mut self, records: &[HistoryRecord]) -> Result<(), HistoryError> {
        self.cache.append(records, &[]).await?;
        if self.oldest.is_none() {
            self.oldest = records.first().map(|record| record.timestamp);
        }
        // They are taken, whatever else fails: an error would make the caller bring them once more.
        if let Err(error) = self.check_size().await {
            tracing::warn!(%error, "the size of the outbox cannot be looked at");
        }
        Ok(())
    }

    /// The next messages to send, oldest first: at most `rows_max`, and of those no more than fit into `bytes_max` bytes, but always one.
    /// None while confirmed ones cannot be removed or too many are held.
    ///
    /// # Errors
    /// [`HistoryError::Database`].
    pub async fn next(&mut self, rows_max: usize, bytes_max: usize) -> Result<Vec<Entry>, HistoryError> {
        self.remove_removable().await?;
        let rows_max = rows_max.min(HELD_MAX.saturating_sub(self.held.len()));
        if self.under_way.is_some() || rows_max == 0 {
            return Ok(Vec::new());
        }
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut cursor = self.cursor;
        while entries.is_empty() {
            let found = self.cache.after(cursor, rows_max).await?;
            if found.is_empty() {
                break;
            }
            for (row, record) in found {
                if record.is_none() {
                    self.removable.push(row);
                    self.dropped += 1;
                }
                if let (Some(record), false) = (record, self.held.contains_key(&row)) {
                    bytes += record.topic.len() + record.value.to_string().len();
                    if bytes > bytes_max && !entries.is_empty() {
                        break;
                    }
                    entries.push(Entry { row, record });
                }
                cursor = row;
            }
        }
        self.cursor = cursor;
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            self.under_way = Some((first.row, last.row, first.record.timestamp));
        }
        self.look().await?;
        Ok(entries)
    }

    /// Sets rows of the batch aside that the other platform refuses, until `again_at`; before [`Outbox::sent`], whose `confirmed` they are not part of.
    ///
    /// # Errors
    /// [`HistoryError::Database`]; then they are sent again.
    pub async fn refuse(&mut self, rows: &[i64], again_at: Instant) -> Result<(), HistoryError> {
        self.cache.set_aside(rows).await?;
        self.aside_at = Some(again_at);
        self.bound_cursor().await
    }

    /// Takes note of what became of the batch: `confirmed` rows leave, the others are sent again.
    ///
    /// # Errors
    /// [`HistoryError::Database`]: confirmed rows could not be removed; that is tried again before anything more is sent.
    pub async fn sent(&mut self, entries: &[Entry], confirmed: &[i64], leave: Leave, now: Instant) -> Result<(), HistoryError> {
        self.under_way = None;
        let first_failed = entries.iter().map(|entry| entry.row).find(|row| confirmed.binary_search(row).is_err());
        if let Some(row) = first_failed {
            self.cursor = self.cursor.min(row - 1);
        }
        match leave {
            Leave::Now => self.removable.extend(confirmed),
            Leave::Held => self.held.extend(confirmed.iter().map(|row| (*row, now + HOLD))),
        }
        self.remove_removable().await?;
        self.check_size().await?;
        self.look().await
    }

    /// Lets go of what was held long enough at `now`, a moment after which the other platform was heard.
    ///
    /// # Errors
    /// As [`Outbox::sent`].
    pub async fn settle(&mut self, now: Instant) -> Result<(), HistoryError> {
        let settled: Vec<i64> = self.held.iter().filter(|(_, until)| **until <= now).map(|(row, _)| *row).collect();
        self.held.retain(|_, until| *until > now);
        self.removable.extend(settled);
        self.remove_removable().await
    }

    /// The other platform has started anew: whatever is held is to be sent again. Says how many those are.
    pub fn unsettle(&mut self) -> usize {
        let again = self.held.len();
        if let Some((first, _)) = self.held.pop_first() {
            self.cursor = self.cursor.min(first - 1);
        }
        self.held.clear();
        again
    }

    /// When the first held message may leave.
    #[must_use]
    pub fn settles_at(&self) -> Option<Instant> {
        self.held.values().min().copied()
    }

    /// Messages that are not confirmed.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        let confirmed = u64::try_from(self.held.len() + self.removable.len()).unwrap_or(u64::MAX);
        self.cache.count().saturating_sub(confirmed) + self.cache.aside_count()
    }

    /// When the oldest unconfirmed message was taken.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.under_way.map(|(.., at)| at).or(self.oldest).filter(|_| self.backlog() > 0)
    }

    /// Whether it takes more than the fraction of its bound at which that is to be told.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Messages dropped because of the bound, since it was opened.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Closes the file. What is held stays in it and is sent again: whether it was stored is not known.
    pub async fn close(self) {
        self.cache.close().await;
    }

    async fn remove_removable(&mut self) -> Result<(), HistoryError> {
        while !self.removable.is_empty() {
            let part = self.removable.len().saturating_sub(REMOVED_AT_ONCE);
            self.cache.remove_rows(&self.removable[part..]).await?;
            self.removable.truncate(part);
            self.bound_cursor().await?;
        }
        Ok(())
    }

    /// Rows are numbered after the highest that is there; a cursor beyond it would pass new ones over.
    async fn bound_cursor(&mut self) -> Result<(), HistoryError> {
        self.cursor = self.cursor.min(self.cache.last_row().await?);
        Ok(())
    }

    async fn check_size(&mut self) -> Result<(), HistoryError> {
        let (Some(limit), Some(report)) = (self.limit_bytes, self.report_bytes) else { return Ok(()) };
        if self.cache.used_bytes().await? > limit {
            // Confirmed messages go first: nothing is lost by that, unless the other platform ends right now.
            self.removable.extend(std::mem::take(&mut self.held).into_keys());
            self.remove_removable().await?;
            let dropped = self.cache.trim(limit, self.under_way.map_or(0, |(_, last, _)| last)).await?;
            if dropped > 0 {
                tracing::warn!(dropped, "the outbox is over its limit; its oldest messages were dropped");
                self.dropped += dropped;
                self.bound_cursor().await?;
                self.look().await?;
            }
        }
        self.is_full = self.cache.used_bytes().await? > report;
        Ok(())
    }

    /// Finds the oldest message that waits.
    async fn look(&mut self) -> Result<(), HistoryError> {
        let first = self.cache.after(self.cursor, 1).await?.pop();
        self.oldest = first.and_then(|(_, record)| record).map(|record| record.timestamp);
        Ok(())
    }
}
