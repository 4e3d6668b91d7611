//! Health of everything that is connected: the platform health service.

use std::collections::BTreeMap;

use serde_json::Value;
use vt_types::timestamp::Timestamp;
use vt_types::{Identity, StatusWord};

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
pub struct PlatformHealth {}

impl PlatformHealth {
    pub fn of(&self, identity: &Identity) -> Option<HealthView> {
        let _ = identity;
        unimplemented!()
    }
    pub fn all(&self) -> BTreeMap<Identity, HealthView> {
        unimplemented!()
    }
    pub fn roll_up(&self) -> RollUp {
        unimplemented!()
    }
}
