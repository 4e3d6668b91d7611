//! Peers from outside over REST: entries, decisions, roles and groups, server keys.

use serde_json::json;

use super::{Api, P};

const KEY: &str = "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM";

fn at(path: &str) -> String {
    format!("{P}/{path}")
}

#[tokio::test]
async fn entries_are_made_read_changed_and_removed() {
    let api = Api::start().await;
    let created = api.post(&at("auths"), json!({"credentials": KEY, "user_id": "u/1", "capabilities": ["c"]})).await.expect(201);
    assert_eq!(created.header("location"), at("auths/u/1"));
    api.post(&at("auths"), json!({"credentials": KEY, "user_id": "u/1"})).await.expect(409);
    let wrong = api.post(&at("auths"), json!({"credentials": "short"})).await.expect(400);
    assert!(wrong.error().contains("Invalid CURVE public key short"), "{}", wrong.error());
    assert!(api.get(&at("auths")).await.expect(200).links().contains(&"u/1".to_owned()));
    let records = api.get(&at("auths?records=true")).await.expect(200).json();
    assert!(records.as_array().unwrap().iter().any(|record| record["user_id"] == "u/1" && record["capabilities"] == json!({"c": null})));
    api.put(&at("auths/u/1"), json!({"credentials": KEY, "comments": "changed"})).await.expect(204);
    let record = api.get(&at("auths/u/1")).await.expect(200).json();
    assert_eq!((&record["comments"], &record["capabilities"]), (&json!("changed"), &json!({})));
    assert_eq!(api.get(&at("auths/u%2F1/publickeys")).await.expect(200).json(), json!({"u/1": KEY}));
    assert!(api.get(&at("auths/-/publickeys")).await.expect(200).json()["platform"].is_string());
    api.get(&at("auths/nobody/publickeys")).await.expect(404);
    api.delete(&at("auths/u/1")).await.expect(204);
    api.get(&at("auths/u/1")).await.expect(404);
    api.delete(&at("auths/u/1")).await.expect(404);
    api.put(&at("auths/nobody"), json!({"credentials": KEY})).await.expect(404);
}

#[tokio::test]
async fn a_waiting_peer_is_approved_denied_and_forgotten() {
    let api = Api::start().await;
    assert!(!api.running.knock(7, "192.0.2.7", "forwarder").await);
    let pending = api.get(&at("auths/pending")).await.expect(200).json();
    let user_id = pending[0]["user_id"].as_str().unwrap().to_owned();
    assert_eq!((&pending[0]["identity"], &pending[0]["retries"]), (&json!("forwarder"), &json!(1)));
    api.put(&at(&format!("auths/approved/{user_id}")), json!({})).await.expect(204);
    assert!(api.running.knock(7, "192.0.2.7", "forwarder").await);
    api.put(&at(&format!("auths/denied/{user_id}")), json!({})).await.expect(204);
    assert!(!api.running.knock(7, "192.0.2.7", "forwarder").await);
    let denied = api.get(&at("auths/denied")).await.expect(200).json();
    assert_eq!((&denied[0]["user_id"], &denied[0]["retries"]), (&json!(user_id), &json!(1)));
    api.delete(&at(&format!("auths/denied/{user_id}"))).await.expect(204);
    api.put(&at(&format!("auths/approved/{user_id}")), json!({})).await.expect(404);
    api.put(&at(&format!("auths/pending/{user_id}")), json!({})).await.expect(501);
    assert!(api.get(&at("auths/approved")).await.expect(200).json().as_array().unwrap().iter().any(|entry| entry["user_id"] == "platform"));
}

#[tokio::test]
async fn roles_and_groups_are_made_changed_and_removed() {
    let api = Api::start().await;
    api.post(&at("roles"), json!({"role_name": "r", "capabilities": ["c", {"d": {"a": "1"}}]})).await.expect(201);
    api.post(&at("roles"), json!({"role_name": "r", "capabilities": []})).await.expect(409);
    api.post(&at("roles"), json!({"role_name": "s", "capabilities": 5})).await.expect(400);
    api.post(&at("roles"), json!({"capabilities": []})).await.expect(400);
    assert_eq!(api.get(&at("roles/r")).await.expect(200).json(), json!({"role_name": "r", "capabilities": {"c": null, "d": {"a": "1"}}}));
    api.put(&at("groups/g"), json!({"roles": ["r"]})).await.expect(204);
    api.put(&at("groups/g"), json!({"roles": "r"})).await.expect(400);
    assert_eq!(api.get(&at("groups/g")).await.expect(200).json(), json!({"group_name": "g", "roles": ["r"]}));
    assert_eq!(api.get(&at("groups")).await.expect(200).links(), ["g"]);
    for path in ["groups/g", "roles/r"] {
        api.delete(&at(path)).await.expect(204);
        api.delete(&at(path)).await.expect(404);
        api.get(&at(path)).await.expect(404);
    }
}

#[tokio::test]
async fn server_keys_are_known_by_address_and_port() {
    let api = Api::start().await;
    assert_eq!(api.get(&at("known-hosts")).await.expect(200).links(), ["@", "127.0.0.1-22916"]);
    let created = api.post(&at("known-hosts"), json!({"address": "north.example.org", "port": 22916, "key": KEY})).await.expect(201);
    assert_eq!(created.header("location"), at("known-hosts/north.example.org-22916"));
    let shown = api.get(&at("known-hosts/north.example.org-22916")).await.expect(200).json();
    assert_eq!(shown, json!({"address": "north.example.org", "port": 22916, "key": KEY}));
    assert_eq!(api.get(&at("known-hosts/@")).await.expect(200).json()["address"], "@");
    for body in [json!({"address": "a", "key": KEY}), json!({"address": "a b", "port": 1, "key": KEY}), json!({"address": "a", "port": 1})]
    {
        api.post(&at("known-hosts"), body).await.expect(400);
    }
    api.delete(&at("known-hosts/north.example.org-22916")).await.expect(204);
    api.delete(&at("known-hosts/north.example.org-22916")).await.expect(404);
}

#[tokio::test]
async fn only_administrators_see_and_change_peers() {
    let api = Api::start().await;
    let bearer = format!("Bearer {}", api.token_of("kiosk", &["vui"]).await);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    for path in [
        "auths",
        "auths/platform",
        "auths/pending",
        "auths/denied/x",
        "auths/-/publickeys",
        "groups",
        "groups/g",
        "roles",
        "roles/r",
        "known-hosts",
        "known-hosts/@",
    ] {
        for method in ["GET", "PUT", "DELETE", "POST"] {
            let status = api.send(method, &at(path), &headers, Some("{}".to_owned())).await.status.as_u16();
            assert_eq!(status, 403, "{method} {path}");
        }
    }
}
