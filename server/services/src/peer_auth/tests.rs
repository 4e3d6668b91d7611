//! Statements of vip-zmq.md §12 on the service: admission, decisions, live edits, what the platform writes at its start.

use serde_json::{Value, json};
use vt_backends::{AuthList, Capabilities, Field, KeyOwner};
use vt_bus::{Delivery, PeerHandle, PeerKind, RemoteMailbox, RemotePeer};
use vt_types::{Params, RpcError};

use super::*;
use crate::bench::{Bench, Running, admin, call, id, kwargs, nobody, until_true, vui};

fn key(n: u8) -> PublicKey {
    PublicKey::new([n; 32])
}

fn attempt(n: u8, address: &str, identity: &str) -> ConnectAttempt {
    let proof = if n == 0 { Proof::Null } else { Proof::Curve(key(n)) };
    ConnectAttempt { proof, address: address.to_owned(), identity: id(identity) }
}

fn admitted(user: &str) -> Verdict {
    Verdict::Admitted { user_id: Arc::from(user) }
}

async fn pair(bench: &Bench, owner: &KeyOwner) -> vt_types::CurveKeyPair {
    bench.keys.load(owner).await.unwrap().unwrap()
}

fn with(admission: Admission) -> Bench {
    let mut bench = Bench::default();
    bench.peer_auth_config.admission = admission;
    bench
}

/// A peer from outside, as a transport would connect it once it is admitted.
async fn connect(running: &Running, n: u8, identity: &str) -> (PeerHandle, RemoteMailbox) {
    let Verdict::Admitted { user_id } = running.peer_auth.admit(&attempt(n, "127.0.0.1", identity)).await else { panic!("not admitted") };
    running.bus.connect_remote(RemotePeer { identity: id(identity), kind: PeerKind::Agent, user_id, queue_max: 0 }).unwrap()
}

async fn add(running: &Running, n: u8, user: &str, capabilities: Value) {
    let mut entry = AuthEntry::for_key(key(n), user);
    entry.identity = Some(id(user));
    entry.capabilities = Capabilities::parse(&capabilities).unwrap();
    running.peer_auth.add_entry(&admin(), AuthList::Allow, entry).await.unwrap();
}

#[tokio::test]
async fn checklist_2_a_listed_key_is_admitted_as_the_user_of_its_entry() {
    let bench = Bench::default();
    let running = bench.start().await;
    running.peer_auth.add_entry(&admin(), AuthList::Allow, AuthEntry::for_key(key(7), "somebody")).await.unwrap();
    assert_eq!(running.peer_auth.admit(&attempt(7, "127.0.0.1", "any.name")).await, admitted("somebody"));
    let seen = running.peer_auth.seen("somebody").unwrap();
    assert_eq!((seen.first, seen.address.as_str()), (bench.clock.now(), "127.0.0.1"));
}

#[tokio::test]
async fn checklist_3_and_4_an_unknown_key_waits_and_is_admitted_once_it_is_approved() {
    let bench = Bench::default();
    let running = bench.start().await;
    let waiting = attempt(7, "192.0.2.7", "forwarder");
    for _ in 0..3 {
        assert_eq!(running.peer_auth.admit(&waiting).await, Verdict::Pending);
    }
    let (peer, _events) = running.agent("asker", vt_agent::MethodTable::new());
    let pending = running.call(peer.peer(), "platform.auth", "get_pending_authorizations", vec![]).await.unwrap();
    let user_id = pending[0]["user_id"].as_str().unwrap().to_owned();
    assert_eq!(
        pending,
        json!([{"domain": "vip", "address": "192.0.2.7", "mechanism": "CURVE", "credentials": key(7).to_string(), "user_id": user_id, "retries": 3}])
    );
    let generation = running.peer_auth.changed(0).await;
    let dana = admin();
    let (changed, approved) = tokio::join!(running.peer_auth.changed(generation), running.peer_auth.approve(&dana, &user_id));
    approved.unwrap();
    assert!(changed > generation);
    assert_eq!(running.peer_auth.judge(&waiting), admitted(&user_id));
    assert!(running.peer_auth.pending().is_empty());
    let entry = running.peer_auth.records().allow.into_iter().find(|entry| entry.user_id == user_id).unwrap();
    assert_eq!(entry.comments.as_deref(), Some("Auth entry added in setup mode"));
    assert!(entry.capabilities.is_empty() && entry.address == Field::One("192.0.2.7".to_owned()));
    let approved = running.call(peer.peer(), "platform.auth", "get_approved_authorizations", vec![]).await.unwrap();
    assert_eq!((&approved[0]["user_id"], &approved[0]["retries"], approved.as_array().unwrap().len()), (&json!(user_id), &json!(0), 1));
}

