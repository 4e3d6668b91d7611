//! The unmodified `vctl` of modular 11, and that of 10, which is 9's, against our server (vip-zmq.md §12, 55 and 57).

use serde_json::{Value, json};
use vt_testkit::eventually_async;

use crate::platform::Platform;
use crate::python::{Installed, PATIENCE};

#[tokio::test]
async fn it_lists_peers_agents_and_their_status() {
    let platform = Platform::demo().await;
    let peers = platform.vctl11(&["peerlist"]).await.ok().stdout;
    for identity in ["control.connection", "platform.auth", "control", "platform.driver", "platform.historian"] {
        assert!(peers.lines().any(|line| line == identity), "{identity}: {peers}");
    }
    let status = platform.vctl11(&["status"]).await.ok();
    let line = status.stdout.lines().find(|line| line.contains("platform.driver")).unwrap_or_else(|| panic!("{status:?}"));
    assert!(line.contains("running [") && line.ends_with("GOOD"), "{line}");
    assert!(status.stderr.contains("UUID   AGENT") && status.stderr.contains("HEALTH"), "{status:?}");
    let told = platform.vctl11(&["--json", "status"]).await.ok().stdout;
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    assert_eq!(told["platform.driver"]["identity"], "platform.driver", "{told}");
    let health = platform.vctl11(&["health", &platform.uuid("platform.driver").await]).await.ok();
    let health: Value = serde_json::from_str(&health.stdout).unwrap_or_else(|error| panic!("{error}: {health:?}"));
    assert_eq!((&health["peer"], &health["message"]), (&json!("platform.driver"), &json!("GOOD")), "{health}");
}

#[tokio::test]
async fn it_stops_starts_tags_and_enables_an_agent() {
    let platform = Platform::demo().await;
    let uuid = platform.uuid("listener").await;
    let uuid = uuid.as_str();
    let stopped = platform.vctl11(&["stop", uuid]).await.ok().stdout;
    assert!(stopped.starts_with(&format!("Stopping {uuid} ")), "{stopped}");
    platform.peer_is_listed("listener", false).await;
    let started = platform.vctl11(&["start", uuid]).await.ok().stdout;
    assert!(started.starts_with(&format!("Starting {uuid} ")), "{started}");
    platform.peer_is_listed("listener", true).await;
    let restarted = platform.vctl11(&["restart", uuid]).await.ok().stdout;
    assert!(restarted.contains("Stopping ") && restarted.contains("Starting "), "{restarted}");
    assert!(platform.vctl11(&["tag", uuid, "ears"]).await.ok().stdout.starts_with("Tagging "));
    assert_eq!(platform.vctl11(&["tag", uuid]).await.ok().stdout, "ears\n");
    let enabled = platform.vctl11(&["enable", "--tag", "ears", "-p", "07"]).await.ok().stdout;
    assert!(enabled.starts_with(&format!("Enabling {uuid} ")) && enabled.ends_with("with priority 07\n"), "{enabled}");
    assert!(platform.vctl11(&["disable", "--tag", "ears"]).await.ok().stdout.starts_with("Disabling "));
    platform.vctl11(&["clear"]).await.ok();
    let missing = platform.vctl11(&["stop", "zzz"]).await;
    assert!(missing.stderr.contains("stop: error: agent not found: zzz"), "{missing:?}");
    let removed = platform.vctl11(&["remove", uuid]).await.ok().stdout;
    assert!(removed.starts_with(&format!("Removing {uuid} ")), "{removed}");
    assert!(!platform.server.vctl(&["list"]).await.ok().stdout.contains("listener"));
}

#[tokio::test]
async fn it_stores_reads_lists_and_deletes_configurations() {
    let platform = Platform::start().await;
    let file = platform.home().join("c.json");
    std::fs::write(&file, r#"{"a": "é"}"#).unwrap();
    let path = file.to_string_lossy().into_owned();
    platform.vctl11(&["config", "store", "some.agent", "c", &path]).await.ok();
    platform.vctl11(&["config", "store", "some.agent", "raw", &path, "--raw"]).await.ok();
    assert_eq!(platform.vctl11(&["config", "list"]).await.ok().stdout, "some.agent\n");
    assert_eq!(platform.vctl11(&["config", "list", "some.agent"]).await.ok().stdout, "c\nraw\n");
    let got = platform.vctl11(&["config", "get", "some.agent", "c"]).await.ok().stdout;
    assert_eq!(serde_json::from_str::<Value>(&got).unwrap(), json!({"a": "é"}));
    assert_eq!(platform.vctl11(&["config", "get", "some.agent", "raw", "--raw"]).await.ok().stdout, r#"{"a": "é"}"#);
    assert_eq!(platform.vctl11(&["config", "get", "some.agent", "nothing"]).await.code, Some(20));
    platform.vctl11(&["config", "delete", "some.agent", "c"]).await.ok();
    assert_eq!(platform.vctl11(&["config", "list", "some.agent"]).await.ok().stdout, "raw\n");
    platform.vctl11(&["config", "delete", "some.agent", "--all"]).await.ok();
    assert_eq!(platform.vctl11(&["config", "list"]).await.ok().stdout, "");
}

#[tokio::test]
async fn it_makes_credentials_with_which_an_agent_connects() {
    let platform = Platform::start().await;
    let key = platform.vctl11(&["auth", "servercred"]).await.ok().stdout;
    assert_eq!(key.trim(), platform.server_key());
    let added = platform.vctl11(&["auth", "add", "made"]).await.ok().stdout;
    assert_eq!(added, "added credentials for made\n");
    let credential = platform.json("credentials_store/made.json");
    let own = platform.vctl11(&["auth", "agentcred", "made", "nobody"]).await.ok().stdout;
    assert!(own.contains(credential["publickey"].as_str().unwrap()) && own.contains("nobody: Identity not found: nobody"), "{own}");
    // Without keys on its command line the agent takes the stored credential.
    let arguments = ["made", "--address", platform.address(), "--heartbeat", "1"];
    let agent = crate::python::Python::start("made", Installed::Eleven, "agent.py", platform.home(), &arguments);
    agent.line("it starts", PATIENCE, |line| line["event"] == "started").await;
    platform.peer_is_listed("made", true).await;
}

#[tokio::test]
async fn it_removes_credentials_and_with_them_the_agent() {
    let platform = Platform::start().await;
    platform.vctl11(&["auth", "add", "made"]).await.ok();
    let arguments = ["made", "--address", platform.address(), "--heartbeat", "1"];
    let _agent = crate::python::Python::start("made", Installed::Eleven, "agent.py", platform.home(), &arguments);
    platform.peer_is_listed("made", true).await;
    // It asks before it removes.
    let mut command = Installed::Eleven.command("vctl.py", platform.home(), &["auth", "remove", "made"]);
    let mut child = command.spawn().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut child.stdin.take().unwrap(), b"y\n").await.unwrap();
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("made removed!"), "{output:?}");
    platform.peer_is_listed("made", false).await;
    assert!(!platform.home().join("credentials_store/made.json").exists());
}

