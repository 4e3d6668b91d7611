//! Why the bus refused something. Failures of calls are [`vt_types::RpcError`].

use vt_types::{Envelope, Identity};

use crate::Refusal;

/// Why a peer could not connect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The identity is in use.
    #[error("the identity {0} is already connected")]
    InUse(Identity),
    /// The bus is full.
    #[error("the bus holds its maximum of {0} peers")]
    Full(usize),
    /// An interceptor refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Why a publication was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The publisher is no longer connected.
    #[error("{0} is not connected to the bus")]
    NotConnected(Identity),
    /// An interceptor refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Why a subscription was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The subscriber is no longer connected.
    #[error("{0} is not connected to the bus")]
    NotConnected(Identity),
    /// The peer has its maximum of subscriptions.
    #[error("a peer may have at most {0} subscriptions")]
    TooMany(usize),
    /// An interceptor refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Why a message could not be passed on to a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// Nobody is connected under that identity.
    #[error("no peer is connected under the identity {0}")]
    UnknownPeer(Identity),
    /// The recipient's queue is full; the message is lost.
    #[error("{0} is busy: its queue is full")]
    Full(Identity),
    /// The recipient is in this process and does not read envelopes; here is the message back.
    #[error("the recipient is in this process")]
    Local(Box<Envelope>),
    /// The sender is no longer connected.
    #[error("{0} is not connected to the bus")]
    NotConnected(Identity),
}
