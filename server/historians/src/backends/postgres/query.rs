//! Questions to the PostgreSQL store.

use std::{ops::Range, sync::Arc};

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use futures_util::TryStreamExt as _;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool, Row as _};
use vt_types::Timestamp;

use super::schema::{Sql, built};
use crate::{
    downsample::{Downsampled, Folder},
    error::HistoryError,
    store::{Aggregate, AggregateTopic, HistoryQuery, Order, Series, TimeSpan},
    value::{Cell, RawCell},
};

/// A span in the column's type; open ends are the ends of what it can hold.
fn times(range: &Range<i64>) -> (NaiveDateTime, NaiveDateTime) {
    let first = NaiveDate::from_ymd_opt(-4000, 1, 1).unwrap_or_default().into();
    let last = NaiveDate::from_ymd_opt(9999, 12, 31).unwrap_or_default().into();
    let time = |us, or| DateTime::from_timestamp_micros(us).map_or(or, |time| time.naive_utc()).clamp(first, last);
    (time(range.start, first), time(range.end, last))
}

fn paging(query: &HistoryQuery) -> (&'static str, i64, Option<i64>) {
    let order = if query.order == Order::LastToFirst { "DESC" } else { "ASC" };
    (order, i64::try_from(query.skip).unwrap_or(i64::MAX), query.count.map(|count| i64::try_from(count).unwrap_or(i64::MAX)))
}

/// Readings of one topic.
pub async fn series(pool: &PgPool, sql: &Sql, topic: &str, query: &HistoryQuery) -> Result<Series, HistoryError> {
    let Some(entry) = sql.topic(pool, topic).await? else {
        return Ok(Series { topic: topic.to_owned(), values: Vec::new(), metadata: Arc::default() });
    };
    let (first, last) = times(&query.span.range_us());
    let (order, skip, count) = paging(query);
    let select = format!(
        r#"SELECT ts, value_string FROM "{}" WHERE topic_id = $1 AND ts >= $2 AND ts < $3 ORDER BY ts {order} OFFSET $4 LIMIT $5"#,
        sql.names.data
    );
    let topic_id = i32::try_from(entry.id).unwrap_or(i32::MAX);
    let mut rows = built(select).bind(topic_id).bind(first).bind(last).bind(skip).bind(count).fetch(pool);
    let mut values = Vec::new();
    while let Some(row) = rows.try_next().await? {
        values.push((row.try_get::<NaiveDateTime, _>(0)?.and_utc(), Cell::of_text(row.try_get(1)?).to_value()));
    }
    Ok(Series { topic: topic.to_owned(), values, metadata: entry.metadata })
}

/// Numeric readings of one topic in buckets.
pub async fn downsampled(pool: &PgPool, sql: &Sql, topic: &str, span: TimeSpan, buckets_max: usize) -> Result<Downsampled, HistoryError> {
    let Some(entry) = sql.topic(pool, topic).await? else { return Ok(Downsampled::default()) };
    let topic_id = i32::try_from(entry.id).unwrap_or(i32::MAX);
    let mut range = span.range_us();
    let (first, last) = times(&range);
    let data = &sql.names.data;
    let extent = format!(r#"SELECT min(ts), max(ts) FROM "{data}" WHERE topic_id = $1 AND ts >= $2 AND ts < $3"#);
    let extent: (Option<NaiveDateTime>, Option<NaiveDateTime>) =
        sqlx::query_as(AssertSqlSafe(extent)).bind(topic_id).bind(first).bind(last).fetch_one(pool).await?;
    let (Some(oldest), Some(newest)) = extent else { return Ok(Downsampled { buckets: Vec::new(), metadata: entry.metadata }) };
    if span.start.is_none() {
        range.start = oldest.and_utc().timestamp_micros();
    }
    if span.end.is_none() {
        range.end = newest.and_utc().timestamp_micros() + 1;
    }
    let mut folder = Folder::new(&range, buckets_max);
    let select = format!(r#"SELECT ts, value_string FROM "{data}" WHERE topic_id = $1 AND ts >= $2 AND ts < $3 ORDER BY ts"#);
    let mut rows = built(select).bind(topic_id).bind(first).bind(last).fetch(pool);
    while let Some(row) = rows.try_next().await? {
        let text: &str = row.try_get(1)?;
        if let Some(number) = RawCell::number(text).unwrap_or(RawCell::Json(text)).as_number() {
            folder.push(row.try_get::<NaiveDateTime, _>(0)?.and_utc().timestamp_micros(), number);
        }
    }
    Ok(Downsampled { buckets: folder.finish(), metadata: entry.metadata })
}

/// The newest reading of each topic that has one.
pub async fn latest(pool: &PgPool, sql: &Sql, topics: &[String]) -> Result<Vec<(String, Timestamp, Value)>, HistoryError> {
    let (data, table) = (&sql.names.data, &sql.names.topics);
    let select = format!(
        r#"SELECT wanted.name, newest.ts, newest.value_string FROM unnest($1::text[]) WITH ORDINALITY AS wanted(name, place)
           CROSS JOIN LATERAL (SELECT topic_id FROM "{table}" t WHERE lower(t.topic_name) = lower(wanted.name)
             ORDER BY t.topic_name = wanted.name DESC, t.topic_id LIMIT 1) topic
           CROSS JOIN LATERAL (SELECT ts, value_string FROM "{data}" d WHERE d.topic_id = topic.topic_id ORDER BY ts DESC LIMIT 1) newest
           ORDER BY wanted.place"#
    );
    let rows = built(select).bind(topics.to_vec()).fetch_all(pool).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get::<NaiveDateTime, _>(1)?.and_utc(), Cell::of_text(row.try_get(2)?).to_value())))
        .collect()
}

