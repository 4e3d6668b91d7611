//! `/healthz`, `/readyz`, `/metrics`.

use std::net::SocketAddr;

use serde_json::json;

use vt_services::bench::{MethodTable, until};
use vt_types::StatusWord;

use super::{Api, P, install, send};
use crate::{ApiState, ProcessUse};

#[tokio::test]
async fn alive_and_ready() {
    let api = Api::start().await;
    assert_eq!(api.anonymous("GET", "/healthz", &[], None).await.expect(200).json(), json!({"status": "ok"}));
    assert_eq!(api.anonymous("GET", "/readyz", &[], None).await.expect(200).json(), json!({"status": "ready"}));
    api.running.bus.disconnect(&"config.store".parse().unwrap());
    let reply = api.anonymous("GET", "/readyz", &[], None).await.expect(503).json();
    assert!(reply["reasons"][0].as_str().unwrap().contains("config.store"), "{reply}");
    api.anonymous("GET", "/healthz", &[], None).await.expect(200);
}

#[tokio::test]
async fn metrics_are_for_this_machine_or_for_a_token() {
    let api = Api::start().await;
    let state = ApiState::new(api.running.services.clone())
        .with_metrics_token("collector".to_owned())
        .with_process(|| ProcessUse { resident_bytes: 7, ..ProcessUse::default() });
    let router = crate::router(state);
    let here: SocketAddr = "127.0.0.1:5".parse().unwrap();
    let there: SocketAddr = "192.0.2.1:5".parse().unwrap();
    let get = async |headers: &[(&str, &str)], from| send(&router, "GET", "/metrics", headers, None, from).await;
    get(&[], Some(here)).await.expect(200);
    get(&[], None).await.expect(401);
    get(&[], Some(there)).await.expect(401);
    get(&[("x-forwarded-for", "192.0.2.1")], Some(here)).await.expect(401);
    get(&[("authorization", "Bearer collecto")], Some(there)).await.expect(401);
    get(&[("authorization", &format!("Bearer {}", api.token))], Some(there)).await.expect(200);
    let text = get(&[("authorization", "Bearer collector")], Some(there)).await.expect(200).text();
    assert!(text.contains("process_resident_memory_bytes 7\n"), "{text}");
}

#[tokio::test]
async fn metrics_count_bus_agents_and_requests() {
    let api = Api::start().await;
    install(&api, "a", true).await;
    api.get("/vui").await.expect(200);
    api.get(&format!("{P}/agents/%3Cx%3E/status")).await.expect(400);
    let text = api.get("/metrics").await.expect(200).text();
    for line in [
        r#"volttron_agents{state="running"} 1"#,
        r#"volttron_peer_lost_total{identity="platform_web"} 0"#,
        r#"volttron_http_requests_total{route="/vui",method="GET",status="200"} 1"#,
        r#"volttron_http_requests_total{route="/vui/platforms/{p}/agents/{a}/status",method="GET",status="400"} 1"#,
        "volttron_live_sessions 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("<x>"));
}

#[tokio::test]
async fn metrics_tell_backlog_lag_and_losses_of_agents_that_keep_something() {
    let api = Api::start().await;
    let (forwarder, _events) = api.running.agent("forward.historian", MethodTable::new());
    let (historian, _more) = api.running.agent("platform.historian", MethodTable::new());
    forwarder
        .set_status(StatusWord::Bad, json!({"publishing": false, "cache_count": 7, "lag_s": 1.5, "sent": 9, "lost": 2, "reason": "x"}));
    historian.set_status(StatusWord::Good, json!({"publishing": true, "cache_count": 3, "publications_lost": 4}));
    let wanted = [
        r#"volttron_agent_publishing{identity="forward.historian"} 0"#,
        r#"volttron_agent_publishing{identity="platform.historian"} 1"#,
        r#"volttron_agent_backlog{identity="forward.historian"} 7"#,
        r#"volttron_agent_backlog{identity="platform.historian"} 3"#,
        r#"volttron_agent_lag_seconds{identity="forward.historian"} 1.5"#,
        r#"volttron_agent_sent_total{identity="forward.historian"} 9"#,
        r#"volttron_agent_lost_total{identity="forward.historian"} 2"#,
        r#"volttron_agent_lost_total{identity="platform.historian"} 4"#,
    ];
    until(async || {
        let text = api.get("/metrics").await.expect(200).text();
        wanted.iter().all(|line| text.lines().any(|found| found == *line)).then_some(())
    })
    .await;
}
