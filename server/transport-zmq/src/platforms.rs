//! Other platforms. Each platform keeps a dealer of its own to every other one and sends on it; what others send comes in at the endpoint
//! like any peer's messages. Source: vip-zmq.md §9, VOLTTRON `volttron/platform/vip/{routingservice,pubsubservice,externalrpcservice}.py`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use vt_backends::{Platform, PlatformLinks, PlatformState};
use vt_bus::{Bus, Delivery, PeerHandle, PeerInfo, PeerKind, RemoteMailbox, RemotePeer, Subscription};
use vt_types::identity::known;
use vt_types::timestamp::Timestamp;
use vt_types::{Clock, Identity, PublicKey, RpcError, RpcRequest, TopicPrefix};
use vt_vip::external_rpc::{self, Letter};
use vt_vip::frames::subsystem;
use vt_vip::rpc::{self, Decoded, Document};
use vt_vip::{Message, pubsub as vip_pubsub, routing_table, text};

use crate::config::KeyPair;
use crate::pubsub;
use crate::{Dealer, DealerConfig, DealerEvent};

/// Publications for one platform that wait for its link; when full, further ones are lost for it and counted by the bus.
const QUEUE_MAX: usize = 6000;
/// Calls of the platform's web service that wait for answers of other platforms; further ones are told that it is busy.
const CALLS_MAX: usize = 1024;
/// Deliveries encoded at once.
const DELIVERIES_AT_ONCE: usize = 64;

/// The links to other platforms.
pub struct Platforms {
    bus: Bus,
    our_name: String,
    keys: KeyPair,
    clock: Arc<dyn Clock>,
    links: RwLock<HashMap<String, Arc<Link>>>,
    calls: Mutex<HashMap<String, Waiting>>,
    next_call: AtomicU64,
}

/// A call that waits for its answer.
struct Waiting {
    platform: String,
    reply: oneshot::Sender<Result<Value, RpcError>>,
}

struct Link {
    platform: Platform,
    peer: PeerHandle,
    outgoing: mpsc::Sender<Message>,
    told: Arc<Told>,
    _stop: DropGuard,
}

/// What is known of a link; its task and everybody who asks share it.
#[derive(Default)]
struct Told {
    state: Mutex<State>,
    connects: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

#[derive(Default)]
struct State {
    is_connected: bool,
    since: Option<Timestamp>,
    heard_at: Option<Timestamp>,
    problem: Option<String>,
}

impl Platforms {
    /// No links yet. `keys` are the platform's own.
    #[must_use]
    pub fn new(bus: Bus, our_name: impl Into<String>, keys: KeyPair, clock: Arc<dyn Clock>) -> Self {
        let (links, calls, next_call) = (RwLock::default(), Mutex::default(), AtomicU64::new(0));
        Self { bus, our_name: our_name.into(), keys, clock, links, calls, next_call }
    }

    /// Makes the links exactly these; those that stay as they are stay connected. Our own name is left out. Must be called inside a
    /// runtime. Returns what could not be linked, with the reason.
    pub fn set(&self, platforms: Vec<Platform>) -> Vec<(Platform, String)> {
        let mut failed = Vec::new();
        let mut links = self.links.write();
        let names: HashSet<String> = platforms.iter().map(|platform| platform.name.clone()).collect();
        links.retain(|name, link| names.contains(name) && platforms.contains(&link.platform));
        for platform in platforms {
            if platform.name == self.our_name || links.contains_key(&platform.name) {
                continue;
            }
            match self.link(&platform) {
                Ok(link) => {
                    links.insert(platform.name.clone(), Arc::new(link));
                }
                Err(error) => failed.push((platform, error)),
            }
        }
        failed
    }

    /// The name of the platform that connects with this key.
    pub(crate) fn by_key(&self, key: &PublicKey) -> Option<String> {
        self.links.read().values().find(|link| link.platform.server_key == *key).map(|link| link.platform.name.clone())
    }

    /// Something came from a platform.
    pub(crate) fn heard(&self, name: &str) {
        if let Some(link) = self.links.read().get(name) {
            link.told.received.fetch_add(1, Relaxed);
            link.told.state.lock().heard_at = Some(self.clock.now());
        }
    }

    /// A platform says what it wants to get; replaces what it said before.
    pub(crate) fn wants(&self, name: &str, prefixes: &[TopicPrefix]) {
        let Some(link) = self.links.read().get(name).cloned() else { return };
        for held in link.peer.subscriptions() {
            if !prefixes.contains(&held.prefix) {
                link.peer.unsubscribe_from(&held);
            }
        }
        for prefix in prefixes {
            if let Err(error) = link.peer.subscribe_to(&Subscription::local(prefix.clone())) {
                tracing::warn!(platform = name, %error, "what another platform wants was refused");
                return;
            }
        }
    }

