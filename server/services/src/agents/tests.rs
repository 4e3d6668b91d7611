//! Life cycle as people and `vctl` see it, on a launcher whose agents do nothing.

use std::time::Duration;

use serde_json::json;
use vt_agent::MethodTable;
use vt_backends::{InstallationRepository, LaunchError};
use vt_types::identity::known;
use vt_types::{Params, RpcError};

use super::*;
use crate::ServiceError;
use crate::bench::{Bench, DEADLINE, Running, admin, call, id, kwargs, nobody, until_true, vui};

fn request(kind: &str) -> InstallRequest {
    InstallRequest { kind: kind.to_owned(), identity: None, tag: None, priority: None, config: None, force: false }
}

fn named(identity: &str) -> InstallRequest {
    InstallRequest { identity: Some(identity.to_owned()), ..request("listener") }
}

async fn listener(running: &Running) -> AgentView {
    running.agents.install(&admin(), named("listener")).await.unwrap()
}

async fn control(running: &Running, method: &str, args: Vec<Value>) -> Result<Value, RpcError> {
    let tools = &running.tools;
    tools.call(&Caller::local("root"), &id(known::CONTROL), method, Params::positional(args), DEADLINE).await
}

#[tokio::test]
async fn the_second_install_of_an_agent_gets_the_next_number() {
    let bench = Bench::default();
    let running = bench.start().await;
    for n in 1..=2 {
        let agent = running.agents.install(&admin(), request("listener")).await.unwrap();
        assert_eq!(agent.identity.as_str(), format!("listeneragent-3.3_{n}"));
        assert_eq!((agent.state, agent.tag, agent.priority), (RunState::NeverStarted, None, None), "not started, not enabled");
    }
    let restarted = bench.start().await;
    assert_eq!(restarted.agents.list().len(), 2, "what was answered OK is there after a restart");
}

#[tokio::test]
async fn an_identity_in_use_is_refused_and_leaves_nothing() {
    let bench = Bench::default();
    let running = bench.start().await;
    running.agents.install(&admin(), request("platform_driver")).await.unwrap();
    let taken = running.agents.install(&admin(), request("platform_driver")).await.unwrap_err();
    assert_eq!(taken, ServiceError::AlreadyExists("Agent with VIP ID platform.driver already installed on platform.".into()));
    for bad in ["control", "config.store", "a b", "../x", ""] {
        assert!(matches!(running.agents.install(&admin(), named(bad)).await, Err(ServiceError::Invalid(_))), "{bad}");
    }
    assert!(matches!(running.agents.install(&admin(), request("nonsense")).await, Err(ServiceError::Invalid(_))));
    assert!(matches!(running.agents.install(&vui(), request("listener")).await, Err(ServiceError::Forbidden(_))));
    assert_eq!(bench.installations.load_all().await.unwrap().records.len(), 1);
}

#[tokio::test]
async fn force_keeps_identity_and_configuration_and_changes_the_uuid() {
    let running = Bench::default().start().await;
    let old = listener(&running).await;
    running.agents.start(&admin(), &old.identity).await.unwrap();
    running.configs.set(&admin(), &old.identity, "config", vt_backends::ConfigType::Raw, "x").await.unwrap();
    let new = running.agents.install(&admin(), InstallRequest { force: true, ..named("listener") }).await.unwrap();
    assert_ne!(new.uuid, old.uuid);
    assert_eq!(new.state, RunState::NeverStarted, "stopped and not started again");
    assert_eq!(running.agents.by_uuid(old.uuid), None);
    assert_eq!(running.agents.list().len(), 1);
    assert!(running.configs.get(&old.identity, "config").is_some());
}

