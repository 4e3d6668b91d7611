//! The local socket's interface.

use serde_json::{Value, json};
use vt_services::bench::MethodTable;

use super::{Api, send};
use crate::ApiState;

async fn rpc(api: &Api, call: Value) -> Value {
    let router = crate::local_router(ApiState::new(api.running.services.clone()));
    send(&router, "POST", "/rpc", &[], Some(call.to_string()), None).await.expect(200).json()
}

#[tokio::test]
async fn tools_call_as_control_local_for_the_administrator() {
    let api = Api::start().await;
    let mut methods = MethodTable::new();
    methods.method("who").optional("a", 1).to(|call| async move {
        let from = call.from.as_str().to_owned();
        Ok(json!([from, call.user.as_deref(), call.value("a")]))
    });
    let _agent = api.running.agent("meter", methods);
    let answer = rpc(&api, json!({"peer": "meter", "method": "who", "kwargs": {"a": 2}})).await;
    assert_eq!(answer, json!({"result": ["control.local", "local:owner", 2]}));
    let answer = rpc(&api, json!({"peer": "control", "method": "peerlist"})).await;
    assert!(answer["result"].as_array().unwrap().contains(&json!("meter")), "{answer}");
}

#[tokio::test]
async fn failures_have_their_kind() {
    let api = Api::start().await;
    let kind = async |call: Value| rpc(&api, call).await["error"]["kind"].as_str().unwrap_or_default().to_owned();
    assert_eq!(kind(json!({"peer": "nobody", "method": "x"})).await, "unknown_peer");
    assert_eq!(kind(json!({"peer": "control", "method": "no_such"})).await, "method_not_found");
    assert_eq!(kind(json!({"peer": "a b", "method": "x"})).await, "invalid_params");
    let mut methods = MethodTable::new();
    methods.method("hang").to(|_| std::future::pending());
    let _agent = api.running.agent("slow", methods);
    assert_eq!(kind(json!({"peer": "slow", "method": "hang", "timeout_s": 0.01})).await, "timeout");
    let router = crate::local_router(ApiState::new(api.running.services.clone()));
    send(&router, "POST", "/rpc", &[], Some("{".to_owned()), None).await.expect(400);
}

#[tokio::test]
async fn status_and_shutdown() {
    let api = Api::start().await;
    let router = crate::local_router(ApiState::new(api.running.services.clone()));
    let status = send(&router, "GET", "/status", &[], None, None).await.expect(200).json();
    assert_eq!((&status["instance_name"], &status["reasons_not_ready"]), (&json!("harbor1"), &json!([])));
    let answer = send(&router, "POST", "/shutdown", &[], None, None).await.expect(200).json();
    assert_eq!(answer, json!({"stopping": true}));
    tokio::time::timeout(std::time::Duration::from_secs(10), api.running.platform_stop.cancelled()).await.unwrap();
}

#[tokio::test]
async fn the_overview_has_every_peer_and_agent() {
    let api = Api::start().await;
    let _agent = api.running.agent("meter", MethodTable::new());
    let router = crate::local_router(ApiState::new(api.running.services.clone()));
    let found = send(&router, "GET", "/overview", &[], None, None).await.expect(200).json();
    let overview: crate::local::overview::OverviewAnswer = serde_json::from_value(found).unwrap();
    let meter = overview.peers.iter().find(|peer| peer.identity == "meter").unwrap();
    assert_eq!((meter.kind.as_str(), meter.is_remote, meter.lost), ("agent", false, 0));
    assert!(overview.peers.iter().any(|peer| peer.identity == "control" && peer.kind == "service"));
    assert_eq!(overview.instance_name, "harbor1");
}

#[tokio::test]
async fn tools_publish_and_listen() {
    let api = Api::start().await;
    let router = crate::local_router(ApiState::new(api.running.services.clone()));
    let request = axum::http::Request::get("/subscribe?prefix=devices%2Fa").body(axum::body::Body::empty()).unwrap();
    let mut heard = tower::ServiceExt::oneshot(router.clone(), request).await.unwrap().into_body();
    let publish = async |topic: &str| {
        let body = json!({"topic": topic, "headers": {"Date": "x"}, "message": [1]}).to_string();
        send(&router, "POST", "/publish", &[], Some(body), None).await
    };
    let subscribers = async |topic: &str| publish(topic).await.expect(200).json()["subscribers"].as_u64().unwrap();
    let others = subscribers("devices/b").await;
    assert_eq!(subscribers("devices/a").await, others + 1);
    let frame = http_body_util::BodyExt::frame(&mut heard).await.unwrap().unwrap().into_data().unwrap();
    let line: Value = serde_json::from_slice(&frame).unwrap();
    assert_eq!((&line["publication"]["topic"], &line["publication"]["sender"]), (&json!("devices/a"), &json!("control.local")));
    assert_eq!((&line["publication"]["headers"]["Date"], &line["publication"]["message"]), (&json!("x"), &json!([1])));
    publish("devices/a\n").await.expect(400);
    api.running.platform_stop.cancel();
    assert!(http_body_util::BodyExt::frame(&mut heard).await.is_none(), "the platform's end ends it");
    drop(heard);
    assert_eq!(subscribers("devices/a").await, others, "who went away is subscribed no more");
}
