//! The store of one identity at work: changes wait in a queue, one writer takes all that wait and saves them together, then the agent is
//! told in the order of the changes. Whoever asked gets its answer after both.
//!
//! A writer and a teller run only while there is work. Neither holds a lock while it saves or while an agent is asked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::{broadcast, oneshot};
use vt_agent::AgentContext;
use vt_backends::ConfigRepository;
use vt_types::{Identity, Params, RpcError, RpcRequest};

use super::entries::{self, Change, Entries, Told};
use crate::ServiceError;

/// Changes of one identity that may wait; further ones are refused.
const WAITING_MAX: usize = 20_000;
/// How long an agent may take to answer that it was told.
const TOLD_LIMIT: Duration = Duration::from_secs(30);

type Answer = oneshot::Sender<Result<(), ServiceError>>;

/// How the agent is told of a change.
#[derive(Debug, Clone, Copy)]
pub struct Telling {
    /// Whether its callbacks are to run.
    pub trigger_callback: bool,
    /// Whether it is told at all.
    pub send_update: bool,
}

impl Telling {
    pub const ALL: Self = Self { trigger_callback: true, send_update: true };
}

/// What stores share.
pub struct Shared {
    pub context: AgentContext,
    pub records: Arc<dyn ConfigRepository>,
    pub changes: broadcast::Sender<(Identity, String)>,
}

/// The store of one identity.
pub struct Store {
    identity: Identity,
    shared: Arc<Shared>,
    /// What is durable.
    entries: ArcSwap<Entries>,
    waiting: Mutex<Waiting<Request>>,
    telling: Mutex<Waiting<Notice>>,
}

/// A queue with at most one task that empties it.
struct Waiting<T> {
    queue: VecDeque<T>,
    is_served: bool,
}

struct Request {
    change: Change,
    telling: Telling,
    answer: Answer,
}

struct Notice {
    told: Vec<Told>,
    trigger_callback: bool,
    answer: Answer,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), is_served: false }
    }
}

impl<T> Waiting<T> {
    /// Adds an item; says whether a task has to be started for it.
    fn add(&mut self, item: T) -> bool {
        self.queue.push_back(item);
        !std::mem::replace(&mut self.is_served, true)
    }

    /// All that waits; with nothing, the serving task is done.
    fn take(&mut self) -> VecDeque<T> {
        self.is_served = !self.queue.is_empty();
        std::mem::take(&mut self.queue)
    }
}

impl Store {
    pub fn new(identity: Identity, shared: Arc<Shared>, entries: Entries) -> Self {
        Self { identity, shared, entries: ArcSwap::from_pointee(entries), waiting: Mutex::default(), telling: Mutex::default() }
    }

    pub fn entries(&self) -> Arc<Entries> {
        self.entries.load_full()
    }

    #[cfg(test)]
    pub fn waiting_len(&self) -> usize {
        self.waiting.lock().queue.len()
    }

    /// Makes a change: durable and told when this returns.
    pub async fn change(self: &Arc<Self>, change: Change, telling: Telling) -> Result<(), ServiceError> {
        let (answer, answered) = oneshot::channel();
        let start = {
            let mut waiting = self.waiting.lock();
            if waiting.queue.len() >= WAITING_MAX {
                return Err(ServiceError::Unavailable(format!("too many changes wait for the configuration of {}", self.identity)));
            }
            waiting.add(Request { change, telling, answer })
        };
        if start {
            self.shared.context.spawn(Arc::clone(self).write());
        }
        answered.await.unwrap_or_else(|_| Err(ServiceError::Unavailable("the platform is stopping".to_owned())))
    }

    /// Tells the agent all its entries; returns when it has taken them in.
    pub async fn tell_all(self: &Arc<Self>) -> Result<(), ServiceError> {
        let (answer, answered) = oneshot::channel();
        self.tell_later(Notice { told: vec![Told::Initial], trigger_callback: false, answer });
        answered.await.unwrap_or_else(|_| Err(ServiceError::Unavailable("the platform is stopping".to_owned())))
    }

