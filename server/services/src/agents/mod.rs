//! Life cycle of agents: the control service, bus peer `control`. Starting and supervising is the launcher's work; what is installed, who
//! may change it, and telling everybody is done here.
//!
//! Map: `installed` (what is installed, in memory), `identities` (which identity a new agent gets), `changes` (install, start, stop ...),
//! `packages` (installing packages in Python), `installs` (following that), `libraries` (what all of them have), `transfer` (fetching a wheel
//! from `vctl`), `observer` (what the launcher tells), `calls` (RPC towards any peer for people), `statistics` (counting messages on
//! request), `rpc`, `rpc_install` and `rpc_logs` (what `control` answers).
//! Source: agents.md §1, vip-zmq.md §8.2, VOLTTRON `volttron/platform/{aip,control}.py`.
//!
//! Invariants: changes of one agent take turns; a change that was begun is finished even if whoever asked goes away.

mod calls;
mod changes;
mod identities;
mod installed;
mod installs;
mod libraries;
mod observer;
#[cfg(test)]
mod package_tests;
mod packages;
mod rpc;
mod rpc_install;
mod rpc_logs;
mod statistics;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{OwnedMutexGuard, broadcast};
use tokio_util::sync::CancellationToken;
use vt_agent::AgentContext;
use vt_backends::{AgentKindInfo, AgentSource, Channels, InstallationRepository, InstalledAgent, LogFiles, PythonPackages, RunState};
use vt_bus::PeerHandle;
use vt_types::timestamp::Timestamp;
use vt_types::{AgentUuid, Clock, Identity, Priority, Tag};

use crate::{Audit, Caller, HealthView, PeerAuth, PlatformHealth};
use installs::Installs;

pub(crate) use installed::Installed;
pub use installs::{Install, InstallNews, InstallOutcome};
pub use packages::PackageInstall;
pub(crate) use rpc::export;

/// What stands for the kind of a package in Python.
const PYTHON_KIND: &str = "python";
/// Events held for a slow follower; one that falls behind is told so and reads the list again.
const FOLLOWED_MAX: usize = 1024;
/// Locks of identities kept before unused ones are dropped.
const TURNS_KEPT: usize = 1024;

/// An installed agent as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentView {
    /// Installation id.
    pub uuid: AgentUuid,
    /// Its identity.
    pub identity: Identity,
    /// Name and version.
    pub name: String,
    /// Its kind in the catalogue; `python` for a package in Python.
    pub kind: String,
    /// Nickname.
    pub tag: Option<Tag>,
    /// Start order; an agent with one is enabled.
    pub priority: Option<Priority>,
    /// What it is doing.
    pub state: RunState,
    /// How it says it is; `None` while it is not connected.
    pub health: Option<HealthView>,
    /// Publications it lost because its queue was full, since it connected.
    pub lost: u64,
}

/// What is to be installed.
#[derive(Debug, Clone, PartialEq)]
pub struct InstallRequest {
    /// Kind in the catalogue.
    pub kind: String,
    /// Identity, may contain `{n}`; `None` for the kind's own.
    pub identity: Option<String>,
    /// Nickname.
    pub tag: Option<Tag>,
    /// Start order.
    pub priority: Option<Priority>,
    /// Install-time configuration.
    pub config: Option<Value>,
    /// Replaces an agent of the same identity; its data and its entries in the configuration store stay.
    pub force: bool,
}

/// What becomes of the right to connect of an agent that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyEntry {
    /// Its entry and its key stay, for an agent that will take its place.
    Keep,
    /// They go with it.
    Remove,
}

/// A change in the life of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentEvent {
    /// Whose.
    pub identity: Identity,
    /// `installed`, `removed`, `changed` (tag or priority), `never_started`, `running`, `stopped`, `backing_off`, `failed`.
    pub state: &'static str,
    /// When.
    pub at: Timestamp,
}

/// Life cycle of agents.
pub struct Agents {
    inner: Arc<Inner>,
}

pub(crate) struct AgentsDeps {
    /// The peer `control`.
    pub control: AgentContext,
    /// The peer that speaks for people on the web.
    pub web: PeerHandle,
    pub installed: Arc<Installed>,
    pub records: Arc<dyn InstallationRepository>,
    pub health: Arc<PlatformHealth>,
    pub audit: Arc<Audit>,
    pub peer_auth: Arc<PeerAuth>,
    pub packages: Arc<dyn PythonPackages>,
    pub channels: Arc<dyn Channels>,
    pub log_files: Arc<dyn LogFiles>,
    pub clock: Arc<dyn Clock>,
    pub platform_stop: CancellationToken,
}

struct Inner {
    deps: AgentsDeps,
    events: broadcast::Sender<AgentEvent>,
    turns: Mutex<HashMap<Identity, Arc<tokio::sync::Mutex<()>>>>,
    installs: Installs,
    transfers: transfer::Transfers,
    /// Choosing an identity and taking it is one step.
    installing: tokio::sync::Mutex<()>,
    /// Held while a package is installed, and alone while the libraries of all are changed.
    environments: tokio::sync::RwLock<()>,
    statistics: statistics::Tracker,
}