#[tokio::test]
async fn checklist_5_decisions_move_an_entry_and_count_the_tries_of_the_denied() {
    let bench = Bench::default();
    let running = bench.start().await;
    let peers = &running.peer_auth;
    let waiting = attempt(7, "192.0.2.7", "forwarder");
    peers.admit(&waiting).await;
    let user_id = peers.pending()[0].user_id.clone();
    peers.deny(&admin(), &user_id).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(peers.admit(&waiting).await, Verdict::Refused(_)));
    }
    assert_eq!(peers.denied_retries(&user_id), 2);
    assert!(peers.pending().is_empty(), "who is denied waits for nothing");
    peers.approve(&admin(), &user_id).await.unwrap();
    assert_eq!(peers.admit(&waiting).await, admitted(&user_id));
    peers.deny(&admin(), &user_id).await.unwrap();
    assert!(matches!(peers.judge(&waiting), Verdict::Refused(_)));
    peers.delete(&admin(), &user_id).await.unwrap();
    assert_eq!(peers.judge(&waiting), Verdict::Pending);
    for unknown in ["nobody", &user_id] {
        assert!(matches!(peers.approve(&admin(), unknown).await, Err(ServiceError::NotFound(_))), "{unknown}");
    }
    let actions: Vec<_> = bench.audited().await.into_iter().map(|record| (record.action, record.success)).collect();
    let expected = ["peer.deny", "peer.approve", "peer.deny", "peer.delete"].map(|action| (action.to_owned(), true));
    assert_eq!(actions[..4], expected);
}

#[tokio::test]
async fn an_approved_local_peer_is_admitted_whatever_its_process_id() {
    let running = Bench::default().start().await;
    running.peer_auth.admit(&attempt(7, "localhost:1001:1001:77", "tool")).await;
    let user_id = running.peer_auth.pending()[0].user_id.clone();
    running.peer_auth.approve(&admin(), &user_id).await.unwrap();
    assert_eq!(running.peer_auth.judge(&attempt(7, "localhost:1001:1001:99", "tool")), admitted(&user_id));
    assert_eq!(running.peer_auth.judge(&attempt(7, "localhost:1002:1001:99", "tool")), Verdict::Pending);
}

#[tokio::test]
async fn checklist_11_the_platform_makes_its_keys_entries_and_known_hosts() {
    let bench = Bench::default();
    let running = bench.start().await;
    let server = pair(&bench, &KeyOwner::Platform).await;
    let hosts: Vec<_> = running.peer_auth.known_hosts().await.unwrap().into_iter().map(|host| (host.host, host.key)).collect();
    assert_eq!(hosts, [("@".to_owned(), server.public), ("127.0.0.1:22916".to_owned(), server.public)]);
    let records = running.peer_auth.records();
    let ids: Vec<_> = records.allow.iter().map(|entry| entry.user_id.as_str()).collect();
    let own = ["config.store", "control", "control.connection", "keydiscovery", "platform", "platform.auth", "platform_web"];
    assert_eq!(ids, own);
    let caps = |user: &str| running.peer_auth.capabilities(user).unwrap().to_json();
    assert_eq!(caps("config.store"), json!({"sync_agent_config": null}));
    assert_eq!(caps("platform.auth"), json!({"modify_rpc_method_allowance": null}));
    assert_eq!(caps("control")["edit_config_store"], json!({"identity": "/.*/"}));
    assert_eq!(running.peer_auth.all_capabilities()["platform.config_store"], json!({"sync_agent_config": null}));
    drop(running);
    let again = bench.start().await;
    assert_eq!(again.peer_auth.records(), records, "a second start changes nothing");
    assert_eq!(pair(&bench, &KeyOwner::Platform).await, server);
}

