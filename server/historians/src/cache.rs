//! The durable cache in front of a store: `backup.sqlite` in VOLTTRON's layout, so that a file which VOLTTRON left behind is sent on.
//! Source: VOLTTRON `volttron/platform/agent/base_historian.py` (`BackupDatabase`).
//!
//! WAL with synchronous=FULL: what `append` has accepted survives `kill -9` and loss of power.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use serde_json::{Map, Value};
use sqlx::{
    AssertSqlSafe, Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous},
};
use vt_types::{HistoryRecord, history::Source, timestamp};

use crate::{error::HistoryError, transaction, value::Cell};

/// Rows per INSERT statement, largest first; the last is 1.
const INSERT_SIZES: [usize; 3] = [500, 50, 1];
/// Rows deleted at a time while the cache is over its limit. VOLTTRON's number.
const TRIM_ROWS: i64 = 100;
/// How long a statement waits for another program that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Records of one submission, oldest first, each (topic, timestamp) once.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The records.
    pub records: Arc<Vec<HistoryRecord>>,
    /// Rows that they and their repeats take.
    rows: Vec<i64>,
}

/// The cache. One owner.
#[derive(Debug)]
pub struct Cache {
    connection: SqliteConnection,
    ids: HashMap<Arc<str>, i64>,
    names: HashMap<i64, Arc<str>>,
    metadata: HashMap<(i64, Source), Arc<Map<String, Value>>>,
    count: u64,
    invalid_count: u64,
    aside_count: u64,
    /// A commit failed after names or metadata in memory had changed.
    stale: bool,
}