impl Agents {
    pub(crate) fn new(deps: AgentsDeps) -> Self {
        let (events, _) = broadcast::channel(FOLLOWED_MAX);
        let inner = Arc::new(Inner {
            deps,
            events,
            turns: Mutex::default(),
            installing: tokio::sync::Mutex::default(),
            environments: tokio::sync::RwLock::default(),
            statistics: statistics::Tracker::default(),
            installs: Installs::default(),
            transfers: transfer::Transfers::default(),
        });
        inner.deps.installed.launcher().observe(Arc::new(observer::Observer(Arc::downgrade(&inner))));
        Self { inner }
    }

    /// All installed agents, by name, then identity.
    #[must_use]
    pub fn list(&self) -> Vec<AgentView> {
        let inner = &self.inner;
        let lost: HashMap<Identity, u64> = inner.deps.web.bus().peer_infos().into_iter().map(|peer| (peer.identity, peer.lost)).collect();
        let view = |agent: InstalledAgent| {
            let lost = lost.get(&agent.identity).copied().unwrap_or(0);
            inner.view(agent, lost)
        };
        let mut views: Vec<_> = inner.deps.installed.all().into_iter().map(view).collect();
        views.sort_by(|a, b| (&a.name, &a.identity).cmp(&(&b.name, &b.identity)));
        views
    }

    /// The installed agent with this identity.
    #[must_use]
    pub fn by_identity(&self, identity: &str) -> Option<AgentView> {
        self.inner.deps.installed.by_identity(identity).map(|agent| self.inner.view_alone(agent))
    }

    /// The installed agent with this UUID.
    #[must_use]
    pub fn by_uuid(&self, uuid: AgentUuid) -> Option<AgentView> {
        self.inner.deps.installed.by_uuid(uuid).map(|agent| self.inner.view_alone(agent))
    }

    /// What can be installed.
    #[must_use]
    pub fn kinds(&self) -> Vec<AgentKindInfo> {
        self.inner.deps.installed.launcher().kinds()
    }

    /// Changes in the life of agents from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<AgentEvent> {
        self.inner.events.subscribe()
    }

    /// Identities of all connected peers, installed or not, sorted.
    #[must_use]
    pub fn running_peers(&self) -> Vec<Identity> {
        self.inner.deps.web.bus().peers()
    }

    /// Forgets how agents ended that do not run: of all with `all`, else only of those that are no longer installed (which are forgotten
    /// when they are removed). Without rights it does nothing but say so in the audit log.
    pub fn clear_status(&self, caller: &Caller, all: bool) {
        let rights = caller.require_vui();
        if rights.is_ok() && all {
            let launcher = self.inner.deps.installed.launcher();
            for (agent, state) in self.inner.deps.installed.states() {
                if matches!(state, RunState::Stopped { .. } | RunState::Failed { .. }) {
                    launcher.forget(agent.uuid);
                    self.inner.tell(&agent.identity, "never_started");
                }
            }
        }
        let (inner, caller) = (Arc::clone(&self.inner), caller.clone());
        self.inner.deps.control.spawn(async move {
            let detail = if all { "all" } else { "" };
            inner.deps.audit.record(&caller, "agent.clear_status", "", rights.as_ref().map(|()| detail)).await;
        });
    }
}

impl Inner {
    fn view_alone(&self, agent: InstalledAgent) -> AgentView {
        let infos = self.deps.web.bus().peer_infos();
        let lost = infos.iter().find(|peer| peer.identity == agent.identity).map_or(0, |peer| peer.lost);
        self.view(agent, lost)
    }

    fn view(&self, agent: InstalledAgent, lost: u64) -> AgentView {
        let InstalledAgent { uuid, identity, name, tag, priority, source, .. } = agent;
        let kind = match source {
            AgentSource::BuiltIn { kind } => kind,
            AgentSource::Python(_) => PYTHON_KIND.to_owned(),
        };
        let state = self.deps.installed.launcher().state(uuid);
        let health = self.deps.health.of(&identity);
        AgentView { uuid, identity, name, kind, tag, priority, state, health, lost }
    }

    /// Tells followers.
    fn tell(&self, identity: &Identity, state: &'static str) {
        // An error means that nobody follows.
        drop(self.events.send(AgentEvent { identity: identity.clone(), state, at: self.deps.clock.now() }));
    }

    /// Waits until nobody else changes the agent with this identity.
    async fn turn(&self, identity: &Identity) -> OwnedMutexGuard<()> {
        let lock = {
            let mut turns = self.turns.lock();
            if turns.len() > TURNS_KEPT {
                turns.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            Arc::clone(turns.entry(identity.clone()).or_default())
        };
        lock.lock_owned().await
    }
}
