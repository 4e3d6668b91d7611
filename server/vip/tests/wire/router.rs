//! §3: what peers ask of the router.

use serde_json::json;
use vt_vip::router::{self, PeerlistAnswer, PeerlistError, Request, Welcome};

use crate::{bytes, frame, message, seen};

fn request(subsystem: &str, args: &[&str]) -> Request {
    let mut frames = vec!["", "VIP1", "", "id.1", subsystem];
    frames.extend(args);
    Request::decode(&message(&frames))
}

#[test]
fn hello_is_answered_with_welcome() {
    let hello = message(&["", "VIP1", "", "connect.hello.0", "hello", "hello"]);
    assert_eq!(Request::decode(&hello), Request::Hello);
    assert_eq!(request("hello", &[]), Request::Hello);
    let mut welcome = hello.answer(router::welcome("3f0c", &frame("alice")));
    welcome.user = frame("alice");
    assert_eq!(
        welcome.clone().into_frames(),
        bytes(&["", "0x56495031", "alice", "connect.hello.0", "hello", "0x77656c636f6d65", "0x312e30", "3f0c", "alice"])
    );
    let read = Welcome::decode(&welcome.args).unwrap();
    assert_eq!(read, Welcome { version: "1.0".to_owned(), router: "3f0c".to_owned(), peer: frame("alice") });
    assert_eq!(Welcome::decode(&hello.args), None);
    assert_eq!(router::hello("connect.hello.0"), hello);
}

#[test]
fn ping_is_echoed_whatever_its_first_argument() {
    let pong = |args: &[&str]| match request("ping", args) {
        Request::Ping { data } => router::pong(data),
        other => panic!("{other:?}"),
    };
    assert_eq!(pong(&["x", "y"]), bytes(&["pong", "y"]));
    assert_eq!(pong(&["ping", "x", "y"]), bytes(&["pong", "x", "y"]));
    assert_eq!(pong(&["drop", "bob"]), bytes(&["pong", "bob"]));
    assert_eq!(pong(&[]), bytes(&["pong"]));
    assert_eq!(pong(&["ping", "0x00ff", ""]), bytes(&["pong", "0x00ff", ""]));
}

#[test]
fn the_peer_list_is_listed() {
    assert_eq!(request("peerlist", &["list"]), Request::ListPeers);
    let listing = router::listing(bytes(&["alice", "control"]));
    assert_eq!(listing, bytes(&["listing", "alice", "control"]));
    assert_eq!(PeerlistAnswer::decode(&listing), Some(PeerlistAnswer::Listing(bytes(&["alice", "control"]))));
}

#[test]
fn other_peerlist_operations_are_answered_within_the_subsystem() {
    assert_eq!(request("peerlist", &[]), Request::BadPeerlist(PeerlistError::Missing));
    for other in ["foo", "add", "list_with_messagebus", "LIST"] {
        assert_eq!(request("peerlist", &[other]), Request::BadPeerlist(PeerlistError::Unknown));
    }
    assert_eq!(router::peerlist_error(PeerlistError::Missing), bytes(&["error", "missing operation"]));
    let unknown = router::peerlist_error(PeerlistError::Unknown);
    assert_eq!(unknown, bytes(&["error", "unknown operation"]));
    assert_eq!(PeerlistAnswer::decode(&unknown), Some(PeerlistAnswer::Error("unknown operation".to_owned())));
}

#[test]
fn coming_and_going_is_told() {
    let added = router::peer_added(&frame("bob"));
    let dropped = router::peer_dropped(&frame("bob"));
    assert_eq!(PeerlistAnswer::decode(&added.args), Some(PeerlistAnswer::Added(frame("bob"))));
    assert_eq!(PeerlistAnswer::decode(&dropped.args), Some(PeerlistAnswer::Dropped(frame("bob"))));
    assert_eq!(seen(added), ["", "VIP1", "", "", "peerlist", "add", "bob"]);
    assert_eq!(seen(dropped), ["", "VIP1", "", "", "peerlist", "drop", "bob"]);
    assert_eq!(PeerlistAnswer::decode(&bytes(&["add"])), None);
    assert_eq!(PeerlistAnswer::decode(&[]), None);
}

#[test]
fn queries_are_answered_in_json() {
    assert_eq!(request("query", &["addresses"]), Request::Query { key: Some("addresses".to_owned()) });
    assert_eq!(request("query", &[]), Request::Query { key: None });
    for (value, text) in [
        (json!("six1"), r#""six1""#),
        (json!(600), "600"),
        (json!(null), "null"),
        (json!(["tcp://1.2.3.4:22916"]), r#"["tcp://1.2.3.4:22916"]"#),
    ] {
        let answer = router::query_value(&value);
        assert_eq!(answer, bytes(&["", text]));
        assert_eq!(router::decode_query_value(&answer), value);
    }
    assert_eq!(router::decode_query_value(&bytes(&["", "nine1"])), json!("nine1"));
    assert_eq!(router::decode_query_value(&bytes(&["", ""])), json!(null));
    assert_eq!(router::decode_query_value(&bytes(&[""])), json!(null));
}

#[test]
fn peers_leave_and_the_platform_stops_without_an_answer() {
    assert_eq!(request("agentstop", &["bob"]), Request::AgentStop { identity: frame("bob") });
    assert_eq!(request("agentstop", &[]), Request::Ignored);
    assert_eq!(request("quit", &[]), Request::Quit);
}

#[test]
fn every_other_subsystem_has_its_place() {
    assert_eq!(request("pubsub", &["publish"]), Request::Pubsub);
    assert_eq!(request("routing_table", &["hello"]), Request::RoutingTable);
    assert_eq!(request("external_rpc", &["send_peer"]), Request::ExternalRpc);
    assert_eq!(request("error", &["113"]), Request::Ignored);
    for other in ["", "RPC", "channel", "auth", "Hello", "0xff"] {
        assert_eq!(request(other, &[]), Request::Unknown, "{other:?}");
    }
}
