//! Moves readings from the hot tables into chunks. The active hot table is sealed and the other takes over; the sealed one is then moved
//! topic by topic in small transactions, and emptied when all of it is in chunks. A crash between leaves readings in both, with equal
//! values, which every reader takes as one; the work is done again from the start.

use std::{collections::VecDeque, sync::Arc};

use sqlx::{Row as _, SqliteConnection};

use super::{
    Shared,
    chunk::{self, Encoded, POINTS_MAX, Point},
    hot::merge,
    schema::{Sql, once, statement},
    writer::Writer,
};
use crate::{error::HistoryError, store::TopicId, transaction};

/// Topics that one step may touch.
const STEP_TOPICS: usize = 512;
/// A chunk is continued while it has fewer readings than this many times the new ones, at least [`CONTINUED_MIN`]: with few new readings
/// per compaction, rewriting a long chunk again and again would cost more than having shorter ones.
const CONTINUED_FACTOR: usize = 8;
const CONTINUED_MIN: usize = 64;

/// A compaction under way: the topics still to be moved.
#[derive(Debug)]
pub struct Compaction {
    topics: VecDeque<TopicId>,
}

impl Compaction {
    /// Goes on after a start with a sealed table that is not empty.
    pub fn resume(shared: &Shared) -> Option<Self> {
        let topics: VecDeque<_> = shared.tails.lock().sealed_topics().into();
        (!topics.is_empty()).then_some(Self { topics })
    }

    /// Seals the active table. The sealed one must be empty.
    pub async fn start(writer: &mut Writer) -> Result<Self, HistoryError> {
        let shared = Arc::clone(&writer.shared);
        shared.sql.switch(&mut writer.connection, 1 - writer.active).await?;
        writer.active = 1 - writer.active;
        let mut tails = shared.tails.lock();
        tails.seal();
        Ok(Self { topics: tails.sealed_topics().into() })
    }

    /// One transaction; `None` when all is done. On failure nothing has changed and the same step can be tried again.
    pub async fn step(mut self, writer: &mut Writer) -> Result<Option<Self>, (Self, HistoryError)> {
        if self.topics.is_empty() {
            return match finish(writer).await {
                Ok(()) => Ok(None),
                Err(error) => Err((self, error)),
            };
        }
        let work = self.work(&writer.shared, writer.limits.step_rows);
        let shared = Arc::clone(&writer.shared);
        match store(&mut writer.connection, &shared.sql, &work).await {
            Ok(()) => {
                self.topics.drain(..work.len());
                Ok(Some(self))
            }
            Err(error) => Err((self, error)),
        }
    }

    fn work(&self, shared: &Shared, rows_max: usize) -> Vec<(TopicId, Vec<Point>)> {
        let mut tails = shared.tails.lock();
        let mut work = Vec::new();
        let mut rows = 0;
        for topic in self.topics.iter().take(STEP_TOPICS) {
            let points = tails.sealed_points(*topic);
            rows += points.len();
            work.push((*topic, points));
            if rows >= rows_max {
                break;
            }
        }
        work
    }
}

async fn store(connection: &mut SqliteConnection, sql: &Sql, work: &[(TopicId, Vec<Point>)]) -> Result<(), HistoryError> {
    transaction::begin(connection).await?;
    let done = add_all(connection, sql, work).await;
    transaction::end(connection, done).await
}

async fn add_all(connection: &mut SqliteConnection, sql: &Sql, work: &[(TopicId, Vec<Point>)]) -> Result<(), HistoryError> {
    for (topic, points) in work {
        add(connection, sql, *topic, points).await?;
    }
    Ok(())
}

