//! Raw byte pipes between a service and a remote peer: VOLTTRON's subsystem `channel`, over which `vctl install` sends wheels. Both sides
//! know the channel's name beforehand; there is no greeting and no end. Source: VOLTTRON `volttron/platform/vip/agent/subsystems/channel.py`.

use async_trait::async_trait;
use vt_types::Identity;

/// Messages that may wait for whoever holds a channel; when full, the peer's further ones are dropped, and a transfer that misses one times out.
pub const CHANNEL_MESSAGES_MAX: usize = 16;

/// Why a channel cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// Nobody, or only an agent inside the server, is connected under this identity.
    #[error("{0} cannot be reached over a channel")]
    NoPeer(Identity),
    /// The same channel is open already.
    #[error("the channel {name:?} to {peer} is in use")]
    InUse {
        /// The peer.
        peer: Identity,
        /// The channel.
        name: String,
    },
    /// The peer's queue is full.
    #[error("{0} does not take its messages")]
    Full(Identity),
    /// The peer is gone.
    #[error("{0} disconnected")]
    Gone(Identity),
}

/// Opens channels. Implemented by the transport of remote peers.
#[async_trait]
pub trait Channels: Send + Sync {
    /// Opens the channel `name` to `peer`, seen from the service `own` whose address the peer uses. What the peer sends from then on
    /// waits, up to [`CHANNEL_MESSAGES_MAX`] messages. Dropping the channel closes it.
    ///
    /// # Errors
    /// [`ChannelError::NoPeer`], [`ChannelError::InUse`].
    async fn open(&self, own: &Identity, peer: &Identity, name: &str) -> Result<Box<dyn Channel>, ChannelError>;
}

/// One open channel.
#[async_trait]
pub trait Channel: Send {
    /// Sends one message: the frames after the channel's name.
    ///
    /// # Errors
    /// [`ChannelError::Full`], [`ChannelError::Gone`].
    async fn send(&mut self, frames: Vec<Vec<u8>>) -> Result<(), ChannelError>;

    /// The frames after the channel's name of the peer's next message. May be dropped while it waits; nothing is lost then.
    ///
    /// # Errors
    /// [`ChannelError::Gone`].
    async fn receive(&mut self) -> Result<Vec<Vec<u8>>, ChannelError>;
}
