//! Sessions that were ended before their tokens expired.

use async_trait::async_trait;
use vt_types::timestamp::Timestamp;

use super::RepositoryError;

/// An ended session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Session id, the `sid` claim of its tokens.
    pub session: String,
    /// After this moment its last token has expired and the record may go.
    pub expires_at: Timestamp,
}

/// Keeps ended sessions.
#[async_trait]
pub trait RevocationRepository: Send + Sync {
    /// Adds; repeating changes nothing.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`].
    async fn add(&self, revocation: Revocation) -> Result<(), RepositoryError>;

    /// All that have not expired at `now`; expired ones are deleted.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`].
    async fn current(&self, now: Timestamp) -> Result<Vec<Revocation>, RepositoryError>;
}
