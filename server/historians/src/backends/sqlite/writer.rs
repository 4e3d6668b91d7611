//! The task that owns the writing connection: gathers waiting inserts into one commit, and between commits does a step of background
//! work (retention, compaction), so that neither makes the other wait for long.

use std::{sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use vt_types::HistoryRecord;

use super::{
    Limits, Shared,
    compaction::Compaction,
    retention::Pruning,
    schema::{INSERT_SIZES, once, statement},
    topics::Change,
};
use crate::{
    error::HistoryError,
    store::{Retention, TopicEntry, TopicId},
    transaction,
    value::Cell,
};

/// Pause of background work after it failed.
const BACKGROUND_RETRY: Duration = Duration::from_secs(10);

pub type Reply = oneshot::Sender<Result<(), HistoryError>>;

/// What the writer is asked for.
#[derive(Debug)]
pub enum Command {
    Insert { records: Arc<Vec<HistoryRecord>>, reply: Reply },
    Retain { retention: Retention, reply: Reply },
    Compact(Reply),
    Close(oneshot::Sender<()>),
}

struct Insert {
    records: Arc<Vec<HistoryRecord>>,
    reply: Reply,
}

pub struct Writer {
    pub connection: SqliteConnection,
    pub shared: Arc<Shared>,
    pub limits: Limits,
    /// Which hot table takes inserts.
    pub active: usize,
    compaction: Option<Compaction>,
    pruning: Option<Pruning>,
    paused_until: Option<Instant>,
    /// A commit failed after the index in memory had changed.
    index_stale: bool,
}

impl Writer {
    /// Loads topics and hot tables.
    pub async fn load(connection: SqliteConnection, shared: Arc<Shared>, active: usize, limits: Limits) -> Result<Self, HistoryError> {
        let mut writer =
            Self { connection, shared, limits, active, compaction: None, pruning: None, paused_until: None, index_stale: false };
        writer.load_topics().await?;
        for table in [1 - active, active] {
            writer.load_hot(table).await?;
        }
        writer.compaction = Compaction::resume(&writer.shared);
        Ok(writer)
    }

    /// Works until it is closed or nobody can ask any more.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        // A command taken out of the queue while inserts were gathered.
        let mut held = None;
        loop {
            let command = match held.take() {
                Some(command) => Some(command),
                None if self.has_background_work() => match queue.try_recv() {
                    Ok(command) => Some(command),
                    Err(mpsc::error::TryRecvError::Disconnected) => break,
                    Err(mpsc::error::TryRecvError::Empty) => {
                        self.background_step().await;
                        tokio::task::yield_now().await;
                        continue;
                    }
                },
                None => match self.next(&mut queue).await {
                    Some(command) => command,
                    None => break,
                },
            };
            match command {
                None => {}
                Some(Command::Insert { records, reply }) => {
                    let mut group = vec![Insert { records, reply }];
                    held = self.gather(&mut group, &mut queue);
                    self.insert_group(group).await;
                    self.background_step().await;
                }
                Some(Command::Retain { retention, reply }) => self.prune(retention, reply),
                Some(Command::Compact(reply)) => {
                    let done = self.compact_all().await;
                    answer(reply, done);
                }
                Some(Command::Close(reply)) => {
                    self.close().await;
                    // Nobody listens when `close` itself was given up.
                    reply.send(()).unwrap_or_default();
                    return;
                }
            }
        }
        self.close().await;
    }

    /// The next command; `Some(None)` when paused background work is due again, `None` when nobody can ask any more.
    async fn next(&self, queue: &mut mpsc::Receiver<Command>) -> Option<Option<Command>> {
        match self.paused_until {
            None => queue.recv().await.map(Some),
            Some(due) => tokio::select! {
                command = queue.recv() => command.map(Some),
                () = tokio::time::sleep_until(due) => Some(None),
            },
        }
    }

    fn gather(&self, group: &mut Vec<Insert>, queue: &mut mpsc::Receiver<Command>) -> Option<Command> {
        let mut rows: usize = group.iter().map(|insert| insert.records.len()).sum();
        while rows < self.limits.group_rows {
            match queue.try_recv() {
                Ok(Command::Insert { records, reply }) => {
                    rows += records.len();
                    group.push(Insert { records, reply });
                }
                Ok(other) => return Some(other),
                Err(_) => return None,
            }
        }
        None
    }

    async fn insert_group(&mut self, group: Vec<Insert>) {
        let done = self.commit(&group).await;
        if let Err(error) = &done {
            tracing::warn!(%error, "history records could not be stored");
        }
        for insert in group {
            answer(insert.reply, done.clone());
        }
    }

    async fn commit(&mut self, group: &[Insert]) -> Result<(), HistoryError> {
        self.wait_for_room().await?;
        if self.index_stale {
            self.load_topics().await?;
        }
        let (rows, changed) = self.resolve(group);
        self.index_stale = !changed.is_empty();
        transaction::begin(&mut self.connection).await?;
        let done = self.write(&rows, &changed).await;
        transaction::end(&mut self.connection, done).await?;
        self.index_stale = false;
        let mut tails = self.shared.tails.lock();
        for (at_us, topic, cell) in rows {
            tails.push(topic, at_us, cell);
        }
        Ok(())
    }

    async fn write(&mut self, rows: &[(i64, TopicId, Cell)], changed: &[TopicEntry]) -> Result<(), HistoryError> {
        let shared = Arc::clone(&self.shared);
        for entry in changed {
            let metadata = (!entry.metadata.is_empty()).then(|| serde_json::to_string(&*entry.metadata).unwrap_or_default());
            statement(&shared.sql.insert_topic)
                .bind(entry.id)
                .bind(entry.name.to_string())
                .bind(metadata)
                .execute(&mut self.connection)
                .await?;
        }
        let mut rest = rows;
        for (index, size) in INSERT_SIZES.into_iter().enumerate() {
            while rest.len() >= size {
                let (now, later) = rest.split_at(size);
                let mut insert = statement(shared.sql.insert_hot(self.active, index));
                for (at_us, topic, cell) in now {
                    insert = insert.bind(*at_us).bind(*topic).bind(cell.json());
                }
                insert.execute(&mut self.connection).await?;
                rest = later;
            }
        }
        Ok(())
    }

    /// Rows in the order of the table, equal keys in the order of arrival; and the topics that have to be written.
    fn resolve(&self, group: &[Insert]) -> (Vec<(i64, TopicId, Cell)>, Vec<TopicEntry>) {
        let mut rows = Vec::with_capacity(group.iter().map(|insert| insert.records.len()).sum());
        let mut changed: Vec<TopicId> = Vec::new();
        let mut topics = self.shared.topics.write();
        for record in group.iter().flat_map(|insert| insert.records.iter()) {
            let (topic, change) = topics.resolve(&record.topic, &record.meta);
            if matches!(change, Some(Change::New | Change::Changed)) {
                changed.push(topic);
            }
            rows.push((record.timestamp.timestamp_micros(), topic, Cell::of(&record.value)));
        }
        rows.sort_by_key(|(at_us, topic, _)| (*at_us, *topic));
        changed.sort_unstable();
        changed.dedup();
        (rows, changed.into_iter().filter_map(|id| topics.entry(id).cloned()).collect())
    }

    /// Memory is bounded: with the active table far over its limit, compaction goes first.
    async fn wait_for_room(&mut self) -> Result<(), HistoryError> {
        while self.shared.tails.lock().active_rows >= self.limits.hot_rows_max.saturating_mul(2) {
            self.compaction_step().await?;
        }
        Ok(())
    }

    fn has_background_work(&self) -> bool {
        self.paused_until.is_none_or(|due| due <= Instant::now()) && (self.pruning.is_some() || self.compaction.is_some() || self.is_full())
    }

    fn is_full(&self) -> bool {
        let tails = self.shared.tails.lock();
        let enough =
            tails.active_topics().saturating_mul(64).clamp(self.limits.hot_rows, self.limits.hot_rows_max.max(self.limits.hot_rows));
        tails.active_rows >= enough || tails.active_bytes >= self.limits.hot_bytes
    }

    async fn background_step(&mut self) {
        if !self.has_background_work() {
            return;
        }
        self.paused_until = None;
        if let Some(pruning) = self.pruning.take() {
            self.pruning = pruning.step(self).await;
        } else if let Err(error) = self.compaction_step().await {
            tracing::warn!(%error, "history could not be compacted; it is tried again in {} s", BACKGROUND_RETRY.as_secs());
            self.paused_until = Some(Instant::now() + BACKGROUND_RETRY);
        }
    }

    async fn compaction_step(&mut self) -> Result<(), HistoryError> {
        let compaction = match self.compaction.take() {
            Some(compaction) => compaction,
            None => Compaction::start(self).await?,
        };
        self.compaction = compaction.step(self).await.map_err(|(compaction, error)| {
            self.compaction = Some(compaction);
            error
        })?;
        Ok(())
    }

    async fn compact_all(&mut self) -> Result<(), HistoryError> {
        while self.compaction.is_some() {
            self.compaction_step().await?;
        }
        self.compaction_step().await?;
        while self.compaction.is_some() {
            self.compaction_step().await?;
        }
        Ok(())
    }

    fn prune(&mut self, retention: Retention, reply: Reply) {
        match &self.pruning {
            // One at a time: its rules are the same, so whoever asks meanwhile has nothing to wait for.
            Some(_) => answer(reply, Ok(())),
            None => self.pruning = Some(Pruning::new(retention, reply)),
        }
    }

    async fn load_topics(&mut self) -> Result<(), HistoryError> {
        let sql = format!(r#"SELECT topic_id, topic_name, metadata FROM "{}" ORDER BY topic_id"#, self.shared.sql.names.topics);
        let rows: Vec<(i64, String, Option<String>)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut self.connection).await?;
        let mut index = super::TopicIndex::default();
        for (id, name, metadata) in rows {
            let metadata = metadata.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
            index.load(TopicEntry { id, name: name.into(), metadata: Arc::new(metadata) });
        }
        *self.shared.topics.write() = index;
        self.index_stale = false;
        Ok(())
    }

    async fn load_hot(&mut self, table: usize) -> Result<(), HistoryError> {
        let shared = Arc::clone(&self.shared);
        let select = once(format!(r#"SELECT ts_us, topic_id, value FROM "{}""#, shared.sql.hot[table]));
        let mut rows = select.fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await? {
            let (at_us, topic, cell) = (row.try_get(0)?, row.try_get(1)?, Cell::of_text(row.try_get(2)?));
            let mut tails = shared.tails.lock();
            if table == self.active {
                tails.push(topic, at_us, cell);
            } else {
                tails.push_sealed(topic, at_us, cell);
            }
        }
        Ok(())
    }

    async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the history file could not be closed cleanly; nothing stored is lost");
        }
    }
}

/// Answers whoever still waits; a caller that gave up has no use for the answer.
pub fn answer(reply: Reply, result: Result<(), HistoryError>) {
    reply.send(result).unwrap_or_default();
}
