//! §5.1 to §5.3, and the pubsub part of §9.3.

use bytes::Bytes;
use serde_json::{Value, json};
use vt_types::{Identity, Topic, TopicPrefix};
use vt_vip::pubsub::{self, Fault, List, Operation, PREFIXES_MAX, PubsubError, Selection, Verb};

use crate::{bytes, frame};

fn decode(args: &[&str]) -> Result<Operation, PubsubError> {
    pubsub::decode(&bytes(args))
}

fn prefixes(texts: &[&str]) -> Vec<TopicPrefix> {
    texts.iter().map(|text| TopicPrefix::parse(text).unwrap()).collect()
}

/// What the peer gets, as texts.
fn answer(args: &[&str]) -> Option<Vec<Bytes>> {
    decode(args).unwrap_err().answer()
}

#[test]
fn subscribing_takes_one_prefix_or_many() {
    let read = decode(&["subscribe", r#"{"prefix": "devices/a", "bus": ""}"#]);
    assert_eq!(read, Ok(Operation::Subscribe { prefixes: prefixes(&["devices/a"]), bus: String::new(), all_platforms: false }));
    let read = decode(&["subscribe", r#"{"prefix": ["a", ""], "bus": "b", "all_platforms": true}"#]);
    assert_eq!(read, Ok(Operation::Subscribe { prefixes: prefixes(&["a", ""]), bus: "b".to_owned(), all_platforms: true }));
    let read = decode(&["subscribe", r#"{"prefix": "caf\u00e9", "bus": "", "all_platforms": null}"#]);
    assert_eq!(read, Ok(Operation::Subscribe { prefixes: prefixes(&["caf\u{e9}"]), bus: String::new(), all_platforms: false }));
}

#[test]
fn subscribing_without_what_it_needs_is_answered_with_false() {
    for request in
        [r#"{"prefix": "a"}"#, r#"{"bus": ""}"#, r#"{"prefix": 1, "bus": ""}"#, r#"{"prefix": [null], "bus": ""}"#, "[]", "{", "{}"]
    {
        assert_eq!(answer(&["subscribe", request]), Some(bytes(&["request_response", "false"])), "{request}");
    }
    assert_eq!(answer(&["subscribe"]), Some(bytes(&["request_response", "false"])));
    assert_eq!(answer(&["subscribe", r#"{"prefix": "a\nb", "bus": ""}"#]), Some(bytes(&["request_response", "false"])));
}

#[test]
fn unsubscribing_takes_list_single_null_and_the_old_form() {
    let selection = |prefixes: Option<Vec<TopicPrefix>>| Some(Selection { bus: String::new(), prefixes });
    for (request, internal, all) in [
        (r#"{"internal": {"prefix": ["a", "b"], "bus": ""}}"#, selection(Some(prefixes(&["a", "b"]))), None),
        (r#"{"all": {"prefix": "a", "bus": ""}}"#, None, selection(Some(prefixes(&["a"])))),
        (r#"{"internal": {"prefix": null, "bus": ""}, "all": {"prefix": null, "bus": ""}}"#, selection(None), selection(None)),
        (r#"{"prefix": "a", "bus": ""}"#, selection(Some(prefixes(&["a"]))), None),
        (r#"{"prefix": null, "bus": ""}"#, selection(None), None),
    ] {
        assert_eq!(decode(&["unsubscribe", request]), Ok(Operation::Unsubscribe { internal, all }), "{request}");
    }
    for request in [r#"{"internal": {"bus": ""}}"#, r#"{"internal": 5}"#, "{}", r#"{"prefix": "a"}"#] {
        assert_eq!(answer(&["unsubscribe", request]), Some(bytes(&["request_response", "false"])), "{request}");
    }
}

#[test]
fn a_publication_keeps_its_text() {
    let document = r#"{"bus": "", "headers": {"Date": "x", "min_compatible_version": "3.0"}, "message": [NaN, 1e400, 1.50, "\u00e9", 123456789012345678901234567890], "more": 1}"#;
    let Ok(Operation::Publish(read)) = decode(&["publish", "devices/a/all", document]) else { panic!("no publication") };
    assert_eq!(read.topic.as_str(), "devices/a/all");
    assert_eq!(read.topic_frame, "devices/a/all");
    assert_eq!(read.bus, "");
    assert_eq!(read.headers, r#"{"Date": "x", "min_compatible_version": "3.0"}"#);
    assert_eq!(read.message, r#"[NaN, 1e400, 1.50, "\u00e9", 123456789012345678901234567890]"#);

    let delivery = pubsub::delivery(&read.topic_frame, "alice", &read.bus, &read.headers, &read.message);
    assert_eq!(
        delivery,
        bytes(&[
            "publish",
            "devices/a/all",
            r#"{"sender":"alice","bus":"","headers":{"Date": "x", "min_compatible_version": "3.0"},"message":[NaN, 1e400, 1.50, "\u00e9", 123456789012345678901234567890]}"#
        ])
    );
}

#[test]
fn a_publication_is_not_copied() {
    let args = bytes(&["publish", "t", r#"{"bus":"","headers":{},"message":[1,2,3]}"#]);
    let Ok(Operation::Publish(read)) = pubsub::decode(&args) else { panic!("no publication") };
    let document = args[2].as_ptr_range();
    assert!(document.contains(&read.message.as_ptr()) && document.contains(&read.headers.as_ptr()));
}

#[test]
fn a_publication_that_is_not_ascii_is_delivered_in_ascii() {
    for document in [
        "{\"bus\":\"\",\"headers\":{\"\u{e9}\":1},\"message\":\"\u{1f600}\"}".as_bytes(),
        b"{\"bus\":\"\",\"headers\":{\"\xe9\":1},\"message\":\"\xe9\"}",
    ] {
        let args = [frame("publish"), frame("0x636166e9"), Bytes::copy_from_slice(document)];
        let Ok(Operation::Publish(read)) = pubsub::decode(&args) else { panic!("no publication") };
        assert_eq!(read.topic.as_str(), "caf\u{e9}");
        assert_eq!(read.headers, r#"{"\u00e9":1}"#);
        let delivery = pubsub::delivery(&read.topic_frame, "alice", &read.bus, &read.headers, &read.message);
        assert_eq!(delivery[1], frame("0x636166e9"));
        assert!(delivery[2].is_ascii());
    }
}

#[test]
fn publishing_without_what_it_needs_is_answered_with_zero_or_nothing() {
    for document in [
        r#"{"bus":"","headers":{}}"#,
        r#"{"bus":"","message":1}"#,
        r#"{"headers":{},"message":1}"#,
        r#"{"bus":"","headers":[],"message":1}"#,
        r#"{"bus":5,"headers":{},"message":1}"#,
        r#"{"bus":"","headers":{},"message":1"#,
        r#"{"bus":"","headers":{},"message":[}"#,
        r#"{"bus":"","headers":{},"message":1}, "x":"#,
        "[]",
        "",
    ] {
        assert_eq!(answer(&["publish", "t", document]), Some(bytes(&["request_response", "0"])), "{document}");
    }
    assert_eq!(answer(&["publish", "", r#"{"bus":"","headers":{},"message":1}"#]), Some(bytes(&["request_response", "0"])));
    assert_eq!(answer(&["publish", "t"]), None);
    assert_eq!(answer(&["publish"]), None);
}

#[test]
fn absent_headers_may_be_null() {
    let Ok(Operation::Publish(read)) = decode(&["publish", "t", r#"{"bus":"","headers":null,"message":null}"#]) else { panic!("none") };
    assert_eq!((read.headers, read.message), (frame("{}"), frame("null")));
}

#[test]
fn values_are_delivered_like_texts() {
    let topic = Topic::parse("heartbeat/listener").unwrap();
    let delivery = pubsub::deliver(&topic, "listener", "", &json!({"TimeStamp": "x"}), &json!("GOOD \u{e9}"));
    assert_eq!(
        delivery,
        bytes(&["publish", "heartbeat/listener", r#"{"sender":"listener","bus":"","headers":{"TimeStamp":"x"},"message":"GOOD \u00e9"}"#])
    );
}

#[test]
fn subscriptions_are_asked_for_and_listed() {
    let list = List { prefix: TopicPrefix::parse("a").unwrap(), bus: None, subscribed: true, reverse: false, all_platforms: false };
    let request = r#"{"prefix": "a", "bus": null, "subscribed": true, "reverse": false}"#;
    assert_eq!(decode(&["list", request]), Ok(Operation::List(list.clone())));
    assert_eq!(pubsub::decode(&pubsub::list(&list)), Ok(Operation::List(list)));
    let reverse = List { prefix: TopicPrefix::default(), bus: Some(String::new()), subscribed: false, reverse: true, all_platforms: true };
    let request = r#"{"prefix": null, "bus": "", "subscribed": false, "reverse": true, "all_platforms": true}"#;
    assert_eq!(decode(&["list", request]), Ok(Operation::List(reverse)));

    let rows = [(String::new(), TopicPrefix::parse("a").unwrap(), true), ("b".to_owned(), TopicPrefix::default(), false)];
    let listed = pubsub::list_response(&rows);
    assert_eq!(listed, bytes(&["list_response", r#"[["","a",true],["b","",false]]"#]));
    assert_eq!(pubsub::decode(&listed), Ok(Operation::ListResponse { value: listed[1].clone() }));
    assert_eq!(answer(&["list", r#"{"bus": ""}"#]), Some(bytes(&["list_response", "[]"])));
}

#[test]
fn synchronizing_names_all_subscriptions() {
    let request = r#"{"subscriptions": {"internal": {"": ["p1", "p3"]}, "all": {"": ["p2"], "b": []}}}"#;
    let read = decode(&["synchronize", "connected", request]);
    let expected = Operation::Synchronize {
        internal: vec![(String::new(), prefixes(&["p1", "p3"]))],
        all: vec![(String::new(), prefixes(&["p2"])), ("b".to_owned(), Vec::new())],
    };
    assert_eq!(read, Ok(expected));
    let read = decode(&["synchronize", "connected", r#"{"subscriptions": {}}"#]);
    assert_eq!(read, Ok(Operation::Synchronize { internal: Vec::new(), all: Vec::new() }));
}

#[test]
fn synchronizing_wrongly_is_not_answered() {
    for args in [
        &["synchronize"][..],
        &["synchronize", "connected"],
        &["synchronize", "disconnected", r#"{"subscriptions": {}}"#],
        &["synchronize", "connected", "{}"],
        &["synchronize", "connected", r#"{"subscriptions": {"internal": []}}"#],
        &["synchronize", "connected", r#"{"subscriptions": {"internal": {"": [1]}}}"#],
    ] {
        assert_eq!(answer(args), None, "{args:?}");
    }
}

#[test]
fn what_the_auth_service_sends_is_kept_as_it_is() {
    let read = decode(&["auth_update", r#"{"capabilities": {"a": {"c": null}}}"#]);
    assert_eq!(read, Ok(Operation::AuthUpdate(json!({"capabilities": {"a": {"c": null}}}))));
    let read = decode(&["protected_update", r#"{"write-protect": []}"#]);
    assert_eq!(read, Ok(Operation::ProtectedUpdate(json!({"write-protect": []}))));
    assert_eq!(answer(&["auth_update", "{"]), None);
    assert_eq!(answer(&["protected_update"]), None);
}

#[test]
fn other_platforms_say_what_they_want() {
    let args = pubsub::external_list("p1", &prefixes(&["devices", ""]));
    assert_eq!(args, bytes(&["external_list", r#"{"p1":["devices",""]}"#]));
    assert_eq!(pubsub::decode(&args), Ok(Operation::ExternalList { platforms: vec![("p1".to_owned(), prefixes(&["devices", ""]))] }));
    assert_eq!(answer(&["external_list", "[]"]), Some(bytes(&["request_response", "false"])));
}

#[test]
fn other_platforms_publish_under_the_name_of_their_peer() {
    let args = pubsub::external_publish(&frame("t"), "listener", "", b"{}", b"[NaN]");
    assert_eq!(args, bytes(&["external_publish", "t", r#"{"sender":"listener","bus":"","headers":{},"message":[NaN]}"#]));
    let Ok(Operation::ExternalPublish { sender, publish }) = pubsub::decode(&args) else { panic!("no publication") };
    assert_eq!(sender, Identity::parse("listener").unwrap());
    assert_eq!(publish.message, "[NaN]");
    for document in [r#"{"bus":"","headers":{},"message":1}"#, r#"{"sender":"<x>","bus":"","headers":{},"message":1}"#] {
        assert_eq!(answer(&["external_publish", "t", document]), None, "{document}");
    }
}

#[test]
fn answers_are_json_texts() {
    let value = |value: Value| pubsub::request_response(&value);
    assert_eq!(value(json!(true)), bytes(&["request_response", "true"]));
    assert_eq!(value(json!(200)), bytes(&["request_response", "200"]));
    assert_eq!(decode(&["request_response", "5"]), Ok(Operation::RequestResponse { value: frame("5") }));
    assert_eq!(decode(&["request_response"]), Ok(Operation::RequestResponse { value: frame("") }));
}

#[test]
fn other_operations_are_told_apart() {
    assert_eq!(decode(&["error", "113", "x"]), Ok(Operation::Error { args: bytes(&["113", "x"]) }));
    assert_eq!(decode(&["Publish", "t", "{}"]), Ok(Operation::Unknown { operation: frame("Publish") }));
    let nothing = decode(&[]).unwrap_err();
    assert_eq!(nothing, PubsubError { verb: Verb::Missing, fault: Fault::NoArgument });
    assert_eq!(nothing.answer(), None);
    assert_eq!(nothing.to_string(), "a pubsub message: an argument is missing");
    assert_eq!(decode(&["list", "{}"]).unwrap_err().to_string(), "list: member \"prefix\" is missing or of the wrong type");
}

#[test]
fn prefixes_are_bounded() {
    let list = |count: usize| json!(vec!["x"; count]);
    let subscribe = |count: usize| decode(&["subscribe", &json!({"prefix": list(count), "bus": ""}).to_string()]);
    assert!(subscribe(PREFIXES_MAX).is_ok());
    assert_eq!(subscribe(PREFIXES_MAX + 1).unwrap_err().fault, Fault::TooMany);
    let half = PREFIXES_MAX / 2;
    let synchronize = |internal: usize, all: usize| {
        let subscriptions = json!({"subscriptions": {"internal": {"": list(internal)}, "all": {"": list(all)}}});
        decode(&["synchronize", "connected", &subscriptions.to_string()])
    };
    assert!(synchronize(half - 1, half - 1).is_ok());
    assert_eq!(synchronize(half, half + 1).unwrap_err().fault, Fault::TooMany);
}

#[test]
fn what_a_peer_asks_is_read_back() {
    let subscribe = pubsub::subscribe(&prefixes(&["a", "caf\u{e9}"]), "b", true);
    assert!(subscribe[1].is_ascii());
    assert_eq!(
        pubsub::decode(&subscribe),
        Ok(Operation::Subscribe { prefixes: prefixes(&["a", "caf\u{e9}"]), bus: "b".to_owned(), all_platforms: true })
    );
    let everything = Selection { bus: String::new(), prefixes: None };
    let some = Selection { bus: "b".to_owned(), prefixes: Some(prefixes(&["a"])) };
    let unsubscribe = pubsub::unsubscribe(Some(&everything), Some(&some));
    assert_eq!(pubsub::decode(&unsubscribe), Ok(Operation::Unsubscribe { internal: Some(everything), all: Some(some) }));
    let internal = vec![(String::new(), prefixes(&["a"]))];
    let synchronize = pubsub::synchronize(&internal, &[]);
    assert_eq!(pubsub::decode(&synchronize), Ok(Operation::Synchronize { internal, all: Vec::new() }));
    let publish = pubsub::publish(&frame("t"), "", b"{}", b"1");
    assert_eq!(publish, bytes(&["publish", "t", r#"{"bus":"","headers":{},"message":1}"#]));
}
