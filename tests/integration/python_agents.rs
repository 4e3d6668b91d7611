//! Packages in Python from outside: installed from a directory through the local socket, run as child processes, ended with the server
//! however it ends, started with it again.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use vt_testkit::{TestServer, eventually_async};

use crate::mock_agent::{self, gone, pids, runs};

pub const DEADLINE: Duration = Duration::from_secs(60);
/// Making an environment takes a while on a busy machine.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// `POST /install` of the local socket; the lines of the answer.
pub async fn install(home: &Path, call: &Value) -> Vec<Value> {
    let exchange = async {
        let mut socket = UnixStream::connect(home.join("run/control.sock")).await.unwrap();
        let body = call.to_string();
        let head =
            format!("POST /install HTTP/1.0\r\nhost: local\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        socket.write_all((head + &body).as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(INSTALL_LIMIT, exchange).await.expect("the installation ends");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{answer}");
    body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_python_agent_lives_and_dies_with_the_server_and_is_back_with_it() {
    let mut server = TestServer::start().await;
    let sources = server.home().join("sources");
    mock_agent::sources(&sources, "1.0");
    let call = json!({"source": {"directory": sources}, "identity": "mock", "priority": "50", "config": "word: hush\n", "start": true});
    let lines = install(server.home(), &call).await;
    let installed = lines.last().unwrap()["installed"].clone();
    assert_eq!(
        (&installed["identity"], &installed["name"], &installed["start_error"]),
        (&json!("mock"), &json!("mockagent-1.0"), &Value::Null)
    );
    assert!(lines.iter().any(|line| line["step"]["name"] == "dependencies"), "{lines:?}");
    let uuid = installed["uuid"].as_str().unwrap();
    let directory = server.home().join("agents").join(uuid).join("mockagent-1.0");
    let first = pids(&directory).await;
    assert_eq!(first[0], installed["pid"].to_string());
    let said = eventually_async("its output is in the log", DEADLINE, async || {
        Some(server.output())
            .filter(|log| log.contains(" <stdout> INFO: config word: hush 43 43") || log.contains("mocked.agent WARNING: child"))
    });
    let said = said.await;
    assert!(said.contains(&format!("(mockagent-1.0 {}) ", first[0])), "{said}");
    assert!(server.vctl(&["status"]).await.ok().stdout.contains("mock"));

    // The same identity is not taken twice, and what failed leaves nothing.
    let again = install(server.home(), &call).await;
    assert_eq!(again.last().unwrap()["error"]["kind"], "already_exists");
    assert_eq!(std::fs::read_dir(server.home().join("agents")).unwrap().count(), 1);

    // A killed server takes its agents along, and the next one starts them again.
    server.kill().await;
    eventually_async("the agent ends with the server", DEADLINE, async || (!runs(&first[0])).then_some(())).await;
    server.start_again().await;
    let second = pids(&directory).await;
    assert_ne!(first[0], second[0]);
    gone(&first).await;

    // Force keeps the data under another UUID.
    let data = directory.join("mockagent-1.0.agent-data");
    std::fs::write(data.join("state"), b"\x00precious").unwrap();
    let forced = json!({"source": {"directory": sources}, "identity": "mock", "force": true, "config": "b: 2\n", "priority": "50"});
    let lines = install(server.home(), &forced).await;
    let new = lines.last().unwrap()["installed"]["uuid"].as_str().unwrap_or_else(|| panic!("{lines:?}")).to_owned();
    assert_ne!(new, uuid);
    gone(&second).await;
    let directory = server.home().join("agents").join(&new).join("mockagent-1.0");
    assert_eq!(std::fs::read(directory.join("mockagent-1.0.agent-data/state")).unwrap(), b"\x00precious");

    server.vctl(&["start", &new]).await.ok();
    let third = pids(&directory).await;
    let (code, _) = server.end(Signal::SIGTERM, Duration::from_secs(20)).await;
    assert_eq!(code, Some(0));
    assert!(!third.iter().any(|pid| runs(pid)), "no child is left after the platform's stop");
}

#[tokio::test]
async fn agents_of_a_server_that_a_script_put_into_the_background_end_when_interrupted() {
    let ignoring = ["sh", "-c", r#"trap '' INT; exec "$0" "$@""#];
    let server = TestServer::builder().begun_by(&ignoring, "127.0.0.1").start().await;
    let sources = server.home().join("sources");
    mock_agent::sources(&sources, "1.0");
    let call = json!({"source": {"directory": sources}, "identity": "mock", "config": "a: 1\n", "start": true});
    let lines = install(server.home(), &call).await;
    let uuid = lines.last().unwrap()["installed"]["uuid"].as_str().unwrap_or_else(|| panic!("{lines:?}")).to_owned();
    let pids = pids(&server.home().join("agents").join(&uuid).join("mockagent-1.0")).await;
    // It is deaf for SIGTERM: if it were for SIGINT as well, this would take a minute and a half, until it is killed.
    server.vctl(&["stop", &uuid]).await.ok();
    assert!(!runs(&pids[0]));
    let status = server.vctl(&["status"]).await.ok().stdout;
    assert!(status.lines().any(|line| line.contains("mock") && line.trim_end().ends_with(" 0")), "it ended by itself: {status}");
}

/// Says which bounds hold, by running into them.
const GREEDY: &str = r#"
import json, os
def main():
    report = {}
    try:
        bytearray(600 << 20)
        report["memory"] = "got it"
    except MemoryError:
        report["memory"] = "refused"
    files = []
    try:
        while len(files) < 1000:
            files.append(open(os.devnull))
    except OSError as error:
        report["files"] = [len(files), error.errno]
    del files
    json.dump(report, open("report.part", "w"))
    os.rename("report.part", "report")
if __name__ == "__main__":
    main()
"#;

#[tokio::test]
async fn an_agent_gets_no_more_memory_and_files_than_is_configured() {
    let config = "[volttron]\nagent-memory-mb = 300\nagent-open-files = 64\n";
    let server = TestServer::builder().file("config", config).start().await;
    let sources = server.home().join("sources");
    mock_agent::sources_with(&sources, GREEDY);
    let call = json!({"source": {"directory": sources}, "identity": "greedy", "start": true});
    let lines = install(server.home(), &call).await;
    let uuid = lines.last().unwrap()["installed"]["uuid"].as_str().unwrap_or_else(|| panic!("{lines:?}")).to_owned();
    let path = server.home().join("agents").join(uuid).join("mockagent-1.0/report");
    let report = eventually_async("the report", DEADLINE, async || std::fs::read_to_string(&path).ok()).await;
    let report: Value = serde_json::from_str(&report).unwrap();
    let emfile = 24;
    assert_eq!((&report["memory"], &report["files"][1]), (&json!("refused"), &json!(emfile)), "{report}");
    assert!((40..64).contains(&report["files"][0].as_i64().unwrap()), "{report}");
}