/// Rows of an aggregate table.
pub async fn aggregate(pool: &PgPool, sql: &Sql, topic: &str, query: &HistoryQuery, aggregate: &Aggregate) -> Result<Series, HistoryError> {
    let names = &sql.names;
    let table = format!("{}{}_{}", names.prefix, aggregate.kind, aggregate.period);
    let metadata = sql.topic(pool, topic).await?.map(|entry| entry.metadata).unwrap_or_default();
    let mut values = Vec::new();
    if exists(pool, &table).await? && exists(pool, &names.aggregate_topics).await? {
        let (first, last) = times(&query.span.range_us());
        let (order, skip, count) = paging(query);
        let column: String = sqlx::query_scalar(
            "SELECT column_name::text FROM information_schema.columns WHERE table_name = $1 AND column_name IN ('agg_value', 'value_string') LIMIT 1",
        )
        .bind(&table)
        .fetch_optional(pool)
        .await?
        .unwrap_or_else(|| "agg_value".to_owned());
        let select = format!(
            r#"SELECT a.ts, a."{column}"::text FROM "{table}" a JOIN "{}" t ON t.agg_topic_id = a.topic_id
               WHERE lower(t.agg_topic_name) = lower($1) AND lower(t.agg_type) = $2 AND t.agg_time_period = $3 AND a.ts >= $4 AND a.ts < $5
               ORDER BY a.ts {order} OFFSET $6 LIMIT $7"#,
            names.aggregate_topics
        );
        let select = built(select).bind(topic.to_owned()).bind(aggregate.kind.clone()).bind(aggregate.period.clone());
        for row in select.bind(first).bind(last).bind(skip).bind(count).fetch_all(pool).await? {
            let value = row.try_get::<Option<&str>, _>(1)?.map_or(Value::Null, |text| Cell::of_text(text).to_value());
            values.push((row.try_get::<NaiveDateTime, _>(0)?.and_utc(), value));
        }
    }
    Ok(Series { topic: topic.to_owned(), values, metadata })
}

/// Topics that an aggregate historian works on.
pub async fn aggregate_topics(pool: &PgPool, sql: &Sql) -> Result<Vec<AggregateTopic>, HistoryError> {
    let names = &sql.names;
    if !exists(pool, &names.aggregate_topics).await? || !exists(pool, &names.aggregate_meta).await? {
        return Ok(Vec::new());
    }
    let select = format!(
        r#"SELECT t.agg_topic_name::text, t.agg_type::text, t.agg_time_period::text, m.metadata::text FROM "{}" t
           LEFT JOIN "{}" m ON m.agg_topic_id = t.agg_topic_id ORDER BY t.agg_topic_id"#,
        names.aggregate_topics, names.aggregate_meta
    );
    let rows: Vec<(String, String, String, Option<String>)> = sqlx::query_as(AssertSqlSafe(select)).fetch_all(pool).await?;
    Ok(rows.into_iter().map(|(name, kind, period, metadata)| AggregateTopic::from_row(name, kind, period, metadata.as_deref())).collect())
}

async fn exists(pool: &PgPool, table: &str) -> Result<bool, HistoryError> {
    Ok(sqlx::query_scalar("SELECT to_regclass(quote_ident($1)) IS NOT NULL").bind(table).fetch_one(pool).await?)
}
