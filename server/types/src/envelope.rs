//! A VIP message between two peers of which the router knows only who sends it: it is passed on byte for byte.
//! Source: VOLTTRON `volttron/platform/vip/socket.py`, frames 2 to 5 and on.

use std::sync::Arc;

use bytes::Bytes;

use crate::Identity;

/// What one remote peer, or the router, sends to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Who sends, as authenticated by the router; `None` for the router itself.
    pub from: Option<Identity>,
    /// The sender's authenticated user id; recipients decide on rights by it.
    pub user_id: Arc<str>,
    /// The sender's message id, opaque, may be empty.
    pub message_id: Bytes,
    /// The protocol inside, such as `RPC` or `channel`.
    pub subsystem: Bytes,
    /// Its frames.
    pub args: Vec<Bytes>,
}
