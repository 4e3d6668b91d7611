//! What the router itself answers, for the three generations' frames (vip-zmq.md §12, 13 to 26).

use std::time::Duration;

use serde_json::{Value, json};

use crate::platform::Platform;

const GENERATIONS: [u32; 3] = [6, 9, 11];

#[tokio::test]
async fn hello_is_welcomed_under_its_own_id_for_every_generation() {
    let platform = Platform::start().await;
    for generation in GENERATIONS {
        let identity = format!("greeter{generation}");
        let mut peer = platform.peer(&identity, generation).await;
        peer.run(json!({"do": "hello"})).await;
        let welcome = peer.receives_id("connect.hello.0").await;
        assert_eq!(welcome.len(), 9, "{welcome:?}");
        assert_eq!(welcome[..2], [json!(""), json!("VIP1")], "{welcome:?}");
        assert_eq!(welcome[3..7], [json!("connect.hello.0"), json!("hello"), json!("welcome"), json!("1.0")], "{welcome:?}");
        assert!(!welcome[7].as_str().unwrap().is_empty(), "the router has a name: {welcome:?}");
        assert_eq!(welcome[8], json!(identity), "{welcome:?}");
    }
}

#[tokio::test]
async fn ping_is_answered_with_what_came_behind_it() {
    let platform = Platform::start().await;
    let mut peer = platform.peer("pinger", 9).await;
    for (id, args, expected) in [
        ("p1", json!(["ping", "x", "y"]), json!(["ping", "pong", "x", "y"])),
        ("p2", json!(["drop", "bob"]), json!(["ping", "pong", "bob"])),
        ("p3", json!(["ping", "drop", "bob"]), json!(["ping", "pong", "drop", "bob"])),
        ("p4", json!([]), json!(["ping", "pong"])),
        ("p5", json!(["ping", {"hex": "00ff10"}]), json!(["ping", "pong", {"hex": "00ff10"}])),
    ] {
        assert_eq!(json!(peer.asks_router(id, "ping", args).await), expected, "{id}");
    }
}

#[tokio::test]
async fn the_peer_list_has_the_asker_and_refuses_other_operations() {
    let platform = Platform::start().await;
    let mut peer = platform.peer("lister", 9).await;
    let list = peer.asks_router("l1", "peerlist", json!(["list"])).await;
    assert_eq!(list[..2], [json!("peerlist"), json!("listing")], "{list:?}");
    for identity in ["lister", "platform.auth", "config.store", "control", "platform.health"] {
        assert!(list[2..].contains(&json!(identity)), "{identity} is not in {list:?}");
    }
    assert_eq!(peer.asks_router("l2", "peerlist", json!([])).await, ["peerlist", "error", "missing operation"]);
    assert_eq!(peer.asks_router("l3", "peerlist", json!(["foo"])).await, ["peerlist", "error", "unknown operation"]);
    let other = peer.asks_router("l4", "peerlist", json!(["list_with_messagebus"])).await;
    assert_eq!(other, ["peerlist", "error", "unknown operation"]);
}

#[tokio::test]
async fn a_newcomer_is_announced_to_others_on_its_first_message_and_its_end_likewise() {
    let platform = Platform::start().await;
    let mut old = platform.peer("old", 9).await;
    old.settle().await;
    let mut new = platform.peer("new", 9).await;
    new.run(json!({"do": "publish", "topic": "heartbeat/new", "message": "GOOD"})).await;
    let told = old.receives("peerlist add new", |frames| frames.last() == Some(&json!("new"))).await;
    assert_eq!(json!(told), json!(["", "VIP1", "", "", "peerlist", "add", "new"]));
    new.settle().await;
    let own = new.python.told(|line| line["frames"][4] == "peerlist" && line["frames"][6] == "new");
    assert!(own.is_empty(), "a peer is not told of itself: {own:?}");

    new.run(json!({"do": "agentstop"})).await;
    let told = old.receives("peerlist drop new", |frames| frames.get(5) == Some(&json!("drop"))).await;
    assert_eq!(json!(told), json!(["", "VIP1", "", "", "peerlist", "drop", "new"]));
}

#[tokio::test]
async fn agentstop_ends_a_peers_subscriptions_and_names_only_the_sender() {
    let platform = Platform::start().await;
    let (mut alice, mut bob) = (platform.peer("alice", 9).await, platform.peer("bob", 9).await);
    bob.subscribe("news").await;
    assert_eq!(alice.publish("news/1", json!(1)).await, "1");
    alice.send(json!(["", "VIP1", "", "", "agentstop", "bob"])).await;
    assert_eq!(alice.publish("news/2", json!(2)).await, "1", "another peer cannot stop bob");
    bob.run(json!({"do": "agentstop"})).await;
    alice.receives("peerlist drop bob", |frames| frames.get(5) == Some(&json!("drop")) && frames[6] == "bob").await;
    assert_eq!(alice.publish("news/3", json!(3)).await, "0");
    let listing = alice.asks_router("after", "peerlist", json!(["list"])).await;
    assert!(!listing.contains(&json!("bob")), "{listing:?}");
    bob.settle().await;
    let listing = alice.asks_router("again", "peerlist", json!(["list"])).await;
    assert!(listing.contains(&json!("bob")), "a message after agentstop joins again: {listing:?}");
}

