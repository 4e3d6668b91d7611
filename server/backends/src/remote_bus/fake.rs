//! A platform in memory at the other end of links, for tests of whoever sends over them. It loses connections, falls silent, holds its
//! answers and refuses on request.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use vt_types::{Identity, RpcError, RpcRequest};

use super::{LinkError, LinkRequest, LinkState, Outgoing, RemoteBus, RemoteLink};
use crate::platforms::{DiscoveryError, Platform};

type Handler = Arc<dyn Fn(&RpcRequest) -> Result<Value, RpcError> + Send + Sync>;

/// The platform. Clones are the same one.
#[derive(Clone)]
pub struct FakePlatform(Arc<Mutex<State>>);

struct State {
    link: LinkState,
    runs: u64,
    silent: bool,
    holding: bool,
    refusing: Option<(String, String)>,
    peers: BTreeMap<Identity, Handler>,
    opened: Vec<LinkRequest>,
    published: Vec<Outgoing>,
    calls: Vec<RpcRequest>,
    reconnects: u64,
    web_addresses: BTreeMap<String, Platform>,
    wakers: Vec<Waker>,
}

impl Default for FakePlatform {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            link: LinkState::Connected { run: "1".to_owned() },
            runs: 1,
            silent: false,
            holding: false,
            refusing: None,
            peers: BTreeMap::new(),
            opened: Vec::new(),
            published: Vec::new(),
            calls: Vec::new(),
            reconnects: 0,
            web_addresses: BTreeMap::new(),
            wakers: Vec::new(),
        })))
    }
}

impl FakePlatform {
    /// A platform that is there and has one subscriber to everything, and no peer that can be called.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.0.lock();
        let result = change(&mut state);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// Ends the connection; there is none until [`FakePlatform::restore`] or [`FakePlatform::restart`].
    pub fn lose(&self, error: LinkError) {
        self.change(|state| state.link = LinkState::Down(error));
    }

    /// Lets the same run be reached again.
    pub fn restore(&self) {
        self.change(|state| state.link = LinkState::Connected { run: state.runs.to_string() });
    }

    /// Starts anew: what was published is forgotten, unless the test has looked at it.
    pub fn restart(&self) -> Vec<Outgoing> {
        self.change(|state| {
            state.runs += 1;
            state.link = LinkState::Connected { run: state.runs.to_string() };
            std::mem::take(&mut state.published)
        })
    }

    /// From now on everything is done and nothing is answered, or answered again. Who asks is told of the timeout at once.
    pub fn set_silent(&self, silent: bool) {
        self.change(|state| state.silent = silent);
    }

    /// From now on answers wait for the end of this.
    pub fn set_holding(&self, holding: bool) {
        self.change(|state| state.holding = holding);
    }

    /// Refuses publications on topics that begin with `prefix`.
    pub fn refuse(&self, prefix: &str, reason: &str) {
        self.change(|state| state.refusing = Some((prefix.to_owned(), reason.to_owned())));
    }

    /// Refuses nothing any more.
    pub fn allow(&self) {
        self.change(|state| state.refusing = None);
    }

    /// Adds a peer that answers calls.
    pub fn add_peer(&self, identity: Identity, answer: impl Fn(&RpcRequest) -> Result<Value, RpcError> + Send + Sync + 'static) {
        self.change(|state| state.peers.insert(identity, Arc::new(answer)));
    }

    /// From now on, `platform` is found at `web_address`.
    pub fn found_at(&self, web_address: &str, platform: Platform) {
        self.change(|state| state.web_addresses.insert(web_address.to_owned(), platform));
    }

    /// What was published since the last [`FakePlatform::restart`].
    #[must_use]
    pub fn published(&self) -> Vec<Outgoing> {
        self.0.lock().published.clone()
    }

    /// What was called, whether it was answered or not.
    #[must_use]
    pub fn calls(&self) -> Vec<RpcRequest> {
        self.0.lock().calls.clone()
    }

    /// The links that were opened.
    #[must_use]
    pub fn opened(&self) -> Vec<LinkRequest> {
        self.0.lock().opened.clone()
    }

