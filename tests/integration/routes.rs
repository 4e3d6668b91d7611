//! Every link that the REST interface gives leads somewhere: a walk from `/vui` over links and routes, and the statuses of what is not there.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use vt_testkit::{TestServer, eventually_async};

/// Bound of the walk; the demonstration building has a few hundred links.
const PAGES_MAX: usize = 4_000;

#[tokio::test]
async fn every_link_leads_somewhere() {
    let server = TestServer::demo().await;
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    eventually_async("the building is there", Duration::from_secs(30), async || crate::demonstration::writable(&client, &platform).await)
        .await;

    let mut waiting =
        VecDeque::from(["/vui".to_owned(), format!("/vui/platforms/{platform}/agents?agent-state=installed&include-hidden=true")]);
    let mut seen: BTreeSet<String> = waiting.iter().cloned().collect();
    let mut wrong = Vec::new();
    while let Some(path) = waiting.pop_front() {
        let answer = client.get(&path).await;
        if [404, 405, 501].contains(&answer.status) || answer.status >= 500 {
            wrong.push(format!("{} {path}: {}", answer.status, answer.text));
            continue;
        }
        let Ok(body) = serde_json::from_str::<Value>(&answer.text) else { continue };
        if !body["links"].is_null() {
            assert_eq!(body["links"], body["route_options"], "{path}");
        }
        let mut found = Vec::new();
        links(&body, &mut found);
        for link in found {
            if seen.len() < PAGES_MAX && seen.insert(link.clone()) {
                waiting.push_back(link);
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} links lead nowhere:\n{}", wrong.len(), seen.len(), wrong.join("\n"));
    assert!(seen.len() > 50, "the walk found only {seen:?}");
    for part in ["/rpc/", "/configs/", "/running", "/devices/", "/historians/platform.historian/topics/", "/pubsub"] {
        assert!(seen.iter().any(|path| path.contains(part)), "the walk did not come to {part}");
    }
}

#[tokio::test]
async fn a_slash_at_the_end_changes_nothing() {
    let server = TestServer::demo().await;
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    for path in ["/vui", "/vui/platforms", &format!("/vui/platforms/{platform}"), &format!("/vui/platforms/{platform}/agents")] {
        let plain = client.get(path).await.expect(200);
        assert_eq!(client.get(&format!("{path}/")).await.expect(200).json(), plain.json(), "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_400_and_other_verbs_are_501() {
    let server = TestServer::demo().await;
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    let p = format!("/vui/platforms/{platform}");
    for path in [
        "/vui/platforms/nope".to_owned(),
        "/vui/platforms/nope/agents".to_owned(),
        format!("{p}/agents?agent-state=asleep"),
        format!("{p}/agents/nope/running"),
        format!("{p}/agents/nope/status"),
        format!("{p}/agents/nope/tag"),
        format!("{p}/agents/nope/enabled"),
        format!("{p}/agents/platform.driver/rpc/no_such_method"),
        format!("{p}/agents/platform.driver/configs/no/such/entry"),
        format!("{p}/devices/no/such/device"),
        format!("{p}/historians/platform.historian/topics/no/such/topic"),
        format!("{p}/historians/platform.historian/topics?read-all=true&count=many"),
    ] {
        let answer = client.get(&path).await;
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        let body = answer.json();
        assert!(body["error"].is_string() || body["Error"].is_string(), "{path}: {body}");
    }
    for path in ["/vui".to_owned(), p.clone(), format!("{p}/agents")] {
        let answer = client.send(client.request(Method::PATCH, &path)).await;
        assert_eq!(answer.status, 501, "{path}: {answer:?}");
        assert!(!answer.header("allow").is_empty(), "{path}: {answer:?}");
    }
    assert_eq!(client.get("/no/such/page").await.status, 404);
}

#[tokio::test]
async fn an_agent_goes_through_its_life_over_rest() {
    let server = TestServer::demo().await;
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    let agent = format!("/vui/platforms/{platform}/agents/platform.actuator");
    let running = async || client.get(&format!("{agent}/running")).await.expect(200).json()["running"] == json!(true);

    client.delete(&format!("{agent}/running")).await.expect(204);
    assert!(!running().await);
    client.delete(&format!("{agent}/running")).await.expect(204);
    client.put(&format!("{agent}/running"), &json!({})).await.expect(204);
    assert!(running().await);
    let again = client.put(&format!("{agent}/running"), &json!({})).await.expect(400);
    assert!(again.text.contains("already running"), "{again:?}");
    client.put(&format!("{agent}/running?restart=true"), &json!({})).await.expect(204);
    assert!(running().await);

    client.put(&format!("{agent}/tag"), &json!({"tag": "locks"})).await.expect(204);
    assert_eq!(client.get(&format!("{agent}/tag")).await.expect(200).json(), json!({"tag": "locks"}));
    client.delete(&format!("{agent}/tag")).await.expect(204);
    client.put(&format!("{agent}/enabled?priority=7"), &json!({})).await.expect(204);
    let enabled = client.get(&format!("{agent}/enabled")).await.expect(200).json();
    assert_eq!((enabled["status"].clone(), enabled["priority"].to_string().replace('"', "")), (json!(true), "7".to_owned()));
    client.put(&format!("{agent}/enabled?priority=100"), &json!({})).await.expect(400);
    client.delete(&format!("{agent}/enabled")).await.expect(204);
    assert_eq!(client.get(&format!("{agent}/enabled")).await.expect(200).json()["status"], json!(false));

    let ping = client.post(&format!("{agent}/rpc/health.get_status"), &json!([])).await.expect(200);
    assert!(ping.text.contains("GOOD"), "{ping:?}");
    let inspected = client.get(&format!("{agent}/rpc/request_new_schedule")).await.expect(200).json();
    assert!(inspected["params"].is_object(), "{inspected}");
    client.post(&format!("{agent}/rpc/health.get_status"), &json!("neither list nor object")).await.expect(400);
}

#[tokio::test]
async fn configurations_are_stored_as_they_were_sent() {
    let server = TestServer::start().await;
    let client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    let configs = format!("/vui/platforms/{platform}/agents/some.agent/configs");
    let created = client.post(&format!("{configs}?config-name=rates.json"), &json!({"fast": 5, "slow": 60})).await.expect(201);
    assert!(created.header("location").ends_with("/configs/rates.json"), "{created:?}");
    client.post(&format!("{configs}?config-name=rates.json"), &json!({})).await.expect(409);
    let stored = client.get(&format!("{configs}/rates.json")).await.expect(200).json();
    assert_eq!(serde_json::from_str::<Value>(stored.as_str().unwrap()).unwrap(), json!({"fast": 5, "slow": 60}));

    let csv = "Point Name,Units\r\nTemp,\u{b0}C\r\n";
    let request =
        client.request(Method::PUT, &format!("{configs}/registry_configs/ahu.csv")).header("content-type", "text/csv; charset=utf-8");
    client.send(request.body(csv)).await.expect(204);
    assert!(client.get(&format!("{configs}/registry_configs/ahu.csv")).await.expect(200).json().as_str().unwrap().contains("\u{b0}C"));
    let request = client.request(Method::PUT, &format!("{configs}/x")).header("content-type", "application/x-else");
    client.send(request.body("x")).await.expect(400);

    let stores = client.get(&format!("/vui/platforms/{platform}/agents/-/configs")).await.expect(200).json();
    assert!(stores.as_array().unwrap().contains(&json!("some.agent")), "{stores}");
    client.delete(&format!("{configs}/rates.json")).await.expect(204);
    client.get(&format!("{configs}/rates.json")).await.expect(400);
    client.delete(&configs).await.expect(204);
    let stores = client.get(&format!("/vui/platforms/{platform}/agents/-/configs")).await.expect(200).json();
    assert!(!stores.as_array().unwrap().contains(&json!("some.agent")), "{stores}");
}

/// Every text in the body that is a path of the interface, at any depth.
fn links(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) if text.starts_with("/vui") && !text.contains('{') => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| links(item, into)),
        Value::Object(entries) => entries.values().for_each(|entry| links(entry, into)),
        _ => {}
    }
}
