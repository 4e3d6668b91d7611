//! Why a history store refused or failed.

use std::sync::Arc;

use vt_types::ErrorKind;

/// A failure of a history store or of the cache in front of it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HistoryError {
    /// The database refused, failed or is gone. Shared, because one commit carries many inserts.
    #[error("the history database failed: {0}")]
    Database(#[source] Arc<sqlx::Error>),
    /// `set_up` has not succeeded yet.
    #[error("the history store is not ready; it is being set up")]
    NotReady,
    /// A batch took too long; whether it was stored is not known, and storing it again does no harm.
    #[error("the history database did not answer within {limit_s} s")]
    Unanswered {
        /// How long it had, seconds.
        limit_s: f64,
    },
    /// The store was closed.
    #[error("the history store is closed")]
    Closed,
    /// The file was written by a later version.
    #[error("the history file has layout {found}, this version reads up to {known}; run the newer version or another file")]
    Layout {
        /// What the file says.
        found: i64,
        /// The newest layout known here.
        known: i64,
    },
    /// Stored bytes that are not what was written.
    #[error("the history of topic {topic_id} is damaged at {at_us} us: {reason}")]
    Damaged {
        /// Row of the topic.
        topic_id: i64,
        /// Start of the damaged piece, microseconds since 1970.
        at_us: i64,
        /// What was expected.
        reason: &'static str,
    },
    /// A question that cannot be answered as put.
    #[error("{0}")]
    Invalid(String),
}

impl HistoryError {
    /// The kind that edges translate.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Database(_) | Self::NotReady | Self::Unanswered { .. } | Self::Closed => ErrorKind::Unavailable,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Layout { .. } | Self::Damaged { .. } => ErrorKind::Internal,
        }
    }
}

impl From<sqlx::Error> for HistoryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}
