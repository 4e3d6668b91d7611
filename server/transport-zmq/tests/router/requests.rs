//! What the router answers itself.

use bytes::Bytes;
use serde_json::json;
use vt_transport_zmq::DealerEvent;
use vt_vip::Message;

use crate::bench::{Site, parsed, text, until};

#[tokio::test]
async fn hello_is_answered_with_the_names_of_both() {
    let site = Site::new();
    let mut peer = site.peer("alice").await;
    let welcome = peer.ask(b"hello", vec![Bytes::from("hello")]).await;
    assert_eq!(text(&welcome.args), ["welcome", "1.0", "router-id", "alice"]);
    assert!(welcome.peer.is_empty());
    site.close().await;
}

#[tokio::test]
async fn ping_is_echoed() {
    let site = Site::new();
    let mut peer = site.peer("alice").await;
    let pong = peer.ask(b"ping", vec!["ping".into(), "x".into(), "y".into()]).await;
    assert_eq!(text(&pong.args), ["pong", "x", "y"]);
    assert_eq!(text(&peer.ask(b"ping", vec!["drop".into(), "bob".into()]).await.args), ["pong", "bob"]);
    assert_eq!(text(&peer.ask(b"ping", vec![]).await.args), ["pong"]);
}

#[tokio::test]
async fn the_peer_list_holds_everybody_and_changes_are_told_to_the_others() {
    let site = Site::new();
    let (_service, _inbox) = site.local("control");
    let mut alice = site.peer("alice").await;
    assert_eq!(text(&alice.ask(b"peerlist", vec!["list".into()]).await.args), ["listing", "alice", "control"]);
    assert_eq!(text(&alice.ask(b"peerlist", vec![]).await.args), ["error", "missing operation"]);
    assert_eq!(text(&alice.ask(b"peerlist", vec!["foo".into()]).await.args), ["error", "unknown operation"]);

    let bob = site.peer("bob").await;
    let told = |event: DealerEvent| match event {
        DealerEvent::Message(Message { subsystem, args, .. }) => (subsystem, text(&args)),
        other => panic!("{other:?}"),
    };
    assert_eq!(told(alice.event().await), (Bytes::from("peerlist"), vec!["add".to_owned(), "bob".to_owned()]));
    bob.send(Message::new("", "", b"agentstop", vec!["alice".into()])).await;
    bob.send(Message::new("", "", b"agentstop", vec!["bob".into()])).await;
    assert_eq!(told(alice.event().await), (Bytes::from("peerlist"), vec!["drop".to_owned(), "bob".to_owned()]));
    assert_eq!(site.bus.peers().len(), 2, "nobody stops others");
    bob.send(Message::new("", "again", b"ping", vec![])).await;
    assert_eq!(told(alice.event().await).1, ["add", "bob"], "a message after the stop brings it back");
    drop(bob);
    assert_eq!(told(alice.event().await).1, ["drop", "bob"], "so does losing the connection");
}

#[tokio::test]
async fn facts_are_told_as_json() {
    let site = Site::new();
    let mut peer = site.peer("alice").await;
    for (key, value) in [
        ("instance-name", json!("site1")),
        ("message-bus", json!("zmq")),
        ("addresses", json!([site.address])),
        ("bind-web-address", json!(null)),
        ("nonsense", json!(null)),
    ] {
        let answer = peer.ask(b"query", vec![Bytes::from(key)]).await;
        assert_eq!((&*answer.args[0], parsed(&answer.args[1])), (&b""[..], value), "{key}");
    }
    assert_eq!(parsed(&peer.ask(b"query", vec!["serverkey".into()]).await.args[1]).as_str().unwrap().len(), 43);
}

#[tokio::test]
async fn what_the_router_does_not_know_is_an_error() {
    let site = Site::new();
    let mut peer = site.peer("alice").await;
    for subsystem in [&b"nonsense"[..], b"quit"] {
        let name = String::from_utf8_lossy(subsystem);
        peer.send(Message::new("", "1", subsystem, vec![])).await;
        assert_eq!(text(&peer.message().await.args), ["93", "Protocol not supported", "", &*name], "{name}");
    }
    assert_eq!(text(&peer.ask(b"ping", vec![]).await.args), ["pong"], "and the platform goes on");
}

#[tokio::test]
async fn messages_between_peers_pass_byte_for_byte_with_the_senders_name_and_user() {
    let site = Site::new();
    let alice = site.peer("alice").await;
    let mut bob = site.peer("bob").await;
    let args = vec![Bytes::from_static(b"\x00\xff"), Bytes::from(vec![7; 1 << 20]), "true".into(), "77".into(), "1.5".into(), Bytes::new()];
    let message = Message { peer: "bob".into(), user: "platform".into(), id: "1795478028.8787".into(), subsystem: "channel".into(), args };
    alice.send(message.clone()).await;
    assert_eq!(bob.message().await, Message { peer: "alice".into(), user: "alice".into(), ..message });
}

#[tokio::test]
async fn a_message_to_nobody_is_no_route_and_its_number_like_id_stays_a_text() {
    let site = Site::new();
    let mut alice = site.peer("alice").await;
    for (id, back) in [("id.g", "id.g"), ("1795478028.8787919824695", "\"1795478028.8787919824695\"")] {
        alice.send(Message::new("ghost", id, b"RPC", vec!["{}".into()])).await;
        let error = alice.message().await;
        assert_eq!(
            (text(&error.args), error.id),
            (vec!["113".into(), "No route to host".into(), "ghost".into(), "RPC".into()], Bytes::from(back))
        );
    }
    alice.send(Message::new("ghost", "1", b"error", vec!["113".into()])).await;
    assert_eq!(text(&alice.ask(b"ping", vec![]).await.args), ["pong"], "an error is not answered with an error");
    until("the counter", || site.statistics.unroutable.load(std::sync::atomic::Ordering::Relaxed) == 3).await;
}

#[tokio::test]
async fn peers_in_this_process_answer_hello_and_ping_and_know_nothing_else() {
    let site = Site::new();
    let (_service, _inbox) = site.local("config.store");
    let mut alice = site.peer("alice").await;
    alice.send(Message::new("platform.config_store", "1", b"ping", vec!["ping".into(), "x".into()])).await;
    let pong = alice.message().await;
    assert_eq!(
        (text(&pong.args), pong.peer),
        (vec!["pong".into(), "x".into()], Bytes::from("platform.config_store")),
        "under the name addressed"
    );
    alice.send(Message::new("config.store", "2", b"hello", vec!["hello".into()])).await;
    assert_eq!(alice.message().await.args[0], "welcome");
    alice.send(Message::new("config.store", "3", b"strange", vec![])).await;
    assert_eq!(alice.message().await.args[0], "93");
}
