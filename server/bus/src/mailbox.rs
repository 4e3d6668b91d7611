//! What a peer receives: publications and calls, in two bounded queues, so that a flood of the former never delays the latter.

use std::sync::{Arc, Weak};

use serde_json::Value;
use tokio::sync::oneshot;
use vt_types::{Envelope, Identity, Publication, RpcError, RpcRequest};

use crate::Queue;
use crate::router::{Inner, Slot};

/// The receiving half of a peer. Dropping it disconnects the peer: subscriptions go, waiting callers get `PeerGone`.
#[derive(Debug)]
pub struct Mailbox {
    // Private, so that a closure cannot capture one queue and let the connection drop behind its owner's back.
    pub(crate) publications: Queue<Arc<Publication>>,
    pub(crate) calls: Queue<IncomingCall>,
    pub(crate) connection: Connection,
}

impl Mailbox {
    /// Messages that match a subscription, in the order of publishing.
    pub fn publications(&mut self) -> &mut Queue<Arc<Publication>> {
        &mut self.publications
    }

    /// Calls of this peer's methods, in the order of calling.
    pub fn calls(&mut self) -> &mut Queue<IncomingCall> {
        &mut self.calls
    }

    /// The queues and what keeps the peer connected, for queues that go to different tasks.
    #[must_use]
    pub fn into_parts(self) -> (Queue<Arc<Publication>>, Queue<IncomingCall>, Connection) {
        (self.publications, self.calls, self.connection)
    }
}

/// Something for a remote peer.
#[derive(Debug)]
pub enum Delivery {
    /// A message that matches a subscription.
    Publication(Arc<Publication>),
    /// A call by an in-process peer.
    Call(IncomingCall),
    /// What another remote peer sends.
    Envelope(Envelope),
}

/// The receiving half of a remote peer: everything in one bounded queue, so that the order in which it was sent is kept. Dropping it
/// disconnects the peer.
#[derive(Debug)]
pub struct RemoteMailbox {
    pub(crate) deliveries: Queue<Delivery>,
    pub(crate) slot: Arc<Slot>,
    pub(crate) connection: Connection,
}

impl RemoteMailbox {
    /// Waits for deliveries and appends up to `most` of them to `into`. Returns 0 once the bus has disconnected the peer; what is still
    /// queued then is lost with it. Cancel-safe.
    pub async fn receive(&mut self, into: &mut Vec<Delivery>, most: usize) -> usize {
        tokio::select! {
            biased;
            count = self.deliveries.recv_many(into, most) => count,
            () = self.slot.gone() => 0,
        }
    }

    /// Appends what waits already, up to `most`.
    pub fn receive_now(&mut self, into: &mut Vec<Delivery>, most: usize) {
        while into.len() < most {
            let Ok(delivery) = self.deliveries.try_recv() else { return };
            into.push(delivery);
        }
    }

    /// The peer that this is the mailbox of.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.connection.identity
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
    /// The caller's authenticated user id, by which rights are decided; the identity itself for in-process peers.
    pub user_id: Arc<str>,
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

    /// Whether nobody waits for the answer any more.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }
}
