//! Statements of web.md §9 (38, 61) and vip-zmq.md §5.4, on the bus itself.

use std::time::Duration;

use serde_json::json;
use vt_agent::MethodTable;
use vt_bus::{Bus, ConnectError, PublishError};
use vt_types::{Headers, Params, RpcError};

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
    let policy = Policy::open(Arc::new(bench.policy.clone()), Arc::clone(&running.auth)).await.unwrap();
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
