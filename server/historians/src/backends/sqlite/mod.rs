//! History in one SQLite file.
//!
//! Inserts go in large transactions into a hot table ordered by time, which is as fast as an append; in the background they are compacted
//! into chunks per topic (`chunk`), which is what makes reading one topic fast. VOLTTRON's `data` is a view over both, `topics` a table.
//! One task (`writer`) owns the only connection that writes; inserts waiting at the same time share one commit. The readings of the hot
//! tables are also in memory (`hot`), so that questions about one topic do not scan them. WAL with synchronous=FULL: what is committed
//! survives `kill -9` and loss of power. Layout and reasons: docs/decisions/0003-history-layout.md.

mod chunk;
mod compaction;
mod hot;
mod import;
mod reader;
mod retention;
mod schema;
mod topics;
mod writer;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use sqlx::{
    Connection as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{mpsc, oneshot};
use vt_types::{HistoryRecord, Timestamp};

use self::{hot::Tails, schema::Sql, topics::TopicIndex, writer::Command};
use crate::{
    config::TableNames,
    downsample::Downsampled,
    error::HistoryError,
    store::{AggregateTopic, HistoryQuery, HistoryStore, Retention, Series, TimeSpan, TopicEntry},
};

/// Inserts that wait for the writer; when it is full, `insert` waits.
const QUEUE_INSERTS: usize = 64;
/// Connections for questions.
const READERS: u32 = 3;
/// How long a statement waits for another program that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Sizes that bound memory and the length of a transaction.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rows in the active hot table at which it is sealed and compacted; with many topics more, see `hot_rows_max`.
    pub hot_rows: usize,
    /// The same with very many topics. At twice this inserts wait for compaction. About 40 bytes of memory per row.
    pub hot_rows_max: usize,
    /// Bytes of text values at which it is sealed.
    pub hot_bytes: usize,
    /// Rows that one commit may carry.
    pub group_rows: usize,
    /// Readings that one step of compaction moves.
    pub step_rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { hot_rows: 100_000, hot_rows_max: 2_000_000, hot_bytes: 64 << 20, group_rows: 32_768, step_rows: 20_000 }
    }
}

/// What the writer and the readers share. Lock order: `topics` before `tails`; never across an await.
#[derive(Debug)]
struct Shared {
    sql: Sql,
    topics: RwLock<TopicIndex>,
    tails: Mutex<Tails>,
}

#[derive(Debug, Clone)]
struct Running {
    commands: mpsc::Sender<Command>,
    readers: SqlitePool,
    shared: Arc<Shared>,
}

#[derive(Debug)]
enum State {
    New,
    Running(Running),
    Closed,
}

/// The store. Its writer task ends when it is closed or dropped.
#[derive(Debug)]
pub struct SqliteHistory {
    path: PathBuf,
    tables: TableNames,
    limits: Limits,
    state: RwLock<State>,
    /// Held during `set_up`, which may take minutes when a large file of VOLTTRON is imported.
    setting_up: tokio::sync::Mutex<()>,
}

impl SqliteHistory {
    /// A store in the file at `path`, not opened yet.
    #[must_use]
    pub fn new(path: PathBuf, tables: TableNames) -> Self {
        Self::with_limits(path, tables, Limits::default())
    }

    /// The same with other limits, for tests and measurements.
    #[must_use]
    pub fn with_limits(path: PathBuf, tables: TableNames, limits: Limits) -> Self {
        Self { path, tables, limits, state: RwLock::new(State::New), setting_up: tokio::sync::Mutex::default() }
    }

    /// Compacts everything that is in the hot tables now.
    ///
    /// # Errors
    /// As for an insert.
    pub async fn compact(&self) -> Result<(), HistoryError> {
        self.command(Command::Compact).await
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new().filename(&self.path).busy_timeout(BUSY_TIMEOUT).pragma("cache_size", "-16384")
    }

    fn running(&self) -> Result<Running, HistoryError> {
        match &*self.state.read() {
            State::Running(running) => Ok(running.clone()),
            State::New => Err(HistoryError::NotReady),
            State::Closed => Err(HistoryError::Closed),
        }
    }

