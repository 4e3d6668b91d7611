//! Links to other platforms over a dealer: one of our agents is a peer of the other platform's router.
//!
//! A lost connection takes its queue with it: whoever sent is told, and nothing is sent twice behind his back. Source: vip-zmq.md §1, §2,
//! §4, §5; VOLTTRON `volttron/platform/vip/agent/connection.py`.

mod answer;
mod link;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use vt_backends::{
    Discovery, DiscoveryError, KeyOwner, KeyRepository, KnownHost, LinkError, LinkRequest, Platform, RemoteBus, RemoteLink, RepositoryError,
};
use vt_types::{CurveKeyPair, Identity, PublicKey, SecretKey};

use crate::address::Listen;
use crate::{DealerConfig, KeyPair};

use link::Link;

/// Waits between attempts to connect: doubled from the first to the longest, each made up to half longer at random, so that many agents do
/// not come back at the same moment.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Reaches other platforms over ZeroMQ.
pub struct ZmqRemoteBus {
    keys: Arc<dyn KeyRepository>,
    discovery: Arc<dyn Discovery>,
}

impl ZmqRemoteBus {
    /// With the keys of our agents and the server keys known here, and a way to find platforms by their web addresses.
    #[must_use]
    pub fn new(keys: Arc<dyn KeyRepository>, discovery: Arc<dyn Discovery>) -> Self {
        Self { keys, discovery }
    }

    /// The agent's own pair; a new one for an agent that has none.
    async fn pair(&self, agent: &Identity) -> Result<KeyPair, RepositoryError> {
        let owner = KeyOwner::Peer(agent.clone());
        if let Some(pair) = self.keys.load(&owner).await? {
            return Ok(KeyPair { public: pair.public, secret: *pair.secret.expose() });
        }
        let mut made = KeyPair::throw_away();
        // Tools take a key that begins with a dash for an option.
        while made.public.to_string().starts_with('-') {
            made = KeyPair::throw_away();
        }
        self.keys.save(&owner, &CurveKeyPair { public: made.public, secret: SecretKey::new(made.secret) }).await?;
        Ok(made)
    }

    async fn known_host(&self, host: &str) -> Result<Option<PublicKey>, RepositoryError> {
        let known = self.keys.known_hosts().await?.records;
        Ok(known.into_iter().find(|known| known.host == host).map(|known| known.key))
    }
}

#[async_trait]
impl RemoteBus for ZmqRemoteBus {
    async fn open(&self, request: &LinkRequest) -> Result<Arc<dyn RemoteLink>, LinkError> {
        let bad = |error: &dyn std::fmt::Display| LinkError::Address(error.to_string());
        Listen::parse(&request.address).map_err(|error| bad(&error))?;
        let address = vt_vip::Address::parse(&request.address).map_err(|error| bad(&error))?;
        let keys = self.pair(&request.agent).await.map_err(|error| LinkError::Keys(error.to_string()))?;
        let in_address = address.server_key;
        let known = self.known_host(&address.netloc).await.map_err(|error| LinkError::Keys(error.to_string()))?;
        let server_key = known.or(request.server_key).or(in_address);
        let config = DealerConfig::new(&request.address, server_key, keys, request.identity.clone());
        Ok(Arc::new(Link::start(config)))
    }

    async fn discover(&self, web_address: &str) -> Result<Platform, DiscoveryError> {
        let platform = self.discovery.discover(web_address).await?;
        let unusable = |error: &dyn std::fmt::Display| DiscoveryError::Answer(error.to_string());
        let place = vt_vip::Address::parse(&platform.address).map_err(|error| unusable(&error))?.netloc;
        match self.known_host(&place).await.map_err(|error| unusable(&error))? {
            Some(known) if known != platform.server_key => return Err(DiscoveryError::OtherKey(platform.name)),
            Some(_) => {}
            None => {
                let host = KnownHost { host: place, key: platform.server_key };
                self.keys.add_known_hosts(&[host]).await.map_err(|error| unusable(&error))?;
            }
        }
        Ok(platform)
    }
}
