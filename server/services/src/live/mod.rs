//! What happens now, for people who watch: one peer of the bus (`platform_web`) that hears for all viewers, keeps the latest values of
//! devices, and hands each message to whoever wants it without copying or encoding it again.
//! Knows no sockets and no frames; edges do. Source: VOLTTRON `volttron/platform/web/vui_pubsub.py`, whose leaks it does not share.
//!
//! Invariant: a slow viewer loses its own oldest frames and is told so; nobody else notices.
//! Locks: `wanted` may be taken before a session's queue or the cache of latest values, never the other way round.

mod event;
mod latest;
mod session;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::RwLock;
use serde_json::{Map, Value};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use vt_agent::{Event, Events};
use vt_backends::AlertRecord;
use vt_bus::{PeerHandle, PublishError, SubscribeError};
use vt_types::{Clock, Headers, Publication, Topic, TopicPrefix, headers};

pub use self::event::LiveEvent;
use self::latest::Latest;
use self::session::SessionQueue;
pub use self::session::{LiveFrame, LiveSession, LiveStream, SUBSCRIPTIONS_MAX};
use crate::{AgentEvent, Caller, ServiceError};

/// Publications that may wait for the fan-out; the bus counts those lost beyond.
pub(crate) const PUBLICATIONS_MAX: usize = 65_536;
/// Publications taken out of the queue at once.
const BATCH_MAX: usize = 256;

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    peer: PeerHandle,
    clock: Arc<dyn Clock>,
    platform: Arc<str>,
    latest: Latest,
    wanted: RwLock<Wanted>,
    next_session: AtomicU64,
}

/// Who wants what.
#[derive(Default)]
struct Wanted {
    sessions: HashMap<u64, Arc<SessionQueue>>,
    by_prefix: HashMap<Box<str>, Vec<Subscriber>>,
    /// How many prefixes there are of each length: a topic is looked up once per length, however many viewers there are.
    lengths: BTreeMap<usize, usize>,
}

/// A viewer and the name of its subscription.
type Subscriber = (Arc<SessionQueue>, Arc<str>);

/// Drives the service.
pub(crate) type LiveTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What else viewers are told of, and when they end.
pub(crate) struct LiveFeeds {
    pub agents: broadcast::Receiver<AgentEvent>,
    pub alerts: broadcast::Receiver<Arc<AlertRecord>>,
    pub ended_sessions: broadcast::Receiver<String>,
    /// Whether a session is still good, for when `ended_sessions` fell behind.
    pub is_active: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

impl Live {
    /// The service and the task that drives it; the task ends when `stop` is cancelled, and all viewers with it.
    pub(crate) fn new(
        peer: PeerHandle,
        events: Events,
        platform: &str,
        clock: Arc<dyn Clock>,
        feeds: LiveFeeds,
        stop: CancellationToken,
    ) -> Result<(Self, LiveTask), SubscribeError> {
        peer.subscribe(&permanent_prefix())?;
        let inner = Arc::new(Inner {
            peer,
            clock,
            platform: Arc::from(platform),
            latest: Latest::default(),
            wanted: RwLock::default(),
            next_session: AtomicU64::new(1),
        });
        let task = run(Arc::clone(&inner), events, feeds, stop);
        Ok((Self { inner }, Box::pin(task)))
    }

    /// A new viewer whose queue holds `queue_max` frames. It ends when its half [`LiveSession`] is dropped, or with the caller's session.
    #[must_use]
    pub fn open(&self, caller: &Caller, queue_max: usize) -> (LiveSession, LiveStream) {
        let id = self.inner.next_session.fetch_add(1, Relaxed);
        let queue = Arc::new(SessionQueue::new(id, &caller.user, caller.session.clone(), queue_max));
        self.inner.wanted.write().sessions.insert(id, Arc::clone(&queue));
        (LiveSession::new(Arc::clone(&self.inner), Arc::clone(&queue)), LiveStream::new(queue))
    }

    /// The last message on exactly this topic, if it is one with all points of a device.
    #[must_use]
    pub fn latest(&self, topic: &str) -> Option<Arc<LiveEvent>> {
        self.inner.latest.get(topic)
    }

    /// The last message of each device topic that starts with `prefix`, by topic.
    #[must_use]
    pub fn latest_with_prefix(&self, prefix: &str) -> Vec<Arc<LiveEvent>> {
        self.inner.latest.with_prefix(prefix)
    }

    /// Publishes for a user; gives the number of subscribers.
    ///
    /// # Errors
    /// `Forbidden` without rights or by policy, `Invalid` for what is no topic.
    #[expect(clippy::unused_async, reason = "callers must not rely on the local bus answering at once")]
    pub async fn publish(&self, caller: &Caller, topic: &str, map: Map<String, Value>, message: Value) -> Result<usize, ServiceError> {
        caller.require_vui()?;
        let topic = Topic::parse(topic).map_err(|error| ServiceError::Invalid(error.to_string()))?;
        let mut all = Headers::from(map);
        all.set(headers::MIN_COMPATIBLE_VERSION, "3.0");
        all.set(headers::MAX_COMPATIBLE_VERSION, "");
        self.inner.peer.on_behalf_of(&caller.user).publish(&topic, all, message).map_err(|error| match error {
            PublishError::Refused(refusal) => ServiceError::Forbidden(refusal.to_string()),
            PublishError::NotConnected(_) => ServiceError::Unavailable("The platform is stopping.".to_owned()),
        })
    }

