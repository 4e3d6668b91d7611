//! Behaviour of the bus as peers see it.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use vt_types::{Body, Envelope, Headers, Identity, Params, RpcError, RpcRequest, SystemClock, Topic, TopicPrefix};

use super::*;
use crate::{PublishError, RelayError, SubscribeError};

fn id(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}

fn topic(text: &str) -> Topic {
    Topic::parse(text).unwrap()
}

fn prefix(text: &str) -> TopicPrefix {
    TopicPrefix::parse(text).unwrap()
}

fn bus_with(config: Config) -> Bus {
    Bus::new(config, Arc::new(SystemClock))
}

fn bus() -> Bus {
    bus_with(Config::default())
}

fn request(method: &str) -> RpcRequest {
    RpcRequest::new(method, Params::none())
}

#[tokio::test]
async fn a_message_reaches_each_matching_subscriber_once_and_the_publisher_too() {
    let bus = bus();
    let (a, mut inbox_a) = bus.connect(id("a"), PeerKind::Agent).unwrap();
    let (b, mut inbox_b) = bus.connect(id("b"), PeerKind::Agent).unwrap();
    for text in ["", "devices", "devices/a"] {
        a.subscribe(&prefix(text)).unwrap();
    }
    b.subscribe(&prefix("devices/a")).unwrap();
    assert_eq!(a.publish(&topic("devices/ab/all"), Headers::new(), json!([1])).unwrap(), 2);
    assert_eq!(a.publish(&topic("other"), Headers::new(), Value::Null).unwrap(), 1);
    let got = inbox_b.publications.recv().await.unwrap();
    assert_eq!((got.sender.as_str(), got.topic.as_str(), got.message.as_ref()), ("a", "devices/ab/all", &json!([1])));
    assert!(inbox_b.publications.try_recv().is_err());
    assert_eq!(inbox_a.publications.recv().await.unwrap().topic.as_str(), "devices/ab/all");
    assert_eq!(inbox_a.publications.recv().await.unwrap().topic.as_str(), "other");
}

#[tokio::test]
async fn a_slow_subscriber_loses_alone_and_the_loss_is_counted() {
    let bus = bus_with(Config { publications_max: 3, ..Config::default() });
    let (publisher, _inbox) = bus.connect(id("p"), PeerKind::Agent).unwrap();
    let (slow, _never_read) = bus.connect(id("slow"), PeerKind::Agent).unwrap();
    let (quick, mut quick_inbox) = bus.connect(id("quick"), PeerKind::Agent).unwrap();
    slow.subscribe(&prefix("t")).unwrap();
    quick.subscribe(&prefix("t")).unwrap();
    for n in 0..10 {
        assert_eq!(publisher.publish(&topic("t"), Headers::new(), json!(n)).unwrap(), 2);
        assert_eq!(quick_inbox.publications.recv().await.unwrap().message.as_ref(), &json!(n));
    }
    assert_eq!((slow.lost(), quick.lost()), (7, 0));
    assert_eq!(bus.statistics().lost, 7);
    let info = bus.peer_infos().into_iter().find(|info| info.identity.as_str() == "slow").unwrap();
    assert_eq!((info.lost, info.delivered, info.queued, info.queue_max), (7, 3, 3, 3));
}

#[tokio::test]
async fn each_failure_of_a_call_is_its_own_error() {
    let bus = bus_with(Config { calls_max: 1, ..Config::default() });
    let (caller, _inbox) = bus.connect(id("caller"), PeerKind::Agent).unwrap();
    let (_callee, mut inbox) = bus.connect(id("callee"), PeerKind::Agent).unwrap();
    assert_eq!(caller.call(&id("nobody"), request("m")).unwrap_err(), RpcError::UnknownPeer(id("nobody")));

    let pending = caller.call(&id("callee"), request("m")).unwrap();
    assert_eq!(caller.call(&id("callee"), request("m")).unwrap_err(), RpcError::Busy(id("callee")));
    let call = inbox.calls.recv().await.unwrap();
    assert_eq!((call.from.as_str(), call.request.method.as_str()), ("caller", "m"));
    call.reply.unwrap().send(Ok(json!(5)));
    assert_eq!(pending.await, Ok(json!(5)));

    let pending = caller.call(&id("callee"), request("m")).unwrap();
    drop(inbox);
    assert_eq!(pending.await, Err(RpcError::PeerGone(id("callee"))));
    assert_eq!(caller.call(&id("callee"), request("m")).unwrap_err(), RpcError::UnknownPeer(id("callee")));
}

