//! What holds for every path below `/vui`.

use std::collections::{BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::{Api, P, install};

#[tokio::test]
async fn links_lead_down_from_the_root() {
    let api = Api::start().await;
    assert_eq!(api.get("/vui").await.expect(200).json()["links"], json!({"platforms": "/vui/platforms"}));
    assert_eq!(api.get("/vui/platforms").await.expect(200).json()["links"], json!({"harbor1": P}));
    assert_eq!(api.get(P).await.expect(200).links(), ["agents", "devices", "historians", "pubsub", "status"]);
}

#[tokio::test]
async fn every_link_can_be_followed() {
    let api = Api::start().await;
    install(&api, "runs", true).await;
    install(&api, "rests", false).await;
    let rows = json!([{"Volttron Point Name": "T", "Writable": "TRUE"}]);
    let device = json!({"driver_type": "fake", "registry_config": rows});
    api.put(&format!("{P}/agents/platform.driver/configs/devices/a%20b/c"), device).await.expect(204);
    let mut waiting = VecDeque::from(["/vui".to_owned(), format!("{P}/agents?agent-state=installed&include-hidden=1")]);
    let mut seen = BTreeSet::new();
    while let Some(path) = waiting.pop_front() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let reply = api.get(&path).await;
        let status = reply.status.as_u16();
        assert!(status < 500 && ![404, 405].contains(&status), "{path}: {status} {}", reply.text());
        if let Some(links) = reply.json()["links"].as_object() {
            waiting.extend(links.values().filter_map(Value::as_str).map(str::to_owned));
        }
    }
    for path in [format!("{P}/agents/runs/rpc/health.get_status"), format!("{P}/agents/rests/tag"), format!("{P}/devices/a%20b/c/T")] {
        assert!(seen.contains(&path), "the walk did not come to {path}: {seen:?}");
    }
}

#[tokio::test]
async fn a_slash_at_the_end_makes_no_difference() {
    let api = Api::start().await;
    install(&api, "a", true).await;
    for path in
        ["/vui", "/vui/platforms", P, &format!("{P}/agents"), &format!("{P}/agents/a"), &format!("{P}/status"), &format!("{P}/devices")]
    {
        assert_eq!(api.get(path).await.expect(200).body, api.get(&format!("{path}/")).await.expect(200).body, "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_501_and_say_which_there_are() {
    let api = Api::start().await;
    install(&api, "a", true).await;
    let paths = [
        "/vui".to_owned(),
        "/vui/platforms".to_owned(),
        "/vui/kinds".to_owned(),
        "/vui/audit".to_owned(),
        P.to_owned(),
        format!("{P}/agents"),
        format!("{P}/agents/a"),
        format!("{P}/agents/a/configs"),
        format!("{P}/agents/a/configs/x"),
        format!("{P}/agents/a/enabled"),
        format!("{P}/agents/a/running"),
        format!("{P}/agents/a/rpc"),
        format!("{P}/agents/a/rpc/x"),
        format!("{P}/agents/a/status"),
        format!("{P}/agents/a/tag"),
        format!("{P}/devices/x"),
        format!("{P}/historians"),
        format!("{P}/pubsub/x"),
        format!("{P}/status"),
        format!("{P}/auths/users"),
    ];
    for path in paths {
        let reply = api.send("PATCH", &path, &[], None).await.expect(501);
        assert_eq!(reply.error(), format!("Endpoint PATCH {path} is not implemented."));
        assert!(reply.header("allow").contains("GET"), "{path}");
        assert_eq!(reply.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn another_platform_is_unknown_everywhere() {
    let api = Api::start().await;
    for rest in [
        "",
        "/agents",
        "/agents/a",
        "/agents/a/status",
        "/agents/a/configs/x",
        "/devices/x",
        "/historians/h/topics",
        "/pubsub/x",
        "/status",
    ] {
        let reply = api.get(&format!("/vui/platforms/nope{rest}")).await.expect(400);
        assert_eq!(reply.json(), json!({"error": "Unknown platform: nope"}), "{rest}");
    }
}

#[tokio::test]
async fn unknown_paths_are_404_in_json() {
    let api = Api::start().await;
    for path in ["/vui/nothing", &format!("{P}/nothing"), &format!("{P}/agents/a/nothing")] {
        api.get(path).await.expect(404).error();
    }
    api.get("/vui/%ff").await.expect(400).error();
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let api = Api::start().await;
    let get = api.get("/vui/platforms").await.expect(200);
    let head = api.send("HEAD", "/vui/platforms", &[], None).await.expect(200);
    assert!(head.body.is_empty());
    assert_eq!(head.header("content-length"), get.body.len().to_string());
}

#[tokio::test]
async fn answers_are_guarded_and_named() {
    let api = Api::start().await;
    let reply = api.send("GET", "/vui", &[("x-request-id", "my-id.1")], None).await.expect(200);
    assert_eq!(reply.header("x-request-id"), "my-id.1");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert_eq!(reply.header("cache-control"), "no-store");
    let own = api.send("GET", "/vui", &[("x-request-id", "<img src=x>")], None).await;
    assert!(own.header("x-request-id").len() == 36, "{own:?}");
}

#[tokio::test]
async fn only_what_holds_no_secrets_is_compressed() {
    let api = Api::start().await;
    for number in 0..40 {
        install(&api, &format!("agent.number.{number}"), false).await;
    }
    let zip = [("accept-encoding", "gzip")];
    assert_eq!(api.send("GET", &format!("{P}/status"), &zip, None).await.expect(200).header("content-encoding"), "gzip");
    let config = format!("{P}/agents/a/configs/secret");
    api.put(&config, json!({"password": "x".repeat(4000)})).await.expect(204);
    assert_eq!(api.send("GET", &config, &zip, None).await.expect(200).header("content-encoding"), "");
}
