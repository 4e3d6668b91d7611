//! Peers that do not keep to anything.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vt_transport_zmq::{Config, DealerEvent, KeyPair};
use vt_types::{Headers, Topic};
use vt_vip::Message;

use crate::bench::{Site, id, text, until};

async fn raw(site: &Site) -> TcpStream {
    TcpStream::connect(site.address.strip_prefix("tcp://").unwrap()).await.unwrap()
}

/// Until the other side closes; what it said before does not matter.
async fn closed(stream: &mut TcpStream) {
    let mut sink = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut sink)).await;
    // A reset ends it as well as an end of file.
    drop(ended.expect("closed in time"));
}

#[tokio::test]
async fn garbage_instead_of_a_greeting_ends_that_connection_alone() {
    let site = Site::new();
    let mut alice = site.peer("alice").await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 100], &[0xff; 4096]] {
        let mut stream = raw(&site).await;
        stream.write_all(garbage).await.unwrap();
        closed(&mut stream).await;
    }
    assert_eq!(text(&alice.ask(b"ping", vec![]).await.args), ["pong"]);
}

#[tokio::test]
async fn an_unproven_peer_cannot_make_the_router_hold_much() {
    let site = Site::new();
    let mut stream = raw(&site).await;
    let mut greeting = vec![0_u8; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..17].copy_from_slice(b"CURVE");
    stream.write_all(&greeting).await.unwrap();
    // A command that claims 200 KiB, dribbled.
    stream.write_all(&[0x06, 0, 0, 0, 0, 0, 3, 0x20, 0]).await.unwrap();
    let mut sent = 0;
    while sent < 64 << 10 {
        match stream.write(&[0; 1024]).await {
            Ok(count) if count > 0 => sent += count,
            _ => break,
        }
    }
    closed(&mut stream).await;
    until("the failure", || site.statistics.failed.load(Relaxed) > 0).await;
}

#[tokio::test]
async fn frames_that_are_no_message_are_dropped_and_too_large_ones_end_the_connection() {
    let config = Config { keys: Some(KeyPair::throw_away()), message_bytes_max: 100_000, ..Config::default() };
    let site = Site::with(config, vt_bus::Config::default());
    let mut alice = site.peer("alice").await;
    let many = vec![Bytes::from_static(b"x"); 1100];
    alice.send(Message::new("", "1", b"ping", many)).await;
    assert_eq!(text(&alice.ask(b"ping", vec![]).await.args), ["pong"]);
    assert_eq!(site.statistics.malformed.load(Relaxed), 1);
    alice.send(Message::new("", "1", b"ping", vec![Bytes::from(vec![0; 200_000])])).await;
    loop {
        if let DealerEvent::Disconnected(_) = alice.event().await {
            break;
        }
    }
}

#[tokio::test]
async fn a_peer_that_never_reads_loses_alone_and_callers_of_it_are_told() {
    let config = Config { keys: Some(KeyPair::throw_away()), queue_max: 10, backlog_bytes_max: 1000, ..Config::default() };
    let site = Site::with(config, vt_bus::Config::default());
    let (local, _inbox) = site.local("platform.driver");
    let mut quick = site.peer("quick").await;
    let mut slow = site.peer("slow").await;
    slow.subscribe("t").await;
    quick.subscribe("t").await;
    let topic = Topic::parse("t").unwrap();
    let body = serde_json::json!("x".repeat(100_000));
    let lost = |name: &str| site.bus.peer_infos().iter().find(|info| info.identity.as_str() == name).map_or(0, |info| info.lost);
    // `slow` takes nothing out of its own queue here: its dealer fills up, then its socket, then its place in the router.
    let mut read = 0;
    while lost("slow") == 0 {
        local.publish(&topic, Headers::new(), body.clone()).unwrap();
        assert_eq!(quick.message().await.args[0], "publish");
        read += 1;
        assert!(read < 10_000, "the queue of the slow peer has no end");
    }
    assert_eq!(lost("quick"), 0);
    let mut busy = None;
    while busy.is_none() {
        quick.send(Message::new("slow", "1", b"channel", vec![Bytes::from(vec![0; 1000])])).await;
        busy = tokio::time::timeout(Duration::from_millis(20), quick.message()).await.ok();
    }
    assert_eq!(text(&busy.unwrap().args), ["11", "Resource temporarily unavailable", "slow", "channel"]);
    assert!(site.bus.is_connected(&id("slow")));
}
