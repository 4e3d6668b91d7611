//! `vctl authz` of modular 11, unmodified: roles, groups, agents and protected topics are stored, and hold for peers of every generation.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::platform::Platform;
use crate::python::{Installed, PATIENCE};

async fn authz(platform: &Platform, arguments: &[&str], told: &str) {
    let done = platform.vctl11(&[&["authz"], arguments].concat()).await.ok();
    assert!(done.stdout.contains(told), "{arguments:?}: {done:?}");
}

#[tokio::test]
async fn roles_groups_and_topics_are_added_and_removed_and_outlive_a_restart() {
    let mut platform = Platform::start().await;
    authz(&platform, &["add", "role", "writers", "-rpc", "pump.set", "pump.reset", "-ps", "devices/pump:publish"], "Added Role:").await;
    authz(&platform, &["add", "group", "operators", "anne", "bob", "--role-names", "writers"], "Added Group:").await;
    authz(&platform, &["add", "agent", "pump", "--protected-rpcs", "set", "-c", "the pump"], "Added Agent:").await;
    authz(&platform, &["add", "topics", "devices", "/record.*/"], "Added Topic:").await;
    let expected = json!({
        "roles": {"writers": {"rpc_capabilities": ["pump.set", "pump.reset"], "pubsub_capabilities": {"devices/pump": "publish"}}},
        "agent_groups": {"operators": {"identities": ["anne", "bob"], "agent_roles": ["writers"]}},
        "agents": {"pump": {"protected_rpcs": ["set"], "comments": "the pump"}},
        "protected_topics": ["devices", "/record.*/"],
    });
    assert_eq!(platform.json("auth.json")["authz"], expected);
    platform.server.end(Signal::SIGTERM, PATIENCE).await;
    platform.server.start_again().await;
    assert_eq!(platform.json("auth.json")["authz"], expected);
    authz(&platform, &["remove", "role", "writers"], "Removed Role:").await;
    authz(&platform, &["remove", "group", "operators"], "Removed Group:").await;
    authz(&platform, &["remove", "group", "operators"], "didn't exist").await;
    authz(&platform, &["remove", "topics", "devices", "/record.*/"], "Removed Topic:").await;
    authz(&platform, &["remove", "topics", "devices"], "didn't exist").await;
    let rest = json!({"roles": {}, "agent_groups": {}, "agents": expected["agents"], "protected_topics": []});
    assert_eq!(platform.json("auth.json")["authz"], rest);
    let wrong = platform.vctl11(&["authz", "add", "role", "empty"]).await;
    assert_eq!(wrong.code, Some(20), "{wrong:?}");
    assert_eq!(platform.json("auth.json")["authz"], rest, "a role without rights is none");
}

#[tokio::test]
async fn a_method_that_it_closes_is_for_those_alone_whom_it_lets_in() {
    let platform = Platform::start().await;
    // The rule is there before the modular agent asks which of its methods are closed.
    authz(&platform, &["add", "agent", "eleven", "--protected-rpcs", "echo"], "Added Agent:").await;
    authz(&platform, &["add", "agent", "ten", "--protected-rpcs", "echo"], "Added Agent:").await;
    let _eleven = platform.agent(Installed::Eleven, "eleven", &[]).await;
    let _ten = platform.agent(Installed::Ten, "ten", &[]).await;
    let mut anne = platform.peer("anne", 9).await;
    let mut modular = platform.agent(Installed::Eleven, "bob", &[]).await;
    for callee in ["eleven", "ten"] {
        let refused = anne.call(callee, "echo", json!([1])).await;
        assert!(refused["error"].to_string().contains(&format!("User anne does not have access to call {callee}.echo")), "{refused}");
        assert!(modular.call(callee, "echo", json!([1])).await.is_err(), "{callee}");
        assert!(anne.call(callee, "fail", json!(["open"])).await["error"].to_string().contains("open"), "{callee}");
    }
    authz(&platform, &["add", "role", "callers", "-rpc", "eleven.echo", "ten.echo"], "Added Role:").await;
    authz(&platform, &["add", "group", "people", "anne", "bob", "-rns", "callers"], "Added Group:").await;
    for callee in ["eleven", "ten"] {
        assert_eq!(anne.call(callee, "echo", json!([1])).await["result"]["args"], json!([1]), "{callee}");
        assert_eq!(modular.call(callee, "echo", json!([1])).await.unwrap()["args"], json!([1]), "{callee}");
    }
    authz(&platform, &["remove", "group", "people"], "Removed Group:").await;
    assert!(!anne.call("ten", "echo", json!([1])).await["error"].is_null());
}

#[tokio::test]
async fn an_agent_that_runs_is_told_what_it_is_to_check_and_checks_arguments() {
    let platform = Platform::start().await;
    let _eleven = platform.agent(Installed::Eleven, "eleven", &[]).await;
    let mut anne = platform.peer("anne", 9).await;
    assert_eq!(anne.call("eleven", "guarded", json!([6])).await["result"], 6, "open until somebody closes it");
    let mut rule = platform.peer_with("rule", 9, &json!({"allow_auth_modifications": null})).await;
    let right = json!(["anne", null, null, [{"eleven.guarded": {"value": 5}}]]);
    assert_eq!(rule.call("platform.auth", "create_or_merge_agent_authz", right).await["result"], json!(true));
    authz(&platform, &["add", "agent", "eleven", "--protected-rpcs", "guarded"], "Added Agent:").await;
    vt_testkit::eventually_async("the agent looks at arguments that have no name on the way", PATIENCE, async || {
        let answer = anne.call("eleven", "guarded", json!([6])).await;
        answer["error"].to_string().contains("only with value=5 but called with value=6").then_some(())
    })
    .await;
    assert_eq!(anne.call("eleven", "guarded", json!([5])).await["result"], 5);
}

