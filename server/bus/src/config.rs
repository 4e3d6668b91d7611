//! Bounds of the bus.

/// How much the bus holds. All bounds are per peer unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Publications waiting for a subscriber. When full, further ones are lost for that subscriber and counted.
    pub publications_max: usize,
    /// Calls waiting for a callee. When full, the caller gets `Busy` at once.
    pub calls_max: usize,
    /// Bytes waiting in each of these queues, as far as they came from another process or are arguments of calls. When reached, it is full.
    pub queued_bytes_max: usize,
    /// Prefixes that one peer may subscribe to. When reached, subscribing fails.
    pub subscriptions_max: usize,
    /// Peers of the whole bus. When reached, connecting fails.
    pub peers_max: usize,
    /// Connect and disconnect events kept for a slow observer, of the whole bus. An observer that falls behind is told so and reads the
    /// peer list again.
    pub peer_events_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            publications_max: 8192,
            calls_max: 1024,
            queued_bytes_max: 64 << 20,
            subscriptions_max: 10_000,
            peers_max: 20_000,
            peer_events_max: 1024,
        }
    }
}
