//! Why the bus refused something. Failures of calls are [`vt_types::RpcError`].

use vt_types::Identity;

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
