//! Answers questions: chunks from the file, newer readings from memory. Memory is copied before the file is read, so that readings which
//! compaction moves meanwhile are seen at least once; where both have a time, memory wins.

use std::{ops::Range, sync::Arc};

use chrono::DateTime;
use futures_util::TryStreamExt as _;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, sqlite::SqliteRow};
use vt_types::{Timestamp, timestamp};

use super::{
    Running,
    chunk::{self, Point},
    compaction,
    hot::within,
    schema::statement,
};
use crate::{
    downsample::{Downsampled, Folder, Summary},
    error::HistoryError,
    store::{Aggregate, AggregateTopic, HistoryQuery, Order, Series, TimeSpan, TopicEntry, TopicId},
    value::Cell,
};

/// Chunks fetched at a time: few at first, because a question often wants only the newest reading.
const PAGES: [i64; 3] = [2, 16, 128];

/// Readings of one topic.
pub async fn series(running: &Running, topic: &str, query: &HistoryQuery) -> Result<Series, HistoryError> {
    let Some(entry) = find(running, topic) else {
        return Ok(Series { topic: topic.to_owned(), values: Vec::new(), metadata: Arc::default() });
    };
    let wanted = query.count.map_or(usize::MAX, |count| count.saturating_add(query.skip));
    let points = readings(running, entry.id, &query.span.range_us(), query.order, wanted).await?;
    let values = points.into_iter().take(wanted).skip(query.skip).filter_map(|(at, cell)| Some((time(at)?, cell.to_value()))).collect();
    Ok(Series { topic: topic.to_owned(), values, metadata: entry.metadata })
}

/// The newest reading of each topic that has one.
pub async fn latest(running: &Running, topics: &[String]) -> Result<Vec<(String, Timestamp, Value)>, HistoryError> {
    let mut answer = Vec::with_capacity(topics.len());
    for name in topics {
        let Some(entry) = find(running, name) else { continue };
        let recent = running.shared.tails.lock().latest(entry.id);
        let stored = statement(&running.shared.sql.last_chunk).bind(entry.id).fetch_optional(&running.readers).await?;
        let stored = match stored {
            Some(row) if recent.as_ref().is_none_or(|recent| row.try_get::<i64, _>(2).is_ok_and(|end| end > recent.0)) => {
                points(entry.id, &row)?.pop()
            }
            _ => None,
        };
        let newest = stored.or(recent).and_then(|(at, cell)| Some((time(at)?, cell.to_value())));
        answer.extend(newest.map(|(at, value)| (name.clone(), at, value)));
    }
    Ok(answer)
}

/// Numeric readings of one topic in buckets.
pub async fn downsampled(running: &Running, topic: &str, span: TimeSpan, buckets_max: usize) -> Result<Downsampled, HistoryError> {
    let Some(entry) = find(running, topic) else { return Ok(Downsampled::default()) };
    let range = span.range_us();
    let recent = running.shared.tails.lock().collect(entry.id, &range);
    // One transaction, so that all statements see the same state of the file.
    let mut connection = running.readers.begin().await?;
    let Some(range) = closed(running, &mut connection, entry.id, &recent, &range).await? else {
        return Ok(Downsampled { buckets: Vec::new(), metadata: entry.metadata });
    };
    let mut folder = Merge { folder: Folder::new(&range, buckets_max), recent: &recent, range: range.clone() };
    let first_recent = recent.first().map_or(i64::MAX, |point| point.0);
    {
        let width = folder.folder.width_us();
        let select = statement(&running.shared.sql.summaries);
        let select = select.bind(entry.id).bind(range.start).bind(range.end).bind(range.start).bind(width).bind(first_recent);
        let mut rows = select.fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            folder.chunk(entry.id, &row)?;
        }
    }
    Ok(Downsampled { buckets: folder.finish(), metadata: entry.metadata })
}

