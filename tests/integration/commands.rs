//! `vctl` against a running and an absent server: output, exit codes and effects.

mod auth;
mod bus;
mod certificates;
mod down;
mod help;
mod install;
mod packaging;
mod scripts;
mod setup;

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
    let enabled = server.vctl(&["enable", "--tag", "locks", "-p", "7"]).await.ok();
    assert_eq!(enabled.stdout, format!("Enabling {uuid} actuatoragent-1.0 with priority 07\n"));
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

#[tokio::test]
async fn tables_have_their_headers_on_standard_error_and_rows_on_standard_output() {
    let server = TestServer::demo().await;
    let matches = |text: &str, lines: &[&str]| {
        let found: Vec<&str> = text.lines().collect();
        assert_eq!(found.len(), lines.len(), "{text}");
        for (line, pattern) in found.iter().zip(lines) {
            assert!(regex::Regex::new(&format!("^{pattern}$")).unwrap().is_match(line), "{line:?} is not {pattern:?}");
        }
    };
    let list = server.vctl(&["list", "-n", "4"]).await.ok();
    matches(&list.stderr, &["     AGENT                    IDENTITY           TAG                   PRI"]);
    let rows = [
        "[0-9a-f]{4} actuatoragent-1.0        platform.actuator  actuator               40",
        "[0-9a-f]{4} listeneragent-3.3        listener           listener               10",
        "[0-9a-f]{4} platform_driveragent-4.0 platform.driver    platform_driver        50",
        "[0-9a-f]{4} sqlhistorianagent-4.0.0  platform.historian platform_historian     90",
    ];
    matches(&list.stdout, &rows);
    server.vctl(&["stop", "--name", "listener*"]).await.ok();
    let status = vt_testkit::eventually_async("three agents are well", Duration::from_secs(20), async || {
        let status = server.vctl(&["status", "-n", "4"]).await.ok();
        (status.stdout.matches("GOOD").count() == 3).then_some(status)
    })
    .await;
    matches(&status.stderr, &["UUID AGENT                    IDENTITY           TAG                STATUS          HEALTH"]);
    let rows = [
        r"[0-9a-f]{4} actuatoragent-1.0        platform.actuator  actuator           running \[\d+\] +GOOD",
        "[0-9a-f]{4} listeneragent-3.3        listener           listener           0",
        r"[0-9a-f]{4} platform_driveragent-4.0 platform.driver    platform_driver    running \[\d+\] +GOOD",
        r"[0-9a-f]{4} sqlhistorianagent-4.0.0  platform.historian platform_historian running \[\d+\] +GOOD",
    ];
    matches(&status.stdout, &rows);
    let all = server.vctl(&["list", "-n", "0"]).await.ok();
    assert!(all.stdout.lines().all(|line| line.split(' ').next().unwrap().len() == 36), "{all:?}");
    let object: serde_json::Value = serde_json::from_str(&server.vctl(&["--json", "status"]).await.ok().stdout).unwrap();
    let keys: Vec<_> = object["listener"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["agent_uuid", "name", "identity", "agent_tag", "PRI", "status", "health"]);
}

#[tokio::test]
async fn refusals_have_volttrons_texts_streams_and_exit_codes() {
    let server = TestServer::start().await;
    server.vctl(&["--json", "install", "listener", "--vip-identity", "one", "--tag", "first"]).await.ok();
    for (arguments, code, stdout, stderr) in [
        ("start nope", 0, "", "Agents NOT found using 'vctl start' on pattern: nope\n"),
        ("stop nope", 0, "", "Agents NOT found using 'vctl stop' on pattern: nope\n"),
        ("restart --tag nope", 0, "", "Agents NOT found using 'vctl restart' on pattern: nope\n"),
        ("enable nope", 0, "", "enable: error: agent not found: nope\n"),
        ("disable nope", 0, "", "disable: error: agent not found: nope\n"),
        ("list nope", 0, "", "list: error: agent not found: nope\nNo installed Agents found\n"),
        ("status nope", 0, "", "status: error: agent not found: nope\nNo installed Agents found\n"),
        ("--json list nope", 0, "{}\n", "list: error: agent not found: nope\n"),
        ("health nope", 0, "", "health: error: agent not found: nope\n"),
        ("tag nope", 10, "", "tag: error: agent not found: nope\n"),
        ("stop", 2, "", "stop: error: Missing search pattern.\n"),
        ("config get one nope", 20, "", "config: error: No configuration file \"nope\" for VIP IDENTIY one\n"),
        ("config delete one nope", 20, "", "config: error: No configuration file \"nope\" for VIP IDENTIY one\n"),
        (
            "config delete one",
            2,
            "ERROR: must specify a configuration when not deleting entire store\n",
            "config: error: name the entry, or give --all\n",
        ),
        ("config store one a /nowhere", 1, "", "config: error: /nowhere cannot be read: No such file or directory (os error 2)\n"),
        ("config list nobody", 0, "", ""),
        // Already so: nothing to say.
        ("disable --tag first", 0, "", ""),
    ] {
        let words: Vec<&str> = arguments.split(' ').collect();
        let finished = server.vctl(&words).await;
        assert_eq!((finished.code, &*finished.stdout, &*finished.stderr), (Some(code), stdout, stderr), "vctl {arguments}");
    }
    for arguments in
        ["enable -p 100 --tag first", "enable -p -1 --tag first", "enable -p x --tag first", "-t 0 list", "fly", "tag", "config store"]
    {
        let words: Vec<&str> = arguments.split(' ').collect();
        let finished = server.vctl(&words).await;
        assert_eq!((finished.code, &*finished.stdout), (Some(2), ""), "vctl {arguments}: {finished:?}");
        assert!(!finished.stderr.is_empty(), "vctl {arguments}");
    }
    server.vctl(&["start", "--tag", "first"]).await.ok();
    let again = server.vctl(&["start", "--tag", "first"]).await.ok();
    assert_eq!((&*again.stdout, &*again.stderr), ("", ""), "what runs already is not started");
    let help = server.vctl(&[]).await.ok();
    assert!(help.stdout.contains("Usage: vctl"), "{help:?}");
}

/// The full UUID of an installed agent, from the machine-readable list.
async fn uuid_of(server: &TestServer, identity: &str) -> String {
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    let status = client.get(&format!("/vui/platforms/{platform}/agents/{identity}/status")).await.expect(200).json();
    status["uuid"].as_str().unwrap().to_owned()
}