#[tokio::test]
async fn own_entries_lost_or_changed_by_hand_come_back_at_the_start() {
    let bench = Bench::default();
    drop(bench.start().await);
    let mut records = bench.peer_auth.load().await.unwrap().records;
    records.allow.retain(|entry| entry.user_id != "control");
    let tool = records.allow.iter_mut().find(|entry| entry.user_id == "control.connection").unwrap();
    (tool.credentials, tool.capabilities) = (Field::One(key(9).to_string()), Capabilities::new().with("mine"));
    bench.peer_auth.save(&records).await.unwrap();
    let running = bench.start().await;
    let capabilities = running.peer_auth.capabilities("control.connection").unwrap();
    assert!(capabilities.get("mine").is_some() && capabilities.get("allow_auth_modifications").is_some());
    assert!(running.peer_auth.capabilities("control").is_some());
    assert_eq!(running.peer_auth.judge(&attempt(9, "127.0.0.1", "x")), Verdict::Pending, "the stranger's key counts no more");
}

#[tokio::test]
async fn service_identities_are_for_the_platforms_own_keys_alone() {
    let bench = Bench::default();
    let running = bench.start().await;
    let everybody = AuthEntry { credentials: Field::One("/.*/".to_owned()), ..AuthEntry::for_key(key(1), "everybody") };
    running.peer_auth.add_entry(&admin(), AuthList::Allow, everybody).await.unwrap();
    for identity in ["control", "config.store", "platform.auth", "platform_web", "platform.control", "control.local", "control.connection"]
    {
        assert!(matches!(running.peer_auth.judge(&attempt(7, "127.0.0.1", identity)), Verdict::Refused(_)), "{identity}");
    }
    for owner in [KeyOwner::Platform, KeyOwner::Peer(id("control.connection"))] {
        let proof = Proof::Curve(pair(&bench, &owner).await.public);
        let tool = ConnectAttempt { proof, address: "127.0.0.1".to_owned(), identity: id("control.connection") };
        assert_eq!(running.peer_auth.judge(&tool), admitted("control.connection"));
        let service = ConnectAttempt { identity: id("config.store"), ..tool };
        assert!(matches!(running.peer_auth.judge(&service), Verdict::Refused(_)));
    }
    let of_store = Proof::Curve(pair(&bench, &KeyOwner::Peer(id("config.store"))).await.public);
    let imitation = ConnectAttempt { proof: of_store, address: "127.0.0.1".to_owned(), identity: id("control.connection") };
    assert!(matches!(running.peer_auth.judge(&imitation), Verdict::Refused(_)));
    // The bus itself refuses, should a transport ever admit one.
    for (identity, user) in [("config.store", "config.store"), ("control.connection", "everybody")] {
        let peer = RemotePeer { identity: id(identity), kind: PeerKind::Service, user_id: Arc::from(user), queue_max: 0 };
        running.bus.disconnect(&id(identity));
        assert!(running.bus.connect_remote(peer).is_err(), "{identity}");
    }
}

#[tokio::test]
async fn processes_of_the_servers_user_need_no_key_at_the_local_socket() {
    let running = Bench::default().start().await;
    let user = "vip,localhost:1000:1000:55,NULL";
    assert_eq!(running.peer_auth.judge(&attempt(0, "localhost:1000:1000:55", "x")), admitted(user));
    assert_eq!(running.peer_auth.judge(&attempt(0, "localhost:1001:1000:55", "x")), Verdict::Pending);
    assert_eq!(running.peer_auth.judge(&attempt(0, "127.0.0.1", "x")), Verdict::Pending);
    add(&running, 7, "a1", json!({})).await;
    assert_ne!(running.peer_auth.judge(&attempt(0, "localhost:1000:1000:55", "a1")), admitted(user), "an identity that belongs to a key");
    assert_eq!(local_user("a,b\\c"), "vip,a\\,b\\\\c,NULL");
}

