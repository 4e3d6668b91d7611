//! Takes over the readings of a file that VOLTTRON wrote. Its data table was renamed by `schema`; topic by topic its rows become chunks,
//! in transactions that note how far they came, and at the end the table is dropped. A crash between loses and doubles nothing. Rows whose
//! time cannot be read are kept in a table of their own.

use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};
use vt_types::timestamp;

use super::{
    chunk::Point,
    compaction,
    schema::{Sql, once},
};
use crate::{error::HistoryError, value::Cell};

/// Rows per transaction.
const STEP_ROWS: i64 = 20_000;

/// Imports what there is to import.
pub async fn run(sql: &Sql, connection: &mut SqliteConnection) -> Result<(), HistoryError> {
    if sql.kind_of(connection, &sql.imported).await?.is_none() {
        return Ok(());
    }
    let table = &sql.imported;
    tracing::info!(table = %sql.names.data, "taking over the readings of a VOLTTRON history file");
    let mut done = sql.imported_topic(connection).await?.unwrap_or(i64::MIN);
    let mut rows = 0;
    loop {
        let next = format!(r#"SELECT min(topic_id) FROM "{table}" WHERE topic_id > ?"#);
        let next: Option<i64> = sqlx::query_scalar(AssertSqlSafe(next)).bind(done).fetch_one(&mut *connection).await?;
        let Some(topic) = next else { break };
        rows += import_topic(sql, connection, topic).await?;
        done = topic;
    }
    once(format!(r#"DROP TABLE "{table}""#)).execute(connection).await?;
    tracing::info!(rows, "readings of a VOLTTRON history file taken over");
    Ok(())
}

async fn import_topic(sql: &Sql, connection: &mut SqliteConnection, topic: i64) -> Result<usize, HistoryError> {
    let mut after = String::new();
    let mut rows = 0;
    loop {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        // The cast keeps times that some writer stored as a number.
        let select = format!(
            r#"SELECT CAST(ts AS TEXT), CAST(value_string AS TEXT) FROM "{}" WHERE topic_id = ? AND CAST(ts AS TEXT) > ?
               ORDER BY CAST(ts AS TEXT) LIMIT {STEP_ROWS}"#,
            sql.imported
        );
        // Text in the index is compared as it is; only a file with numbers among the times needs the cast.
        let select = if has_only_text(sql, &mut transaction, topic).await? { select.replace("CAST(ts AS TEXT)", "ts") } else { select };
        let page = once(select).bind(topic).bind(after.clone()).fetch_all(&mut *transaction).await?;
        let Some(last) = page.last() else {
            sql.set_imported_topic(&mut transaction, topic).await?;
            transaction.commit().await?;
            return Ok(rows);
        };
        after = last.try_get(0)?;
        rows += page.len();
        let mut points: Vec<Point> = Vec::with_capacity(page.len());
        for row in &page {
            let (ts, value): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            match timestamp::parse(ts) {
                Ok(time) => points.push((time.assume_utc().timestamp_micros(), Cell::of_text(value))),
                Err(_) => keep_unreadable(sql, &mut transaction, ts, topic, value).await?,
            }
        }
        points.sort_by_key(|point| point.0);
        points.dedup_by_key(|point| point.0);
        compaction::add(&mut transaction, sql, topic, &points).await?;
        transaction.commit().await?;
    }
}

async fn has_only_text(sql: &Sql, connection: &mut SqliteConnection, topic: i64) -> Result<bool, HistoryError> {
    let other = format!(r#"SELECT EXISTS (SELECT 1 FROM "{}" WHERE topic_id = ? AND typeof(ts) <> 'text')"#, sql.imported);
    let other: bool = sqlx::query_scalar(AssertSqlSafe(other)).bind(topic).fetch_one(connection).await?;
    Ok(!other)
}

async fn keep_unreadable(sql: &Sql, connection: &mut SqliteConnection, ts: &str, topic: i64, value: &str) -> Result<(), HistoryError> {
    tracing::warn!(ts, topic, table = %sql.unreadable, "the time of a VOLTTRON reading cannot be read; the row is kept aside");
    let table = format!(
        r#"CREATE TABLE IF NOT EXISTS "{}"(ts TEXT NOT NULL, topic_id INTEGER NOT NULL, value_string TEXT, UNIQUE(topic_id, ts))"#,
        sql.unreadable
    );
    once(table).execute(&mut *connection).await?;
    let insert = format!(r#"INSERT OR REPLACE INTO "{}"(ts, topic_id, value_string) VALUES (?, ?, ?)"#, sql.unreadable);
    once(insert).bind(ts.to_owned()).bind(topic).bind(value.to_owned()).execute(connection).await?;
    Ok(())
}
