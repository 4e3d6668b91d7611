//! Statements of vip-zmq.md §12 (5, 6, 7, 10) on the rules alone.

use serde_json::json;
use vt_backends::AuthEntry;

use super::*;

pub fn key(n: u8) -> PublicKey {
    PublicKey::new([n; 32])
}

fn records(allow: &[serde_json::Value], deny: &[serde_json::Value]) -> PeerAuthRecords {
    let parse = |entries: &[serde_json::Value]| entries.iter().map(|entry| AuthEntry::parse(entry).unwrap()).collect();
    PeerAuthRecords { allow: parse(allow), deny: parse(deny), ..PeerAuthRecords::default() }
}

fn decide(records: &PeerAuthRecords, n: u8, address: &str, identity: &'static str) -> Decision {
    let (rules, warnings) = Rules::of(records);
    assert!(warnings.is_empty(), "{warnings:?}");
    let (proof, address) = (if n == 0 { Proof::Null } else { Proof::Curve(key(n)) }, address.to_owned());
    rules.decide(&ConnectAttempt { proof, address, identity: Identity::known(identity) })
}

fn admitted(user: &str) -> Decision {
    Decision::Admit(Arc::from(user))
}

#[test]
fn checklist_5_a_denied_or_disabled_entry_never_connects() {
    let everybody = json!({"credentials": "/.*/", "user_id": "everybody"});
    let off = json!({"credentials": key(1).to_string(), "user_id": "off", "enabled": false});
    let denied = json!({"credentials": key(2).to_string(), "user_id": "denied"});
    let records = records(&[everybody, off], &[denied]);
    assert!(matches!(decide(&records, 1, "127.0.0.1", "x"), Decision::Refuse(reason) if reason.contains("disabled")));
    assert_eq!(decide(&records, 2, "127.0.0.1", "x"), Decision::Deny(Arc::from("denied")));
    assert_eq!(decide(&records, 3, "127.0.0.1", "x"), admitted("everybody"));
}

#[test]
fn checklist_6_a_pattern_admits_any_key_and_a_literal_entry_wins_for_its_own() {
    let own = json!({"credentials": key(1).to_string(), "user_id": "own"});
    for allow in [[json!({"credentials": "/.*/", "user_id": "all"}), own.clone()], [own, json!({"credentials": "/.*/", "user_id": "all"})]]
    {
        let records = records(&allow, &[]);
        assert_eq!(decide(&records, 1, "127.0.0.1", "x"), admitted("own"));
        assert_eq!(decide(&records, 2, "127.0.0.1", "x"), admitted("all"));
        assert_eq!(decide(&records, 0, "127.0.0.1", "x"), Decision::Unknown, "a pattern of keys admits nobody without key");
    }
}

#[test]
fn checklist_7_addresses_are_bare_ips_or_local_users() {
    let entry = |address| json!({"credentials": "/.*/", "user_id": "u", "address": address});
    for (address, from, fits) in [
        (json!("127.0.0.1"), "127.0.0.1", true),
        (json!("127.0.0.1"), "127.0.0.11", false),
        (json!("/127\\.0\\.0\\.1|192\\.168\\..*/"), "192.168.7.9", true),
        (json!("/192\\.168\\..*/"), "10.192.168.1", false),
        (json!("/localhost:1000:.*/"), "localhost:1000:1000:4711", true),
        (json!("/localhost:1000:.*/"), "localhost:10001:1:1", false),
        (json!(["10.0.0.1", "10.0.0.2"]), "10.0.0.2", true),
        (json!(null), "::1", true),
    ] {
        let decision = decide(&records(&[entry(address.clone())], &[]), 1, from, "x");
        assert_eq!(decision == admitted("u"), fits, "{address} {from}: {decision:?}");
    }
    let elsewhere = json!({"credentials": "/.*/", "user_id": "u", "domain": "other"});
    assert_eq!(decide(&records(&[elsewhere], &[]), 1, "127.0.0.1", "x"), Decision::Unknown);
}