#[tokio::test]
async fn checklist_12_without_auth_everybody_gets_in_but_as_a_service() {
    let running = with(Admission::Open).start().await;
    assert_eq!(running.peer_auth.admit(&attempt(0, "127.0.0.1", "a1")).await, admitted("a1"));
    assert_eq!(running.peer_auth.admit(&attempt(0, "127.0.0.1", "control.connection")).await, admitted("control.connection"));
    assert!(matches!(running.peer_auth.admit(&attempt(0, "127.0.0.1", "config.store")).await, Verdict::Refused(_)));
    let (peer, _mailbox) = connect(&running, 0, "a2").await;
    let stored = running.call(&peer, "config.store", "set_config", ["a3", "config", "{}", "json"].map(Value::from).to_vec()).await;
    assert_eq!(stored, Ok(Value::Null), "nobody's rights are asked for");
}

#[tokio::test]
async fn setup_mode_lets_unknown_keys_in_and_writes_them_down() {
    let bench = with(Admission::Setup);
    let running = bench.start().await;
    let denied = AuthEntry::for_key(key(8), "denied");
    running.peer_auth.add_entry(&admin(), AuthList::Deny, denied).await.unwrap();
    let new = attempt(7, "127.0.0.1", "a1");
    let (first, second) = tokio::join!(running.peer_auth.admit(&new), running.peer_auth.admit(&new));
    assert_eq!(first, second, "two connections at once are one entry");
    let entries: Vec<_> = running.peer_auth.records().allow.into_iter().filter(|entry| entry.names_key(key(7))).collect();
    assert_eq!((entries.len(), first), (1, admitted(&entries[0].user_id)));
    assert!(matches!(running.peer_auth.admit(&attempt(8, "127.0.0.1", "a1")).await, Verdict::Refused(_)));
    assert!(bench.audited().await.iter().any(|record| record.user == "setup-mode" && record.action == "peer.add"));
    bench.peer_auth.set_failing(true);
    assert_eq!(running.peer_auth.admit(&attempt(9, "127.0.0.1", "a2")).await, Verdict::Pending, "what is not written down is not let in");
}

#[tokio::test]
async fn ten_thousand_unknown_keys_are_bounded() {
    let running = Bench::default().start().await;
    for n in 0..10_000_u32 {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        let attempt = ConnectAttempt { proof: Proof::Curve(PublicKey::new(bytes)), ..attempt(1, "192.0.2.1", "x") };
        assert_eq!(running.peer_auth.admit(&attempt).await, Verdict::Pending);
    }
    assert_eq!((running.peer_auth.pending().len(), running.peer_auth.dropped_attempts()), (ATTEMPTS_MAX, 9_000));
}

#[tokio::test]
async fn edits_by_hand_count_and_a_broken_store_keeps_what_was_and_is_not_overwritten() {
    let bench = Bench::default();
    let running = bench.start().await;
    running.peer_auth.admit(&attempt(7, "127.0.0.1", "a1")).await;
    let mut records = running.peer_auth.records();
    records.allow.push(AuthEntry::for_key(key(7), "by-hand"));
    bench.peer_auth.save(&records).await.unwrap();
    until_true(|| running.peer_auth.judge(&attempt(7, "127.0.0.1", "a1")) == admitted("by-hand")).await;
    assert!(running.peer_auth.pending().is_empty(), "it waits for nobody's decision any more");
    bench.peer_auth.set_failing(true);
    let added = running.peer_auth.add_entry(&admin(), AuthList::Allow, AuthEntry::for_key(key(8), "new")).await;
    assert!(matches!(added, Err(ServiceError::Unavailable(_))), "{added:?}");
    assert_eq!(running.peer_auth.judge(&attempt(8, "127.0.0.1", "x")), Verdict::Pending, "what is not stored does not count");
    assert_eq!(running.peer_auth.judge(&attempt(7, "127.0.0.1", "a1")), admitted("by-hand"));
}

#[tokio::test]
async fn edits_side_by_side_lose_nothing() {
    let running = Bench::default().start().await;
    let before = running.peer_auth.records().allow.len();
    let edits = (1..=50_u8).map(|n| running.peer_auth.add_for_agent_owned(n));
    futures_util::future::join_all(edits).await;
    assert_eq!(running.peer_auth.records().allow.len(), before + 50);
}

impl PeerAuth {
    async fn add_for_agent_owned(&self, n: u8) {
        self.add_for_agent(&id(&format!("agent{n}")), key(n)).await.unwrap();
    }
}

