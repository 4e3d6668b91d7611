//! The audit log in the table `audit_log`. Append only: there is no statement here that changes or deletes a row.

use async_trait::async_trait;
use vt_backends::repositories::audit::AUDIT_LIMIT_DEFAULT;
use vt_backends::{AuditFilter, AuditRecord, AuditRepository, RepositoryError};

use crate::store::{SqlStore, limit, reading, without_nul, writing};

const APPEND: &str =
    "INSERT INTO audit_log (at_us, user_name, address, action, target, success, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)";

// `substr` instead of LIKE: a prefix is literal, and SQLite's LIKE ignores case.
const LIST: &str = "SELECT at_us, user_name, address, action, target, success, detail FROM audit_log \
     WHERE ($1 IS NULL OR user_name = $1) AND ($2 IS NULL OR substr(action, 1, length($2)) = $2) AND ($3 IS NULL OR target = $3) \
     ORDER BY id DESC LIMIT $4";

/// The audit log of a database.
#[derive(Debug, Clone)]
pub struct SqlAudit {
    store: SqlStore,
}

impl SqlAudit {
    pub(crate) fn new(store: SqlStore) -> Self {
        Self { store }
    }
}

type Row = (i64, String, Option<String>, String, String, bool, String);

#[async_trait]
impl AuditRepository for SqlAudit {
    async fn append(&self, record: AuditRecord) -> Result<(), RepositoryError> {
        let result = writing!(self.store, |pool| {
            let query = sqlx::query(APPEND)
                .bind(record.at.timestamp_micros())
                .bind(without_nul(&record.user))
                .bind(record.address.as_deref().map(without_nul))
                .bind(without_nul(&record.action))
                .bind(without_nul(&record.target))
                .bind(record.success)
                .bind(without_nul(&record.detail));
            query.execute(pool).await.map(drop)
        });
        result.map_err(|source| self.store.unavailable(source))
    }

    async fn list(&self, filter: AuditFilter) -> Result<Vec<AuditRecord>, RepositoryError> {
        let count = if filter.limit == 0 { AUDIT_LIMIT_DEFAULT } else { filter.limit };
        let rows: Result<Vec<Row>, sqlx::Error> = reading!(self.store, |pool| {
            let query = sqlx::query_as(LIST)
                .bind(filter.user.as_deref().map(without_nul))
                .bind(filter.action_prefix.as_deref().map(without_nul))
                .bind(filter.target.as_deref().map(without_nul))
                .bind(limit(count));
            query.fetch_all(pool).await
        });
        let rows = rows.map_err(|source| self.store.unavailable(source))?;
        rows.into_iter()
            .map(|(at, user, address, action, target, success, detail)| {
                let at = self.store.moment("audit_log", at)?;
                Ok(AuditRecord { at, user, address, action, target, success, detail })
            })
            .collect()
    }
}
