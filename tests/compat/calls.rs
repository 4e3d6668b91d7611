//! Remote calls (vip-zmq.md §12, 27 to 37): to the platform's services in every form, and between real agents and the platform both ways.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::platform::Platform;
use crate::python::Installed;

#[tokio::test]
async fn arguments_arrive_by_position_by_name_mixed_and_not_at_all() {
    let platform = Platform::start().await;
    let mut peer = platform.peer("caller", 9).await;
    assert!(peer.call("config.store", "set_config", json!(["caller", "c", "{\"a\": [1]}", "json"])).await["error"].is_null());
    assert_eq!(peer.call("config.store", "list_configs", json!(["caller"])).await["result"], json!(["c"]));
    let by_name = peer.run(json!({"do": "call", "peer": "config.store", "method": "list_configs", "kwargs": {"identity": "caller"}})).await;
    assert_eq!(peer.response(&by_name).await["result"], json!(["c"]));
    let mixed = json!({"do": "call", "peer": "config.store", "method": "get_config", "args": ["caller", "c"], "kwargs": {"raw": false}});
    let mixed = peer.run(mixed).await;
    assert_eq!(peer.response(&mixed).await["result"], json!({"a": [1]}));
    assert_eq!(peer.call("config.store", "get_config", json!(["caller", "c"])).await["result"], "{\"a\": [1]}");
    assert_eq!(peer.call("config.store", "list_stores", json!([])).await["result"], json!(["caller"]));
}