#[tokio::test]
async fn an_agent_is_started_stopped_restarted_and_removed() {
    let bench = Bench::default();
    let running = bench.start().await;
    let mut events = running.agents.events();
    let agent = listener(&running).await;
    let identity = &agent.identity;
    running.agents.start(&vui(), identity).await.unwrap();
    assert!(running.agents.running_peers().contains(identity));
    let twice = running.agents.start(&vui(), identity).await.unwrap_err();
    assert_eq!(twice, ServiceError::Conflict("Agent: listener is already running.".into()));
    let pid = |running: &Running| running.agents.by_identity("listener").unwrap().state.pid_and_exit_code();
    let before = pid(&running);
    running.agents.restart(&vui(), identity).await.unwrap();
    assert_ne!(pid(&running), before, "another pid");
    running.agents.stop(&vui(), identity).await.unwrap();
    running.agents.stop(&vui(), identity).await.unwrap();
    assert_eq!(pid(&running).1, Some(0));
    assert!(matches!(running.agents.remove(&vui(), identity).await, Err(ServiceError::Forbidden(_))));
    running.agents.remove(&admin(), identity).await.unwrap();
    assert!(bench.installations.load_all().await.unwrap().records.is_empty());
    for unknown in [running.agents.start(&admin(), identity).await, running.agents.set_tag(&admin(), identity, None).await] {
        assert!(matches!(&unknown, Err(ServiceError::NotFound(text)) if text.contains("listener")), "{unknown:?}");
    }
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push(event.state);
    }
    assert_eq!(seen, ["installed", "running", "running", "removed"]);
    let audited: Vec<_> = bench.audited().await.into_iter().map(|record| (record.action, record.user, record.success)).collect();
    assert_eq!(audited[0], ("agent.install".into(), "dana".into(), true));
    assert_eq!(audited[2], ("agent.start".into(), "kiosk".into(), false));
    assert!(audited.contains(&("agent.remove".into(), "kiosk".into(), false)), "refusals are written down, too");
}

#[tokio::test]
async fn a_change_that_was_begun_is_finished_even_if_whoever_asked_goes_away() {
    let bench = Bench::default();
    let running = bench.start().await;
    {
        let caller = admin();
        let mut install = Box::pin(running.agents.install(&caller, named("listener")));
        assert!(futures_util::poll!(install.as_mut()).is_pending());
    }
    until_true(|| running.agents.by_identity("listener").is_some()).await;
}

#[tokio::test]
async fn enabled_agents_start_by_priority_text_descending() {
    let bench = Bench::default();
    let running = bench.start().await;
    for (identity, priority) in [("a", Some("05")), ("b", Some("99")), ("c", None), ("d", Some("50")), ("e", Some("9"))] {
        let priority = priority.map(|text| Priority::parse(text).unwrap());
        running.agents.install(&admin(), InstallRequest { priority, ..named(identity) }).await.unwrap();
    }
    let restarted = bench.start().await;
    restarted.agents.autostart().await;
    assert_eq!(restarted.launcher.started(), ["b", "e", "d", "a"].map(id));
}

#[tokio::test]
async fn tag_and_priority_are_stored_and_shown() {
    let bench = Bench::default();
    let running = bench.start().await;
    let agent = listener(&running).await;
    running.agents.set_tag(&vui(), &agent.identity, Some(Tag::parse("poller").unwrap())).await.unwrap();
    running.agents.set_priority(&vui(), &agent.identity, Some(Priority::default())).await.unwrap();
    assert!(matches!(running.agents.set_priority(&nobody(), &agent.identity, None).await, Err(ServiceError::Forbidden(_))));
    let restarted = bench.start().await;
    for view in [running.agents.by_identity("listener").unwrap(), restarted.agents.by_uuid(agent.uuid).unwrap()] {
        assert_eq!((view.tag.unwrap().as_str(), view.priority.unwrap().as_str()), ("poller", "50"));
    }
    bench.installations.set_failing(true);
    assert!(matches!(running.agents.set_tag(&vui(), &agent.identity, None).await, Err(ServiceError::Unavailable(_))));
    assert!(running.agents.by_identity("listener").unwrap().tag.is_some(), "what was not stored does not count");
}

#[tokio::test]
async fn clearing_statuses_changes_nothing_that_runs() {
    let running = Bench::default().start().await;
    for identity in ["runs", "ended"] {
        running.agents.install(&admin(), named(identity)).await.unwrap();
        running.agents.start(&admin(), &id(identity)).await.unwrap();
    }
    running.agents.stop(&admin(), &id("ended")).await.unwrap();
    let state = |identity: &str| running.agents.by_identity(identity).unwrap().state;
    running.agents.clear_status(&nobody(), true);
    running.agents.clear_status(&vui(), false);
    assert!(matches!(state("ended"), RunState::Stopped { .. }));
    running.agents.clear_status(&vui(), true);
    assert_eq!(state("ended"), RunState::NeverStarted);
    assert!(state("runs").is_running());
}

