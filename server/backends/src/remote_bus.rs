//! Links to other platforms: one of our agents as a peer of somebody else's bus. The forwarder and the data mover send over them.
//! Transports implement the traits; [`fake`] is a platform in memory.
//!
//! Source: VOLTTRON `volttron/platform/vip/agent/utils.py` (`build_agent`), `services/core/ForwardHistorian`.

pub mod fake;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use vt_types::{Identity, PublicKey, RpcError, RpcRequest, Topic};

use crate::platforms::{DiscoveryError, Platform};

/// Where a link goes, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRequest {
    /// Whose keys prove who we are.
    pub agent: Identity,
    /// Under which identity the other platform knows us.
    pub identity: Identity,
    /// The other platform's VIP address.
    pub address: String,
    /// Its server key. One that is known here for the address counts instead.
    pub server_key: Option<PublicKey>,
}

/// How a link is.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkState {
    /// The first attempt is under way.
    Connecting,
    /// The other platform has greeted us.
    Connected {
        /// Name of this run of its router; another one after it started anew.
        run: String,
    },
    /// There is no connection; the next attempt follows by itself.
    Down(LinkError),
}

/// Why a link is down, or why something sent over it was not done.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LinkError {
    /// Nobody was found at the web address.
    #[error("the other platform was not found at {web_address}: {problem}")]
    NotFound {
        /// Where it was looked for.
        web_address: String,
        /// Why it was not found.
        problem: DiscoveryError,
    },
    /// The address cannot be used.
    #[error("the address of the other platform cannot be used: {0}")]
    Address(String),
    /// Our own keys cannot be had.
    #[error("the keys of this agent cannot be read: {0}")]
    Keys(String),
    /// No connection.
    #[error("the other platform cannot be reached: {0}")]
    Unreachable(String),
    /// There is a connection, and no answer: our key is unknown there, or the server key is not the other platform's.
    #[error("the other platform does not let this agent in: approve its key {0} there, and check the server key that is given here")]
    NotApproved(PublicKey),
    /// Somebody else holds our identity there.
    #[error("the other platform does not answer {0}; another peer holds that identity there")]
    NotServed(Identity),
    /// The called peer is not connected there.
    #[error("no peer is connected under the identity {0} on the other platform")]
    NoPeer(Identity),
    /// The called peer, or the other platform, has no room for more.
    #[error("{0} is busy on the other platform")]
    Busy(Identity),
    /// The other platform forbids it.
    #[error("the other platform refuses: {0}")]
    Refused(String),
    /// The called method failed.
    #[error("the other platform raised: {0}")]
    Raised(RpcError),
    /// No answer in time. Whether it was done is not known.
    #[error("the other platform did not answer within {limit_ms} ms")]
    Timeout {
        /// How long it had.
        limit_ms: u64,
    },
    /// The link was closed on this side.
    #[error("the link is closed")]
    Closed,
}

impl LinkError {
    /// Of a time limit.
    #[must_use]
    pub fn timeout(limit: Duration) -> Self {
        Self::Timeout { limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Whether the connection itself is in doubt, rather than what was sent over it.
    #[must_use]
    pub fn is_of_connection(&self) -> bool {
        !matches!(self, Self::NoPeer(_) | Self::Busy(_) | Self::Refused(_) | Self::Raised(_))
    }
}

/// A message for the other platform's bus.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Where.
    pub topic: Topic,
    /// Headers, as they are to arrive.
    pub headers: Map<String, Value>,
    /// Body.
    pub message: Value,
}

/// Reaches other platforms.
#[async_trait]
pub trait RemoteBus: Send + Sync {
    /// Begins to connect; returns at once, and the link connects again whenever the connection is lost, without end.
    ///
    /// # Errors
    /// [`LinkError::Address`], [`LinkError::Keys`].
    async fn open(&self, request: &LinkRequest) -> Result<Arc<dyn RemoteLink>, LinkError>;

    /// Finds a platform by its web address. The key that it tells first is remembered; another one later is not taken.
    ///
    /// # Errors
    /// [`DiscoveryError`].
    async fn discover(&self, web_address: &str) -> Result<Platform, DiscoveryError>;
}

/// A link to one platform. Many may use it at the same time; what one task sends first, arrives first.
///
/// Nothing is kept for a later connection: what is not answered before the connection is lost fails, and may have been done all the same.
#[async_trait]
pub trait RemoteLink: Send + Sync {
    /// How it is.
    fn state(&self) -> LinkState;

    /// Waits until the state is another than `seen`.
    async fn changed(&self, seen: &LinkState) -> LinkState;

    /// Publishes; how many got it, by the other platform's router.
    ///
    /// # Errors
    /// Any [`LinkError`] but those of calls.
    async fn publish(&self, message: &Outgoing, limit: Duration) -> Result<u64, LinkError>;

    /// Calls a method of a peer there.
    ///
    /// # Errors
    /// Any [`LinkError`].
    async fn call(&self, peer: &Identity, request: &RpcRequest, limit: Duration) -> Result<Value, LinkError>;

    /// Hears from the other platform's router.
    ///
    /// # Errors
    /// Those of the connection.
    async fn ping(&self, limit: Duration) -> Result<(), LinkError>;

    /// Gives the present connection up and makes another; for a peer that has fallen silent.
    fn reconnect(&self);

    /// Ends it.
    fn close(&self);
}