#[tokio::test]
async fn a_notification_is_not_answered_not_even_when_it_fails() {
    let platform = Platform::start().await;
    let mut peer = platform.peer("notifier", 9).await;
    peer.run(json!({"do": "notify", "peer": "config.store", "method": "set_config", "args": ["notifier", "n", "{}", "json"]})).await;
    peer.run(json!({"do": "notify", "peer": "config.store", "method": "get_config", "args": ["nobody", "n"]})).await;
    peer.run(json!({"do": "notify", "peer": "config.store", "method": "nosuch"})).await;
    let with_null = r#"{"jsonrpc": "2.0", "method": "list_stores", "id": null}"#;
    peer.send(json!(["config.store", "VIP1", "", "id.null", "RPC", with_null])).await;
    assert_eq!(peer.call("config.store", "list_configs", json!(["notifier"])).await["result"], json!(["n"]), "the first one was obeyed");
    let is_response = |document: &str| document.contains("\"result\"") || document.contains("\"error\"");
    let answers = peer.python.told(|line| line["event"] == "frames" && line["frames"][5].as_str().is_some_and(is_response));
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn failures_have_the_codes_and_members_that_clients_read() {
    let platform = Platform::start().await;
    let mut peer = platform.peer("failing", 9).await;
    let unknown = peer.call("config.store", "nosuch", json!([])).await["error"].clone();
    assert_eq!((&unknown["code"], &unknown["message"]), (&json!(-32601), &json!("unimplemented method")), "{unknown}");
    assert!(unknown["data"]["detail"].as_str().unwrap().contains("'nosuch'"), "{unknown}");

    let failed = peer.call("config.store", "get_config", json!(["failing", "nothing"])).await["error"].clone();
    assert_eq!((&failed["code"], &failed["message"]), (&json!(-32000), &json!("unhandled exception")), "{failed}");
    let detail = failed["data"]["detail"].as_str().unwrap();
    assert!(detail.contains(r#"No configuration file "nothing" for VIP IDENTIY failing"#), "{failed}");
    let exception = &failed["data"]["exception.py"];
    assert_eq!(exception["exc_type"], "builtins.KeyError", "{failed}");
    assert!(exception["exc_args"].as_array().is_some_and(|args| !args.is_empty()), "{failed}");

    for (document, code) in [
        (r#"{"method": "list_stores", "id": "x1"}"#, -32600),
        (r#"{"jsonrpc": "1.0", "method": "list_stores", "id": "x1"}"#, -32600),
        (r#"{"jsonrpc": "2.0", "method": "list_stores", "params": 5, "id": "x1"}"#, -32602),
    ] {
        peer.send(json!(["config.store", "VIP1", "", "id.x", "RPC", document])).await;
        let answer = peer.receives_id("id.x").await;
        let answer: Value = serde_json::from_str(answer[5].as_str().unwrap()).unwrap();
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("x1"), &json!(code)), "{document}: {answer}");
    }
}

#[tokio::test]
async fn an_array_is_answered_with_an_array_and_two_documents_with_two_in_one_message() {
    let platform = Platform::start().await;
    let mut peer = platform.peer("batcher", 6).await;
    let batch = r#"[{"jsonrpc":"2.0","method":"list_stores","id":"a"},{"jsonrpc":"2.0","method":"list_stores"},{"jsonrpc":"2.0","method":"x","id":"b"}]"#;
    peer.send(json!(["config.store", "VIP1", "", "id.batch", "RPC", batch])).await;
    let answer = peer.receives_id("id.batch").await;
    assert_eq!(answer.len(), 6, "{answer:?}");
    let mut answers: Vec<Value> = serde_json::from_str(answer[5].as_str().unwrap()).unwrap();
    answers.sort_by_key(|answer| answer["id"].to_string());
    assert_eq!((answers.len(), &answers[0]["result"], &answers[1]["error"]["code"]), (2, &json!([]), &json!(-32601)), "{answers:?}");

    let one = |id: &str| format!(r#"{{"jsonrpc": "2.0", "method": "list_stores", "id": "{id}"}}"#);
    peer.send(json!(["config.store", "VIP1", "", "id.two", "RPC", one("c"), one("d")])).await;
    let answer = peer.receives_id("id.two").await;
    assert_eq!(answer.len(), 7, "{answer:?}");
    let mut ids: Vec<Value> =
        answer[5..].iter().map(|frame| serde_json::from_str::<Value>(frame.as_str().unwrap()).unwrap()["id"].clone()).collect();
    ids.sort_by_key(Value::to_string);
    assert_eq!(ids, ["c", "d"]);
}

#[tokio::test]
async fn every_service_tells_its_methods() {
    let platform = Platform::start().await;
    let mut peer = platform.peer("inspector", 9).await;
    for (service, methods) in [
        (
            "control",
            vec!["peerlist", "serverkey", "list_agents", "status_agents", "agent_status", "start_agent", "stop_agent", "install_agent"],
        ),
        ("platform.control", vec!["agent_priority", "identity_exists", "remove_agent", "shutdown", "stop_platform", "tag_agent"]),
        ("config.store", vec!["set_config", "manage_store", "get_configs", "initialize_configs", "delete_store"]),
        ("platform.config_store", vec!["set_config", "get_metadata", "list_stores"]),
        (
            "platform.auth",
            vec![
                "get_user_to_capabilities",
                "update_id_rpc_authorizations",
                "approve_authorization",
                "get_protected_rpcs",
                "check_rpc_authorization",
                "check_pubsub_authorization",
                "auth_file.read",
            ],
        ),
        ("platform.health", vec!["get_platform_health"]),
    ] {
        let told = peer.call(service, "inspect", json!([])).await["result"]["methods"].clone();
        let told = told.as_array().unwrap_or_else(|| panic!("{service}: {told}"));
        let missing: Vec<&&str> = methods.iter().filter(|method| !told.contains(&json!(method))).collect();
        assert!(missing.is_empty(), "{service} does not tell {missing:?}, but {told:?}");
    }
    let one = peer.call("config.store", "get_config.inspect", json!([])).await["result"].clone();
    assert_eq!(one["params"]["raw"]["default"], true, "{one}");
    assert_eq!(one["params"]["identity"]["kind"], "POSITIONAL_OR_KEYWORD", "{one}");
}

#[tokio::test]
async fn a_real_agent_learns_at_once_that_nobody_is_there() {
    let platform = Platform::start().await;
    let mut agent = platform.agent(Installed::Eleven, "eleven", &[]).await;
    agent.call("platform.health", "get_platform_health", json!([])).await.unwrap();
    let began = Instant::now();
    let error = agent.call("nobody", "m", json!([])).await.unwrap_err();
    assert_eq!((&error["type"], &error["errno"], &error["peer"]), (&json!("Unreachable"), &json!(113), &json!("nobody")), "{error}");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn letters_of_every_script_arrive_intact_and_travel_as_ascii() {
    let platform = Platform::start().await;
    let text = "Wärme é ☃ 漢字 😀 \u{7f}\u{80}";
    let mut peer = platform.peer("letters", 9).await;
    let stored = peer.call("config.store", "set_config", json!(["letters", "t", text, "raw"])).await;
    assert!(stored["error"].is_null(), "{stored}");
    let id = peer.run(json!({"do": "call", "peer": "config.store", "method": "get_config", "args": ["letters", "t"]})).await;
    assert_eq!(peer.response(&id).await["result"], text);
    let frames = peer.python.told(|line| line["event"] == "frames" && line["frames"][4] == "RPC");
    for frame in &frames {
        assert!(frame["frames"][5].as_str().is_some_and(str::is_ascii), "{frame}");
    }
    for (installed, identity) in [(Installed::Eleven, "eleven"), (Installed::Ten, "ten")] {
        let mut agent = platform.agent(installed, identity, &[]).await;
        assert_eq!(agent.call("config.store", "get_config", json!(["letters", "t"])).await.unwrap(), text, "{identity}");
    }
}

#[tokio::test]
async fn a_method_that_needs_a_capability_refuses_who_lacks_it() {
    let platform = Platform::start().await;
    let mut poor = platform.peer("poor", 9).await;
    for (service, method, args) in [
        ("config.store", "set_config", json!(["other", "c", "{}", "json"])),
        ("config.store", "delete_store", json!(["other"])),
        ("platform.auth", "approve_authorization", json!(["x"])),
        ("platform.auth", "auth_file.add", json!([{"credentials": "x"}])),
        ("platform.control", "stop_platform", json!([])),
        ("control", "remove_agent", json!(["x"])),
    ] {
        let refused = poor.call(service, method, args).await["error"].clone();
        assert_eq!(refused["code"], -32000, "{service}.{method}: {refused}");
        let exception = &refused["data"]["exception.py"];
        assert_eq!(exception["exc_args"][0], -32001, "{service}.{method}: {refused}");
        assert_eq!(exception["exc_type"], "volttron.platform.jsonrpc.Error", "{service}.{method}: {refused}");
    }
    let mut rich = platform.peer_with("rich", 9, &json!({"edit_config_store": {"identity": "/.*/"}})).await;
    let stored = rich.call("config.store", "set_config", json!(["other", "c", "{}", "json"])).await;
    assert!(stored["error"].is_null(), "{stored}");
}

#[tokio::test]
async fn real_agents_call_each_other_and_the_platform_calls_them() {
    let platform = Platform::start().await;
    let mut eleven = platform.agent(Installed::Eleven, "eleven", &[]).await;
    let mut ten = platform.agent(Installed::Ten, "ten", &[]).await;
    let echoed = json!({"args": [1, "é", {"a": null}], "kwargs": {}});
    assert_eq!(eleven.call("ten", "echo", json!([1, "é", {"a": null}])).await.unwrap(), echoed);
    assert_eq!(ten.python.event("called", |_| true).await["user"], "eleven");
    assert_eq!(ten.call("eleven", "echo", json!([1, "é", {"a": null}])).await.unwrap(), echoed);
    assert_eq!(eleven.python.event("called", |_| true).await["user"], "ten");

    for (caller, callee) in [(&mut eleven, "ten"), (&mut ten, "eleven")] {
        let failed = caller.call(callee, "fail", json!(["on purpose"])).await.unwrap_err();
        assert_eq!(failed["type"], "RemoteError", "{failed}");
        assert!(failed["text"].as_str().unwrap().contains("on purpose"), "{failed}");
        let missing = caller.call(callee, "nosuch", json!([])).await.unwrap_err();
        assert_eq!(missing["type"], "MethodNotFound", "{missing}");
    }

    let client = platform.server.administrator().await;
    let name = platform.name(&client).await;
    for agent in ["eleven", "ten"] {
        let answer = client.post(&format!("/vui/platforms/{name}/agents/{agent}/rpc/echo"), &json!([7, "é"])).await.expect(200).json();
        assert_eq!(answer, json!({"args": [7, "é"], "kwargs": {}}), "{agent}");
    }
    assert_eq!(ten.python.event("called", |_| true).await["kwargs"], json!({}));
}

#[tokio::test]
async fn a_method_guarded_by_a_python_agent_opens_with_the_capability() {
    let platform = Platform::start().await;
    let ten = platform.agent(Installed::Ten, "ten", &[]).await;
    let mut poor = platform.agent(Installed::Eleven, "poor", &[]).await;
    let mut rich = platform.peer_with("rich", 9, &json!({"compat_capability": null})).await;
    let refused = poor.call("ten", "guarded", json!([5])).await.unwrap_err();
    assert_eq!(refused["type"], "RemoteError", "{refused}");
    assert!(refused["text"].as_str().unwrap().contains("compat_capability"), "{refused}");
    assert_eq!(rich.call("ten", "guarded", json!([5])).await["result"], 5);
    drop(ten);
}

#[tokio::test]
async fn an_agent_of_9_that_tells_what_its_methods_need_is_answered_while_it_waits() {
    let platform = Platform::start().await;
    let mut agent = platform.peer("guard", 9).await;
    // The real one asks a second after its start, and gives up after 4.
    let told = agent.call("platform.auth", "update_id_rpc_authorizations", json!(["guard", {"guarded": ["a_capability"]}]));
    let told = tokio::time::timeout(Duration::from_secs(4), told).await.expect("an answer within 4 s");
    assert_eq!(told["result"], json!({"guarded": ["a_capability"]}), "{told}");
}

#[tokio::test]
async fn the_log_file_is_read_in_pieces_by_those_who_may_control_agents() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("platform.txt").display().to_string();
    let platform = Platform::with(vt_testkit::TestServer::builder().argument("--log").argument(&log)).await;
    let mut stranger = platform.peer("stranger", 11).await;
    for (method, args) in [("list_logs", json!([])), ("read_log", json!(["platform.txt"]))] {
        let refused = stranger.call("platform.control", method, args).await;
        assert!(refused["error"].to_string().contains("requires capabilities {'control_agents'}"), "{refused}");
    }
    let mut reader = platform.peer_with("reader", 11, &json!({"control_agents": null})).await;
    let listed = reader.call("platform.control", "list_logs", json!([])).await["result"].clone();
    let file = &listed["logs"][0];
    assert_eq!((&file["name"], &file["is_active"], &listed["retention"]), (&json!("platform.txt"), &json!(true), &Value::Null), "{listed}");
    let read = json!({"do": "call", "peer": "platform.control", "method": "read_log", "kwargs": {"log_id": file["id"], "offset": 0, "max_bytes": 300}});
    let read = reader.run(read).await;
    let piece = reader.response(&read).await["result"].clone();
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = piece["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert!(!lines.is_empty() && text.starts_with(&lines.join("\n")), "{piece}");
    assert_eq!((&piece["file_id"], &piece["has_older"]), (&file["file_id"], &json!(false)), "{piece}");
    let missing = reader.call("platform.control", "read_log", json!(["../config"])).await;
    assert!(missing["error"].to_string().contains("Log not found: ../config"), "{missing}");
}