impl Cache {
    /// Opens or makes the cache at `path`.
    ///
    /// # Errors
    /// [`HistoryError::Database`] when it cannot be opened, read or written.
    pub async fn open(path: &Path) -> Result<Self, HistoryError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .auto_vacuum(SqliteAutoVacuum::Full)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        for sql in [
            "CREATE TABLE IF NOT EXISTS outstanding(id INTEGER PRIMARY KEY, ts timestamp NOT NULL, source TEXT NOT NULL, topic_id INTEGER NOT NULL, \
             value_string TEXT NOT NULL, header_string TEXT)",
            "CREATE INDEX IF NOT EXISTS outstanding_ts_index ON outstanding(ts)",
            "CREATE TABLE IF NOT EXISTS time_error(id INTEGER PRIMARY KEY, ts timestamp NOT NULL, source TEXT NOT NULL, topic_id INTEGER NOT NULL, \
             value_string TEXT NOT NULL, header_string TEXT)",
            "CREATE INDEX IF NOT EXISTS time_error_ts_index ON time_error(ts)",
            // Ours; VOLTTRON leaves it alone.
            "CREATE TABLE IF NOT EXISTS set_aside(id INTEGER PRIMARY KEY, ts timestamp NOT NULL, source TEXT NOT NULL, topic_id INTEGER NOT NULL, \
             value_string TEXT NOT NULL, header_string TEXT)",
            "CREATE TABLE IF NOT EXISTS metadata(source TEXT NOT NULL, topic_id INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, \
             UNIQUE(topic_id, source, name))",
            "CREATE TABLE IF NOT EXISTS topics(topic_id INTEGER PRIMARY KEY, topic_name TEXT NOT NULL, UNIQUE(topic_name))",
        ] {
            sqlx::query(sql).execute(&mut connection).await?;
        }
        let mut cache = Self {
            connection,
            ids: HashMap::new(),
            names: HashMap::new(),
            metadata: HashMap::new(),
            count: 0,
            invalid_count: 0,
            aside_count: 0,
            stale: true,
        };
        cache.load().await?;
        Ok(cache)
    }

    /// Records waiting to be submitted, repeats included.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Records kept aside because their timestamp was out of tolerance.
    #[must_use]
    pub fn invalid_count(&self) -> u64 {
        self.invalid_count
    }

    /// Records that were set aside because nobody takes them.
    #[must_use]
    pub fn aside_count(&self) -> u64 {
        self.aside_count
    }

    /// Takes in records, and those with an invalid timestamp aside. On disk when it returns.
    ///
    /// # Errors
    /// [`HistoryError::Database`]; then none of them was taken.
    pub async fn append(&mut self, records: &[HistoryRecord], invalid: &[HistoryRecord]) -> Result<(), HistoryError> {
        if self.stale {
            self.load().await?;
        }
        self.stale = true;
        transaction::begin(&mut self.connection).await?;
        let done = self.put(records, invalid).await;
        transaction::end(&mut self.connection, done).await?;
        self.stale = false;
        self.count += u64::try_from(records.len()).unwrap_or(0);
        self.invalid_count += u64::try_from(invalid.len()).unwrap_or(0);
        Ok(())
    }

    async fn put(&mut self, records: &[HistoryRecord], invalid: &[HistoryRecord]) -> Result<(), HistoryError> {
        let mut known = Known { ids: &mut self.ids, names: &mut self.names, metadata: &mut self.metadata };
        for (table, records) in [("outstanding", records), ("time_error", invalid)] {
            let rows = known.rows(&mut self.connection, records).await?;
            insert(&mut self.connection, table, rows).await?;
        }
        Ok(())
    }

    /// The oldest `limit` records by timestamp; of a repeated (topic, timestamp) the one that came last. `None` when there are none.
    ///
    /// # Errors
    /// [`HistoryError::Database`].
    pub async fn batch(&mut self, limit: usize) -> Result<Option<Batch>, HistoryError> {
        if self.stale {
            self.load().await?;
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let select = sqlx::query("SELECT id, CAST(ts AS TEXT), source, topic_id, value_string FROM outstanding ORDER BY ts, id LIMIT ?");
        let found = select.bind(limit).fetch_all(&mut self.connection).await?;
        let (mut rows, mut records) = (Vec::with_capacity(found.len()), Vec::<HistoryRecord>::with_capacity(found.len()));
        let mut places = HashMap::new();
        for row in &found {
            rows.push(row.try_get(0)?);
            let Some(record) = self.record(row)? else { continue };
            let topic_id: i64 = row.try_get(3)?;
            match places.insert((topic_id, record.timestamp), records.len()) {
                Some(place) => {
                    records[place] = record;
                    places.insert((topic_id, records[place].timestamp), place);
                }
                None => records.push(record),
            }
        }
        Ok((!rows.is_empty()).then(|| Batch { records: Arc::new(records), rows }))
    }

    /// The record of a row, `id, ts, source, topic_id, value_string`.
    fn record(&self, row: &SqliteRow) -> Result<Option<HistoryRecord>, HistoryError> {
        let (ts, source, topic_id): (&str, &str, i64) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let (Ok(time), Some(topic)) = (timestamp::parse(ts), self.names.get(&topic_id)) else {
            tracing::warn!(ts, topic_id, "a record in the historian's cache cannot be read and is dropped");
            return Ok(None);
        };
        let source = Source::parse(source).unwrap_or(Source::Record);
        Ok(Some(HistoryRecord {
            timestamp: time.assume_utc(),
            topic: Arc::clone(topic),
            source,
            value: Cell::of_text(row.try_get(4)?).to_value(),
            meta: self.metadata.get(&(topic_id, source)).cloned().unwrap_or_default(),
        }))
    }

    /// Removes what a store has committed.
    ///
    /// # Errors
    /// [`HistoryError::Database`]; then all of it is still there and will be submitted again, which changes nothing in the store.
    pub async fn remove(&mut self, batch: &Batch) -> Result<(), HistoryError> {
        self.remove_rows(&batch.rows).await
    }

    /// The first `limit` rows after row `after` in the order in which they came, repeats included; without a record what cannot be read.
    ///
    /// # Errors
    /// [`HistoryError::Database`].
    pub async fn after(&mut self, after: i64, limit: usize) -> Result<Vec<(i64, Option<HistoryRecord>)>, HistoryError> {
        if self.stale {
            self.load().await?;
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let select =
            sqlx::query("SELECT id, CAST(ts AS TEXT), source, topic_id, value_string FROM outstanding WHERE id > ? ORDER BY id LIMIT ?");
        let found = select.bind(after).bind(limit).fetch_all(&mut self.connection).await?;
        found.iter().map(|row| Ok((row.try_get(0)?, self.record(row)?))).collect()
    }

    /// The highest row; 0 when there is none.
    ///
    /// # Errors
    /// [`HistoryError::Database`].
    pub async fn last_row(&mut self) -> Result<i64, HistoryError> {
        let last: Option<i64> = sqlx::query_scalar("SELECT max(id) FROM outstanding").fetch_one(&mut self.connection).await?;
        Ok(last.unwrap_or(0))
    }

    /// Removes rows.
    ///
    /// # Errors
    /// [`HistoryError::Database`]; then all of them are still there.
    pub async fn remove_rows(&mut self, rows: &[i64]) -> Result<(), HistoryError> {
        let ids = serde_json::to_string(rows).unwrap_or_default();
        let delete = sqlx::query("DELETE FROM outstanding WHERE id IN (SELECT value FROM json_each(?))");
        let removed = delete.bind(ids).execute(&mut self.connection).await?.rows_affected();
        self.count = self.count.saturating_sub(removed);
        Ok(())
    }

    /// Sets rows aside, so that they are in nobody's way. They stay in the cache.
    ///
    /// # Errors
    /// [`HistoryError::Database`]; then all of them are where they were.
    pub async fn set_aside(&mut self, rows: &[i64]) -> Result<(), HistoryError> {
        let ids = serde_json::to_string(rows).unwrap_or_default();
        let moved = self.shift("outstanding", "set_aside", "SELECT value FROM json_each(?)", ids).await?;
        self.count = self.count.saturating_sub(moved);
        self.aside_count += moved;
        Ok(())
    }

    /// Puts the first `limit` rows that were set aside back, behind all others.
    ///
    /// # Errors
    /// [`HistoryError::Database`]; then all of them are where they were.
    pub async fn take_back(&mut self, limit: usize) -> Result<(), HistoryError> {
        let moved = self
            .shift("set_aside", "outstanding", "SELECT id FROM set_aside ORDER BY id LIMIT CAST(? AS INTEGER)", limit.to_string())
            .await?;
        self.aside_count = self.aside_count.saturating_sub(moved);
        self.count += moved;
        Ok(())
    }

    /// Moves the rows that `which` names, with its one argument, in their order to the end of another table. Says how many.
    async fn shift(&mut self, from: &str, to: &str, which: &str, argument: String) -> Result<u64, HistoryError> {
        transaction::begin(&mut self.connection).await?;
        let done = self.shift_rows(from, to, which, argument).await;
        transaction::end(&mut self.connection, done).await
    }

    async fn shift_rows(&mut self, from: &str, to: &str, which: &str, argument: String) -> Result<u64, HistoryError> {
        let columns = "ts, source, topic_id, value_string, header_string";
        let insert = format!("INSERT INTO {to}({columns}) SELECT {columns} FROM {from} WHERE id IN ({which}) ORDER BY id");
        sqlx::query(AssertSqlSafe(insert)).bind(argument.clone()).execute(&mut self.connection).await?;
        let delete = format!("DELETE FROM {from} WHERE id IN ({which})");
        let moved = sqlx::query(AssertSqlSafe(delete)).bind(argument).execute(&mut self.connection).await?.rows_affected();
        Ok(moved)
    }

    /// Bytes that the cache takes.
    ///
    /// # Errors
    /// [`HistoryError::Database`].
    pub async fn used_bytes(&mut self) -> Result<u64, HistoryError> {
        let pages = "SELECT ((SELECT page_count FROM pragma_page_count) - (SELECT freelist_count FROM pragma_freelist_count)) * page_size FROM pragma_page_size";
        let bytes: i64 = sqlx::query_scalar(pages).fetch_one(&mut self.connection).await?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    /// Drops records while the cache takes more than `limit` bytes: first those with invalid timestamps, then those that were set aside, then
    /// those that came first, save for the rows up to `kept`, which are under way. Says how many were dropped.
    ///
    /// # Errors
    /// [`HistoryError::Database`].
    pub async fn trim(&mut self, limit: u64, kept: i64) -> Result<u64, HistoryError> {
        let mut dropped = 0;
        while self.used_bytes().await? > limit {
            let (table, counter) = match (self.invalid_count, self.aside_count) {
                (1.., _) => ("time_error", &mut self.invalid_count),
                (0, 1..) => ("set_aside", &mut self.aside_count),
                (0, 0) => ("outstanding", &mut self.count),
            };
            let kept = if table == "outstanding" { kept } else { 0 };
            let sql = format!("DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE id > {kept} ORDER BY id LIMIT {TRIM_ROWS})");
            let removed = sqlx::query(AssertSqlSafe(sql)).execute(&mut self.connection).await?.rows_affected();
            *counter = if removed == 0 && kept == 0 { 0 } else { counter.saturating_sub(removed) };
            dropped += removed;
            if removed == 0 && table == "outstanding" {
                break;
            }
        }
        Ok(dropped)
    }

    /// Closes the file.
    pub async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the historian's cache could not be closed cleanly; nothing in it is lost");
        }
    }

    async fn load(&mut self) -> Result<(), HistoryError> {
        (self.ids, self.names, self.metadata) = (HashMap::new(), HashMap::new(), HashMap::new());
        let topics: Vec<(i64, String)> = sqlx::query_as("SELECT topic_id, topic_name FROM topics").fetch_all(&mut self.connection).await?;
        for (id, name) in topics {
            let name: Arc<str> = name.into();
            self.ids.insert(Arc::clone(&name), id);
            self.names.insert(id, name);
        }
        let rows: Vec<(String, i64, String, String)> =
            sqlx::query_as("SELECT source, topic_id, name, value FROM metadata").fetch_all(&mut self.connection).await?;
        let mut metadata: HashMap<_, Map<String, Value>> = HashMap::new();
        for (source, topic, name, value) in rows {
            if let Some(source) = Source::parse(&source) {
                let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
                metadata.entry((topic, source)).or_default().insert(name, value);
            }
        }
        self.metadata = metadata.into_iter().map(|(key, map)| (key, Arc::new(map))).collect();
        self.count = count(&mut self.connection, "SELECT count(*) FROM outstanding").await?;
        self.invalid_count = count(&mut self.connection, "SELECT count(*) FROM time_error").await?;
        self.aside_count = count(&mut self.connection, "SELECT count(*) FROM set_aside").await?;
        self.stale = false;
        Ok(())
    }
}

