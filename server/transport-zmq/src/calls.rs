//! Calls between a peer in another process and peers in this one, in both directions. Calls between two remote peers are not looked at
//! here, unless their callee is guarded. Source: vip-zmq.md §4, VOLTTRON `volttron/platform/vip/agent/subsystems/rpc.py`.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::Value;
use vt_bus::{IncomingCall, PeerHandle, Reply};
use vt_types::{Identity, RpcError, RpcRequest};
use vt_vip::error::Report;
use vt_vip::frames::subsystem;
use vt_vip::rpc::{self, Decoded, Document, RawId};
use vt_vip::{Message, error as vip_error};

use crate::Config;

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An answer under the name that was addressed, which may be another name of the peer that answers.
pub fn from_addressed(message: &Message, args: Vec<Bytes>) -> Message {
    Message { peer: message.peer.clone(), ..message.answer(args) }
}

/// Ids of calls that come from this process. Text that no client takes for a number.
const OWN_ID: &str = "srv.";

/// The calls of one session that wait for something.
pub struct Calls {
    calls_max: usize,
    calls_bytes_max: usize,
    call_limit: Duration,
    /// Of the peer, to this process: end with what it gets, and the bytes that it took until then.
    running: FuturesUnordered<Answer<(Option<Message>, usize)>>,
    running_bytes: usize,
    /// Of this process, to the peer: by number.
    waiting: HashMap<u64, Waiting>,
    next_id: u64,
}

struct Waiting {
    caller: Identity,
    method: String,
    reply: Reply,
}

impl Calls {
    pub fn new(config: &Config) -> Self {
        Self {
            calls_max: config.calls_max,
            calls_bytes_max: config.calls_bytes_max,
            call_limit: config.call_limit,
            running: FuturesUnordered::new(),
            running_bytes: 0,
            waiting: HashMap::new(),
            next_id: 0,
        }
    }

    /// The next answer for the peer. Cancel-safe.
    pub async fn next(&mut self) -> Message {
        loop {
            let Some((message, bytes)) = self.running.next().await else { return std::future::pending().await };
            self.running_bytes -= bytes;
            if let Some(message) = message {
                return message;
            }
        }
    }

    /// Runs something beside the session that ends with it and gives the peer nothing. Left out while too much runs already.
    pub fn run(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        if self.running.len() < self.calls_max {
            self.running.push(Box::pin(async move {
                task.await;
                (None, 0)
            }));
        }
    }

    /// Forgets everything: whoever waits for the peer is told that it is gone.
    pub fn abandon(&mut self) {
        self.running.clear();
        self.running_bytes = 0;
        self.waiting.clear();
    }

    /// Takes the documents of a message to a peer in this process.
    pub fn take(&mut self, peer: &PeerHandle, to: &Identity, message: Message, out: &mut Vec<Message>) {
        let mut answers: Vec<Answer<Option<Bytes>>> = Vec::new();
        for arg in &message.args {
            match rpc::decode(arg) {
                Decoded::Single(document) => answers.extend(self.document(peer, to, document)),
                Decoded::Batch(documents) => {
                    let parts: Vec<_> = documents.into_iter().filter_map(|document| self.document(peer, to, document)).collect();
                    answers.push(Box::pin(async move {
                        let parts: Vec<Bytes> = join_all(parts).await.into_iter().flatten().collect();
                        rpc::encode_batch(&parts)
                    }));
                }
            }
        }
        if answers.is_empty() {
            return;
        }
        let bytes: usize = message.args.iter().map(Bytes::len).sum();
        let is_too_much = self.running_bytes > 0 && self.running_bytes + bytes > self.calls_bytes_max;
        if is_too_much || self.running.len() >= self.calls_max {
            out.push(vip_error::message(&message, &vip_error::Failure::Busy { peer: message.peer.clone() }));
            return;
        }
        self.running_bytes += bytes;
        self.running.push(Box::pin(async move {
            let args = join_all(answers).await.into_iter().flatten().collect();
            (Some(from_addressed(&message, args)), bytes)
        }));
    }

