//! Roles, groups and protected topics of the modular generation, over the bus and in effect there.

use serde_json::{Value, json};
use vt_bus::{PeerHandle, PeerKind, PublishError, RemoteMailbox, RemotePeer};
use vt_types::{Headers, Params, RpcError, Topic, TopicPrefix};

use super::*;
use crate::bench::{Bench, Running, admin, call, id, kwargs};

/// A peer from outside that was let in as the user of its name.
fn outside(running: &Running, identity: &str) -> (PeerHandle, RemoteMailbox) {
    let peer = RemotePeer { identity: id(identity), kind: PeerKind::Agent, user_id: Arc::from(identity), queue_max: 0 };
    running.bus.connect_remote(peer).unwrap()
}

async fn auth(from: &PeerHandle, method: &str, arguments: &Value) -> Result<Value, RpcError> {
    call(from, "platform.auth", method, Params::keyword(kwargs(arguments.clone()))).await
}

#[tokio::test]
async fn what_is_made_by_rpc_is_stored_holds_at_once_and_goes_again() {
    let bench = Bench::default();
    let running = bench.start().await;
    let mut methods = vt_agent::MethodTable::new();
    methods.method("set").to(|_| std::future::ready(Ok(json!("done"))));
    let (_pump, _events) = running.agent("pump", methods);
    let (anne, _mail) = outside(&running, "anne");
    let (rule, _rule_mail) = outside(&running, "control.connection");
    let set = async || call(&anne, "pump", "set", Params::none()).await;
    assert_eq!(set().await, Ok(json!("done")), "open until somebody closes it");
    for (method, arguments, made) in [
        (
            "create_or_merge_agent_authz",
            json!({"identity": "pump", "protected_rpcs": ["set"], "roles": null, "comments": "c", "more": 1}),
            true,
        ),
        (
            "create_or_merge_role",
            json!({"name": "r", "rpc_capabilities": {"rpc_capabilities": [{"resource": "pump.set", "param_restrictions": {}}]}, "pubsub_capabilities": null}),
            true,
        ),
        (
            "create_or_merge_agent_group",
            json!({"name": "g", "identities": ["bob"], "roles": {"agent_roles": [{"role_name": "r", "param_restrictions": {}}]}}),
            true,
        ),
        ("remove_role", json!({"name": "none"}), false),
        ("add_agents_to_group", json!({"name": "none", "identities": ["anne"]}), false),
    ] {
        assert_eq!(auth(&rule, method, &arguments).await, Ok(json!(made)), "{method}");
    }
    assert_eq!(set().await, Err(RpcError::Refused("User anne does not have access to call pump.set ".to_owned())));
    assert_eq!(auth(&anne, "get_protected_rpcs", &json!({"identity": "pump"})).await, Ok(json!(["set"])));
    let asks = json!({"identity": "anne", "method_name": "pump.set", "method_args": {}});
    assert!(auth(&anne, "check_rpc_authorization", &asks).await.is_err());
    assert_eq!(auth(&rule, "add_agents_to_group", &json!({"name": "g", "identities": ["anne"]})).await, Ok(json!(true)));
    assert_eq!((set().await, auth(&anne, "check_rpc_authorization", &asks).await), (Ok(json!("done")), Ok(json!(true))));
    let shown = auth(&anne, "get_agent_capabilities", &json!({"identity": "anne"})).await.unwrap();
    assert_eq!(shown, json!({"agent_roles": ["r"], "rpc_capabilities": ["pump.set"]}));
    assert_eq!(auth(&anne, "get_agent_capabilities", &json!({"identity": "nobody"})).await, Ok(Value::Null));
    auth(&rule, "remove_agents_from_group", &json!({"name": "g", "identities": ["anne"]})).await.unwrap();
    assert!(set().await.is_err());
    assert_eq!(auth(&rule, "remove_agent_authz", &json!({"identity": "pump"})).await, Ok(json!(true)));
    assert_eq!(set().await, Ok(json!("done")));
    drop(running);
    let again = bench.start().await;
    assert_eq!(
        again.peer_auth.records().authz.to_json()["agent_groups"],
        json!({"g": {"identities": ["bob"], "agent_roles": ["r"]}}),
        "it is stored"
    );
    assert!(bench.audited().await.iter().any(|record| record.action == "peer.authz" && record.target == "g" && record.success));
}

