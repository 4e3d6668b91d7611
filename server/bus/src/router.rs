//! The bus itself: who is connected and how each is reached. In-process agents and the transports of remote peers use the same handle;
//! the router tells them apart only in how they are handed things.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use tokio::sync::{Notify, broadcast, watch};
use vt_types::timestamp::Timestamp;
use vt_types::{Clock, Identity, Publication, TopicPrefix};

use crate::index::Index;
use crate::queue::{QueueSender, queue};
use crate::{
    BusStatistics, Config, ConnectError, Connection, Delivery, IncomingCall, Interceptor, Mailbox, PeerHandle, PeerInfo, PeerRef, Refusal,
    RemoteMailbox, Subscription,
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
    /// Our end of a link to another platform. It is in no peer list, for nobody may call it.
    Link,
}

/// Who a transport connects.
#[derive(Debug, Clone)]
pub struct RemotePeer {
    /// Its identity, which the transport has settled to be its own.
    pub identity: Identity,
    /// What sort of peer it is.
    pub kind: PeerKind,
    /// Its authenticated user id.
    pub user_id: Arc<str>,
    /// Deliveries that may wait for it; 0 for the configured number of publications.
    pub queue_max: usize,
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
    pub config: Config,
    clock: Arc<dyn Clock>,
    pub peers: RwLock<HashMap<Identity, Arc<Slot>>>,
    pub index: RwLock<Index>,
    interceptors: ArcSwap<Vec<Arc<dyn Interceptor>>>,
    events: broadcast::Sender<PeerEvent>,
    /// Counts changes of what is wanted from all platforms.
    pub wanted: watch::Sender<u64>,
    next_slot: AtomicU64,
    pub published: AtomicU64,
    pub delivered: AtomicU64,
    pub lost: AtomicU64,
    pub calls: AtomicU64,
    pub calls_failed: AtomicU64,
}

/// One connected peer as the router sees it.
pub(crate) struct Slot {
    pub id: u64,
    pub identity: Identity,
    pub kind: PeerKind,
    pub user_id: Arc<str>,
    connected_at: Timestamp,
    pub connected: AtomicBool,
    disconnected: Notify,
    pub inbox: Inbox,
    pub published: AtomicU64,
    pub delivered: AtomicU64,
    pub lost: AtomicU64,
}

/// Where things for a peer are put.
pub(crate) enum Inbox {
    Local { publications: QueueSender<Arc<Publication>>, calls: QueueSender<IncomingCall> },
    Remote(QueueSender<Delivery>),
}

impl Bus {
    /// An empty bus.
    #[must_use]
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Self {
        let (events, _) = broadcast::channel(config.peer_events_max.max(1));
        let (wanted, _) = watch::channel(0);
        Self {
            inner: Arc::new(Inner {
                config,
                clock,
                peers: RwLock::default(),
                index: RwLock::new(Index::new()),
                interceptors: ArcSwap::default(),
                events,
                wanted,
                next_slot: AtomicU64::new(1),
                published: AtomicU64::new(0),
                delivered: AtomicU64::new(0),
                lost: AtomicU64::new(0),
                calls: AtomicU64::new(0),
                calls_failed: AtomicU64::new(0),
            }),
        }
    }

    pub(crate) fn of(inner: Arc<Inner>) -> Self {
        Self { inner }
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
        let (publications_in, publications) = queue(publications_max, self.inner.config.queued_bytes_max);
        let (calls_in, calls) = queue(self.inner.config.calls_max, self.inner.config.queued_bytes_max);
        let user_id = Arc::from(identity.as_str());
        let inbox = Inbox::Local { publications: publications_in, calls: calls_in };
        let (slot, connection) = self.enter(identity, kind, user_id, inbox)?;
        let handle = PeerHandle::new(Arc::clone(&self.inner), slot);
        Ok((handle, Mailbox { publications, calls, connection }))
    }

    /// Connects a peer of another process for its transport.
    ///
    /// # Errors
    /// As [`Bus::connect`].
    pub fn connect_remote(&self, peer: RemotePeer) -> Result<(PeerHandle, RemoteMailbox), ConnectError> {
        let queue_max = if peer.queue_max == 0 { self.inner.config.publications_max } else { peer.queue_max };
        let (deliveries_in, deliveries) = queue(queue_max, self.inner.config.queued_bytes_max);
        let (slot, connection) = self.enter(peer.identity, peer.kind, peer.user_id, Inbox::Remote(deliveries_in))?;
        let handle = PeerHandle::new(Arc::clone(&self.inner), Arc::clone(&slot));
        Ok((handle, RemoteMailbox { deliveries, slot, connection }))
    }

