//! Websockets: VOLTTRON's own form (one topic, bodies only) and ours at `/vui/ws` (many subscriptions with envelopes).

use std::time::Duration;

use serde_json::json;
use vt_testkit::socket::tls;
use vt_testkit::{Client, Socket, TestServer};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_is_published_arrives_in_both_forms() {
    let server = TestServer::start().await;
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    let topic = format!("/vui/platforms/{platform}/pubsub/harbor/news");
    let mut plain = legacy(&server, &client, &format!("/vui/platforms/{platform}/pubsub/harbor")).await.unwrap();
    let mut enveloped = envelope(&server, &client).await.unwrap();
    enveloped.send(&json!({"op": "subscribe", "id": 7, "platform": platform, "prefix": "harbor/ne"})).await;
    let ok = enveloped.next(PATIENCE).await.unwrap();
    assert_eq!((&ok["op"], &ok["id"]), (&json!("ok"), &json!(7)), "{ok}");

    let message = json!({"text": "</script>\u{202e}", "number": 1.5, "none": null});
    let sent = client.put(&topic, &json!({"headers": {"by": "test"}, "message": message})).await.expect(200).json();
    assert!(sent["number_of_subscribers"].as_u64().unwrap() >= 1, "{sent}");
    assert_eq!(plain.next(PATIENCE).await.unwrap(), message);
    let event = enveloped.next(PATIENCE).await.unwrap();
    assert_eq!(event["topic"], "harbor/news", "{event}");
    assert_eq!(event["message"], message, "{event}");
    assert_eq!(event["headers"]["by"], "test", "{event}");
    assert_eq!(event["sub"], ok["sub"], "{event}");

    enveloped.send(&json!({"op": "unsubscribe", "sub": ok["sub"]})).await;
    enveloped.send(&json!({"op": "publish", "id": 8, "platform": platform, "topic": "harbor/news", "headers": {}, "message": 2})).await;
    let answer = enveloped.next_where("the answer to publish", PATIENCE, |frame| frame["id"] == json!(8)).await;
    assert_eq!(answer["op"], "ok", "{answer}");
    assert_eq!(plain.next(PATIENCE).await.unwrap(), json!(2));
}

#[tokio::test]
async fn a_device_is_seen_live() {
    let server = TestServer::demo().await;
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    let mut socket = envelope(&server, &client).await.unwrap();
    socket.send(&json!({"op": "subscribe", "id": 1, "platform": platform, "prefix": "devices/"})).await;
    let event = socket.next_where("a scrape", PATIENCE, |frame| frame["topic"].as_str().is_some_and(|topic| topic.ends_with("/all"))).await;
    assert!(event["message"][0].as_object().is_some_and(|points| !points.is_empty()), "{event}");
    assert_eq!(event["sender"], "platform.driver", "{event}");
}

#[tokio::test]
async fn nobody_listens_without_a_token() {
    let server = TestServer::start().await;
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    let paths = ["/vui/ws".to_owned(), format!("/vui/platforms/{platform}/pubsub/devices")];
    for path in &paths {
        let refresh = client.with_token(Some(&client.tokens().refresh));
        for stranger in [client.with_token(None), client.with_token(Some("x.y.z")), refresh] {
            assert_eq!(legacy(&server, &stranger, path).await.err(), Some(401), "{path}");
        }
    }
    client.get(&paths[1]).await.expect(426);
    let foreign = [("authorization", format!("Bearer {}", client.tokens().access)), ("origin", "https://elsewhere.example".to_owned())];
    let headers: Vec<(&'static str, &str)> = foreign.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let ca = std::fs::read(server.ca_file()).unwrap();
    // A page of another site carries the browser's cookie, not this header; with the token in the header the origin is the client's own affair.
    let by_header = Socket::open(&tls(&ca), &format!("{}/vui/ws", server.url()), &headers).await;
    let cookie = format!("Bearer={}", client.tokens().access);
    let by_cookie = [("cookie", cookie.as_str()), ("origin", "https://elsewhere.example")];
    let refused = Socket::open(&tls(&ca), &format!("{}/vui/ws", server.url()), &by_cookie).await;
    assert!(matches!(refused, Err(401 | 403)), "a foreign page may listen with the user's cookie");
    drop(by_header);
}

#[tokio::test]
async fn nonsense_on_a_socket_is_answered_and_harms_nobody() {
    let server = TestServer::start().await;
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    let mut socket = envelope(&server, &client).await.unwrap();
    for frame in [
        "{",
        "[]",
        "null",
        r#"{"op":"fly","id":1}"#,
        r#"{"op":"subscribe"}"#,
        r#"{"op":"subscribe","id":2,"platform":"nope","prefix":"x"}"#,
    ] {
        socket.send_text(frame).await;
        let answer = socket.next(PATIENCE).await.unwrap_or_else(|| panic!("closed after {frame}"));
        assert_eq!(answer["op"], "error", "{frame}: {answer}");
        assert!(answer["error"].is_string(), "{frame}: {answer}");
    }
    socket.send(&json!({"op": "subscribe", "id": 3, "platform": platform, "prefix": "harbor"})).await;
    assert_eq!(socket.next(PATIENCE).await.unwrap()["op"], "ok");
    client.get("/healthz").await.expect(200);
}

/// A socket in VOLTTRON's form at a path.
pub async fn legacy(server: &TestServer, client: &Client, path: &str) -> Result<Socket, u16> {
    open(server, client, path, None).await
}

pub async fn envelope(server: &TestServer, client: &Client) -> Result<Socket, u16> {
    open(server, client, "/vui/ws", Some("volttron.v2")).await
}

async fn open(server: &TestServer, client: &Client, path: &str, protocol: Option<&str>) -> Result<Socket, u16> {
    let ca = std::fs::read(server.ca_file()).unwrap();
    let authorization = client.token().map(|token| format!("Bearer {token}"));
    let mut headers: Vec<(&'static str, &str)> = Vec::new();
    if let Some(value) = &authorization {
        headers.push(("authorization", value));
    }
    if let Some(protocol) = protocol {
        headers.push(("sec-websocket-protocol", protocol));
    }
    Socket::open(&tls(&ca), &format!("{}{path}", server.url()), &headers).await
}
