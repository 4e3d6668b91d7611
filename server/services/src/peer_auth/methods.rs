//! Which capabilities callers of an agent's methods need, as its entry says. Source: VOLTTRON `auth.py` (`update_id_rpc_authorizations`,
//! `add_rpc_authorizations`, `delete_rpc_authorizations`).

use std::collections::BTreeMap;

use vt_backends::{AuthEntry, PeerAuthRecords};
use vt_types::identity::known;

use super::PeerAuth;
use crate::{Caller, ServiceError};

/// What an entry says of a method that was closed once and is open again.
const OPEN: &str = "";
/// Methods of one agent about which something may be said.
const METHODS_MAX: usize = 1000;

/// Capabilities by method.
pub type Methods = BTreeMap<String, Vec<String>>;

impl PeerAuth {
    /// Takes up what an agent says of its methods where its entry says nothing yet; gives what holds now for each of them. `None` if no
    /// entry has that identity.
    ///
    /// # Errors
    /// `Invalid`, `Conflict`, `Unavailable`.
    pub async fn merge_methods(&self, caller: &Caller, identity: &str, methods: Methods) -> Result<Option<Methods>, ServiceError> {
        let before = self.records();
        let merge = |records: &mut PeerAuthRecords| {
            let Some(entry) = entry_of(records, identity) else { return Ok(None) };
            let mut held = Methods::new();
            for (method, capabilities) in methods {
                let known = entry.rpc_method_authorizations.entry(method.clone()).or_default();
                if known.is_empty() {
                    known.clone_from(&capabilities);
                }
                held.insert(method, known.clone());
            }
            bounded(entry)?;
            Ok(Some(held))
        };
        let result = self.book.change(merge).await;
        // Every agent asks this at each start; only a change is worth the log and telling others.
        if result.is_ok() && self.records() == before {
            return result;
        }
        self.finish(caller, "peer.methods", identity, "", result).await
    }

    /// Adds capabilities to those that callers of a method need.
    ///
    /// # Errors
    /// `Forbidden`, `Invalid` for an identity of the platform's own, `NotFound` without an entry, `Conflict`, `Unavailable`.
    pub async fn add_method_capabilities(
        &self,
        caller: &Caller,
        identity: &str,
        method: &str,
        capabilities: Vec<String>,
    ) -> Result<(), ServiceError> {
        self.edit(caller, "peer.methods", &format!("{identity}.{method}"), |records| {
            let entry = changeable(records, identity)?;
            let known = entry.rpc_method_authorizations.entry(method.to_owned()).or_default();
            known.retain(|capability| capability != OPEN);
            for capability in capabilities {
                if !known.contains(&capability) {
                    known.push(capability);
                }
            }
            bounded(entry)
        })
        .await
    }

    /// Takes capabilities away from those that callers of a method need; a method that needs none any more is open.
    ///
    /// # Errors
    /// As [`PeerAuth::add_method_capabilities`]; `NotFound` if none of them is needed.
    pub async fn remove_method_capabilities(
        &self,
        caller: &Caller,
        identity: &str,
        method: &str,
        capabilities: &[String],
    ) -> Result<(), ServiceError> {
        self.edit(caller, "peer.methods", &format!("{identity}.{method}"), |records| {
            let entry = changeable(records, identity)?;
            let Some(known) = entry.rpc_method_authorizations.get_mut(method) else {
                return Err(ServiceError::NotFound(format!("{identity} does not have a method called {method}")));
            };
            let before = known.len();
            known.retain(|capability| !capabilities.contains(capability));
            if known.len() == before {
                return Err(ServiceError::NotFound(format!("No matching authorized capabilities provided for {method}")));
            }
            if known.is_empty() {
                known.push(OPEN.to_owned());
            }
            Ok(())
        })
        .await
    }
}

fn entry_of<'a>(records: &'a mut PeerAuthRecords, identity: &str) -> Option<&'a mut AuthEntry> {
    records.allow.iter_mut().find(|entry| entry.identity.as_ref().is_some_and(|own| own.as_str() == identity))
}

fn changeable<'a>(records: &'a mut PeerAuthRecords, identity: &str) -> Result<&'a mut AuthEntry, ServiceError> {
    if known::is_reserved(identity) {
        return Err(ServiceError::Invalid(format!("{identity} cannot be modified using this command!")));
    }
    entry_of(records, identity).ok_or_else(|| ServiceError::NotFound("Agent identity not found in auth file!".to_owned()))
}

fn bounded(entry: &AuthEntry) -> Result<(), ServiceError> {
    if entry.rpc_method_authorizations.len() <= METHODS_MAX {
        return Ok(());
    }
    Err(ServiceError::Invalid(format!("an agent may name at most {METHODS_MAX} methods")))
}