    /// Viewers now.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.inner.wanted.read().sessions.len()
    }
}

async fn run(inner: Arc<Inner>, mut events: Events, mut feeds: LiveFeeds, stop: CancellationToken) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            event = events.next_batch(&mut batch, BATCH_MAX) => {
                if matches!(event, Some(Event::Stop)) {
                    break;
                }
                for publication in batch.drain(..) {
                    inner.fan_out(publication);
                }
            }
            agent = feeds.agents.recv() => match agent {
                Ok(event) => inner.tell_all(&LiveFrame::Agent(event)),
                Err(RecvError::Lagged(missed)) => inner.tell_all(&LiveFrame::Lagged { missed }),
                Err(RecvError::Closed) => break,
            },
            alert = feeds.alerts.recv() => match alert {
                Ok(alert) => inner.tell_all(&LiveFrame::Alert(alert)),
                Err(RecvError::Lagged(missed)) => inner.tell_all(&LiveFrame::Lagged { missed }),
                Err(RecvError::Closed) => break,
            },
            ended = feeds.ended_sessions.recv() => match ended {
                Ok(session) => inner.end(|candidate| candidate == session),
                Err(RecvError::Lagged(_)) => inner.end(|candidate| !(feeds.is_active)(candidate)),
                Err(RecvError::Closed) => break,
            },
        }
    }
    let sessions: Vec<_> = inner.wanted.read().sessions.values().cloned().collect();
    for session in sessions {
        session.close();
    }
}

/// What is heard whether or not anybody watches.
fn permanent_prefix() -> TopicPrefix {
    // A valid prefix; were it not, hearing everything would be the safe side.
    TopicPrefix::parse("devices/").unwrap_or_default()
}

impl Inner {
    /// Keeps the message if it is a device's, and hands it to those who want it. Encodes nothing.
    fn fan_out(&self, publication: Arc<Publication>) {
        // Held throughout, so that a subscriber's replay and what follows neither overlap nor leave a gap.
        let wanted = self.wanted.read();
        let kept = latest::is_kept(&publication);
        if !kept && wanted.by_prefix.is_empty() {
            return;
        }
        let event = Arc::new(LiveEvent::new(publication, self.clock.now(), Arc::clone(&self.platform)));
        if kept {
            self.latest.put(&event);
        }
        let topic = event.publication.topic.as_str();
        for length in wanted.lengths.keys().take_while(|length| **length <= topic.len()) {
            let Some(subscribers) = topic.get(..*length).and_then(|prefix| wanted.by_prefix.get(prefix)) else { continue };
            for (session, sub) in subscribers {
                session.push(LiveFrame::Event { sub: Arc::clone(sub), event: Arc::clone(&event) });
            }
        }
    }

    fn tell_all(&self, frame: &LiveFrame) {
        for session in self.wanted.read().sessions.values() {
            session.push(frame.clone());
        }
    }

    fn end(&self, is_over: impl Fn(&str) -> bool) {
        for session in self.wanted.read().sessions.values() {
            if session.auth_session.as_deref().is_some_and(&is_over) {
                session.close();
            }
        }
    }

    fn subscribe(
        &self,
        queue: &Arc<SessionQueue>,
        user: &str,
        prefix: &TopicPrefix,
        sub: &Arc<str>,
        replay: impl FnOnce(&Latest),
    ) -> Result<(), ServiceError> {
        let mut wanted = self.wanted.write();
        // Repeating a prefix changes nothing on the bus, but lets policy speak about this user.
        self.peer.on_behalf_of(user).subscribe(prefix).map_err(|error| match error {
            SubscribeError::Refused(refusal) => ServiceError::Forbidden(refusal.to_string()),
            SubscribeError::TooMany(_) => {
                ServiceError::Conflict("Too many different topics are watched at once; close some pages.".to_owned())
            }
            SubscribeError::NotConnected(_) => ServiceError::Unavailable("The platform is stopping.".to_owned()),
        })?;
        let text = prefix.as_str();
        if !wanted.by_prefix.contains_key(text) {
            *wanted.lengths.entry(text.len()).or_default() += 1;
        }
        wanted.by_prefix.entry(text.into()).or_default().push((Arc::clone(queue), Arc::clone(sub)));
        replay(&self.latest);
        Ok(())
    }

    fn unsubscribe(&self, queue: &Arc<SessionQueue>, prefix: &TopicPrefix, sub: &Arc<str>) {
        let mut wanted = self.wanted.write();
        let text = prefix.as_str();
        let Some(subscribers) = wanted.by_prefix.get_mut(text) else { return };
        subscribers.retain(|(session, name)| session.id != queue.id || name != sub);
        if !subscribers.is_empty() {
            return;
        }
        wanted.by_prefix.remove(text);
        if let Some(count) = wanted.lengths.get_mut(&text.len()) {
            *count -= 1;
            if *count == 0 {
                wanted.lengths.remove(&text.len());
            }
        }
        if *prefix != permanent_prefix() {
            self.peer.unsubscribe(prefix);
        }
    }

    fn forget(&self, queue: &SessionQueue) {
        self.wanted.write().sessions.remove(&queue.id);
    }
}
