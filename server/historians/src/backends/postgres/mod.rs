//! History in PostgreSQL, in VOLTTRON's own tables: `data(ts, topic_id, value_string)` and `topics(topic_id, topic_name, metadata)`, so that
//! VOLTTRON itself and tools made for it read and write the same database. Source: VOLTTRON `volttron/platform/dbutils/postgresqlfuncts.py`.

mod query;
mod schema;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use chrono::NaiveDateTime;
use parking_lot::RwLock;
use serde_json::Value;
use sqlx::{
    Acquire as _, PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use vt_types::{HistoryRecord, Timestamp};

use self::schema::Sql;
use crate::{
    config::{PostgresParams, TableNames},
    downsample::Downsampled,
    error::HistoryError,
    store::{AggregateTopic, HistoryQuery, HistoryStore, Retention, Series, TimeSpan, TopicEntry},
    value::Cell,
};

/// Connections at most: one inserts, the others answer questions.
const CONNECTIONS: u32 = 5;
/// How long to wait for a connection before a call fails.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows per statement.
const INSERT_ROWS: usize = 10_000;

#[derive(Debug)]
enum State {
    New,
    Running(PgPool),
    Closed,
}

/// The store.
#[derive(Debug)]
pub struct PostgresHistory {
    options: PgConnectOptions,
    sql: Sql,
    state: RwLock<State>,
    setting_up: tokio::sync::Mutex<()>,
    /// Topics as last seen, by lower-case name. Others may write the same database, so a miss asks it.
    topics: tokio::sync::Mutex<HashMap<String, TopicEntry>>,
}

impl PostgresHistory {
    /// A store in the database that `params` name, not connected yet.
    #[must_use]
    pub fn new(params: &PostgresParams, tables: TableNames) -> Self {
        let mut options = PgConnectOptions::new().host(&params.host).port(params.port).database(&params.dbname);
        if let Some(user) = &params.user {
            options = options.username(user);
        }
        if let Some(password) = &params.password {
            options = options.password(password);
        }
        Self {
            options: options.application_name("volttron historian"),
            sql: Sql::new(tables),
            state: RwLock::new(State::New),
            setting_up: tokio::sync::Mutex::default(),
            topics: tokio::sync::Mutex::default(),
        }
    }

    fn pool(&self) -> Result<PgPool, HistoryError> {
        match &*self.state.read() {
            State::Running(pool) => Ok(pool.clone()),
            State::New => Err(HistoryError::NotReady),
            State::Closed => Err(HistoryError::Closed),
        }
    }

    /// Rows of all topics of `records`, made or brought up to date, in the caller's transaction. The result replaces the cache when that commits.
    async fn resolve(
        &self,
        connection: &mut PgConnection,
        known: &HashMap<String, TopicEntry>,
        records: &[HistoryRecord],
    ) -> Result<HashMap<String, TopicEntry>, HistoryError> {
        let mut wanted = BTreeMap::new();
        for HistoryRecord { topic, meta, .. } in records {
            let (name, metadata) = wanted.entry(topic.to_lowercase()).or_insert((topic, meta));
            *name = topic;
            if !meta.is_empty() {
                *metadata = meta;
            }
        }
        let mut resolved = HashMap::new();
        // Ordered by name, so that two historians never wait for each other's rows in turn.
        for (lower, (name, meta)) in wanted {
            let current = known.get(&lower).filter(|entry| entry.name == *name && (meta.is_empty() || entry.metadata == *meta));
            let entry = match current {
                Some(entry) => entry.clone(),
                None => self.sql.upsert_topic(connection, name, meta).await?,
            };
            resolved.insert(lower, entry);
        }
        Ok(resolved)
    }

    async fn commit(&self, records: &[HistoryRecord]) -> Result<(), HistoryError> {
        let pool = self.pool()?;
        let mut known = self.topics.lock().await;
        let mut lease = Lease { connection: pool.acquire().await?, is_clean: false };
        let mut transaction = lease.connection.begin().await?;
        let resolved = self.resolve(&mut transaction, &known, records).await?;
        // One row per key: a statement may not change a row twice. The later value wins.
        let mut rows: BTreeMap<(i32, NaiveDateTime), String> = BTreeMap::new();
        for record in records {
            if let Some(entry) = resolved.get(&record.topic.to_lowercase()) {
                let id = i32::try_from(entry.id).map_err(|_| HistoryError::Invalid("a topic_id is beyond 32 bits".to_owned()))?;
                rows.insert((id, record.timestamp.naive_utc()), Cell::of(&record.value).json());
            }
        }
        let mut rows = rows.into_iter();
        loop {
            let (mut topics, mut times, mut values) = (Vec::new(), Vec::new(), Vec::new());
            for ((topic, time), value) in rows.by_ref().take(INSERT_ROWS) {
                topics.push(topic);
                times.push(time);
                values.push(value);
            }
            if topics.is_empty() {
                break;
            }
            schema::statement(&self.sql.insert).bind(times).bind(topics).bind(values).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        lease.is_clean = true;
        known.extend(resolved);
        Ok(())
    }
}

/// A connection that goes back to the pool only when all went well: one that fell silent in the middle would keep its place there.
struct Lease {
    connection: PoolConnection<Postgres>,
    is_clean: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_clean {
            self.connection.close_on_drop();
        }
    }
}

#[async_trait]
impl HistoryStore for PostgresHistory {
    async fn set_up(&self) -> Result<(), HistoryError> {
        let _one_at_a_time = self.setting_up.lock().await;
        match self.pool() {
            Ok(_) => return Ok(()),
            Err(HistoryError::NotReady) => {}
            Err(error) => return Err(error),
        }
        let options = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(ACQUIRE_TIMEOUT);
        let pool = options.connect_with(self.options.clone()).await?;
        self.sql.create(&pool).await?;
        let mut state = self.state.write();
        if matches!(*state, State::New) {
            *state = State::Running(pool);
        }
        Ok(())
    }

    async fn insert(&self, records: Arc<Vec<HistoryRecord>>) -> Result<(), HistoryError> {
        let done = self.commit(&records).await;
        if done.is_err() {
            // Whatever failed, rows may have been dropped or changed by others: ask again next time.
            self.topics.lock().await.clear();
        }
        done
    }

    async fn query(&self, query: &HistoryQuery) -> Result<Vec<Series>, HistoryError> {
        let pool = self.pool()?;
        let mut answer = Vec::with_capacity(query.topics.len());
        for topic in &query.topics {
            answer.push(match &query.aggregate {
                Some(aggregate) => query::aggregate(&pool, &self.sql, topic, query, aggregate).await?,
                None => query::series(&pool, &self.sql, topic, query).await?,
            });
        }
        Ok(answer)
    }

    async fn query_downsampled(&self, topic: &str, span: TimeSpan, buckets_max: usize) -> Result<Downsampled, HistoryError> {
        query::downsampled(&self.pool()?, &self.sql, topic, span, buckets_max).await
    }

    async fn latest(&self, topics: &[String]) -> Result<Vec<(String, Timestamp, Value)>, HistoryError> {
        query::latest(&self.pool()?, &self.sql, topics).await
    }

    async fn topics(&self) -> Result<Vec<TopicEntry>, HistoryError> {
        self.sql.topics(&self.pool()?).await
    }

    async fn aggregate_topics(&self) -> Result<Vec<AggregateTopic>, HistoryError> {
        query::aggregate_topics(&self.pool()?, &self.sql).await
    }

    async fn apply_retention(&self, retention: Retention) -> Result<(), HistoryError> {
        self.sql.apply_retention(&self.pool()?, retention).await
    }

    fn is_local(&self) -> bool {
        false
    }

    async fn close(&self) {
        let previous = std::mem::replace(&mut *self.state.write(), State::Closed);
        if let State::Running(pool) = previous {
            pool.close().await;
        }
    }
}
