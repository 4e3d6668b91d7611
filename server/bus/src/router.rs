//! The bus itself and the handle through which a peer speaks. In-process agents and the transports of remote peers use the same handle;
//! the router cannot tell them apart.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc, oneshot};
use vt_types::timestamp::Timestamp;
use vt_types::{Clock, Headers, Identity, Publication, RpcError, RpcRequest, Topic, TopicPrefix};

use crate::index::Index;
use crate::{
    BusStatistics, Config, ConnectError, Connection, IncomingCall, Interceptor, Mailbox, PeerInfo, PeerRef, PublishError, Refusal, Reply,
    SubscribeError,
};

/// What sort of peer is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerKind {
    /// An installed agent, in-process or not.
    Agent,
    /// A service of the platform.
    Service,
    /// A tool, such as `vctl`.
    Tool,
}

/// A change of the peer list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// A peer connected.
    Connected(Identity),
    /// A peer is gone.
    Disconnected(Identity),
}

/// The router. Cheap to clone; all clones are the same bus.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    config: Config,
    clock: Arc<dyn Clock>,
    peers: RwLock<HashMap<Identity, Arc<Slot>>>,
    index: RwLock<Index>,
    interceptors: ArcSwap<Vec<Arc<dyn Interceptor>>>,
    events: broadcast::Sender<PeerEvent>,
    next_slot: AtomicU64,
    published: AtomicU64,
    delivered: AtomicU64,
    lost: AtomicU64,
    calls: AtomicU64,
    calls_failed: AtomicU64,
}

/// One connected peer as the router sees it.
pub(crate) struct Slot {
    pub id: u64,
    identity: Identity,
    kind: PeerKind,
    connected_at: Timestamp,
    connected: AtomicBool,
    publications: mpsc::Sender<Arc<Publication>>,
    calls: mpsc::Sender<IncomingCall>,
    published: AtomicU64,
    delivered: AtomicU64,
    lost: AtomicU64,
}

impl Bus {
    /// An empty bus.
    #[must_use]
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Self {
        let (events, _) = broadcast::channel(config.peer_events_max.max(1));
        Self {
            inner: Arc::new(Inner {
                config,
                clock,
                peers: RwLock::default(),
                index: RwLock::new(Index::new()),
                interceptors: ArcSwap::default(),
                events,
                next_slot: AtomicU64::new(1),
                published: AtomicU64::new(0),
                delivered: AtomicU64::new(0),
                lost: AtomicU64::new(0),
                calls: AtomicU64::new(0),
                calls_failed: AtomicU64::new(0),
            }),
        }
    }

    /// Sets the policy; it holds from the next operation on. Interceptors are asked in order, the first refusal wins.
    pub fn set_interceptors(&self, interceptors: Vec<Arc<dyn Interceptor>>) {
        self.inner.interceptors.store(Arc::new(interceptors));
    }

    /// Connects a peer.
    ///
    /// # Errors
    /// [`ConnectError::InUse`] for an identity that is connected, [`ConnectError::Full`], or a refusal.
    pub fn connect(&self, identity: Identity, kind: PeerKind) -> Result<(PeerHandle, Mailbox), ConnectError> {
        self.connect_with_queue(identity, kind, self.inner.config.publications_max)
    }

