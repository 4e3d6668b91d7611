//! Changes of the records by people and by peers. Each checks the caller's rights and is in the audit log.

use vt_backends::{AuthEntry, AuthList, Capabilities, Field, Mechanism, Named, PeerAuthRecords};
use vt_types::PublicKey;

use super::{PeerAuth, PendingAttempt, SETUP_COMMENT};
use crate::{Caller, ServiceError};

/// Entries that a list may hold.
const ENTRIES_MAX: usize = 100_000;

/// What an entry's user may do.
#[derive(Debug, Clone, PartialEq)]
pub struct Rights {
    /// Own capabilities.
    pub capabilities: Capabilities,
    /// Roles.
    pub roles: Vec<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// Whether it may connect at all.
    pub enabled: bool,
}

impl PeerAuth {
    /// Lets a peer in: one that waits, or one that was denied.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Conflict` while `auth.json` is broken, `Unavailable`.
    pub async fn approve(&self, caller: &Caller, user_id: &str) -> Result<(), ServiceError> {
        self.decide_on(caller, "peer.approve", user_id, AuthList::Allow).await
    }

    /// Keeps a peer out: one that waits, or one that was let in. It is disconnected.
    ///
    /// # Errors
    /// As [`PeerAuth::approve`].
    pub async fn deny(&self, caller: &Caller, user_id: &str) -> Result<(), ServiceError> {
        self.decide_on(caller, "peer.deny", user_id, AuthList::Deny).await
    }

    async fn decide_on(&self, caller: &Caller, action: &str, user_id: &str, into: AuthList) -> Result<(), ServiceError> {
        let decide = async {
            caller.require_admin()?;
            let pending = self.attempts.lock().pending().iter().find(|pending| pending.user_id == user_id).cloned();
            let change = |records: &mut PeerAuthRecords| match pending {
                Some(pending) => {
                    let entry = entry_of(&pending);
                    let list = records.list_mut(into);
                    if !list.iter().any(|known| known.is_for_same(&entry)) {
                        list.push(entry);
                    }
                    Ok(())
                }
                None => move_entries(records, user_id, into),
            };
            self.book.change(change).await
        };
        let result = decide.await;
        if result.is_ok() {
            self.attempts.lock().take(user_id);
        }
        self.finish(caller, action, user_id, "", result).await
    }

