//! The services together: who is on the bus, and that nobody stays behind.

use vt_bus::{Bus, PeerKind};

use super::*;
use crate::InstallRequest;
use crate::bench::Bench;

#[tokio::test]
async fn every_service_is_a_peer_and_leaves_when_closed() {
    let bench = Bench::default();
    let running = bench.start().await;
    let peers: Vec<_> = running.peers().into_iter().map(|peer| (peer.identity.to_string(), peer.kind)).collect();
    let expected = [
        ("config.store", "service"),
        ("control", "service"),
        ("control.local", "tool"),
        ("platform.auth", "service"),
        ("platform.health", "service"),
        ("platform_web", "service"),
    ];
    assert_eq!(peers, expected.map(|(identity, kind)| (identity.to_owned(), kind)));
    let bus = running.bus.clone();
    bench.clock.advance(chrono::Duration::seconds(90));
    let statistics = running.bus_statistics();
    assert_eq!((statistics.peers, statistics.uptime_s), (6, 90));
    drop(running);
    assert!(bus.peers().is_empty());
}

#[tokio::test]
async fn what_a_slow_agent_lost_is_shown_with_the_agent_and_its_peer() {
    let running = Bench::default().start().await;
    let request = InstallRequest {
        kind: "listener".to_owned(),
        identity: Some("slow".to_owned()),
        tag: None,
        priority: None,
        config: None,
        force: false,
    };
    let slow = running.agents.install(&crate::bench::admin(), request).await.unwrap();
    // It is there and never reads.
    let (handle, _mailbox) = running.bus.connect_with_queue(slow.identity.clone(), PeerKind::Agent, 3).unwrap();
    handle.subscribe(&TopicPrefix::parse("x").unwrap()).unwrap();
    let (publisher, _events) = running.agent("quick", vt_agent::MethodTable::new());
    for _ in 0..10 {
        publisher.publish(&vt_types::Topic::parse("x").unwrap(), vt_types::Headers::new(), serde_json::Value::Null).unwrap();
    }
    assert_eq!(running.bus_statistics().lost, 7);
    let peer = running.peers().into_iter().find(|peer| peer.identity == slow.identity).unwrap();
    assert_eq!((peer.delivered, peer.lost, peer.queued, peer.queue_max), (3, 7, 3, 3));
    assert_eq!(running.agents.by_identity("slow").unwrap().lost, 7);
    assert_eq!(running.agents.list()[0].lost, 7);
}

#[tokio::test]
async fn a_start_that_fails_leaves_nobody_on_the_bus() {
    let bench = Bench::default();
    let bus = Bus::new(vt_bus::Config::default(), bench.clock.clone());
    let _somebody = bus.connect(Identity::known(known::CONTROL), PeerKind::Service).unwrap();
    assert!(matches!(bench.try_start(&bus).await, Err(StartError::Connect(_))));
    assert_eq!(bus.peers(), [Identity::known(known::CONTROL)]);
    let weak = Bench { signing: crate::SigningKey::Hs256(b"short".to_vec()), ..Bench::default() };
    let bus = Bus::new(vt_bus::Config::default(), bench.clock.clone());
    assert!(matches!(weak.try_start(&bus).await, Err(StartError::SigningKey(_))));
    assert!(bus.peers().is_empty());
}

#[tokio::test]
async fn an_audit_log_that_cannot_be_written_does_not_lose_the_operation() {
    let bench = Bench::default();
    let running = bench.start().await;
    bench.audit.set_failing(true);
    let identity = Identity::known("listener");
    running.configs.set(&crate::bench::vui(), &identity, "a", crate::ConfigType::Raw, "x").await.unwrap();
    assert!(running.configs.get(&identity, "a").is_some());
}
