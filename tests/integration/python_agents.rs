//! Packages in Python from outside: installed from a directory through the local socket, run as child processes, ended with the server
//! however it ends, started with it again.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use vt_testkit::{TestServer, eventually_async};

const DEADLINE: Duration = Duration::from_secs(60);
/// Making an environment takes a while on a busy machine.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// Builds a wheel of itself and of nothing else.
const BACKEND: &str = r#"
import os, zipfile
AGENT = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "agent.py")).read()
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    info = "mockagent-1.0.dist-info/"
    files = {
        "mocked/__init__.py": "", "mocked/agent.py": AGENT,
        info + "METADATA": "Metadata-Version: 2.1\nName: mockagent\nVersion: 1.0\n",
        info + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        info + "entry_points.txt": "[setuptools.installation]\neggsecutable = mocked.agent:main\n",
    }
    files[info + "RECORD"] = "".join(name + ",,\n" for name in list(files) + [info + "RECORD"])
    name = "mockagent-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
"#;

/// Says its configuration and what it found of its key, and then waits with a child of its own, deaf for SIGTERM.
const AGENT: &str = r#"
import json, os, signal, subprocess, sys, time
def main():
    keys = json.load(open(os.path.basename(os.getcwd()) + ".dist-info/keystore.json"))
    child = subprocess.Popen(["sleep", "10000"])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("config", open(os.environ["AGENT_CONFIG"]).read().strip(), len(keys["public"]), len(keys["secret"]), flush=True)
    sys.stderr.write(json.dumps({"name": "mocked.agent", "levelno": 30, "msg": "child %d" % child.pid}) + "\n")
    sys.stderr.flush()
    open("pids", "w").write("%d %d" % (os.getpid(), child.pid))
    try:
        while True:
            time.sleep(1000)
    except KeyboardInterrupt:
        pass
if __name__ == "__main__":
    main()
"#;

/// `POST /install` of the local socket; the lines of the answer.
async fn install(home: &Path, call: &Value) -> Vec<Value> {
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

fn runs(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
}

/// Process ids of the agent and its child, once it has written them.
async fn pids(directory: &Path) -> Vec<String> {
    let read = async || std::fs::read_to_string(directory.join("pids")).ok().filter(|text| text.split(' ').count() == 2);
    let text = eventually_async("the agent runs", DEADLINE, read).await;
    std::fs::remove_file(directory.join("pids")).unwrap();
    text.split(' ').map(str::to_owned).collect()
}

async fn gone(pids: &[String]) {
    eventually_async("its processes are gone", DEADLINE, async || (!pids.iter().any(|pid| runs(pid))).then_some(())).await;
}

#[tokio::test]
async fn a_python_agent_lives_and_dies_with_the_server_and_is_back_with_it() {
    let mut server = TestServer::start().await;
    let sources = server.home().join("sources");
    std::fs::create_dir(&sources).unwrap();
    std::fs::write(sources.join("backend.py"), BACKEND).unwrap();
    std::fs::write(sources.join("agent.py"), AGENT).unwrap();
    std::fs::write(sources.join("pyproject.toml"), "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n")
        .unwrap();
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