#[tokio::test]
async fn an_installed_agent_has_an_entry_until_it_is_removed() {
    let running = Bench::default().start().await;
    let peers = &running.peer_auth;
    peers.add_for_agent(&id("listener_1"), key(7)).await.unwrap();
    assert_eq!(peers.judge(&attempt(7, "127.0.0.1", "listener_1")), admitted("listener_1"));
    assert!(matches!(peers.judge(&attempt(7, "127.0.0.1", "other")), Verdict::Refused(_)));
    let capabilities = peers.capabilities("listener_1").unwrap().to_json();
    assert_eq!(capabilities, json!({"edit_config_store": {"identity": "listener_1"}}));
    // Installed again with another key: rights that people gave it stay, the old key counts no more.
    let rights = Rights { capabilities: Capabilities::new().with("can_publish"), roles: vec![], groups: vec![], enabled: true };
    peers.set_rights(&admin(), "listener_1", rights).await.unwrap();
    peers.add_for_agent(&id("listener_1"), key(8)).await.unwrap();
    assert_eq!(peers.judge(&attempt(7, "127.0.0.1", "listener_1")), Verdict::Pending);
    assert!(peers.capabilities("listener_1").unwrap().get("can_publish").is_some());
    assert_eq!(peers.remove_for_key(key(8)).await, Ok(true));
    assert_eq!(peers.remove_for_key(key(8)).await, Ok(false));
    assert_eq!(peers.judge(&attempt(8, "127.0.0.1", "listener_1")), Verdict::Pending);
    assert!(matches!(peers.add_for_agent(&id("config.store"), key(9)).await, Err(ServiceError::Invalid(_))));
    peers.add_for_agent(&id("platform.agent"), key(9)).await.unwrap();
    assert_eq!(peers.capabilities("platform.agent").unwrap().to_json()["edit_config_store"], json!({"identity": "/.*/"}));
}

#[tokio::test]
async fn only_administrators_change_anything() {
    let bench = Bench::default();
    let running = bench.start().await;
    let before = running.peer_auth.records();
    for caller in [vui(), nobody()] {
        let peers = &running.peer_auth;
        let entry = AuthEntry::for_key(key(7), "x");
        assert!(matches!(peers.add_entry(&caller, AuthList::Allow, entry.clone()).await, Err(ServiceError::Forbidden(_))));
        assert!(matches!(peers.replace_at(&caller, AuthList::Allow, 0, entry).await, Err(ServiceError::Forbidden(_))));
        assert!(matches!(peers.remove_at(&caller, AuthList::Allow, &[0]).await, Err(ServiceError::Forbidden(_))));
        assert!(matches!(peers.approve(&caller, "control").await, Err(ServiceError::Forbidden(_))));
        assert!(matches!(peers.deny(&caller, "control").await, Err(ServiceError::Forbidden(_))));
        assert!(matches!(peers.delete(&caller, "control").await, Err(ServiceError::Forbidden(_))));
        assert!(matches!(peers.set_role(&caller, "r", None).await, Err(ServiceError::Forbidden(_))));
        assert!(matches!(peers.set_group(&caller, "r", None).await, Err(ServiceError::Forbidden(_))));
        assert!(matches!(peers.add_known_host(&caller, "a:1", key(1)).await, Err(ServiceError::Forbidden(_))));
        assert!(matches!(peers.remove_known_host(&caller, "@").await, Err(ServiceError::Forbidden(_))));
    }
    assert_eq!(running.peer_auth.records(), before);
    assert!(bench.audited().await.iter().all(|record| !record.success));
}