    /// Connects a peer whose publication queue holds `publications_max` messages instead of the configured number; for peers that take in
    /// bursts, such as historians.
    ///
    /// # Errors
    /// As [`Bus::connect`].
    pub fn connect_with_queue(
        &self,
        identity: Identity,
        kind: PeerKind,
        publications_max: usize,
    ) -> Result<(PeerHandle, Mailbox), ConnectError> {
        self.inner.intercept(|policy| policy.on_connect(PeerRef { identity: &identity, kind, user: None }))?;
        let (publications_in, publications) = mpsc::channel(publications_max.max(1));
        let (calls_in, calls) = mpsc::channel(self.inner.config.calls_max.max(1));
        let slot = Arc::new(Slot {
            id: self.inner.next_slot.fetch_add(1, Relaxed),
            identity: identity.clone(),
            kind,
            connected_at: self.inner.clock.now(),
            connected: AtomicBool::new(true),
            publications: publications_in,
            calls: calls_in,
            published: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        {
            let mut peers = self.inner.peers.write();
            if peers.contains_key(&identity) {
                return Err(ConnectError::InUse(identity));
            }
            if peers.len() >= self.inner.config.peers_max {
                return Err(ConnectError::Full(self.inner.config.peers_max));
            }
            peers.insert(identity.clone(), Arc::clone(&slot));
        }
        self.inner.announce(PeerEvent::Connected(identity.clone()));
        let connection = Connection { bus: Arc::downgrade(&self.inner), identity, slot_id: slot.id };
        let handle = PeerHandle { bus: Arc::clone(&self.inner), slot, user: None };
        Ok((handle, Mailbox { publications, calls, connection }))
    }

    /// Disconnects whoever holds `identity`; for a peer that hangs. Its handles are dead from then on. Says whether there was one.
    pub fn disconnect(&self, identity: &Identity) -> bool {
        self.inner.disconnect(identity, None)
    }

    /// Identities of all connected peers, sorted.
    #[must_use]
    pub fn peers(&self) -> Vec<Identity> {
        let mut peers: Vec<_> = self.inner.peers.read().keys().cloned().collect();
        peers.sort_unstable();
        peers
    }

    /// Whether a peer is connected under `identity`.
    #[must_use]
    pub fn is_connected(&self, identity: &Identity) -> bool {
        self.inner.peers.read().contains_key(identity)
    }

    /// What is known of each peer, sorted by identity.
    #[must_use]
    pub fn peer_infos(&self) -> Vec<PeerInfo> {
        let slots: Vec<_> = self.inner.peers.read().values().cloned().collect();
        let index = self.inner.index.read();
        let mut infos: Vec<_> = slots.iter().map(|slot| slot.info(index.prefixes(slot.id))).collect();
        infos.sort_unstable_by(|a, b| a.identity.cmp(&b.identity));
        infos
    }

    /// Counters.
    #[must_use]
    pub fn statistics(&self) -> BusStatistics {
        let inner = &self.inner;
        BusStatistics {
            published: inner.published.load(Relaxed),
            delivered: inner.delivered.load(Relaxed),
            lost: inner.lost.load(Relaxed),
            calls: inner.calls.load(Relaxed),
            calls_failed: inner.calls_failed.load(Relaxed),
            peers: inner.peers.read().len() as u64,
        }
    }

    /// Changes of the peer list from now on.
    #[must_use]
    pub fn peer_events(&self) -> broadcast::Receiver<PeerEvent> {
        self.inner.events.subscribe()
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("statistics", &self.statistics()).finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn disconnect(&self, identity: &Identity, only_slot: Option<u64>) -> bool {
        let slot = {
            let mut peers = self.peers.write();
            match peers.get(identity) {
                Some(slot) if only_slot.is_none_or(|id| id == slot.id) => peers.remove(identity),
                _ => None,
            }
        };
        let Some(slot) = slot else { return false };
        slot.connected.store(false, Relaxed);
        self.index.write().remove_peer(slot.id);
        self.announce(PeerEvent::Disconnected(identity.clone()));
        true
    }

    fn intercept(&self, ask: impl Fn(&dyn Interceptor) -> Result<(), Refusal>) -> Result<(), Refusal> {
        self.interceptors.load().iter().try_for_each(|policy| ask(policy.as_ref()))
    }

    fn announce(&self, event: PeerEvent) {
        // An error means that nobody observes, which is fine.
        drop(self.events.send(event));
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

impl Slot {
    fn info(&self, subscriptions: Vec<TopicPrefix>) -> PeerInfo {
        let queue_max = self.publications.max_capacity();
        PeerInfo {
            identity: self.identity.clone(),
            kind: self.kind,
            connected_at: self.connected_at,
            published: self.published.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            lost: self.lost.load(Relaxed),
            queued: queue_max - self.publications.capacity(),
            queue_max,
            subscriptions,
        }
    }

    #[cfg(test)]
    pub(crate) fn for_tests(id: u64) -> Arc<Self> {
        let (publications, _) = mpsc::channel(1);
        let (calls, _) = mpsc::channel(1);
        Arc::new(Self {
            id,
            identity: Identity::known("test"),
            kind: PeerKind::Agent,
            connected_at: Timestamp::default(),
            connected: AtomicBool::new(true),
            publications,
            calls,
            published: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        })
    }
}

/// The sending half of a peer. Cheap to clone. Dead once the peer's [`Mailbox`] is dropped or the bus disconnected it.
#[derive(Clone)]
pub struct PeerHandle {
    bus: Arc<Inner>,
    slot: Arc<Slot>,
    user: Option<Arc<str>>,
}

impl PeerHandle {
    /// The peer's identity.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.slot.identity
    }

    /// The bus that it is connected to.
    #[must_use]
    pub fn bus(&self) -> Bus {
        Bus { inner: Arc::clone(&self.bus) }
    }

    /// The same peer, acting for a web user; callees and interceptors see the name.
    #[must_use]
    pub fn on_behalf_of(&self, user: &str) -> Self {
        Self { user: Some(Arc::from(user)), ..self.clone() }
    }

    /// Publications of this peer that were lost so far because its queue was full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.slot.lost.load(Relaxed)
    }

    /// Publishes; returns the number of subscribers that match. Never waits. Headers go out as given.
    ///
    /// # Errors
    /// [`PublishError`] if refused or no longer connected; then nobody got the message.
    pub fn publish(&self, topic: &Topic, headers: Headers, message: impl Into<Arc<Value>>) -> Result<usize, PublishError> {
        if !self.slot.connected.load(Relaxed) {
            return Err(PublishError::NotConnected(self.identity().clone()));
        }
        self.bus.intercept(|policy| policy.on_publish(self.peer_ref(), topic))?;
        let publication =
            Arc::new(Publication { sender: self.slot.identity.clone(), topic: topic.clone(), headers, message: message.into() });
        let (mut matched, mut lost) = (0_usize, 0_u64);
        self.bus.index.read().for_each_match(topic.as_str(), |slot| {
            matched += 1;
            if slot.publications.try_send(Arc::clone(&publication)).is_ok() {
                slot.delivered.fetch_add(1, Relaxed);
            } else {
                slot.lost.fetch_add(1, Relaxed);
                lost += 1;
            }
        });
        self.slot.published.fetch_add(1, Relaxed);
        self.bus.published.fetch_add(1, Relaxed);
        self.bus.delivered.fetch_add(matched as u64 - lost, Relaxed);
        if lost > 0 {
            self.bus.lost.fetch_add(lost, Relaxed);
        }
        Ok(matched)
    }

    /// Subscribes; repeating a prefix changes nothing. Messages published before this returns are not delivered.
    ///
    /// # Errors
    /// [`SubscribeError`] if refused, at the bound, or no longer connected.
    pub fn subscribe(&self, prefix: &TopicPrefix) -> Result<(), SubscribeError> {
        self.bus.intercept(|policy| policy.on_subscribe(self.peer_ref(), prefix))?;
        let mut index = self.bus.index.write();
        // Read under the lock: a peer that is being disconnected must not leave a subscription behind.
        if !self.slot.connected.load(Relaxed) {
            return Err(SubscribeError::NotConnected(self.identity().clone()));
        }
        if index.count(self.slot.id) >= self.bus.config.subscriptions_max {
            return Err(SubscribeError::TooMany(self.bus.config.subscriptions_max));
        }
        index.insert(&self.slot, prefix);
        Ok(())
    }

    /// Ends a subscription; says whether there was one.
    pub fn unsubscribe(&self, prefix: &TopicPrefix) -> bool {
        self.bus.index.write().remove(self.slot.id, prefix)
    }

    /// Calls a method of `callee`. Never waits itself; await the [`PendingReply`], with a time limit.
    ///
    /// # Errors
    /// `UnknownPeer`, `Refused`, `Busy`, or `PeerGone` if this peer itself is no longer connected.
    pub fn call(&self, callee: &Identity, request: RpcRequest) -> Result<PendingReply, RpcError> {
        let (reply, answer) = oneshot::channel();
        self.send_call(callee, request, Some(Reply(reply)))?;
        Ok(PendingReply { callee: callee.clone(), answer })
    }

    /// Calls a method without wanting an answer.
    ///
    /// # Errors
    /// As [`PeerHandle::call`].
    pub fn notify(&self, callee: &Identity, request: RpcRequest) -> Result<(), RpcError> {
        self.send_call(callee, request, None)
    }

    fn send_call(&self, callee: &Identity, request: RpcRequest, reply: Option<Reply>) -> Result<(), RpcError> {
        let result = self.try_send_call(callee, request, reply);
        let counter = if result.is_ok() { &self.bus.calls } else { &self.bus.calls_failed };
        counter.fetch_add(1, Relaxed);
        result
    }

    fn try_send_call(&self, callee: &Identity, request: RpcRequest, reply: Option<Reply>) -> Result<(), RpcError> {
        if !self.slot.connected.load(Relaxed) {
            return Err(RpcError::PeerGone(self.identity().clone()));
        }
        let calls = match self.bus.peers.read().get(callee) {
            Some(slot) => slot.calls.clone(),
            None => return Err(RpcError::UnknownPeer(callee.clone())),
        };
        self.bus.intercept(|policy| policy.on_call(self.peer_ref(), callee, &request)).map_err(|refusal| RpcError::Refused(refusal.0))?;
        let call = IncomingCall { from: self.identity().clone(), user: self.user.clone(), request, reply };
        calls.try_send(call).map_err(|error| match error {
            TrySendError::Full(_) => RpcError::Busy(callee.clone()),
            TrySendError::Closed(_) => RpcError::PeerGone(callee.clone()),
        })
    }

    fn peer_ref(&self) -> PeerRef<'_> {
        PeerRef { identity: &self.slot.identity, kind: self.slot.kind, user: self.user.as_deref() }
    }
}

impl fmt::Debug for PeerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerHandle").field("identity", self.identity()).field("user", &self.user).finish_non_exhaustive()
    }
}

/// The answer to a call, when it comes. Dropping it gives up.
#[derive(Debug)]
pub struct PendingReply {
    callee: Identity,
    answer: oneshot::Receiver<Result<Value, RpcError>>,
}

impl Future for PendingReply {
    type Output = Result<Value, RpcError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.answer).poll(context) {
            Poll::Ready(Ok(result)) => Poll::Ready(result),
            Poll::Ready(Err(_)) => Poll::Ready(Err(RpcError::PeerGone(self.callee.clone()))),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
