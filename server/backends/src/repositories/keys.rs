//! CURVE key pairs of the platform and of peers on this machine, and the server keys of platforms. Source: VOLTTRON `keystore.py`; of
//! the modular generation `volttron/types/auth/auth_credentials.py` and `known_host.py`.

use async_trait::async_trait;
use vt_types::{CurveKeyPair, Identity, PublicKey};

use super::{Loaded, RepositoryError};

/// Whose key it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyOwner {
    /// The platform's own: what servers prove themselves with.
    Platform,
    /// A peer of this machine.
    Peer(Identity),
}

/// A platform's server key by the place where it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownHost {
    /// `host:port`, or `@` for the local socket.
    pub host: String,
    /// Its server key.
    pub key: PublicKey,
}

/// Keeps keys, in every place where some generation of agents looks for them.
#[async_trait]
pub trait KeyRepository: Send + Sync {
    /// The pair of `owner`, if it has one.
    ///
    /// # Errors
    /// [`RepositoryError::Corrupt`] for a file that holds no pair, [`RepositoryError::Unavailable`].
    async fn load(&self, owner: &KeyOwner) -> Result<Option<CurveKeyPair>, RepositoryError>;

    /// Stores the pair of `owner` in place of another.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`].
    async fn save(&self, owner: &KeyOwner, pair: &CurveKeyPair) -> Result<(), RepositoryError>;

    /// Removes the pair of a peer; says whether there was one.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`].
    async fn remove(&self, peer: &Identity) -> Result<bool, RepositoryError>;

    /// The server keys known here, in order; entries that make no sense are left out with a warning.
    ///
    /// # Errors
    /// [`RepositoryError::Corrupt`], [`RepositoryError::Unavailable`].
    async fn known_hosts(&self) -> Result<Loaded<Vec<KnownHost>>, RepositoryError>;

    /// Remembers server keys, each in place of another of the same host. What is known of other hosts stays.
    ///
    /// # Errors
    /// As [`KeyRepository::known_hosts`]; then nothing changed.
    async fn add_known_hosts(&self, hosts: &[KnownHost]) -> Result<(), RepositoryError>;

    /// Forgets a host; says whether it was known.
    ///
    /// # Errors
    /// As [`KeyRepository::known_hosts`]; then nothing changed.
    async fn remove_known_host(&self, host: &str) -> Result<bool, RepositoryError>;
}
