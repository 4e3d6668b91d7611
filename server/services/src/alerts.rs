//! Alerts that agents raise on the bus: kept for people who look later, and told to those who watch now.

use std::sync::Arc;

use tokio::sync::broadcast;
use vt_backends::{AlertRecord, AlertRepository};

use crate::ServiceError;

/// Alerts held for a slow follower; one that falls behind is told so and reads the newest again.
const FOLLOWED_MAX: usize = 256;
/// Alerts listed at most.
const LISTED_MAX: usize = 10_000;

/// The alerts.
pub struct Alerts {
    records: Arc<dyn AlertRepository>,
    news: broadcast::Sender<Arc<AlertRecord>>,
}

impl Alerts {
    /// Alerts kept in `records`.
    #[must_use]
    pub fn new(records: Arc<dyn AlertRepository>) -> Self {
        Self { records, news: broadcast::channel(FOLLOWED_MAX).0 }
    }

    /// The newest `limit` alerts, newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn newest(&self, limit: usize) -> Result<Vec<AlertRecord>, ServiceError> {
        Ok(self.records.newest(limit.min(LISTED_MAX)).await?)
    }

    /// Alerts from now on.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Arc<AlertRecord>> {
        self.news.subscribe()
    }
}
