//! The configuration store: named entries per identity, told to the agents that own them. Bus peer `config.store`.
//! Entries are resolved (`config://`) by the agents, not here; the store only refuses circles.
//!
//! Map: `parse` (reading JSON, CSV, names, links), `entries` (changes, pure), `store` (one identity at work: group commit, telling), `rpc`.
//! Source: vip-zmq.md §7, VOLTTRON `volttron/platform/store.py`.
//!
//! Invariants: an entry is durable before its agent is told and before the caller gets OK; the agent hears of changes in the order in
//! which they were made; changes that wait together are saved together, so that loading many entries side by side costs few writes.

mod entries;
mod parse;
mod rpc;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::broadcast;
use vt_agent::AgentContext;
use vt_backends::{ConfigEntry, ConfigRepository, ConfigType, RepositoryError};
use vt_types::timestamp::Timestamp;
use vt_types::{Clock, Identity};

use self::entries::{Change, Entries, Entry};
use self::store::{Shared, Store, Telling};
use crate::{Audit, Caller, ServiceError};

pub(crate) use rpc::export;

/// Changes held for a slow follower; one that falls behind is told so and reads the store again.
const FOLLOWED_MAX: usize = 4096;
/// Identities that may have entries.
const STORES_MAX: usize = 10_000;
/// Texts longer than this are read on a blocking thread, in bytes.
const QUICK_BYTES_MAX: usize = 64 * 1024;

/// One entry as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigView {
    /// Name as given.
    pub name: String,
    /// How to read `data`.
    pub config_type: ConfigType,
    /// When it was stored.
    pub modified: Option<Timestamp>,
    /// The raw text.
    pub data: String,
}

/// The configuration store.
pub struct ConfigStore {
    shared: Arc<Shared>,
    stores: RwLock<BTreeMap<Identity, Arc<Store>>>,
    audit: Arc<Audit>,
    clock: Arc<dyn Clock>,
}

