//! One viewer: what it wants, a bounded queue of what it gets, and the stream from which its connection takes it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use vt_backends::AlertRecord;
use vt_types::TopicPrefix;

use super::{Inner, LiveEvent};
use crate::{AgentEvent, ServiceError};

/// Subscriptions of one viewer.
pub const SUBSCRIPTIONS_MAX: usize = 256;

/// What a viewer gets.
#[derive(Debug, Clone)]
pub enum LiveFrame {
    /// A message that matches a subscription.
    Event {
        /// Name of the subscription.
        sub: Arc<str>,
        /// The message.
        event: Arc<LiveEvent>,
    },
    /// The viewer was too slow.
    Lagged {
        /// So many of the oldest frames are gone.
        missed: u64,
    },
    /// The state of an agent changed.
    Agent(AgentEvent),
    /// An alert was raised.
    Alert(Arc<AlertRecord>),
}

/// The queue of a session, shared between the fan-out and the stream.
pub(super) struct SessionQueue {
    pub id: u64,
    /// Session of the web user; the viewer ends with it.
    pub auth_session: Option<String>,
    user: Arc<str>,
    queue_max: usize,
    state: Mutex<QueueState>,
    changed: Notify,
}

#[derive(Default)]
struct QueueState {
    /// Latest values, put here on subscribing; bounded by the number of topics kept, so that a replay never makes its viewer lag.
    replay: VecDeque<LiveFrame>,
    frames: VecDeque<LiveFrame>,
    missed: u64,
    closed: bool,
}

impl SessionQueue {
    pub(super) fn new(id: u64, user: &str, auth_session: Option<String>, queue_max: usize) -> Self {
        Self { id, auth_session, user: Arc::from(user), queue_max: queue_max.max(1), state: Mutex::default(), changed: Notify::new() }
    }

    /// Queues a frame; drops the oldest when full. Never waits.
    pub(super) fn push(&self, frame: LiveFrame) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        if state.frames.len() >= self.queue_max {
            state.frames.pop_front();
            state.missed += 1;
        }
        state.frames.push_back(frame);
        let first = state.frames.len() == 1;
        drop(state);
        if first {
            self.changed.notify_one();
        }
    }

    /// Queues latest values ahead of everything else. Beyond the bound the last ones are left out; they come with their next scrape.
    fn replay(&self, frames: impl Iterator<Item = LiveFrame>) {
        let mut state = self.state.lock();
        state.replay.extend(frames);
        state.replay.truncate(super::latest::TOPICS_MAX);
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.frames.clear();
        state.replay.clear();
        drop(state);
        self.changed.notify_one();
    }

    /// The next frame: `None` when there is none now, `Some(None)` when the session ended.
    #[expect(clippy::option_option, reason = "nothing now and nothing ever again are different answers")]
    fn take(&self) -> Option<Option<LiveFrame>> {
        let mut state = self.state.lock();
        if state.closed {
            return Some(None);
        }
        if let Some(frame) = state.replay.pop_front() {
            return Some(Some(frame));
        }
        if state.missed > 0 {
            return Some(Some(LiveFrame::Lagged { missed: std::mem::take(&mut state.missed) }));
        }
        state.frames.pop_front().map(Some)
    }
}

/// What a viewer wants. Dropping it ends all its subscriptions and its stream.
pub struct LiveSession {
    inner: Arc<Inner>,
    queue: Arc<SessionQueue>,
    subscriptions: Mutex<Subscriptions>,
}

#[derive(Default)]
struct Subscriptions {
    last: u64,
    prefixes: HashMap<Arc<str>, TopicPrefix>,
}

impl LiveSession {
    pub(super) fn new(inner: Arc<Inner>, queue: Arc<SessionQueue>) -> Self {
        Self { inner, queue, subscriptions: Mutex::default() }
    }

    /// Subscribes to all topics that start with `prefix` and gives the subscription's name. With `replay`, the latest message of each
    /// device below it comes first.
    ///
    /// # Errors
    /// `Invalid` for what is no prefix, `Forbidden` by policy, `Conflict` at the bound of [`SUBSCRIPTIONS_MAX`].
    pub fn subscribe(&self, prefix: &str, replay: bool) -> Result<String, ServiceError> {
        let prefix = TopicPrefix::parse(prefix).map_err(|error| ServiceError::Invalid(error.to_string()))?;
        let mut subscriptions = self.subscriptions.lock();
        if subscriptions.prefixes.len() >= SUBSCRIPTIONS_MAX {
            return Err(ServiceError::Conflict(format!(
                "One connection may have at most {SUBSCRIPTIONS_MAX} subscriptions; end one first."
            )));
        }
        let name: Arc<str> = Arc::from(format!("s{}", subscriptions.last + 1));
        self.inner.subscribe(&self.queue, &self.queue.user, &prefix, &name, |latest| {
            if replay {
                self.queue.replay(
                    latest.with_prefix(prefix.as_str()).into_iter().map(|event| LiveFrame::Event { sub: Arc::clone(&name), event }),
                );
            }
        })?;
        subscriptions.last += 1;
        subscriptions.prefixes.insert(Arc::clone(&name), prefix);
        Ok(name.to_string())
    }

    /// Ends a subscription; says whether there was one of that name.
    pub fn unsubscribe(&self, sub: &str) -> bool {
        let mut subscriptions = self.subscriptions.lock();
        let Some((name, prefix)) = subscriptions.prefixes.remove_entry(sub) else { return false };
        self.inner.unsubscribe(&self.queue, &prefix, &name);
        true
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        for (name, prefix) in std::mem::take(&mut self.subscriptions.get_mut().prefixes) {
            self.inner.unsubscribe(&self.queue, &prefix, &name);
        }
        self.inner.forget(&self.queue);
        self.queue.close();
    }
}

/// The frames of one viewer.
pub struct LiveStream {
    queue: Arc<SessionQueue>,
}

impl LiveStream {
    pub(super) fn new(queue: Arc<SessionQueue>) -> Self {
        Self { queue }
    }

    /// The next frame; `None` when the session ended. Cancel safe.
    pub async fn next(&mut self) -> Option<LiveFrame> {
        loop {
            if let Some(frame) = self.queue.take() {
                return frame;
            }
            self.queue.changed.notified().await;
        }
    }

    /// A frame that waits already, so that several can go out in one write.
    pub fn try_next(&mut self) -> Option<LiveFrame> {
        self.queue.take().flatten()
    }
}