#[tokio::test]
async fn an_unknown_subsystem_is_told_and_a_forbidden_quit_likewise() {
    let platform = Platform::start().await;
    let mut peer = platform.peer("asker", 9).await;
    for subsystem in ["nosuch", "quit"] {
        let answer = peer.asks_router(subsystem, subsystem, json!([])).await;
        assert_eq!(json!(answer), json!(["error", "93", "Protocol not supported", "", subsystem]));
    }
    peer.settle().await;
    let unknown = peer.asks_router("e", "error", json!(["113", "x", "y", "z"]));
    assert!(tokio::time::timeout(Duration::from_millis(500), unknown).await.is_err(), "an error is not answered");
}

#[tokio::test]
async fn a_message_to_nobody_is_told_to_its_sender_in_the_form_that_each_generation_finds() {
    let platform = Platform::start().await;
    for generation in GENERATIONS {
        let mut peer = platform.peer(&format!("caller{generation}"), generation).await;
        peer.run(json!({"do": "call", "peer": "nobody", "method": "m"})).await;
        let sent = peer.python.told(|line| line["event"] == "sent" && line["frames"][0] == "nobody");
        let id = sent[0]["frames"][3].as_str().unwrap().to_owned();
        // 9 and 11 read every frame as JSON and would look for a float; 6 compares bytes.
        let expected = if generation == 6 { id } else { format!("\"{id}\"") };
        let error = peer.receives("an error", |frames| frames.get(4) == Some(&json!("error"))).await;
        assert_eq!(json!(error[3..]), json!([expected, "error", "113", "No route to host", "nobody", "RPC"]), "generation {generation}");
    }
}

#[tokio::test]
async fn a_peer_that_vanished_is_dropped_from_the_list_without_agentstop() {
    let platform = Platform::start().await;
    let (mut watcher, mut gone) = (platform.peer("watcher", 9).await, platform.peer("gone", 9).await);
    watcher.settle().await;
    gone.settle().await;
    watcher.receives("peerlist add gone", |frames| frames.last() == Some(&json!("gone"))).await;
    gone.python.kill().await;
    watcher.receives("peerlist drop gone", |frames| frames.get(5) == Some(&json!("drop")) && frames[6] == "gone").await;
    watcher.send(json!(["gone", "VIP1", "", "id.x", "RPC", "{}"])).await;
    let error = watcher.receives_id("id.x").await;
    assert_eq!(json!(error[4..]), json!(["error", "113", "No route to host", "gone", "RPC"]));
}

#[tokio::test]
async fn a_peer_that_does_not_read_fills_its_own_queue_and_the_sender_is_told() {
    let platform = Platform::start().await;
    let (mut sender, mut deaf) = (platform.peer("sender", 9).await, platform.peer("deaf", 9).await);
    let mut third = platform.peer("third", 9).await;
    deaf.settle().await;
    deaf.run(json!({"do": "reading", "on": false})).await;
    let frames = json!(["deaf", "VIP1", "", "id.flood", "echo", {"fill": 120, "size": 1000}]);
    sender.run(json!({"do": "flood", "times": 60_000, "frames": frames})).await;
    let error = sender.receives_id("id.flood").await;
    assert_eq!(json!(error[4..]), json!(["error", "11", "Resource temporarily unavailable", "deaf", "echo"]));
    third.settle().await;
    deaf.run(json!({"do": "reading", "on": true})).await;
    deaf.receives("what was queued", |frames| frames.get(3) == Some(&json!("id.flood"))).await;
    deaf.python.forget();
    sender.python.forget();
    deaf.settle().await;
}

#[tokio::test]
async fn malformed_messages_are_met_with_silence_and_harm_nothing() {
    let platform = Platform::start().await;
    let mut peer = platform.peer("sloppy", 9).await;
    peer.settle().await;
    let before = peer.python.told(|line| line["event"] == "frames").len();
    for frames in [
        json!([""]),
        json!(["", "VIP1"]),
        json!(["", "VIP1", "", "id"]),
        json!(["", "VIP2", "", "id", "ping", "ping"]),
        json!(["", "", "", "id", "ping", "ping"]),
        json!(["", "vip1", "", "id", "hello", "hello"]),
        json!([{"fill": 0, "size": 300}, "VIP1", "", "id"]),
    ] {
        peer.send(frames).await;
    }
    peer.settle().await;
    let after = peer.python.told(|line| line["event"] == "frames").len();
    assert_eq!(after, before + 1, "only the ping was answered: {:?}", peer.python);
}

