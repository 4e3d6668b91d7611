//! What a peer wants to hear.

use std::sync::Arc;

use vt_types::TopicPrefix;

/// One subscription. A peer may have the same prefix both for this platform and for all; it gets each message once all the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscription {
    /// Start of the topics.
    pub prefix: TopicPrefix,
    /// The named bus, or `None` for the default one.
    pub bus: Option<Arc<str>>,
    /// Whether messages of other platforms are wanted too.
    pub all_platforms: bool,
}

impl Subscription {
    /// Messages of this platform on the default bus.
    #[must_use]
    pub fn local(prefix: TopicPrefix) -> Self {
        Self { prefix, bus: None, all_platforms: false }
    }

    /// The same on a named bus; the empty name is the default bus.
    #[must_use]
    pub fn on_bus(mut self, bus: &str) -> Self {
        self.bus = (!bus.is_empty()).then(|| Arc::from(bus));
        self
    }

    /// The same, from all platforms.
    #[must_use]
    pub fn from_all_platforms(mut self) -> Self {
        self.all_platforms = true;
        self
    }

    /// The one that differs in reach alone.
    pub(crate) fn twin(&self) -> Self {
        Self { all_platforms: !self.all_platforms, ..self.clone() }
    }
}
