//! Two platforms, joined by a link in each direction.

use bytes::Bytes;
use serde_json::json;
use vt_backends::{Platform, PlatformLinks};
use vt_transport_zmq::{Config, KeyPair};
use vt_types::{Headers, Topic, TopicPrefix};
use vt_vip::Message;
use vt_vip::external_rpc::{self, Letter, Operation};
use vt_vip::routing_table;
use vt_vip::rpc::{self, Decoded, Document};

use crate::bench::{Peer, Site, parsed, request, text, until};

fn site(name: &str) -> Site {
    site_with(name, KeyPair::throw_away())
}

fn site_with(name: &str, keys: KeyPair) -> Site {
    Site::named(name, Config { keys: Some(keys), ..Config::default() }, vt_bus::Config::default())
}

/// `one` knows `other`: lets its key in and links to it.
fn introduce(one: &Site, other: &Site, name: &str) {
    let server_key = other.server_key.unwrap();
    one.keys.add(server_key, &format!("platform {name}"));
    let failed = one.platforms.set(vec![Platform { name: name.into(), address: other.address.clone(), server_key }]);
    assert!(failed.is_empty(), "{failed:?}");
}

async fn joined() -> (Site, Site) {
    let (p1, p2) = (site("p1"), site("p2"));
    introduce(&p1, &p2, "p2");
    introduce(&p2, &p1, "p1");
    for site in [&p1, &p2] {
        until("the link", || site.platforms.states()[0].is_connected).await;
    }
    (p1, p2)
}

async fn subscribe_everywhere(peer: &mut Peer, prefix: &str) {
    let args = vt_vip::pubsub::subscribe(&[TopicPrefix::parse(prefix).unwrap()], "", true);
    assert_eq!(text(&peer.ask(b"pubsub", args).await.args)[1], "true");
}

#[tokio::test]
async fn who_wants_all_platforms_gets_the_others_messages_once_and_who_does_not_gets_none() {
    let (p1, p2) = joined().await;
    let (mut wants, mut stays) = (p2.peer("wants").await, p2.peer("stays").await);
    stays.subscribe("devices").await;
    wants.subscribe("devices").await;
    subscribe_everywhere(&mut wants, "devices").await;
    until("the list", || p1.platforms.states()[0].wanted.len() == 1).await;

    let (driver, _inbox) = p1.local("platform.driver");
    let topic = Topic::parse("devices/a/all").unwrap();
    assert_eq!(driver.publish(&topic, Headers::new().with("Date", "x"), json!([1])).unwrap(), 1, "the other platform counts as one");
    let got = wants.message().await;
    assert_eq!(got.args[0], "publish");
    assert_eq!(parsed(&got.args[2]), json!({"sender": "platform.driver", "bus": "", "headers": {"Date": "x"}, "message": [1]}));
    assert_eq!(text(&wants.ask(b"ping", vec![]).await.args), ["pong"], "once");
    assert_eq!(text(&stays.ask(b"ping", vec![]).await.args), ["pong"], "and not to others");
    let state = p1.platforms.states().remove(0);
    assert!(state.sent >= 1 && state.lost == 0, "{state:?}");

    drop(wants);
    until("nobody wants it", || p1.platforms.states()[0].wanted.is_empty()).await;
    assert_eq!(driver.publish(&topic, Headers::new(), json!([2])).unwrap(), 0);
}

