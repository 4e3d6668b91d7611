//! Alerts that agents raised, for people who look later.

use async_trait::async_trait;
use serde_json::Value;
use vt_types::timestamp::Timestamp;

use super::RepositoryError;

/// How many alerts are kept; older ones are deleted.
pub const ALERTS_MAX: usize = 10_000;

/// One alert as it came over the bus.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRecord {
    /// When it arrived.
    pub at: Timestamp,
    /// `alerts/<Class>/<instance>_<identity>`.
    pub topic: String,
    /// The sender.
    pub identity: String,
    /// The `alert_key` header.
    pub key: String,
    /// Status word: `GOOD`, `BAD` ...
    pub status: String,
    /// The context.
    pub context: Value,
}

/// Keeps alerts, the newest [`ALERTS_MAX`].
#[async_trait]
pub trait AlertRepository: Send + Sync {
    /// Appends.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`].
    async fn append(&self, record: AlertRecord) -> Result<(), RepositoryError>;

    /// The newest `limit` alerts, newest first.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`].
    async fn newest(&self, limit: usize) -> Result<Vec<AlertRecord>, RepositoryError>;
}