#[tokio::test]
async fn it_tells_the_methods_of_every_peer() {
    let platform = Platform::start().await;
    let _agent = platform.agent(Installed::Ten, "ten", &[]).await;
    let told = platform.vctl11(&["rpc", "list"]).await.ok().stdout;
    for part in ["control\n", "\tlist_agents\n", "config.store\n", "\tset_config\n", "ten\n", "\techo\n"] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
}

#[tokio::test]
async fn it_shuts_the_platform_down_and_then_says_that_it_does_not_run() {
    let mut platform = Platform::start().await;
    platform.vctl11(&["shutdown", "--platform"]).await.ok();
    assert_eq!(platform.server.ended(PATIENCE).await.0, Some(0));
    assert!(!platform.home().join("VOLTTRON_PID").exists());
    let after = platform.vctl11(&["status"]).await;
    assert_eq!(after.code, Some(10), "{after:?}");
    assert!(after.stderr.contains("VOLTTRON is not running."), "{after:?}");
}

#[tokio::test]
async fn that_of_9_and_10_lists_peers_agents_and_entries_and_stores_configurations() {
    let platform = Platform::demo().await;
    let vctl = async |arguments: &[&str]| platform.python_vctl(Installed::Ten, arguments).await.ok().stdout;
    let peers = vctl(&["peerlist"]).await;
    for identity in ["control.connection", "platform.auth", "control", "platform.driver"] {
        assert!(peers.lines().any(|line| line == identity), "{identity}: {peers}");
    }
    for command in ["status", "list"] {
        let told = vctl(&[command]).await;
        let line = told.lines().find(|line| line.contains("platform.driver")).unwrap_or_else(|| panic!("{command}: {told}"));
        assert!(line.contains("running [") && line.trim_end().ends_with("GOOD"), "{command}: {line}");
    }
    let entries = vctl(&["auth", "list"]).await;
    assert!(entries.contains("INDEX: 0") && entries.contains(r#""user_id": "control.connection""#), "{entries}");
    assert_eq!(vctl(&["auth", "serverkey"]).await.trim(), platform.server_key());

    let file = platform.home().join("c.json");
    std::fs::write(&file, r#"{"a": [1, 2]}"#).unwrap();
    vctl(&["config", "store", "some.agent", "c", &file.to_string_lossy(), "--json"]).await;
    assert!(vctl(&["config", "list"]).await.lines().any(|line| line == "some.agent"));
    assert_eq!(vctl(&["config", "list", "some.agent"]).await, "c\n");
    let got = vctl(&["config", "get", "some.agent", "c"]).await;
    assert_eq!(serde_json::from_str::<Value>(&got).unwrap(), json!({"a": [1, 2]}));
    vctl(&["config", "delete", "some.agent", "c"]).await;
    assert!(!platform.home().join("configuration_store/some.agent.store").exists());
}

#[tokio::test]
async fn that_of_9_and_10_decides_on_peers_that_wait() {
    let platform = Platform::start().await;
    let vctl = async |arguments: &[&str]| platform.python_vctl(Installed::Ten, arguments).await.ok().stdout;
    assert_eq!(vctl(&["auth", "remote", "list"]).await.trim(), "No remote certificates or credentials");
    let keys = platform.keys().await;
    let mut stranger = platform.knocking("stranger", 9, &keys);
    let waiting = eventually_async("the stranger is listed", PATIENCE, async || {
        let told = vctl(&["auth", "remote", "list", "--status", "pending"]).await;
        told.lines().find(|line| line.contains("PENDING")).map(str::to_owned)
    })
    .await;
    let [user, address, "PENDING"] = waiting.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{waiting}") };
    assert_eq!(address, "127.0.0.1");
    for (decision, status) in [("deny", "DENIED"), ("approve", "APPROVED")] {
        vctl(&["auth", "remote", decision, user]).await;
        let told = vctl(&["auth", "remote", "list"]).await;
        assert!(told.lines().any(|line| line.starts_with(user) && line.trim_end().ends_with(status)), "{decision}: {told}");
    }
    stranger.connected_within(crate::admission::APPROVAL).await;
    stranger.settle().await;
    // Gone first: who is forgotten and still there knocks again, and waits again.
    stranger.python.kill().await;
    vctl(&["auth", "remote", "delete", user]).await;
    assert_eq!(vctl(&["auth", "remote", "list"]).await.trim(), "No remote certificates or credentials");
}
