//! Health of everything that is connected: the platform health service, bus peer `platform.health`. Hears heartbeats, asks whoever beats
//! for its full status, and knows which installed agents ought to run.
//! Source: vip-zmq.md §6, VOLTTRON `volttron/platform/health.py` (`HealthService`).
//!
//! Invariant: who beats is who the router says sent it; a topic that names another peer counts for nobody.

mod rpc;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Semaphore, broadcast};
use vt_agent::{AgentContext, Event, Events};
use vt_backends::{InstalledAgent, RunState};
use vt_bus::{PeerEvent, PeerKind, SubscribeError};
use vt_types::timestamp::{self, Timestamp};
use vt_types::{Identity, Params, Publication, StatusWord, TopicPrefix};

use crate::Alerts;
use crate::agents::Installed;

pub(crate) use rpc::export;

/// Prefix of heartbeat topics.
const HEARTBEATS: &str = "heartbeat/";
/// Agents asked for their status at the same time.
const ASKING_MAX: usize = 16;
/// How long an agent may take to tell its status.
const ASKED_LIMIT: Duration = Duration::from_secs(5);
/// Longest reason shown, in characters.
const REASON_CHARS_MAX: usize = 300;

/// How a connected peer is.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthView {
    /// Its word; `Unknown` before the first heartbeat.
    pub status: StatusWord,
    /// Why; null, text or an object.
    pub context: Value,
    /// When it last set its status.
    pub last_updated: Option<Timestamp>,
    /// When its last heartbeat came.
    pub last_heartbeat: Option<Timestamp>,
    /// When it connected.
    pub connected: Option<Timestamp>,
}

/// Health of the platform in one word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollUp {
    /// The worst word of all.
    pub worst: StatusWord,
    /// Identity and reason of everything that is not well.
    pub reasons: Vec<(String, String)>,
}

/// Health of everything that is connected.
pub struct PlatformHealth {
    context: AgentContext,
    installed: Arc<Installed>,
    peers: RwLock<BTreeMap<Identity, Peer>>,
    asking: Semaphore,
}

struct Peer {
    view: HealthView,
    /// Somebody is asking it now.
    is_asked: bool,
    /// It was heard since it was asked: the answer may be older than that.
    heard_again: bool,
}

impl Peer {
    fn new(connected: Timestamp) -> Self {
        let view = HealthView {
            status: StatusWord::Unknown,
            context: Value::Null,
            last_updated: None,
            last_heartbeat: None,
            connected: Some(connected),
        };
        Self { view, is_asked: false, heard_again: false }
    }

    /// Takes in its full status.
    fn learn(&mut self, status: &Value) {
        let Some(word) = status.get("status").and_then(Value::as_str).and_then(StatusWord::parse) else { return };
        self.view.status = word;
        self.view.context = status.get("context").cloned().unwrap_or_default();
        let updated = status.get("last_updated").and_then(Value::as_str).and_then(|text| timestamp::parse(text).ok());
        self.view.last_updated = updated.map(timestamp::Parsed::assume_utc);
    }
}

impl PlatformHealth {
    /// Subscribes; from then on nothing is missed.
    pub(crate) fn new(context: AgentContext, installed: Arc<Installed>) -> Result<Self, SubscribeError> {
        for prefix in [HEARTBEATS, crate::alerts::ALERTS] {
            // Both are constants and valid.
            if let Ok(prefix) = TopicPrefix::parse(prefix) {
                context.subscribe(&prefix)?;
            }
        }
        Ok(Self { context, installed, peers: RwLock::default(), asking: Semaphore::new(ASKING_MAX) })
    }