#[tokio::test]
async fn the_auth_file_is_edited_over_rpc_as_by_vctl_9() {
    let bench = Bench::default();
    let running = bench.start().await;
    add(&running, 5, "editor", json!("allow_auth_modifications")).await;
    let (editor, _mailbox) = connect(&running, 5, "editor").await;
    let rpc = |method: &'static str, args: Vec<Value>| running.call(&editor, "platform.auth", method, args);
    let file = rpc("auth_file.read", vec![]).await.unwrap();
    let index = file["allow_list"].as_array().unwrap().len();
    assert_eq!(file["version"], json!({"major": 1, "minor": 4}));
    let mut entry = json!({"credentials": key(7).to_string(), "user_id": "u", "capabilities": "c", "comments": "by vctl"});
    rpc("auth_file.add", vec![entry.clone()]).await.unwrap();
    let again = rpc("auth_file.add", vec![entry.clone()]).await.unwrap_err();
    assert!(again.to_string().contains(&format!("user_id u is already in use at index {index}")), "{again}");
    entry["roles"] = json!(["r"]);
    rpc("auth_file.update_by_index", vec![entry.clone(), json!(index)]).await.unwrap();
    rpc("auth_file.set_roles", vec![json!({"r": ["d"]})]).await.unwrap();
    rpc("auth_file.set_groups", vec![json!({"g": ["r"]})]).await.unwrap();
    assert_eq!(rpc("get_capabilities", vec![json!("u")]).await, Ok(json!({"c": null, "d": null})));
    assert_eq!(rpc("get_authorizations", vec![json!("u")]).await, Ok(json!([{"c": null, "d": null}, [], ["r"]])));
    assert_eq!(rpc("get_roles", vec![json!("u")]).await, Ok(json!(["r"])));
    assert_eq!(
        (rpc("get_groups", vec![json!("?")]).await, rpc("get_authorizations", vec![json!("?")]).await),
        (Ok(json!([])), Ok(Value::Null))
    );
    let found = rpc("auth_file.find_by_credentials", vec![json!(key(7).to_string())]).await.unwrap();
    assert_eq!(found[0]["comments"], "by vctl");
    assert!(
        rpc("auth_file.set_roles", vec![json!({"r": "d"})])
            .await
            .unwrap_err()
            .to_string()
            .contains("each value of the roles dict must be a list")
    );
    assert!(rpc("auth_file.update_by_index", vec![entry, json!(99)]).await.is_err());
    rpc("auth_file.remove_by_indices", vec![json!([index])]).await.unwrap();
    assert!(rpc("auth_file.remove_by_index", vec![json!(index)]).await.unwrap_err().to_string().contains("Invalid index"));
    rpc("auth_file.remove_by_credentials", vec![json!(key(5).to_string())]).await.unwrap();
    assert_eq!(running.peer_auth.judge(&attempt(5, "127.0.0.1", "editor")), Verdict::Pending);
    assert!(rpc("auth_file.read", vec![]).await.is_ok(), "asking needs nothing");
    assert!(matches!(rpc("auth_file.set_roles", vec![json!({})]).await, Err(RpcError::Refused(_))), "the right is gone at once");
}

#[tokio::test]
async fn mutators_need_the_capability_and_an_agent_speaks_for_its_own_methods() {
    let bench = Bench::default();
    let running = bench.start().await;
    add(&running, 5, "a1", json!({})).await;
    add(&running, 6, "a2", json!({})).await;
    let (agent, _mailbox) = connect(&running, 5, "a1").await;
    let rpc = |method: &'static str, args: Vec<Value>| running.call(&agent, "platform.auth", method, args);
    for (method, args) in [
        ("approve_authorization", vec![json!("x")]),
        ("auth_file.add", vec![json!({"credentials": key(9).to_string()})]),
        ("add_rpc_authorizations", vec![json!("a1"), json!("m"), json!(["c"])]),
        ("create_credentials", vec![json!("new")]),
        ("update_id_rpc_authorizations", vec![json!("a2"), json!({"m": ["c"]})]),
    ] {
        let refused = rpc(method, args).await;
        assert!(
            matches!(&refused, Err(RpcError::Refused(text)) if text.contains("requires capabilities {'allow_auth_modifications'}")),
            "{method}: {refused:?}"
        );
    }
    let own = rpc("update_id_rpc_authorizations", vec![json!("a1"), json!({"m": ["c"], "n": []})]).await;
    assert_eq!(own, Ok(json!({"m": ["c"], "n": []})));
    let stays = rpc("update_id_rpc_authorizations", vec![json!("a1"), json!({"m": ["other"]})]).await;
    assert_eq!(stays, Ok(json!({"m": ["c"]})), "what the entry says wins");
    assert_eq!(running.peer_auth.merge_methods(&admin(), "nobody", Default::default()).await, Ok(None));
    running.peer_auth.add_method_capabilities(&admin(), "a1", "m", vec!["d".to_owned()]).await.unwrap();
    let call = |peers: &PeerAuth| {
        let named = serde_json::Map::new();
        peers.check_call("nobody", &id("a1"), "m", rights::Arguments { named: &named, has_others: false })
    };
    assert!(call(&running.peer_auth).unwrap_err().contains("requires capabilities {'c', 'd'}"));
    running.peer_auth.remove_method_capabilities(&admin(), "a1", "m", &["c".to_owned(), "d".to_owned()]).await.unwrap();
    assert_eq!(call(&running.peer_auth), Ok(()));
    let gone = running.peer_auth.remove_method_capabilities(&admin(), "a1", "m", &["c".to_owned()]).await;
    assert!(matches!(gone, Err(ServiceError::NotFound(_))));
    let own = running.peer_auth.add_method_capabilities(&admin(), "config.store", "m", vec![]).await;
    assert!(matches!(own, Err(ServiceError::Invalid(_))));
}

