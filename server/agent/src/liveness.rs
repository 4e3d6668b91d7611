//! How a supervisor sees from outside that an agent hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::time::Instant;

/// Signs of life of one agent. Shared between the agent's runtime, which gives them, and the supervisor, which reads them.
#[derive(Debug, Clone)]
pub struct Liveness(Arc<Signs>);

#[derive(Debug)]
struct Signs {
    started: Instant,
    /// Milliseconds after `started` of the last tick of the agent's runtime.
    ticked_ms: AtomicU64,
    /// Milliseconds after `started` + 1 since when the agent has been busy with an event; 0 while it waits for one.
    busy_since_ms: AtomicU64,
}

impl Liveness {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Signs { started: Instant::now(), ticked_ms: AtomicU64::new(0), busy_since_ms: AtomicU64::new(1) }))
    }

    /// How long the agent's runtime has not run any task, in milliseconds. More than a few seconds: something blocks its thread.
    #[must_use]
    pub fn silent_ms(&self) -> u64 {
        self.now_ms().saturating_sub(self.0.ticked_ms.load(Relaxed))
    }

    /// How long the agent has been busy without asking for its next event, in milliseconds; 0 while it waits for one.
    #[must_use]
    pub fn busy_ms(&self) -> u64 {
        match self.0.busy_since_ms.load(Relaxed) {
            0 => 0,
            since => self.now_ms().saturating_sub(since - 1),
        }
    }

    pub(crate) fn tick(&self) {
        self.0.ticked_ms.store(self.now_ms(), Relaxed);
    }

    pub(crate) fn waiting(&self) {
        self.0.busy_since_ms.store(0, Relaxed);
    }

    pub(crate) fn busy(&self) {
        self.0.busy_since_ms.store(self.now_ms() + 1, Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
