//! Publishing and subscribing (vip-zmq.md §12, 38 to 49): frames for the three generations, and real agents on both sides.

use serde_json::{Value, json};
use vt_testkit::{TestServer, eventually_async};

use crate::platform::Platform;
use crate::python::{Installed, PATIENCE};

#[tokio::test]
async fn answers_are_json_that_every_generation_reads() {
    let platform = Platform::start().await;
    for generation in [6, 9, 11] {
        let mut peer = platform.peer(&format!("talker{generation}"), generation).await;
        // `subscribe` and `publish` of the helper insist on `true` and a number as JSON text.
        peer.subscribe("t/").await;
        assert_eq!(peer.publish("t/a", json!({"x": 1})).await, "1");
        assert_eq!(peer.publish("u/a", json!({"x": 1})).await, "0");
    }
}

#[tokio::test]
async fn a_prefix_is_plain_text_the_empty_one_matches_all_and_another_bus_nothing() {
    let platform = Platform::start().await;
    let mut publisher = platform.peer("publisher", 9).await;
    let (mut devices, mut all, mut bus) = (platform.peer("devices", 9).await, platform.peer("all", 9).await, platform.peer("bus", 9).await);
    devices.subscribe("zone/a").await;
    all.subscribe("").await;
    bus.run(json!({"do": "subscribe", "prefix": "zone", "bus": "other"})).await;
    bus.receives("the answer", |frames| frames.get(5) == Some(&json!("request_response"))).await;
    assert_eq!(publisher.publish("zone/ab/all", json!(1)).await, "2");
    assert_eq!(publisher.publish("zone/b", json!(2)).await, "1");
    assert_eq!(publisher.publish("Zone/a", json!(3)).await, "1");
    devices.hears("zone/ab/all").await;
    for topic in ["zone/ab/all", "zone/b", "Zone/a"] {
        all.hears(topic).await;
    }
    bus.settle().await;
    assert!(bus.python.told(|line| line["frames"][5] == "publish").is_empty(), "{:?}", bus.python);
}

#[tokio::test]
async fn one_message_reaches_a_subscriber_once_however_many_of_its_prefixes_match() {
    let platform = Platform::start().await;
    let (mut publisher, mut subscriber) = (platform.peer("publisher", 9).await, platform.peer("subscriber", 9).await);
    for prefix in ["", "a", "a/b"] {
        subscriber.subscribe(prefix).await;
    }
    for prefix in ["a", "a/b/c"] {
        subscriber.run(json!({"do": "subscribe", "prefix": prefix, "all_platforms": true})).await;
        subscriber.receives("the answer", |frames| frames.get(5) == Some(&json!("request_response"))).await;
    }
    assert_eq!(publisher.publish("a/b/c", json!("once")).await, "1");
    subscriber.hears("a/b/c").await;
    subscriber.settle().await;
    assert_eq!(subscriber.python.told(|line| line["frames"][6] == "a/b/c" && line["event"] == "frames").len(), 1);
}

#[tokio::test]
async fn a_delivery_has_four_members_and_comes_before_the_answer() {
    let platform = Platform::start().await;
    let mut peer = platform.peer("both", 9).await;
    peer.subscribe("t").await;
    let body = r#"{"bus": "", "extra": 1, "headers": {"H": "v"}, "message": {"é": 1}, "sender": "forged"}"#;
    let body = body.replace('é', "\\u00e9");
    peer.send(json!(["", "VIP1", "", "id.p", "pubsub", "publish", "t/x", body])).await;
    let delivered = peer.hears("t/x").await;
    assert_eq!(json!([delivered[0], delivered[1], delivered[4], delivered[5]]), json!(["", "VIP1", "pubsub", "publish"]));
    let document: Value = serde_json::from_str(delivered[7].as_str().unwrap()).unwrap();
    assert_eq!(document, json!({"sender": "both", "bus": "", "headers": {"H": "v"}, "message": {"é": 1}}));
    assert!(delivered[7].as_str().unwrap().is_ascii(), "{delivered:?}");
    peer.receives("the answer", |frames| frames.get(5) == Some(&json!("request_response"))).await;
    let order = peer.python.told(|line| line["frames"][4] == "pubsub" && line["event"] == "frames" && line["frames"][6] != "true");
    assert_eq!(order.iter().map(|line| line["frames"][5].clone()).collect::<Vec<_>>(), ["publish", "request_response"]);
}

