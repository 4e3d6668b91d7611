//! The trait that every in-process agent implements, and what the catalogue says about a kind of agent.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::{AgentContext, Events};

/// An agent: it runs until its events say stop, or until it has nothing left to do.
#[async_trait]
pub trait Agent: Send {
    /// Runs. Start by exporting methods (`context.serve`), then load configuration (`context.load_configs`), subscribe, then loop over
    /// `events`. Return when [`crate::Event::Stop`] arrives; ten seconds later the host stops waiting.
    ///
    /// # Errors
    /// An error counts as a crash: the supervisor restarts the agent with back-off.
    async fn run(self: Box<Self>, context: AgentContext, events: Events) -> Result<(), AgentError>;
}

/// Why an agent ended by itself; one readable sentence that goes to log and status.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AgentError(pub String);

impl AgentError {
    /// From anything that can be shown.
    pub fn new(cause: impl std::fmt::Display) -> Self {
        Self(cause.to_string())
    }
}

/// Why an agent could not be made from its configuration; names the field.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BuildError(pub String);

/// Makes an agent from its install-time configuration; holds whatever it needs of the outside.
pub type BuildAgent = Arc<dyn Fn(Value) -> Result<Box<dyn Agent>, BuildError> + Send + Sync>;

/// One kind of built-in agent, as the catalogue lists it.
#[derive(Clone)]
pub struct AgentKind {
    /// Name in the catalogue, such as `platform_driver`.
    pub kind: &'static str,
    /// Distribution name, such as `platform_driveragent`.
    pub distribution: &'static str,
    /// Version, such as `4.0`.
    pub version: &'static str,
    /// Class name, part of alert topics, such as `PlatformDriverAgent`.
    pub class_name: &'static str,
    /// Identity unless told otherwise; `{n}` is replaced by the first free number.
    pub default_identity: &'static str,
    /// One sentence on what it does.
    pub summary: &'static str,
    /// Publications that may wait for it; 0 for the bus's default.
    pub publications_max: usize,
    /// Makes the agent from its install-time configuration (`{}` if there is none).
    pub build: BuildAgent,
}

impl AgentKind {
    /// Name and version as installed: `platform_driveragent-4.0`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}", self.distribution, self.version)
    }
}

impl std::fmt::Debug for AgentKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentKind").field("kind", &self.kind).field("version", &self.version).finish_non_exhaustive()
    }
}
