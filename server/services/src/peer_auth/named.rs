//! Groups and roles changed one by one, so that tools that work at the same time do not undo each other's changes.

use vt_backends::{Capabilities, Named};

use super::PeerAuth;
use crate::{Caller, ServiceError};

/// What an update does with what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is there afterwards.
    Add,
    /// It is gone afterwards.
    Remove,
}

impl PeerAuth {
    /// Makes a group.
    ///
    /// # Errors
    /// `Forbidden`, `AlreadyExists`, `Conflict` while `auth.json` is broken, `Unavailable`.
    pub async fn add_group(&self, caller: &Caller, name: &str, roles: Vec<String>) -> Result<(), ServiceError> {
        let mut unique: Vec<String> = Vec::new();
        roles.into_iter().for_each(|role| include(&mut unique, role));
        self.edit(caller, "peer.groups", name, |records| add(&mut records.groups, "group", name, unique)).await
    }

    /// Adds roles to a group, or takes them out.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Conflict`, `Unavailable`.
    pub async fn update_group(&self, caller: &Caller, name: &str, change: Change, roles: Vec<String>) -> Result<(), ServiceError> {
        self.edit(caller, "peer.groups", name, |records| {
            update(&mut records.groups, "group", name, |known| match change {
                Change::Add => roles.into_iter().for_each(|role| include(known, role)),
                Change::Remove => known.retain(|role| !roles.contains(role)),
            })
        })
        .await
    }

    /// Makes a role.
    ///
    /// # Errors
    /// As [`PeerAuth::add_group`].
    pub async fn add_role(&self, caller: &Caller, name: &str, capabilities: Capabilities) -> Result<(), ServiceError> {
        self.edit(caller, "peer.roles", name, |records| add(&mut records.roles, "role", name, capabilities)).await
    }

    /// Adds capabilities to a role, or takes them out by name.
    ///
    /// # Errors
    /// As [`PeerAuth::update_group`].
    pub async fn update_role(&self, caller: &Caller, name: &str, change: Change, capabilities: &Capabilities) -> Result<(), ServiceError> {
        self.edit(caller, "peer.roles", name, |records| {
            update(&mut records.roles, "role", name, |known| {
                for (capability, _) in capabilities.iter() {
                    known.remove(capability);
                }
                if change == Change::Add {
                    known.add_missing(capabilities);
                }
            })
        })
        .await
    }
}

fn include(known: &mut Vec<String>, role: String) {
    if !known.contains(&role) {
        known.push(role);
    }
}

fn add<T>(all: &mut Named<T>, kind: &str, name: &str, value: T) -> Result<(), ServiceError> {
    if all.get(name).is_some() {
        return Err(ServiceError::AlreadyExists(format!("{kind} \"{name}\" already exists")));
    }
    all.set(name, value);
    Ok(())
}

fn update<T: Clone>(all: &mut Named<T>, kind: &str, name: &str, change: impl FnOnce(&mut T)) -> Result<(), ServiceError> {
    let missing = || ServiceError::NotFound(format!("{kind} \"{name}\" does not exist"));
    let mut value = all.get(name).cloned().ok_or_else(missing)?;
    change(&mut value);
    all.set(name, value);
    Ok(())
}