#[tokio::test]
async fn a_topic_that_it_protects_is_for_those_alone_whom_it_lets_publish_or_hear() {
    let platform = Platform::start().await;
    authz(&platform, &["add", "topics", "secret"], "Added Topic:").await;
    authz(&platform, &["add", "agent", "anne", "-ps", "secret/a:publish"], "Added Agent:").await;
    authz(&platform, &["add", "agent", "reader", "-ps", "/secret.*/:subscribe"], "Added Agent:").await;
    let mut reader = platform.agent(Installed::Eleven, "reader", &[]).await;
    reader.subscribe("secret").await;
    let mut outsider = platform.agent(Installed::Ten, "outsider", &[]).await;
    let subscribed = outsider.python.ask(&json!({"do": "subscribe", "prefix": "secret", "timeout": 3})).await;
    let mut anne = platform.agent(Installed::Eleven, "anne", &[]).await;
    anne.publish("secret/a/1", json!({}), json!("mine")).await;
    assert_eq!(reader.hears("secret/a/1").await["message"], "mine");
    assert!(outsider.python.told(|event| event["event"] == "message").is_empty(), "{subscribed:?}");
    let checked = anne.call_with(
        "platform.auth",
        "check_pubsub_authorization",
        json!({"identity": "anne", "topic_pattern": "secret/b", "access": "publish"}),
    );
    assert_eq!(checked.await.unwrap(), json!(false));
    let mut bare = platform.peer("bare", 9).await;
    bare.run(json!({"do": "publish", "topic": "secret/a/2", "message": 1})).await;
    let refused = bare.receives("an error", |frames| frames.get(4) == Some(&json!("error"))).await;
    assert!(json!(refused).to_string().contains("requires the right"), "{refused:?}");
    anne.publish("secret/a/3", json!({}), json!("mine")).await;
    reader.hears("secret/a/3").await;
    assert!(reader.python.told(|event| event["topic"] == "secret/a/2").is_empty());
}

#[tokio::test]
async fn only_those_who_may_edit_auth_change_it() {
    let platform = Platform::start().await;
    let mut poor = platform.agent(Installed::Eleven, "poor", &[]).await;
    let role = json!({"name": "mine", "rpc_capabilities": {"rpc_capabilities": [{"resource": "/.*/", "param_restrictions": {}}]}});
    for (method, arguments) in [
        ("create_or_merge_role", role.clone()),
        ("create_or_merge_agent_group", json!({"name": "g", "identities": ["poor"], "roles": {"agent_roles": [{"role_name": "mine"}]}})),
        ("create_or_merge_agent_authz", json!({"identity": "poor", "roles": ["mine"]})),
        ("create_protected_topics", json!({"topic_name_patterns": ["devices"]})),
        ("remove_role", json!({"name": "mine"})),
        ("remove_agent_group", json!({"name": "g"})),
        ("remove_agent_authorization", json!({"identity": "poor"})),
        ("remove_protected_topics", json!({"topic_name_patterns": ["devices"]})),
        ("add_agents_to_group", json!({"name": "g", "identities": ["poor"]})),
        ("remove_agents_from_group", json!({"name": "g", "identities": ["poor"]})),
    ] {
        let refused = poor.call_with("platform.auth", method, arguments).await.unwrap_err();
        assert!(refused.to_string().contains("allow_auth_modifications"), "{method}: {refused}");
    }
    assert_eq!(platform.json("auth.json")["authz"], Value::Null);
    let mut rich = platform.peer_with("rich", 9, &json!({"allow_auth_modifications": null})).await;
    let made = rich.call("platform.auth", "create_or_merge_role", json!(["mine", ["poor.set"]])).await;
    assert_eq!(made["result"], json!(true), "{made}");
    // A role of the modular generation opens the platform's own methods as well.
    assert!(poor.call("control", "clear_status", json!([true])).await.is_err());
    authz(&platform, &["add", "agent", "poor", "-rpc", "platform.control.clear_status"], "Added Agent:").await;
    poor.call("control", "clear_status", json!([true])).await.unwrap();
    let shown = poor.call("platform.auth", "get_agent_capabilities", json!(["poor"])).await.unwrap();
    assert_eq!(shown["rpc_capabilities"], json!(["platform.control.clear_status"]), "{shown}");
    authz(&platform, &["remove", "agent", "poor"], "Removed Agent:").await;
    vt_testkit::eventually_async("who was removed is disconnected", Duration::from_secs(20), async || {
        let peers = platform.server.vctl(&["peerlist"]).await.ok().stdout;
        (!peers.lines().any(|line| line == "poor")).then_some(())
    })
    .await;
}
