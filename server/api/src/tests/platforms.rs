//! Other platforms over REST, and how this one is found by others.

use serde_json::{Value, json};
use vt_services::bench::{Bench, answering_platform, link, until};
use vt_services::{Admission, PeerAuthConfig};

use super::{Api, P, send};

const KEY: &str = "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM";

fn reachable(address: &str) -> Bench {
    Bench { vip_addresses: vec!["ipc://@x".to_owned(), address.to_owned()], ..Bench::default() }
}

#[tokio::test]
async fn checklist_74_discovery_tells_three_keys_to_everybody_and_no_other() {
    let api = Api::over(&reachable("tcp://10.0.0.7:22916")).await;
    let key = api.running.peer_auth.server_pair().await.unwrap().public.to_string();
    for path in ["/discovery/", "/discovery"] {
        let told = api.anonymous("GET", path, &[], None).await.expect(200);
        assert_eq!(told.json(), json!({"serverkey": key, "vip-address": "tcp://10.0.0.7:22916", "instance-name": "harbor1"}));
        assert_eq!(told.header("content-type"), "application/json");
    }
    let api = Api::start().await;
    assert_eq!(api.anonymous("GET", "/discovery/", &[], None).await.expect(200).json(), json!({"instance-name": "harbor1"}));
}

#[tokio::test]
async fn a_platform_that_listens_everywhere_is_found_where_it_was_asked() {
    for (bound, host, told) in [
        ("tcp://0.0.0.0:22916", "harbor.example:8443", "tcp://harbor.example:22916"),
        ("tcp://[::]:22916", "[fd00::7]:8443", "tcp://[fd00::7]:22916"),
        ("tcp://0.0.0.0:22916", "not a host", "tcp://0.0.0.0:22916"),
    ] {
        let api = Api::over(&reachable(bound)).await;
        let answer = api.anonymous("GET", "/discovery/", &[("host", host)], None).await.expect(200).json();
        assert_eq!(answer["vip-address"], told);
    }
}

#[tokio::test]
async fn a_central_server_is_let_in_by_an_administrator_or_in_setup_mode_and_by_nobody_else() {
    let api = Api::start().await;
    let call = |params: Value| json!({"jsonrpc": "2.0", "id": "1", "method": "allowvc", "params": params}).to_string();
    let json = [("content-type", "application/json")];
    api.anonymous("POST", "/discovery/allow", &json, Some(&call(json!([KEY])))).await.expect(401);
    let viewer = format!("Bearer {}", api.token_of("kiosk", &["vui"]).await);
    send(&api.router, "POST", "/discovery/allow", &[("authorization", &viewer)], Some(call(json!([KEY]))), None).await.expect(401);
    assert!(!api.running.knock(1, "10.0.0.1", "volttron.central").await);
    for params in [json!([KEY]), json!({"vcpublickey": KEY})] {
        let answer = api.send("POST", "/discovery/allow", &json, Some(call(params))).await.expect(200).json();
        assert_eq!(answer, json!({"jsonrpc": "2.0", "result": "Added", "id": "1"}));
    }
    let entry = api.get(&format!("{P}/auths/volttron.central")).await.expect(200).json();
    assert_eq!((&entry["credentials"], &entry["identity"]), (&json!(KEY), &json!("volttron.central")));
    for (body, code) in [(call(json!(["short"])), -32602), (call(json!({})), -32602), (json!({"method": "x", "id": 1}).to_string(), -32601)]
    {
        assert_eq!(api.send("POST", "/discovery/allow", &json, Some(body)).await.expect(200).json()["error"]["code"], code);
    }
    api.get("/discovery/allow").await.expect(405);

    let mut bench = Bench::default();
    bench.peer_auth_config = PeerAuthConfig { admission: Admission::Setup, ..bench.peer_auth_config };
    let api = Api::over(&bench).await;
    api.anonymous("POST", "/discovery/allow", &json, Some(&call(json!([KEY])))).await.expect(200);
    assert_eq!(api.running.peer_auth.records().allow.iter().filter(|entry| entry.user_id == "volttron.central").count(), 1);
}

