//! One published message, as every subscriber sees it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::lazy::{Body, Lazy};
use crate::{Headers, Identity, Topic};

/// A message on the bus. Shared, never copied, between subscribers.
///
/// Shape on the wire: topic frame, then `{"sender", "bus", "headers", "message"}`.
#[derive(Debug)]
pub struct Publication {
    /// Who published, as authenticated by the router; on another platform if `is_external`.
    pub sender: Identity,
    /// Where.
    pub topic: Topic,
    /// The named bus, or `None` for the default one, on which nearly everything happens.
    pub bus: Option<Arc<str>>,
    /// Headers as the publisher set them.
    pub headers: Lazy<Headers>,
    /// Body, any JSON.
    pub message: Body,
    /// Whether it came from another platform; it is not passed on to a further one.
    pub is_external: bool,
    encoded: OnceLock<Bytes>,
}

impl Publication {
    /// A message on the default bus of this platform.
    #[must_use]
    pub fn new(sender: Identity, topic: Topic, headers: impl Into<Lazy<Headers>>, message: impl Into<Body>) -> Self {
        Self { sender, topic, bus: None, headers: headers.into(), message: message.into(), is_external: false, encoded: OnceLock::new() }
    }

    /// The same on a named bus; the empty name is the default bus.
    #[must_use]
    pub fn on_bus(mut self, bus: &str) -> Self {
        self.bus = (!bus.is_empty()).then(|| Arc::from(bus));
        self
    }

    /// The same, come from another platform.
    #[must_use]
    pub fn from_outside(mut self) -> Self {
        self.is_external = true;
        self
    }

    /// The encoded form, made by `encode` once for all subscribers on one wire format.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.encoded.get_or_init(|| encode(self)).clone()
    }
}
