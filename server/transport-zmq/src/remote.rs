//! Links to other platforms over a dealer: one of our agents is a peer of the other platform's router.
//!
//! A lost connection takes its queue with it: whoever sent is told, and nothing is sent twice behind his back. Source: vip-zmq.md §1, §2,
//! §4, §5; VOLTTRON `volttron/platform/vip/agent/connection.py`.

mod answer;
mod link;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use vt_backends::{LinkError, LinkRequest, RemoteBus, RemoteLink};
use vt_types::{Identity, PublicKey};

use crate::address::Listen;
use crate::{DealerConfig, KeyPair};

use link::Link;

/// Waits between attempts to connect: doubled from the first to the longest, each made up to half longer at random, so that many agents do
/// not come back at the same moment.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Keys of links.
#[async_trait]
pub trait LinkKeys: Send + Sync {
    /// The key pair of one of our agents.
    ///
    /// # Errors
    /// [`LinkError::Keys`].
    async fn pair(&self, agent: &Identity) -> Result<KeyPair, LinkError>;

    /// The server key known here for `host:port`.
    ///
    /// # Errors
    /// [`LinkError::Keys`].
    async fn known_host(&self, host: &str) -> Result<Option<PublicKey>, LinkError>;
}

/// Reaches other platforms over ZeroMQ.
pub struct ZmqRemoteBus {
    keys: Arc<dyn LinkKeys>,
}

impl ZmqRemoteBus {
    /// With keys from there.
    #[must_use]
    pub fn new(keys: Arc<dyn LinkKeys>) -> Self {
        Self { keys }
    }
}

#[async_trait]
impl RemoteBus for ZmqRemoteBus {
    async fn open(&self, request: &LinkRequest) -> Result<Arc<dyn RemoteLink>, LinkError> {
        let bad = |error: &dyn std::fmt::Display| LinkError::Address(error.to_string());
        Listen::parse(&request.address).map_err(|error| bad(&error))?;
        let address = vt_vip::Address::parse(&request.address).map_err(|error| bad(&error))?;
        let keys = self.keys.pair(&request.agent).await?;
        let in_address = address.server_key.map(|key| PublicKey::parse(&key.to_string())).transpose().map_err(|error| bad(&error))?;
        let known = self.keys.known_host(&address.netloc).await?;
        let server_key = known.or(request.server_key).or(in_address);
        let config = DealerConfig::new(&request.address, server_key, keys, request.identity.clone());
        Ok(Arc::new(Link::start(config)))
    }
}