/// Rows of an aggregate table.
pub async fn aggregates(running: &Running, query: &HistoryQuery, aggregate: &Aggregate) -> Result<Vec<Series>, HistoryError> {
    let names = &running.shared.sql.names;
    let mut connection = running.readers.acquire().await?;
    let table = format!("{}{}_{}", names.prefix, aggregate.kind, aggregate.period);
    let exists = running.shared.sql.kind_of(&mut connection, &table).await?.is_some()
        && running.shared.sql.kind_of(&mut connection, &names.aggregate_topics).await?.is_some();
    let mut answer = Vec::with_capacity(query.topics.len());
    for topic in &query.topics {
        let metadata = find(running, topic).map(|entry| entry.metadata).unwrap_or_default();
        let values = if exists { aggregate_rows(running, &mut connection, &table, topic, query, aggregate).await? } else { Vec::new() };
        answer.push(Series { topic: topic.clone(), values, metadata });
    }
    Ok(answer)
}

/// Topics that an aggregate historian works on.
pub async fn aggregate_topics(running: &Running) -> Result<Vec<AggregateTopic>, HistoryError> {
    let names = &running.shared.sql.names;
    let mut connection = running.readers.acquire().await?;
    if running.shared.sql.kind_of(&mut connection, &names.aggregate_topics).await?.is_none() {
        return Ok(Vec::new());
    }
    let sql = format!(
        r#"SELECT t.agg_topic_name, t.agg_type, t.agg_time_period, m.metadata FROM "{}" t
           LEFT JOIN "{}" m ON m.agg_topic_id = t.agg_topic_id ORDER BY t.agg_topic_id"#,
        names.aggregate_topics, names.aggregate_meta
    );
    let rows: Vec<(String, String, String, Option<String>)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut *connection).await?;
    Ok(rows.into_iter().map(|(name, kind, period, metadata)| AggregateTopic::from_row(name, kind, period, metadata.as_deref())).collect())
}

fn find(running: &Running, topic: &str) -> Option<TopicEntry> {
    running.shared.topics.read().find(topic).cloned()
}

fn time(at_us: i64) -> Option<Timestamp> {
    DateTime::from_timestamp_micros(at_us)
}

fn points(topic: TopicId, row: &SqliteRow) -> Result<Vec<Point>, HistoryError> {
    compaction::points(topic, row.try_get(1)?, row.try_get(3)?, row.try_get(5)?)
}

async fn readings(running: &Running, topic: TopicId, range: &Range<i64>, order: Order, wanted: usize) -> Result<Vec<Point>, HistoryError> {
    let mut recent = running.shared.tails.lock().collect(topic, range);
    let mut connection = running.readers.begin().await?;
    let backward = order == Order::LastToFirst;
    if backward {
        recent.reverse();
    }
    let before = |one: i64, other: i64| if backward { one > other } else { one < other };
    let mut recent = recent.into_iter().peekable();
    let mut answer = Vec::new();
    let mut range_left = range.clone();
    let mut sizes = PAGES.into_iter().chain(std::iter::repeat(PAGES[2]));
    while answer.len() < wanted {
        let size = sizes.next().unwrap_or(1);
        let sql = &running.shared.sql;
        let page = if backward {
            statement(&sql.page_down).bind(topic).bind(range_left.end).bind(size)
        } else {
            statement(&sql.page_up).bind(topic).bind(range_left.start).bind(range_left.end).bind(size)
        };
        let page = page.fetch_all(&mut *connection).await?;
        let (mut first_start, mut last_end) = (i64::MAX, i64::MIN);
        for row in &page {
            first_start = first_start.min(row.try_get(1)?);
            last_end = last_end.max(row.try_get(2)?);
            // The first chunk of a page may be the last one of the page before; what it gave then is outside now.
            let mut points = within(&points(topic, row)?, &range_left).to_vec();
            if backward {
                points.reverse();
            }
            for point in points {
                while let Some(earlier) = recent.next_if(|recent| before(recent.0, point.0)) {
                    answer.push(earlier);
                }
                let newer = recent.next_if(|recent| recent.0 == point.0);
                answer.push(newer.unwrap_or(point));
            }
            if answer.len() >= wanted {
                break;
            }
        }
        let more = i64::try_from(page.len()).is_ok_and(|rows| rows == size);
        if backward {
            range_left.end = first_start;
        } else {
            range_left.start = last_end.saturating_add(1);
        }
        if !more || range_left.is_empty() {
            break;
        }
    }
    answer.extend(recent.take(wanted.saturating_sub(answer.len())));
    Ok(answer)
}