#[tokio::test]
async fn the_modular_generation_gets_the_answers_it_waits_for() {
    let bench = Bench::default();
    bench.protect("devices", &["can_publish_devices"]);
    let running = bench.start().await;
    add(&running, 5, "a1", json!({"can_publish_devices": null, "set": {"point": "/T.*/"}})).await;
    add(&running, 6, "a2", json!({})).await;
    running.peer_auth.merge_methods(&admin(), "a2", [("set_point".to_owned(), vec!["set".to_owned()])].into()).await.unwrap();
    let (agent, _mailbox) = connect(&running, 6, "a2").await;
    let rpc = |method: &'static str, args: Value| call(&agent, "platform.auth", method, Params::keyword(kwargs(args)));
    assert_eq!(running.call(&agent, "platform.auth", "get_protected_rpcs", vec![json!("a2")]).await, Ok(json!(["set_point"])));
    assert_eq!(rpc("get_protected_rpcs", json!({"identity": "a1"})).await, Ok(json!([])));
    let check = |user: &str, method: &str, point: &str| {
        rpc("check_rpc_authorization", json!({"identity": user, "method_name": method, "method_args": {"point": point}}))
    };
    assert_eq!(check("a1", "a2.set_point", "Temperature").await, Ok(json!(true)));
    assert!(matches!(check("a1", "a2.set_point", "Fan").await, Err(RpcError::Refused(_))));
    assert!(matches!(check("stranger", "a2.set_point", "T").await, Err(RpcError::Refused(_))));
    assert_eq!(check("control.connection", "a2.set_point", "Fan").await, Ok(json!(true)));
    assert_eq!(check("stranger", "a2.health.get_status", "").await, Ok(json!(true)));
    let topic = |user: &str, topic: &str, access: &str| {
        rpc("check_pubsub_authorization", json!({"identity": user, "topic_pattern": topic, "access": access}))
    };
    assert_eq!(topic("a1", "devices/x", "publish").await, Ok(json!(true)));
    assert_eq!(topic("a2", "devices/x", "publish").await, Ok(json!(false)));
    assert_eq!(topic("a2", "devices/x", "subscribe").await, Ok(json!(true)));
    assert_eq!(topic("a2", "other", "pubsub").await, Ok(json!(true)));
    assert!(topic("a2", "other", "everything").await.is_err());
    let server = pair(&bench, &KeyOwner::Platform).await.public.to_string();
    let keys = rpc("get_public_credentials", json!({"identities": ["platform", "a1", "nobody"]})).await.unwrap();
    assert_eq!(keys["results"], json!({"platform": server, "a1": key(5).to_string()}));
    assert_eq!(keys["errors"], json!({"nobody": "Identity not found: nobody"}));
}

