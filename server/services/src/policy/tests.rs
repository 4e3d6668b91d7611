//! Statements of web.md §9 (38, 61) and vip-zmq.md §12 (37, 48, 51), on the bus itself.

use std::time::Duration;

use serde_json::json;
use vt_agent::MethodTable;
use vt_backends::{AuthEntry, AuthList, Capabilities};
use vt_bus::{Bus, ConnectError, PeerHandle, PublishError, RemoteMailbox, RemotePeer};
use vt_types::{Headers, Params, PublicKey, RpcError};

use super::*;
use crate::bench::{Bench, Running, admin, id, until_true, vui};
use crate::{Caller, ServiceError, StartError};

fn topics(topics: &[(&str, &str)]) -> Vec<ProtectedTopic> {
    topics.iter().map(|(topic, capability)| ProtectedTopic { topic: (*topic).into(), capabilities: vec![(*capability).into()] }).collect()
}

fn topic(text: &str) -> Topic {
    Topic::parse(text).unwrap()
}

/// Whether an agent may publish there.
fn may_publish(running: &Running, text: &str) -> bool {
    let (agent, _events) = running.agent("publisher", MethodTable::new());
    let published = agent.publish(&topic(text), Headers::new(), json!(1));
    agent.close();
    assert!(matches!(published, Ok(_) | Err(PublishError::Refused(_))));
    published.is_ok()
}

async fn with_users(bench: &Bench) -> Running {
    let running = bench.start().await;
    for (name, groups) in [("dana", ["admin", "vui"]), ("kiosk", ["vui", "vui"])] {
        running.auth.add_user(&Caller::local("root"), name, "s3cret-harbor", groups.map(str::to_owned).to_vec()).await.unwrap();
    }
    running
}

#[tokio::test]
async fn protected_topics_literal_prefix_and_pattern() {
    let bench = Bench::default();
    bench.policy.set(topics(&[("foo", "can_foo"), ("/bar/[0-9]+/", "can_bar")])).unwrap();
    let running = bench.start().await;
    for (text, may) in
        [("foo", false), ("foo/x", false), ("food", false), ("fo", true), ("bar/12", false), ("bar/12/x", true), ("x/foo", true)]
    {
        assert_eq!(may_publish(&running, text), may, "{text}");
    }
    let (agent, _events) = running.agent("publisher", MethodTable::new());
    let refused = agent.publish(&topic("foo"), Headers::new(), json!(1)).unwrap_err().to_string();
    assert!(refused.contains("requires capabilities [can_foo]"), "{refused}");
}

#[tokio::test]
async fn people_publish_on_protected_topics_as_administrators_only() {
    let bench = Bench::default();
    bench.policy.set(topics(&[("foo", "can_foo")])).unwrap();
    let running = with_users(&bench).await;
    let publish = |caller: Caller| {
        let live = Arc::clone(&running.live);
        async move { live.publish(&caller, "foo", serde_json::Map::new(), json!(1)).await }
    };
    assert!(matches!(publish(vui()).await, Err(ServiceError::Forbidden(_))));
    assert_eq!(publish(admin()).await, Ok(0));
}

#[tokio::test]
async fn an_edited_policy_counts_and_a_wrong_one_keeps_the_old() {
    let bench = Bench::default();
    let running = bench.start().await;
    assert!(may_publish(&running, "foo"));
    bench.policy.set(topics(&[("foo", "can_foo")])).unwrap();
    until_true(|| !may_publish(&running, "foo")).await;
    let policy = Policy::open(Arc::new(bench.policy.clone()), Arc::clone(&running.auth), Arc::clone(&running.peer_auth)).await.unwrap();
    bench.policy.set(topics(&[("/(/", "broken"), ("bar", "can_bar")])).unwrap();
    policy.refresh().await;
    let protects = |text| find(&policy.protected.load(), text).is_some();
    assert!(protects("foo") && !protects("bar"));
    let bus = Bus::new(vt_bus::Config::default(), running.services.clock.clone());
    assert!(matches!(bench.try_start(&bus).await, Err(StartError::Repository(RepositoryError::Corrupt { .. }))));
    assert!(bus.peers().is_empty(), "a start that failed leaves nobody on the bus");
}

#[tokio::test]
async fn people_without_admin_may_not_call_services_that_rule() {
    let bench = Bench::default();
    let running = with_users(&bench).await;
    let call = |caller: Caller, callee: &'static str, method: &'static str| {
        let agents = Arc::clone(&running.agents);
        async move { agents.rpc_call(&caller, &id(callee), method, Params::none(), Duration::from_secs(5)).await }
    };
    for (callee, method) in [
        ("platform.auth", "get_user_to_capabilities"),
        ("config.store", "list_stores"),
        ("config.store", "set_config"),
        ("control", "stop_platform"),
        ("control", "shutdown"),
        ("control", "start_agent"),
        ("control", "install_builtin"),
        ("control", "no_such_method"),
    ] {
        let refused = call(vui(), callee, method).await;
        assert!(matches!(refused, Err(ServiceError::Rpc(RpcError::Refused(_)))), "{callee}.{method}: {refused:?}");
    }
    assert!(call(vui(), "control", "list_agents").await.is_ok());
    assert!(call(vui(), "control", "list_agents.inspect").await.is_ok());
    assert!(call(vui(), "platform.health", "get_platform_health").await.is_ok());
    assert!(call(admin(), "config.store", "list_stores").await.is_ok());
    assert!(!running.platform_stop.is_cancelled());
    // A person whom nobody knows any more has no rights, whatever its session says.
    let gone = Caller { user: "gone".into(), ..admin() };
    assert!(matches!(call(gone, "control", "shutdown").await, Err(ServiceError::Rpc(RpcError::Refused(_)))));
}