#[tokio::test]
async fn an_identity_is_held_by_one_peer_and_free_when_that_peer_goes() {
    let bus = bus();
    let mut events = bus.peer_events();
    let (first, inbox) = bus.connect(id("a"), PeerKind::Agent).unwrap();
    assert_eq!(bus.connect(id("a"), PeerKind::Agent).unwrap_err(), ConnectError::InUse(id("a")));
    first.subscribe(&prefix("")).unwrap();
    drop(inbox);
    assert!(bus.peers().is_empty());
    assert_eq!(first.subscribe(&prefix("x")), Err(SubscribeError::NotConnected(id("a"))));
    assert!(matches!(first.publish(&topic("t"), Headers::new(), Value::Null), Err(PublishError::NotConnected(_))));
    let (second, _inbox) = bus.connect(id("a"), PeerKind::Agent).unwrap();
    assert_eq!(second.publish(&topic("t"), Headers::new(), Value::Null), Ok(0), "subscriptions of the first are gone");
    assert_eq!(events.recv().await.unwrap(), PeerEvent::Connected(id("a")));
    assert_eq!(events.recv().await.unwrap(), PeerEvent::Disconnected(id("a")));
}

#[tokio::test]
async fn a_disconnected_peer_that_wakes_up_cannot_disturb_its_successor() {
    let bus = bus();
    let (old, old_inbox) = bus.connect(id("a"), PeerKind::Agent).unwrap();
    assert!(bus.disconnect(&id("a")));
    let (_new, _new_inbox) = bus.connect(id("a"), PeerKind::Agent).unwrap();
    assert!(old.publish(&topic("t"), Headers::new(), Value::Null).is_err());
    assert!(old.call(&id("a"), request("m")).is_err());
    drop(old_inbox);
    assert!(bus.is_connected(&id("a")), "dropping the old mailbox leaves the new holder alone");
}

struct Nothing;

