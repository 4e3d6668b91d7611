//! A router on a free port, and peers of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vt_backends::{Authenticator, ConnectAttempt, Proof, Verdict};
use vt_bus::{Bus, Mailbox, PeerHandle, PeerKind};
use vt_transport_zmq::{
    Config, Dealer, DealerConfig, DealerEvent, Endpoint, Facts, KeyPair, Listen, Parts, Platforms, Statistics, ZmqChannels,
};
use vt_types::{Identity, PublicKey, RpcError, RpcRequest, SystemClock, TopicPrefix};
use vt_vip::rpc::{self, Decoded, Document};
use vt_vip::{Message, router};

const LIMIT: Duration = Duration::from_secs(10);

/// Knows keys by user id; everything else is pending.
#[derive(Default)]
pub struct Keys {
    known: Mutex<HashMap<PublicKey, String>>,
    pub pending: Mutex<Vec<ConnectAttempt>>,
    changes: watch::Sender<u64>,
}

impl Keys {
    pub fn add(&self, key: PublicKey, user_id: &str) {
        self.known.lock().insert(key, user_id.to_owned());
        self.changes.send_modify(|count| *count += 1);
    }

    pub fn remove(&self, key: PublicKey) {
        self.known.lock().remove(&key);
        self.changes.send_modify(|count| *count += 1);
    }
}

#[async_trait]
impl Authenticator for Keys {
    async fn admit(&self, attempt: &ConnectAttempt) -> Verdict {
        let verdict = self.judge(attempt);
        if verdict == Verdict::Pending {
            self.pending.lock().push(attempt.clone());
        }
        verdict
    }

    fn judge(&self, attempt: &ConnectAttempt) -> Verdict {
        match attempt.proof {
            Proof::Null => Verdict::Admitted { user_id: Arc::from(attempt.identity.as_str()) },
            Proof::Curve(key) => match self.known.lock().get(&key) {
                Some(user_id) => Verdict::Admitted { user_id: Arc::from(user_id.as_str()) },
                None => Verdict::Pending,
            },
        }
    }

    async fn changed(&self, seen: u64) -> u64 {
        let mut changes = self.changes.subscribe();
        *changes.wait_for(|count| *count > seen).await.unwrap()
    }
}

pub struct Site {
    pub bus: Bus,
    pub keys: Arc<Keys>,
    pub platforms: Arc<Platforms>,
    pub channels: ZmqChannels,
    pub address: String,
    pub statistics: Arc<Statistics>,
    pub server_key: Option<PublicKey>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Site {
    pub fn new() -> Self {
        Self::with(Config { keys: Some(KeyPair::throw_away()), ..Config::default() }, vt_bus::Config::default())
    }

    pub fn with(config: Config, bus: vt_bus::Config) -> Self {
        Self::named("site1", config, bus)
    }

    pub fn named(name: &str, config: Config, bus: vt_bus::Config) -> Self {
        let bus = Bus::new(bus, Arc::new(SystemClock));
        let keys = Arc::new(Keys::default());
        let endpoint = Endpoint::bind(&[Listen::parse("tcp://127.0.0.1:0").unwrap()]).unwrap();
        let address = endpoint.addresses()[0].clone();
        let facts =
            Facts { router_id: "router-id".into(), instance_name: name.into(), platform_version: "9.0.4".into(), ..Facts::default() };
        let (statistics, stop) = (Arc::new(Statistics::default()), CancellationToken::new());
        let server_key = config.keys.as_ref().map(|keys| keys.public);
        let authenticator = Arc::clone(&keys) as Arc<dyn Authenticator>;
        let own = config.keys.clone().unwrap_or_else(KeyPair::throw_away);
        let platforms = Arc::new(Platforms::new(bus.clone(), name, own, Arc::new(SystemClock)));
        let channels = ZmqChannels::default();
        let parts = Parts {
            bus: bus.clone(),
            config,
            facts,
            authenticator,
            platforms: Arc::clone(&platforms),
            channels: channels.clone(),
            statistics: Arc::clone(&statistics),
        };
        let serving = tokio::spawn(endpoint.serve(parts, stop.clone()));
        Self { bus, keys, platforms, channels, address, statistics, server_key, stop, serving }
    }

    pub fn server_key(&self) -> Option<PublicKey> {
        self.server_key
    }

    /// A peer whose key is known, connected and greeted.
    pub async fn peer(&self, name: &str) -> Peer {
        let keys = KeyPair::throw_away();
        self.keys.add(keys.public, name);
        let mut peer = self.dealer(name, keys);
        peer.greet().await;
        peer
    }

    pub fn dealer(&self, name: &str, keys: KeyPair) -> Peer {
        // Small, so that a peer that does not read is noticed by the router and not by the memory of this process.
        let config = DealerConfig { queue_max: 16, ..DealerConfig::new(&self.address, self.server_key, keys, id(name)) };
        Peer { dealer: Dealer::connect(config).unwrap(), next: 0 }
    }

    pub fn local(&self, name: &str) -> (PeerHandle, Mailbox) {
        self.bus.connect(id(name), PeerKind::Service).unwrap()
    }

    /// Ends in time, with every connection.
    pub async fn close(self) {
        self.stop.cancel();
        tokio::time::timeout(LIMIT, self.serving).await.unwrap().unwrap();
    }
}

pub struct Peer {
    pub dealer: Dealer,
    next: u64,
}

impl Peer {
    pub async fn greet(&mut self) {
        self.send(router::hello("hello.0")).await;
        let welcome = self.message().await;
        assert_eq!(welcome.args[0], "welcome");
    }

