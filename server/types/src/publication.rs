//! One published message, as every subscriber sees it.

use std::sync::Arc;

use serde_json::Value;

use crate::{Headers, Identity, Topic};

/// A message on the bus. Shared, never copied, between subscribers.
///
/// Shape on the wire: topic frame, then `{"sender", "bus", "headers", "message"}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// Who published, as authenticated by the router.
    pub sender: Identity,
    /// Where.
    pub topic: Topic,
    /// Headers as the publisher set them.
    pub headers: Headers,
    /// Body, any JSON. Behind an `Arc` so that a body can be republished without copying it.
    pub message: Arc<Value>,
}
