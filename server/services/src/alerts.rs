//! Alerts that agents raise on the bus: kept for people who look later, and told to those who watch now.
//! Source: vip-zmq.md §6 (the message is a text that holds JSON).

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{broadcast, mpsc};
use vt_backends::{AlertRecord, AlertRepository};
use vt_types::{Clock, Publication, headers};

use crate::ServiceError;

/// Prefix of alert topics.
pub(crate) const ALERTS: &str = "alerts/";
/// Alerts held for a slow follower; one that falls behind is told so and reads the newest again.
const FOLLOWED_MAX: usize = 256;
/// Alerts that wait to be stored; further ones are told to followers but not kept.
const WAITING_MAX: usize = 1024;
/// Alerts listed at most.
const LISTED_MAX: usize = 10_000;
/// Longest text of an alert that is kept, in characters.
const TEXT_CHARS_MAX: usize = 4000;

/// The alerts.
pub struct Alerts {
    records: Arc<dyn AlertRepository>,
    clock: Arc<dyn Clock>,
    news: broadcast::Sender<Arc<AlertRecord>>,
    to_store: mpsc::Sender<AlertRecord>,
    waiting: Mutex<Option<mpsc::Receiver<AlertRecord>>>,
}

impl Alerts {
    /// Alerts kept in `records`.
    pub(crate) fn new(records: Arc<dyn AlertRepository>, clock: Arc<dyn Clock>) -> Self {
        let (to_store, waiting) = mpsc::channel(WAITING_MAX);
        Self { records, clock, news: broadcast::channel(FOLLOWED_MAX).0, to_store, waiting: Mutex::new(Some(waiting)) }
    }

    /// Stores alerts as they come, until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let Some(mut waiting) = self.waiting.lock().take() else { return };
        while let Some(record) = waiting.recv().await {
            if let Err(error) = self.records.append(record).await {
                tracing::error!(%error, "an alert could not be kept");
            }
        }
    }

    /// Takes in what was published. Never waits.
    pub(crate) fn heard(&self, publication: &Publication) {
        let message = &*publication.message;
        // VOLTTRON encodes the status twice; some agents do not.
        let status = match message {
            Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| message.clone()),
            other => other.clone(),
        };
        let record = AlertRecord {
            at: self.clock.now(),
            topic: publication.topic.to_string(),
            identity: publication.sender.to_string(),
            key: short(publication.headers.text(headers::ALERT_KEY).unwrap_or_default()),
            status: short(status.get("status").and_then(Value::as_str).unwrap_or("UNKNOWN")),
            context: match status.get("context").unwrap_or(&status) {
                Value::String(text) => Value::String(short(text)),
                other => other.clone(),
            },
        };
        // An error means that nobody follows.
        drop(self.news.send(Arc::new(record.clone())));
        if self.to_store.try_send(record).is_err() {
            tracing::warn!(identity = %publication.sender, "an alert was not kept: too many wait to be stored");
        }
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

fn short(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}
