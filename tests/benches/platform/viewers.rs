//! A thousand browsers look at one device with 100 points that is published every second: from the publishing request to each viewer's frame.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use vt_testkit::socket::tls;
use vt_testkit::{Socket, TestServer};

use crate::process::processor_time;
use crate::{platform, quantile, row};

const VIEWERS: usize = 1_000;
const POINTS: usize = 100;
const SECONDS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn measure() {
    let server = TestServer::start().await;
    let client = server.administrator().await;
    let platform = platform(&client).await;
    let settings = tls(&std::fs::read(server.ca_file()).unwrap());
    let authorization = format!("Bearer {}", client.tokens().access);
    let (ended, end) = watch::channel(());
    let mut viewers = JoinSet::new();
    for _ in 0..VIEWERS {
        let headers = [("authorization", authorization.as_str()), ("sec-websocket-protocol", "volttron.v2")];
        let mut socket = Socket::open(&settings, &format!("{}/vui/ws", server.url()), &headers).await.unwrap();
        socket.send(&json!({"op": "subscribe", "id": 1, "platform": platform, "prefix": "devices/bench/"})).await;
        let answer = socket.next(PATIENCE).await.unwrap();
        assert_eq!(answer["op"], "ok", "{answer}");
        let mut end = end.clone();
        viewers.spawn(async move {
            let mut times = Vec::with_capacity(SECONDS);
            loop {
                tokio::select! {
                    frame = socket.next(PATIENCE) => {
                        let now = now_ms();
                        let Some(frame) = frame else { return times };
                        if let Some(sent) = frame["message"][0]["sent"].as_f64() {
                            times.push(now - sent);
                        }
                    }
                    _ = end.changed() => return times,
                }
            }
        });
    }
    let before = processor_time(server.pid());
    let mut every = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..SECONDS {
        every.tick().await;
        let answer = client.put(&format!("/vui/platforms/{platform}/pubsub/devices/bench/unit/all"), &message()).await.expect(200);
        assert!(answer.status == 200, "{answer:?}");
    }
    every.tick().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = processor_time(server.pid()) - before;
    ended.send_replace(());
    let mut times: Vec<f64> = viewers.join_all().await.into_iter().flatten().collect();
    let delivered = times.len() as f64 / (VIEWERS * SECONDS) as f64 * 100.0;
    let limit = "encrypting 1,000 frames at once; the viewers run on the same cores";
    row("1,000 websocket viewers x 100 points at 1 Hz, p99", quantile(&mut times, 0.99), "ms", 250.0, limit);
    row("1,000 websocket viewers x 100 points at 1 Hz, median", quantile(&mut times, 0.5), "ms", 0.0, limit);
    row("1,000 websocket viewers, frames delivered", delivered, "%", 0.0, "bounded queues; less than 100 means losses");
    row("1,000 websocket viewers, processor of the server", used.as_secs_f64() / (SECONDS as f64 + 2.0) * 100.0, "% of a core", 0.0, limit);
}

fn message() -> Value {
    let mut values: serde_json::Map<String, Value> =
        (0..POINTS).map(|index| (format!("Point{index:03}"), json!(index as f64 + 0.25))).collect();
    let metadata: Value = values
        .keys()
        .map(|name| (name.clone(), json!({"units": "F", "type": "float", "tz": "UTC"})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    values.insert("sent".to_owned(), json!(now_ms()));
    json!({"headers": {}, "message": [values, metadata]})
}

/// One clock for both sides: they run on the same machine.
fn now_ms() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64() * 1e3
}
