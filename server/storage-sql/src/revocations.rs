//! Ended sessions in the table `ended_session`, as long as one of their tokens could still be used.

use async_trait::async_trait;
use vt_backends::{RepositoryError, Revocation, RevocationRepository};
use vt_types::timestamp::Timestamp;

use crate::store::{SqlStore, writing};

const ADD: &str = "INSERT INTO ended_session (session, expires_us) VALUES ($1, $2) ON CONFLICT (session) DO NOTHING";
const DELETE_EXPIRED: &str = "DELETE FROM ended_session WHERE expires_us <= $1";
const ALL: &str = "SELECT session, expires_us FROM ended_session ORDER BY session";

/// The ended sessions of a database.
#[derive(Debug, Clone)]
pub struct SqlRevocations {
    store: SqlStore,
}

impl SqlRevocations {
    pub(crate) fn new(store: SqlStore) -> Self {
        Self { store }
    }
}

#[async_trait]
impl RevocationRepository for SqlRevocations {
    async fn add(&self, revocation: Revocation) -> Result<(), RepositoryError> {
        let result = writing!(self.store, |pool| {
            let query = sqlx::query(ADD).bind(&revocation.session).bind(revocation.expires_at.timestamp_micros());
            query.execute(pool).await.map(drop)
        });
        result.map_err(|source| self.store.unavailable(source))
    }

    async fn current(&self, now: Timestamp) -> Result<Vec<Revocation>, RepositoryError> {
        let rows: Result<Vec<(String, i64)>, sqlx::Error> = writing!(self.store, |pool| {
            match sqlx::query(DELETE_EXPIRED).bind(now.timestamp_micros()).execute(pool).await {
                Ok(_) => sqlx::query_as(ALL).fetch_all(pool).await,
                Err(error) => Err(error),
            }
        });
        let rows = rows.map_err(|source| self.store.unavailable(source))?;
        rows.into_iter()
            .map(|(session, micros)| Ok(Revocation { session, expires_at: self.store.moment("ended_session", micros)? }))
            .collect()
    }
}
