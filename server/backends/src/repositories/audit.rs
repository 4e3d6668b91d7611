//! The audit log: who did what, when, from where, with what outcome. Append only.

use async_trait::async_trait;
use vt_types::timestamp::Timestamp;

use super::RepositoryError;

/// How many entries a list has when no limit is given.
pub const AUDIT_LIMIT_DEFAULT: usize = 100;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// Web user, or `local:<unix user>` for command line tools.
    pub user: String,
    /// Peer address, if it came over the network.
    pub address: Option<String>,
    /// What was done, such as `device.set`, `agent.start`, `session.login`.
    pub action: String,
    /// To what, such as a point's path or an identity.
    pub target: String,
    /// Whether it succeeded.
    pub success: bool,
    /// Further detail: the value written, or the error. Never a secret.
    pub detail: String,
}

/// Which entries to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only of this user.
    pub user: Option<String>,
    /// Only actions that start with this text.
    pub action_prefix: Option<String>,
    /// Only of this target.
    pub target: Option<String>,
    /// At most so many, newest first; 0 means [`AUDIT_LIMIT_DEFAULT`].
    pub limit: usize,
}

/// Keeps the audit log.
#[async_trait]
pub trait AuditRepository: Send + Sync {
    /// Appends.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`].
    async fn append(&self, record: AuditRecord) -> Result<(), RepositoryError>;

    /// Lists, newest first.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`].
    async fn list(&self, filter: AuditFilter) -> Result<Vec<AuditRecord>, RepositoryError>;
}
