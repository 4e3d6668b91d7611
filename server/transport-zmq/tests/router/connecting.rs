//! Who gets in, and who keeps an identity.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use vt_transport_zmq::{Config, DealerEvent, KeyPair};
use vt_vip::{Message, router};

use crate::bench::{Site, id, text, until};

#[tokio::test]
async fn an_unknown_key_waits_unanswered_and_is_served_once_it_is_approved() {
    let site = Site::new();
    let keys = KeyPair::throw_away();
    let mut peer = site.dealer("newcomer", keys.clone());
    peer.send(router::hello("h")).await;
    until("the attempt", || !site.keys.pending.lock().is_empty()).await;
    assert!(tokio::time::timeout(Duration::from_millis(200), peer.dealer.next()).await.is_err(), "no answer, and no end either");
    let attempt = site.keys.pending.lock()[0].clone();
    assert_eq!((attempt.address.as_str(), attempt.identity), ("127.0.0.1", id("newcomer")));
    site.keys.add(keys.public, "newcomer");
    assert_eq!(peer.message().await.args[0], "welcome");
}

#[tokio::test]
async fn a_key_that_is_taken_back_ends_its_connection() {
    let site = Site::new();
    let keys = KeyPair::throw_away();
    site.keys.add(keys.public, "alice");
    let mut alice = site.dealer("alice", keys.clone());
    alice.greet().await;
    let mut bob = site.peer("bob").await;
    site.keys.remove(keys.public);
    assert!(matches!(alice.event().await, DealerEvent::Message(_)), "bob came");
    assert!(matches!(alice.event().await, DealerEvent::Disconnected(_)));
    assert_eq!(text(&bob.ask(b"ping", vec![]).await.args), ["pong"], "others stay");
    assert!(!site.bus.is_connected(&id("alice")));
}

#[tokio::test]
async fn the_same_key_takes_its_identity_over_and_another_key_does_not() {
    let site = Site::new();
    let keys = KeyPair::throw_away();
    site.keys.add(keys.public, "alice");
    let mut first = site.dealer("alice", keys.clone());
    first.greet().await;
    let mut second = site.dealer("alice", keys);
    second.greet().await;
    let bob = site.peer("bob").await;
    bob.send(Message::new("alice", "1", b"channel", vec!["x".into()])).await;
    assert_eq!(second.message().await.peer, "bob");

    let other = KeyPair::throw_away();
    site.keys.add(other.public, "mallory");
    let mut thief = site.dealer("alice", other);
    thief.send(router::hello("h")).await;
    assert!(matches!(thief.event().await, DealerEvent::Connected));
    bob.send(Message::new("alice", "2", b"channel", vec!["x".into()])).await;
    assert_eq!(second.message().await.id, "2", "the holder keeps working");
    assert!(tokio::time::timeout(Duration::from_millis(200), thief.dealer.next()).await.is_err(), "the other is heard by nobody");
    drop(second);
    until("the holder is gone", || !site.bus.is_connected(&id("alice"))).await;
    thief.send(router::hello("again")).await;
    assert_eq!(thief.message().await.id, "again", "a free identity may be had");
}

#[tokio::test]
async fn a_peer_that_lost_its_connection_comes_back_by_itself() {
    let site = Site::new();
    let mut alice = site.peer("alice").await;
    site.bus.disconnect(&id("alice"));
    until("off the bus", || !site.bus.is_connected(&id("alice"))).await;
    assert_eq!(text(&alice.ask(b"ping", vec![]).await.args), ["pong"]);
    assert!(site.bus.is_connected(&id("alice")));
}

#[tokio::test]
async fn without_keys_peers_come_in_by_name() {
    let site = Site::with(Config::default(), vt_bus::Config::default());
    let mut peer = site.dealer("alice", KeyPair::throw_away());
    peer.greet().await;
    assert_eq!(text(&peer.ask(b"ping", vec![]).await.args), ["pong"]);
    site.close().await;
}

#[tokio::test]
async fn an_endpoint_that_is_full_of_strangers_still_lets_a_known_peer_in() {
    let config = Config { keys: Some(KeyPair::throw_away()), unproven_max: 4, ..Config::default() };
    let site = Site::with(config, vt_bus::Config::default());
    let strangers: Vec<_> = (0..8).map(|n| site.dealer(&format!("stranger{n}"), KeyPair::throw_away())).collect();
    until("strangers", || site.keys.pending.lock().len() >= 4).await;
    let mut alice = site.peer("alice").await;
    assert_eq!(text(&alice.ask(b"ping", vec![Bytes::from("ping")]).await.args), ["pong"]);
    assert!(site.statistics.evicted.load(Relaxed) > 0);
    drop(strangers);
}
