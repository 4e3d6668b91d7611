//! The life of real agents at the platform: connected, heard, healthy, alarming, gone; in the pages' and REST's eyes as well.

use serde_json::{Value, json};
use vt_testkit::eventually_async;

use crate::platform::Platform;
use crate::python::{Installed, PATIENCE};

const BOTH: [(Installed, &str); 2] = [(Installed::Eleven, "eleven"), (Installed::Ten, "ten")];

#[tokio::test]
async fn a_started_agent_is_a_peer_with_a_heartbeat_like_any_other() {
    let platform = Platform::start().await;
    let client = platform.server.administrator().await;
    let name = platform.name(&client).await;
    let mut watcher = platform.peer("watcher", 9).await;
    watcher.subscribe("heartbeat/").await;
    for (installed, identity) in BOTH {
        let mut agent = platform.agent(installed, identity, &["--heartbeat", "1"]).await;
        let topic = format!("heartbeat/{identity}");
        let beat = watcher.hears(&topic).await;
        let body: Value = serde_json::from_str(beat[7].as_str().unwrap()).unwrap();
        assert_eq!((&body["message"], &body["sender"]), (&json!("GOOD"), &json!(identity)), "{body}");
        assert!(body["headers"]["TimeStamp"].as_str().unwrap().ends_with("+00:00"), "{body}");
        watcher.hears(&topic).await;

        let peers = agent.python.ask(&json!({"do": "peerlist"})).await.unwrap();
        for peer in [identity, "platform.auth", "watcher"] {
            assert!(peers.as_array().unwrap().contains(&json!(peer)), "{peers}");
        }
        assert_eq!(agent.python.ask(&json!({"do": "ping", "peer": "watcher"})).await.unwrap(), json!(["watcher"]));
        assert_eq!(agent.python.ask(&json!({"do": "query", "key": "instance-name"})).await.unwrap(), json!(name));
        let hello = agent.python.ask(&json!({"do": "hello"})).await.unwrap();
        assert_eq!(hello[2], json!(identity), "{hello}");

        let health = agent.call("platform.health", "get_platform_health", json!([])).await.unwrap();
        let own = &health[identity];
        assert_eq!((&own["peer"], &own["message"], &own["service_agent"]), (&json!(identity), &json!("GOOD"), &json!(false)), "{health}");
        for time in ["connected", "last_heartbeat"] {
            let text = own[time].as_str().unwrap();
            assert!(text.len() == 26 && !text.contains('+'), "naive local time: {own}");
        }
        let health = client.get(&format!("/vui/platforms/{name}/health")).await.expect(200).json();
        assert_eq!((&health[identity]["status"], &health[identity]["service_agent"]), (&json!("GOOD"), &json!(false)), "{health}");
        agent.python.end().await;
        platform.peer_is_listed(identity, false).await;
    }
}

#[tokio::test]
async fn a_changed_status_is_seen_at_once_and_an_alert_is_kept() {
    let platform = Platform::start().await;
    let client = platform.server.administrator().await;
    let name = platform.name(&client).await;
    let mut watcher = platform.peer("watcher", 9).await;
    watcher.subscribe("alerts").await;
    for (installed, identity) in BOTH {
        // A period so long that only the change can be the reason of the second beat.
        let mut agent = platform.agent(installed, identity, &["--heartbeat", "3600"]).await;
        let status = async |status: &str| {
            eventually_async(&format!("{identity} is {status}"), PATIENCE, async || {
                let health = client.get(&format!("/vui/platforms/{name}/health")).await.expect(200).json();
                (health[identity]["status"] == status).then_some(())
            })
            .await;
        };
        status("GOOD").await;
        agent.python.ask(&json!({"do": "health", "status": "BAD", "context": "é is wrong"})).await.unwrap();
        status("BAD").await;
        let own = client.get(&format!("/vui/platforms/{name}/agents/{identity}/health")).await.expect(200).json();
        assert_eq!((&own["status"], &own["context"]), (&json!("BAD"), &json!("é is wrong")), "{own}");

        let key = format!("key of {identity}");
        let alert = json!({"do": "alert", "key": key, "status": "BAD", "context": "it burns"});
        agent.python.ask(&alert).await.unwrap();
        let topic = format!("alerts/CompatAgent/{}", format!("{name}.{identity}").replace('.', "_"));
        let heard = watcher.hears(&topic).await;
        let body: Value = serde_json::from_str(heard[7].as_str().unwrap()).unwrap();
        assert_eq!(body["headers"]["alert_key"], json!(key), "{body}");
        let told: Value = serde_json::from_str(body["message"].as_str().unwrap()).unwrap();
        assert_eq!((&told["status"], &told["context"]), (&json!("BAD"), &json!("it burns")), "{body}");
        let kept = eventually_async("the alert is kept", PATIENCE, async || {
            let alerts = client.get("/vui/alerts").await.expect(200).json();
            alerts["alerts"].as_array()?.iter().find(|alert| alert["key"] == json!(key)).cloned()
        })
        .await;
        assert_eq!(kept["status"], "BAD", "{kept}");
        assert!(kept.to_string().contains("it burns"), "{kept}");
    }
}

#[tokio::test]
async fn the_platform_sets_and_reads_an_agents_health_and_heartbeat_by_call() {
    let platform = Platform::start().await;
    let mut caller = platform.peer("caller", 9).await;
    for (installed, identity) in BOTH {
        let _agent = platform.agent(installed, identity, &[]).await;
        let set = caller.call(identity, "health.set_status", json!(["BAD", "because"])).await;
        assert!(set["error"].is_null(), "{set}");
        let status = caller.call(identity, "health.get_status", json!([])).await["result"].clone();
        assert_eq!((&status["status"], &status["context"]), (&json!("BAD"), &json!("because")), "{status}");
        caller.subscribe(&format!("heartbeat/{identity}")).await;
        caller.call(identity, "heartbeat.start_with_period", json!([1])).await;
        caller.hears(&format!("heartbeat/{identity}")).await;
        // Modular 11 exports it and fails in it.
        if installed == Installed::Ten {
            assert_eq!(caller.call(identity, "agent.version", json!([])).await["result"], "0.1");
        }
    }
}
