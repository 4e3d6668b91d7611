//! The unmodified client of modular VOLTTRON against the server: what it gets through, and what share of a core the server needs for that, which
//! shows who limits whom.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use vt_testkit::TestServer;

use crate::process::processor_time;
use crate::row;

const PUBLICATIONS: usize = 5000;
const CALLS: usize = 3000;
const PATIENCE: Duration = Duration::from_secs(120);
const LIMIT: &str = "Python: the client's own processor share is the larger one";

pub async fn measure() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("tcp://127.0.0.1:{port}");
    let server = TestServer::builder().argument("--vip-address").argument(&address).start().await;
    let mut clients = Vec::new();
    for role in ["answer", "publish", "call"] {
        clients.push((role, keys(&server, role).await));
    }
    let book = server.home().join("auth.json");
    let mut entries: Value = serde_json::from_slice(&std::fs::read(&book).unwrap()).unwrap();
    for (role, keys) in &clients {
        entries["allow"].as_array_mut().unwrap().push(json!({
            "mechanism": "CURVE", "credentials": keys["public"], "user_id": format!("bench.{role}"), "identity": format!("bench.{role}"), "enabled": true,
        }));
    }
    std::fs::write(&book, entries.to_string()).unwrap();

    let mut answering = Client::start(&server, "answer", &address, &clients[0].1, PUBLICATIONS);
    answering.line().await;
    let before = processor_time(server.pid());
    let start = std::time::Instant::now();
    let mut publishing = Client::start(&server, "publish", &address, &clients[1].1, PUBLICATIONS);
    let published = publishing.line().await;
    answering.line().await;
    let share = (processor_time(server.pid()) - before).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let rate = PUBLICATIONS as f64 / published["seconds"].as_f64().unwrap();
    row("python client 11, curve pubsub 1->1, 10-point all message", rate, "messages/s", 0.0, LIMIT);
    row("python client 11, pubsub, processor of the publisher", published["processor"].as_f64().unwrap(), "% of a core", 0.0, LIMIT);
    row("python client 11, pubsub, processor of the server", share, "% of a core", 0.0, LIMIT);
    drop(publishing);

    let mut calling = Client::start(&server, "call", &address, &clients[2].1, CALLS);
    for callee in ["another python agent", "the platform"] {
        let before = processor_time(server.pid());
        let start = std::time::Instant::now();
        let called = calling.line().await;
        let share = (processor_time(server.pid()) - before).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
        let figure = |name: &str| called[name].as_f64().unwrap();
        row(&format!("python client 11, rpc to {callee}, median"), figure("median_us"), "us", 0.0, LIMIT);
        row(&format!("python client 11, rpc to {callee}, p99"), figure("p99_us"), "us", 0.0, LIMIT);
        row(&format!("python client 11, rpc to {callee}, processor of the caller"), figure("processor"), "% of a core", 0.0, LIMIT);
        row(&format!("python client 11, rpc to {callee}, processor of the server"), share, "% of a core", 0.0, LIMIT);
    }
}

/// New keys, made by libzmq.
async fn keys(server: &TestServer, role: &str) -> Value {
    let output = command(server).arg(path("compat/python/keys.py")).output().await.unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("keys of {role}: {error}: {output:?}"))
}

struct Client {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Client {
    fn start(server: &TestServer, role: &str, address: &str, keys: &Value, count: usize) -> Self {
        let mut command = command(server);
        command.arg(path("benches/platform/client.py")).args([role, address]);
        command.args([keys["public"].as_str().unwrap(), keys["secret"].as_str().unwrap(), &count.to_string()]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        Self { lines: BufReader::new(child.stdout.take().unwrap()).lines(), _child: child }
    }

    /// What it tells next.
    async fn line(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.unwrap().unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

fn path(below: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(below)
}

/// The interpreter that modular VOLTTRON is installed for, on the home of the server.
fn command(server: &TestServer) -> Command {
    let environment = std::env::var_os("VT_TEST_VOLTTRON").map_or_else(|| path("../target/volttron-venv"), PathBuf::from);
    let mut command = Command::new(environment.join("bin/python"));
    command.current_dir(server.home()).env("VOLTTRON_HOME", server.home()).env("HOME", server.home()).kill_on_drop(true);
    command
}