#[tokio::test]
async fn a_publisher_of_9_is_told_of_200_subscribers() {
    let platform = Platform::start().await;
    let keys = platform.keys().await;
    platform.edit_book(|book| {
        let mut entry = crate::platform::entry("many", &keys.public, &json!({}));
        entry["identity"] = Value::Null;
        book["allow"].as_array_mut().unwrap().push(entry);
    });
    let mut crowd = platform.knocking("crowd", 9, &keys);
    crowd.connected().await;
    // 200 sockets in one process: one subscriber each, all with the same key.
    let many = crowd.run(json!({"do": "crowd", "size": 200, "prefix": "crowd/"})).await;
    assert_eq!(many, 200);
    assert_eq!(crowd.publish("crowd/1", json!(1)).await, "200");
    let received = crowd.run(json!({"do": "crowd_received", "topic": "crowd/1"})).await;
    assert_eq!(received, 200);
}

#[tokio::test]
async fn synchronize_replaces_all_subscriptions_and_twice_changes_nothing() {
    let platform = Platform::start().await;
    for generation in [6, 9, 11] {
        let mut publisher = platform.peer(&format!("publisher{generation}"), 9).await;
        let mut peer = platform.peer(&format!("peer{generation}"), generation).await;
        let topic = |name: &str| format!("g{generation}/{name}");
        for name in ["a", "b"] {
            peer.subscribe(&topic(name)).await;
        }
        // The bare peer of 9 sends it twice under one id, as the real one does.
        let subscriptions = json!({"internal": [topic("b"), topic("c")], "all": [topic("d")]});
        peer.run(json!({"do": "synchronize", "subscriptions": subscriptions})).await;
        peer.settle().await;
        for (name, count) in [("a", "0"), ("b", "1"), ("c", "1"), ("d", "1")] {
            assert_eq!(publisher.publish(&topic(name), json!(name)).await, count, "generation {generation}, {name}");
        }
        let answers = peer.python.told(|line| line["frames"][4] == "pubsub" && line["frames"][5] == "request_response");
        assert_eq!(answers.len(), 2, "synchronize is not answered");
    }
}

#[tokio::test]
async fn unsubscribing_works_with_a_list_a_text_null_and_in_the_old_form() {
    let platform = Platform::start().await;
    let (mut publisher, mut peer) = (platform.peer("publisher", 9).await, platform.peer("peer", 9).await);
    for (index, body) in [
        json!({"internal": {"prefix": ["x/a", "x/b"], "bus": ""}}),
        json!({"internal": {"prefix": "x/a", "bus": ""}}),
        json!({"internal": {"prefix": null, "bus": ""}}),
        json!({"prefix": ["x/a"], "bus": ""}),
        json!({"prefix": "x/a", "bus": ""}),
        json!({"prefix": null, "bus": ""}),
    ]
    .into_iter()
    .enumerate()
    {
        for prefix in ["x/a", "x/b"] {
            peer.subscribe(prefix).await;
        }
        let answer = peer.asks_router(&format!("u{index}"), "pubsub", json!(["unsubscribe", {"json": body}])).await;
        assert_eq!(answer, ["pubsub", "request_response", "true"], "{body}");
        let both = body.to_string().contains("x/b") || body.to_string().contains("null");
        assert_eq!(publisher.publish("x/a", json!(1)).await, "0", "{body}");
        assert_eq!(publisher.publish("x/b", json!(1)).await, if both { "0" } else { "1" }, "{body}");
        peer.asks_router(&format!("all{index}"), "pubsub", json!(["unsubscribe", {"json": {"prefix": null, "bus": ""}}])).await;
    }
}

