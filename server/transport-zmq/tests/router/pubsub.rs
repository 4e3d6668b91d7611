//! Publishing and subscribing.

use bytes::Bytes;
use serde_json::json;
use vt_types::{Headers, Topic, TopicPrefix};
use vt_vip::Message;

use crate::bench::{Site, parsed, text};

fn topic(text: &str) -> Topic {
    Topic::parse(text).unwrap()
}

#[tokio::test]
async fn publications_reach_remote_and_local_subscribers_and_the_count_comes_after() {
    let site = Site::new();
    let (local, mut inbox) = site.local("platform.historian");
    local.subscribe(&TopicPrefix::parse("devices/a").unwrap()).unwrap();
    let mut alice = site.peer("alice").await;
    alice.subscribe("devices").await;
    alice.subscribe("devices/a").await;
    let args = vt_vip::pubsub::publish(&"devices/ab/all".into(), "", br#"{"Date": "x"}"#, b"[{\"T\": NaN}, 1e400]");
    alice.send(Message::new("", "7", b"pubsub", args)).await;

    let own = alice.message().await;
    assert_eq!((&*own.args[0], &*own.args[1]), (&b"publish"[..], &b"devices/ab/all"[..]));
    assert!(own.peer.is_empty());
    let payload = String::from_utf8(own.args[2].to_vec()).unwrap();
    assert!(payload.contains("\"sender\":\"alice\"") && payload.contains("[{\"T\": NaN}, 1e400]"), "{payload}");
    let count = alice.message().await;
    assert_eq!((text(&count.args), count.id), (vec!["request_response".into(), "2".into()], Bytes::from("7")));

    let got = inbox.publications().recv().await.unwrap();
    assert_eq!((got.sender.as_str(), got.headers.text("date"), &got.message[0]), ("alice", Some("x"), &json!({"T": null})));
}

#[tokio::test]
async fn what_is_published_in_this_process_arrives_in_ascii() {
    let site = Site::new();
    let (local, _inbox) = site.local("platform.driver");
    let mut alice = site.peer("alice").await;
    alice.subscribe("").await;
    local.publish(&topic("t"), Headers::new().with("unit", "°C"), json!({"é": 1})).unwrap();
    let got = alice.message().await;
    assert!(got.args[2].is_ascii());
    assert_eq!(parsed(&got.args[2]), json!({"sender": "platform.driver", "bus": "", "headers": {"unit": "°C"}, "message": {"é": 1}}));
}

#[tokio::test]
async fn synchronizing_replaces_all_subscriptions_and_listing_shows_them() {
    let site = Site::new();
    let mut alice = site.peer("alice").await;
    alice.subscribe("old").await;
    let prefix = |text: &str| TopicPrefix::parse(text).unwrap();
    let lists = |texts: &[&str]| vec![(String::new(), texts.iter().map(|text| prefix(text)).collect::<Vec<_>>())];
    for _ in 0..2 {
        let args = vt_vip::pubsub::synchronize(&lists(&["a", "ab"]), &lists(&["a"]));
        alice.send(Message::new("", "", b"pubsub", args)).await;
    }
    let list = |reverse, all_platforms| vt_vip::pubsub::List { prefix: prefix("ab"), bus: None, subscribed: false, reverse, all_platforms };
    let answer = alice.ask(b"pubsub", vt_vip::pubsub::list(&list(true, false))).await;
    assert_eq!((&*answer.args[0], parsed(&answer.args[1])), (&b"list_response"[..], json!([["", "a", true], ["", "ab", true]])));
    let answer = alice.ask(b"pubsub", vt_vip::pubsub::list(&list(true, true))).await;
    assert_eq!(parsed(&answer.args[1]), json!([["", "a", true]]));
    assert_eq!(text(&alice.publish("old", "1").await.args), ["request_response", "0"]);
    alice.send(Message::new("", "p", b"pubsub", vt_vip::pubsub::publish(&"abc".into(), "", b"{}", b"1"))).await;
    assert_eq!(alice.message().await.args[0], "publish");
    assert_eq!(text(&alice.message().await.args), ["request_response", "1"], "once, however many prefixes match");
}

#[tokio::test]
async fn unsubscribing_takes_lists_single_prefixes_everything_and_the_old_form() {
    let site = Site::new();
    let mut alice = site.peer("alice").await;
    for (request, left) in [
        (r#"{"internal": {"prefix": ["a", "b"], "bus": ""}}"#, 2),
        (r#"{"internal": {"prefix": "c", "bus": ""}}"#, 1),
        (r#"{"prefix": "d", "bus": ""}"#, 0),
        (r#"{"internal": {"prefix": null, "bus": ""}}"#, 0),
    ] {
        if request.contains("[\"a\"") {
            for prefix in ["a", "b", "c", "d"] {
                alice.subscribe(prefix).await;
            }
        }
        let answer = alice.ask(b"pubsub", vec!["unsubscribe".into(), request.into()]).await;
        assert_eq!(text(&answer.args), ["request_response", "true"]);
        let held = site.bus.peer_infos().into_iter().find(|info| info.identity.as_str() == "alice").unwrap().subscriptions.len();
        assert_eq!(held, left, "{request}");
    }
}

#[tokio::test]
async fn named_buses_are_apart_and_nonsense_is_answered_as_nothing_done() {
    let site = Site::new();
    let mut alice = site.peer("alice").await;
    let answer = alice.ask(b"pubsub", vt_vip::pubsub::subscribe(&[TopicPrefix::parse("t").unwrap()], "other", false)).await;
    assert_eq!(text(&answer.args)[1], "true");
    assert_eq!(text(&alice.publish("t", "1").await.args)[1], "0");
    alice.send(Message::new("", "p", b"pubsub", vt_vip::pubsub::publish(&"t".into(), "other", b"{}", b"1"))).await;
    assert_eq!(parsed(&alice.message().await.args[2])["bus"], json!("other"));
    assert_eq!(text(&alice.message().await.args)[1], "1");
    assert_eq!(text(&alice.ask(b"pubsub", vec!["subscribe".into(), "{}".into()]).await.args)[1], "false");
    assert_eq!(text(&alice.ask(b"pubsub", vec!["publish".into(), "t".into(), "{broken".into()]).await.args)[1], "0");
}

#[tokio::test]
async fn a_protected_topic_is_an_error_and_then_a_count_of_none() {
    struct Protected;
    impl vt_bus::Interceptor for Protected {
        fn on_publish(&self, peer: vt_bus::PeerRef<'_>, _: &Topic) -> Result<(), vt_bus::Refusal> {
            if peer.user_id == "bob" { Ok(()) } else { Err(vt_bus::Refusal("needs can_publish".into())) }
        }
    }
    let site = Site::new();
    site.bus.set_interceptors(vec![std::sync::Arc::new(Protected)]);
    let (mut alice, mut bob) = (site.peer("alice").await, site.peer("bob").await);
    bob.subscribe("t").await;
    alice.send(Message::new("", "p", b"pubsub", vt_vip::pubsub::publish(&"t".into(), "", b"{}", b"1"))).await;
    assert_eq!(text(&alice.message().await.args), ["-32001", "needs can_publish", "", "pubsub"]);
    assert_eq!(text(&alice.message().await.args), ["request_response", "0"]);
    bob.send(Message::new("", "p", b"pubsub", vt_vip::pubsub::publish(&"t".into(), "", b"{}", b"1"))).await;
    assert_eq!(bob.message().await.args[0], "publish");
}
