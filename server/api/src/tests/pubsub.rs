//! Publishing over REST.

use serde_json::json;
use vt_services::bench::Bench;

use super::{Api, P};

#[tokio::test]
async fn publishing_tells_how_many_heard_it() {
    let api = Api::start().await;
    let path = format!("{P}/pubsub/harbor/news");
    assert_eq!(api.put(&path, json!({"headers": {"a": 1}, "message": [1]})).await.expect(200).json(), json!({"number_of_subscribers": 0}));
    let (listener, _) = api.running.agent("listener", Default::default());
    listener.subscribe(&"harbor".parse().unwrap()).unwrap();
    assert_eq!(api.put(&path, json!({})).await.expect(200).json(), json!({"number_of_subscribers": 1}));
    for bad in [json!(5), json!([1]), json!({"headers": 5})] {
        api.put(&path, bad).await.expect(400).error();
    }
    api.put(&format!("{P}/pubsub/a%0Ab"), json!({})).await.expect(400).error();
    assert_eq!(api.get(&format!("{P}/pubsub")).await.expect(200).json(), json!([]));
    api.delete(&path).await.expect(204);
}

#[tokio::test]
async fn a_protected_topic_is_403() {
    let bench = Bench::default();
    bench.protect("secret/topic", &["can_publish"]);
    let api = Api::over(&bench).await;
    let bearer = format!("Bearer {}", api.token_of("kiosk", &["vui"]).await);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({"message": 1}).to_string();
    api.send("PUT", &format!("{P}/pubsub/secret/topic"), &headers, Some(body.clone())).await.expect(403).error();
    api.send("PUT", &format!("{P}/pubsub/secretive"), &headers, Some(body)).await.expect(200);
}

#[tokio::test]
async fn listening_needs_an_upgrade() {
    let api = Api::start().await;
    let reply = api.get(&format!("{P}/pubsub/devices")).await.expect(426);
    assert_eq!(reply.header("upgrade"), "websocket");
    reply.error();
    api.get("/vui/ws").await.expect(426);
}