#[tokio::test]
async fn other_platforms_are_listed_after_this_one_and_answer_from_what_they_told() {
    let bench = Bench::default();
    let api = Api::over(&bench).await;
    let links = answering_platform("p2", "control");
    links.set(link("gone", false, 0));
    api.running.instances.attach(links.clone());
    until(async || api.running.instances.by_name("p2")?.told).await;
    links.set(link("p2", false, 1));
    bench.clock.advance(chrono::Duration::seconds(90));

    assert_eq!(api.get("/vui/platforms").await.expect(200).links(), ["harbor1", "gone", "p2"]);
    assert_eq!(api.get("/vui/platforms/p2").await.expect(200).links(), ["agents", "health", "link", "status"]);
    let at = |rest: &str| format!("/vui/platforms/p2/{rest}");
    let agents = api.get(&at("agents")).await.expect(200);
    assert_eq!((agents.links(), agents.header("age")), (vec!["listener".to_owned()], "90"));
    assert_eq!(api.get(&at("agents?agent-state=installed")).await.links(), ["idle", "listener"]);
    let status = api.get(&at("agents/listener/status")).await.expect(200).json();
    assert_eq!(
        (&status["running"], &status["pid"], &status["uuid"], &status["enabled"]),
        (&json!(true), &json!(42), &json!("u1"), &json!(true))
    );
    assert_eq!(api.get(&at("status")).await.expect(200).json()["idle"]["exit_code"], 1);
    assert_eq!(api.get(&at("health")).await.expect(200).json()["listener"]["status"], "BAD");
    assert_eq!(api.get(&at("agents/listener/running")).await.expect(200).json()["running"], true);
    assert_eq!(api.get(&at("agents/listener/tag")).await.expect(200).json(), json!({"tag": "l"}));
    assert_eq!(api.get(&at("agents/listener/enabled")).await.expect(200).json(), json!({"status": true, "priority": 50}));
    assert!(api.get(&at("agents/listener")).await.expect(200).links().contains(&"rpc".to_owned()));
    api.get(&at("agents/nobody/status")).await.expect(400);
    api.get(&at("devices")).await.expect(501);
    api.get("/vui/platforms/nope").await.expect(400);
    assert!(api.get("/vui/platforms/gone/agents").await.expect(503).error().contains("connection refused"));
    let told = api.get("/vui/platforms/gone/link").await.expect(200).json();
    assert_eq!((&told["connected"], &told["problem"], &told["told"]), (&json!(false), &json!("connection refused"), &Value::Null));

    let metrics = api.get("/metrics").await.expect(200).text();
    for line in [
        r#"volttron_platform_link_up{platform="gone"} 0"#,
        r#"volttron_platform_link_connects_total{platform="p2"} 1"#,
        r#"volttron_platform_agents_running{platform="p2"} 1"#,
        r#"volttron_platform_told_age_seconds{platform="p2"} 90"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[tokio::test]
async fn agents_of_other_platforms_are_called_and_stopped_by_administrators_alone() {
    let api = Api::start().await;
    let links = answering_platform("p2", "control");
    links.answer("p2", "listener", "inspect", Ok(json!({"methods": ["ping"]})));
    links.answer("p2", "listener", "ping", Ok(json!("pong")));
    api.running.instances.attach(links.clone());
    until(async || api.running.instances.by_name("p2")?.told).await;
    let at = |rest: &str| format!("/vui/platforms/p2/agents/listener/{rest}");
    assert_eq!(api.get(&at("rpc")).await.expect(200).links(), ["ping"]);
    assert_eq!(api.post(&at("rpc/ping"), json!([1])).await.expect(200).json(), json!("pong"));
    api.put(&at("running"), json!(null)).await.expect(400);
    api.delete(&at("running")).await.expect(204);
    assert!(links.calls().iter().any(|(_, peer, method)| (peer.as_str(), method.as_str()) == ("control", "stop_agent")));
    let viewer = format!("Bearer {}", api.token_of("kiosk", &["vui"]).await);
    for (method, path) in [("POST", at("rpc/ping")), ("DELETE", at("running"))] {
        api.send(method, &path, &[("authorization", &viewer)], None).await.expect(403);
    }
    api.get(&at("configs")).await.expect(501);
}

#[tokio::test]
async fn how_setting_up_goes_is_for_administrators() {
    let api = Api::start().await;
    api.running.instances.set_introductions(&["https://other:8443".to_owned()]);
    api.running.instances.note_introduction("https://other:8443", Err("it cannot be reached".to_owned()));
    api.running.instances.set_problems(vec!["the file is broken".to_owned()]);
    let told = api.get("/vui/introductions").await.expect(200).json();
    assert_eq!(told["introductions"][0]["problem"], "it cannot be reached");
    assert_eq!((&told["setup_mode"], &told["problems"]), (&json!(false), &json!(["the file is broken"])));
    let viewer = format!("Bearer {}", api.token_of("kiosk", &["vui"]).await);
    api.send("GET", "/vui/introductions", &[("authorization", &viewer)], None).await.expect(403);
}
