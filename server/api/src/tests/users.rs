//! Web users and the audit log over REST.

use serde_json::json;

use super::{Api, P};

const USERS: &str = "/vui/platforms/harbor1/auths/users";

#[tokio::test]
async fn users_are_made_changed_and_removed_by_administrators() {
    let api = Api::start().await;
    let created = api.post(USERS, json!({"name": "kim", "password": "s3cret-harbor", "groups": ["vui"]})).await.expect(201);
    assert_eq!(created.header("location"), format!("{USERS}/kim"));
    assert_eq!(api.get(USERS).await.expect(200).links(), ["dana", "kim"]);
    let kim = format!("{USERS}/kim");
    assert_eq!(api.get(&kim).await.expect(200).text(), r#"{"name":"kim","groups":["vui"]}"#);
    api.post(USERS, json!({"name": "kim", "password": "s3cret-harbor"})).await.expect(409);
    api.post(USERS, json!({"name": "lee"})).await.expect(400);
    api.post(USERS, json!({"name": "lee", "password": 5})).await.expect(400);
    api.put(&kim, json!({"groups": ["vui", "admin"]})).await.expect(204);
    assert_eq!(api.get(&kim).await.json()["groups"], json!(["vui", "admin"]));
    api.put(&kim, json!({"password": "another-s3cret"})).await.expect(204);
    api.put(&kim, json!({})).await.expect(400);
    let login = r#"{"username":"kim","password":"another-s3cret"}"#;
    api.anonymous("POST", "/authenticate", &[("content-type", "application/json")], Some(login)).await.expect(200);
    api.delete(&kim).await.expect(204);
    api.get(&kim).await.expect(404);
    api.delete(&kim).await.expect(404);
    api.delete(&format!("{USERS}/dana")).await.expect(409);
}

#[tokio::test]
async fn others_may_neither_see_nor_change_users_or_the_audit_log() {
    let api = Api::start().await;
    let bearer = format!("Bearer {}", api.token_of("kiosk", &["vui"]).await);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    for (method, path) in
        [("GET", USERS), ("POST", USERS), ("DELETE", &format!("{USERS}/dana")), ("GET", "/vui/audit"), ("GET", &format!("{P}/logs"))]
    {
        api.send(method, path, &headers, Some("{}".to_owned())).await.expect(403);
    }
}

#[tokio::test]
async fn the_audit_log_tells_who_did_what_without_secrets() {
    let api = Api::start().await;
    api.post(USERS, json!({"name": "kim", "password": "s3cret-harbor", "groups": ["vui"]})).await.expect(201);
    let all = api.get("/vui/audit?user=dana&limit=10").await.expect(200);
    assert!(!all.text().contains("s3cret"), "{}", all.text());
    let entries = all.json()["entries"].clone();
    assert!(entries.as_array().unwrap().iter().any(|entry| entry["target"] == "kim" && entry["success"] == true), "{entries}");
    api.get("/vui/audit?limit=many").await.expect(400);
}
