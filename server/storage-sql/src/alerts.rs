//! Alerts in the table `alert`, the newest of them.

use async_trait::async_trait;
use vt_backends::repositories::alerts::ALERTS_MAX;
use vt_backends::{AlertRecord, AlertRepository, RepositoryError};

use crate::store::{SqlStore, limit, reading, without_nul, writing};

const APPEND: &str = "INSERT INTO alert (at_us, topic, identity, alert_key, status, context) VALUES ($1, $2, $3, $4, $5, $6)";
const TRIM: &str = "DELETE FROM alert WHERE id <= (SELECT id FROM alert ORDER BY id DESC LIMIT 1 OFFSET $1)";
const NEWEST: &str = "SELECT at_us, topic, identity, alert_key, status, context FROM alert ORDER BY id DESC LIMIT $1";

/// The alerts of a database.
#[derive(Debug, Clone)]
pub struct SqlAlerts {
    store: SqlStore,
}

impl SqlAlerts {
    pub(crate) fn new(store: SqlStore) -> Self {
        Self { store }
    }
}

type Row = (i64, String, String, String, String, String);

#[async_trait]
impl AlertRepository for SqlAlerts {
    async fn append(&self, record: AlertRecord) -> Result<(), RepositoryError> {
        let result = writing!(self.store, |pool| {
            let insert = sqlx::query(APPEND)
                .bind(record.at.timestamp_micros())
                .bind(without_nul(&record.topic))
                .bind(without_nul(&record.identity))
                .bind(without_nul(&record.key))
                .bind(without_nul(&record.status))
                // JSON text writes NUL as an escape.
                .bind(record.context.to_string());
            async {
                let mut transaction = pool.begin().await?;
                insert.execute(&mut *transaction).await?;
                sqlx::query(TRIM).bind(limit(ALERTS_MAX)).execute(&mut *transaction).await?;
                transaction.commit().await
            }
            .await
        });
        result.map_err(|source| self.store.unavailable(source))
    }

    async fn newest(&self, count: usize) -> Result<Vec<AlertRecord>, RepositoryError> {
        let rows: Result<Vec<Row>, sqlx::Error> =
            reading!(self.store, |pool| sqlx::query_as(NEWEST).bind(limit(count)).fetch_all(pool).await);
        let rows = rows.map_err(|source| self.store.unavailable(source))?;
        rows.into_iter()
            .map(|(at, topic, identity, key, status, context)| {
                let at = self.store.moment("alert", at)?;
                let context = serde_json::from_str(&context);
                let context = context.map_err(|error| self.store.corrupt("alert", &format!("a context is not JSON: {error}")))?;
                Ok(AlertRecord { at, topic, identity, key, status, context })
            })
            .collect()
    }
}