    async fn command(&self, command: impl FnOnce(oneshot::Sender<Result<(), HistoryError>>) -> Command) -> Result<(), HistoryError> {
        let commands = self.running()?.commands;
        let (reply, answer) = oneshot::channel();
        commands.send(command(reply)).await.map_err(|_| HistoryError::Closed)?;
        answer.await.map_err(|_| HistoryError::Closed)?
    }

    async fn open(&self) -> Result<Running, HistoryError> {
        let options = self
            .options()
            .create_if_missing(true)
            .auto_vacuum(SqliteAutoVacuum::None)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", "4000")
            .pragma("journal_size_limit", "67108864");
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let sql = Sql::new(self.tables.clone());
        let active = sql.create(&mut connection).await?;
        import::run(&sql, &mut connection).await?;
        let shared = Arc::new(Shared { sql, topics: RwLock::default(), tails: Mutex::default() });
        let writer = writer::Writer::load(connection, Arc::clone(&shared), active, self.limits).await?;
        let readers = SqlitePoolOptions::new().max_connections(READERS).connect_with(self.options().read_only(true)).await?;
        let (commands, queue) = mpsc::channel(QUEUE_INSERTS);
        // Owned through the queue: the task ends when the last sender is gone.
        tokio::spawn(writer.run(queue));
        Ok(Running { commands, readers, shared })
    }
}

#[async_trait]
impl HistoryStore for SqliteHistory {
    async fn set_up(&self) -> Result<(), HistoryError> {
        let _one_at_a_time = self.setting_up.lock().await;
        match self.running() {
            Ok(_) => return Ok(()),
            Err(HistoryError::NotReady) => {}
            Err(error) => return Err(error),
        }
        let running = self.open().await?;
        let mut state = self.state.write();
        if matches!(*state, State::New) {
            *state = State::Running(running);
        }
        Ok(())
    }

    async fn insert(&self, records: Arc<Vec<HistoryRecord>>) -> Result<(), HistoryError> {
        self.command(|reply| Command::Insert { records, reply }).await
    }

    async fn query(&self, query: &HistoryQuery) -> Result<Vec<Series>, HistoryError> {
        let running = self.running()?;
        if let Some(aggregate) = &query.aggregate {
            return reader::aggregates(&running, query, aggregate).await;
        }
        let mut answer = Vec::with_capacity(query.topics.len());
        for topic in &query.topics {
            answer.push(reader::series(&running, topic, query).await?);
        }
        Ok(answer)
    }

    async fn query_downsampled(&self, topic: &str, span: TimeSpan, buckets_max: usize) -> Result<Downsampled, HistoryError> {
        reader::downsampled(&self.running()?, topic, span, buckets_max).await
    }

    async fn latest(&self, topics: &[String]) -> Result<Vec<(String, Timestamp, Value)>, HistoryError> {
        reader::latest(&self.running()?, topics).await
    }

    async fn topics(&self) -> Result<Vec<TopicEntry>, HistoryError> {
        Ok(self.running()?.shared.topics.read().by_name())
    }

    async fn aggregate_topics(&self) -> Result<Vec<AggregateTopic>, HistoryError> {
        reader::aggregate_topics(&self.running()?).await
    }

    async fn apply_retention(&self, retention: Retention) -> Result<(), HistoryError> {
        self.command(|reply| Command::Retain { retention, reply }).await
    }

    fn is_local(&self) -> bool {
        true
    }

    async fn close(&self) {
        let previous = std::mem::replace(&mut *self.state.write(), State::Closed);
        if let State::Running(running) = previous {
            // The writer goes last: the last connection to a file folds the log into it, which one that only reads cannot.
            running.readers.close().await;
            let (reply, closed) = oneshot::channel();
            if running.commands.send(Command::Close(reply)).await.is_ok() {
                // An error means that the writer ended before, which is what is wanted.
                closed.await.unwrap_or_default();
            }
        }
    }
}
