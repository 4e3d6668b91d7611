//! Links in memory that are and answer as they are told, and platforms behind web addresses that a test names.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use vt_types::{Identity, RpcError, RpcRequest};

use super::{Discovery, DiscoveryError, Platform, PlatformLinks, PlatformState};

type Answer = Result<Value, RpcError>;

/// Links without anything behind them.
#[derive(Debug, Default)]
pub struct FakeLinks {
    states: Mutex<BTreeMap<String, PlatformState>>,
    answers: Mutex<BTreeMap<(String, String, String), Answer>>,
    calls: Mutex<Vec<(String, String, String)>>,
}

impl FakeLinks {
    /// A link in a state, in place of the one before.
    pub fn set(&self, state: PlatformState) {
        self.states.lock().insert(state.platform.name.clone(), state);
    }

    /// What a method of a peer of a platform answers from now on; one without an answer never answers.
    pub fn answer(&self, platform: &str, peer: &str, method: &str, answer: Answer) {
        self.answers.lock().insert((platform.to_owned(), peer.to_owned(), method.to_owned()), answer);
    }

    /// Who was called so far: platform, peer, method.
    #[must_use]
    pub fn calls(&self) -> Vec<(String, String, String)> {
        self.calls.lock().clone()
    }
}

#[async_trait]
impl PlatformLinks for FakeLinks {
    fn states(&self) -> Vec<PlatformState> {
        self.states.lock().values().cloned().collect()
    }

    async fn call(&self, platform: &str, peer: &Identity, request: &RpcRequest, _limit: Duration) -> Answer {
        let place = (platform.to_owned(), peer.to_string(), request.method.clone());
        self.calls.lock().push(place.clone());
        let answer = self.answers.lock().get(&place).cloned();
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

/// Platforms behind web addresses; nobody answers at others.
#[derive(Debug, Default)]
pub struct FakeDiscovery(Mutex<BTreeMap<String, Platform>>);

impl FakeDiscovery {
    /// From now on, `platform` answers at `web_address`.
    pub fn put(&self, web_address: &str, platform: Platform) {
        self.0.lock().insert(web_address.to_owned(), platform);
    }
}

#[async_trait]
impl Discovery for FakeDiscovery {
    async fn discover(&self, web_address: &str) -> Result<Platform, DiscoveryError> {
        self.0.lock().get(web_address).cloned().ok_or_else(|| DiscoveryError::Unreachable("connection refused".to_owned()))
    }
}