#[tokio::test]
async fn subscriptions_are_listed_forwards_backwards_and_for_every_bus() {
    let platform = Platform::start().await;
    let (mut peer, mut other) = (platform.peer("peer", 9).await, platform.peer("other", 9).await);
    peer.subscribe("list/a").await;
    other.subscribe("list/a/b").await;
    peer.run(json!({"do": "subscribe", "prefix": "list/c", "bus": "side"})).await;
    peer.receives("the answer", |frames| frames.get(5) == Some(&json!("request_response"))).await;
    let mut number = 0;
    let mut list = async |prefix: &str, bus: Value, subscribed: bool, reverse: bool| -> Vec<Value> {
        number += 1;
        let body = json!({"prefix": prefix, "bus": bus, "subscribed": subscribed, "reverse": reverse, "all_platforms": false});
        let answer = peer.asks_router(&format!("list{number}"), "pubsub", json!(["list", {"json": body}])).await;
        assert_eq!(answer[1], "list_response", "{answer:?}");
        let mut found: Vec<Value> = serde_json::from_str(answer[2].as_str().unwrap()).unwrap();
        found.sort_by_key(Value::to_string);
        found
    };
    assert_eq!(list("list/", json!(""), true, false).await, [json!(["", "list/a", true])]);
    assert_eq!(list("list/", json!(""), false, false).await, [json!(["", "list/a", true]), json!(["", "list/a/b", false])]);
    assert_eq!(list("list/a/b/c", json!(""), false, true).await, [json!(["", "list/a", true]), json!(["", "list/a/b", false])]);
    let every = list("list/", Value::Null, false, false).await;
    assert_eq!(every, [json!(["", "list/a", true]), json!(["", "list/a/b", false]), json!(["side", "list/c", true])]);
}