async fn count(connection: &mut SqliteConnection, sql: &'static str) -> Result<u64, HistoryError> {
    let count: i64 = sqlx::query_scalar(sql).fetch_one(connection).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

struct CachedRow {
    ts: String,
    source: &'static str,
    topic_id: i64,
    value: String,
}

/// The parts of the cache that a transaction changes along with it.
struct Known<'a> {
    ids: &'a mut HashMap<Arc<str>, i64>,
    names: &'a mut HashMap<i64, Arc<str>>,
    metadata: &'a mut HashMap<(i64, Source), Arc<Map<String, Value>>>,
}

impl Known<'_> {
    async fn rows(&mut self, connection: &mut SqliteConnection, records: &[HistoryRecord]) -> Result<Vec<CachedRow>, HistoryError> {
        let mut rows = Vec::with_capacity(records.len());
        for record in records {
            let topic_id = match self.ids.get(&record.topic) {
                Some(id) => *id,
                None => self.add_topic(connection, &record.topic).await?,
            };
            self.note_metadata(connection, topic_id, record).await?;
            rows.push(CachedRow {
                ts: timestamp::format(record.timestamp),
                source: record.source.as_str(),
                topic_id,
                value: Cell::of(&record.value).json(),
            });
        }
        Ok(rows)
    }

    async fn add_topic(&mut self, connection: &mut SqliteConnection, name: &Arc<str>) -> Result<i64, HistoryError> {
        let insert = sqlx::query("INSERT INTO topics(topic_name) VALUES (?)").bind(name.to_string());
        let id = insert.execute(connection).await?.last_insert_rowid();
        self.ids.insert(Arc::clone(name), id);
        self.names.insert(id, Arc::clone(name));
        Ok(id)
    }

    async fn note_metadata(&mut self, connection: &mut SqliteConnection, topic: i64, record: &HistoryRecord) -> Result<(), HistoryError> {
        if record.meta.is_empty() {
            return Ok(());
        }
        let known = self.metadata.get(&(topic, record.source));
        if known.is_some_and(|known| Arc::ptr_eq(known, &record.meta)) {
            return Ok(());
        }
        if known != Some(&record.meta) {
            for (name, value) in record.meta.iter() {
                let insert = sqlx::query("INSERT OR REPLACE INTO metadata(source, topic_id, name, value) VALUES (?, ?, ?, ?)");
                let insert = insert.bind(record.source.as_str()).bind(topic).bind(name.clone()).bind(metadata_text(value));
                insert.execute(&mut *connection).await?;
            }
        }
        self.metadata.insert((topic, record.source), Arc::clone(&record.meta));
        Ok(())
    }
}

/// Text as VOLTTRON writes it, plain; whatever would be read as something else than that text is written as JSON.
fn metadata_text(value: &Value) -> String {
    match value {
        Value::String(text) if serde_json::from_str::<Value>(text).is_err() => text.clone(),
        other => other.to_string(),
    }
}

async fn insert(connection: &mut SqliteConnection, table: &'static str, mut rows: Vec<CachedRow>) -> Result<(), HistoryError> {
    for size in INSERT_SIZES {
        while rows.len() >= size {
            let sql = format!("INSERT INTO {table}(ts, source, topic_id, value_string) VALUES {}", vec!["(?,?,?,?)"; size].join(","));
            let mut insert = sqlx::query(AssertSqlSafe(sql));
            for row in rows.drain(..size) {
                insert = insert.bind(row.ts).bind(row.source).bind(row.topic_id).bind(row.value);
            }
            insert.execute(&mut *connection).await?;
        }
    }
    Ok(())
}
