//! Life cycle of agents: the control service.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::broadcast;
use vt_backends::{AgentKindInfo, RunState};
use vt_types::timestamp::Timestamp;
use vt_types::{AgentUuid, Identity, Params, Priority, Tag};

use crate::{Caller, HealthView, ServiceError};

/// An installed agent as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentView {
    /// Installation id.
    pub uuid: AgentUuid,
    /// Its identity.
    pub identity: Identity,
    /// Name and version.
    pub name: String,
    /// Its kind in the catalogue.
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
    /// Replaces an agent of the same identity.
    pub force: bool,
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
pub struct Agents {}

impl Agents {
    pub fn list(&self) -> Vec<AgentView> {
        unimplemented!()
    }
    pub fn by_identity(&self, identity: &str) -> Option<AgentView> {
        let _ = identity;
        unimplemented!()
    }
    pub fn by_uuid(&self, uuid: AgentUuid) -> Option<AgentView> {
        let _ = uuid;
        unimplemented!()
    }
    pub fn kinds(&self) -> Vec<AgentKindInfo> {
        unimplemented!()
    }
    pub async fn install(&self, caller: &Caller, request: InstallRequest) -> Result<AgentView, ServiceError> {
        let _ = (caller, request);
        unimplemented!()
    }
    pub async fn remove(&self, caller: &Caller, identity: &Identity) -> Result<(), ServiceError> {
        let _ = (caller, identity);
        unimplemented!()
    }
    pub async fn start(&self, caller: &Caller, identity: &Identity) -> Result<(), ServiceError> {
        let _ = (caller, identity);
        unimplemented!()
    }
    pub async fn stop(&self, caller: &Caller, identity: &Identity) -> Result<(), ServiceError> {
        let _ = (caller, identity);
        unimplemented!()
    }
    pub async fn restart(&self, caller: &Caller, identity: &Identity) -> Result<(), ServiceError> {
        let _ = (caller, identity);
        unimplemented!()
    }
    pub async fn set_tag(&self, caller: &Caller, identity: &Identity, tag: Option<Tag>) -> Result<(), ServiceError> {
        let _ = (caller, identity, tag);
        unimplemented!()
    }
    pub async fn set_priority(&self, caller: &Caller, identity: &Identity, priority: Option<Priority>) -> Result<(), ServiceError> {
        let _ = (caller, identity, priority);
        unimplemented!()
    }
    pub fn clear_status(&self, caller: &Caller, all: bool) {
        let _ = (caller, all);
        unimplemented!()
    }
    pub fn events(&self) -> broadcast::Receiver<AgentEvent> {
        unimplemented!()
    }
    pub fn running_peers(&self) -> Vec<Identity> {
        unimplemented!()
    }
    pub async fn autostart(&self) {
        unimplemented!()
    }
    pub async fn rpc_methods(&self, identity: &Identity) -> Result<Vec<String>, ServiceError> {
        let _ = identity;
        unimplemented!()
    }
    pub async fn rpc_inspect(&self, identity: &Identity, method: &str) -> Result<Value, ServiceError> {
        let _ = (identity, method);
        unimplemented!()
    }
    pub async fn rpc_call(
        &self,
        caller: &Caller,
        identity: &Identity,
        method: &str,
        params: Params,
        limit: Duration,
    ) -> Result<Value, ServiceError> {
        let _ = (caller, identity, method, params, limit);
        unimplemented!()
    }
}