#[tokio::test]
async fn an_agent_that_fails_raises_an_alert() {
    let bench = Bench::default();
    let running = bench.start().await;
    let agent = listener(&running).await;
    let mut alerts = running.alerts.follow();
    let installed = running.agents.inner.deps.installed.by_uuid(agent.uuid).unwrap();
    let at = bench.clock.now();
    let backing_off = |failures| RunState::BackingOff { pid: 7, exit_code: 1, reason: "it panicked".into(), at, restart_at: at, failures };
    running.launcher.put(&installed, &backing_off(1));
    running.launcher.put(&installed, &backing_off(2));
    running.launcher.put(&installed, &RunState::Failed { pid: 7, exit_code: 1, reason: "it panicked".into(), at });
    let first = tokio::time::timeout(DEADLINE, alerts.recv()).await.unwrap().unwrap();
    assert_eq!(first.key, format!("Agent listeneragent-3.3({}) stopped unexpectedly", agent.uuid));
    assert_eq!((first.status.as_str(), first.identity.as_str()), ("BAD", "control"));
    assert_eq!(first.topic, "alerts/ControlService/harbor1_control");
    let second = tokio::time::timeout(DEADLINE, alerts.recv()).await.unwrap().unwrap();
    assert!(second.context.as_str().unwrap().contains("Attempts to restart failed"));
    crate::bench::until(|| async { (running.alerts.newest(10).await.unwrap().len() == 2).then_some(()) }).await;
    assert_eq!(running.alerts.newest(10).await.unwrap()[0], *second, "newest first");
}

#[tokio::test]
async fn control_answers_in_volttrons_shapes() {
    let running = Bench::default().start().await;
    let agent = listener(&running).await;
    let uuid = json!(agent.uuid);
    let listed = json!([{"name": "listeneragent-3.3", "uuid": uuid, "tag": null, "priority": null, "identity": "listener"}]);
    assert_eq!(control(&running, "list_agents", vec![]).await, Ok(listed));
    assert_eq!(control(&running, "status_agents", vec![]).await, Ok(json!([])), "only those that were started");
    assert_eq!(control(&running, "agent_status", vec![uuid.clone()]).await, Ok(json!([null, null])));
    control(&running, "start_agent", vec![uuid.clone()]).await.unwrap();
    let pid = running.agents.by_identity("listener").unwrap().state.pid_and_exit_code().0.unwrap();
    assert_eq!(control(&running, "agent_status", vec![uuid.clone()]).await, Ok(json!([pid, null])));
    assert_eq!(control(&running, "status_agents", vec![]).await, Ok(json!([[uuid, "listeneragent-3.3", [pid, null]]])));
    let four = json!([[uuid, "listeneragent-3.3", [pid, null], "listener"]]);
    assert_eq!(control(&running, "status_agents", vec![json!(false)]).await, Ok(four.clone()));
    let keyword = Params::keyword(kwargs(json!({"get_agent_user": false})));
    let called = running.tools.call(&Caller::local("root"), &id(known::CONTROL), "status_agents", keyword, DEADLINE).await;
    assert_eq!(called, Ok(four));
    for (method, answer) in [
        ("agent_name", json!("listeneragent-3.3")),
        ("agent_version", json!("3.3")),
        ("agent_vip_identity", json!("listener")),
        ("agent_tag", Value::Null),
    ] {
        assert_eq!(control(&running, method, vec![uuid.clone()]).await, Ok(answer), "{method}");
    }
    let versions = control(&running, "agent_versions", vec![]).await.unwrap();
    assert_eq!(versions[agent.uuid.as_str()], json!(["listeneragent-3.3", "3.3"]));
    assert_eq!(control(&running, "identity_exists", vec![json!("listener")]).await, Ok(uuid.clone()));
    assert_eq!(control(&running, "identity_exists", vec![json!("nobody")]).await, Ok(Value::Null));
    assert!(control(&running, "peerlist", vec![]).await.unwrap().as_array().unwrap().contains(&json!("listener")));
    control(&running, "tag_agent", vec![uuid.clone(), json!("poller")]).await.unwrap();
    control(&running, "prioritize_agent", vec![uuid.clone()]).await.unwrap();
    assert_eq!(running.agents.by_identity("listener").unwrap().priority, Some(Priority::default()));
    control(&running, "prioritize_agent", vec![uuid.clone(), Value::Null]).await.unwrap();
    assert_eq!(running.agents.by_identity("listener").unwrap().priority, None);
    control(&running, "shutdown", vec![]).await.unwrap();
    assert_eq!(control(&running, "agent_status", vec![uuid.clone()]).await, Ok(json!([pid, 0])));
    control(&running, "clear_status", vec![json!(true)]).await.unwrap();
    assert_eq!(control(&running, "agent_status", vec![uuid.clone()]).await, Ok(json!([null, null])));
    control(&running, "remove_agent", vec![uuid]).await.unwrap();
    let kind = Params::keyword(kwargs(json!({"kind": "platform_driver", "priority": "7", "tag": "d", "config": {"a": 1}})));
    let installed = running.tools.call(&Caller::local("root"), &id(known::CONTROL), "install_builtin", kind, DEADLINE).await.unwrap();
    assert_eq!(running.agents.by_identity("platform.driver").map(|agent| json!(agent.uuid)), Some(installed));
    control(&running, "stop_platform", vec![]).await.unwrap();
    assert!(running.platform_stop.is_cancelled());
}

