//! §2.4: error messages, and the ids that clients of version 9 take for numbers.

use vt_vip::error::{self, Failure, Report};

use crate::{bytes, frame, message, seen};

#[test]
fn an_absent_peer_is_told_to_the_sender() {
    let call = message(&["ghost", "VIP1", "", "id.g", "RPC", "{}"]);
    let mut told = error::message(&call, &Failure::NoRoute { peer: call.peer.clone() });
    told.user = frame("alice");
    assert_eq!(told.into_frames(), bytes(&["", "VIP1", "alice", "id.g", "error", "0x313133", "No route to host", "ghost", "RPC"]));
}

#[test]
fn a_full_peer_is_told_to_the_sender() {
    let call = message(&["slow", "VIP1", "", "id.g", "RPC", "{}"]);
    let told = error::message(&call, &Failure::Busy { peer: call.peer.clone() });
    assert_eq!(seen(told), ["", "VIP1", "", "id.g", "error", "11", "Resource temporarily unavailable", "slow", "RPC"]);
    let publish = message(&["", "VIP1", "", "id.p", "pubsub", "publish", "t", "{}"]);
    let told = error::message(&publish, &Failure::Busy { peer: frame("slow") });
    assert_eq!(seen(told)[5..], ["11", "Resource temporarily unavailable", "slow", "pubsub"]);
}

#[test]
fn an_unknown_subsystem_is_told_with_an_empty_recipient() {
    for subsystem in ["nonsense", "quit"] {
        let asked = message(&["", "VIP1", "", "id.x", subsystem]);
        let told = error::message(&asked, &Failure::UnknownSubsystem);
        assert_eq!(seen(told), ["", "VIP1", "", "id.x", "error", "93", "Protocol not supported", "", subsystem]);
    }
}

#[test]
fn a_protected_topic_is_told_with_its_own_number() {
    let publish = message(&["", "VIP1", "", "id.p", "pubsub", "publish", "foo", "{}"]);
    let told = error::message(&publish, &Failure::Refused("to publish to topic foo requires capabilities caf\u{e9}".to_owned()));
    assert_eq!(
        seen(told),
        ["", "VIP1", "", "id.p", "error", "-32001", "to publish to topic foo requires capabilities caf\u{e9}", "", "pubsub"]
    );
}

#[test]
fn an_id_that_python_3_takes_for_a_number_is_quoted_and_one_of_version_6_is_not() {
    for (id, told) in [
        ("1795478028.8787919824695", "\"1795478028.8787919824695\""),
        ("17", "\"17\""),
        ("-1e5", "\"-1e5\""),
        ("NaN", "\"NaN\""),
        ("1795478371.94.8741201027861", "1795478371.94.8741201027861"),
        ("16415964484779744584.8788602904421", "16415964484779744584.8788602904421"),
        ("99999999999.8788602904421", "\"99999999999.8788602904421\""),
        ("connect.hello.0", "connect.hello.0"),
        ("\"17\"", "\"17\""),
        ("", ""),
        ("0xe9", "0xe9"),
    ] {
        let call = message(&["ghost", "VIP1", "", id, "RPC", "{}"]);
        let error = error::message(&call, &Failure::NoRoute { peer: frame("ghost") });
        assert_eq!(error.id, frame(told), "{id}");
        if id != "\"17\"" {
            assert_eq!(Report::failed_id(&error.id), call.id, "{id}");
        }
    }
}

#[test]
fn reports_are_read_with_and_without_recipient() {
    let report = |args: &[&str]| Report::decode(&bytes(args));
    let full = report(&["113", "No route to host", "ghost", "RPC"]).unwrap();
    assert_eq!(
        full,
        Report { number: error::EHOSTUNREACH, text: "No route to host".to_owned(), peer: frame("ghost"), subsystem: frame("RPC") }
    );
    let short = report(&["93", "Protocol not supported", "nonsense"]).unwrap();
    assert_eq!((short.number, short.peer, short.subsystem), (error::EPROTONOSUPPORT, frame(""), frame("nonsense")));
    assert_eq!(report(&["-32001", "no", "", "pubsub"]).unwrap().number, error::UNAUTHORIZED);
    assert_eq!(report(&["0x71000000", "No route to host", "ghost", "RPC"]).unwrap().number, error::EHOSTUNREACH);
    assert_eq!(report(&["113", "No route to host"]), None);
    assert_eq!(report(&["what", "No route to host", "ghost", "RPC"]).map(|report| report.number), Some(1_952_540_791));
    assert_eq!(report(&["whatever", "No route to host", "ghost", "RPC"]), None);
    assert_eq!(report(&[]), None);
}
