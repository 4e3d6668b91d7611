//! Authenticated GETs over TLS on kept connections: how many per second, and how long the slowest hundredth takes.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use vt_testkit::{Client, TestServer};

use crate::{platform, quantile, row};

const CONNECTIONS: usize = 32;
const WINDOW: Duration = Duration::from_secs(10);

pub async fn measure() {
    let server = TestServer::demo().await;
    let client = server.administrator().await;
    let platform = platform(&client).await;
    for (name, path) in [
        ("REST GET over TLS, agents", format!("/vui/platforms/{platform}/agents")),
        ("REST GET over TLS, one agent's status", format!("/vui/platforms/{platform}/agents/platform.driver/status")),
    ] {
        let mut load = JoinSet::new();
        for _ in 0..CONNECTIONS {
            load.spawn(ask(client.clone(), path.clone()));
        }
        let mut times: Vec<f64> = load.join_all().await.into_iter().flatten().collect();
        let rate = times.len() as f64 / WINDOW.as_secs_f64();
        row(&format!("{name}, rate"), rate, "requests/s", 0.0, "processor; 32 clients on the same cores");
        row(&format!("{name}, p99"), quantile(&mut times, 0.99), "ms", 0.0, "32 requests waiting for the same cores");
    }
    let mut alone: Vec<f64> = Vec::new();
    for _ in 0..2_000 {
        let began = Instant::now();
        client.get(&format!("/vui/platforms/{platform}/agents")).await.expect(200);
        alone.push(began.elapsed().as_secs_f64() * 1e3);
    }
    row("REST GET over TLS, one client, p99", quantile(&mut alone, 0.99), "ms", 0.0, "verifying the token, calls on the bus");
}

async fn ask(client: Client, path: String) -> Vec<f64> {
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < WINDOW {
        let sent = Instant::now();
        client.get(&path).await.expect(200);
        times.push(sent.elapsed().as_secs_f64() * 1e3);
    }
    times
}
