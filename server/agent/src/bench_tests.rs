//! Behaviour of an agent's context, seen with a small agent on the bench.

use std::path::Path;

use async_trait::async_trait;
use serde_json::{Value, json};
use vt_types::{Headers, RpcError, StatusWord, Topic, TopicPrefix};

use super::*;
use crate::{Event, Events};

/// Repeats what it hears on `in/` on `out/`, and its configuration changes on `config/`.
struct Echo;

#[async_trait]
impl Agent for Echo {
    async fn run(self: Box<Self>, context: AgentContext, mut events: Events) -> Result<(), AgentError> {
        let mut methods = MethodTable::new();
        methods.method("double").param("n").to(|call| async move { Ok(json!(call.arg::<i64>("n")? * 2)) });
        methods.method("panic").to(|_| async move { panic!("on purpose") });
        methods.method("forever").to(|_| std::future::pending());
        context.serve(methods);
        context.load_configs().await;
        context.subscribe(&TopicPrefix::parse("in/").map_err(AgentError::new)?).map_err(AgentError::new)?;
        loop {
            let (topic, message) = match events.next().await {
                Event::Stop => return Ok(()),
                Event::Publication(publication) => ("out/x".to_owned(), publication.message.shared()),
                Event::Config(change) => (format!("config/{:?}/{}", change.action, change.name), Arc::new(Value::Null)),
            };
            let topic = Topic::parse(&topic).map_err(AgentError::new)?;
            context.publish(&topic, Headers::new(), message).map_err(AgentError::new)?;
        }
    }
}

fn bench() -> TestBench {
    TestBench::new("echo", Path::new("."))
}

#[tokio::test]
async fn methods_answer_and_are_inspected() {
    let mut bench = bench();
    bench.start(Box::new(Echo));
    assert_eq!(bench.call("double", vec![json!(4)]).await, Ok(json!(8)));
    assert_eq!(bench.call("nope", vec![]).await, Err(RpcError::MethodNotFound("nope".into())));
    let methods = bench.call("inspect", vec![]).await.unwrap();
    for name in ["double", "agent.version", "health.get_status", "config.update", "heartbeat.set_period"] {
        assert!(methods["methods"].as_array().unwrap().contains(&json!(name)), "{name}");
    }
    assert_eq!(bench.call("double.inspect", vec![]).await, Ok(json!({"params": {"n": {"kind": "POSITIONAL_OR_KEYWORD"}}})));
    bench.stop().await.unwrap();
    assert!(matches!(bench.call("double", vec![json!(1)]).await, Err(RpcError::UnknownPeer(_))));
}

#[tokio::test]
async fn a_panic_or_an_endless_call_harms_no_other_call() {
    let mut bench = bench();
    bench.start(Box::new(Echo));
    let peer = bench.peer.clone();
    let endless = call_within(&peer, Duration::from_millis(50), &bench.settings.identity, "forever", Params::none());
    assert!(matches!(endless.await, Err(RpcError::Timeout { .. })));
    assert!(matches!(bench.call("panic", vec![]).await, Err(RpcError::Remote(_))));
    assert_eq!(bench.call("double", vec![json!(4)]).await, Ok(json!(8)));
}

#[tokio::test]
async fn configuration_arrives_in_order_and_changes_are_told() {
    let mut bench = bench();
    bench.subscribe("config/");
    bench.set_config("devices/a", json!({})).await;
    bench.set_config("config", json!({"x": 1})).await;
    let context = bench.start(Box::new(Echo));
    assert_eq!(bench.next().await.topic.as_str(), "config/New/config");
    assert_eq!(bench.next().await.topic.as_str(), "config/New/devices/a");
    assert_eq!(context.config("config"), Ok(json!({"x": 1})));
    bench.set_config("config", json!({"x": 2})).await;
    assert_eq!(bench.next().await.topic.as_str(), "config/Update/config");
    context.set_config("own", &json!({"y": 1})).await.unwrap();
    assert_eq!(bench.stored_config("own"), Some(json!({"y": 1})));
    assert_eq!(context.config("own"), Ok(json!({"y": 1})));
    bench.delete_config("config").await;
    assert_eq!(bench.next().await.topic.as_str(), "config/Delete/config", "its own write was not told");
    let refused = bench.call("config.update", vec![json!("DELETE_ALL"), Value::Null]).await;
    assert!(matches!(refused, Err(RpcError::Refused(_))), "only the store may push");
}

#[tokio::test]
async fn heartbeat_and_alerts_have_volttrons_form() {
    let mut bench = bench();
    bench.subscribe("heartbeat/");
    bench.subscribe("alerts/");
    let context = bench.start(Box::new(Echo));
    bench.call("heartbeat.start_with_period", vec![json!(3600)]).await.unwrap();
    let beat = bench.next().await;
    assert_eq!((beat.topic.as_str(), beat.message.as_ref()), ("heartbeat/echo", &json!("GOOD")));
    assert!(beat.headers.text("TimeStamp").unwrap().ends_with("+00:00"));
    assert_eq!(beat.headers.text("min_compatible_version"), Some("3.0"));
    context.set_status(StatusWord::Bad, "broken");
    assert_eq!(bench.next().await.message.as_ref(), &json!("BAD"), "a changed word is told at once");
    context.send_alert("key", StatusWord::Bad, "why");
    let alert = bench.next().await;
    assert_eq!(alert.topic.as_str(), "alerts/TestedAgent/bench_echo");
    assert_eq!(alert.headers.text("alert_key"), Some("key"));
    let status: Value = serde_json::from_str(alert.message.as_str().unwrap()).unwrap();
    assert_eq!((&status["status"], &status["context"]), (&json!("BAD"), &json!("why")));
    assert!(vt_types::timestamp::parse(status["last_updated"].as_str().unwrap()).is_ok(), "{status}");
}

#[tokio::test]
async fn version_headers_are_ours_whatever_the_publisher_says() {
    let mut bench = bench();
    bench.subscribe("x");
    let context = bench.start(Box::new(Echo));
    let topic = Topic::parse("x").unwrap();
    let other = Headers::new().with("min_compatible_version", "5.0").with("max_compatible_version", "9.0").with("Mine", "kept");
    for headers in [Headers::new(), other] {
        context.publish(&topic, headers.clone(), Value::Null).unwrap();
        let got = bench.next().await;
        assert_eq!((got.headers.text("min_compatible_version"), got.headers.text("max_compatible_version")), (Some("3.0"), Some("")));
        assert_eq!(got.headers.text("Mine"), headers.text("Mine"));
    }
}

#[tokio::test]
async fn publishing_in_a_callback_and_liveness() {
    let mut bench = bench();
    bench.subscribe("out/");
    let context = bench.start(Box::new(Echo));
    bench.call("agent.version", vec![]).await.unwrap();
    bench
        .call_until("inspect", vec![], |_| {
            bench.bus.peer_infos().iter().any(|info| !info.subscriptions.is_empty() && info.identity.as_str() == "echo")
        })
        .await;
    for n in 0..100 {
        bench.publish("in/x", Headers::new(), json!(n));
    }
    for n in 0..100 {
        assert_eq!(bench.next().await.message.as_ref(), &json!(n));
    }
    assert!(context.liveness().silent_ms() < 5_000);
    assert_eq!(context.liveness().busy_ms(), 0);
}