#[tokio::test]
async fn credentials_are_made_and_removed_for_the_modular_generation() {
    let bench = Bench::default();
    let running = bench.start().await;
    let tool = running.bus.connect(id("some.tool"), PeerKind::Tool).unwrap();
    let rpc = |method: &'static str, args: Value| call(&tool.0, "platform.auth", method, Params::keyword(kwargs(args)));
    assert_eq!(rpc("create_credentials", json!({"identity": "new1"})).await, Ok(json!(true)));
    let made = pair(&bench, &KeyOwner::Peer(id("new1"))).await;
    let connects = ConnectAttempt { proof: Proof::Curve(made.public), ..attempt(1, "127.0.0.1", "new1") };
    assert_eq!(running.peer_auth.judge(&connects), admitted("new1"));
    assert_eq!(rpc("create_credentials", json!({"identity": "new1"})).await, Ok(json!(true)));
    assert_eq!(pair(&bench, &KeyOwner::Peer(id("new1"))).await, made, "what is there stays");
    assert_eq!(rpc("create_credentials", json!({"identity": "far", "publickey": key(9).to_string()})).await, Ok(json!(true)));
    assert_eq!(running.peer_auth.judge(&attempt(9, "127.0.0.1", "far")), admitted("far"));
    assert_eq!(rpc("remove_credentials", json!({"identity": "new1"})).await, Ok(json!(true)));
    assert_eq!(running.peer_auth.judge(&connects), Verdict::Pending);
    assert_eq!(bench.keys.load(&KeyOwner::Peer(id("new1"))).await.unwrap(), None);
    assert!(rpc("remove_credentials", json!({"identity": "control.connection"})).await.is_err());
    assert!(rpc("create_credentials", json!({"identity": "config.store"})).await.is_err());
}

/// The next call that a remote peer gets, answered.
async fn answered(mailbox: &mut RemoteMailbox, method: &str) -> Params {
    until_call(mailbox, method, Ok(Value::Null)).await
}

async fn until_call(mailbox: &mut RemoteMailbox, method: &str, answer: Result<Value, RpcError>) -> Params {
    let received = tokio::time::timeout(crate::bench::DEADLINE, async {
        loop {
            let mut deliveries = Vec::new();
            assert!(mailbox.receive(&mut deliveries, 16).await > 0, "disconnected");
            for delivery in deliveries {
                let Delivery::Call(call) = delivery else { continue };
                assert_eq!(call.from.as_str(), "platform.auth");
                let is_meant = call.request.method == method;
                if let Some(reply) = call.reply {
                    reply.send(if is_meant { answer.clone() } else { Ok(Value::Null) });
                }
                if is_meant {
                    return call.request.params;
                }
            }
        }
    });
    received.await.expect("the call in time")
}

#[tokio::test]
async fn checklist_58_changed_rights_reach_peers_from_platform_auth() {
    let bench = Bench::default();
    let running = bench.start().await;
    add(&running, 5, "a1", json!({})).await;
    let (_agent, mut mailbox) = connect(&running, 5, "a1").await;
    let (_silent, _never_answers) = {
        add(&running, 6, "silent", json!({})).await;
        connect(&running, 6, "silent").await
    };
    let rights = Rights { capabilities: Capabilities::new().with("new"), roles: vec![], groups: vec![], enabled: true };
    running.peer_auth.set_rights(&admin(), "a1", rights).await.unwrap();
    loop {
        let update = answered(&mut mailbox, "auth.update").await;
        if update.args[0]["a1"] == json!({"new": null}) {
            break;
        }
    }
    // By hand as well, and with methods that need something now.
    let mut records = running.peer_auth.records();
    let entry = records.allow.iter_mut().find(|entry| entry.user_id == "a1").unwrap();
    entry.rpc_method_authorizations.insert("m".to_owned(), vec!["new".to_owned()]);
    bench.peer_auth.save(&records).await.unwrap();
    let refused = Err(RpcError::raised("builtins.KeyError", "m"));
    let all = until_call(&mut mailbox, "auth.set_multiple_rpc_authorizations", refused).await;
    assert_eq!(all.kwargs["rpc_authorizations"], json!({"m": ["new"]}));
    let one = answered(&mut mailbox, "auth.set_rpc_authorizations").await;
    assert_eq!((&one.kwargs["method_str"], &one.kwargs["capabilities"]), (&json!("m"), &json!(["new"])));
    let closed = vt_backends::AgentAuthz { protected_rpcs: vec!["n".to_owned()], ..vt_backends::AgentAuthz::default() };
    running.peer_auth.merge_agent_authz(&admin(), "a1", closed).await.unwrap();
    assert_eq!(answered(&mut mailbox, "rpc.add_protected_rpcs").await.args, [json!(["n"])]);
}
