//! Counters of the bus and of each peer. All count since the start of the bus, or since the peer connected.

use std::sync::Arc;

use vt_types::Identity;
use vt_types::timestamp::Timestamp;

use crate::{PeerKind, Subscription};

/// Counters of the whole bus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BusStatistics {
    /// Publications accepted.
    pub published: u64,
    /// Copies handed to subscribers.
    pub delivered: u64,
    /// Copies lost because a subscriber's queue was full.
    pub lost: u64,
    /// Calls handed to callees.
    pub calls: u64,
    /// Calls not handed over: unknown peer, refused, busy.
    pub calls_failed: u64,
    /// Peers connected now.
    pub peers: u64,
}

/// What is known of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its identity.
    pub identity: Identity,
    /// What sort of peer it is.
    pub kind: PeerKind,
    /// Its authenticated user id.
    pub user_id: Arc<str>,
    /// Whether it is in another process.
    pub is_remote: bool,
    /// When it connected.
    pub connected_at: Timestamp,
    /// Publications it sent.
    pub published: u64,
    /// Publications handed to it.
    pub delivered: u64,
    /// Publications it lost because its queue was full.
    pub lost: u64,
    /// Publications waiting in its queue now.
    pub queued: usize,
    /// Bound of that queue.
    pub queue_max: usize,
    /// What it is subscribed to.
    pub subscriptions: Vec<Subscription>,
}