#[tokio::test]
async fn protected_topics_are_for_those_who_were_given_them() {
    let bench = Bench::default();
    let running = bench.start().await;
    let (rule, _rule_mail) = outside(&running, "control.connection");
    assert_eq!(auth(&rule, "create_protected_topics", &json!({"topic_name_patterns": ["devices", "/record.*/"]})).await, Ok(json!(true)));
    assert_eq!(auth(&rule, "create_protected_topics", &json!({"topic_name_patterns": "devices"})).await, Ok(json!(false)), "it was there");
    let may = json!({"identity": "anne", "pubsub_capabilities": {"pubsub_capabilities": [{"topic_pattern": "devices/a", "topic_access": "publish"}]}});
    auth(&rule, "create_or_merge_agent_authz", &may).await.unwrap();
    let (anne, _mail) = outside(&running, "anne");
    let (inside, _events) = running.agent("inside", vt_agent::MethodTable::new());
    let publish = |peer: &PeerHandle, topic: &str| peer.publish(&Topic::parse(topic).unwrap(), Headers::new(), json!(1));
    assert!(publish(&anne, "devices/a/1").is_ok() && publish(&anne, "open").is_ok() && publish(&rule, "devices/b").is_ok());
    for (peer, topic) in [(&anne, "devices/b"), (&anne, "record/x"), (inside.peer(), "devices/a/1")] {
        assert!(matches!(publish(peer, topic), Err(PublishError::Refused(_))), "{topic}");
    }
    let subscribe = |peer: &PeerHandle, prefix: &str| peer.subscribe(&TopicPrefix::parse(prefix).unwrap()).is_ok();
    assert!(
        !subscribe(&anne, "devices/a") && subscribe(&anne, "") && subscribe(inside.peer(), "devices"),
        "built-in agents are the platform's own"
    );
    for (topic, access, expected) in
        [("devices/a", "publish", true), ("devices/a", "subscribe", false), ("devices/a", "pubsub", false), ("open", "pubsub", true)]
    {
        let asks = json!({"identity": "anne", "topic_pattern": topic, "access": access});
        assert_eq!(auth(&anne, "check_pubsub_authorization", &asks).await, Ok(json!(expected)), "{topic} {access}");
    }
    for (topic, expected) in [("devices/x", true), ("other", false)] {
        assert_eq!(auth(&anne, "is_protected_topic", &json!({"topic_name_pattern": topic})).await, Ok(json!(expected)));
    }
    assert_eq!(auth(&rule, "remove_protected_topics", &json!({"topic_name_patterns": ["devices"]})).await, Ok(json!(true)));
    assert!(publish(&anne, "devices/b").is_ok());
}

#[tokio::test]
async fn what_makes_no_sense_or_is_not_allowed_changes_nothing() {
    let bench = Bench::default();
    let running = bench.start().await;
    let (rule, _rule_mail) = outside(&running, "control.connection");
    for (method, arguments, told) in [
        ("create_or_merge_role", json!({"name": "r"}), "Role r should have non empty capabilities"),
        ("create_or_merge_role", json!({"name": "", "rpc_capabilities": ["a.b"]}), "the name is empty"),
        ("create_or_merge_role", json!({"name": "r", "rpc_capabilities": ["/(/"]}), "the pattern \"/(/\" cannot be used"),
        ("create_or_merge_role", json!({"name": "r", "pubsub_capabilities": {"t": "fly"}}), "the access must be"),
        ("create_or_merge_agent_group", json!({"name": "g", "identities": [], "roles": ["r"]}), "Empty agent group"),
        ("create_or_merge_agent_group", json!({"name": "g", "identities": ["a"]}), "agent group g should have non empty capabilities"),
        ("create_or_merge_agent_group", json!({"name": "g", "identities": ["a b"], "roles": ["r"]}), "VIP identity"),
        ("create_protected_topics", json!({"topic_name_patterns": ["/(/"]}), "is no topic and no pattern"),
    ] {
        let error = auth(&rule, method, &arguments).await.unwrap_err().to_string();
        assert!(error.contains(told), "{method}: {error}");
    }
    let (anne, _mail) = outside(&running, "anne");
    let refused = auth(&anne, "create_or_merge_role", &json!({"name": "r", "rpc_capabilities": ["/.*/"]})).await.unwrap_err();
    assert!(matches!(&refused, RpcError::Refused(text) if text.contains("allow_auth_modifications")), "{refused}");
    assert!(running.peer_auth.records().authz.is_empty());
    assert!(matches!(running.peer_auth.remove_authz_role(&crate::bench::nobody(), "r").await, Err(ServiceError::Forbidden(_))));
    // Whoever is given a service's method may call it, with the arguments that were given with it.
    let powers = vt_backends::Powers::parse(&json!([{"platform.config_store.set_config": {"identity": "pump"}}]), &Value::Null).unwrap();
    let agent = vt_backends::AgentAuthz { powers, ..vt_backends::AgentAuthz::default() };
    running.peer_auth.merge_agent_authz(&admin(), "anne", agent).await.unwrap();
    let store = async |identity: &str| {
        let arguments = json!({"identity": identity, "config_name": "c", "raw_contents": "{}", "config_type": "json"});
        call(&anne, "config.store", "set_config", Params::keyword(kwargs(arguments))).await
    };
    assert!(store("pump").await.is_ok());
    assert!(store("fan").await.is_err());
}