    /// Answers the greeting of a platform, on our own link to it.
    pub(crate) fn welcome(&self, name: &str) {
        let message = Message::new(Bytes::new(), Bytes::new(), subsystem::ROUTING_TABLE, routing_table::welcome(&self.our_name));
        if self.send(name, message).is_err() {
            tracing::debug!(platform = name, "a greeting could not be answered: there is no link to that platform");
        }
    }

    /// A platform has answered our greeting: it takes our list from now on.
    pub(crate) fn welcomed(&self, name: &str) {
        if let Some(link) = self.links.read().get(name) {
            // A full queue means that a list waits already.
            drop(link.outgoing.try_send(list(&self.bus, &self.our_name)));
        }
    }

    /// Sends a call or its answer to a peer of another platform.
    ///
    /// # Errors
    /// [`NoLink`].
    pub(crate) fn send_letter(&self, name: &str, id: Bytes, user: Bytes, letter: &Letter) -> Result<(), NoLink> {
        let args = external_rpc::encode(external_rpc::Operation::SendPeer, letter);
        self.send(name, Message { user, ..Message::new(Bytes::new(), id, subsystem::EXTERNAL_RPC, args) })
    }

    /// A letter of that platform has come for the web service: takes the answers to its calls out of it.
    pub(crate) fn answered(&self, platform: &str, letter: &Letter) {
        for document in &letter.documents {
            let Decoded::Single(Document::Response { id, result }) = rpc::decode(document.as_bytes()) else { continue };
            let mut calls = self.calls.lock();
            let id = id.as_text().unwrap_or_default();
            // Only who was asked answers.
            if calls.get(&*id).is_some_and(|call| call.platform == platform)
                && let Some(call) = calls.remove(&*id)
            {
                // Whoever gave up waiting has no use for it.
                call.reply.send(result).unwrap_or_default();
            }
        }
    }

    /// Our instance name.
    pub(crate) fn our_name(&self) -> &str {
        &self.our_name
    }

    fn send(&self, name: &str, message: Message) -> Result<(), NoLink> {
        let links = self.links.read();
        let link = links.get(name).filter(|link| link.told.state.lock().is_connected).ok_or(NoLink)?;
        link.outgoing.try_send(message).map_err(|_| NoLink)?;
        link.told.sent.fetch_add(1, Relaxed);
        Ok(())
    }

    fn link(&self, platform: &Platform) -> Result<Link, String> {
        let name = Identity::parse(&format!("instance.{}", platform.name)).map_err(|error| error.to_string())?;
        let config = DealerConfig::new(&platform.address, Some(platform.server_key), self.keys.clone(), name.clone());
        let dealer = Dealer::connect(DealerConfig { is_renamed: true, ..config }).map_err(|error| error.to_string())?;
        let remote = RemotePeer { identity: name, kind: PeerKind::Link, user_id: Arc::from(known::PLATFORM), queue_max: QUEUE_MAX };
        let (peer, mailbox) = self.bus.connect_remote(remote).map_err(|error| error.to_string())?;
        let (stop, told) = (CancellationToken::new(), Arc::<Told>::default());
        let task = Task {
            name: platform.name.clone(),
            our_name: self.our_name.clone(),
            bus: self.bus.clone(),
            clock: Arc::clone(&self.clock),
            told: Arc::clone(&told),
        };
        let outgoing = dealer.sender();
        let ended = stop.clone();
        // Owned by the link: it ends when the link is dropped.
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = task.run(dealer, mailbox) => {}
            }
        });
        Ok(Link { platform: platform.clone(), peer, outgoing, told, _stop: stop.drop_guard() })
    }
}

#[async_trait]
impl PlatformLinks for Platforms {
    fn states(&self) -> Vec<PlatformState> {
        let infos: HashMap<_, _> = self.bus.peer_infos().into_iter().map(|info| (info.identity.clone(), info)).collect();
        let mut states: Vec<_> = self.links.read().values().map(|link| link.state(infos.get(link.peer.identity()))).collect();
        states.sort_by(|a, b| a.platform.name.cmp(&b.platform.name));
        states
    }

