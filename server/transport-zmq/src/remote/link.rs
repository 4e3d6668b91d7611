//! One link: a task that connects, greets, finds who waits for what comes, and connects again; and the handle that many use.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use vt_backends::{LinkError, LinkState, Outgoing, RemoteLink};
use vt_types::{Identity, RpcError, RpcRequest};
use vt_vip::frames::subsystem;
use vt_vip::rpc::{self, Decoded, Document};
use vt_vip::{Message, json, pubsub, router, text};

use super::answer::{self, Answer};
use super::{RETRY_MAX, RETRY_MIN};
use crate::{Dealer, DealerConfig, DealerEvent};

/// Questions that wait for an answer at most; further ones are told that the other platform is busy.
const WAITING_MAX: usize = 4096;
/// How long the other side may leave a handshake unanswered before that is told; it stays open all the same.
const UNANSWERED: Duration = Duration::from_secs(3);
/// How long the router may take to greet. VOLTTRON's agents wait as long.
const WELCOME_LIMIT: Duration = Duration::from_secs(10);

/// The handle.
pub struct Link(Arc<Shared>);

struct Shared {
    identity: Identity,
    state: watch::Sender<LinkState>,
    wire: Mutex<Wire>,
    next_id: AtomicU64,
    again: Notify,
    stop: CancellationToken,
}

#[derive(Default)]
struct Wire {
    /// Where messages go while there is a connection.
    sender: Option<mpsc::Sender<Message>>,
    waiting: HashMap<Bytes, oneshot::Sender<Result<Answer, LinkError>>>,
}

impl Link {
    /// Begins to connect. Must be called inside a runtime.
    pub fn start(config: DealerConfig) -> Self {
        let shared = Arc::new(Shared {
            identity: config.identity.clone(),
            state: watch::Sender::new(LinkState::Connecting),
            wire: Mutex::default(),
            next_id: AtomicU64::new(0),
            again: Notify::new(),
            stop: CancellationToken::new(),
        });
        let (task, stop) = (Arc::clone(&shared), shared.stop.clone());
        // Owned by the link: it ends when the link is closed or dropped.
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = run(&task, config) => {}
            }
            task.lost(&LinkError::Closed);
        });
        Self(shared)
    }

    async fn ask(&self, limit: Duration, message: impl FnOnce(Bytes) -> Message) -> Result<Answer, LinkError> {
        let shared = &self.0;
        let id = Bytes::from(format!("link.{}", shared.next_id.fetch_add(1, Relaxed)));
        let (reply, answer) = oneshot::channel();
        let sender = {
            let mut wire = shared.wire.lock();
            let Some(sender) = wire.sender.clone() else { return Err(shared.down()) };
            if wire.waiting.len() >= WAITING_MAX {
                return Err(LinkError::Busy(shared.identity.clone()));
            }
            wire.waiting.insert(id.clone(), reply);
            sender
        };
        // Whoever stops waiting, for whatever reason, leaves nothing behind.
        let _forgotten = Waiting { shared, id: id.clone() };
        let exchange = async {
            // The queue ends with its connection.
            sender.send(message(id)).await.map_err(|_| shared.down())?;
            answer.await.unwrap_or_else(|_| Err(shared.down()))
        };
        tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| Err(LinkError::timeout(limit)))
    }
}

struct Waiting<'a> {
    shared: &'a Shared,
    id: Bytes,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.wire.lock().waiting.remove(&self.id);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

#[async_trait]
impl RemoteLink for Link {
    fn state(&self) -> LinkState {
        self.0.state.borrow().clone()
    }

    async fn changed(&self, seen: &LinkState) -> LinkState {
        let mut states = self.0.state.subscribe();
        let changed = states.wait_for(|state| state != seen).await.map(|state| state.clone());
        // The sender lives as long as this link.
        changed.unwrap_or(LinkState::Down(LinkError::Closed))
    }

    async fn publish(&self, message: &Outgoing, limit: Duration) -> Result<u64, LinkError> {
        let headers = json::to_ascii(&Value::Object(message.headers.clone()));
        let body = json::to_ascii(&message.message);
        let args = pubsub::publish(&text::topic_frame(&message.topic), "", headers.as_bytes(), body.as_bytes());
        match self.ask(limit, |id| Message::new(Bytes::new(), id, subsystem::PUBSUB, args)).await? {
            Answer::Count(count) => Ok(count),
            _ => Err(odd()),
        }
    }

    async fn call(&self, peer: &Identity, request: &RpcRequest, limit: Duration) -> Result<Value, LinkError> {
        let to = Bytes::copy_from_slice(peer.as_str().as_bytes());
        let message = |id: Bytes| {
            let document = rpc::encode_request(str::from_utf8(&id).ok(), request);
            Message::new(to, id, subsystem::RPC, vec![document])
        };
        match self.ask(limit, message).await? {
            Answer::Value(value) => Ok(value),
            _ => Err(odd()),
        }
    }

    async fn ping(&self, limit: Duration) -> Result<(), LinkError> {
        self.ask(limit, |id| Message::new(Bytes::new(), id, subsystem::PING, vec![Bytes::from_static(b"ping")])).await.map(drop)
    }

