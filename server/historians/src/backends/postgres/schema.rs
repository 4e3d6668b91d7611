//! Tables and statements of the PostgreSQL store, retention among them. Table names come from checked settings, so building SQL from them
//! is safe.

use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime};
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Row as _, postgres::PgArguments, postgres::PgRow, query::Query};

use crate::{
    config::TableNames,
    error::HistoryError,
    store::{Retention, TopicEntry},
};

/// Rows deleted per statement.
const STEP_ROWS: i64 = 10_000;
/// Bytes that a row takes beside its values: header, item pointer and its entries in two indexes.
const ROW_OVERHEAD_BYTES: f64 = 28.0 + 24.0 + 20.0;

/// Statements, built once.
#[derive(Debug)]
pub struct Sql {
    pub names: TableNames,
    pub insert: Arc<str>,
}

/// A statement that was built from checked names.
pub fn statement(sql: &Arc<str>) -> Query<'static, Postgres, PgArguments> {
    sqlx::query(AssertSqlSafe(Arc::clone(sql)))
}

/// A statement built where it is used, from checked names.
pub fn built(sql: String) -> Query<'static, Postgres, PgArguments> {
    sqlx::query(AssertSqlSafe(sql))
}

impl Sql {
    pub fn new(names: TableNames) -> Self {
        let insert = format!(
            r#"INSERT INTO "{}"(ts, topic_id, value_string) SELECT * FROM unnest($1::timestamp[], $2::int4[], $3::text[])
               ON CONFLICT (topic_id, ts) DO UPDATE SET value_string = EXCLUDED.value_string"#,
            names.data
        );
        Self { insert: insert.into(), names }
    }

