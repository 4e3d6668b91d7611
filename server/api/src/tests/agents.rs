//! Agents: lists, life cycle, status, tags, RPC, installing.

use serde_json::{Value, json};
use vt_services::bench::MethodTable;
use vt_types::RpcError;

use super::{Api, P, install};

fn agent(identity: &str, rest: &str) -> String {
    format!("{P}/agents/{identity}{rest}")
}

#[tokio::test]
async fn lists_show_running_installed_and_hidden() {
    let api = Api::start().await;
    install(&api, "runs", true).await;
    install(&api, "rests", false).await;
    assert_eq!(api.get(&format!("{P}/agents")).await.expect(200).links(), ["runs"]);
    assert_eq!(api.get(&format!("{P}/agents?agent-state=installed")).await.expect(200).links(), ["rests", "runs"]);
    for yes in ["true", "T", "1"] {
        let hidden = api.get(&format!("{P}/agents?include-hidden={yes}")).await.expect(200).links();
        assert!(hidden.contains(&"control".to_owned()) && hidden.contains(&"runs".to_owned()) && !hidden.contains(&"rests".to_owned()));
    }
    let error = api.get(&format!("{P}/agents?agent-state=bogus")).await.expect(400).error();
    assert!(["running", "installed", "packaged"].iter().all(|word| error.contains(word)), "{error}");
}

#[tokio::test]
async fn links_of_an_agent_follow_its_state() {
    let api = Api::start().await;
    install(&api, "a", false).await;
    assert_eq!(api.get(&agent("nobody", "")).await.expect(200).links(), ["configs"]);
    assert_eq!(api.get(&agent("control", "")).await.expect(200).links(), ["configs"]);
    assert_eq!(api.get(&agent("a", "")).await.expect(200).links(), ["configs", "enabled", "running", "status", "tag"]);
    api.put(&agent("a", "/running"), json!({})).await.expect(204);
    assert_eq!(api.get(&agent("a", "")).await.expect(200).links(), ["configs", "enabled", "rpc", "running", "status", "tag"]);
}

#[tokio::test]
async fn an_agent_starts_restarts_and_stops() {
    let api = Api::start().await;
    install(&api, "a", false).await;
    let path = agent("a", "/running");
    assert_eq!(api.get(&path).await.expect(200).json(), json!({"running": false, "status": false}));
    api.send("PUT", &path, &[], None).await.expect(204);
    assert_eq!(api.get(&path).await.expect(200).json(), json!({"running": true, "status": true}));
    assert_eq!(api.send("PUT", &path, &[], None).await.expect(400).error(), "Agent: a is already running.");
    let before = api.get(&agent("a", "/status")).await.json()["pid"].clone();
    api.send("PUT", &format!("{path}?restart=1"), &[], None).await.expect(204);
    assert_ne!(api.get(&agent("a", "/status")).await.json()["pid"], before);
    api.delete(&path).await.expect(204);
    api.delete(&path).await.expect(204);
    let status = api.get(&agent("a", "/status")).await.expect(200).json();
    assert_eq!(status["running"], false);
    assert!(!status["exit_code"].is_null());
}

#[tokio::test]
async fn enabled_is_a_priority() {
    let api = Api::start().await;
    install(&api, "a", false).await;
    let path = agent("a", "/enabled");
    assert_eq!(api.get(&path).await.expect(200).json(), json!({"status": false, "priority": null}));
    api.send("PUT", &path, &[], None).await.expect(204);
    assert_eq!(api.get(&path).await.json(), json!({"status": true, "priority": 50}));
    api.send("PUT", &format!("{path}?priority=7"), &[], None).await.expect(204);
    assert_eq!(api.get(&path).await.json(), json!({"status": true, "priority": 7}));
    for bad in ["100", "-1", "abc"] {
        let reply = api.send("PUT", &format!("{path}?priority={bad}"), &[], None).await.expect(400);
        assert_eq!(reply.error(), format!("Priority must be an integer from 0 - 99. Received: {bad}."));
    }
    api.delete(&path).await.expect(204);
    assert_eq!(api.get(&path).await.json(), json!({"status": false, "priority": null}));
}

