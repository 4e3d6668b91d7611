//! `vcfg`: its questions, answers from options and files, what it writes, and that the server starts with it.

use std::time::Duration;

use serde_json::Value;
use vt_testkit::program::{Finished, run, run_with_input};
use vt_testkit::{TestServer, program};

const DEADLINE: Duration = Duration::from_secs(60);

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn config(home: &std::path::Path) -> String {
    std::fs::read_to_string(home.join("config")).unwrap()
}

async fn agents(home: &std::path::Path) -> Value {
    serde_json::from_str(&run("vctl", home, &["--json", "list"], DEADLINE).await.ok().stdout).unwrap()
}

#[tokio::test]
async fn the_questions_are_volttrons_in_its_order() {
    let home = tempfile::tempdir().unwrap();
    let (vip, web) = (free_port(), free_port());
    let input = format!("\nfrog\nzmq\nudp://x\ntcp://127.0.0.1\n0\n{vip}\nharbor1\nY\nhttp\n{web}\nN\nmaybe\nN\nN\nY\nY\nY\nN\n");
    let done = run_with_input("vcfg", home.path(), &[], &input, DEADLINE).await.ok();
    let expected = [
        "Your VOLTTRON_HOME currently set to: ",
        "Is this the volttron you are attempting to setup? [Y]: ",
        "What type of message bus (rmq/zmq)? [zmq]: ",
        "Message type is not valid. Valid entries are zmq or rmq.",
        "What is the vip address? [tcp://127.0.0.1]: ",
        "Address is not valid.",
        "What is the port for the vip address? [22916]: ",
        "Port is not valid.",
        "What is the name of this instance? [volttron1]: ",
        "Is this instance web enabled? [N]: ",
        "What is the protocol for this instance? [https]: ",
        "What is the port for this instance? [8080]: ",
        "Is this an instance of volttron central? [N]: ",
        "Will this instance be controlled by volttron central? [Y]: ",
        "Invalid response. Proper responses are:",
        "Would you like to install a platform historian? [N]: ",
        "Would you like to install a platform driver? [N]: ",
        "Would you like to install a fake device on the platform driver? [N]: ",
        "Should the agent autostart? [N]: ",
        "Would you like to install a listener agent? [N]: ",
        "Starting platform...",
        "Shutting down platform...",
        "Finished configuration!",
        "You can now start the volttron instance.",
        "If you need to change the instance configuration you can edit",
        "the config file is at ",
    ];
    let mut rest = done.stdout.as_str();
    for text in expected {
        let at = rest.find(text).unwrap_or_else(|| panic!("{text:?} is not where it should be in {}", done.stdout));
        rest = &rest[at + text.len()..];
    }
    let written = config(home.path());
    for line in [
        "message-bus = zmq".to_owned(),
        format!("vip-address = tcp://127.0.0.1:{vip}"),
        "instance-name = harbor1".to_owned(),
        "bind-web-address = http://".to_owned(),
    ] {
        assert!(written.contains(&line), "{line} is not in {written}");
    }
    assert!(!written.contains("volttron-central-address"), "{written}");
    let agents = agents(home.path()).await;
    assert_eq!((&agents["platform.driver"]["agent_tag"], &agents["platform.driver"]["PRI"]), (&"platform_driver".into(), &"50".into()));
}

#[tokio::test]
async fn a_file_answers_for_scripts_and_the_server_starts_with_what_is_written() {
    let home = tempfile::tempdir().unwrap();
    let (vip, web) = (free_port(), free_port());
    let answers = home.path().join("answers.yml");
    std::fs::write(
        &answers,
        format!("instance-name: harbor2\nvip-port: {vip}\nweb: true\nweb-host: 127.0.0.1\ncontrolled: false\nlistener: true\nlistener-autostart: true\n"),
    )
    .unwrap();
    let options = ["--answers", &answers.to_string_lossy(), "--web-port", &web.to_string(), "--listener-autostart", "N"];
    let done = run("vcfg", home.path(), &options, DEADLINE).await.ok();
    assert!(done.stdout.contains("What is the name of this instance? [volttron1]: harbor2"), "what was answered is shown: {done:?}");
    assert_eq!(agents(home.path()).await["listeneragent-3.3_1"]["PRI"], "", "an option holds over the file");
    let mut server = tokio::process::Command::new(program("volttron"));
    server.env("VOLTTRON_HOME", home.path()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).kill_on_drop(true);
    let _server = server.spawn().unwrap();
    vt_testkit::eventually_async("the server is up", DEADLINE, async || {
        (run("vctl", home.path(), &["peerlist"], DEADLINE).await.code == Some(0)).then_some(())
    })
    .await;
    assert!(config(home.path()).contains(&format!("bind-web-address = https://127.0.0.1:{web}")));
    // Again, while it runs: it asks first, and what is there is the default.
    let again = run("vcfg", home.path(), &["--defaults", "--continue", "Y", "--controlled", "N"], DEADLINE).await.ok();
    assert!(again.stdout.contains("What is the name of this instance? [harbor2]: "), "{again:?}");
    assert!(again.stdout.contains("Do you want to use these certificates for the web server? [Y]: "), "{again:?}");
    let stays = run("vcfg", home.path(), &["--defaults"], DEADLINE).await.ok();
    assert!(stays.stdout.contains("The current instance is running") && !stays.stdout.contains("Finished"), "{stays:?}");
}