#[tokio::test]
async fn numbers_and_escapes_are_passed_on_as_they_were_written() {
    let platform = Platform::start().await;
    let mut peer = platform.peer("exact", 9).await;
    peer.subscribe("n").await;
    let digits = "9".repeat(400);
    let message = format!(r#"[NaN, Infinity, -Infinity, {digits}, 1e400, 1.50, -0, "\u00e9", 0.1000000000000000055511151231257827]"#);
    let body = format!(r#"{{"bus": "", "headers": {{"a": 1.10}}, "message": {message}}}"#);
    peer.send(json!(["", "VIP1", "", "id.n", "pubsub", "publish", "n", body])).await;
    let delivered = peer.hears("n").await;
    let text = delivered[7].as_str().unwrap();
    assert!(text.contains(&message), "{text}");
    assert!(text.contains(r#"{"a": 1.10}"#), "{text}");
}

#[tokio::test]
async fn a_topic_of_latin_letters_is_one_byte_a_letter_and_matches_its_prefix() {
    let platform = Platform::start().await;
    let (mut publisher, mut subscriber) = (platform.peer("publisher", 9).await, platform.peer("subscriber", 9).await);
    // Inside JSON the prefix is `caf\u00e9`, in its own frame the topic is one byte e9.
    subscriber.subscribe("café").await;
    assert_eq!(publisher.publish("café/x", json!(1)).await, "1");
    let delivered = subscriber.receives("the delivery", |frames| frames.get(5) == Some(&json!("publish"))).await;
    assert_eq!(delivered[6], json!({"hex": "636166e92f78"}));
}

#[tokio::test]
async fn a_protected_topic_is_closed_to_all_but_those_who_hold_every_capability() {
    let protected = json!({"write-protect": [
        {"topic": "foo", "capabilities": ["can_publish_to_foo"]},
        {"topic": "/bar.*end/", "capabilities": ["a", "b"]},
    ]});
    let platform = Platform::with(TestServer::builder().file("protected_topics.json", &protected.to_string())).await;
    let mut listener = platform.peer("listener", 9).await;
    listener.subscribe("").await;
    let mut poor = platform.peer("poor", 9).await;
    let mut half = platform.peer_with("half", 9, &json!({"can_publish_to_foo": null, "a": null})).await;
    let mut rich = platform.peer_with("rich", 6, &json!({"can_publish_to_foo": null, "a": null, "b": null})).await;
    for (index, topic) in ["foo", "foo/below", "bar/x/end"].into_iter().enumerate() {
        let id = format!("id.{index}");
        poor.run(json!({"do": "router", "subsystem": "pubsub", "args": ["publish", topic, {"json": {"bus": "", "headers": {}, "message": 1}}], "id": id}))
            .await;
        let error = poor.receives_id(&id).await;
        assert_eq!(json!([error[4], error[5], error[7], error[8]]), json!(["error", "-32001", "", "pubsub"]), "{topic}: {error:?}");
        let count = poor.receives_id(&id).await;
        assert_eq!(json!(count[4..]), json!(["pubsub", "request_response", "0"]), "{topic}");
        assert_eq!(rich.publish(topic, json!("rich")).await, "1", "{topic}");
        assert_eq!(listener.hears(topic).await[7].as_str().map(|text| text.contains("\"rich\"")), Some(true), "{topic}");
    }
    assert_eq!(half.publish("foo", json!("half")).await, "1");
    half.run(json!({"do": "publish", "topic": "bar/x/end", "message": 1})).await;
    half.receives("an error", |frames| frames.get(4) == Some(&json!("error"))).await;
    assert_eq!(poor.publish("fo", json!("free")).await, "1");

    // The file is watched.
    std::fs::write(platform.home().join("protected_topics.json"), "").unwrap();
    eventually_async("the topic is open again", PATIENCE, async || (poor.publish("foo", json!("now")).await == "1").then_some(())).await;
}

#[tokio::test]
async fn a_killed_subscriber_takes_its_subscriptions_with_it_and_disturbs_nobody() {
    let platform = Platform::start().await;
    let (mut publisher, mut killed, mut other) =
        (platform.peer("publisher", 9).await, platform.peer("killed", 9).await, platform.peer("other", 9).await);
    killed.subscribe("k").await;
    other.subscribe("k").await;
    assert_eq!(publisher.publish("k", json!(1)).await, "2");
    killed.python.kill().await;
    eventually_async("the subscriptions are gone", PATIENCE, async || (publisher.publish("k", json!(2)).await == "1").then_some(())).await;
    let errors = publisher.python.told(|line| line["frames"][4] == "error");
    assert!(errors.is_empty(), "{errors:?}");
    other.hears("k").await;
}

#[tokio::test]
async fn real_agents_of_both_packages_hear_each_other() {
    let platform = Platform::start().await;
    let mut eleven = platform.agent(Installed::Eleven, "eleven", &["--subscribe", "ten/"]).await;
    let mut ten = platform.agent(Installed::Ten, "ten", &["--subscribe", "eleven/", "--subscribe-all", "both/"]).await;
    let message = json!({"text": "é☃", "numbers": [1, 1.5, null, true]});
    assert_eq!(eleven.publish("eleven/x", json!({"Key": "v"}), message.clone()).await, 1);
    assert_eq!(ten.publish("ten/x", json!({}), message.clone()).await, 1);
    for (agent, topic, sender) in [(&eleven, "ten/x", "ten"), (&ten, "eleven/x", "eleven")] {
        let heard = agent.hears(topic).await;
        assert_eq!((&heard["sender"], &heard["message"], &heard["peer"]), (&json!(sender), &message, &json!("pubsub")), "{heard}");
        assert_eq!(heard["headers"]["min_compatible_version"], "3.0", "{heard}");
    }
    assert_eq!(eleven.publish("both/1", json!({}), json!(1)).await, 1);
    ten.hears("both/1").await;
    eleven.subscribe("both/").await;
    assert_eq!(ten.publish("both/2", json!({}), json!(2)).await, 2);
    for agent in [&eleven, &ten] {
        assert_eq!(agent.hears("both/2").await["sender"], "ten");
    }
    assert_eq!(ten.python.ask(&json!({"do": "unsubscribe", "prefix": "eleven/"})).await.unwrap(), true);
    assert_eq!(eleven.publish("eleven/y", json!({}), json!(1)).await, 0);
}