/// `range` with open ends brought to the topic's first and last reading; `None` when it has none.
async fn closed(
    running: &Running,
    connection: &mut SqliteConnection,
    topic: TopicId,
    recent: &[Point],
    range: &Range<i64>,
) -> Result<Option<Range<i64>>, HistoryError> {
    if range.start != i64::MIN && range.end != i64::MAX {
        return Ok(Some(range.clone()));
    }
    let row = statement(&running.shared.sql.extent).bind(topic).fetch_one(connection).await?;
    let (first, last): (Option<i64>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    let first = first.into_iter().chain(recent.first().map(|point| point.0)).min();
    let last = last.max(recent.last().map(|point| point.0));
    let (Some(first), Some(last)) = (first, last) else { return Ok(None) };
    Ok(Some(range.start.max(first)..range.end.min(last.saturating_add(1))))
}

/// Folds chunks and, between them, readings from memory.
struct Merge<'a> {
    folder: Folder,
    recent: &'a [Point],
    range: Range<i64>,
}

impl Merge<'_> {
    fn chunk(&mut self, topic_id: TopicId, row: &SqliteRow) -> Result<(), HistoryError> {
        let start_us = row.try_get(0)?;
        let Some(text) = row.try_get::<Option<&str>, _>(9)? else {
            // The statement keeps the points back only from chunks before all readings in memory.
            let count: i64 = row.try_get(3)?;
            self.folder.push_summary(&Summary {
                first_us: start_us,
                last_us: row.try_get(1)?,
                count: count.unsigned_abs(),
                min: row.try_get(4)?,
                max: row.try_get(5)?,
                sum: row.try_get(6)?,
                first: row.try_get(7)?,
                last: row.try_get(8)?,
            });
            return Ok(());
        };
        chunk::decode(text, start_us, row.try_get(2)?, |at, cell| {
            if !self.range.contains(&at) || self.push_recent(at) {
                return;
            }
            if let Some(number) = cell.as_number() {
                self.folder.push(at, number);
            }
        })
        .map_err(|reason| HistoryError::Damaged { topic_id, at_us: start_us, reason })
    }

    /// Takes the readings in memory up to `at_us`; says whether one of them is at that very time.
    fn push_recent(&mut self, at_us: i64) -> bool {
        while let Some(((at, cell), rest)) = self.recent.split_first() {
            if *at > at_us {
                return false;
            }
            self.recent = rest;
            if let Some(number) = Cell::number(cell) {
                self.folder.push(*at, number);
            }
            if *at == at_us {
                return true;
            }
        }
        false
    }

    fn finish(mut self) -> Vec<crate::downsample::Bucket> {
        self.push_recent(i64::MAX);
        self.folder.finish()
    }
}

async fn aggregate_rows(
    running: &Running,
    connection: &mut SqliteConnection,
    table: &str,
    topic: &str,
    query: &HistoryQuery,
    aggregate: &Aggregate,
) -> Result<Vec<(Timestamp, Value)>, HistoryError> {
    let (order, topics) = (if query.order == Order::LastToFirst { "DESC" } else { "ASC" }, &running.shared.sql.names.aggregate_topics);
    // Versions differ in the value's column: agg_value, before that value_string.
    let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info(?)").bind(table).fetch_all(&mut *connection).await?;
    let value = if columns.iter().any(|column| column == "agg_value") { "agg_value" } else { "value_string" };
    let sql = format!(
        r#"SELECT a.ts, CAST(a.{value} AS TEXT) FROM "{table}" a JOIN "{topics}" t ON t.agg_topic_id = a.topic_id
           WHERE lower(t.agg_topic_name) = lower(?) AND lower(t.agg_type) = ? AND t.agg_time_period = ? ORDER BY a.ts {order}"#
    );
    let rows: Vec<(String, Option<String>)> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(topic).bind(&aggregate.kind).bind(&aggregate.period).fetch_all(connection).await?;
    let range = query.span.range_us();
    let rows = rows.into_iter().filter_map(|(ts, value)| {
        let at = timestamp::parse(&ts).ok()?.assume_utc();
        let value = value.map_or(Value::Null, |text| Cell::of_text(&text).to_value());
        range.contains(&at.timestamp_micros()).then_some((at, value))
    });
    Ok(rows.skip(query.skip).take(query.count.unwrap_or(usize::MAX)).collect())
}
