//! Fakes of what is kept about peers over ZeroMQ.

use std::collections::BTreeMap;

use async_trait::async_trait;
use vt_types::{CurveKeyPair, Identity};

use super::Shared;
use crate::repositories::peer_auth::{LoadedPeerAuth, PeerAuthRecords, PeerAuthRepository};
use crate::repositories::{Loaded, RepositoryError, Stamp};
use crate::{KeyOwner, KeyRepository, KnownHost};

/// Records of who may connect, in memory; `save` stands for an edit by hand as well.
#[derive(Debug, Clone, Default)]
pub struct MemoryPeerAuth {
    shared: Shared<PeerAuthRecords>,
}

impl MemoryPeerAuth {
    /// From now on every call fails, or works again.
    pub fn set_failing(&self, failing: bool) {
        self.shared.0.lock().failing = failing;
    }
}

#[async_trait]
impl PeerAuthRepository for MemoryPeerAuth {
    async fn load(&self) -> Result<LoadedPeerAuth, RepositoryError> {
        self.shared.read(|records| LoadedPeerAuth { records: records.clone(), ..LoadedPeerAuth::default() })
    }

    async fn save(&self, records: &PeerAuthRecords) -> Result<(), RepositoryError> {
        self.shared.change(|stored| {
            stored.clone_from(records);
            Ok(())
        })
    }

    async fn stamp(&self) -> Result<Option<Stamp>, RepositoryError> {
        self.shared.stamp()
    }
}

/// Keys in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryKeys {
    shared: Shared<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    pairs: BTreeMap<KeyOwner, CurveKeyPair>,
    hosts: Vec<KnownHost>,
}

impl MemoryKeys {
    /// From now on every call fails, or works again.
    pub fn set_failing(&self, failing: bool) {
        self.shared.0.lock().failing = failing;
    }
}

#[async_trait]
impl KeyRepository for MemoryKeys {
    async fn load(&self, owner: &KeyOwner) -> Result<Option<CurveKeyPair>, RepositoryError> {
        self.shared.read(|keys| keys.pairs.get(owner).cloned())
    }

    async fn save(&self, owner: &KeyOwner, pair: &CurveKeyPair) -> Result<(), RepositoryError> {
        self.shared.change(|keys| {
            keys.pairs.insert(owner.clone(), pair.clone());
            Ok(())
        })
    }

    async fn remove(&self, peer: &Identity) -> Result<bool, RepositoryError> {
        self.shared.change(|keys| Ok(keys.pairs.remove(&KeyOwner::Peer(peer.clone())).is_some()))
    }

    async fn known_hosts(&self) -> Result<Loaded<Vec<KnownHost>>, RepositoryError> {
        self.shared.read(|keys| Loaded { records: keys.hosts.clone(), warnings: Vec::new() })
    }

    async fn add_known_hosts(&self, hosts: &[KnownHost]) -> Result<(), RepositoryError> {
        self.shared.change(|keys| {
            for host in hosts {
                match keys.hosts.iter_mut().find(|known| known.host == host.host) {
                    Some(known) => known.key = host.key,
                    None => keys.hosts.push(host.clone()),
                }
            }
            Ok(())
        })
    }

    async fn remove_known_host(&self, host: &str) -> Result<bool, RepositoryError> {
        self.shared.change(|keys| {
            let before = keys.hosts.len();
            keys.hosts.retain(|known| known.host != host);
            Ok(keys.hosts.len() < before)
        })
    }
}