    pub async fn send(&self, message: Message) {
        self.dealer.send(message).await.unwrap();
    }

    /// The next message that is no change of the peer list.
    pub async fn message(&mut self) -> Message {
        loop {
            match self.event().await {
                DealerEvent::Message(message) if message.subsystem == "peerlist" && message.id.is_empty() => {}
                DealerEvent::Message(message) => return message,
                DealerEvent::Connected => {}
                DealerEvent::Disconnected(reason) => panic!("disconnected: {reason}"),
            }
        }
    }

    pub async fn event(&mut self) -> DealerEvent {
        tokio::time::timeout(LIMIT, self.dealer.next()).await.expect("an event in time").unwrap()
    }

    /// Asks the router and gives the answer's frames.
    pub async fn ask(&mut self, subsystem: &'static [u8], args: Vec<Bytes>) -> Message {
        self.next += 1;
        let id = format!("ask.{}", self.next);
        self.send(Message::new(Bytes::new(), id.clone(), subsystem, args)).await;
        let answer = self.message().await;
        assert_eq!(answer.id, id);
        answer
    }

    pub async fn subscribe(&mut self, prefix: &str) {
        let answer = self.ask(b"pubsub", vt_vip::pubsub::subscribe(&[TopicPrefix::parse(prefix).unwrap()], "", false)).await;
        assert_eq!(answer.args, [Bytes::from("request_response"), Bytes::from("true")]);
    }

    pub async fn publish(&mut self, topic: &str, message: &str) -> Message {
        let args = vt_vip::pubsub::publish(&Bytes::copy_from_slice(topic.as_bytes()), "", b"{}", message.as_bytes());
        self.ask(b"pubsub", args).await
    }

    pub async fn request(&mut self, to: &str, request: &RpcRequest) -> String {
        self.next += 1;
        let id = format!("call.{}", self.next);
        let args = vec![rpc::encode_request(Some(&id), request)];
        self.send(Message::new(Bytes::copy_from_slice(to.as_bytes()), id.clone(), b"RPC", args)).await;
        id
    }

    pub async fn call(&mut self, to: &str, request: &RpcRequest) -> Result<Value, RpcError> {
        let id = self.request(to, request).await;
        let answer = self.message().await;
        assert_eq!((answer.peer, answer.id), (Bytes::copy_from_slice(to.as_bytes()), Bytes::from(id.clone())));
        let Decoded::Single(Document::Response { id: answered, result }) = rpc::decode(&answer.args[0]) else { panic!("no response") };
        assert_eq!(answered.as_text().unwrap(), id);
        result
    }

    /// Takes one call and answers it with `answer`.
    pub async fn serve(&mut self, answer: impl Fn(&RpcRequest) -> Result<Value, RpcError>) -> Message {
        let call = self.message().await;
        let Decoded::Single(Document::Request { id: Some(id), request }) = rpc::decode(&call.args[0]) else { panic!("no request") };
        let args = vec![rpc::encode_response(&id, &answer(&request))];
        self.send(Message::new(call.peer.clone(), call.id.clone(), b"RPC", args)).await;
        call
    }
}

pub fn id(name: &str) -> Identity {
    Identity::parse(name).unwrap()
}

pub fn request(method: &str, args: &Value) -> RpcRequest {
    RpcRequest::new(method, vt_types::Params::positional(args.as_array().cloned().unwrap_or_default()))
}

/// Waits until `holds`, within the limit.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(LIMIT, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "{what} did not come true in time");
}

pub fn text(frames: &[Bytes]) -> Vec<String> {
    frames.iter().map(|frame| String::from_utf8_lossy(frame).into_owned()).collect()
}

pub fn parsed(frame: &Bytes) -> Value {
    serde_json::from_slice(frame).unwrap_or_else(|_| json!(null))
}
