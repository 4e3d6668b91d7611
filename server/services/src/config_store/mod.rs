//! The configuration store.

use serde_json::Value;
use tokio::sync::broadcast;
use vt_backends::ConfigType;
use vt_types::Identity;
use vt_types::timestamp::Timestamp;

use crate::{Caller, ServiceError};

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
pub struct ConfigStore {}

impl ConfigStore {
    pub fn stores(&self) -> Vec<Identity> {
        unimplemented!()
    }
    pub fn names(&self, identity: &Identity) -> Vec<String> {
        let _ = identity;
        unimplemented!()
    }
    pub fn get(&self, identity: &Identity, name: &str) -> Option<ConfigView> {
        let _ = (identity, name);
        unimplemented!()
    }
    /// A json entry as its value, csv as rows, raw as text.
    pub fn parsed(&self, identity: &Identity, name: &str) -> Option<Value> {
        let _ = (identity, name);
        unimplemented!()
    }
    pub async fn set(&self, caller: &Caller, identity: &Identity, name: &str, kind: ConfigType, data: &str) -> Result<(), ServiceError> {
        let _ = (caller, identity, name, kind, data);
        unimplemented!()
    }
    /// Stores many entries with as few durable writes as possible; all or none.
    pub async fn set_many(
        &self,
        caller: &Caller,
        identity: &Identity,
        entries: Vec<(String, ConfigType, String)>,
    ) -> Result<(), ServiceError> {
        let _ = (caller, identity, entries);
        unimplemented!()
    }
    pub async fn delete(&self, caller: &Caller, identity: &Identity, name: &str) -> Result<(), ServiceError> {
        let _ = (caller, identity, name);
        unimplemented!()
    }
    pub async fn delete_store(&self, caller: &Caller, identity: &Identity) -> Result<(), ServiceError> {
        let _ = (caller, identity);
        unimplemented!()
    }
    pub fn changes(&self) -> broadcast::Receiver<(Identity, String)> {
        unimplemented!()
    }
}
