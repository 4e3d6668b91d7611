//! Who may publish where. Source: VOLTTRON's `protected_topics.json`.

use async_trait::async_trait;

use super::{RepositoryError, Stamp};

/// A topic that not everybody may publish on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectedTopic {
    /// Literal (protects all topics that start with it), or `/regex/` anchored at both ends.
    pub topic: String,
    /// A publisher must hold all of these.
    pub capabilities: Vec<String>,
}

/// Keeps the policy. People edit the store beside us.
#[async_trait]
pub trait PolicyRepository: Send + Sync {
    /// The protected topics in their order; none if nothing is stored.
    ///
    /// # Errors
    /// [`RepositoryError::Corrupt`] for a wrong file; the caller keeps the policy that it has.
    async fn protected_topics(&self) -> Result<Vec<ProtectedTopic>, RepositoryError>;

    /// A cheap mark of the stored content; `None` if nothing is stored.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`].
    async fn stamp(&self) -> Result<Option<Stamp>, RepositoryError>;
}
