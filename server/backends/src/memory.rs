//! In-memory fakes of the repositories, for tests of what stands above them. They hold what they are given as long as they live, clones
//! share it, and each fails on request, because callers must be tested against a full disk, too.

mod channels;
mod log_files;
mod packages;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use vt_types::timestamp::Timestamp;
use vt_types::{AgentUuid, Identity, Priority, Tag};

pub use channels::{MemoryChannel, MemoryChannels};
pub use log_files::MemoryLogFiles;
pub use packages::MemoryPackages;

use crate::repositories::alerts::ALERTS_MAX;
use crate::repositories::audit::AUDIT_LIMIT_DEFAULT;
use crate::repositories::{Loaded, RepositoryError, Stamp};
use crate::{
    AgentSource, AlertRecord, AlertRepository, AuditFilter, AuditRecord, AuditRepository, ConfigEntry, ConfigRepository,
    InstallationRepository, InstalledAgent, NewInstallation, PolicyRepository, ProtectedTopic, PythonSource, Revocation,
    RevocationRepository, UserRepository, Users,
};

/// What all fakes share: the records, whether to fail, and how often they were changed.
#[derive(Debug, Default)]
struct Shelf<T> {
    records: T,
    failing: bool,
    changes: u64,
}

#[derive(Debug)]
struct Shared<T>(Arc<Mutex<Shelf<T>>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Default> Default for Shared<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Shared<T> {
    fn read<R>(&self, read: impl FnOnce(&T) -> R) -> Result<R, RepositoryError> {
        let shelf = self.0.lock();
        if shelf.failing { Err(failure()) } else { Ok(read(&shelf.records)) }
    }

    fn change<R>(&self, change: impl FnOnce(&mut T) -> Result<R, RepositoryError>) -> Result<R, RepositoryError> {
        let mut shelf = self.0.lock();
        if shelf.failing {
            return Err(failure());
        }
        let result = change(&mut shelf.records)?;
        shelf.changes += 1;
        Ok(result)
    }

    fn stamp(&self) -> Result<Option<Stamp>, RepositoryError> {
        let shelf = self.0.lock();
        if shelf.failing { Err(failure()) } else { Ok((shelf.changes > 0).then(|| shelf.changes.to_string())) }
    }
}

fn failure() -> RepositoryError {
    RepositoryError::Unavailable { what: "memory".to_owned(), source: "told to fail".into() }
}

macro_rules! fake {
    ($(#[$doc:meta])* $name:ident, $records:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default)]
        pub struct $name {
            shared: Shared<$records>,
        }

        impl $name {
            /// From now on every call fails, or works again.
            pub fn set_failing(&self, failing: bool) {
                self.shared.0.lock().failing = failing;
            }
        }
    };
}

fake!(
    /// Alerts in memory.
    MemoryAlerts,
    Vec<AlertRecord>
);
fake!(
    /// An audit log in memory.
    MemoryAudit,
    Vec<AuditRecord>
);
fake!(
    /// A configuration store in memory.
    MemoryConfigs,
    BTreeMap<Identity, Vec<ConfigEntry>>
);
fake!(
    /// Installed agents in memory. Their data directories are names below `/nonexistent` and are not made.
    MemoryInstallations,
    Vec<InstalledAgent>
);
fake!(
    /// Protected topics in memory; see [`MemoryPolicy::set`].
    MemoryPolicy,
    Vec<ProtectedTopic>
);
fake!(
    /// Ended sessions in memory.
    MemoryRevocations,
    Vec<Revocation>
);
fake!(
    /// Web users in memory; `save` stands for an edit from outside as well.
    MemoryUsers,
    Users
);

#[async_trait]
impl AlertRepository for MemoryAlerts {
    async fn append(&self, record: AlertRecord) -> Result<(), RepositoryError> {
        self.shared.change(|records| {
            records.push(record);
            let excess = records.len().saturating_sub(ALERTS_MAX);
            records.drain(..excess);
            Ok(())
        })
    }

    async fn newest(&self, limit: usize) -> Result<Vec<AlertRecord>, RepositoryError> {
        self.shared.read(|records| records.iter().rev().take(limit).cloned().collect())
    }
}

#[async_trait]
impl AuditRepository for MemoryAudit {
    async fn append(&self, record: AuditRecord) -> Result<(), RepositoryError> {
        self.shared.change(|records| {
            records.push(record);
            Ok(())
        })
    }

    async fn list(&self, filter: AuditFilter) -> Result<Vec<AuditRecord>, RepositoryError> {
        let limit = if filter.limit == 0 { AUDIT_LIMIT_DEFAULT } else { filter.limit };
        let wanted = |record: &&AuditRecord| {
            filter.user.as_ref().is_none_or(|user| *user == record.user)
                && filter.action_prefix.as_ref().is_none_or(|prefix| record.action.starts_with(prefix.as_str()))
                && filter.target.as_ref().is_none_or(|target| *target == record.target)
        };
        self.shared.read(|records| records.iter().rev().filter(wanted).take(limit).cloned().collect())
    }
}

#[async_trait]
impl ConfigRepository for MemoryConfigs {
    async fn load_all(&self) -> Result<Loaded<BTreeMap<Identity, Vec<ConfigEntry>>>, RepositoryError> {
        self.shared.read(|records| Loaded { records: records.clone(), warnings: Vec::new() })
    }

    async fn save(&self, identity: &Identity, entries: &[ConfigEntry]) -> Result<(), RepositoryError> {
        self.shared.change(|records| {
            if entries.is_empty() {
                records.remove(identity);
            } else {
                records.insert(identity.clone(), entries.to_vec());
            }
            Ok(())
        })
    }
}

impl MemoryInstallations {
    fn change(&self, uuid: AgentUuid, change: impl FnOnce(&mut InstalledAgent)) -> Result<(), RepositoryError> {
        self.shared.change(|records| {
            let agent = records.iter_mut().find(|agent| agent.uuid == uuid);
            agent.map(change).ok_or_else(|| RepositoryError::NotFound(format!("agent {uuid}")))
        })
    }
}

fn new_uuid() -> Result<AgentUuid, RepositoryError> {
    let text = uuid::Uuid::new_v4().to_string();
    AgentUuid::parse(&text).map_err(|error| RepositoryError::Unavailable { what: text, source: Box::new(error) })
}

fn insert(records: &mut Vec<InstalledAgent>, uuid: AgentUuid, new: NewInstallation) -> Result<InstalledAgent, RepositoryError> {
    if records.iter().any(|agent| agent.identity == new.identity) {
        return Err(RepositoryError::AlreadyExists(format!("an agent with the identity {}", new.identity)));
    }
    let directory = PathBuf::from("/nonexistent").join(uuid.as_str());
    let NewInstallation { identity, name, tag, priority, source, config, keys: _ } = new;
    let (source, data_dir) = match source {
        AgentSource::BuiltIn { kind } => (AgentSource::BuiltIn { kind }, directory),
        AgentSource::Python(python) => {
            let python = PythonSource { directory, ..python };
            let data_dir = python.data_dir(&name);
            (AgentSource::Python(python), data_dir)
        }
    };
    let agent = InstalledAgent { uuid, identity, name, tag, priority, source, config, data_dir };
    records.push(agent.clone());
    Ok(agent)
}

#[async_trait]
impl InstallationRepository for MemoryInstallations {
    async fn load_all(&self) -> Result<Loaded<Vec<InstalledAgent>>, RepositoryError> {
        self.shared.read(|records| Loaded { records: records.clone(), warnings: Vec::new() })
    }

    async fn install(&self, new: NewInstallation) -> Result<InstalledAgent, RepositoryError> {
        let uuid = new_uuid()?;
        self.shared.change(|records| insert(records, uuid, new))
    }

    async fn replace(&self, old: AgentUuid, new: NewInstallation) -> Result<InstalledAgent, RepositoryError> {
        let uuid = new_uuid()?;
        self.shared.change(|records| {
            let mut others = records.clone();
            others.retain(|agent| agent.uuid != old);
            if others.len() == records.len() {
                return Err(RepositoryError::NotFound(format!("agent {old}")));
            }
            let agent = insert(&mut others, uuid, new)?;
            *records = others;
            Ok(agent)
        })
    }

    async fn remove(&self, uuid: AgentUuid) -> Result<(), RepositoryError> {
        self.shared.change(|records| {
            let before = records.len();
            records.retain(|agent| agent.uuid != uuid);
            if records.len() < before { Ok(()) } else { Err(RepositoryError::NotFound(format!("agent {uuid}"))) }
        })
    }

    async fn set_tag(&self, uuid: AgentUuid, tag: Option<Tag>) -> Result<(), RepositoryError> {
        self.change(uuid, |agent| agent.tag = tag)
    }

    async fn set_priority(&self, uuid: AgentUuid, priority: Option<Priority>) -> Result<(), RepositoryError> {
        self.change(uuid, |agent| agent.priority = priority)
    }
}

impl MemoryPolicy {
    /// Replaces the topics, as an edit of the file would.
    ///
    /// # Errors
    /// Told to fail.
    pub fn set(&self, topics: Vec<ProtectedTopic>) -> Result<(), RepositoryError> {
        self.shared.change(|records| {
            *records = topics;
            Ok(())
        })
    }
}

#[async_trait]
impl PolicyRepository for MemoryPolicy {
    async fn protected_topics(&self) -> Result<Vec<ProtectedTopic>, RepositoryError> {
        self.shared.read(Clone::clone)
    }

    async fn stamp(&self) -> Result<Option<Stamp>, RepositoryError> {
        self.shared.stamp()
    }
}

#[async_trait]
impl RevocationRepository for MemoryRevocations {
    async fn add(&self, revocation: Revocation) -> Result<(), RepositoryError> {
        self.shared.change(|records| {
            if records.iter().all(|known| known.session != revocation.session) {
                records.push(revocation);
            }
            Ok(())
        })
    }

    async fn current(&self, now: Timestamp) -> Result<Vec<Revocation>, RepositoryError> {
        self.shared.change(|records| {
            records.retain(|revocation| revocation.expires_at > now);
            Ok(records.clone())
        })
    }
}

#[async_trait]
impl UserRepository for MemoryUsers {
    async fn load(&self) -> Result<Users, RepositoryError> {
        self.shared.read(Clone::clone)
    }

    async fn save(&self, users: &Users) -> Result<(), RepositoryError> {
        self.shared.change(|records| {
            records.clone_from(users);
            Ok(())
        })
    }

    async fn stamp(&self) -> Result<Option<Stamp>, RepositoryError> {
        self.shared.stamp()
    }
}

pub mod peers;
#[cfg(test)]
mod tests;