#[tokio::test]
async fn an_unknown_agent_is_400_with_its_name() {
    let api = Api::start().await;
    for (method, rest) in
        [("GET", "running"), ("PUT", "running"), ("DELETE", "running"), ("GET", "enabled"), ("PUT", "enabled"), ("GET", "status")]
    {
        let reply = api.send(method, &agent("x.y", &format!("/{rest}")), &[], None).await.expect(400);
        assert_eq!(reply.error(), "Agent \"x.y\" not found.", "{method} {rest}");
    }
    assert_eq!(api.get(&agent("x.y", "/tag")).await.expect(400).error(), "Agent 'x.y' not found.");
    api.get(&agent("%3Cimg%20src=x%3E", "/status")).await.expect(400);
}

#[tokio::test]
async fn the_status_object_has_its_eight_keys() {
    let api = Api::start().await;
    install(&api, "a", true).await;
    install(&api, "b", false).await;
    let status = api.get(&agent("a", "/status")).await.expect(200).json();
    let keys: Vec<_> = status.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["name", "uuid", "tag", "priority", "running", "enabled", "pid", "exit_code"]);
    assert_eq!((&status["running"], &status["exit_code"], &status["name"]), (&json!(true), &Value::Null, &json!("listeneragent-3.3")));
    let all = api.get(&format!("{P}/status")).await.expect(200).json();
    assert_eq!(all.as_object().unwrap().keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((&all["b"]["pid"], &all["b"]["exit_code"]), (&Value::Null, &Value::Null));
    api.delete(&agent("a", "/running")).await.expect(204);
    api.delete(&format!("{P}/status")).await.expect(204);
    assert_eq!(api.get(&agent("a", "/status")).await.json()["pid"], Value::Null, "forgotten");
}

#[tokio::test]
async fn tags_come_and_go() {
    let api = Api::start().await;
    install(&api, "a", false).await;
    let path = agent("a", "/tag");
    assert_eq!(api.get(&path).await.expect(200).json(), json!({"tag": null}));
    api.put(&path, json!({"tag": "poller"})).await.expect(204);
    assert_eq!(api.get(&path).await.json(), json!({"tag": "poller"}));
    api.put(&path, json!({"tag": "x".repeat(65)})).await.expect(400);
    api.put(&path, json!({"tag": 5})).await.expect(400);
    api.put(&path, json!(["tag"])).await.expect(400);
    api.delete(&path).await.expect(204);
    assert_eq!(api.get(&path).await.json(), json!({"tag": null}));
}

#[tokio::test]
async fn methods_are_listed_inspected_and_called_in_every_form() {
    let api = Api::start().await;
    let mut methods = MethodTable::new();
    methods.method("set_rate").doc("Sets it.").param("seconds").optional("unit", "s").to(|call| async move {
        match call.value("seconds").as_i64() {
            Some(0) => Ok(Value::Null),
            Some(-1) => Err(RpcError::raised("builtins.ZeroDivisionError", "division by zero")),
            Some(-2) => Err(RpcError::value_error("too small")),
            _ => Ok(json!([call.value("seconds"), call.value("unit")])),
        }
    });
    let _agent = api.running.agent("meter", methods);
    let path = agent("meter", "/rpc/set_rate");
    let links = api.get(&agent("meter", "/rpc")).await.expect(200).links();
    assert!(links.contains(&"set_rate".to_owned()) && links.contains(&"health.get_status".to_owned()), "{links:?}");
    let signature = api.get(&path).await.expect(200).json();
    assert_eq!((&signature["doc"], &signature["params"]["unit"]["default"]), (&json!("Sets it."), &json!("s")));
    for body in [json!({"args": [15], "unit": "m"}), json!([15, "m"]), json!({"seconds": 15, "unit": "m"})] {
        assert_eq!(api.post(&path, body.clone()).await.expect(200).json(), json!([15, "m"]), "{body}");
    }
    assert_eq!(api.post(&path, json!([0])).await.expect(200).text(), "null");
    for bad in [json!("text"), json!(5), json!(true)] {
        assert!(api.post(&path, bad).await.expect(400).error().starts_with("Malformed message body: "));
    }
    let raised = api.post(&path, json!([-1])).await.expect(502).json();
    assert_eq!(raised["exception"], json!({"type": "builtins.ZeroDivisionError", "message": "division by zero"}));
    api.post(&path, json!([-2])).await.expect(400);
    assert!(api.post(&agent("meter", "/rpc/no_such"), json!([])).await.expect(400).error().starts_with("for agent meter: "));
    assert!(api.get(&agent("meter", "/rpc/no_such")).await.expect(400).error().starts_with("for agent meter: "));
    assert_eq!(api.post(&agent("gone", "/rpc/x"), json!([])).await.expect(400).error(), "Agent \"gone\" not found.");
}