    fn reconnect(&self) {
        self.0.again.notify_one();
    }

    fn close(&self) {
        self.0.stop.cancel();
    }
}

fn odd() -> LinkError {
    LinkError::Refused("the answer does not fit the question".to_owned())
}

impl Shared {
    fn down(&self) -> LinkError {
        match &*self.state.borrow() {
            LinkState::Down(error) => error.clone(),
            LinkState::Connecting | LinkState::Connected { .. } => LinkError::Unreachable("not connected at present".to_owned()),
        }
    }

    fn set(&self, state: LinkState) {
        self.state.send_if_modified(|held| {
            let is_new = *held != state;
            if is_new {
                *held = state;
            }
            is_new
        });
    }

    /// Ends the connection: the state first, so that whoever is told finds it.
    fn lost(&self, error: &LinkError) {
        self.set(LinkState::Down(error.clone()));
        let waiting = std::mem::take(&mut *self.wire.lock()).waiting;
        for (_, reply) in waiting {
            // Whoever gave up waiting has no use for it.
            reply.send(Err(error.clone())).unwrap_or_default();
        }
    }
}

async fn run(shared: &Shared, config: DealerConfig) {
    let mut wait = RETRY_MIN;
    loop {
        let mut was_connected = false;
        let error = connection(shared, &config, &mut was_connected).await;
        if shared.state.borrow().clone() != LinkState::Down(error.clone()) {
            tracing::warn!(%error, address = config.address, "there is no link to the other platform; it is tried again");
        }
        shared.lost(&error);
        if was_connected {
            wait = RETRY_MIN;
        }
        tokio::select! {
            () = tokio::time::sleep(wait + jitter(wait / 2)) => {}
            () = shared.again.notified() => {}
        }
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// Between nothing and `most`.
fn jitter(most: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    most.mul_f64((random % 1000) as f64 / 1000.0)
}

/// One connection from its beginning to its end; says why it ended.
async fn connection(shared: &Shared, config: &DealerConfig, was_connected: &mut bool) -> LinkError {
    let mut dealer = match Dealer::connect(config.clone()) {
        Ok(dealer) => dealer,
        Err(error) => return LinkError::Address(error.to_string()),
    };
    let hello = Bytes::from(format!("link.hello.{}", shared.next_id.fetch_add(1, Relaxed)));
    let mut deadline = std::pin::pin!(tokio::time::sleep(UNANSWERED));
    let (mut is_open, mut is_greeted, mut is_late) = (false, false, false);
    loop {
        let event = tokio::select! {
            event = dealer.next() => event,
            () = shared.again.notified() => return LinkError::Unreachable("it fell silent; a new connection is made".to_owned()),
            () = &mut deadline, if !is_greeted && !is_late => {
                if is_open {
                    return LinkError::NotServed(shared.identity.clone());
                }
                // The attempt goes on: whoever approves the key lets it in.
                is_late = true;
                if dealer.is_unanswered() {
                    shared.lost(&LinkError::NotApproved(config.keys.public));
                }
                continue;
            }
        };
        match event {
            Some(DealerEvent::Connected) => {
                (is_open, is_late) = (true, false);
                deadline.as_mut().reset(tokio::time::Instant::now() + WELCOME_LIMIT);
                if dealer.send(router::hello(hello.clone())).await.is_err() {
                    return LinkError::Unreachable("the connection ended at once".to_owned());
                }
            }
            Some(DealerEvent::Disconnected(_)) if dealer.is_unanswered() => return LinkError::NotApproved(config.keys.public),
            Some(DealerEvent::Disconnected(reason)) => return LinkError::Unreachable(reason),
            Some(DealerEvent::Message(message)) => match answer::read(&message) {
                Some((id, Ok(Answer::Welcome(run)))) if id == hello => {
                    (is_greeted, *was_connected) = (true, true);
                    shared.wire.lock().sender = Some(dealer.sender());
                    tracing::info!(address = config.address, "the other platform is connected");
                    shared.set(LinkState::Connected { run });
                }
                Some((id, result)) => {
                    let reply = shared.wire.lock().waiting.remove(&id);
                    // Whoever gave up waiting has no use for it.
                    reply.map(|reply| reply.send(result).unwrap_or_default()).unwrap_or_default();
                }
                None => {
                    for answer in questions(&message) {
                        if dealer.send(answer).await.is_err() {
                            return LinkError::Unreachable("the connection ended".to_owned());
                        }
                    }
                }
            },
            None => return LinkError::Closed,
        }
    }
}

/// What peers there ask of us gets an answer, so that nobody waits: we are here, and offer no methods.
fn questions(message: &Message) -> Vec<Message> {
    if message.subsystem != subsystem::RPC {
        return Vec::new();
    }
    let answers = message.args.iter().filter_map(|arg| match rpc::decode(arg) {
        Decoded::Single(Document::Request { id: Some(id), request }) => {
            Some(rpc::encode_response(&id, &Err(RpcError::MethodNotFound(request.method))))
        }
        _ => None,
    });
    let args: Vec<Bytes> = answers.collect();
    if args.is_empty() { Vec::new() } else { vec![Message::new(message.peer.clone(), message.id.clone(), subsystem::RPC, args)] }
}
