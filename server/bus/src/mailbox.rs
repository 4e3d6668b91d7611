//! What a peer receives: publications and calls, in two bounded queues, so that a flood of the former never delays the latter.

use std::sync::{Arc, Weak};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use vt_types::{Identity, Publication, RpcError, RpcRequest};

use crate::router::Inner;

/// The receiving half of a peer. Dropping it disconnects the peer: subscriptions go, waiting callers get `PeerGone`.
#[derive(Debug)]
pub struct Mailbox {
    // Private, so that a closure cannot capture one queue and let the connection drop behind its owner's back.
    pub(crate) publications: mpsc::Receiver<Arc<Publication>>,
    pub(crate) calls: mpsc::Receiver<IncomingCall>,
    pub(crate) connection: Connection,
}

impl Mailbox {
    /// Messages that match a subscription, in the order of publishing.
    pub fn publications(&mut self) -> &mut mpsc::Receiver<Arc<Publication>> {
        &mut self.publications
    }

    /// Calls of this peer's methods, in the order of calling.
    pub fn calls(&mut self) -> &mut mpsc::Receiver<IncomingCall> {
        &mut self.calls
    }

    /// The queues and what keeps the peer connected, for queues that go to different tasks.
    #[must_use]
    pub fn into_parts(self) -> (mpsc::Receiver<Arc<Publication>>, mpsc::Receiver<IncomingCall>, Connection) {
        (self.publications, self.calls, self.connection)
    }
}

/// Keeps a peer connected for as long as it lives.
#[derive(Debug)]
pub struct Connection {
    pub(crate) bus: Weak<Inner>,
    pub(crate) identity: Identity,
    pub(crate) slot_id: u64,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(bus) = self.bus.upgrade() {
            bus.disconnect(&self.identity, Some(self.slot_id));
        }
    }
}

/// A call that a peer is to answer.
#[derive(Debug)]
pub struct IncomingCall {
    /// Who calls.
    pub from: Identity,
    /// The web user for whom the caller acts, if any.
    pub user: Option<Arc<str>>,
    /// What is called.
    pub request: RpcRequest,
    /// Where the answer goes; `None` for a notification.
    pub reply: Option<Reply>,
}

/// Answers one call. Dropping it unanswered gives the caller `PeerGone`.
#[derive(Debug)]
pub struct Reply(pub(crate) oneshot::Sender<Result<Value, RpcError>>);

impl Reply {
    /// Answers. An answer that nobody waits for any more is dropped.
    pub fn send(self, result: Result<Value, RpcError>) {
        // The caller gave up waiting; there is nobody left to tell.
        drop(self.0.send(result));
    }
}
