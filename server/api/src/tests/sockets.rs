//! Websockets over real connections.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use vt_services::bench::until_true;

use super::{Api, P};

const PATIENCE: Duration = Duration::from_secs(10);

/// An API that listens.
struct Server {
    api: Api,
    address: SocketAddr,
    task: JoinHandle<()>,
}

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start() -> Self {
        let api = Api::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = api.router.clone().into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        Self { api, address, task }
    }

    /// Opens as the administrator, or with these headers alone; the status of a refusal.
    async fn open_with(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Socket, u16> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn legacy(&self, topic: &str) -> Socket {
        let bearer = format!("Bearer {}", self.api.token);
        self.open_with(&format!("{P}/pubsub/{topic}"), &[("authorization", &bearer)]).await.unwrap()
    }

    async fn envelope(&self) -> Socket {
        let protocols = format!("volttron.v2, bearer.{}", self.api.token);
        self.open_with("/vui/ws", &[("sec-websocket-protocol", &protocols)]).await.unwrap()
    }

    async fn publish(&self, topic: &str, message: Value) -> u64 {
        let reply = self.api.put(&format!("{P}/pubsub/{topic}"), json!({"headers": {"by": "test"}, "message": message})).await.expect(200);
        reply.json()["number_of_subscribers"].as_u64().unwrap()
    }

    fn bus_subscriptions(&self) -> Vec<String> {
        let web = self.api.running.bus.peer_infos().into_iter().find(|info| info.identity.as_str() == "platform_web").unwrap();
        web.subscriptions.iter().map(|wanted| wanted.prefix.to_string()).collect()
    }
}

