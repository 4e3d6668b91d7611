//! Byte pipes between a service in this process and a peer (vip-zmq.md §4.7).

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use vt_backends::channels::CHANNEL_MESSAGES_MAX;
use vt_backends::{Channel, ChannelError, Channels};
use vt_transport_zmq::{Config, KeyPair};
use vt_vip::Message;

use crate::bench::{Peer, Site, id, request, text};

fn piece(to: &str, name: &str, data: impl Into<Bytes>) -> Message {
    Message::new(
        Bytes::copy_from_slice(to.as_bytes()),
        Bytes::new(),
        b"channel",
        vec![Bytes::copy_from_slice(name.as_bytes()), data.into()],
    )
}

async fn open(site: &Site, peer: &str, name: &str) -> Result<Box<dyn Channel>, ChannelError> {
    site.channels.open(&id("control"), &id(peer), name).await
}

async fn received(channel: &mut Box<dyn Channel>) -> Result<Vec<Vec<u8>>, ChannelError> {
    tokio::time::timeout(Duration::from_secs(10), channel.receive()).await.expect("something in time")
}

/// Everything that the peer sent has been taken once the router has answered this.
async fn settled(peer: &mut Peer) {
    assert_eq!(text(&peer.ask(b"ping", vec![]).await.args), ["pong"]);
}

#[tokio::test]
async fn bytes_go_both_ways_under_the_name_that_both_know() {
    let site = Site::new();
    let _control = site.local("control");
    let mut vctl = site.peer("vctl").await;
    let mut channel = open(&site, "vctl", "a\nb").await.unwrap();
    channel.send(vec![b"fetch".to_vec(), b"\x00\xff".to_vec()]).await.unwrap();
    let asked = vctl.message().await;
    assert_eq!((&asked.peer[..], &asked.subsystem[..]), (&b"control"[..], &b"channel"[..]));
    assert_eq!(asked.args, [&b"a\nb"[..], b"fetch", b"\x00\xff"]);
    vctl.send(piece("control", "a\nb", &b"\x00\x01\x80"[..])).await;
    assert_eq!(received(&mut channel).await.unwrap(), [b"\x00\x01\x80".to_vec()]);
    assert_eq!(open(&site, "vctl", "a\nb").await.err(), Some(ChannelError::InUse { peer: id("vctl"), name: "a\nb".into() }));
    drop(channel);
    let mut again = open(&site, "vctl", "a\nb").await.unwrap();
    vctl.send(piece("control", "a\nb", "x")).await;
    assert_eq!(received(&mut again).await.unwrap(), [b"x".to_vec()], "a closed channel left nothing in the way");
}

#[tokio::test]
async fn a_peer_hears_the_name_by_which_it_called() {
    let site = Site::new();
    let (_control, mut inbox) = site.local("control");
    tokio::spawn(async move {
        while let Some(call) = inbox.calls().recv().await {
            if let Some(reply) = call.reply {
                reply.send(Ok(json!(null)));
            }
        }
    });
    let mut vctl = site.peer("vctl").await;
    for name in ["platform.control", "control"] {
        vctl.call(name, &request("install_agent", &json!([]))).await.unwrap();
        let mut channel = open(&site, "vctl", "agent_sender").await.unwrap();
        channel.send(vec![b"[\"checksum\"]".to_vec()]).await.unwrap();
        assert_eq!(vctl.message().await.peer, name);
        vctl.send(piece(name, "agent_sender", "digest")).await;
        assert_eq!(received(&mut channel).await.unwrap(), [b"digest".to_vec()]);
    }
}

#[tokio::test]
async fn what_belongs_to_no_open_channel_is_dropped_without_an_answer() {
    let site = Site::new();
    let _control = site.local("control");
    let _other = site.local("config.store");
    let mut vctl = site.peer("vctl").await;
    let mut mallory = site.peer("mallory").await;
    let mut channel = open(&site, "vctl", "c").await.unwrap();
    mallory.send(piece("control", "c", "forged")).await;
    settled(&mut mallory).await;
    vctl.send(piece("control", "other", "wrong name")).await;
    vctl.send(piece("config.store", "c", "wrong service")).await;
    vctl.send(Message::new("control", "", b"channel", vec![])).await;
    vctl.send(Message::new("control", "", b"channel", vec![Bytes::from_static(b"\xff\xfe"), Bytes::new()])).await;
    vctl.send(piece("control", "c", "right")).await;
    settled(&mut vctl).await;
    assert_eq!(received(&mut channel).await.unwrap(), [b"right".to_vec()]);
    let nobody = open(&site, "nobody", "c").await;
    assert_eq!(nobody.err(), Some(ChannelError::NoPeer(id("nobody"))));
    assert_eq!(site.channels.open(&id("control"), &id("config.store"), "c").await.err(), Some(ChannelError::NoPeer(id("config.store"))));
}

#[tokio::test]
async fn a_peer_that_goes_ends_its_channels_and_one_that_comes_back_begins_anew() {
    let site = Site::new();
    let _control = site.local("control");
    let keys = KeyPair::throw_away();
    site.keys.add(keys.public, "vctl");
    let mut vctl = site.dealer("vctl", keys.clone());
    vctl.greet().await;
    let mut channel = open(&site, "vctl", "c").await.unwrap();
    let waiting = tokio::spawn(async move { (received(&mut channel).await, channel) });
    // The same key takes the identity over while the first connection still stands.
    let mut second = site.dealer("vctl", keys);
    second.greet().await;
    let (result, mut channel) = waiting.await.unwrap();
    assert_eq!(result, Err(ChannelError::Gone(id("vctl"))));
    assert_eq!(channel.send(vec![]).await, Err(ChannelError::Gone(id("vctl"))));
    let mut new = open(&site, "vctl", "c").await.unwrap();
    // The end of the old channel and of the old connection do not touch the new ones.
    drop(channel);
    drop(vctl);
    second.send(piece("control", "c", "new")).await;
    assert_eq!(received(&mut new).await.unwrap(), [b"new".to_vec()]);
    drop(second);
    assert_eq!(received(&mut new).await, Err(ChannelError::Gone(id("vctl"))));
    assert_eq!(open(&site, "vctl", "d").await.err(), Some(ChannelError::NoPeer(id("vctl"))));
}

#[tokio::test]
async fn what_waits_in_a_channel_is_bounded_in_messages_and_in_bytes() {
    // Without keys, since a build for tests takes its time to encrypt megabytes.
    let site = Site::with(Config::default(), vt_bus::Config::default());
    let _control = site.local("control");
    let mut vctl = site.peer("vctl").await;
    let mut channel = open(&site, "vctl", "c").await.unwrap();
    for number in 0..CHANNEL_MESSAGES_MAX + 5 {
        vctl.send(piece("control", "c", number.to_string())).await;
    }
    settled(&mut vctl).await;
    for number in 0..CHANNEL_MESSAGES_MAX {
        assert_eq!(received(&mut channel).await.unwrap(), [number.to_string().into_bytes()]);
    }
    let large = Bytes::from(vec![7; 3 << 20]);
    for _ in 0..3 {
        vctl.send(piece("control", "c", large.clone())).await;
    }
    vctl.send(piece("control", "c", "small")).await;
    settled(&mut vctl).await;
    assert_eq!(received(&mut channel).await.unwrap()[0].len(), 3 << 20, "only the first fits");
    assert_eq!(received(&mut channel).await.unwrap(), [b"small".to_vec()]);
    vctl.send(piece("control", "c", large)).await;
    assert_eq!(received(&mut channel).await.unwrap()[0].len(), 3 << 20, "what was taken makes room");
}
