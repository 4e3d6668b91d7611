//! Which peers may connect from outside, and what they may do. Source: VOLTTRON's `auth.json`, `volttron/platform/auth/auth_file.py`.
//!
//! Map: `entry` (one entry and its reading), `capabilities`, `named` (groups and roles in their order), `authz` (what the modular generation
//! says).

pub mod authz;
pub mod capabilities;
pub mod entry;
pub mod named;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{RepositoryError, Stamp};
use authz::Authz;
use capabilities::Capabilities;
use entry::AuthEntry;
use named::Named;

/// All that is stored about peers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeerAuthRecords {
    /// Who may connect, in order.
    pub allow: Vec<AuthEntry>,
    /// Who may not, whatever else is said.
    pub deny: Vec<AuthEntry>,
    /// Names of roles by group.
    pub groups: Named<Vec<String>>,
    /// Capabilities by role.
    pub roles: Named<Capabilities>,
    /// Roles, groups and agents of the modular generation.
    pub authz: Authz,
    /// Entries that make no sense; they give nobody anything and are kept as they are.
    pub unusable: Vec<UnusableEntry>,
    /// Further members of the file, kept as they are.
    pub extra: Map<String, Value>,
}

/// An entry that cannot be read.
#[derive(Debug, Clone, PartialEq)]
pub struct UnusableEntry {
    /// In which list it stands.
    pub list: AuthList,
    /// What stands there.
    pub json: Value,
}

/// One of the two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthList {
    /// Peers that may connect.
    Allow,
    /// Peers that may not.
    Deny,
}

impl PeerAuthRecords {
    /// The entries of a list.
    #[must_use]
    pub fn list(&self, list: AuthList) -> &Vec<AuthEntry> {
        match list {
            AuthList::Allow => &self.allow,
            AuthList::Deny => &self.deny,
        }
    }

    /// The entries of a list, for changing.
    pub fn list_mut(&mut self, list: AuthList) -> &mut Vec<AuthEntry> {
        match list {
            AuthList::Allow => &mut self.allow,
            AuthList::Deny => &mut self.deny,
        }
    }
}

/// What a load gives.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadedPeerAuth {
    /// The records.
    pub records: PeerAuthRecords,
    /// The version that was stored, such as `1.1`, if it was an older one. Saving then keeps a copy of the old store first.
    pub migrated_from: Option<String>,
    /// Whether the records say more than what is stored: migrated, or user ids were made up that must stay the same.
    pub needs_saving: bool,
    /// One sentence for each entry that is of no use.
    pub warnings: Vec<String>,
}

/// Keeps the records. People and tools edit the store beside us.
#[async_trait]
pub trait PeerAuthRepository: Send + Sync {
    /// All records, brought up to the newest version; none if nothing is stored.
    ///
    /// # Errors
    /// [`RepositoryError::Corrupt`] for a half-written or wrong file, or one of a newer version; the caller keeps the records that it has.
    async fn load(&self) -> Result<LoadedPeerAuth, RepositoryError>;

    /// Replaces all records at once. What was stored in an older version is kept as a copy first.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`]; then the old records are still stored.
    async fn save(&self, records: &PeerAuthRecords) -> Result<(), RepositoryError>;

    /// A cheap mark of the stored content; `None` if nothing is stored.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`].
    async fn stamp(&self) -> Result<Option<Stamp>, RepositoryError>;
}
