//! Web users. Source: VOLTTRON's `web-users.json`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{RepositoryError, Stamp};

/// All users by name.
pub type Users = BTreeMap<String, UserRecord>;

/// One user.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// PHC string, argon2id. Never shown.
    pub hashed_password: String,
    /// Groups, such as `admin` and `vui`.
    pub groups: Vec<String>,
    /// Further keys of the record, kept as they are.
    pub extra: Map<String, Value>,
}

impl std::fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRecord").field("groups", &self.groups).finish_non_exhaustive()
    }
}

/// Keeps the users. People and scripts may edit the store beside us.
#[async_trait]
pub trait UserRepository: Send + Sync {
    /// All users; none if nothing is stored yet.
    ///
    /// # Errors
    /// [`RepositoryError::Corrupt`] for a half-written or wrong file; the caller keeps the users that it has.
    async fn load(&self) -> Result<Users, RepositoryError>;

    /// Replaces all users at once.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`]; then the old users are still stored.
    async fn save(&self, users: &Users) -> Result<(), RepositoryError>;

    /// A cheap mark of the stored content; `None` if nothing is stored.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`].
    async fn stamp(&self) -> Result<Option<Stamp>, RepositoryError>;
}
