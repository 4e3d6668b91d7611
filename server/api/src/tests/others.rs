//! Statistics and alerts.

use serde_json::json;

use super::{Api, P};

#[tokio::test]
async fn counters_of_the_bus_and_its_peers() {
    let api = Api::start().await;
    api.put(&format!("{P}/pubsub/x"), json!({"message": 1})).await.expect(200);
    let counters = api.get(&format!("{P}/statistics")).await.expect(200).json();
    assert!(counters["bus"]["published"].as_u64().unwrap() >= 1, "{counters}");
    assert!(
        counters["peers"].as_array().unwrap().iter().any(|peer| peer["identity"] == "platform_web" && peer["published"].as_u64() > Some(0))
    );
}

#[tokio::test]
async fn alerts_are_listed() {
    let api = Api::start().await;
    assert_eq!(api.get("/vui/alerts?limit=5").await.expect(200).json(), json!({"alerts": []}));
    api.get("/vui/alerts?limit=x").await.expect(400);
}
