//! What tools may do while the server is down: read and tag installed agents. A tool holds the lock of the home for that moment, as the
//! server does while it runs, so no two writers meet; a server that starts just then waits for it.
//!
//! Deliberately little: whatever needs a decision of a service is done through the running server.

use std::path::{Path, PathBuf};

use vt_backends::{InstallationRepository, RepositoryError};
use vt_storage_files::{FileInstallations, Home, HomeError, HomeLock};
use vt_types::{AgentUuid, InstallationError, Tag};

/// Why something could not be done without the server.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The server runs, or another tool works on the home: ask the server, or try again.
    #[error("the platform's files are in use; try again")]
    InUse,
    /// The home cannot be used.
    #[error(transparent)]
    Home(HomeError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A UUID or tag is none.
    #[error(transparent)]
    Word(#[from] InstallationError),
    /// The system gives no runtime.
    #[error("files cannot be worked on: {0}")]
    System(#[from] std::io::Error),
}

impl From<HomeError> for OfflineError {
    fn from(error: HomeError) -> Self {
        if matches!(error, HomeError::InUse { .. }) { Self::InUse } else { Self::Home(error) }
    }
}

/// An installed agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfflineAgent {
    /// Installation id.
    pub uuid: String,
    /// Name and version.
    pub name: String,
    /// Its identity.
    pub identity: String,
    /// Nickname.
    pub tag: Option<String>,
    /// Start order.
    pub priority: Option<String>,
}

/// A home without its server, held until this is dropped.
pub struct Offline {
    home: PathBuf,
    runtime: tokio::runtime::Runtime,
    /// None for a home that does not exist; nothing is made by looking.
    _lock: Option<HomeLock>,
}

impl Offline {
    /// Takes the home.
    ///
    /// # Errors
    /// [`OfflineError::InUse`] while a server runs or starts, or another tool is at work.
    pub fn open(home: &Path) -> Result<Self, OfflineError> {
        let lock = if home.exists() { Some(Home::open(home)?.1) } else { None };
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Self { home: home.to_owned(), runtime, _lock: lock })
    }

    /// All installed agents that can be read, and a sentence for each that cannot.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn agents(&self) -> Result<(Vec<OfflineAgent>, Vec<String>), OfflineError> {
        let loaded = self.runtime.block_on(self.installations().load_all())?;
        let agent = |agent: vt_backends::InstalledAgent| OfflineAgent {
            uuid: agent.uuid.to_string(),
            name: agent.name,
            identity: agent.identity.to_string(),
            tag: agent.tag.map(|tag| tag.as_str().to_owned()),
            priority: agent.priority.map(|priority| priority.as_str().to_owned()),
        };
        Ok((loaded.records.into_iter().map(agent).collect(), loaded.warnings))
    }

    /// Sets or removes the tag of an agent.
    ///
    /// # Errors
    /// If there is no such agent, the tag is none, or it cannot be written.
    pub fn set_tag(&self, uuid: &str, tag: Option<&str>) -> Result<(), OfflineError> {
        let (uuid, tag) = (AgentUuid::parse(uuid)?, tag.map(Tag::parse).transpose()?);
        Ok(self.runtime.block_on(self.installations().set_tag(uuid, tag))?)
    }

    fn installations(&self) -> FileInstallations {
        FileInstallations::new(&self.home)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_that_is_not_there_has_no_agents_and_is_not_made() {
        let parent = tempfile::tempdir().unwrap();
        let home = parent.path().join("none");
        assert!(Offline::open(&home).unwrap().agents().unwrap().0.is_empty());
        assert!(!home.exists());
    }

    #[test]
    fn one_at_a_time_works_on_a_home() {
        let home = tempfile::tempdir().unwrap();
        let first = Offline::open(home.path()).unwrap();
        assert!(matches!(Offline::open(home.path()), Err(OfflineError::InUse)));
        drop(first);
        Offline::open(home.path()).unwrap();
    }
}