#[tokio::test]
async fn control_refuses_wrong_types_and_unknown_agents_in_volttrons_words() {
    let running = Bench::default().start().await;
    let agent = listener(&running).await;
    let error = control(&running, "start_agent", vec![json!(5)]).await.unwrap_err();
    assert_eq!(error, RpcError::type_error("expected a string for 'uuid';got 5 from identity: control.local"));
    let error = control(&running, "tag_agent", vec![json!(agent.uuid), json!(true)]).await.unwrap_err();
    assert_eq!(error, RpcError::type_error("expected a string or null for 'tag';got True from identity: control.local"));
    for bad in ["100", "-1", "abc"] {
        let error = control(&running, "prioritize_agent", vec![json!(agent.uuid), json!(bad)]).await.unwrap_err();
        assert_eq!(error, RpcError::value_error(format!("Priority must be an integer from 0 - 99. Received: {bad}.")));
    }
    let unknown = json!("00000000-0000-4000-8000-000000000000");
    for method in ["start_agent", "stop_agent", "agent_name"] {
        let error = control(&running, method, vec![unknown.clone()]).await.unwrap_err();
        assert!(matches!(&error, RpcError::Remote(error) if error.class() == "KeyError"), "{error:?}");
    }
    assert_eq!(control(&running, "remove_agent", vec![unknown]).await, Err(RpcError::value_error("invalid agent")));
    assert!(matches!(control(&running, "start_agent", vec![json!("x")]).await, Err(RpcError::Remote(_))));
    control(&running, "start_agent", vec![json!(agent.uuid)]).await.unwrap();
    let twice = control(&running, "start_agent", vec![json!(agent.uuid)]).await.unwrap_err();
    assert!(twice.to_string().contains("already running"), "{twice}");
    assert_eq!(LaunchError::AlreadyRunning.to_string(), "agent is already running");
}

#[tokio::test]
async fn people_call_agents_and_see_each_failure_for_what_it_is() {
    let bench = Bench::default();
    let running = bench.start().await;
    let mut table = MethodTable::new();
    table.method("who").doc("Who asks.").optional("x", 1).to(|call| {
        let answer = json!([call.from, call.user.as_deref(), call.value("x")]);
        std::future::ready(Ok(answer))
    });
    table.method("never").to(|_| std::future::pending());
    let (_agent, _events) = running.agent("meter", table);
    let agents = &running.agents;
    assert!(agents.rpc_methods(&id("meter")).await.unwrap().contains(&"who".to_owned()));
    let signature = agents.rpc_inspect(&id("meter"), "who").await.unwrap();
    assert_eq!(signature["params"]["x"], json!({"kind": "POSITIONAL_OR_KEYWORD", "default": 1}));
    let asked = agents.rpc_call(&vui(), &id("meter"), "who", Params::positional(vec![json!(2)]), DEADLINE).await;
    assert_eq!(asked, Ok(json!(["platform_web", "kiosk", 2])));
    let missing = agents.rpc_inspect(&id("meter"), "nope").await.unwrap_err();
    assert_eq!(missing, ServiceError::Rpc(RpcError::MethodNotFound("nope".into())));
    let gone = agents.rpc_methods(&id("ghost")).await.unwrap_err();
    assert_eq!(gone, ServiceError::Rpc(RpcError::UnknownPeer(id("ghost"))));
    let silent = agents.rpc_call(&vui(), &id("meter"), "never", Params::none(), Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(silent, ServiceError::Rpc(RpcError::Timeout { .. })));
    assert!(matches!(agents.rpc_call(&nobody(), &id("meter"), "who", Params::none(), DEADLINE).await, Err(ServiceError::Forbidden(_))));
    assert_eq!(bench.audited().await[0].target, "meter.who");
}

#[tokio::test]
async fn agents_may_use_control_for_themselves() {
    let bench = Bench::default();
    let running = bench.start().await;
    let installed = listener(&running).await;
    let (agent, _events) = running.agent("watcher", MethodTable::new());
    call(agent.peer(), known::CONTROL, "start_agent", Params::positional(vec![json!(installed.uuid)])).await.unwrap();
    assert_eq!(bench.audited().await.last().unwrap().user, "peer:watcher");
}