impl ConfigStore {
    /// Reads everything that is stored.
    pub(crate) async fn open(
        records: Arc<dyn ConfigRepository>,
        context: AgentContext,
        audit: Arc<Audit>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RepositoryError> {
        let loaded = records.load_all().await?;
        for warning in &loaded.warnings {
            tracing::warn!(warning, "a part of the configuration store was left out");
        }
        let shared = Arc::new(Shared { context, records, changes: broadcast::channel(FOLLOWED_MAX).0 });
        let mut stores = BTreeMap::new();
        for (identity, stored) in loaded.records {
            let entries = read_stored(&identity, stored).await;
            stores.insert(identity.clone(), Arc::new(Store::new(identity, Arc::clone(&shared), entries)));
        }
        Ok(Self { shared, stores: RwLock::new(stores), audit, clock })
    }

    /// Identities that have entries, sorted.
    #[must_use]
    pub fn stores(&self) -> Vec<Identity> {
        self.stores.read().iter().filter(|(_, store)| !store.entries().is_empty()).map(|(identity, _)| identity.clone()).collect()
    }

    /// Names of an identity's entries, sorted; none for an unknown identity.
    #[must_use]
    pub fn names(&self, identity: &Identity) -> Vec<String> {
        let mut names: Vec<_> = self.entries(identity).values().map(|entry| entry.stored.name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// An entry as stored.
    #[must_use]
    pub fn get(&self, identity: &Identity, name: &str) -> Option<ConfigView> {
        let entries = self.entries(identity);
        let ConfigEntry { name, config_type, modified, data } = entries.get(&parse::key(name))?.stored.clone();
        Some(ConfigView { name, config_type, modified, data })
    }

    /// A json entry as its value, csv as rows, raw as text; `None` also for an entry of old times that cannot be read.
    #[must_use]
    pub fn parsed(&self, identity: &Identity, name: &str) -> Option<Value> {
        self.entries(identity).get(&parse::key(name))?.parsed.clone().ok()
    }

    /// Stores an entry, new or in place of another, and tells its agent.
    ///
    /// # Errors
    /// `Forbidden`, `Invalid` with line and column, `Unavailable` if it could not be stored; then nothing changed.
    pub async fn set(&self, caller: &Caller, identity: &Identity, name: &str, kind: ConfigType, data: &str) -> Result<(), ServiceError> {
        let set = async {
            caller.require_vui()?;
            self.set_unaudited(identity, name, kind, data, Telling::ALL).await
        };
        let (result, detail) = (set.await, format!("{}, {} bytes", kind.as_str(), data.len()));
        self.audit.record(caller, "config.set", &target(identity, name), result.as_ref().map(|()| detail.as_str())).await;
        result
    }

    /// Stores many entries with as few durable writes as possible; all or none.
    ///
    /// # Errors
    /// As [`ConfigStore::set`].
    pub async fn set_many(
        &self,
        caller: &Caller,
        identity: &Identity,
        entries: Vec<(String, ConfigType, String)>,
    ) -> Result<(), ServiceError> {
        let detail = format!("{} entries", entries.len());
        let set = async {
            caller.require_vui()?;
            let now = self.clock.now();
            let entries = blocking(move || {
                entries.iter().map(|(name, kind, data)| Entry::new(name, *kind, data, now).map(Arc::new)).collect::<Result<Vec<_>, _>>()
            });
            self.store(identity)?.change(Change::Set(entries.await??), Telling::ALL).await
        };
        let result = set.await;
        self.audit.record(caller, "config.set_many", identity.as_str(), result.as_ref().map(|()| detail.as_str())).await;
        result
    }

    /// Deletes an entry and tells its agent.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Unavailable`.
    pub async fn delete(&self, caller: &Caller, identity: &Identity, name: &str) -> Result<(), ServiceError> {
        let delete = async {
            caller.require_vui()?;
            self.delete_unaudited(identity, name, Telling::ALL).await
        };
        let result = delete.await;
        self.audit.record(caller, "config.delete", &target(identity, name), result.as_ref().map(|()| "")).await;
        result
    }

    /// Deletes all entries of an identity and tells its agent; without any it does nothing.
    ///
    /// # Errors
    /// `Forbidden`, `Unavailable`.
    pub async fn delete_store(&self, caller: &Caller, identity: &Identity) -> Result<(), ServiceError> {
        let delete = async {
            caller.require_vui()?;
            self.delete_store_unaudited(identity).await
        };
        let result = delete.await;
        self.audit.record(caller, "config.delete_store", identity.as_str(), result.as_ref().map(|()| "")).await;
        result
    }

    /// Changes from now on: identity and name of the entry; an empty name when all entries of the identity are gone.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<(Identity, String)> {
        self.shared.changes.subscribe()
    }

    /// For agents that change their own store, which no person answers for.
    async fn set_unaudited(
        &self,
        identity: &Identity,
        name: &str,
        kind: ConfigType,
        data: &str,
        telling: Telling,
    ) -> Result<(), ServiceError> {
        let now = self.clock.now();
        let entry = if data.len() <= QUICK_BYTES_MAX || data.len() > entries::DATA_BYTES_MAX {
            Entry::new(name, kind, data, now)?
        } else {
            let (name, data) = (name.to_owned(), data.to_owned());
            blocking(move || Entry::new(&name, kind, &data, now)).await??
        };
        self.store(identity)?.change(Change::Set(vec![Arc::new(entry)]), telling).await
    }

    async fn delete_unaudited(&self, identity: &Identity, name: &str, telling: Telling) -> Result<(), ServiceError> {
        let store = self.existing(identity).ok_or_else(|| entries::no_entry(identity, name))?;
        store.change(Change::Delete(name.to_owned()), telling).await
    }

    async fn delete_store_unaudited(&self, identity: &Identity) -> Result<(), ServiceError> {
        match self.existing(identity) {
            Some(store) => store.change(Change::DeleteAll, Telling::ALL).await,
            None => Ok(()),
        }
    }

    /// Tells an agent all its entries; returns when it has taken them in.
    async fn initialize(&self, identity: &Identity) -> Result<(), ServiceError> {
        self.store(identity)?.tell_all().await
    }

    fn entries(&self, identity: &Identity) -> Arc<Entries> {
        self.existing(identity).map(|store| store.entries()).unwrap_or_default()
    }

    fn existing(&self, identity: &Identity) -> Option<Arc<Store>> {
        self.stores.read().get(identity).cloned()
    }

    /// The store of `identity`, made when absent.
    fn store(&self, identity: &Identity) -> Result<Arc<Store>, ServiceError> {
        if let Some(store) = self.existing(identity) {
            return Ok(store);
        }
        let mut stores = self.stores.write();
        if stores.len() >= STORES_MAX {
            stores.retain(|_, store| Arc::strong_count(store) > 1 || !store.entries().is_empty());
            if stores.len() >= STORES_MAX {
                return Err(ServiceError::Unavailable(format!("at most {STORES_MAX} agents may have configuration entries")));
            }
        }
        let new = || Arc::new(Store::new(identity.clone(), Arc::clone(&self.shared), Entries::new()));
        Ok(Arc::clone(stores.entry(identity.clone()).or_insert_with(new)))
    }
}

async fn read_stored(identity: &Identity, stored: Vec<ConfigEntry>) -> Entries {
    let read = blocking(move || stored.into_iter().map(|entry| Arc::new(Entry::loaded(entry))).collect::<Vec<_>>());
    let mut entries = Entries::new();
    for entry in read.await.unwrap_or_default() {
        if let Err(problem) = &entry.parsed {
            tracing::warn!(%identity, name = entry.stored.name, problem, "a stored configuration entry cannot be read; its agent does not get it");
        }
        entries.insert(entry.key(), entry);
    }
    entries
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ServiceError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ServiceError::Internal(format!("reading configuration entries: {error}")))
}

fn target(identity: &Identity, name: &str) -> String {
    format!("{identity}/{}", name.trim())
}