    /// Forgets a peer, whether it waits, is let in or denied. If it tries again, it waits again.
    ///
    /// # Errors
    /// As [`PeerAuth::approve`].
    pub async fn delete(&self, caller: &Caller, user_id: &str) -> Result<(), ServiceError> {
        let delete = async {
            caller.require_admin()?;
            if self.attempts.lock().take(user_id).is_some() {
                return Ok(());
            }
            let removed = self.remove_entries(|entry| entry.user_id == user_id).await?;
            if removed > 0 { Ok(()) } else { Err(unknown(user_id)) }
        };
        let result = delete.await;
        self.finish(caller, "peer.delete", user_id, "", result).await
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// `Forbidden`, `AlreadyExists` for a user id or for credentials that are listed, `Conflict`, `Unavailable`.
    pub async fn add_entry(&self, caller: &Caller, list: AuthList, entry: AuthEntry) -> Result<(), ServiceError> {
        let (user_id, detail) = (entry.user_id.clone(), described(&entry, list));
        let add = async {
            caller.require_admin()?;
            self.book
                .change(|records| {
                    let entries = records.list_mut(list);
                    check_unique(entries, &entry, None)?;
                    if entries.len() >= ENTRIES_MAX {
                        return Err(ServiceError::Conflict(format!("a list may hold at most {ENTRIES_MAX} entries")));
                    }
                    entries.push(entry);
                    Ok(())
                })
                .await
        };
        let result = add.await;
        self.finish(caller, "peer.add", &user_id, &detail, result).await
    }

    /// Puts an entry in the place of another.
    ///
    /// # Errors
    /// As [`PeerAuth::add_entry`]; `NotFound` for an index beyond the list.
    pub async fn replace_at(&self, caller: &Caller, list: AuthList, index: usize, entry: AuthEntry) -> Result<(), ServiceError> {
        let (user_id, detail) = (entry.user_id.clone(), described(&entry, list));
        let replace = async {
            caller.require_admin()?;
            self.book
                .change(|records| {
                    let entries = records.list_mut(list);
                    check_unique(entries, &entry, Some(index))?;
                    *entries.get_mut(index).ok_or_else(|| no_index(index))? = entry;
                    Ok(())
                })
                .await
        };
        let result = replace.await;
        self.finish(caller, "peer.change", &user_id, &detail, result).await
    }

    /// Puts an entry in the place of the allow entry with this user id.
    ///
    /// # Errors
    /// As [`PeerAuth::add_entry`]; `NotFound`.
    pub async fn replace_entry(&self, caller: &Caller, user_id: &str, entry: AuthEntry) -> Result<(), ServiceError> {
        let detail = described(&entry, AuthList::Allow);
        let replace = async {
            caller.require_admin()?;
            self.book
                .change(|records| {
                    let index = records.allow.iter().position(|known| known.user_id == user_id).ok_or_else(|| unknown(user_id))?;
                    check_unique(&records.allow, &entry, Some(index))?;
                    records.allow[index] = entry;
                    Ok(())
                })
                .await
        };
        let result = replace.await;
        self.finish(caller, "peer.change", user_id, &detail, result).await
    }

    /// Changes what the user of an allow entry may do.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Conflict`, `Unavailable`.
    pub async fn set_rights(&self, caller: &Caller, user_id: &str, rights: Rights) -> Result<(), ServiceError> {
        let detail = format!("capabilities {}", rights.capabilities.to_json());
        let set = async {
            caller.require_admin()?;
            self.book
                .change(|records| {
                    let entry = records.allow.iter_mut().find(|entry| entry.user_id == user_id).ok_or_else(|| unknown(user_id))?;
                    (entry.capabilities, entry.roles, entry.groups, entry.enabled) =
                        (rights.capabilities, rights.roles, rights.groups, rights.enabled);
                    Ok(())
                })
                .await
        };
        let result = set.await;
        self.finish(caller, "peer.rights", user_id, &detail, result).await
    }

    /// Removes the entries at these places of a list; all or none.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound` for an index beyond the list, `Conflict`, `Unavailable`.
    pub async fn remove_at(&self, caller: &Caller, list: AuthList, indices: &[usize]) -> Result<(), ServiceError> {
        let mut sorted = indices.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let remove = async {
            caller.require_admin()?;
            self.book
                .change(|records| {
                    let entries = records.list_mut(list);
                    if let Some(index) = sorted.last().filter(|index| **index >= entries.len()) {
                        return Err(no_index(*index));
                    }
                    Ok(sorted.iter().rev().map(|index| entries.remove(*index).user_id).collect::<Vec<_>>())
                })
                .await
        };
        let result = remove.await;
        let target = result.as_ref().map_or_else(|_| format!("{indices:?}"), |removed| removed.join(", "));
        self.finish(caller, "peer.remove", &target, list_name(list), result.map(drop)).await
    }

    /// Removes all entries of a list with exactly these credentials; fine if there are none.
    ///
    /// # Errors
    /// `Forbidden`, `Conflict`, `Unavailable`.
    pub async fn remove_credentials(&self, caller: &Caller, list: AuthList, credentials: &str) -> Result<(), ServiceError> {
        let wanted = PublicKey::parse(credentials).map_or_else(|_| credentials.to_owned(), |key| key.to_string());
        let remove = async {
            caller.require_admin()?;
            self.book
                .change(|records| {
                    records.list_mut(list).retain(|entry| entry.credentials != Field::One(wanted.clone()));
                    Ok(())
                })
                .await
        };
        let result = remove.await;
        self.finish(caller, "peer.remove", credentials, list_name(list), result).await
    }

    /// Replaces all groups.
    ///
    /// # Errors
    /// `Forbidden`, `Conflict`, `Unavailable`.
    pub async fn set_groups(&self, caller: &Caller, groups: Named<Vec<String>>) -> Result<(), ServiceError> {
        self.edit(caller, "peer.groups", "", |records| {
            records.groups = groups;
            Ok(())
        })
        .await
    }

    /// Replaces all roles.
    ///
    /// # Errors
    /// `Forbidden`, `Conflict`, `Unavailable`.
    pub async fn set_roles(&self, caller: &Caller, roles: Named<Capabilities>) -> Result<(), ServiceError> {
        self.edit(caller, "peer.roles", "", |records| {
            records.roles = roles;
            Ok(())
        })
        .await
    }

    /// Makes, changes or (with `None`) removes a group.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Conflict`, `Unavailable`.
    pub async fn set_group(&self, caller: &Caller, name: &str, roles: Option<Vec<String>>) -> Result<(), ServiceError> {
        self.edit(caller, "peer.groups", name, |records| match roles {
            Some(roles) => {
                records.groups.set(name, roles);
                Ok(())
            }
            None if records.groups.remove(name) => Ok(()),
            None => Err(ServiceError::NotFound(format!("there is no group {name:?}"))),
        })
        .await
    }

    /// Makes, changes or (with `None`) removes a role.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Conflict`, `Unavailable`.
    pub async fn set_role(&self, caller: &Caller, name: &str, capabilities: Option<Capabilities>) -> Result<(), ServiceError> {
        self.edit(caller, "peer.roles", name, |records| match capabilities {
            Some(capabilities) => {
                records.roles.set(name, capabilities);
                Ok(())
            }
            None if records.roles.remove(name) => Ok(()),
            None => Err(ServiceError::NotFound(format!("there is no role {name:?}"))),
        })
        .await
    }

    /// A change that needs no more than an administrator.
    pub(super) async fn edit<T>(
        &self,
        caller: &Caller,
        action: &str,
        target: &str,
        change: impl FnOnce(&mut PeerAuthRecords) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let result = match caller.require_admin() {
            Ok(()) => self.book.change(change).await,
            Err(error) => Err(error),
        };
        self.finish(caller, action, target, "", result).await
    }

    /// Removes entries of both lists; says how many.
    pub(super) async fn remove_entries(&self, is_meant: impl Fn(&AuthEntry) -> bool) -> Result<usize, ServiceError> {
        self.book
            .change(|records| {
                let before = records.allow.len() + records.deny.len();
                records.allow.retain(|entry| !is_meant(entry));
                records.deny.retain(|entry| !is_meant(entry));
                Ok(before - records.allow.len() - records.deny.len())
            })
            .await
    }

    /// What follows every change: verdicts may be others now, and the audit log knows.
    pub(super) async fn finish<T>(
        &self,
        caller: &Caller,
        action: &str,
        target: &str,
        detail: &str,
        result: Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        if result.is_ok() {
            self.forget_decided();
            self.announce();
        }
        self.audit.record(caller, action, target, result.as_ref().map(|_| detail)).await;
        result
    }
}

/// As VOLTTRON makes it, except for local peers: the entry is for all processes of the user, not for the one that asked.
fn entry_of(pending: &PendingAttempt) -> AuthEntry {
    let mut entry = match pending.key {
        Some(key) => AuthEntry::for_key(key, &pending.user_id),
        None => {
            let mut entry = AuthEntry::for_key(PublicKey::new([0; 32]), &pending.user_id);
            (entry.mechanism, entry.credentials) = (Mechanism::Null, Field::Any);
            entry
        }
    };
    let is_local = pending.address.starts_with("localhost:");
    let address = if is_local { format!("/{}:[0-9]+/", pending.address) } else { pending.address.clone() };
    entry.domain = Field::One(super::DOMAIN.to_owned());
    entry.address = Field::One(address);
    entry.comments = Some(SETUP_COMMENT.to_owned());
    entry
}

fn move_entries(records: &mut PeerAuthRecords, user_id: &str, into: AuthList) -> Result<(), ServiceError> {
    let from = match into {
        AuthList::Allow => AuthList::Deny,
        AuthList::Deny => AuthList::Allow,
    };
    let (moved, kept): (Vec<_>, Vec<_>) = std::mem::take(records.list_mut(from)).into_iter().partition(|entry| entry.user_id == user_id);
    *records.list_mut(from) = kept;
    if moved.is_empty() {
        let is_there = records.list(into).iter().any(|entry| entry.user_id == user_id);
        return if is_there { Ok(()) } else { Err(unknown(user_id)) };
    }
    for entry in moved {
        let list = records.list_mut(into);
        if !list.iter().any(|known| known.user_id == entry.user_id || known.is_for_same(&entry)) {
            list.push(entry);
        }
    }
    Ok(())
}

fn check_unique(entries: &[AuthEntry], new: &AuthEntry, except: Option<usize>) -> Result<(), ServiceError> {
    let mut others = entries.iter().enumerate().filter(|(index, _)| Some(*index) != except);
    // VOLTTRON's words.
    match others.find(|(_, entry)| entry.user_id == new.user_id || entry.is_for_same(new)) {
        None => Ok(()),
        Some((index, entry)) if entry.user_id == new.user_id => {
            Err(ServiceError::AlreadyExists(format!("user_id {} is already in use at index {index}", new.user_id)))
        }
        Some((index, _)) => Err(ServiceError::AlreadyExists(format!("entry matches domain, address and credentials at index {index}"))),
    }
}

fn described(entry: &AuthEntry, list: AuthList) -> String {
    // A password of the PLAIN mechanism is a secret.
    let credentials = if entry.mechanism == Mechanism::Curve { entry.credentials.to_json().to_string() } else { String::new() };
    format!("{} {} {credentials}", list_name(list), entry.mechanism.as_str())
}

fn list_name(list: AuthList) -> &'static str {
    match list {
        AuthList::Allow => "allow",
        AuthList::Deny => "deny",
    }
}

fn no_index(index: usize) -> ServiceError {
    ServiceError::NotFound(format!("Invalid index: [{index}]"))
}

fn unknown(user_id: &str) -> ServiceError {
    ServiceError::NotFound(format!("nobody is known by the user id {user_id:?}"))
}