#[tokio::test]
async fn agents_cannot_take_the_identity_of_a_service() {
    let bench = Bench::default();
    let running = bench.start().await;
    let taken = running.bus.connect(Identity::known("keydiscovery"), PeerKind::Agent);
    assert!(matches!(taken, Err(ConnectError::Refused(_))));
}

/// A peer from outside whose entry has these capabilities, under its user id.
async fn remote(running: &Running, n: u8, identity: &str, capabilities: serde_json::Value) -> (PeerHandle, RemoteMailbox) {
    let mut entry = AuthEntry::for_key(PublicKey::new([n; 32]), &format!("user-of-{identity}"));
    (entry.identity, entry.capabilities) = (Some(id(identity)), Capabilities::parse(&capabilities).unwrap());
    let user_id = Arc::from(entry.user_id.as_str());
    running.peer_auth.add_entry(&admin(), AuthList::Allow, entry).await.unwrap();
    running.bus.connect_remote(RemotePeer { identity: id(identity), kind: PeerKind::Agent, user_id, queue_max: 0 }).unwrap()
}

/// `vctl` of VOLTTRON, from outside.
fn vctl(running: &Running) -> (PeerHandle, RemoteMailbox) {
    let user_id = Arc::from(known::CONTROL_CONNECTION);
    let peer = RemotePeer { identity: id(known::CONTROL_CONNECTION), kind: PeerKind::Tool, user_id, queue_max: 0 };
    running.bus.connect_remote(peer).unwrap()
}

fn is_refused<T: std::fmt::Debug>(result: &Result<T, RpcError>) -> bool {
    matches!(result, Err(RpcError::Refused(_)))
}

#[tokio::test]
async fn checklist_48_holders_of_all_capabilities_publish_on_protected_topics() {
    let bench = Bench::default();
    let both = vec!["a".to_owned(), "b".to_owned()];
    bench.policy.set(vec![ProtectedTopic { topic: "foo".into(), capabilities: both }]).unwrap();
    let running = bench.start().await;
    let publish = |peer: &PeerHandle, text: &str| peer.publish(&topic(text), Headers::new(), json!(1));
    let (holder, _one) = remote(&running, 1, "holder", json!(["a", "b"])).await;
    let (half, _two) = remote(&running, 2, "half", json!(["a"])).await;
    assert!(publish(&holder, "foo/bar").is_ok());
    let refused = publish(&half, "foo/bar").unwrap_err().to_string();
    assert_eq!(refused, "to publish to topic \"foo/bar\" requires capabilities [a, b], but capability list [a] was provided");
    let stranger = RemotePeer { identity: id("stranger"), kind: PeerKind::Agent, user_id: Arc::from("nobody"), queue_max: 0 };
    let (stranger, _three) = running.bus.connect_remote(stranger).unwrap();
    assert!(publish(&stranger, "foo").is_err() && publish(&stranger, "other").is_ok());
    let (vctl, _four) = vctl(&running);
    assert!(publish(&vctl, "foo").is_ok());
    // An agent of this process holds what an entry with its identity as user id says.
    let (agent, _events) = running.agent("builtin", MethodTable::new());
    assert!(publish(agent.peer(), "foo").is_err());
    let mut entry = AuthEntry::for_key(PublicKey::new([9; 32]), "builtin");
    entry.capabilities = Capabilities::new().with("a").with("b");
    running.peer_auth.add_entry(&admin(), AuthList::Allow, entry).await.unwrap();
    assert!(publish(agent.peer(), "foo").is_ok());
}

