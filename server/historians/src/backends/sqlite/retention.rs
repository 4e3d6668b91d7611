//! Drops old readings in small transactions, between which the writer stores new ones. Freed pages are reused; the file does not shrink.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::{
    Shared, compaction,
    hot::within,
    schema::{once, statement},
    writer::{Reply, Writer, answer},
};
use crate::{
    error::HistoryError,
    store::{Retention, TopicId},
    transaction,
};

/// Most chunks deleted per transaction.
const STEP_CHUNKS: u64 = 256;
/// Topics whose oldest chunk is cut per transaction.
const STEP_TOPICS: usize = 200;
/// Most rows of hot tables deleted per transaction when there are no chunks left to delete.
const STEP_ROWS: u64 = 10_000;
/// What a chunk and a hot row take at least, so that not more is deleted than needed. Bytes.
const CHUNK_BYTES: u64 = 4096;
const ROW_BYTES: u64 = 64;

#[derive(Debug)]
enum Stage {
    /// Whole chunks older than the limit, and hot rows.
    Age,
    /// Chunks that cross the limit, topics after this one.
    Cut { cutoff_us: i64, after: TopicId },
    /// Whatever is too much for the size.
    Size,
}

/// Retention under way.
#[derive(Debug)]
pub struct Pruning {
    retention: Retention,
    reply: Reply,
    stage: Stage,
}

impl Pruning {
    pub fn new(retention: Retention, reply: Reply) -> Self {
        Self { retention, reply, stage: Stage::Age }
    }

    /// One piece of work; `None` when all is done and answered.
    pub async fn step(mut self, writer: &mut Writer) -> Option<Self> {
        let next = match &self.stage {
            Stage::Age => self.age(writer).await,
            Stage::Cut { cutoff_us, after } => cut(writer, *cutoff_us, *after).await,
            Stage::Size => self.size(writer).await,
        };
        match next {
            Ok(Some(stage)) => {
                self.stage = stage;
                Some(self)
            }
            Ok(None) => {
                answer(self.reply, Ok(()));
                None
            }
            Err(error) => {
                answer(self.reply, Err(error));
                None
            }
        }
    }

    async fn age(&self, writer: &mut Writer) -> Result<Option<Stage>, HistoryError> {
        let Some(newest_us) = newest_us(writer).await? else { return Ok(None) };
        let Some(cutoff_us) = self.retention.oldest_kept_us(newest_us) else { return Ok(Some(Stage::Size)) };
        if delete_chunks(writer, &format!("end_us < {cutoff_us}"), STEP_CHUNKS).await? > 0 {
            return Ok(Some(Stage::Age));
        }
        delete_hot(writer, cutoff_us).await?;
        Ok(Some(Stage::Cut { cutoff_us, after: i64::MIN }))
    }

    async fn size(&self, writer: &mut Writer) -> Result<Option<Stage>, HistoryError> {
        let Some(limit) = self.retention.storage_limit_bytes else { return Ok(None) };
        let surplus = used_bytes(&mut writer.connection).await?.saturating_sub(limit);
        if surplus == 0 {
            return Ok(None);
        }
        if delete_chunks(writer, "TRUE", (surplus / CHUNK_BYTES).clamp(1, STEP_CHUNKS)).await? > 0 {
            return Ok(Some(Stage::Size));
        }
        let rows = usize::try_from((surplus / ROW_BYTES).clamp(1, STEP_ROWS)).unwrap_or(1);
        let Some(cutoff_us) = writer.shared.tails.lock().oldest_us(rows) else { return Ok(None) };
        delete_hot(writer, cutoff_us).await?;
        Ok(Some(Stage::Size))
    }
}

/// Shortens chunks that cross the limit. Whole older ones are gone, so each topic has at most one.
async fn cut(writer: &mut Writer, cutoff_us: i64, after: TopicId) -> Result<Option<Stage>, HistoryError> {
    let shared = Arc::clone(&writer.shared);
    let topics: Vec<_> = shared.topics.read().ids_after(after).take(STEP_TOPICS).collect();
    let Some(last) = topics.last().copied() else { return Ok(Some(Stage::Size)) };
    transaction::begin(&mut writer.connection).await?;
    let done = cut_topics(&mut writer.connection, &shared, cutoff_us, topics).await;
    transaction::end(&mut writer.connection, done).await?;
    Ok(Some(Stage::Cut { cutoff_us, after: last }))
}

async fn cut_topics(connection: &mut SqliteConnection, shared: &Shared, cutoff_us: i64, topics: Vec<TopicId>) -> Result<(), HistoryError> {
    for topic in topics {
        let page = statement(&shared.sql.page_down).bind(topic).bind(cutoff_us).bind(1);
        for row in page.fetch_all(&mut *connection).await? {
            let (id, start_us, unit_us): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(3)?);
            let points = compaction::points(topic, start_us, unit_us, row.try_get(5)?)?;
            let kept = within(&points, &(cutoff_us..i64::MAX));
            compaction::replace(connection, &shared.sql, topic, id, kept).await?;
        }
    }
    Ok(())
}

async fn newest_us(writer: &mut Writer) -> Result<Option<i64>, HistoryError> {
    let stored = format!(r#"SELECT max(end_us) FROM "{}""#, writer.shared.sql.chunk);
    let stored: Option<i64> = sqlx::query_scalar(AssertSqlSafe(stored)).fetch_one(&mut writer.connection).await?;
    let hot = newest_hot(&writer.shared);
    Ok(stored.max(hot))
}

fn newest_hot(shared: &Shared) -> Option<i64> {
    shared.tails.lock().newest_us()
}

/// Deletes up to `count` chunks that fulfil `condition`, the oldest first, and says how many.
async fn delete_chunks(writer: &mut Writer, condition: &str, count: u64) -> Result<u64, HistoryError> {
    let chunk = &writer.shared.sql.chunk;
    let sql = format!(
        r#"DELETE FROM "{chunk}" WHERE chunk_id IN (SELECT chunk_id FROM "{chunk}" WHERE {condition} ORDER BY end_us LIMIT {count})"#
    );
    Ok(once(sql).execute(&mut writer.connection).await?.rows_affected())
}

async fn delete_hot(writer: &mut Writer, cutoff_us: i64) -> Result<(), HistoryError> {
    let shared = Arc::clone(&writer.shared);
    transaction::begin(&mut writer.connection).await?;
    let done = delete_rows_before(&mut writer.connection, &shared, cutoff_us).await;
    transaction::end(&mut writer.connection, done).await?;
    shared.tails.lock().drop_before(cutoff_us);
    Ok(())
}

async fn delete_rows_before(connection: &mut SqliteConnection, shared: &Shared, cutoff_us: i64) -> Result<(), HistoryError> {
    for hot in &shared.sql.hot {
        once(format!(r#"DELETE FROM "{hot}" WHERE ts_us < ?"#)).bind(cutoff_us).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Bytes of the file that hold something.
async fn used_bytes(connection: &mut SqliteConnection) -> Result<u64, HistoryError> {
    let pages = "SELECT (SELECT page_count FROM pragma_page_count) - (SELECT freelist_count FROM pragma_freelist_count)";
    let pages: i64 = sqlx::query_scalar(pages).fetch_one(&mut *connection).await?;
    let size: i64 = sqlx::query_scalar("SELECT page_size FROM pragma_page_size").fetch_one(connection).await?;
    Ok(u64::try_from(pages.saturating_mul(size)).unwrap_or(0))
}