#[tokio::test]
async fn wrong_answers_and_unknown_agents_end_with_10_and_change_nothing() {
    let home = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = async |arguments: &[&str], text: &str| {
        let Finished { code, stderr, .. } = run("vcfg", home.path(), arguments, DEADLINE).await;
        assert_eq!(code, Some(10), "{arguments:?} {stderr}");
        assert!(stderr.contains(text), "{arguments:?}: {stderr}");
    };
    refused(&["--defaults", "--vip-port", &port], "ERROR: That address has already been bound to.").await;
    refused(&["--defaults", "--message-bus", "frog"], "Message type is not valid. Valid entries are zmq or rmq.").await;
    refused(&["--defaults", "--web", "maybe"], "Proper responses are").await;
    refused(&["--defaults", "--instance-name", "a b"], "instance-name").await;
    let certificate =
        ["--defaults", "--web", "Y", "--vip-port", &free_port().to_string(), "--generate-certificate", "N", "--certificate", "/nowhere"];
    refused(&certificate, "Unable to read file /nowhere").await;
    refused(&["--agent", "frog"], "\"frog\" not configurable with this tool").await;
    refused(&["--agent", "vc"], "this server is a central by itself").await;
    refused(&["--rabbitmq", "single"], "RabbitMQ is not available").await;
    refused(&["rabbitmq", "single", "--config", "f"], "RabbitMQ is not available").await;
    refused(&["--answers", "/nowhere"], "cannot be read").await;
    assert!(!home.path().join("config").exists());
    let unknown = run("vcfg", home.path(), &["--frog"], DEADLINE).await;
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
}

#[tokio::test]
async fn agents_are_set_up_by_the_names_of_both_generations() {
    let home = tempfile::tempdir().unwrap();
    let list = run("vcfg", home.path(), &["--list-agents"], DEADLINE).await.ok();
    assert_eq!(list.stdout, "Agents available to configure:\n\tactuator\n\tlistener\n\tplatform_driver\n\tplatform_historian\n");
    let options = ["--agent", "master_driver", "platform_historian", "--fake-device", "Y", "--defaults", "--instance-name", "harbor3"];
    run("vcfg", home.path(), &options, DEADLINE).await.ok();
    let found = agents(home.path()).await;
    assert_eq!(found["platform.driver"]["agent_tag"], "master_driver");
    assert_eq!(found["platform.historian"]["agent_tag"], "platform_historian");
    assert!(config(home.path()).contains("instance-name = harbor3"));
    let store = std::fs::read_to_string(home.path().join("configuration_store/platform.driver.store")).unwrap();
    assert!(store.contains("devices/fake-campus/fake-building/fake-device") && store.contains("fake.csv"), "{store}");
    let before = found["platform.driver"]["agent_uuid"].clone();
    let kept =
        run("vcfg", home.path(), &["--agent", "master_driver", "--defaults", "--platform-driver-overwrite", "N"], DEADLINE).await.ok();
    assert!(kept.stdout.contains("Agent master_driver is already installed."), "{kept:?}");
    assert_eq!(agents(home.path()).await["platform.driver"]["agent_uuid"], before);
}

#[tokio::test]
async fn the_configuration_store_is_filled_from_metadata_files() {
    let server = TestServer::start().await;
    let file = server.home().join("meta.json");
    std::fs::write(
        &file,
        r#"{"some.agent": [{"config": {"a": 1}}, {"config-name": "r.csv", "config-type": "csv", "config": "x,y\n1,2\n"}]}"#,
    )
    .unwrap();
    let path = file.to_string_lossy().into_owned();
    run("vcfg", server.home(), &["update-config-store", "--metadata-file", &path], DEADLINE).await.ok();
    assert_eq!(server.vctl(&["config", "list", "some.agent"]).await.ok().stdout, "config\nr.csv\n");
    assert_eq!(server.vctl(&["config", "get", "some.agent", "config"]).await.ok().stdout, "{\n  \"a\": 1\n}\n");
    std::fs::write(&file, "{").unwrap();
    let wrong = run("vcfg", server.home(), &["update-config-store", "--metadata-file", &path], DEADLINE).await;
    assert_eq!(wrong.code, Some(10), "{wrong:?}");
}
