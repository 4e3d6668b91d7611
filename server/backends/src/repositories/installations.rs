//! Installed agents. Source: VOLTTRON's `agents/<uuid>/` directories.

use std::path::PathBuf;

use async_trait::async_trait;
use serde_json::Value;
use vt_types::{AgentUuid, Identity, Priority, Tag};

use super::{Loaded, RepositoryError};

/// What runs when the agent is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentSource {
    /// An agent of the built-in catalogue.
    BuiltIn {
        /// Its kind, such as `platform_driver`.
        kind: String,
    },
}

/// One installed agent.
#[derive(Debug, Clone, PartialEq)]
pub struct InstalledAgent {
    /// Installation id.
    pub uuid: AgentUuid,
    /// Its identity on the bus; unique among installed agents.
    pub identity: Identity,
    /// Name and version, such as `listeneragent-3.3`.
    pub name: String,
    /// Nickname.
    pub tag: Option<Tag>,
    /// Start order; an agent with one is enabled (starts with the platform).
    pub priority: Option<Priority>,
    /// What it runs.
    pub source: AgentSource,
    /// Its install-time configuration, if any.
    pub config: Option<Value>,
    /// Its own directory for data; exists.
    pub data_dir: PathBuf,
}

/// What is needed to install an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct NewInstallation {
    /// Identity; must be free.
    pub identity: Identity,
    /// Name and version.
    pub name: String,
    /// Nickname.
    pub tag: Option<Tag>,
    /// Start order.
    pub priority: Option<Priority>,
    /// What to run.
    pub source: AgentSource,
    /// Install-time configuration.
    pub config: Option<Value>,
}

/// Keeps the installed agents.
#[async_trait]
pub trait InstallationRepository: Send + Sync {
    /// All installed agents. Broken installations are left out with a warning.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`].
    async fn load_all(&self) -> Result<Loaded<Vec<InstalledAgent>>, RepositoryError>;

    /// Installs: all or nothing.
    ///
    /// # Errors
    /// [`RepositoryError::AlreadyExists`] if the identity is taken; [`RepositoryError::Unavailable`], then nothing is left behind.
    async fn install(&self, new: NewInstallation) -> Result<InstalledAgent, RepositoryError>;

    /// Puts `new` in the place of the installation `old`, whose identity it has: a new UUID, the same data. `old` is gone afterwards.
    ///
    /// # Errors
    /// [`RepositoryError::NotFound`], [`RepositoryError::AlreadyExists`] if another agent has the identity,
    /// [`RepositoryError::Unavailable`]; then `old` can still be loaded with its data, be it with what `new` says of it.
    async fn replace(&self, old: AgentUuid, new: NewInstallation) -> Result<InstalledAgent, RepositoryError>;

    /// Removes an installation with its data.
    ///
    /// # Errors
    /// [`RepositoryError::NotFound`], [`RepositoryError::Unavailable`].
    async fn remove(&self, uuid: AgentUuid) -> Result<(), RepositoryError>;

    /// Sets or clears the tag.
    ///
    /// # Errors
    /// [`RepositoryError::NotFound`], [`RepositoryError::Unavailable`].
    async fn set_tag(&self, uuid: AgentUuid, tag: Option<Tag>) -> Result<(), RepositoryError>;

    /// Sets or clears the priority.
    ///
    /// # Errors
    /// [`RepositoryError::NotFound`], [`RepositoryError::Unavailable`].
    async fn set_priority(&self, uuid: AgentUuid, priority: Option<Priority>) -> Result<(), RepositoryError>;
}