#[tokio::test]
async fn services_are_closed_to_ordinary_users() {
    let api = Api::start().await;
    let bearer = format!("Bearer {}", api.token_of("kiosk", &["vui"]).await);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    for (peer, method) in [("platform.auth", "get_capabilities"), ("control", "stop_platform"), ("config.store", "set_config")] {
        api.send("POST", &agent(peer, &format!("/rpc/{method}")), &headers, Some("[]".to_owned())).await.expect(403);
    }
    api.post(&agent("control", "/rpc/peerlist"), json!([])).await.expect(200);
    assert!(!api.running.platform_stop.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_never_answers_is_504() {
    let api = Api::start().await;
    let mut methods = MethodTable::new();
    methods.method("hang").to(|_| std::future::pending());
    let _agent = api.running.agent("slow", methods);
    api.post(&agent("slow", "/rpc/hang"), json!([])).await.expect(504).error();
}

#[tokio::test]
async fn installing_and_uninstalling_need_an_administrator() {
    let api = Api::start().await;
    let body = json!({"kind": "listener", "identity": "l", "tag": "t", "priority": 7, "config": {"a": 1}, "start": true});
    let created = api.post(&format!("{P}/agents"), body.clone()).await.expect(201);
    assert_eq!(created.header("location"), agent("l", ""));
    let status = api.get(&agent("l", "/status")).await.expect(200).json();
    assert_eq!((&status["tag"], &status["enabled"], &status["running"]), (&json!("t"), &json!(true), &json!(true)));
    api.post(&format!("{P}/agents"), body.clone()).await.expect(409);
    api.post(&format!("{P}/agents"), json!({"kind": "no such kind"})).await.expect(400);
    api.post(&format!("{P}/agents"), json!({"identity": "x"})).await.expect(400);
    api.post(&format!("{P}/agents"), json!({"kind": "listener", "priority": 100})).await.expect(400);
    api.send("POST", &format!("{P}/agents"), &[("content-type", "application/zip")], Some("PK".to_owned())).await.expect(400);
    let enabled = api.post(&format!("{P}/agents"), json!({"kind": "listener", "identity": "m", "enable": true})).await.expect(201).json();
    assert_eq!(enabled["enabled"], true);

    let bearer = format!("Bearer {}", api.token_of("kiosk", &["vui"]).await);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    api.send("DELETE", &agent("l", ""), &headers, None).await.expect(403);
    api.send("POST", &format!("{P}/agents"), &headers, Some(json!({"kind": "listener"}).to_string())).await.expect(403);
    api.delete(&agent("l", "")).await.expect(204);
    api.delete(&agent("l", "")).await.expect(400);
    assert_eq!(api.get(&format!("{P}/agents?agent-state=installed")).await.links(), ["m"]);
    let kinds = api.get("/vui/kinds").await.expect(200).json();
    assert!(kinds["kinds"].as_array().unwrap().iter().any(|kind| kind["kind"] == "listener"), "{kinds}");
}

#[tokio::test]
async fn health_and_logs_of_an_agent() {
    let api = Api::start().await;
    install(&api, "a", true).await;
    let health = api.get(&agent("a", "/health")).await.expect(200).json();
    assert_eq!(health.as_object().unwrap().keys().collect::<Vec<_>>(), ["status", "context", "last_updated"]);
    api.get(&agent("nobody", "/health")).await.expect(400);
    let all = api.get(&format!("{P}/health")).await.expect(200).json();
    assert!(all["a"]["peer"] == "a" && all["a"]["service_agent"] == false && all["control"]["service_agent"] == true, "{all}");
    let line = |text: &str| vt_services::NewLogLine {
        at: vt_types::Timestamp::default(),
        identity: Some("a".to_owned()),
        level: vt_services::LogLevel::Warning,
        logger: "test".to_owned(),
        text: text.to_owned(),
    };
    api.running.logs.push(line("first"));
    api.running.logs.push(line("second"));
    let lines = api.get(&agent("a", "/logs?limit=1")).await.expect(200).json()["lines"].clone();
    assert_eq!((lines.as_array().unwrap().len(), &lines[0]["text"], &lines[0]["level"]), (1, &json!("second"), &json!("WARNING")));
    let after = api.get(&agent("a", &format!("/logs?after={}", lines[0]["seq"]))).await.expect(200).json();
    assert_eq!(after["lines"], json!([]));
    api.get(&agent("nobody", "/logs")).await.expect(404);
    api.get(&agent("a", "/logs?limit=x")).await.expect(400);
    assert_eq!(api.get(&format!("{P}/logs")).await.expect(200).json()["lines"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn packages_are_installed_by_name_as_a_wheel_or_by_a_form_and_followed() {
    let api = Api::start().await;
    let request = json!({"package": "listeneragent==3.3", "identity": "a", "config": {"x": 1}, "start": true});
    let begun = api.post(&format!("{P}/agents"), request).await.expect(202);
    let place = begun.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(place, format!("{P}/installs/1"));
    let done = async |place: &str| loop {
        let news = api.get(&format!("{place}?wait=5")).await.expect(200).json();
        if news["done"] == true {
            return news;
        }
    };
    let news = done(&place).await;
    assert_eq!((&news["step"], &news["percent"], &news["error"]), (&json!("done"), &json!(100), &Value::Null));
    assert_eq!((&news["lines"], &news["next_line"]), (&json!(["preparing listeneragent-3.3"]), &json!(1)));
    assert_eq!(news["agent"]["identity"], "a");
    assert_eq!(api.get(&format!("{place}?from=1")).await.expect(200).json()["lines"], json!([]));

    let raw = [("content-type", "application/octet-stream")];
    let path = format!("{P}/agents?file-name=b-1.0-py3-none-any.whl&vip_identity=b");
    let begun = api.send("POST", &path, &raw, Some("wheel".to_owned())).await.expect(202);
    assert_eq!(done(begun.headers["location"].to_str().unwrap()).await["agent"]["identity"], "b");
    api.send("POST", &format!("{P}/agents"), &raw, Some("wheel".to_owned())).await.expect(400);

    let part = |name: &str, text: &str| format!("--x\r\ncontent-disposition: form-data; {name}\r\n\r\n{text}\r\n");
    let form =
        [part("name=\"identity\"", "c"), part("name=\"f\"; filename=\"c-1.0-py3-none-any.whl\"", "wheel"), "--x--\r\n".to_owned()].concat();
    let header = [("content-type", "multipart/form-data; boundary=x")];
    let begun = api.send("POST", &format!("{P}/agents"), &header, Some(form)).await.expect(202);
    assert_eq!(done(begun.headers["location"].to_str().unwrap()).await["agent"]["identity"], "c");

    let begun = api.post(&format!("{P}/agents"), json!({"package": "broken"})).await.expect(202);
    let news = done(begun.headers["location"].to_str().unwrap()).await;
    assert_eq!((&news["step"], &news["error"]), (&json!("failed"), &json!("pip failed: told to fail")));
    assert_eq!(api.get(&format!("{P}/installs")).await.expect(200).json()["installs"].as_array().unwrap().len(), 4);
    api.get(&format!("{P}/installs/99")).await.expect(404);
    let kiosk = format!("Bearer {}", api.token_of("kiosk", &["vui"]).await);
    let kiosk = [("authorization", kiosk.as_str())];
    api.send("GET", &place, &kiosk, None).await.expect(403);
    let json = [kiosk[0], ("content-type", "application/json")];
    api.send("POST", &format!("{P}/agents"), &json, Some(json!({"package": "x"}).to_string())).await.expect(403);
}