    /// Puts a peer on the list.
    fn enter(&self, identity: Identity, kind: PeerKind, user_id: Arc<str>, inbox: Inbox) -> Result<(Arc<Slot>, Connection), ConnectError> {
        let is_remote = matches!(inbox, Inbox::Remote(_));
        self.inner
            .intercept(|policy| policy.on_connect(PeerRef { identity: &identity, kind, user_id: &user_id, is_remote, user: None }))?;
        let slot = Arc::new(Slot {
            id: self.inner.next_slot.fetch_add(1, Relaxed),
            identity: identity.clone(),
            kind,
            user_id,
            connected_at: self.inner.clock.now(),
            connected: AtomicBool::new(true),
            disconnected: Notify::new(),
            inbox,
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
        if kind != PeerKind::Link {
            self.inner.announce(PeerEvent::Connected(identity.clone()));
        }
        let connection = Connection { bus: Arc::downgrade(&self.inner), identity, slot_id: slot.id };
        Ok((slot, connection))
    }

    /// Disconnects whoever holds `identity`; for a peer that hangs. Its handles are dead from then on. Says whether there was one.
    pub fn disconnect(&self, identity: &Identity) -> bool {
        self.inner.disconnect(identity, None)
    }

    /// Identities of all connected peers, sorted.
    #[must_use]
    pub fn peers(&self) -> Vec<Identity> {
        let is_listed = |slot: &&Arc<Slot>| slot.kind != PeerKind::Link;
        let mut peers: Vec<_> = self.inner.peers.read().values().filter(is_listed).map(|slot| slot.identity.clone()).collect();
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
        let mut infos: Vec<_> = slots.iter().map(|slot| slot.info(index.subscriptions(slot.id).cloned().collect())).collect();
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

    /// Every prefix of the default bus that some peer wants from all platforms, sorted, each once.
    #[must_use]
    pub fn wanted_from_all_platforms(&self) -> Vec<TopicPrefix> {
        let index = self.inner.index.read();
        let mut prefixes: Vec<_> = index.all().filter(|wanted| wanted.all_platforms).map(|wanted| wanted.prefix.clone()).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes
    }

    /// Counts the changes of [`Bus::wanted_from_all_platforms`].
    #[must_use]
    pub fn watch_wanted(&self) -> watch::Receiver<u64> {
        self.inner.wanted.subscribe()
    }

    /// Every subscription of every peer; one that several peers have comes once.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<Subscription> {
        let mut all: Vec<_> = self.inner.index.read().all().cloned().collect();
        all.sort_unstable();
        all.dedup();
        all
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
        {
            let mut index = self.index.write();
            let wanted = index.subscriptions(slot.id).any(|subscription| subscription.all_platforms);
            index.remove_peer(slot.id);
            if wanted {
                self.wanted.send_modify(|count| *count += 1);
            }
        }
        slot.disconnected.notify_one();
        if slot.kind != PeerKind::Link {
            self.announce(PeerEvent::Disconnected(identity.clone()));
        }
        true
    }

    pub(crate) fn intercept(&self, ask: impl Fn(&dyn Interceptor) -> Result<(), Refusal>) -> Result<(), Refusal> {
        self.interceptors.load().iter().try_for_each(|policy| ask(policy.as_ref()))
    }

    pub(crate) fn guards(&self, callee: &Identity) -> bool {
        self.interceptors.load().iter().any(|policy| policy.guards(callee))
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
    /// Ends when the bus has disconnected the peer; for one waiter.
    pub(crate) async fn gone(&self) {
        while self.connected.load(Relaxed) {
            self.disconnected.notified().await;
        }
    }

    pub(crate) fn is_remote(&self) -> bool {
        matches!(self.inbox, Inbox::Remote(_))
    }

    /// Hands over a publication or counts it as lost; says which.
    pub(crate) fn offer(&self, publication: &Arc<Publication>) -> bool {
        let is_taken = match &self.inbox {
            Inbox::Local { publications, .. } => publications.try_send(Arc::clone(publication)).is_ok(),
            Inbox::Remote(deliveries) => deliveries.try_send(Delivery::Publication(Arc::clone(publication))).is_ok(),
        };
        let counter = if is_taken { &self.delivered } else { &self.lost };
        counter.fetch_add(1, Relaxed);
        is_taken
    }

    fn info(&self, subscriptions: Vec<Subscription>) -> PeerInfo {
        let (queue_max, free) = match &self.inbox {
            Inbox::Local { publications, .. } => publications.capacity(),
            Inbox::Remote(deliveries) => deliveries.capacity(),
        };
        PeerInfo {
            identity: self.identity.clone(),
            kind: self.kind,
            user_id: Arc::clone(&self.user_id),
            is_remote: self.is_remote(),
            connected_at: self.connected_at,
            published: self.published.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            lost: self.lost.load(Relaxed),
            queued: queue_max - free,
            queue_max,
            subscriptions,
        }
    }

    #[cfg(test)]
    pub(crate) fn for_tests(id: u64) -> Arc<Self> {
        let (deliveries, _) = queue(1, 1);
        Arc::new(Self {
            id,
            identity: Identity::known("test"),
            kind: PeerKind::Agent,
            user_id: Arc::from("test"),
            connected_at: Timestamp::default(),
            connected: AtomicBool::new(true),
            disconnected: Notify::new(),
            inbox: Inbox::Remote(deliveries),
            published: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        })
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("identity", &self.identity).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