    async fn write(self: Arc<Self>) {
        loop {
            let requests = self.waiting.lock().take();
            if requests.is_empty() {
                return;
            }
            let mut next = Entries::clone(&self.entries.load());
            let mut accepted = Vec::with_capacity(requests.len());
            for Request { change, telling, answer } in requests {
                match entries::apply(&mut next, &change, &self.identity) {
                    Ok(told) => accepted.push((told, telling, answer)),
                    Err(error) => give(answer, Err(error)),
                }
            }
            if accepted.iter().any(|(told, ..)| !told.is_empty()) {
                let stored: Vec<_> = next.values().map(|entry| entry.stored.clone()).collect();
                if let Err(error) = self.shared.records.save(&self.identity, &stored).await {
                    let error = ServiceError::from(error);
                    accepted.into_iter().for_each(|(_, _, answer)| give(answer, Err(error.clone())));
                    continue;
                }
                self.entries.store(Arc::new(next));
            }
            for (told, telling, answer) in accepted {
                self.announce(&told);
                if telling.send_update && !told.is_empty() {
                    self.tell_later(Notice { told, trigger_callback: telling.trigger_callback, answer });
                } else {
                    give(answer, Ok(()));
                }
            }
        }
    }

    /// Tells those on this side of the bus.
    fn announce(&self, told: &[Told]) {
        for told in told {
            let name = match told {
                Told::New(entry) | Told::Update(entry) => entry.stored.name.clone(),
                Told::Delete(name) => name.clone(),
                Told::DeleteAll => String::new(),
                Told::Initial => continue,
            };
            // An error means that nobody follows.
            drop(self.shared.changes.send((self.identity.clone(), name)));
        }
    }

    fn tell_later(self: &Arc<Self>, notice: Notice) {
        let start = self.telling.lock().add(notice);
        if start {
            self.shared.context.spawn(Arc::clone(self).tell());
        }
    }

    async fn tell(self: Arc<Self>) {
        loop {
            let notices = self.telling.lock().take();
            if notices.is_empty() {
                return;
            }
            // An agent that did not answer once is not waited for again until its queue is empty.
            let mut is_waited_for = true;
            for notice in notices {
                for told in &notice.told {
                    if let Err(error) = self.tell_one(told, notice.trigger_callback, is_waited_for).await {
                        is_waited_for &= !matches!(error, RpcError::Timeout { .. });
                        if !matches!(error, RpcError::UnknownPeer(_) | RpcError::PeerGone(_)) {
                            tracing::warn!(identity = %self.identity, %error, "an agent could not be told of its configuration");
                        }
                    }
                }
                give(notice.answer, Ok(()));
            }
        }
    }

    async fn tell_one(&self, told: &Told, trigger_callback: bool, is_waited_for: bool) -> Result<(), RpcError> {
        let Some((method, params)) = self.message(told, trigger_callback) else { return Ok(()) };
        if !is_waited_for {
            return self.shared.context.peer().notify(&self.identity, RpcRequest::new(method, params));
        }
        self.shared.context.call_within(TOLD_LIMIT, &self.identity, method, params).await.map(drop)
    }

    fn message(&self, told: &Told, trigger_callback: bool) -> Option<(&'static str, Params)> {
        let update = |action: &str, name: Option<&str>, contents: Option<Value>| {
            let mut kwargs = Map::new();
            if let Some(contents) = contents {
                kwargs.insert("contents".to_owned(), contents);
            }
            kwargs.insert("trigger_callback".to_owned(), json!(trigger_callback));
            Some(("config.update", Params { args: vec![json!(action), json!(name)], kwargs }))
        };
        match told {
            Told::Initial => {
                let entries = self.entries.load();
                let readable = entries.values().filter_map(|entry| {
                    let value = entry.parsed.as_ref().ok()?;
                    Some((entry.stored.name.clone(), value.clone()))
                });
                Some(("config.initial_update", Params::positional(vec![Value::Object(readable.collect())])))
            }
            Told::New(entry) => update("NEW", Some(&entry.stored.name), Some(entry.parsed.clone().ok()?)),
            Told::Update(entry) => update("UPDATE", Some(&entry.stored.name), Some(entry.parsed.clone().ok()?)),
            Told::Delete(name) => update("DELETE", Some(name), None),
            Told::DeleteAll => update("DELETE_ALL", None, None),
        }
    }
}

fn give(answer: Answer, result: Result<(), ServiceError>) {
    // Whoever asked has gone; the change stands.
    drop(answer.send(result));
}