#[tokio::test]
async fn after_a_restart_of_the_other_side_messages_flow_again_by_themselves() {
    let (p1, p2) = (site("p1"), site("p2"));
    introduce(&p1, &p2, "p2");
    introduce(&p2, &p1, "p1");
    let mut wants = p2.peer("wants").await;
    subscribe_everywhere(&mut wants, "devices").await;
    until("the list", || p1.platforms.states()[0].wanted.len() == 1).await;
    let of_p2 = || {
        let infos = p1.bus.peer_infos();
        infos.into_iter().map(|info| info.identity).find(|identity| identity.as_str().starts_with("instance.p1."))
    };
    let first = of_p2().expect("the connection of the other platform");
    // The link as such is cut, from the far side.
    p1.bus.disconnect(&first);
    p1.keys.remove(p2.server_key.unwrap());
    p1.keys.add(p2.server_key.unwrap(), "platform p2");
    let (driver, _inbox) = p1.local("platform.driver");
    let topic = Topic::parse("devices/a/all").unwrap();
    until("a message gets through", || driver.publish(&topic, Headers::new(), json!(1)).unwrap() == 1).await;
    assert_eq!(wants.message().await.args[0], "publish");
    assert_ne!(of_p2(), Some(first), "a router of libzmq may still hold the name of the first connection");
}

#[tokio::test]
async fn a_peer_calls_one_of_another_platform_be_it_remote_or_in_its_process() {
    let (p1, p2) = joined().await;
    let (_historian, mut inbox) = p2.local("platform.historian");
    tokio::spawn(async move {
        while let Some(call) = inbox.calls().recv().await {
            call.reply.unwrap().send(Ok(json!([call.request.method, call.user_id.as_ref()])));
        }
    });
    let mut bob = p2.peer("bob").await;
    let mut alice = p1.peer("alice").await;
    let letter = |to: &str, id: &str| {
        let document = rpc::encode_request(Some(id), &request("query", &json!([])));
        let documents = vec![String::from_utf8(document.to_vec()).unwrap()];
        let letter = Letter { to_platform: "p2".into(), to_peer: to.into(), documents, ..Letter::default() };
        Message::new("", id.to_owned(), b"external_rpc", external_rpc::encode(Operation::SendPlatform, &letter))
    };
    let answered = |message: &Message| {
        let (operation, letter) = external_rpc::decode(&message.args).unwrap();
        assert_eq!((operation, letter.to_peer.as_str(), letter.from_platform.as_str()), (Operation::SendPeer, "alice", "p2"));
        match rpc::decode(letter.documents[0].as_bytes()) {
            Decoded::Single(Document::Response { result, .. }) => result,
            other => panic!("{other:?}"),
        }
    };
    alice.send(letter("platform.historian", "1.5")).await;
    let answer = alice.message().await;
    assert_eq!(answer.peer, Bytes::new());
    assert_eq!(answered(&answer), Ok(json!(["query", "platform p1"])));

    alice.send(letter("bob", "2")).await;
    let got = bob.message().await;
    let (operation, question) = external_rpc::decode(&got.args).unwrap();
    assert_eq!((operation, question.from_peer.as_str(), question.from_platform.as_str()), (Operation::SendPeer, "alice", "p1"));
    let response = rpc::encode_response(&rpc::RawId::text("2"), &Ok(json!("from bob")));
    let documents = vec![String::from_utf8(response.to_vec()).unwrap()];
    let back = Letter { to_platform: "p1".into(), to_peer: "alice".into(), documents, ..Letter::default() };
    bob.send(Message::new("", "2", b"external_rpc", external_rpc::encode(Operation::SendPlatform, &back))).await;
    assert_eq!(answered(&alice.message().await), Ok(json!("from bob")));

    // The other way round: the one over there asks.
    let document = rpc::encode_request(Some("5"), &request("echo", &json!([5])));
    let documents = vec![String::from_utf8(document.to_vec()).unwrap()];
    let asked = Letter { to_platform: "p1".into(), to_peer: "alice".into(), documents, ..Letter::default() };
    bob.send(Message::new("", "5", b"external_rpc", external_rpc::encode(Operation::SendPlatform, &asked))).await;
    let (_, question) = external_rpc::decode(&alice.message().await.args).unwrap();
    assert_eq!((question.from_peer.as_str(), question.from_platform.as_str()), ("bob", "p2"));
    let failed = rpc::encode_response(&rpc::RawId::text("5"), &Err(vt_types::RpcError::value_error("no")));
    let documents = vec![String::from_utf8(failed.to_vec()).unwrap()];
    let back = Letter { to_platform: "p2".into(), to_peer: "bob".into(), documents: documents.clone(), ..Letter::default() };
    alice.send(Message::new("", "5", b"external_rpc", external_rpc::encode(Operation::SendPlatform, &back))).await;
    let (_, answer) = external_rpc::decode(&bob.message().await.args).unwrap();
    assert_eq!((answer.from_platform.as_str(), answer.documents), ("p1", documents), "a failure as well");

    alice.send(letter("nobody", "3")).await;
    assert!(answered(&alice.message().await).is_err());
    let unknown = Letter { to_platform: "p9".into(), to_peer: "x".into(), documents: vec!["{}".into()], ..Letter::default() };
    alice.send(Message::new("", "4", b"external_rpc", external_rpc::encode(Operation::SendPlatform, &unknown))).await;
    assert_eq!(text(&alice.message().await.args)[..3], ["113", "No route to host", "p9"]);
}

