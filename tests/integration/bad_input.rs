//! Broken and hostile input over HTTPS: a clear 4xx, nothing half-written, and the server goes on.

use reqwest::Method;
use serde_json::{Value, json};
use vt_testkit::TestServer;
use vt_testkit::client::encode;

/// Names that have broken one program or another.
pub const HOSTILE: &[&str] = &[
    "<img src=x onerror=alert(1)>",
    "'; DROP TABLE data; --",
    "\u{202e}evil\u{202c}",
    "a\u{0}b",
    "line\nbreak\ttab",
    ".*[^$](?:",
    "%00%2e%2e",
    "\u{feff}bom",
    "{{7*7}}${7*7}",
    "\\..\\..\\windows",
    "zero\u{200b}width",
    "\u{1f3e2}",
    "-",
    "con fig",
];

#[tokio::test]
async fn broken_bodies_are_the_senders_fault() {
    let server = TestServer::start().await;
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    let routes = [
        (Method::POST, "/authenticate".to_owned()),
        (Method::PUT, format!("/vui/platforms/{platform}/pubsub/harbor")),
        (Method::POST, format!("/vui/platforms/{platform}/agents/config.store/rpc/peerlist")),
        (Method::PUT, format!("/vui/platforms/{platform}/agents/some.agent/configs/broken")),
    ];
    let deep = "[".repeat(100_000);
    for (method, path) in &routes {
        for body in ["{", "{\"a\":", "\u{feff}", "{\"a\":1}x", "nul", "\"\\ud800\"", &deep] {
            let request = client.request(method.clone(), path).header("content-type", "application/json").body(body.to_owned());
            let answer = client.send(request).await;
            assert!((400..500).contains(&answer.status), "{method} {path} {body:.20}: {answer:?}");
        }
        let request = client.request(method.clone(), path).header("content-type", "application/json").body(vec![0xff, 0xfe, b'{', 0x80]);
        let answer = client.send(request).await;
        assert!((400..500).contains(&answer.status), "{method} {path} not UTF-8: {answer:?}");
    }
    client.get(&format!("/vui/platforms/{platform}/agents/some.agent/configs/broken")).await.expect(400);
    client.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let server = TestServer::start().await;
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    let huge = vec![b' '; 64 * 1024 * 1024];
    for (method, path) in [
        (Method::POST, "/authenticate".to_owned()),
        (Method::PUT, format!("/vui/platforms/{platform}/pubsub/harbor")),
        (Method::PUT, format!("/vui/platforms/{platform}/agents/some.agent/configs/huge")),
    ] {
        let request = client.request(method.clone(), &path).header("content-type", "application/json").body(huge.clone());
        // The server may close before it read everything; then there is no answer to read, and that is fine.
        if let Ok(answer) = client.try_send(request).await {
            assert_eq!(answer.status, 413, "{method} {path}: {answer:?}");
        }
    }
    client.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn hostile_names_are_kept_or_refused_but_never_act() {
    let server = TestServer::start().await;
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    let agents = format!("/vui/platforms/{platform}/agents");
    // As long as an address can be; 64 KB go into the bodies of the other tests.
    let long = "n".repeat(60 * 1024);
    for name in HOSTILE.iter().copied().chain(["../../../escaped", "a/../../../escaped", "/etc/passwd", "", long.as_str()]) {
        let shown: String = name.chars().take(40).collect();
        let created = client.post(&format!("{agents}/some.agent/configs?config-name={}", encode(name)), &json!({"named": 1})).await;
        assert!([201, 400, 414, 431].contains(&created.status), "{shown:?}: {created:?}");
        if created.status == 201 {
            let names = client.get(&format!("{agents}/some.agent/configs")).await.expect(200).json();
            // As in VOLTTRON, separators at the ends of a name do not count.
            let kept = name.trim_matches(['/', '\\']);
            assert!(names["links"].as_object().unwrap().contains_key(kept), "{shown:?} was taken and is not listed: {names}");
            let route = names["links"][kept].as_str().unwrap();
            client.get(route).await.expect(200);
            client.delete(route).await.expect(204);
        }
        for path in [
            format!("{agents}/{}/status", encode(name)),
            format!("/vui/platforms/{}", encode(name)),
            format!("{agents}/{}/configs", encode(name)),
        ] {
            let answer = client.get(&path).await;
            assert!(answer.status < 500 && answer.status != 405, "{shown:?} {path:.60}: {answer:?}");
        }
        for path in [
            format!("/vui/platforms/{platform}/devices/{}", encode(name)),
            format!("/vui/platforms/{platform}/devices?read-all=true&regex={}", encode(name)),
        ] {
            let answer = client.get(&path).await;
            assert!(answer.status < 500, "{shown:?} {path:.60}: {answer:?}");
        }
    }
    let outside: Vec<_> =
        std::fs::read_dir(server.home().parent().unwrap()).unwrap().flatten().filter(|entry| entry.file_name() == "escaped").collect();
    assert!(outside.is_empty(), "a name left the home: {outside:?}");
    assert!(
        !crate::first_start::files(server.home())
            .iter()
            .any(|path| path.ends_with("escaped") && !path.to_string_lossy().contains("configuration"))
    );
    client.get("/readyz").await.expect(200);
}

#[tokio::test]
async fn hostile_tags_and_topics_come_back_as_they_were() {
    let server = TestServer::demo().await;
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    let tag = format!("/vui/platforms/{platform}/agents/platform.actuator/tag");
    for name in HOSTILE {
        let answer = client.put(&tag, &json!({"tag": name})).await;
        assert!([204, 400].contains(&answer.status), "{name:?}: {answer:?}");
        if answer.status == 204 {
            assert_eq!(client.get(&tag).await.expect(200).json()["tag"], json!(name));
        }
        let answer = client
            .put(&format!("/vui/platforms/{platform}/pubsub/harbor/{}", encode(name)), &json!({"headers": {}, "message": name}))
            .await;
        assert!([200, 400].contains(&answer.status), "{name:?}: {answer:?}");
    }
    client.put(&tag, &json!({"tag": "x".repeat(65)})).await.expect(400);
    client.put(&tag, &json!({"tag": "x".repeat(64 * 1024)})).await.expect(400);
}

#[tokio::test]
async fn hostile_names_of_users_groups_and_agents_are_refused_by_field_or_come_back_as_they_were() {
    let server = TestServer::start().await;
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    let (users, agents) = (format!("/vui/platforms/{platform}/auths/users"), format!("/vui/platforms/{platform}/agents"));
    let long = "n".repeat(64 * 1024);
    for (number, name) in HOSTILE.iter().copied().chain(["../x", "..", "", "admin\u{ad}", long.as_str()]).enumerate() {
        let shown: String = name.chars().take(40).collect();
        let password = "correct horse battery";
        let made = client.post(&users, &json!({"name": name, "password": password, "groups": ["vui"]})).await;
        assert!([201, 400].contains(&made.status), "user {shown:?}: {made:?}");
        if made.status == 201 {
            let address = made.header("location").to_owned();
            assert_eq!(client.get(&address).await.expect(200).json()["name"], json!(name), "{shown:?}");
            client.with_token(None).post("/authenticate", &json!({"username": name, "password": password})).await.expect(200);
            client.delete(&address).await.expect(204);
        } else {
            assert!(made.json()["error"].as_str().unwrap().contains("user name"), "{shown:?}: {made:?}");
        }
        let other = format!("user-{number}");
        let made = client.post(&users, &json!({"name": other, "password": password, "groups": [name]})).await;
        assert!([201, 400].contains(&made.status), "group {shown:?}: {made:?}");
        if made.status == 201 {
            assert_eq!(client.get(&format!("{users}/{other}")).await.expect(200).json()["groups"], json!([name]), "{shown:?}");
        }
        let made = client.post(&agents, &json!({"kind": "listener", "identity": name})).await;
        assert_eq!(made.status, 400, "identity {shown:?}: {made:?}");
        assert!(made.json()["error"].as_str().unwrap().contains("identity"), "identity {shown:?}: {made:?}");
        let kind = client.post(&agents, &json!({"kind": name})).await.expect(400);
        assert!(kind.json()["error"].is_string() && kind.text.len() < 1_000, "{shown:?}: {kind:?}");
    }
    let names = client.get(&users).await.expect(200).json();
    let hostile = names["links"].as_object().unwrap().keys().filter(|name| HOSTILE.contains(&name.as_str())).count();
    assert_eq!(hostile, 0, "{names}");
}

#[tokio::test]
async fn hostile_users_at_the_log_in_are_just_unknown() {
    let server = TestServer::start().await;
    let client = server.client();
    let long = "n".repeat(64 * 1024);
    for name in HOSTILE.iter().copied().take(8).chain([long.as_str()]) {
        let answer = client.post("/authenticate", &json!({"username": name, "password": name})).await;
        assert_eq!((answer.status, answer.text.as_str()), (401, ""), "{name:.40?}");
    }
    assert!(!server.output().contains('\u{0}') && !server.output().contains('\u{202e}'), "{}", server.output());
}

#[tokio::test]
async fn a_table_of_a_spreadsheet_is_refused_with_the_line_that_its_editor_shows() {
    let server = TestServer::start().await;
    let file = server.home().join("table.csv");
    std::fs::write(&file, "\u{feff}Point Name,Volttron Point Name\r\na,A\r\n\r\n,\r\nb\r\n").unwrap();
    let path = file.to_string_lossy().into_owned();
    let refused = server.vctl(&["config", "store", "platform.driver", "r.csv", &path, "--csv"]).await;
    assert_eq!(refused.code, Some(20), "{refused:?}");
    let expected = "config: error: r.csv: line 5 has 1 values but there are 2 columns: column \"Volttron Point Name\" has no value\n";
    assert_eq!(refused.stderr, expected);
    std::fs::write(&file, "\u{feff}Point Name,Volttron Point Name\r\na,A\r\nb,A\r\n").unwrap();
    let refused = server.vctl(&["config", "store", "platform.driver", "r.csv", &path, "--csv"]).await;
    assert!(refused.stderr.contains("line 3, column Volttron Point Name: the point \"A\" is already defined in line 2"), "{refused:?}");
    assert_eq!(server.vctl(&["config", "list", "platform.driver"]).await.ok().stdout, "", "nothing half-written");
}

#[tokio::test]
async fn a_broken_registry_names_its_line_and_leaves_other_devices_alone() {
    let server = TestServer::demo().await;
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    let configs = format!("/vui/platforms/{platform}/agents/platform.driver/configs");
    let registries = [
        ("bom", "\u{feff}Point Name,Volttron Point Name,Units,Starting Value,Type,Writable\r\nA,A,F,1,float,TRUE\r\n", true),
        ("ragged", "Point Name,Volttron Point Name,Units,Starting Value,Type,Writable\nA,A,F\nB,B,F,1,float,TRUE,extra,extra\n", false),
        ("duplicate", "Point Name,Volttron Point Name,Units,Starting Value,Type,Writable\nA,A,F,1,float,TRUE\nA,A,F,1,float,TRUE\n", false),
        ("empty", "", false),
    ];
    for (name, csv, _) in &registries {
        let request = client.request(Method::PUT, &format!("{configs}/registry_configs/{name}.csv")).header("content-type", "text/csv");
        let stored = client.send(request.body((*csv).to_owned())).await;
        assert!([204, 400].contains(&stored.status), "{name}: {stored:?}");
        let device = json!({"driver_type": "fake", "driver_config": {}, "registry_config": format!("config://registry_configs/{name}.csv"), "interval": 1});
        let stored = client.put(&format!("{configs}/devices/bad/input/{name}"), &device).await;
        assert!([204, 400].contains(&stored.status), "{name}: {stored:?}");
    }
    let good = crate::demonstration::writable(&client, &platform).await;
    assert!(good.is_some(), "the other devices are gone");
    let points = client.get(&format!("/vui/platforms/{platform}/devices/bad/input/bom?read-all=true")).await.expect(200).json();
    assert!(
        points.as_object().is_some_and(|points: &serde_json::Map<String, Value>| points.keys().any(|topic| topic.ends_with("/A"))),
        "{points}"
    );
    client.get("/healthz").await.expect(200);
}
