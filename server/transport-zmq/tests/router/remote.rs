//! Links to another platform over real sockets: approval, answers and errors by type, loss and return.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use vt_backends::memory::peers::MemoryKeys;
use vt_backends::platforms::fake::FakeDiscovery;
use vt_backends::{
    DiscoveryError, KeyOwner, KeyRepository, KnownHost, LinkError, LinkRequest, LinkState, Outgoing, Platform, RemoteBus, RemoteLink,
};
use vt_bus::{Interceptor, PeerRef, Refusal};
use vt_transport_zmq::{KeyPair, ZmqRemoteBus};
use vt_types::{CurveKeyPair, PublicKey, RpcError, SecretKey, Topic, TopicPrefix};

use crate::bench::{Site, id, request};

const LIMIT: Duration = Duration::from_secs(10);

async fn open(site: &Site, keys: KeyPair) -> Arc<dyn RemoteLink> {
    let stored = MemoryKeys::default();
    let pair = CurveKeyPair { public: keys.public, secret: SecretKey::new(keys.secret) };
    stored.save(&KeyOwner::Peer(id("forward.historian")), &pair).await.unwrap();
    let bus = ZmqRemoteBus::new(Arc::new(stored), Arc::new(FakeDiscovery::default()));
    let request = LinkRequest {
        agent: id("forward.historian"),
        identity: id("site2.forward.historian"),
        address: site.address.clone(),
        server_key: site.server_key(),
    };
    bus.open(&request).await.unwrap()
}

/// A link whose key is approved, connected.
async fn linked(site: &Site) -> Arc<dyn RemoteLink> {
    let keys = KeyPair::throw_away();
    site.keys.add(keys.public, "forwarder");
    let link = open(site, keys).await;
    state(&link, "connected", |state| matches!(state, LinkState::Connected { .. })).await;
    link
}

async fn state(link: &Arc<dyn RemoteLink>, what: &str, wanted: impl Fn(&LinkState) -> bool) -> LinkState {
    let reached = async {
        let mut seen = link.state();
        while !wanted(&seen) {
            seen = link.changed(&seen).await;
        }
        seen
    };
    tokio::time::timeout(LIMIT, reached).await.unwrap_or_else(|_| panic!("{what}, but {:?}", link.state()))
}

fn message(topic: &str, body: Value) -> Outgoing {
    let headers = Map::from_iter([("Date".to_owned(), json!("2026-01-01T00:00:00"))]);
    Outgoing { topic: Topic::parse(topic).unwrap(), headers, message: body }
}

#[tokio::test]
async fn what_is_published_arrives_as_from_a_peer_there_and_the_count_comes_back() {
    let site = Site::new();
    let link = linked(&site).await;
    assert_eq!(link.state(), LinkState::Connected { run: "router-id".to_owned() });
    assert_eq!(link.publish(&message("devices/é/all", json!(1)), LIMIT).await, Ok(0));
    let (peer, mut mailbox) = site.local("historian");
    peer.subscribe(&TopicPrefix::parse("devices").unwrap()).unwrap();
    assert_eq!(link.publish(&message("devices/é/all", json!([{"é": 1.5}])), LIMIT).await, Ok(1));
    let arrived = mailbox.publications().recv().await.unwrap();
    assert_eq!((arrived.topic.as_str(), arrived.sender.as_str()), ("devices/é/all", "site2.forward.historian"));
    assert_eq!((&*arrived.message, arrived.headers.text("Date")), (&json!([{"é": 1.5}]), Some("2026-01-01T00:00:00")));
    link.ping(LIMIT).await.unwrap();
    link.close();
    state(&link, "closed", |state| *state == LinkState::Down(LinkError::Closed)).await;
    assert_eq!(link.ping(LIMIT).await, Err(LinkError::Closed));
}

#[tokio::test]
async fn answers_and_failures_of_calls_are_told_by_type() {
    let site = Site::new();
    let link = linked(&site).await;
    let mut peer = site.peer("worker").await;
    let answers = [
        (Ok(json!({"done": 1})), Ok(json!({"done": 1}))),
        (Err(RpcError::value_error("no")), Err(LinkError::Raised(RpcError::value_error("no")))),
        (Err(RpcError::Refused("not you".to_owned())), Err(LinkError::Refused("not you".to_owned()))),
        (Err(RpcError::MethodNotFound("m".to_owned())), Err(LinkError::Raised(RpcError::MethodNotFound("m".to_owned())))),
    ];
    for (answer, wanted) in answers {
        let (worker, asked) = (id("worker"), request("m", &json!([1])));
        let (got, _) = tokio::join!(link.call(&worker, &asked, LIMIT), peer.serve(|_| answer.clone()));
        assert_eq!(got, wanted);
    }
    let nobody = id("nobody");
    assert_eq!(link.call(&nobody, &request("m", &json!([])), LIMIT).await, Err(LinkError::NoPeer(nobody)));
    let short = Duration::from_millis(50);
    assert_eq!(link.call(&id("worker"), &request("m", &json!([])), short).await, Err(LinkError::Timeout { limit_ms: 50 }));
    // A call of theirs is answered as well.
    assert!(matches!(peer.message().await.args.as_slice(), [_]), "the call that nobody answered");
    let refused = peer.call("site2.forward.historian", &request("health.get_status", &json!([]))).await;
    assert_eq!(refused, Err(RpcError::MethodNotFound("health.get_status".to_owned())));
}

struct Protected;