#[test]
fn checklist_10_keys_in_every_form_admit_the_same_peer() {
    let hex: String = key(9).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    for text in [key(9).to_string(), format!("{}=", key(9)), hex] {
        let entry = json!({"credentials": text, "user_id": "u"});
        assert_eq!(decide(&records(&[entry], &[]), 9, "127.0.0.1", "x"), admitted("u"));
    }
}

#[test]
fn identities_belong_to_their_entries() {
    let bound = json!({"credentials": key(1).to_string(), "user_id": "a1", "identity": "a1"});
    let second = json!({"credentials": key(1).to_string(), "user_id": "a2", "identity": "a2"});
    let all = json!({"credentials": "/.*/", "user_id": "all"});
    let one = records(&[bound.clone(), all], &[]);
    assert_eq!(decide(&one, 1, "127.0.0.1", "a1"), admitted("a1"));
    assert!(matches!(decide(&one, 1, "127.0.0.1", "b"), Decision::Refuse(reason) if reason == "its entry is for the identity a1"));
    assert!(matches!(decide(&one, 2, "127.0.0.1", "a1"), Decision::Refuse(reason) if reason.contains("belongs to another entry")));
    let two = records(&[bound, second], &[]);
    assert_eq!(decide(&two, 1, "127.0.0.1", "a2"), admitted("a2"), "a key may have two entries");
}

#[test]
fn null_peers_need_an_entry_of_their_mechanism() {
    let entry = json!({"mechanism": "NULL", "address": "/localhost:.*/", "user_id": "local"});
    let records = records(&[entry], &[]);
    assert_eq!(decide(&records, 0, "localhost:5:5:5", "x"), admitted("local"));
    assert_eq!(decide(&records, 0, "127.0.0.1", "x"), Decision::Unknown);
    assert_eq!(decide(&records, 1, "localhost:5:5:5", "x"), Decision::Unknown);
}

#[test]
fn patterns_that_cannot_be_used_match_nobody_and_are_told() {
    let lookahead = json!({"credentials": "/(?!a).*/", "user_id": "u"});
    let huge = json!({"credentials": key(1).to_string(), "user_id": "v", "address": "/((a{1000}){1000}){1000}/"});
    let (rules, warnings) = Rules::of(&records(&[lookahead, huge], &[]));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let attempt = ConnectAttempt { proof: Proof::Curve(key(1)), address: "a".to_owned(), identity: Identity::known("x") };
    assert_eq!(rules.decide(&attempt), Decision::Unknown);
}

#[test]
fn roles_and_groups_add_up() {
    let mut records = records(
        &[
            json!({"credentials": key(1).to_string(), "user_id": "u", "capabilities": {"own": {"a": "1"}}, "roles": ["r"], "groups": ["g", "?"]}),
        ],
        &[],
    );
    records.roles =
        [("r", "own"), ("s", "of_group")].map(|(name, cap)| (name.to_owned(), Capabilities::new().with(cap))).into_iter().collect();
    records.groups.set("g", vec!["s".to_owned(), "missing".to_owned()]);
    let (rules, _) = Rules::of(&records);
    assert_eq!(rules.users()["u"].to_json(), json!({"own": null, "of_group": null}));
}

#[test]
fn methods_are_closed_until_nothing_is_needed() {
    let entry = json!({
        "credentials": key(1).to_string(), "user_id": "u", "identity": "a1",
        "rpc_method_authorizations": {"closed": ["c"], "open": [""], "empty": []},
    });
    let (rules, _) = Rules::of(&records(&[entry], &[]));
    let methods = rules.methods(&Identity::known("a1")).unwrap();
    assert_eq!(methods.iter().collect::<Vec<_>>(), [(&"closed".to_owned(), &vec!["c".to_owned()])]);
    assert!(rules.methods(&Identity::known("b")).is_none());
}
