//! What the health service hears, asks and concludes.

use serde_json::json;
use vt_agent::MethodTable;
use vt_backends::AgentSource;
use vt_types::identity::known;
use vt_types::{AgentUuid, Clock, Headers, Priority, Topic};

use super::*;
use crate::InstallRequest;
use crate::bench::{Bench, Running, admin, id, until, until_true};

fn health(running: &Running, identity: &str) -> Option<HealthView> {
    running.health.of(&id(identity))
}

#[tokio::test]
async fn a_new_agent_shows_within_one_heartbeat_with_its_reason() {
    let bench = Bench::default();
    let running = bench.start().await;
    let (agent, _events) = running.agent("meter", MethodTable::new());
    until_true(|| health(&running, "meter").is_some_and(|view| view.status == StatusWord::Good && view.last_heartbeat.is_some())).await;
    assert_eq!(health(&running, "meter").unwrap().connected, Some(bench.clock.now()));
    agent.set_status(StatusWord::Bad, json!({"offline": ["a/b"]}));
    until_true(|| health(&running, "meter").is_some_and(|view| view.context == json!({"offline": ["a/b"]}))).await;
    let view = health(&running, "meter").unwrap();
    assert_eq!((view.status, view.last_updated), (StatusWord::Bad, Some(bench.clock.now())));
    let RollUp { worst, reasons } = running.health.roll_up();
    assert_eq!((worst, reasons), (StatusWord::Bad, vec![("meter".to_owned(), "{\"offline\":[\"a/b\"]}".to_owned())]));
    // Another reason of the same word shows at once as well.
    agent.set_status(StatusWord::Bad, json!({"offline": ["a/b", "a/c"]}));
    until_true(|| health(&running, "meter").is_some_and(|view| view.context == json!({"offline": ["a/b", "a/c"]}))).await;
    // Of many numbers, the sentence that says what is wrong.
    agent.set_status(StatusWord::Bad, json!({"reason": "the line is cut", "backlog": 5}));
    until_true(|| running.health.roll_up().reasons == [("meter".to_owned(), "the line is cut".to_owned())]).await;
    agent.close();
    until_true(|| health(&running, "meter").is_none()).await;
    assert_eq!(running.health.roll_up(), RollUp { worst: StatusWord::Good, reasons: vec![] });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_heartbeat_counts_even_if_it_comes_together_with_the_news_of_the_connection() {
    let running = Bench::default().start().await;
    let names: Vec<String> = (0..100).map(|number| format!("meter.{number}")).collect();
    // Nothing is awaited in between: the service finds connections and heartbeats waiting side by side, and there is no second heartbeat.
    let beat = |name: &String| {
        let (peer, mailbox) = running.bus.connect(id(name), vt_bus::PeerKind::Agent).unwrap();
        peer.publish(&Topic::parse(&format!("heartbeat/{name}")).unwrap(), Headers::new(), json!("GOOD")).unwrap();
        (peer, mailbox)
    };
    let peers: Vec<_> = names.iter().map(beat).collect();
    until_true(|| names.iter().all(|name| health(&running, name).is_some_and(|view| view.status == StatusWord::Good))).await;
    drop(peers);
    until_true(|| names.iter().all(|name| health(&running, name).is_none())).await;
    // One that beats and is gone at once leaves nothing behind.
    drop(names.iter().map(beat).collect::<Vec<_>>());
    let (last, _events) = running.agent("last", MethodTable::new());
    until_true(|| health(&running, "last").is_some_and(|view| view.status == StatusWord::Good)).await;
    assert_eq!(names.iter().filter(|name| health(&running, name).is_some()).count(), 0);
    drop(last);
}

#[tokio::test]
async fn a_heartbeat_in_the_name_of_another_counts_for_nobody() {
    let running = Bench::default().start().await;
    let (_victim, _events) = running.agent("meter", MethodTable::new());
    let (liar, _liar_events) = running.agent("liar", MethodTable::new());
    until_true(|| health(&running, "meter").is_some_and(|view| view.status == StatusWord::Good)).await;
    liar.publish(&Topic::parse("heartbeat/meter").unwrap(), Headers::new(), json!("BAD")).unwrap();
    liar.publish(&Topic::parse("heartbeat/liar").unwrap(), Headers::new(), json!("BAD")).unwrap();
    until_true(|| health(&running, "liar").is_some_and(|view| view.status != StatusWord::Unknown)).await;
    assert_eq!(health(&running, "meter").unwrap().status, StatusWord::Good);
}

#[tokio::test]
async fn an_agent_that_does_not_tell_its_status_keeps_its_word() {
    let running = Bench::default().start().await;
    let mut table = MethodTable::new();
    table.method("health.get_status_json").to(|_| std::future::pending());
    let (agent, _events) = running.agent("mute", table);
    until_true(|| health(&running, "mute").is_some_and(|view| view.status == StatusWord::Good)).await;
    agent.publish(&Topic::parse("heartbeat/mute").unwrap(), Headers::new(), json!("STARTING")).unwrap();
    until_true(|| health(&running, "mute").is_some_and(|view| view.status == StatusWord::Starting)).await;
    agent.publish(&Topic::parse("heartbeat/mute").unwrap(), Headers::new(), json!("nonsense")).unwrap();
    until_true(|| health(&running, "mute").is_some_and(|view| view.status == StatusWord::Unknown)).await;
}

#[tokio::test]
async fn an_agent_that_ought_to_run_and_does_not_is_bad_with_the_reason() {
    let bench = Bench::default();
    let running = bench.start().await;
    let install = async |identity: &str, priority: Option<Priority>| {
        let request =
            InstallRequest { kind: "listener".into(), identity: Some(identity.into()), tag: None, priority, config: None, force: false };
        running.agents.install(&admin(), request).await.unwrap()
    };
    let enabled = install("enabled", Some(Priority::default())).await;
    install("not.enabled", None).await;
    let starting = RollUp { worst: StatusWord::Starting, reasons: vec![("enabled".into(), "waits for its start".into())] };
    assert_eq!(running.health.roll_up(), starting);
    running.agents.autostart().await;
    assert_eq!(running.health.roll_up().worst, StatusWord::Good);
    running.agents.stop(&admin(), &enabled.identity).await.unwrap();
    let stopped = RollUp { worst: StatusWord::Bad, reasons: vec![("enabled".into(), "is enabled but stopped".into())] };
    assert_eq!(running.health.roll_up(), stopped);
    let agent = InstalledAgent {
        uuid: AgentUuid::parse(enabled.uuid.as_str()).unwrap(),
        identity: enabled.identity.clone(),
        name: enabled.name,
        tag: None,
        priority: None,
        source: AgentSource::BuiltIn { kind: enabled.kind },
        config: None,
        data_dir: "/nonexistent".into(),
    };
    let at = bench.clock.now();
    running
        .launcher
        .put(&agent, &RunState::BackingOff { pid: 1, exit_code: 1, reason: "no route".into(), at, restart_at: at, failures: 3 });
    let reason = &running.health.roll_up().reasons[0].1;
    assert!(reason.contains("no route") && reason.contains('3'), "{reason}");
    running.launcher.put(&agent, &RunState::Failed { pid: 1, exit_code: 1, reason: "no route".into(), at });
    assert!(running.health.roll_up().reasons[0].1.contains("not started again"));
}

#[tokio::test]
async fn get_platform_health_has_volttrons_shape() {
    let running = Bench::default().start().await;
    let (agent, _events) = running.agent("meter", MethodTable::new());
    until_true(|| health(&running, "meter").is_some_and(|view| view.last_heartbeat.is_some())).await;
    let answer = running.call(agent.peer(), known::PLATFORM_HEALTH, "get_platform_health", vec![]).await.unwrap();
    let meter = answer["meter"].as_object().unwrap();
    assert_eq!((&meter["peer"], &meter["service_agent"], &meter["message"]), (&json!("meter"), &json!(false), &json!("GOOD")));
    for time in ["connected", "last_heartbeat"] {
        let text = meter[time].as_str().unwrap();
        assert!(text.len() == 26 && !text.contains('+') && !text.ends_with('Z'), "naive local time: {text}");
    }
    assert_eq!(answer["control"]["service_agent"], true);
    assert_eq!(answer.get(known::CONTROL_LOCAL), None);
}

#[tokio::test]
async fn alerts_are_kept_and_told() {
    let bench = Bench::default();
    let running = bench.start().await;
    let mut followed = running.alerts.follow();
    let (agent, _events) = running.agent("meter", MethodTable::new());
    agent.send_alert("too hot", StatusWord::Bad, json!("95 °C"));
    let plain = Topic::parse("alerts/Other/x").unwrap();
    agent.publish(&plain, Headers::new(), json!({"no": "status"})).unwrap();
    let alert = followed.recv().await.unwrap();
    assert_eq!((alert.key.as_str(), alert.status.as_str(), &alert.context), ("too hot", "BAD", &json!("95 °C")));
    assert_eq!((alert.topic.as_str(), alert.identity.as_str()), ("alerts/TestAgent/harbor1_meter", "meter"));
    let odd = followed.recv().await.unwrap();
    assert_eq!((odd.key.as_str(), odd.status.as_str(), &odd.context), ("", "UNKNOWN", &json!({"no": "status"})));
    let kept = until(|| async { Some(running.alerts.newest(10).await.unwrap()).filter(|kept| kept.len() == 2) }).await;
    assert_eq!(kept, [(*odd).clone(), (*alert).clone()]);
}