impl Interceptor for Protected {
    fn on_publish(&self, _: PeerRef<'_>, topic: &Topic) -> Result<(), Refusal> {
        if topic.as_str().starts_with("secret") { Err(Refusal("needs can_publish".to_owned())) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_protected_topic_is_refused_and_the_link_goes_on() {
    let site = Site::new();
    site.bus.set_interceptors(vec![Arc::new(Protected)]);
    let link = linked(&site).await;
    assert_eq!(link.publish(&message("secret/x", json!(1)), LIMIT).await, Err(LinkError::Refused("needs can_publish".to_owned())));
    assert_eq!(link.publish(&message("open/x", json!(1)), LIMIT).await, Ok(0));
}

#[tokio::test]
async fn an_unknown_key_is_told_and_served_once_it_is_approved() {
    let site = Site::new();
    let keys = KeyPair::throw_away();
    let link = open(&site, keys.clone()).await;
    state(&link, "told", |state| *state == LinkState::Down(LinkError::NotApproved(keys.public))).await;
    assert_eq!(link.ping(LIMIT).await, Err(LinkError::NotApproved(keys.public)));
    site.keys.add(keys.public, "forwarder");
    state(&link, "served", |state| matches!(state, LinkState::Connected { .. })).await;
}

#[tokio::test]
async fn a_lost_connection_fails_what_waits_and_comes_back_by_itself() {
    let site = Site::new();
    let keys = KeyPair::throw_away();
    site.keys.add(keys.public, "forwarder");
    let link = open(&site, keys.clone()).await;
    state(&link, "connected", |state| matches!(state, LinkState::Connected { .. })).await;
    let _silent = site.peer("worker").await;
    let asked = request("m", &json!([]));
    let worker = id("worker");
    let (lost, ()) = tokio::join!(link.call(&worker, &asked, LIMIT), async { site.keys.remove(keys.public) });
    assert!(matches!(lost, Err(LinkError::Unreachable(_))), "{lost:?}");
    state(&link, "down", |state| matches!(state, LinkState::Down(_))).await;
    site.keys.add(keys.public, "forwarder");
    state(&link, "back", |state| matches!(state, LinkState::Connected { .. })).await;
    link.reconnect();
    state(&link, "given up", |state| matches!(state, LinkState::Down(LinkError::Unreachable(_)))).await;
    state(&link, "back again", |state| matches!(state, LinkState::Connected { .. })).await;
    assert_eq!(link.publish(&message("a", json!(1)), LIMIT).await, Ok(0));
}

#[tokio::test]
async fn nobody_at_the_address_and_an_impossible_address_are_told() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", closed.local_addr().unwrap());
    drop(closed);
    let bus = ZmqRemoteBus::new(Arc::new(MemoryKeys::default()), Arc::new(FakeDiscovery::default()));
    let mut wanted = LinkRequest { agent: id("a"), identity: id("x.a"), address, server_key: None };
    let link = bus.open(&wanted).await.unwrap();
    state(&link, "refused", |state| matches!(state, LinkState::Down(LinkError::Unreachable(_)))).await;
    wanted.address = "http://127.0.0.1".to_owned();
    assert!(matches!(bus.open(&wanted).await, Err(LinkError::Address(_))));
}

#[tokio::test]
async fn an_agent_without_keys_gets_some_that_it_keeps_and_a_known_host_counts_more_than_the_given_key() {
    let site = Site::new();
    let stored = MemoryKeys::default();
    let bus = ZmqRemoteBus::new(Arc::new(stored.clone()), Arc::new(FakeDiscovery::default()));
    let wrong = PublicKey::new([7; 32]);
    let wanted = LinkRequest { agent: id("a"), identity: id("x.a"), address: site.address.clone(), server_key: Some(wrong) };
    let host = site.address.trim_start_matches("tcp://").to_owned();
    stored.add_known_hosts(&[KnownHost { host, key: site.server_key().unwrap() }]).await.unwrap();
    let link = bus.open(&wanted).await.unwrap();
    let made = stored.load(&KeyOwner::Peer(id("a"))).await.unwrap().unwrap();
    site.keys.add(made.public, "a");
    state(&link, "connected", |state| matches!(state, LinkState::Connected { .. })).await;
}

#[tokio::test]
async fn the_key_that_is_told_first_at_a_web_address_is_remembered_and_another_later_is_not_taken() {
    let (stored, discovery) = (MemoryKeys::default(), Arc::new(FakeDiscovery::default()));
    let bus = ZmqRemoteBus::new(Arc::new(stored.clone()), discovery.clone());
    assert!(matches!(bus.discover("https://a").await, Err(DiscoveryError::Unreachable(_))));
    let mut platform = Platform { name: "p2".to_owned(), address: "tcp://h:22916".to_owned(), server_key: PublicKey::new([7; 32]) };
    discovery.put("https://a", platform.clone());
    assert_eq!(bus.discover("https://a").await, Ok(platform.clone()));
    let known = stored.known_hosts().await.unwrap().records;
    assert_eq!(known, [KnownHost { host: "h:22916".to_owned(), key: platform.server_key }]);
    assert_eq!(bus.discover("https://a").await, Ok(platform.clone()));
    platform.server_key = PublicKey::new([8; 32]);
    discovery.put("https://a", platform);
    assert_eq!(bus.discover("https://a").await, Err(DiscoveryError::OtherKey("p2".to_owned())));
    assert_eq!(stored.known_hosts().await.unwrap().records, known);
}