async fn finish(writer: &mut Writer) -> Result<(), HistoryError> {
    let shared = Arc::clone(&writer.shared);
    once(format!(r#"DELETE FROM "{}""#, shared.sql.hot[1 - writer.active])).execute(&mut writer.connection).await?;
    shared.tails.lock().drop_sealed();
    Ok(())
}

/// The chunk that starts at or before a time, and where the next one starts.
struct Owner {
    chunk: Option<Stored>,
    next_us: i64,
}

/// A chunk read back.
#[derive(Debug)]
pub struct Stored {
    pub id: i64,
    pub end_us: i64,
    pub count: usize,
    pub points: Vec<Point>,
}

/// Adds sorted readings of one topic to its chunks, in the caller's transaction; they replace stored ones of the same time. Chunks of a
/// topic never overlap: readings between two chunks' starts go into the earlier one or right behind it.
pub async fn add(connection: &mut SqliteConnection, sql: &Sql, topic: TopicId, points: &[Point]) -> Result<(), HistoryError> {
    let mut rest = points;
    while let Some(first) = rest.first() {
        let owner = owner(connection, sql, topic, first.0).await?;
        let (group, later) = rest.split_at(rest.partition_point(|point| point.0 < owner.next_us));
        rest = later;
        let limit = group.len().saturating_mul(CONTINUED_FACTOR).clamp(CONTINUED_MIN, POINTS_MAX);
        match owner.chunk.filter(|chunk| first.0 <= chunk.end_us || chunk.count < limit) {
            Some(chunk) => replace(connection, sql, topic, chunk.id, &merge(&chunk.points, group)).await?,
            None => {
                for piece in chunk::pieces(group) {
                    insert(connection, sql, topic, piece).await?;
                }
            }
        }
    }
    Ok(())
}

/// Writes `points` in place of a chunk, in as many chunks as they need; none deletes it.
pub async fn replace(connection: &mut SqliteConnection, sql: &Sql, topic: TopicId, id: i64, points: &[Point]) -> Result<(), HistoryError> {
    let mut pieces = chunk::pieces(points).into_iter();
    match pieces.next().and_then(chunk::encode) {
        Some(first) => {
            bind(statement(&sql.update_chunk), topic, first).bind(id).execute(&mut *connection).await?;
        }
        None => {
            once(format!(r#"DELETE FROM "{}" WHERE chunk_id = ?"#, sql.chunk)).bind(id).execute(&mut *connection).await?;
        }
    }
    for piece in pieces {
        insert(connection, sql, topic, piece).await?;
    }
    Ok(())
}

async fn insert(connection: &mut SqliteConnection, sql: &Sql, topic: TopicId, points: &[Point]) -> Result<(), HistoryError> {
    if let Some(encoded) = chunk::encode(points) {
        bind(statement(&sql.insert_chunk), topic, encoded).execute(connection).await?;
    }
    Ok(())
}

type Statement = sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind(statement: Statement, topic: TopicId, encoded: Encoded) -> Statement {
    let numbers = encoded.numbers;
    statement
        .bind(topic)
        .bind(encoded.start_us)
        .bind(encoded.end_us)
        .bind(encoded.unit_us)
        .bind(encoded.count)
        .bind(numbers.map(|numbers| numbers.min))
        .bind(numbers.map(|numbers| numbers.max))
        .bind(numbers.map(|numbers| numbers.sum))
        .bind(numbers.map(|numbers| numbers.first))
        .bind(numbers.map(|numbers| numbers.last))
        .bind(encoded.text)
}

async fn owner(connection: &mut SqliteConnection, sql: &Sql, topic: TopicId, at_us: i64) -> Result<Owner, HistoryError> {
    let row = statement(&sql.owner_chunk).bind(topic).bind(at_us).fetch_one(connection).await?;
    let next_us = row.try_get::<Option<i64>, _>(0)?.unwrap_or(i64::MAX);
    let Some(id) = row.try_get::<Option<i64>, _>(1)? else { return Ok(Owner { chunk: None, next_us }) };
    let (start_us, unit_us): (i64, i64) = (row.try_get(2)?, row.try_get(4)?);
    let points = points(topic, start_us, unit_us, row.try_get(6)?)?;
    Ok(Owner { chunk: Some(Stored { id, end_us: row.try_get(3)?, count: points.len(), points }), next_us })
}

/// The readings of a chunk's text.
pub fn points(topic_id: TopicId, start_us: i64, unit_us: i64, text: &str) -> Result<Vec<Point>, HistoryError> {
    let mut points = Vec::with_capacity(POINTS_MAX);
    chunk::decode(text, start_us, unit_us, |at, cell| points.push((at, cell.to_cell()))).map_err(|reason| HistoryError::Damaged {
        topic_id,
        at_us: start_us,
        reason,
    })?;
    Ok(points)
}
