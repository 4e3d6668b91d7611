//! §9.2 to §9.4: platforms among themselves.

use serde_json::json;
use vt_vip::Message;
use vt_vip::external_rpc::{self, DOCUMENTS_MAX, ExternalRpcError, Letter};
use vt_vip::frames::subsystem;
use vt_vip::routing_table::{self, Operation, Platform, RoutingTableError, WEB_ADDRESSES_MAX};

use crate::{bytes, seen};

const KEY: &str = "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM";

#[test]
fn platforms_greet_each_other() {
    let hello = routing_table::hello("p1");
    let welcome = routing_table::welcome("p2");
    assert_eq!(routing_table::decode(&hello), Ok(Operation::Hello { platform: "p1".to_owned() }));
    assert_eq!(routing_table::decode(&welcome), Ok(Operation::Welcome { platform: "p2".to_owned() }));
    let frames = seen(Message::new("", "", subsystem::ROUTING_TABLE, hello));
    assert_eq!(frames, ["", "VIP1", "", "", "routing_table", "hello", "hello", "p1"]);
    let frames = seen(Message::new("", "", subsystem::ROUTING_TABLE, welcome));
    assert_eq!(frames, ["", "VIP1", "", "", "routing_table", "hello", "welcome", "p2"]);
}

#[test]
fn discovered_platforms_are_read() {
    let entry = json!({"vip-address": "tcp://h:22916", "instance-name": "p2", "serverkey": KEY});
    let read = Platform::decode(entry.to_string().as_bytes()).unwrap();
    assert_eq!(read.to_json(), entry);
    let operation = routing_table::decode(&bytes(&["normalmode_platform_connection", &entry.to_string()]));
    assert_eq!(operation, Ok(Operation::Connect(read.clone())));

    let mut setup = entry;
    setup["web-address"] = json!("http://h:8080");
    let with_web = Platform { web_address: Some("http://h:8080".to_owned()), ..read };
    assert_eq!(with_web.to_json(), setup);
    let operation = routing_table::decode(&bytes(&["setupmode_platform_connection", &setup.to_string()]));
    assert_eq!(operation, Ok(Operation::Introduce(with_web)));
    let operation = routing_table::decode(&bytes(&["web-addresses", r#"["http://h:8080"]"#]));
    assert_eq!(operation, Ok(Operation::WebAddresses(vec!["http://h:8080".to_owned()])));
}

#[test]
fn routing_messages_that_say_nothing_are_told_from_wrong_ones() {
    assert_eq!(routing_table::decode(&bytes(&["request_response", "update"])), Ok(Operation::Ignored));
    assert_eq!(routing_table::decode(&bytes(&["update"])), Ok(Operation::Ignored));
    for args in [&[][..], &["hello"], &["hello", "hello"], &["hello", "bye", "p1"], &["what", "x"], &["web-addresses"]] {
        assert_eq!(routing_table::decode(&bytes(args)), Err(RoutingTableError::Operation), "{args:?}");
    }
    let wrong_key = json!({"vip-address": "tcp://h:1", "instance-name": "p2", "serverkey": "short"}).to_string();
    let decode = |entry: &str| routing_table::decode(&bytes(&["normalmode_platform_connection", entry]));
    assert_eq!(decode(&wrong_key), Err(RoutingTableError::Member("serverkey")));
    assert_eq!(decode("[]"), Err(RoutingTableError::Member("instance-name")));
    assert!(matches!(decode("{"), Err(RoutingTableError::Json(_))));
    let many = json!(vec!["x"; WEB_ADDRESSES_MAX + 1]).to_string();
    assert_eq!(routing_table::decode(&bytes(&["web-addresses", &many])), Err(RoutingTableError::TooMany(WEB_ADDRESSES_MAX + 1)));
    assert_eq!(routing_table::decode(&bytes(&["web-addresses", "[1]"])), Err(RoutingTableError::Member("web-addresses")));
}

#[test]
fn a_call_to_another_platform_goes_as_a_letter() {
    let asked = r#"{"to_platform":"p2","to_peer":"B","from_platform":"","from_peer":"","args":["{\"jsonrpc\":\"2.0\"}"]}"#;
    let (operation, letter) = external_rpc::decode(&bytes(&["send_platform", asked])).unwrap();
    assert_eq!(operation, external_rpc::Operation::SendPlatform);
    assert_eq!((letter.to_platform.as_str(), letter.to_peer.as_str()), ("p2", "B"));
    assert_eq!(letter.documents, [r#"{"jsonrpc":"2.0"}"#]);

    let onwards = Letter { from_platform: "p1".to_owned(), from_peer: "A".to_owned(), ..letter };
    let args = external_rpc::encode(external_rpc::Operation::SendPeer, &onwards);
    assert_eq!(args[0], "send_peer");
    assert_eq!(args[1], r#"{"to_platform":"p2","to_peer":"B","from_platform":"p1","from_peer":"A","args":["{\"jsonrpc\":\"2.0\"}"]}"#);
    assert_eq!(external_rpc::decode(&args), Ok((external_rpc::Operation::SendPeer, onwards)));
}

#[test]
fn a_letter_is_lenient_in_what_its_router_fills_in() {
    let (_, letter) =
        external_rpc::decode(&bytes(&["send_platform", r#"{"to_platform":"p2","to_peer":"B","args":[{"id":NaN}]}"#])).unwrap();
    assert_eq!((letter.from_platform.as_str(), letter.from_peer.as_str()), ("", ""));
    assert_eq!(letter.documents, [r#"{"id":null}"#]);
}

#[test]
fn what_is_no_letter_says_why() {
    for args in [&[][..], &["send_peer"], &["send_nobody", "{}"], &["", "{}"]] {
        assert_eq!(external_rpc::decode(&bytes(args)), Err(ExternalRpcError::Operation), "{args:?}");
    }
    let decode = |letter: &str| external_rpc::decode(&bytes(&["send_peer", letter]));
    assert_eq!(decode(r#"{"to_platform":"p2","args":[]}"#), Err(ExternalRpcError::Member("to_peer")));
    assert_eq!(decode(r#"{"to_platform":"","to_peer":"B","args":[]}"#), Err(ExternalRpcError::Member("to_platform")));
    assert_eq!(decode(r#"{"to_platform":"p2","to_peer":"B"}"#), Err(ExternalRpcError::Member("args")));
    assert_eq!(decode(r#"{"to_platform":"p2","to_peer":"B","args":[],"from_peer":1}"#), Err(ExternalRpcError::Member("from_peer")));
    assert_eq!(decode("[]"), Err(ExternalRpcError::Member("to_platform")));
    assert!(matches!(decode("{"), Err(ExternalRpcError::Json(_))));
    let many = json!({"to_platform": "p2", "to_peer": "B", "args": vec![""; DOCUMENTS_MAX + 1]}).to_string();
    assert_eq!(decode(&many), Err(ExternalRpcError::TooMany(DOCUMENTS_MAX + 1)));
}