    /// How often somebody gave a connection up.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.0.lock().reconnects
    }

    /// Waits until `ready` gives something.
    async fn when<T>(&self, ready: impl Fn(&State) -> Option<T>) -> T {
        poll_fn(|context| {
            let mut state = self.0.lock();
            match ready(&state) {
                Some(value) => Poll::Ready(value),
                None => {
                    state.wakers.push(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Does what was asked if there is a connection, and answers as it is told to.
    async fn answer<T>(&self, limit: Duration, done: impl FnOnce(&mut State) -> Result<T, LinkError>) -> Result<T, LinkError> {
        let down = |state: &State| match &state.link {
            LinkState::Connected { .. } => None,
            LinkState::Down(error) => Some(error.clone()),
            LinkState::Connecting => Some(LinkError::Unreachable("not yet connected".to_owned())),
        };
        let result = {
            let mut state = self.0.lock();
            if let Some(error) = down(&state) {
                return Err(error);
            }
            let result = done(&mut state);
            if state.silent {
                return Err(LinkError::timeout(limit));
            }
            result
        };
        let held = self.when(|state| down(state).map(Err).or((!state.holding).then_some(Ok(())))).await;
        held.and(result)
    }
}

#[async_trait]
impl RemoteBus for FakePlatform {
    async fn open(&self, request: &LinkRequest) -> Result<Arc<dyn RemoteLink>, LinkError> {
        self.0.lock().opened.push(request.clone());
        Ok(Arc::new(self.clone()))
    }

    async fn discover(&self, web_address: &str) -> Result<Platform, DiscoveryError> {
        let found = self.0.lock().web_addresses.get(web_address).cloned();
        found.ok_or_else(|| DiscoveryError::Unreachable("connection refused".to_owned()))
    }
}

#[async_trait]
impl RemoteLink for FakePlatform {
    fn state(&self) -> LinkState {
        self.0.lock().link.clone()
    }

    async fn changed(&self, seen: &LinkState) -> LinkState {
        self.when(|state| (state.link != *seen).then(|| state.link.clone())).await
    }

    async fn publish(&self, message: &Outgoing, limit: Duration) -> Result<u64, LinkError> {
        self.answer(limit, |state| match &state.refusing {
            Some((prefix, reason)) if message.topic.as_str().starts_with(prefix.as_str()) => Err(LinkError::Refused(reason.clone())),
            _ => {
                state.published.push(message.clone());
                Ok(1)
            }
        })
        .await
    }

    async fn call(&self, peer: &Identity, request: &RpcRequest, limit: Duration) -> Result<Value, LinkError> {
        self.answer(limit, |state| {
            let handler = state.peers.get(peer).cloned().ok_or_else(|| LinkError::NoPeer(peer.clone()))?;
            state.calls.push(request.clone());
            handler(request).map_err(LinkError::Raised)
        })
        .await
    }

    async fn ping(&self, limit: Duration) -> Result<(), LinkError> {
        self.answer(limit, |_| Ok(())).await
    }

    fn reconnect(&self) {
        self.0.lock().reconnects += 1;
    }

    fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};
    use vt_types::{Params, Topic};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    fn message() -> Outgoing {
        Outgoing { topic: Topic::parse("devices/a/all").unwrap(), headers: Map::new(), message: json!(1) }
    }

    #[tokio::test]
    async fn it_takes_loses_refuses_and_falls_silent_on_request() {
        let fake = FakePlatform::new();
        assert_eq!(fake.publish(&message(), LIMIT).await, Ok(1));
        fake.refuse("devices", "no");
        assert_eq!(fake.publish(&message(), LIMIT).await, Err(LinkError::Refused("no".to_owned())));
        fake.allow();
        fake.set_silent(true);
        assert_eq!(fake.publish(&message(), LIMIT).await, Err(LinkError::Timeout { limit_ms: 50 }));
        assert_eq!(fake.published().len(), 2, "done, but not answered");
        fake.set_silent(false);
        let seen = fake.state();
        fake.lose(LinkError::Closed);
        assert_eq!(fake.changed(&seen).await, LinkState::Down(LinkError::Closed));
        assert_eq!(fake.ping(LIMIT).await, Err(LinkError::Closed));
        assert_eq!(fake.restart().len(), 2);
        assert_eq!(fake.state(), LinkState::Connected { run: "2".to_owned() });
    }

    #[tokio::test]
    async fn held_answers_come_when_they_are_let_go() {
        let fake = FakePlatform::new();
        let peer = Identity::known("platform.historian");
        fake.add_peer(peer.clone(), |request| Ok(json!(request.method)));
        fake.set_holding(true);
        let asked = {
            let fake = fake.clone();
            tokio::spawn(async move { fake.call(&peer, &RpcRequest::new("insert", Params::none()), LIMIT).await })
        };
        while fake.calls().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(!asked.is_finished());
        fake.set_holding(false);
        assert_eq!(asked.await.unwrap(), Ok(json!("insert")));
        let nobody = Identity::known("nobody");
        assert_eq!(fake.call(&nobody, &RpcRequest::new("x", Params::none()), LIMIT).await, Err(LinkError::NoPeer(nobody)));
    }
}
