//! The installed agents in memory, in step with the repository: what life cycle, health and rights look at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::RwLock;
use vt_backends::{AgentLauncher, InstalledAgent, RunState};
use vt_types::{AgentUuid, Identity, Priority, Tag};

use crate::peer_auth::InstalledAgents;

/// The installed agents.
pub struct Installed {
    agents: RwLock<BTreeMap<AgentUuid, InstalledAgent>>,
    launcher: Arc<dyn AgentLauncher>,
    is_autostarted: AtomicBool,
}

impl Installed {
    pub fn new(agents: Vec<InstalledAgent>, launcher: Arc<dyn AgentLauncher>) -> Self {
        let agents = agents.into_iter().map(|agent| (agent.uuid, agent)).collect();
        Self { agents: RwLock::new(agents), launcher, is_autostarted: AtomicBool::new(false) }
    }

    pub fn launcher(&self) -> &dyn AgentLauncher {
        self.launcher.as_ref()
    }

    pub fn all(&self) -> Vec<InstalledAgent> {
        self.agents.read().values().cloned().collect()
    }

    pub fn by_uuid(&self, uuid: AgentUuid) -> Option<InstalledAgent> {
        self.agents.read().get(&uuid).cloned()
    }

    pub fn by_identity(&self, identity: &str) -> Option<InstalledAgent> {
        self.agents.read().values().find(|agent| agent.identity.as_str() == identity).cloned()
    }

    /// What the agent with this identity is doing.
    pub fn states(&self) -> Vec<(InstalledAgent, RunState)> {
        self.all().into_iter().map(|agent| (agent.uuid, agent)).map(|(uuid, agent)| (agent, self.launcher.state(uuid))).collect()
    }

    pub fn insert(&self, agent: InstalledAgent) {
        self.agents.write().insert(agent.uuid, agent);
    }

    pub fn remove(&self, uuid: AgentUuid) {
        self.agents.write().remove(&uuid);
    }

    pub fn set_tag(&self, uuid: AgentUuid, tag: Option<Tag>) {
        if let Some(agent) = self.agents.write().get_mut(&uuid) {
            agent.tag = tag;
        }
    }

    pub fn set_priority(&self, uuid: AgentUuid, priority: Option<Priority>) {
        if let Some(agent) = self.agents.write().get_mut(&uuid) {
            agent.priority = priority;
        }
    }

    /// Enabled agents have had their start.
    pub fn set_autostarted(&self) {
        self.is_autostarted.store(true, Relaxed);
    }

    pub fn is_autostarted(&self) -> bool {
        self.is_autostarted.load(Relaxed)
    }
}

impl InstalledAgents for Installed {
    fn identities(&self) -> Vec<Identity> {
        self.agents.read().values().map(|agent| agent.identity.clone()).collect()
    }

    fn has(&self, identity: &str) -> bool {
        self.agents.read().values().any(|agent| agent.identity.as_str() == identity)
    }
}