#[tokio::test]
async fn only_a_platform_speaks_for_a_platform_and_only_for_itself() {
    let (p1, _p2) = joined().await;
    let mut mallory = p1.peer("mallory").await;
    let list = vt_vip::pubsub::external_list("p2", &[TopicPrefix::parse("").unwrap()]);
    assert_eq!(text(&mallory.ask(b"pubsub", list).await.args)[1], "false");
    assert!(p1.platforms.states()[0].wanted.is_empty());
    let mut victim = p1.peer("victim").await;
    subscribe_everywhere(&mut victim, "").await;
    let args = vt_vip::pubsub::external_publish(&"devices/x".into(), "platform.driver", "", b"{}", b"1");
    mallory.send(Message::new("", "", b"pubsub", args)).await;
    let letter = Letter {
        to_peer: "victim".into(),
        from_platform: "p2".into(),
        to_platform: "p1".into(),
        documents: vec!["{}".into()],
        ..Letter::default()
    };
    mallory.send(Message::new("", "", b"external_rpc", external_rpc::encode(Operation::SendPeer, &letter))).await;
    assert_eq!(text(&mallory.ask(b"ping", vec![]).await.args), ["pong"]);
    assert_eq!(text(&victim.ask(b"ping", vec![]).await.args), ["pong"], "nothing of it arrived");
}

#[tokio::test]
async fn each_greeting_is_welcomed_and_a_list_in_another_name_is_not_taken() {
    let keys = KeyPair::throw_away();
    let (p1, p2) = (site("p1"), site_with("p2", keys.clone()));
    introduce(&p1, &p2, "p2");
    p2.keys.add(p1.server_key.unwrap(), "platform p1");
    // The other platform's own connection to this one, by hand.
    let mut there = p1.dealer("instance.p1.0.5", keys);
    there.send(Message::new("", "", b"routing_table", routing_table::hello("p2"))).await;
    assert_eq!(text(&there.ask(b"ping", vec![]).await.args), ["pong"]);
    until("the link", || p1.platforms.states()[0].is_connected).await;
    // VOLTTRON 11 repeats its greeting until it is answered, and takes the link for connected only then.
    for _ in 0..3 {
        let before = p1.platforms.states()[0].sent;
        there.send(Message::new("", "", b"routing_table", routing_table::hello("p2"))).await;
        until("the welcome", || p1.platforms.states()[0].sent == before + 1).await;
    }
    let before = p1.platforms.states()[0].sent;
    there.send(Message::new("", "", b"routing_table", routing_table::hello("p3"))).await;
    for (name, taken) in [("p2", "true"), ("p1", "false"), ("p3", "false")] {
        let prefix = TopicPrefix::parse(&format!("of/{name}")).unwrap();
        let answer = there.ask(b"pubsub", vt_vip::pubsub::external_list(name, &[prefix])).await;
        assert_eq!(text(&answer.args), ["request_response", taken], "{name}");
    }
    let state = p1.platforms.states().remove(0);
    assert_eq!(state.wanted, [TopicPrefix::parse("of/p2").unwrap()]);
    assert_eq!(state.sent, before, "nobody is greeted in another's name");
}