    /// Makes the tables that are absent and brings those of VOLTTRON 6 up to date. One transaction.
    pub async fn create(&self, pool: &PgPool) -> Result<(), HistoryError> {
        let TableNames { data, topics, meta, .. } = &self.names;
        let mut transaction = pool.begin().await?;
        // Two historians that start at once would both find the tables absent.
        sqlx::query("SELECT pg_advisory_xact_lock(7669747201)").execute(&mut *transaction).await?;
        for sql in [
            format!(
                r#"CREATE TABLE IF NOT EXISTS "{data}"(ts TIMESTAMP NOT NULL, topic_id INTEGER NOT NULL, value_string TEXT NOT NULL, UNIQUE(topic_id, ts))"#
            ),
            format!(r#"CREATE INDEX IF NOT EXISTS "idx_{data}" ON "{data}"(ts ASC)"#),
            format!(
                r#"CREATE TABLE IF NOT EXISTS "{topics}"(topic_id SERIAL PRIMARY KEY NOT NULL, topic_name VARCHAR NOT NULL, metadata TEXT, UNIQUE(topic_name))"#
            ),
            format!(r#"ALTER TABLE "{topics}" ADD COLUMN IF NOT EXISTS metadata TEXT"#),
        ] {
            built(sql).execute(&mut *transaction).await?;
        }
        let old: bool =
            sqlx::query_scalar("SELECT to_regclass(quote_ident($1)) IS NOT NULL").bind(meta).fetch_one(&mut *transaction).await?;
        if old {
            let sql = format!(
                r#"UPDATE "{topics}" t SET metadata = m.metadata FROM "{meta}" m WHERE m.topic_id = t.topic_id AND t.metadata IS NULL"#
            );
            built(sql).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The row of a topic, found without regard to case, made or brought up to date.
    pub async fn upsert_topic(
        &self,
        connection: &mut PgConnection,
        name: &Arc<str>,
        metadata: &Arc<Map<String, Value>>,
    ) -> Result<TopicEntry, HistoryError> {
        let topics = &self.names.topics;
        let text = (!metadata.is_empty()).then(|| Value::Object((**metadata).clone()).to_string());
        let update = format!(
            r#"UPDATE "{topics}" SET topic_name = $1, metadata = coalesce($2, metadata)
               WHERE topic_id = (SELECT topic_id FROM "{topics}" WHERE lower(topic_name) = lower($1) ORDER BY topic_name = $1 DESC, topic_id LIMIT 1)
               RETURNING topic_id, topic_name, metadata"#
        );
        if let Some(row) = built(update).bind(name.to_string()).bind(text.clone()).fetch_optional(&mut *connection).await? {
            return entry(&row);
        }
        let insert = format!(
            r#"INSERT INTO "{topics}"(topic_name, metadata) VALUES ($1, $2)
               ON CONFLICT (topic_name) DO UPDATE SET metadata = coalesce(EXCLUDED.metadata, "{topics}".metadata)
               RETURNING topic_id, topic_name, metadata"#
        );
        entry(&built(insert).bind(name.to_string()).bind(text).fetch_one(connection).await?)
    }

    /// All topics by name.
    pub async fn topics(&self, pool: &PgPool) -> Result<Vec<TopicEntry>, HistoryError> {
        let sql = format!(r#"SELECT topic_id, topic_name, metadata FROM "{}" ORDER BY topic_name COLLATE "C""#, self.names.topics);
        built(sql).fetch_all(pool).await?.iter().map(entry).collect()
    }

    /// One topic, without regard to case.
    pub async fn topic(&self, pool: &PgPool, name: &str) -> Result<Option<TopicEntry>, HistoryError> {
        let sql = format!(
            r#"SELECT topic_id, topic_name, metadata FROM "{}" WHERE lower(topic_name) = lower($1) ORDER BY topic_name = $1 DESC, topic_id LIMIT 1"#,
            self.names.topics
        );
        built(sql).bind(name.to_owned()).fetch_optional(pool).await?.as_ref().map(entry).transpose()
    }

    /// See [`HistoryStore`](crate::HistoryStore).
    pub async fn apply_retention(&self, pool: &PgPool, retention: Retention) -> Result<(), HistoryError> {
        let data = &self.names.data;
        let newest: Option<NaiveDateTime> =
            sqlx::query_scalar(AssertSqlSafe(format!(r#"SELECT max(ts) FROM "{data}""#))).fetch_one(pool).await?;
        let Some(newest) = newest else { return Ok(()) };
        let cutoff = retention.oldest_kept_us(newest.and_utc().timestamp_micros()).and_then(DateTime::from_timestamp_micros);
        if let Some(cutoff) = cutoff {
            let sql = format!(
                r#"DELETE FROM "{data}" WHERE ctid = ANY (ARRAY(SELECT ctid FROM "{data}" WHERE ts < $1 ORDER BY ts LIMIT {STEP_ROWS}))"#
            );
            while built(sql.clone()).bind(cutoff.naive_utc()).execute(pool).await?.rows_affected() > 0 {}
        }
        if let Some(limit) = retention.storage_limit_bytes {
            self.shrink(pool, limit).await?;
        }
        Ok(())
    }

    /// Deletes the oldest rows while those that are left take more than `limit`. Reckoned from their number and width, because PostgreSQL's
    /// own sizes do not fall with a DELETE.
    async fn shrink(&self, pool: &PgPool, limit: u64) -> Result<(), HistoryError> {
        let data = &self.names.data;
        let sql = format!(r#"SELECT count(*), coalesce(avg(12 + pg_column_size(value_string)), 0)::float8 FROM "{data}""#);
        let (rows, width): (i64, f64) = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(pool).await?;
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "an estimate of bytes; the cast back saturates")]
        let mut surplus = rows - (limit as f64 / (width + ROW_OVERHEAD_BYTES)) as i64;
        let sql = format!(r#"DELETE FROM "{data}" WHERE ctid = ANY (ARRAY(SELECT ctid FROM "{data}" ORDER BY ts LIMIT $1))"#);
        while surplus > 0 {
            let deleted = built(sql.clone()).bind(surplus.min(STEP_ROWS)).execute(pool).await?.rows_affected();
            if deleted == 0 {
                break;
            }
            surplus = surplus.saturating_sub_unsigned(deleted);
        }
        Ok(())
    }
}

fn entry(row: &PgRow) -> Result<TopicEntry, HistoryError> {
    let metadata = row.try_get::<Option<&str>, _>(2)?.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    Ok(TopicEntry { id: i64::from(row.try_get::<i32, _>(0)?), name: row.try_get::<&str, _>(1)?.into(), metadata: Arc::new(metadata) })
}