#[tokio::test]
async fn checklist_51_configurations_of_others_need_the_capability_for_them() {
    let running = Bench::default().start().await;
    let (own, _one) = remote(&running, 1, "a1", json!({"edit_config_store": {"identity": "a1"}})).await;
    let (some, _two) = remote(&running, 2, "a2", json!({"edit_config_store": {"identity": "/dev.*/"}})).await;
    let (none, _three) = remote(&running, 3, "a3", json!({})).await;
    // Nobody here answers what the store would push.
    let call = async |peer: &PeerHandle, method: &str, args: &[&str]| {
        let args = args.iter().map(|arg| json!(arg)).collect();
        let params = Params { args, kwargs: crate::bench::kwargs(json!({"send_update": false})) };
        crate::bench::call(peer, "config.store", method, params).await
    };
    let set = async |peer: &PeerHandle, identity: &str| call(peer, "set_config", &[identity, "config", "{}", "json"]).await;
    assert!(set(&own, "a1").await.is_ok());
    let refused = set(&own, "a2").await.unwrap_err();
    let expected = "User user-of-a1 can call method set_config only with identity=a1 but called with identity=a2";
    assert_eq!(refused, RpcError::Refused(expected.to_owned()));
    assert!(set(&some, "device1").await.is_ok() && is_refused(&set(&some, "a2").await));
    assert!(is_refused(&set(&none, "a3").await), "VOLTTRON 9 asks for the capability for one's own entries, too");
    // VOLTTRON 6: two arguments are of the caller's own store.
    let old = call(&none, "set_config", &["config", "{}"]).await;
    assert!(old.is_ok(), "{old:?}");
    assert_eq!(running.configs.names(&id("a3")), ["config"]);
    assert!(is_refused(&call(&none, "delete_config", &["a1", "config"]).await));
    assert!(call(&none, "delete_config", &["config"]).await.is_ok());
    assert!(is_refused(&running.call(&none, "config.store", "delete_store", vec![json!("a1")]).await));
    assert!(running.call(&none, "config.store", "list_stores", vec![]).await.is_ok());
    let (tool, _four) = vctl(&running);
    assert!(set(&tool, "anybody").await.is_ok());
    let (agent, _events) = running.agent("builtin", MethodTable::new());
    assert!(set(agent.peer(), "builtin").await.is_ok() && is_refused(&set(agent.peer(), "a1").await));
    // By name instead of by place.
    let by_name = crate::bench::kwargs(json!({"identity": "a1", "config_name": "x", "raw_contents": "y"}));
    assert!(is_refused(&crate::bench::call(&none, "config.store", "set_config", Params::keyword(by_name)).await));
}

#[tokio::test]
async fn checklist_37_methods_that_auth_json_closes_need_what_it_says() {
    let running = Bench::default().start().await;
    let mut table = MethodTable::new();
    table.method("set").param("point").to(|call| async move { Ok(call.value("point").clone()) });
    table.method("get").to(|_| async { Ok(json!(1)) });
    let (_callee, _events) = running.agent("callee", table);
    let mut entry = AuthEntry::for_key(PublicKey::new([9; 32]), "callee");
    entry.identity = Some(id("callee"));
    entry.rpc_method_authorizations = [("set".to_owned(), vec!["can_set".to_owned()])].into();
    running.peer_auth.add_entry(&admin(), AuthList::Allow, entry).await.unwrap();
    let (holder, _one) = remote(&running, 1, "holder", json!({"can_set": {"point": "/T.*/"}})).await;
    let (stranger, _two) = remote(&running, 2, "stranger", json!({})).await;
    let set = async |peer: &PeerHandle, point: &str| {
        crate::bench::call(peer, "callee", "set", Params::keyword(crate::bench::kwargs(json!({"point": point})))).await
    };
    assert_eq!(set(&holder, "T1").await, Ok(json!("T1")));
    assert!(is_refused(&set(&holder, "Fan").await));
    let refused = set(&stranger, "T1").await.unwrap_err().to_string();
    assert!(
        refused.contains("method 'set' requires capabilities {'can_set'}, but capability {} was provided for user user-of-stranger"),
        "{refused}"
    );
    assert_eq!(running.call(&stranger, "callee", "get", vec![]).await, Ok(json!(1)));
    let (tool, _three) = vctl(&running);
    assert_eq!(set(&tool, "Fan").await, Ok(json!("Fan")));
    // Calls between peers outside are read only where there is something to look at.
    let (_remote_callee, _mailbox) = remote(&running, 3, "far", json!({})).await;
    assert!(stranger.is_guarded(&id("callee")) && stranger.is_guarded(&id("config.store")) && !stranger.is_guarded(&id("far")));
    running.peer_auth.add_method_capabilities(&admin(), "far", "set", vec!["can_set".to_owned()]).await.unwrap();
    assert!(stranger.is_guarded(&id("far")));
    let request = RpcRequest::new("set", Params::keyword(crate::bench::kwargs(json!({"point": "T"}))));
    assert!(stranger.may_call(&id("far"), &request).is_err() && holder.may_call(&id("far"), &request).is_ok());
}

#[tokio::test]
async fn peers_from_outside_control_agents_with_the_capability_only() {
    let running = Bench::default().start().await;
    let (none, _one) = remote(&running, 1, "a1", json!({})).await;
    let (central, _two) = remote(&running, 2, "a2", json!("control_agents")).await;
    for method in ["stop_platform", "shutdown", "start_agent", "install_builtin", "no_such_method"] {
        assert!(is_refused(&running.call(&none, "control", method, vec![]).await), "{method}");
    }
    assert!(running.call(&none, "control", "list_agents", vec![]).await.is_ok());
    assert!(running.call(&none, "control", "inspect", vec![]).await.is_ok());
    assert!(!running.platform_stop.is_cancelled());
    assert!(running.call(&central, "control", "shutdown", vec![]).await.is_ok());
    let (tool, _three) = vctl(&running);
    assert!(running.call(&tool, "control", "stop_platform", vec![]).await.is_ok());
    assert!(running.platform_stop.is_cancelled());
}
