//! `GET P/statistics`: counters of the bus and of each peer, since the start or since the peer connected.
//! `{"bus": {"published", "delivered", "lost", "calls", "calls_failed", "peers", "uptime_s"}, "peers": [{"identity", "kind", "connected",
//! "published", "delivered", "lost", "queued", "queue_max", "subscriptions"}, ...]}`.

use serde_json::{Value, json};
use vt_types::timestamp;

use super::{Answer, Cx, ok_long};

/// The counters.
pub fn serve(cx: &Cx) -> Answer {
    cx.only_get()?;
    let bus = cx.services().bus_statistics();
    let peers: Vec<Value> = cx
        .services()
        .peers()
        .iter()
        .map(|peer| {
            json!({
                "identity": peer.identity,
                "kind": peer.kind,
                "connected": timestamp::format(peer.connected_at),
                "published": peer.published,
                "delivered": peer.delivered,
                "lost": peer.lost,
                "queued": peer.queued,
                "queue_max": peer.queue_max,
                "subscriptions": peer.subscriptions,
            })
        })
        .collect();
    let bus = json!({
        "published": bus.published,
        "delivered": bus.delivered,
        "lost": bus.lost,
        "calls": bus.calls,
        "calls_failed": bus.calls_failed,
        "peers": bus.peers,
        "uptime_s": bus.uptime_s,
    });
    Ok(ok_long(&json!({"bus": bus, "peers": peers})))
}