#[tokio::test]
async fn frames_between_peers_arrive_byte_for_byte() {
    let platform = Platform::start().await;
    let (mut one, mut two) = (platform.peer("one", 9).await, platform.peer("two", 11).await);
    two.settle().await;
    let args = json!([
        {"hex": "00ff"}, "true", "77", "1.5", "", "null", {"hex": "4d000000"}, {"hex": "c8000000"}, {"hex": "e9"}, "NaN", "{\"a\": 1e400}",
        " spaced ", {"hex": "00ff10".repeat(333_333)}
    ]);
    for id in ["1795478028.8787919824695", "17", "", "text"] {
        let mut frames = vec![json!("two"), json!("VIP1"), json!(""), json!(id), json!("mine")];
        frames.extend(args.as_array().unwrap().clone());
        one.send(json!(frames)).await;
        let received = two.receives("the message", |frames| frames.get(4) == Some(&json!("mine"))).await;
        assert_eq!(json!(received[..5]), json!(["one", "VIP1", "one", id, "mine"]));
        let sent = one.python.event("sent", |line| line["frames"][3] == id && line["frames"][4] == "mine").await;
        assert_eq!(received[17], sent["frames"][17]);
        assert_eq!(received[17]["size"], 999_999);
        assert_eq!(received[5..17], args.as_array().unwrap()[..12], "{id}");
    }
}

#[tokio::test]
async fn a_claimed_user_is_replaced_by_the_proven_one() {
    let platform = Platform::start().await;
    let (mut one, mut two) = (platform.peer("honest", 9).await, platform.peer("reader", 9).await);
    two.settle().await;
    one.send(json!(["reader", "VIP1", "platform", "id.u", "mine", "x"])).await;
    let received = two.receives_id("id.u").await;
    assert_eq!(json!(received), json!(["honest", "VIP1", "honest", "id.u", "mine", "x"]));
}

#[tokio::test]
async fn every_query_is_answered_in_json_and_an_unknown_one_with_null() {
    let platform = Platform::start().await;
    let mut peer = platform.peer("curious", 6).await;
    let key = platform.server_key();
    let mut values = serde_json::Map::new();
    for name in [
        "addresses",
        "local_address",
        "serverkey",
        "instance-name",
        "platform-version",
        "message-bus",
        "bind-web-address",
        "volttron-central-address",
        "volttron-central-serverkey",
        "agent-monitor-frequency",
        "nonsense",
    ] {
        let answer = peer.asks_router(name, "query", json!([name])).await;
        assert_eq!(answer[..2], [json!("query"), json!("")], "{name}: {answer:?}");
        let value: Value =
            serde_json::from_str(answer[2].as_str().unwrap()).unwrap_or_else(|error| panic!("{name}: {error} in {answer:?}"));
        values.insert(name.to_owned(), value);
    }
    assert_eq!(values["addresses"], json!([platform.address()]), "{values:?}");
    let home = platform.home().canonicalize().unwrap();
    assert_eq!(values["local_address"], format!("ipc://@{}/run/vip.socket", home.display()), "{values:?}");
    assert_eq!(values["serverkey"], json!(key), "{values:?}");
    assert!(values["instance-name"].is_string() && values["platform-version"].is_string(), "{values:?}");
    assert_eq!(values["message-bus"], "zmq");
    assert!(values["bind-web-address"].as_str().unwrap().starts_with("https://"), "{values:?}");
    assert!(values["agent-monitor-frequency"].is_u64(), "{values:?}");
    assert_eq!((&values["nonsense"], &values["volttron-central-address"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn an_agentless_start_of_each_generation_runs_to_its_configuration() {
    let platform = Platform::start().await;
    for generation in GENERATIONS {
        let identity = format!("starter{generation}");
        let mut peer = platform.peer(&identity, generation).await;
        let id = peer.run(json!({"do": "start"})).await;
        let response = peer.response(&id).await;
        assert_eq!((&response["result"], &response["error"]), (&Value::Null, &Value::Null), "{response}");
        let told = peer.python.told(|line| line["event"] == "frames" && line["frames"][4] == "RPC");
        let place = |part: &str| {
            let place = told.iter().position(|line| line["frames"][5].as_str().unwrap().contains(part));
            place.unwrap_or_else(|| panic!("no {part} in {told:?}"))
        };
        let (push, answer) = (place("config.initial_update"), place(id.as_str().unwrap()));
        assert!(push < answer, "the push comes before the answer: {told:?}");
        let store = if generation == 11 { "platform.config_store" } else { "config.store" };
        assert_eq!(told[answer]["frames"][0], store, "the store answers under the name that was asked");
    }
}