    /// Keeps up with heartbeats, alerts and who is connected, until the platform stops.
    pub(crate) async fn run(self: Arc<Self>, mut events: Events, alerts: Arc<Alerts>) {
        let mut peer_events = self.context.peer().bus().peer_events();
        self.read_peers();
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Event::Stop => return,
                    Event::Config(_) => {}
                    Event::Publication(publication) if publication.topic.as_str().starts_with(HEARTBEATS) => {
                        // A peer is announced before it can publish, but by another way: its news may still wait.
                        self.catch_up(&mut peer_events);
                        self.heard(&publication);
                    }
                    Event::Publication(publication) => alerts.heard(&publication),
                },
                event = peer_events.recv() => self.peer_changed(event, &mut peer_events),
            }
        }
    }

    /// How a connected peer is; `None` for one that is not connected.
    #[must_use]
    pub fn of(&self, identity: &Identity) -> Option<HealthView> {
        self.peers.read().get(identity).map(|peer| peer.view.clone())
    }

    /// How all connected peers are.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Identity, HealthView> {
        self.peers.read().iter().map(|(identity, peer)| (identity.clone(), peer.view.clone())).collect()
    }

    /// The connected peers that are services of the platform itself, which agents of others are not.
    #[must_use]
    pub fn services(&self) -> BTreeSet<Identity> {
        let peers = self.context.peer().bus().peer_infos().into_iter();
        peers.filter(|peer| peer.kind == PeerKind::Service).map(|peer| peer.identity).collect()
    }

    /// The worst word of all connected peers and of all agents that ought to run, with reasons.
    #[must_use]
    pub fn roll_up(&self) -> RollUp {
        let mut found: Vec<(StatusWord, String, String)> = Vec::new();
        for (agent, state) in self.installed.states() {
            found.extend(self.not_running(&agent, &state).map(|(word, reason)| (word, agent.identity.to_string(), reason)));
        }
        for (identity, peer) in self.peers.read().iter() {
            // Before its first heartbeat nothing is known, and nothing is amiss.
            if peer.view.last_heartbeat.is_some() && peer.view.status != StatusWord::Good {
                found.push((peer.view.status, identity.to_string(), reason(&peer.view)));
            }
        }
        found.sort_by(|a, b| severity(b.0).cmp(&severity(a.0)).then_with(|| a.1.cmp(&b.1)));
        let worst = found.first().map_or(StatusWord::Good, |(word, ..)| *word);
        RollUp { worst, reasons: found.into_iter().map(|(_, identity, reason)| (identity, reason)).collect() }
    }

    /// What is amiss with an installed agent that does not run.
    fn not_running(&self, agent: &InstalledAgent, state: &RunState) -> Option<(StatusWord, String)> {
        let is_enabled = agent.priority.is_some();
        match state {
            RunState::BackingOff { reason, restart_at, failures, .. } => {
                let at = timestamp::format(*restart_at);
                Some((StatusWord::Bad, format!("failed {failures} times in a row and starts again at {at}: {reason}")))
            }
            RunState::Failed { reason, .. } => Some((StatusWord::Bad, format!("failed and is not started again: {reason}"))),
            RunState::NeverStarted if is_enabled && !self.installed.is_autostarted() => {
                Some((StatusWord::Starting, "waits for its start".to_owned()))
            }
            RunState::NeverStarted if is_enabled => Some((StatusWord::Bad, "is enabled but was not started".to_owned())),
            RunState::Stopped { .. } if is_enabled => Some((StatusWord::Bad, "is enabled but stopped".to_owned())),
            RunState::Running { .. } | RunState::NeverStarted | RunState::Stopped { .. } => None,
        }
    }

    fn heard(self: &Arc<Self>, publication: &Publication) {
        let sender = &publication.sender;
        if publication.topic.as_str().strip_prefix(HEARTBEATS) != Some(sender.as_str()) {
            return;
        }
        // Text since VOLTTRON 6; an object with the whole status before.
        let word = publication.message.as_str().or_else(|| publication.message.get("status").and_then(Value::as_str));
        let word = word.and_then(StatusWord::parse).unwrap_or(StatusWord::Unknown);
        let now = self.context.now();
        let ask = {
            let mut peers = self.peers.write();
            // One that beat and is gone already counts for nothing.
            let Some(peer) = peers.get_mut(sender) else { return };
            if peer.view.status != word {
                // The reason of the old word is not that of the new one.
                peer.view.context = Value::Null;
            }
            peer.view.status = word;
            peer.view.last_heartbeat = Some(now);
            peer.heard_again = peer.is_asked;
            !std::mem::replace(&mut peer.is_asked, true)
        };
        if ask {
            self.context.spawn(Arc::clone(self).ask(sender.clone()));
        }
    }

    /// Asks a peer for its full status, again as long as it is heard meanwhile; one that does not tell keeps its word alone.
    async fn ask(self: Arc<Self>, identity: Identity) {
        loop {
            let answer = match self.asking.acquire().await {
                Ok(_turn) => self.context.call_within(ASKED_LIMIT, &identity, "health.get_status_json", Params::none()).await.ok(),
                Err(_) => None,
            };
            let mut peers = self.peers.write();
            let Some(peer) = peers.get_mut(&identity) else { return };
            let again = std::mem::take(&mut peer.heard_again) && answer.is_some();
            if let Some(status) = answer {
                peer.learn(&status);
            }
            if !again {
                peer.is_asked = false;
                return;
            }
        }
    }

    fn catch_up(&self, events: &mut broadcast::Receiver<PeerEvent>) {
        loop {
            match events.try_recv() {
                Ok(event) => self.peer_changed(Ok(event), events),
                Err(TryRecvError::Lagged(missed)) => self.peer_changed(Err(RecvError::Lagged(missed)), events),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn peer_changed(&self, event: Result<PeerEvent, RecvError>, events: &mut broadcast::Receiver<PeerEvent>) {
        match event {
            Ok(PeerEvent::Connected(identity)) => {
                let now = self.context.now();
                self.peers.write().insert(identity, Peer::new(now));
            }
            Ok(PeerEvent::Disconnected(identity)) => {
                self.peers.write().remove(&identity);
            }
            // Some were missed: what counts is who is connected now.
            Err(RecvError::Lagged(_)) => {
                *events = events.resubscribe();
                self.read_peers();
            }
            Err(RecvError::Closed) => {}
        }
    }

    fn read_peers(&self) {
        let connected: BTreeMap<_, _> =
            self.context.peer().bus().peer_infos().into_iter().map(|peer| (peer.identity, peer.connected_at)).collect();
        let mut peers = self.peers.write();
        peers.retain(|identity, _| connected.contains_key(identity));
        for (identity, at) in connected {
            peers.entry(identity).or_insert_with(|| Peer::new(at));
        }
    }
}

fn severity(word: StatusWord) -> u8 {
    match word {
        StatusWord::Good => 0,
        StatusWord::Starting => 1,
        StatusWord::Unknown => 2,
        StatusWord::Bad => 3,
    }
}

fn reason(view: &HealthView) -> String {
    let text = match &view.context {
        Value::Null => format!("says {} without a reason", view.status.as_str()),
        Value::String(text) => text.clone(),
        // An agent that tells many numbers says in one of the members what is wrong.
        other => other.get("reason").and_then(Value::as_str).map_or_else(|| other.to_string(), str::to_owned),
    };
    text.chars().take(REASON_CHARS_MAX).collect()
}
