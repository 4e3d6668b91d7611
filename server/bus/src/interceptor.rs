//! Policy on the way into the router: authorization, protected topics, quotas, audit.

use vt_types::{Identity, RpcRequest, Topic, TopicPrefix};

use crate::PeerKind;

/// Who does something.
#[derive(Debug, Clone, Copy)]
pub struct PeerRef<'a> {
    /// The peer, as the router authenticated it.
    pub identity: &'a Identity,
    /// What sort of peer it is.
    pub kind: PeerKind,
    /// The authenticated user id, by which rights are decided; the identity itself for in-process peers.
    pub user_id: &'a str,
    /// Whether it is in another process, so that its name alone proves nothing.
    pub is_remote: bool,
    /// The web user for whom the peer acts, if any.
    pub user: Option<&'a str>,
}

/// A refusal with its reason, one readable sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Looks at everything that enters the router and may refuse it. Called on the sender's thread: must not block.
pub trait Interceptor: Send + Sync {
    /// A peer wants to connect.
    ///
    /// # Errors
    /// A [`Refusal`] keeps the peer out.
    fn on_connect(&self, _peer: PeerRef<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    /// A peer wants to publish on `topic`.
    ///
    /// # Errors
    /// A [`Refusal`] reaches the publisher; nobody gets the message.
    fn on_publish(&self, _peer: PeerRef<'_>, _topic: &Topic) -> Result<(), Refusal> {
        Ok(())
    }

    /// A peer wants to subscribe to `prefix`.
    ///
    /// # Errors
    /// A [`Refusal`] reaches the subscriber.
    fn on_subscribe(&self, _peer: PeerRef<'_>, _prefix: &TopicPrefix) -> Result<(), Refusal> {
        Ok(())
    }

    /// Whether calls of `callee` have to be looked at. Calls between remote peers are passed on unread otherwise.
    fn guards(&self, _callee: &Identity) -> bool {
        true
    }

    /// A peer wants to call a method of `callee`.
    ///
    /// # Errors
    /// A [`Refusal`] reaches the caller as `RpcError::Refused`.
    fn on_call(&self, _peer: PeerRef<'_>, _callee: &Identity, _request: &RpcRequest) -> Result<(), Refusal> {
        Ok(())
    }
}
