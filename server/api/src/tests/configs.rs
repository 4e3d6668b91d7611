//! Entries of the configuration store over REST.

use serde_json::{Value, json};

use super::{Api, P, Reply};

fn configs(rest: &str) -> String {
    format!("{P}/agents/meter.poller/configs{rest}")
}

async fn put(api: &Api, name: &str, media: &str, body: &str) -> Reply {
    api.send("PUT", &configs(&format!("/{name}")), &[("content-type", media)], Some(body.to_owned())).await
}

#[tokio::test]
async fn an_entry_is_created_once_and_found_where_it_is_said_to_be() {
    let api = Api::start().await;
    let reply = api.post(&configs("?config-name=rates.json"), json!({"fast": 5, "slow": 60})).await.expect(201);
    assert_eq!((reply.header("location"), reply.body.len()), (configs("/rates.json").as_str(), 0));
    let text = api.get(&configs("/rates.json")).await.expect(200).json();
    assert_eq!(serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap(), json!({"fast": 5, "slow": 60}));
    let again = api.post(&configs("?config-name=rates.json"), json!({})).await.expect(409).json();
    assert_eq!(again["Error"], "Configuration: \"rates.json\" already exists for agent: \"meter.poller\"");
    assert_eq!(again["Error"], again["error"]);
    api.post(&configs("?file-name=other"), json!({})).await.expect(201);
    let missing = api.post(&configs(""), json!({})).await.expect(400).json();
    assert!(missing["Error"].is_string() && missing["error"].is_string());
}

#[tokio::test]
async fn texts_come_back_byte_for_byte() {
    let api = Api::start().await;
    let csv = "Point,Units\r\nTemp,\u{b0}C\r\n";
    put(&api, "registry/ahu.csv", "text/csv; charset=utf-8", csv).await.expect(204);
    put(&api, "notes", "text/plain", " any\n text ").await.expect(204);
    assert_eq!(api.get(&configs("/registry/ahu.csv")).await.expect(200).json(), csv);
    assert_eq!(api.get(&configs("/notes")).await.expect(200).json(), " any\n text ");
    let raw = api.get(&configs("/registry/ahu.csv?raw=true")).await.expect(200);
    assert_eq!((raw.text().as_str(), raw.header("content-type")), (csv, "text/csv; charset=utf-8"));
    assert_eq!(api.send("GET", &configs("/notes"), &[("accept", "text/plain")], None).await.expect(200).text(), " any\n text ");
    let parsed = api.get(&configs("/registry/ahu.csv?parsed=true")).await.expect(200).json();
    assert_eq!(parsed, json!([{"Point": "Temp", "Units": "\u{b0}C"}]));
}

#[tokio::test]
async fn types_and_texts_are_checked() {
    let api = Api::start().await;
    let reply = put(&api, "x", "application/xml", "<x/>").await.expect(400).json();
    assert_eq!(reply["Error"], "The configuration type can only be 'JSON', 'CSV' and 'RAW.'");
    let broken = put(&api, "x", "application/json", "{\n\"a\": }").await.expect(400).error();
    assert!(broken.contains("line 2"), "{broken}");
    api.get(&configs("/x")).await.expect(400);
    let huge = "x".repeat((16 << 20) + 1);
    put(&api, "x", "text/plain", &huge).await.expect(413);
}

#[tokio::test]
async fn entries_are_replaced_and_deleted() {
    let api = Api::start().await;
    put(&api, "a", "text/plain", "1").await.expect(204);
    put(&api, "a", "text/plain", "2").await.expect(204);
    assert_eq!(api.get(&configs("/a")).await.json(), "2");
    api.delete(&configs("/a")).await.expect(204);
    assert!(api.delete(&configs("/a")).await.expect(400).json()["Error"].is_string());
    api.get(&configs("/a")).await.expect(400);
    put(&api, "b", "text/plain", "1").await.expect(204);
    let stores = api.get(&format!("{P}/agents/-/configs")).await.expect(200).json();
    assert!(stores.as_array().unwrap().contains(&json!("meter.poller")), "{stores}");
    api.delete(&configs("")).await.expect(204);
    let stores = api.get(&format!("{P}/agents/-/configs")).await.expect(200).json();
    assert!(!stores.as_array().unwrap().contains(&json!("meter.poller")), "{stores}");
}

#[tokio::test]
async fn names_survive_the_way_through_a_link() {
    let api = Api::start().await;
    for name in ["devices/harbor/pier4/ahu2", "with blank", "a#b?c", "ümläut/ü", "100%", "<img src=x>"] {
        let created = api.post(&configs(&format!("?config-name={}", crate::query::encode(name))), json!({"name": name})).await.expect(201);
        let listed = api.get(&configs("")).await.expect(200).json();
        let link = listed["links"][name].as_str().unwrap_or_else(|| panic!("{name} is not in {listed}"));
        assert!(link.bytes().all(|b| b.is_ascii_graphic() && !b"<>#?\"".contains(&b)), "{link}");
        assert_eq!(created.header("location"), link);
        api.get(link).await.expect(200);
        api.delete(link).await.expect(204);
    }
    for name in ["", "../x", "a/../b", "a//b", "/a", "a/."] {
        api.post(&configs(&format!("?config-name={}", crate::query::encode(name))), json!({})).await.expect(400);
    }
}
