//! `vctl` against a running and an absent server: output, exit codes and effects.

use std::time::Duration;

use vt_testkit::TestServer;

#[tokio::test]
async fn status_and_list_show_the_agents() {
    let server = TestServer::demo().await;
    let status = server.vctl(&["status"]).await.ok();
    for identity in ["platform.driver", "platform.historian", "platform.actuator"] {
        assert!(status.stdout.contains(identity), "{status:?}");
    }
    assert!(status.stdout.contains("running"), "{status:?}");
    let list = server.vctl(&["list"]).await.ok();
    assert!(list.stdout.contains("platform.driver"), "{list:?}");
    let json = server.vctl(&["--json", "list"]).await.ok();
    assert!(serde_json::from_str::<serde_json::Value>(&json.stdout).is_ok(), "{json:?}");
    assert!(server.vctl(&["peerlist"]).await.ok().stdout.lines().any(|line| line == "platform.driver"));
}

#[tokio::test]
async fn an_agent_goes_through_its_life_by_command() {
    let server = TestServer::demo().await;
    let identity = "platform.actuator";
    let uuid = uuid_of(&server, identity).await;
    let stopped = server.vctl(&["stop", &uuid]).await.ok();
    assert!(stopped.stdout.starts_with("Stopping "), "{stopped:?}");
    let started = server.vctl(&["start", &uuid]).await.ok();
    assert!(started.stdout.starts_with("Starting "), "{started:?}");
    server.vctl(&["tag", &uuid, "locks"]).await.ok();
    assert!(server.vctl(&["list"]).await.ok().stdout.contains("locks"));
    let restarted = server.vctl(&["restart", "--tag", "locks"]).await.ok();
    assert!(restarted.stdout.contains("Stopping ") && restarted.stdout.contains("Starting "), "{restarted:?}");
    assert!(server.vctl(&["enable", "--tag", "locks", "-p", "7"]).await.ok().stdout.contains("with priority"));
    assert!(server.vctl(&["disable", "--tag", "locks"]).await.ok().stdout.starts_with("Disabling "));
}

#[tokio::test]
async fn the_configuration_store_is_written_and_read_by_command() {
    let server = TestServer::start().await;
    let file = server.home().join("rates.json");
    std::fs::write(&file, r#"{"fast": 5}"#).unwrap();
    let path = file.to_string_lossy().into_owned();
    server.vctl(&["config", "store", "some.agent", "rates", &path]).await.ok();
    assert!(server.vctl(&["config", "list", "some.agent"]).await.ok().stdout.contains("rates"));
    assert!(server.vctl(&["config", "get", "some.agent", "rates"]).await.ok().stdout.contains("fast"));
    std::fs::write(&file, "{broken").unwrap();
    let refused = server.vctl(&["config", "store", "some.agent", "rates", &path]).await;
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(server.vctl(&["config", "get", "some.agent", "rates"]).await.ok().stdout.contains("fast"));
    server.vctl(&["config", "delete", "some.agent", "rates"]).await.ok();
}

#[tokio::test]
async fn shutdown_of_the_platform_ends_the_server() {
    let mut server = TestServer::demo().await;
    server.vctl(&["shutdown", "--platform"]).await.ok();
    assert_eq!(server.ended(Duration::from_secs(5)).await.0, Some(0));
}

#[tokio::test]
async fn without_a_server_it_says_so() {
    let mut server = TestServer::start().await;
    let home = server.home().to_owned();
    server.kill().await;
    let finished = vt_testkit::program::run("vctl", &home, &["status"], Duration::from_secs(10)).await;
    assert_eq!(finished.code, Some(10), "{finished:?}");
    assert!(finished.stderr.contains("VOLTTRON is not running."), "{finished:?}");
    let wrong = vt_testkit::program::run("vctl", &home, &["fly"], Duration::from_secs(10)).await;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

#[tokio::test]
async fn every_name_of_the_programs_answers() {
    let home = tempfile::tempdir().unwrap();
    for name in ["volttron", "vctl", "vcfg"] {
        let help = vt_testkit::program::run(name, home.path(), &["--help"], Duration::from_secs(10)).await.ok();
        assert!(help.stdout.to_lowercase().contains("usage"), "{name}: {help:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ["vctl", "vcfg", "volttron-ctl", "volttron-cfg"] {
        let link = folder.path().join(name);
        std::os::unix::fs::symlink(vt_testkit::program("volttron"), &link).unwrap();
        let help = vt_testkit::program::run(&link.to_string_lossy(), home.path(), &["--help"], Duration::from_secs(10)).await.ok();
        let plain = vt_testkit::program::run(
            if name.ends_with("ctl") { "vctl" } else { "vcfg" },
            home.path(),
            &["--help"],
            Duration::from_secs(10),
        )
        .await;
        assert_eq!(help.stdout.lines().next(), plain.stdout.lines().next(), "{name}");
    }
    let version = vt_testkit::program::run("volttron", home.path(), &["--version"], Duration::from_secs(10)).await.ok();
    assert!(version.stdout.starts_with("volttron "), "{version:?}");
}

#[tokio::test]
async fn a_stopped_agent_leaves_the_bus() {
    let server = TestServer::demo().await;
    let uuid = uuid_of(&server, "platform.actuator").await;
    server.vctl(&["stop", &uuid]).await.ok();
    assert!(!server.vctl(&["peerlist"]).await.ok().stdout.lines().any(|line| line == "platform.actuator"));
}

/// The full UUID of an installed agent, from the machine-readable list.
async fn uuid_of(server: &TestServer, identity: &str) -> String {
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    let status = client.get(&format!("/vui/platforms/{platform}/agents/{identity}/status")).await.expect(200).json();
    status["uuid"].as_str().unwrap().to_owned()
}