    async fn call(&self, platform: &str, peer: &Identity, request: &RpcRequest, limit: Duration) -> Result<Value, RpcError> {
        let id = format!("web.{}", self.next_call.fetch_add(1, Relaxed));
        let document = rpc::encode_request(Some(&id), request);
        let letter = Letter {
            to_platform: platform.to_owned(),
            to_peer: peer.to_string(),
            from_platform: self.our_name.clone(),
            from_peer: known::PLATFORM_WEB.to_owned(),
            documents: vec![String::from_utf8_lossy(&document).into_owned()],
        };
        let (reply, answer) = oneshot::channel();
        {
            let mut calls = self.calls.lock();
            if calls.len() >= CALLS_MAX {
                return Err(RpcError::Busy(peer.clone()));
            }
            calls.insert(id.clone(), Waiting { platform: platform.to_owned(), reply });
        }
        let _forgotten = Forgotten { platforms: self, id: &id };
        let user = Bytes::from_static(known::PLATFORM_WEB.as_bytes());
        if self.send_letter(platform, Bytes::copy_from_slice(id.as_bytes()), user, &letter).is_err() {
            return Err(RpcError::UnknownPeer(peer.clone()));
        }
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(RpcError::PeerGone(peer.clone())),
            Err(_) => {
                let timeout_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                Err(RpcError::Timeout { peer: peer.clone(), method: request.method.clone(), timeout_ms })
            }
        }
    }
}

/// Whoever stops waiting, for whatever reason, leaves nothing behind.
struct Forgotten<'a> {
    platforms: &'a Platforms,
    id: &'a str,
}

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.platforms.calls.lock().remove(self.id);
    }
}

/// There is no connected link to that platform, or its queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoLink;

impl Link {
    fn state(&self, info: Option<&PeerInfo>) -> PlatformState {
        let state = self.told.state.lock();
        PlatformState {
            platform: self.platform.clone(),
            is_connected: state.is_connected,
            since: state.since,
            heard_at: state.heard_at,
            problem: state.problem.clone(),
            connects: self.told.connects.load(Relaxed),
            sent: self.told.sent.load(Relaxed),
            received: self.told.received.load(Relaxed),
            lost: info.map_or(0, |info| info.lost),
            wanted: info.map(|info| info.subscriptions.iter().map(|wanted| wanted.prefix.clone()).collect()).unwrap_or_default(),
        }
    }
}

/// What our peers want from other platforms.
fn list(bus: &Bus, our_name: &str) -> Message {
    let args = vip_pubsub::external_list(our_name, &bus.wanted_from_all_platforms());
    Message::new(Bytes::new(), Bytes::new(), subsystem::PUBSUB, args)
}

/// One link's life.
struct Task {
    name: String,
    our_name: String,
    bus: Bus,
    clock: Arc<dyn Clock>,
    told: Arc<Told>,
}

impl Task {
    async fn run(self, mut dealer: Dealer, mut mailbox: RemoteMailbox) {
        let mut wanted = self.bus.watch_wanted();
        let mut deliveries = Vec::with_capacity(DELIVERIES_AT_ONCE);
        loop {
            let is_connected = self.told.state.lock().is_connected;
            tokio::select! {
                event = dealer.next() => match event {
                    None => return,
                    Some(DealerEvent::Connected) => {
                        self.told.connects.fetch_add(1, Relaxed);
                        self.turn(true, None);
                        let hello = Message::new(Bytes::new(), Bytes::new(), subsystem::ROUTING_TABLE, routing_table::hello(&self.our_name));
                        for message in [hello, list(&self.bus, &self.our_name)] {
                            if dealer.send(message).await.is_err() {
                                return;
                            }
                        }
                    }
                    Some(DealerEvent::Disconnected(problem)) => self.turn(false, Some(problem)),
                    // Answers to what we send, and changes of the other side's peer list.
                    Some(DealerEvent::Message(_)) => {}
                },
                result = wanted.changed() => {
                    if result.is_err() {
                        return;
                    }
                    if is_connected && dealer.send(list(&self.bus, &self.our_name)).await.is_err() {
                        return;
                    }
                }
                // Without a connection they wait in the bus's queue, which counts what it has no room for.
                count = mailbox.receive(&mut deliveries, DELIVERIES_AT_ONCE), if is_connected => {
                    if count == 0 {
                        return;
                    }
                    for delivery in deliveries.drain(..) {
                        // What came from a third platform is not passed on: every platform has links of its own.
                        let Delivery::Publication(publication) = delivery else { continue };
                        if publication.is_external {
                            continue;
                        }
                        let args = vec![Bytes::from_static(b"external_publish"), text::topic_frame(&publication.topic), pubsub::payload(&publication)];
                        if dealer.send(Message::new(Bytes::new(), Bytes::new(), subsystem::PUBSUB, args)).await.is_err() {
                            return;
                        }
                        self.told.sent.fetch_add(1, Relaxed);
                    }
                }
            }
        }
    }

    fn turn(&self, is_connected: bool, problem: Option<String>) {
        let mut state = self.told.state.lock();
        if state.is_connected != is_connected || state.since.is_none() {
            state.since = Some(self.clock.now());
            tracing::info!(platform = self.name, is_connected, problem, "the link to another platform changed");
        }
        state.is_connected = is_connected;
        state.problem = problem;
    }
}
