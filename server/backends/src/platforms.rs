//! Other platforms as a whole: where they are, how our links to them are, calls of their peers, and how one is found by its web address.
//! Transports implement the traits; [`fake`] has links in memory.
//!
//! Source: vip-zmq.md §9; VOLTTRON `volttron/platform/vip/{routingservice,keydiscovery,externalrpcservice}.py`, `volttron/platform/web/discovery.py`.

pub mod fake;

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use vt_types::{Identity, PublicKey, RpcError, RpcRequest, Timestamp, TopicPrefix};

/// Where another platform is and how it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Instance name.
    pub name: String,
    /// VIP address.
    pub address: String,
    /// Its public key: what we expect there, and what it connects to us with.
    pub server_key: PublicKey,
}

/// How the link to another platform is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformState {
    /// Which.
    pub platform: Platform,
    /// Whether our link is connected.
    pub is_connected: bool,
    /// Since when the link has been so.
    pub since: Option<Timestamp>,
    /// When it last sent us anything.
    pub heard_at: Option<Timestamp>,
    /// Why it is not connected, as far as we know.
    pub problem: Option<String>,
    /// How often the link was made.
    pub connects: u64,
    /// Messages sent to it.
    pub sent: u64,
    /// Messages that came from it.
    pub received: u64,
    /// Messages that were lost because they waited too long.
    pub lost: u64,
    /// What it wants to get.
    pub wanted: Vec<TopicPrefix>,
}

/// The links to other platforms.
#[async_trait]
pub trait PlatformLinks: Send + Sync {
    /// How each link is, by name.
    fn states(&self) -> Vec<PlatformState>;

    /// Calls a method of a peer there, for the platform's web service. The other platform decides what it lets this platform do.
    ///
    /// # Errors
    /// [`RpcError::UnknownPeer`] without a connected link, [`RpcError::Timeout`], and what the method raises.
    async fn call(&self, platform: &str, peer: &Identity, request: &RpcRequest, limit: Duration) -> Result<Value, RpcError>;
}

/// Why a platform was not found at a web address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// The text is no web address.
    #[error("{0:?} is no web address; write for example https://other:8443")]
    Address(String),
    /// No connection, or one that broke.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("it did not answer within {0} s")]
    Timeout(u64),
    /// Another status than 200.
    #[error("it answers {0} under /discovery/; is that the web address of a VOLTTRON platform?")]
    Status(u16),
    /// An answer that tells no platform.
    #[error("its answer under /discovery/ cannot be used: {0}")]
    Answer(String),
    /// A platform that nobody can connect to over ZeroMQ.
    #[error("the platform {0} offers no VIP address; set vip-address there")]
    NoVipAddress(String),
    /// A platform that is known with another key.
    #[error("the platform {0} tells another key than the one in known_hosts; remove it there if the platform was set up anew")]
    OtherKey(String),
}

/// Finds a platform by its web address.
#[async_trait]
pub trait Discovery: Send + Sync {
    /// Asks `web_address` under `/discovery/`. The certificate there is not verified, as in VOLTTRON: whoever calls must be setting up, or
    /// know the key already.
    ///
    /// # Errors
    /// [`DiscoveryError`].
    async fn discover(&self, web_address: &str) -> Result<Platform, DiscoveryError>;
}