impl Socket {
    async fn send(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame in time") {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("a text was expected, not {other:?}"),
            }
        }
    }

    /// The next frame with this `op`.
    async fn next_op(&mut self, op: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["op"] == op {
                return frame;
            }
        }
    }

    async fn ask(&mut self, frame: Value) -> Value {
        let id = frame["id"].clone();
        self.send(frame).await;
        loop {
            let answer = self.next().await;
            if answer["id"] == id && (answer["op"] == "ok" || answer["op"] == "error") {
                return answer;
            }
        }
    }

    async fn closed(&mut self) -> u16 {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a close in time") {
                Some(Ok(Message::Close(Some(CloseFrame { code, .. })))) => return code.into(),
                Some(Ok(_)) => {}
                other => panic!("a close was expected, not {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn nobody_listens_without_a_token_and_the_right() {
    let server = Server::start().await;
    let stranger = format!("Bearer {}", server.api.token_of("stranger", &[]).await);
    let refresh = format!("Bearer {}", server.api.refresh);
    for path in ["/vui/ws".to_owned(), format!("{P}/pubsub/devices")] {
        assert_eq!(server.open_with(&path, &[]).await.err(), Some(401));
        assert_eq!(server.open_with(&path, &[("authorization", "Bearer x.y.z")]).await.err(), Some(401));
        assert_eq!(server.open_with(&path, &[("authorization", &refresh)]).await.err(), Some(401));
        assert_eq!(server.open_with(&path, &[("authorization", &stranger)]).await.err(), Some(403));
        let cookie = format!("Bearer={}", server.api.token);
        assert_eq!(server.open_with(&path, &[("cookie", &cookie), ("origin", "https://evil")]).await.err(), Some(403));
        let own = format!("http://{}", server.address);
        assert!(server.open_with(&path, &[("cookie", &cookie), ("origin", &own)]).await.is_ok());
    }
    let bearer = format!("Bearer {}", server.api.token);
    assert_eq!(server.open_with("/vui/platforms/nope/pubsub/x", &[("authorization", &bearer)]).await.err(), Some(400));
}

#[tokio::test]
async fn a_legacy_frame_is_the_body_alone() {
    let server = Server::start().await;
    let mut one = server.legacy("harbor/a").await;
    let mut two = server.legacy("harbor/a").await;
    assert_eq!(server.publish("harbor/b", json!("sibling")).await, 0);
    assert_eq!(server.publish("harbor/ab", json!({"x": [1.5, null]})).await, 1, "one bus subscription for both");
    for socket in [&mut one, &mut two] {
        assert_eq!(socket.next().await, json!({"x": [1.5, null]}));
    }
    one.send(json!({"op": "subscribe"})).await;
    server.publish("harbor/a", json!(2)).await;
    assert_eq!(one.next().await, json!(2), "what a client sends is ignored");
    assert_eq!(server.api.get(&format!("{P}/pubsub")).await.json(), json!([format!("{P}/pubsub/harbor/a")]));
    assert!(server.bus_subscriptions().contains(&"harbor/a".to_owned()));
    server.api.delete(&format!("{P}/pubsub/harbor/a")).await.expect(204);
    assert_eq!((one.closed().await, two.closed().await), (1000, 1000));
    until_true(|| !server.bus_subscriptions().contains(&"harbor/a".to_owned())).await;
    assert_eq!(server.api.get(&format!("{P}/pubsub")).await.json(), json!([]));
}

#[tokio::test]
async fn the_envelope_has_its_commands() {
    let server = Server::start().await;
    let mut socket = server.envelope().await;
    let ok = socket.ask(json!({"op": "subscribe", "id": 7, "platform": "harbor1", "prefix": "harbor/"})).await;
    assert_eq!(ok, json!({"op": "ok", "id": 7, "sub": "s1"}));
    server.publish("harbor/x", json!("</script>\u{202e}")).await;
    let event = socket.next_op("event").await;
    assert_eq!((&event["sub"], &event["platform"], &event["topic"]), (&json!("s1"), &json!("harbor1"), &json!("harbor/x")));
    assert_eq!((&event["headers"]["by"], &event["message"]), (&json!("test"), &json!("</script>\u{202e}")));
    assert_eq!(event["sender"], "platform_web");
    assert!(event["at"].as_str().unwrap().ends_with('Z'));
    let published = json!({"op": "publish", "id": "p", "platform": "harbor1", "topic": "harbor/y", "headers": {}, "message": 5});
    assert_eq!(socket.ask(published).await["number_of_subscribers"], 1);
    assert_eq!(socket.next_op("event").await["message"], 5);
    assert_eq!(socket.ask(json!({"op": "unsubscribe", "id": 8, "sub": "s1"})).await["op"], "ok");
    assert_eq!(server.publish("harbor/x", json!(1)).await, 0);
    assert_eq!(socket.ask(json!({"op": "ping", "id": 9})).await, json!({"op": "ok", "id": 9}));
}

#[tokio::test]
async fn nonsense_is_answered_and_the_socket_lives_on() {
    let server = Server::start().await;
    let mut socket = server.envelope().await;
    for frame in ["{", "[]", "null", r#"{"op":"fly","id":1}"#, r#"{"op":"subscribe"}"#, r#"{"op":"subscribe","prefix":"a\nb"}"#] {
        socket.0.send(Message::text(frame)).await.unwrap();
        let answer = socket.next_op("error").await;
        assert!(answer["error"].is_string() && answer["status"] == 400, "{frame}: {answer}");
    }
    let unknown = socket.ask(json!({"op": "subscribe", "id": 2, "platform": "nope", "prefix": "x"})).await;
    assert_eq!((&unknown["status"], &unknown["error"]), (&json!(400), &json!("Unknown platform: nope")));
    assert_eq!(socket.ask(json!({"op": "unsubscribe", "id": 3, "sub": "s9"})).await["op"], "error");
    assert_eq!(socket.ask(json!({"op": "subscribe", "id": 4, "prefix": "x"})).await["op"], "ok");
}

#[tokio::test]
async fn a_replay_shows_the_latest_values_at_once() {
    let server = Server::start().await;
    server.publish("devices/a/all", json!([{"T": 1}])).await;
    server.publish("devices/a/all", json!([{"T": 2}])).await;
    until_true(|| server.api.running.live.latest("devices/a/all").is_some_and(|event| event.body().contains('2'))).await;
    let mut socket = server.envelope().await;
    let ok = socket.ask(json!({"op": "subscribe", "id": 1, "prefix": "devices/", "replay": 1})).await;
    let event = socket.next_op("event").await;
    assert_eq!((&event["sub"], &event["message"]), (&ok["sub"], &json!([{"T": 2}])));
}

#[tokio::test]
async fn sockets_close_when_their_session_ends() {
    let server = Server::start().await;
    let mut envelope = server.envelope().await;
    let mut legacy = server.legacy("x").await;
    server.api.delete("/authenticate").await.expect(204);
    assert_eq!((envelope.closed().await, legacy.closed().await), (4401, 4401));
}

#[tokio::test]
async fn a_session_is_renewed_in_band_by_its_own_user_alone() {
    let server = Server::start().await;
    let mut socket = server.envelope().await;
    let renewed = socket.ask(json!({"op": "token", "id": 1, "access_token": server.api.token})).await;
    assert!(renewed["expires_at"].is_string(), "{renewed}");
    let other = server.api.token_of("kim", &["vui"]).await;
    assert_eq!(socket.ask(json!({"op": "token", "id": 2, "access_token": other})).await["status"], 403);
    assert_eq!(socket.ask(json!({"op": "token", "id": 3, "access_token": "x"})).await["status"], 401);
}

#[tokio::test]
async fn states_of_agents_and_log_lines_are_told() {
    let server = Server::start().await;
    let mut socket = server.envelope().await;
    super::install(&server.api, "a", true).await;
    let event = socket.next_op("agent.state").await;
    assert_eq!((&event["identity"], &event["platform"]), (&json!("a"), &json!("harbor1")));
    let line = |identity: &str, text: &str| vt_services::NewLogLine {
        at: vt_types::Timestamp::default(),
        identity: Some(identity.to_owned()),
        level: vt_services::LogLevel::Info,
        logger: "test".to_owned(),
        text: text.to_owned(),
    };
    let logs = &server.api.running.logs;
    logs.push(line("a", "old"));
    let ok = socket.ask(json!({"op": "logs", "id": 1, "identity": "a"})).await;
    assert_eq!(socket.next_op("log").await["text"], "old");
    logs.push(line("b", "another's"));
    logs.push(line("a", "new"));
    let entry = socket.next_op("log").await;
    assert_eq!((&entry["text"], &entry["sub"], &entry["level"]), (&json!("new"), &ok["sub"], &json!("INFO")));
    assert_eq!(socket.ask(json!({"op": "unsubscribe", "id": 2, "sub": ok["sub"]})).await["op"], "ok");
}

#[tokio::test]
async fn the_log_of_the_platform_is_for_administrators() {
    let server = Server::start().await;
    let protocols = format!("volttron.v2, bearer.{}", server.api.token_of("kiosk", &["vui"]).await);
    let mut socket = server.open_with("/vui/ws", &[("sec-websocket-protocol", &protocols)]).await.unwrap();
    assert_eq!(socket.ask(json!({"op": "logs", "id": 1})).await["status"], 403);
}

/// A client that reads nothing: its socket fills up, then its queue, and then it is cut off, while others get everything in time.
#[tokio::test]
async fn a_stalled_client_harms_nobody() {
    let server = Server::start().await;
    let stalled = server.legacy("big").await;
    let mut reader = server.legacy("big").await;
    let body = "x".repeat(100_000);
    let received = tokio::spawn(async move {
        for number in 0..3_000_u64 {
            assert_eq!(reader.next().await["number"], number);
        }
        reader
    });
    for number in 0..3_000_u64 {
        let message = json!({"number": number, "body": body});
        let caller = vt_services::bench::admin();
        server.api.running.live.publish(&caller, "big", serde_json::Map::new(), message).await.unwrap();
        if number % 50 == 49 {
            // A publisher that is faster than any network would only measure the queue.
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let _reader = tokio::time::timeout(Duration::from_secs(60), received).await.unwrap().unwrap();
    drop(stalled);
}
