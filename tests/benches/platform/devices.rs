//! 10,000 fake devices of 20 points scraped every second: how far the time between two publishes of a device is from a second, and what it
//! costs. Measured at a sample of the devices over a websocket, so that the measuring does not become the load.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;
use vt_testkit::socket::tls;
use vt_testkit::{Client, Socket, TestServer};

use crate::process::{processor_time, resident_mb};
use crate::{platform, quantile, row};

const BUILDINGS: usize = 100;
const DEVICES_PER_BUILDING: usize = 100;
const POINTS: usize = 20;
const WARM_UP: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_secs(30);
/// Buildings whose devices are watched.
const SAMPLE: [usize; 3] = [0, 37, 99];

pub async fn measure() {
    let mut server = TestServer::demo().await;
    let client = server.administrator().await;
    let platform = platform(&client).await;
    let agents = format!("/vui/platforms/{platform}/agents");
    let began = Instant::now();
    let registry = client.request(Method::PUT, &format!("{agents}/platform.driver/configs/registry_configs/bench.csv"));
    client.send(registry.header("content-type", "text/csv").body(registry_text())).await.expect(204);
    let mut storing = JoinSet::new();
    for building in 0..BUILDINGS {
        storing.spawn(store(client.clone(), agents.clone(), building));
        if storing.len() >= 8 {
            storing.join_next().await.unwrap().unwrap();
        }
    }
    storing.join_all().await;
    let stored = (BUILDINGS * DEVICES_PER_BUILDING) as f64 / began.elapsed().as_secs_f64();
    row("storing device configurations over REST", stored, "entries/s", 0.0, "one durable write each");

    // The history of 200,000 points a second has a row of its own; this one is about scraping and publishing.
    for historian in [true, false] {
        if !historian {
            client.clone().at(server.url()).delete(&format!("{agents}/platform.historian/enabled")).await;
        }
        server.end(nix::sys::signal::Signal::SIGTERM, Duration::from_secs(30)).await;
        server.start_again().await;
        let client = client.clone().at(server.url());
        if !historian {
            client.delete(&format!("{agents}/platform.historian/running")).await;
        }
        window(&server, &client, &platform, if historian { "with the historian" } else { "without historian" }).await;
    }
}

async fn store(client: Client, agents: String, building: usize) {
    for device in 0..DEVICES_PER_BUILDING {
        let body = json!({"driver_type": "fake", "driver_config": {}, "registry_config": "config://registry_configs/bench.csv", "interval": 1, "timezone": "UTC"});
        let path = format!("{agents}/platform.driver/configs/devices/bench/b{building:02}/d{device:02}");
        client.put(&path, &body).await.expect(204);
    }
}

fn registry_text() -> String {
    let mut text = "Point Name,Volttron Point Name,Units,Units Details,Writable,Starting Value,Type,Notes\n".to_owned();
    for point in 0..POINTS {
        writeln!(text, "P{point},P{point},F,-100 to 300,TRUE,{point}.5,float,bench").unwrap();
    }
    text
}

async fn window(server: &TestServer, client: &Client, platform: &str, how: &str) {
    let settings = tls(&std::fs::read(server.ca_file()).unwrap());
    let authorization = format!("Bearer {}", client.tokens().access);
    tokio::time::sleep(WARM_UP).await;
    let before = processor_time(server.pid());
    let mut watching = JoinSet::new();
    for building in SAMPLE {
        let headers = [("authorization", authorization.as_str()), ("sec-websocket-protocol", "volttron.v2")];
        let mut socket = Socket::open(&settings, &format!("{}/vui/ws", server.url()), &headers).await.unwrap();
        socket.send(&json!({"op": "subscribe", "id": 1, "platform": platform, "prefix": format!("devices/bench/b{building:02}/")})).await;
        watching.spawn(watch(socket));
    }
    let watched = watching.join_all().await;
    let share = (processor_time(server.pid()) - before).as_secs_f64() / WINDOW.as_secs_f64() * 100.0;
    let mut jitter: Vec<f64> = watched.into_iter().flatten().collect();
    let expected = SAMPLE.len() * DEVICES_PER_BUILDING * (usize::try_from(WINDOW.as_secs()).unwrap() - 1);
    let name = format!("10,000 devices x 20 points at 1 s, {how}");
    let limit = "processor: one timer, one message and one fan-out per device and second; the watching client shares the cores";
    if jitter.is_empty() {
        row(&format!("{name}, publishes seen"), 0.0, "%", 0.0, "nothing arrived");
        return;
    }
    row(&format!("{name}, jitter p99"), quantile(&mut jitter, 0.99), "ms", 100.0, limit);
    row(
        &format!("{name}, publishes seen"),
        jitter.len() as f64 / expected as f64 * 100.0,
        "%",
        0.0,
        "100 means that no second was left out",
    );
    row(&format!("{name}, processor"), share, "% of a core", 0.0, limit);
    row(&format!("{name}, memory"), resident_mb(server.pid()), "MB", 0.0, "registries and last values of 200,000 points");
}

/// How far each time between two publishes of a device was from a second, in milliseconds.
async fn watch(mut socket: Socket) -> Vec<f64> {
    let began = Instant::now();
    let mut last: HashMap<String, Instant> = HashMap::new();
    let mut off = Vec::new();
    while began.elapsed() < WINDOW {
        let Some(frame) = socket.next(Duration::from_secs(30)).await else { break };
        let Some(topic) = frame["topic"].as_str().filter(|topic| topic.ends_with("/all")) else { continue };
        let now = Instant::now();
        if let Some(former) = last.insert(topic.to_owned(), now) {
            off.push(((now - former).as_secs_f64() - 1.0).abs() * 1e3);
        }
    }
    off
}
