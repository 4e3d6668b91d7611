//! Commands that look at the bus or speak on it: publish, subscribe, stats, rpc, peerlist, top.

use std::time::Duration;

use serde_json::{Value, json};
use vt_testkit::{TestServer, eventually_async};

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_is_published_is_heard() {
    let server = TestServer::start().await;
    let heard = server.vctl(&["subscribe", "greetings", "--count", "1"]);
    let publishing = async {
        eventually_async("somebody hears", DEADLINE, async || {
            let told = server.vctl(&["publish", "greetings/all", r#"{"a": [1, null]}"#, "--header", "Date=x", "--json"]).await.ok();
            (serde_json::from_str::<Value>(&told.stdout).unwrap()["subscribers"] != json!(0)).then_some(())
        })
        .await;
    };
    let (heard, ()) = tokio::join!(heard, publishing);
    let expected = format!(
        "{}\nReceived:\n\tpeer: control.local\n\tsender: control.local\n\ttopic: greetings/all\n\theaders: {{'Date': 'x'",
        "*".repeat(80)
    );
    let heard = heard.ok();
    assert!(heard.stdout.starts_with(&expected), "{heard:?}");
    assert!(heard.stdout.ends_with("\tmessage: {'a': [1, None]}\n"), "{heard:?}");
    let wrong = server.vctl(&["publish", "", "x"]).await;
    assert_eq!(wrong.code, Some(20), "{wrong:?}");
    assert!(wrong.stderr.starts_with("publish: error: "), "{wrong:?}");
}

#[tokio::test]
async fn messages_are_shown_as_json_until_time_is_up() {
    let server = TestServer::demo().await;
    let heard = server.vctl(&["--json", "subscribe", "heartbeat", "--duration", "8", "--count", "2"]).await.ok();
    let lines: Vec<Value> = heard.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| line["topic"].as_str().unwrap().starts_with("heartbeat/")), "{heard:?}");
    let nothing = server.vctl(&["subscribe", "nothing/here", "--duration", "0.2"]).await.ok();
    assert_eq!(nothing.stdout, "");
}

#[tokio::test]
async fn messages_are_counted_on_request() {
    let server = TestServer::start().await;
    assert_eq!(server.vctl(&["stats"]).await.ok().stdout, "disabled\n");
    assert_eq!(server.vctl(&["stats", "enable"]).await.ok().stdout, "");
    assert_eq!(server.vctl(&["stats", "status"]).await.ok().stdout, "enabled\n");
    server.vctl(&["publish", "a", "1"]).await.ok();
    server.vctl(&["stats", "disable"]).await.ok();
    server.vctl(&["publish", "a", "1"]).await.ok();
    let counted: Value = serde_json::from_str(&server.vctl(&["stats", "dump", "--json"]).await.ok().stdout).unwrap();
    assert_eq!(counted["incoming"]["peer"]["control.local"], json!(1));
    assert!(server.vctl(&["stats", "dump"]).await.ok().stdout.starts_with("{'error': {'error': {}"));
    assert!(server.vctl(&["stats", "pprint"]).await.ok().stdout.lines().count() > 10);
    assert_eq!(server.vctl(&["stats", "--json"]).await.ok().stdout, "{\n  \"enabled\": false\n}\n");
}

#[tokio::test]
async fn methods_of_peers_are_listed() {
    let server = TestServer::start().await;
    let list = server.vctl(&["rpc", "list"]).await.ok();
    assert!(list.stdout.contains("control\n\t") && list.stdout.contains("\tlist_agents\n"), "{list:?}");
    assert!(!list.stdout.contains("health.get_status"), "methods of subsystems only on request");
    let all = server.vctl(&["rpc", "list", "control", "-v"]).await.ok();
    assert!(all.stdout.starts_with("control\n") && all.stdout.contains("\thealth.get_status\n"), "{all:?}");
    let one = server.vctl(&["rpc", "list", "control", "tag_agent", "-v"]).await.ok();
    assert!(one.stdout.starts_with("control\n\ttag_agent\n\tDocumentation:\n") && one.stdout.contains("\t\tuuid:\n"), "{one:?}");
    let code = server.vctl(&["rpc", "code", "control", "peerlist", "tag_agent"]).await.ok();
    assert_eq!(code.stdout, "self.vip.rpc.call(control, peerlist).get()\nself.vip.rpc.call(control, tag_agent, ['uuid', 'tag']).get()\n");
    let none = server.vctl(&["rpc", "list", "nobody", "x"]).await.ok();
    assert!(none.stderr.starts_with("rpc: error: "), "{none:?}");
    let json: Value = serde_json::from_str(&server.vctl(&["rpc", "list", "--json"]).await.ok().stdout).unwrap();
    assert!(json["control"]["list_agents"].is_null() && json["control"].as_object().unwrap().contains_key("list_agents"));
}

#[tokio::test]
async fn top_shows_peers_and_agents_once_as_text_or_json() {
    let server = TestServer::demo().await;
    let once = server.vctl(&["top", "--once", "--interval", "0.3"]).await.ok();
    let lines: Vec<&str> = once.stdout.lines().collect();
    assert!(lines[0].contains(" agents run, ") && lines[1].starts_with("messages/s ") && lines[3].starts_with("IDENTITY"), "{once:?}");
    assert!(lines.iter().any(|line| line.starts_with("platform.driver ") && line.contains(" running ")), "{once:?}");
    let json: Value = serde_json::from_str(&server.vctl(&["--json", "top", "--once", "--interval", "2"]).await.ok().stdout).unwrap();
    assert!(json["published_per_s"].as_f64().unwrap() > 0.0, "devices are read: {json}");
    let row = json["rows"].as_array().unwrap().iter().find(|row| row["identity"] == "platform.historian").unwrap();
    assert!(row["queue_max"].as_u64().unwrap() > 0 && row["cpu_percent"].is_number(), "{row}");
    assert!(json["memory_bytes"].as_u64().unwrap() > 0 && json["lost"].is_u64());
    let wrong = server.vctl(&["top", "--interval", "0"]).await;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

#[tokio::test]
async fn top_draws_on_a_terminal_until_q_and_gives_it_back() {
    let server = TestServer::demo().await;
    let vctl = vt_testkit::program("vctl");
    let mut command = tokio::process::Command::new("script");
    command.args(["-qefc", &format!("{} top --interval 0.2", vctl.display()), "/dev/null"]).env("VOLTTRON_HOME", server.home());
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut screen = child.stdout.take().unwrap();
    let mut drawn = String::new();
    let mut read = async |until: &str, drawn: &mut String| {
        while drawn.matches(until).count() < 2 {
            let mut some = [0; 4096];
            let count = tokio::io::AsyncReadExt::read(&mut screen, &mut some).await.unwrap();
            assert!(count > 0, "it ended by itself: {drawn}");
            drawn.push_str(&String::from_utf8_lossy(&some[..count]));
        }
    };
    tokio::time::timeout(DEADLINE, read("platform.driver", &mut drawn)).await.expect("it draws twice");
    assert!(drawn.contains("\u{1b}[?1049h") && !drawn.contains("\u{1b}[2J"), "a screen of its own, and no flicker: {drawn:?}");
    tokio::io::AsyncWriteExt::write_all(&mut child.stdin.take().unwrap(), b"q").await.unwrap();
    let mut rest = String::new();
    tokio::time::timeout(DEADLINE, tokio::io::AsyncReadExt::read_to_string(&mut screen, &mut rest)).await.unwrap().unwrap();
    assert!((drawn + &rest).contains("\u{1b}[?1049l"), "{rest:?}");
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}