impl Interceptor for Nothing {
    fn on_connect(&self, peer: PeerRef<'_>) -> Result<(), Refusal> {
        if peer.identity.as_str() == "evil" { Err(Refusal("not you".into())) } else { Ok(()) }
    }
    fn on_publish(&self, _: PeerRef<'_>, topic: &Topic) -> Result<(), Refusal> {
        if topic.as_str().starts_with("protected") { Err(Refusal(format!("{topic} is protected"))) } else { Ok(()) }
    }
    fn on_subscribe(&self, _: PeerRef<'_>, prefix: &TopicPrefix) -> Result<(), Refusal> {
        if prefix.as_str() == "secret" { Err(Refusal("secret".into())) } else { Ok(()) }
    }
    fn on_call(&self, peer: PeerRef<'_>, _: &Identity, request: &RpcRequest) -> Result<(), Refusal> {
        match (request.method.as_str(), peer.user) {
            ("admin", Some("dana")) => Ok(()),
            ("admin", _) => Err(Refusal("only dana".into())),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn interceptors_refuse_on_every_way_in() {
    let bus = bus();
    bus.set_interceptors(vec![Arc::new(Nothing)]);
    assert!(matches!(bus.connect(id("evil"), PeerKind::Agent), Err(ConnectError::Refused(_))));
    let (a, mut inbox) = bus.connect(id("a"), PeerKind::Agent).unwrap();
    a.subscribe(&prefix("")).unwrap();
    assert!(matches!(a.publish(&topic("protected/x"), Headers::new(), Value::Null), Err(PublishError::Refused(_))));
    assert!(inbox.publications.try_recv().is_err());
    assert!(matches!(a.subscribe(&prefix("secret")), Err(SubscribeError::Refused(_))));
    assert_eq!(a.call(&id("a"), request("admin")).unwrap_err(), RpcError::Refused("only dana".into()));
    let _pending = a.on_behalf_of("dana").call(&id("a"), request("admin")).unwrap();
    assert_eq!(inbox.calls.recv().await.unwrap().user.as_deref(), Some("dana"));
}

#[tokio::test]
async fn publishing_inside_a_callback_cannot_dead_lock() {
    let bus = bus_with(Config { publications_max: 2, ..Config::default() });
    let (a, mut inbox) = bus.connect(id("a"), PeerKind::Agent).unwrap();
    a.subscribe(&prefix("echo")).unwrap();
    a.publish(&topic("echo"), Headers::new(), json!(0)).unwrap();
    for _ in 0..100 {
        let got = inbox.publications.recv().await.unwrap();
        // Answering with more than the queue holds loses the surplus; it never waits.
        for _ in 0..5 {
            a.publish(&topic("echo"), Headers::new(), got.message.shared()).unwrap();
        }
    }
    assert!(a.lost() > 0);
}

#[test]
fn bounds_are_errors_not_growth() {
    let bus = bus_with(Config { subscriptions_max: 2, peers_max: 1, ..Config::default() });
    let (a, _inbox) = bus.connect(id("a"), PeerKind::Agent).unwrap();
    assert_eq!(bus.connect(id("b"), PeerKind::Agent).unwrap_err(), ConnectError::Full(1));
    a.subscribe(&prefix("1")).unwrap();
    a.subscribe(&prefix("2")).unwrap();
    assert_eq!(a.subscribe(&prefix("3")), Err(SubscribeError::TooMany(2)));
    assert!(a.unsubscribe(&prefix("1")));
    a.subscribe(&prefix("3")).unwrap();
}

fn remote(bus: &Bus, name: &str) -> (PeerHandle, RemoteMailbox) {
    let peer = RemotePeer { identity: id(name), kind: PeerKind::Agent, user_id: Arc::from(format!("user of {name}")), queue_max: 3 };
    bus.connect_remote(peer).unwrap()
}

fn envelope(from: &PeerHandle) -> Envelope {
    Envelope {
        from: Some(from.identity().clone()),
        user_id: Arc::clone(from.user_id()),
        message_id: Bytes::from_static(b"1"),
        subsystem: Bytes::from_static(b"channel"),
        args: vec![Bytes::from_static(b"\x00\xff")],
    }
}

#[tokio::test]
async fn a_remote_peer_gets_messages_calls_and_envelopes_in_the_order_of_sending() {
    let bus = bus();
    let (local, _inbox) = bus.connect(id("local"), PeerKind::Agent).unwrap();
    let (sender, _sent) = remote(&bus, "sender");
    let (peer, mut mailbox) = remote(&bus, "remote");
    peer.subscribe(&prefix("t")).unwrap();
    local.publish(&topic("t"), Headers::new(), json!(1)).unwrap();
    let pending = local.call(&id("remote"), request("m")).unwrap();
    sender.relay(&id("remote"), envelope(&sender)).unwrap();
    assert_eq!(sender.relay(&id("remote"), envelope(&sender)), Err(RelayError::Full(id("remote"))));
    let mut got = Vec::new();
    assert_eq!(mailbox.receive(&mut got, 10).await, 3);
    let [Delivery::Publication(message), Delivery::Call(_), Delivery::Envelope(passed)] = &got[..] else { panic!("{got:?}") };
    assert_eq!(*message.message, json!(1));
    assert_eq!(passed, &envelope(&sender));
    let Some(Delivery::Call(call)) = got.into_iter().nth(1) else { panic!() };
    assert_eq!((call.from.as_str(), &*call.user_id), ("local", "local"));
    call.reply.unwrap().send(Ok(json!(2)));
    assert_eq!(pending.await, Ok(json!(2)));
}

#[tokio::test]
async fn an_envelope_for_nobody_or_for_a_peer_in_this_process_comes_back() {
    let bus = bus();
    let (_local, _inbox) = bus.connect(id("local"), PeerKind::Agent).unwrap();
    let (sender, _mailbox) = remote(&bus, "sender");
    assert_eq!(sender.relay(&id("nobody"), envelope(&sender)), Err(RelayError::UnknownPeer(id("nobody"))));
    assert_eq!(sender.relay(&id("local"), envelope(&sender)), Err(RelayError::Local(Box::new(envelope(&sender)))));
}

#[tokio::test]
async fn a_remote_peer_learns_that_it_was_disconnected() {
    let bus = bus();
    let (_peer, mut mailbox) = remote(&bus, "a");
    let waiting = tokio::spawn(async move { mailbox.receive(&mut Vec::new(), 1).await });
    assert!(bus.disconnect(&id("a")));
    assert_eq!(waiting.await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_wanted_from_all_platforms_is_told_and_forgotten_with_the_peer() {
    let bus = bus();
    let mut changes = bus.watch_wanted();
    let (peer, mailbox) = remote(&bus, "a");
    peer.subscribe(&prefix("here")).unwrap();
    assert!(!changes.has_changed().unwrap());
    peer.subscribe_to(&Subscription::local(prefix("there")).from_all_platforms()).unwrap();
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert_eq!(bus.wanted_from_all_platforms(), [prefix("there")]);
    drop(mailbox);
    assert!(changes.has_changed().unwrap() && bus.wanted_from_all_platforms().is_empty());
}

#[tokio::test]
async fn a_link_is_in_no_peer_list() {
    let bus = bus();
    let mut events = bus.peer_events();
    let link = RemotePeer { identity: id("link"), kind: PeerKind::Link, user_id: Arc::from("link"), queue_max: 0 };
    let (_handle, mailbox) = bus.connect_remote(link).unwrap();
    assert!(bus.peers().is_empty());
    drop(mailbox);
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn what_waits_for_a_peer_is_bounded_in_bytes_whoever_sends_it() {
    let bus = bus_with(Config { queued_bytes_max: 1000, ..Config::default() });
    let (sender, _inbox) = remote(&bus, "sender");
    let (_deaf, mut deaf_inbox) = remote(&bus, "deaf");
    let large = || Envelope { args: vec![Bytes::from(vec![0; 600])], ..envelope(&sender) };
    sender.relay(&id("deaf"), large()).unwrap();
    assert_eq!(sender.relay(&id("deaf"), large()), Err(RelayError::Full(id("deaf"))));
    deaf_inbox.receive(&mut Vec::new(), 1).await;
    sender.relay(&id("deaf"), large()).unwrap();

    let (slow, mut slow_inbox) = bus.connect(id("slow"), PeerKind::Agent).unwrap();
    slow.subscribe(&prefix("t")).unwrap();
    let text = Bytes::from(serde_json::to_vec(&"x".repeat(600)).unwrap());
    let body = || Body::from_text(text.clone(), |text| Arc::new(serde_json::from_slice(text).unwrap()));
    for _ in 0..3 {
        sender.publish_as(Publication::new(id("sender"), topic("t"), Headers::new(), body())).unwrap();
    }
    assert_eq!(slow.lost(), 2);
    assert!(slow_inbox.publications().try_recv().is_ok());

    let call = || RpcRequest::new("m", Params::positional(vec![json!("x".repeat(600))]));
    let _first = sender.call(&id("slow"), call()).unwrap();
    assert!(matches!(sender.call(&id("slow"), call()), Err(RpcError::Busy(_))));
}