    /// One document; what is to be answered, if anything.
    fn document(&mut self, peer: &PeerHandle, to: &Identity, document: Document) -> Option<Answer<Option<Bytes>>> {
        match document {
            Document::Request { id: Some(id), request } => Some(self.call(peer, to, id, request)),
            Document::Request { id: None, request } => {
                if let Err(error) = peer.notify(to, request) {
                    tracing::debug!(from = %peer.identity(), %to, %error, "a notification was not taken");
                }
                None
            }
            Document::Response { id, result } => {
                self.resolve(to, &id, result);
                None
            }
            Document::Invalid { id, error } => {
                let answer = rpc::encode_invalid(&id.unwrap_or_else(RawId::null), &error);
                Some(Box::pin(std::future::ready(Some(answer))))
            }
        }
    }

    fn call(&self, peer: &PeerHandle, to: &Identity, id: RawId, request: RpcRequest) -> Answer<Option<Bytes>> {
        let (limit, method, callee) = (self.call_limit, request.method.clone(), to.clone());
        let pending = peer.call(to, request);
        Box::pin(async move {
            let result = match pending {
                Ok(pending) => tokio::time::timeout(limit, pending).await.unwrap_or_else(|_| {
                    let timeout_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                    Err(RpcError::Timeout { peer: callee, method, timeout_ms })
                }),
                Err(error) => Err(error),
            };
            Some(rpc::encode_response(&id, &result))
        })
    }

    /// Asks the policy about the calls in a message to another remote peer. One that is refused is answered here, and nothing of the
    /// message is passed on.
    pub fn may_pass(&self, peer: &PeerHandle, to: &Identity, message: &Message, out: &mut Vec<Message>) -> bool {
        let documents = message.args.iter().flat_map(|arg| match rpc::decode(arg) {
            Decoded::Single(document) => vec![document],
            Decoded::Batch(documents) => documents,
        });
        let mut answers = Vec::new();
        let mut is_refused = false;
        for document in documents {
            let Document::Request { id, request } = document else { continue };
            if let Err(refusal) = peer.may_call(to, &request) {
                is_refused = true;
                answers.extend(id.map(|id| rpc::encode_response(&id, &Err(RpcError::Refused(refusal.0)))));
            }
        }
        if !answers.is_empty() {
            out.push(from_addressed(message, answers));
        }
        !is_refused
    }

    /// A call for the peer, as a message. None if it cannot be sent; then the caller has been told.
    pub fn send(&mut self, call: IncomingCall) -> Option<Message> {
        let IncomingCall { from, user_id, request, reply, .. } = call;
        let mut message = Message::new(Bytes::copy_from_slice(from.as_str().as_bytes()), Bytes::new(), subsystem::RPC, Vec::new());
        message.user = Bytes::copy_from_slice(user_id.as_bytes());
        let Some(reply) = reply else {
            message.args.push(rpc::encode_request(None, &request));
            return Some(message);
        };
        if self.waiting.len() >= self.calls_max {
            self.waiting.retain(|_, waiting| !waiting.reply.is_abandoned());
        }
        if self.waiting.len() >= self.calls_max {
            reply.send(Err(RpcError::Busy(from)));
            return None;
        }
        self.next_id += 1;
        let id = format!("{OWN_ID}{}", self.next_id);
        message.args.push(rpc::encode_request(Some(&id), &request));
        message.id = Bytes::from(id);
        self.waiting.insert(self.next_id, Waiting { caller: from, method: request.method, reply });
        Some(message)
    }

    /// The peer answers a call of `caller`.
    fn resolve(&mut self, caller: &Identity, id: &RawId, result: Result<Value, RpcError>) {
        let number = id.as_text().and_then(|text| text.strip_prefix(OWN_ID).and_then(|number| number.parse().ok()));
        let Some(number) = number else { return };
        if self.waiting.get(&number).is_some_and(|waiting| waiting.caller == *caller)
            && let Some(waiting) = self.waiting.remove(&number)
        {
            waiting.reply.send(result);
        }
    }

    /// The peer says that it cannot take a message of `caller`.
    pub fn take_error(&mut self, caller: &Identity, message: &Message) {
        let Some(report) = Report::decode(&message.args) else { return };
        let id = Report::failed_id(&message.id);
        let Some(id) = std::str::from_utf8(&id).ok().map(RawId::text) else { return };
        let method = id.as_text().and_then(|text| {
            let number: u64 = text.strip_prefix(OWN_ID)?.parse().ok()?;
            self.waiting.get(&number).map(|waiting| waiting.method.clone())
        });
        if let Some(method) = method {
            let error = if report.number == vip_error::EPROTONOSUPPORT {
                RpcError::MethodNotFound(method)
            } else {
                RpcError::runtime_error(report.text)
            };
            self.resolve(caller, &id, Err(error));
        }
    }
}
