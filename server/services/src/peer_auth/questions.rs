//! What the policy of the bus and peers ask: rights of users, and what methods and topics need.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use vt_backends::{Access, AgentAuthz, Capabilities};
use vt_types::Identity;
use vt_types::identity::known;

use super::rights::Arguments;
use super::{PeerAuth, agents, powers, rights};

impl PeerAuth {
    /// Capabilities of a user, roles and groups joined; `None` for one whom nobody knows.
    #[must_use]
    pub fn capabilities(&self, user_id: &str) -> Option<Capabilities> {
        let current = self.book.current();
        current.rules.users().get(user_id).cloned().or_else(|| self.is_installed(user_id).then(|| agents::own_store(user_id)))
    }

    /// Capabilities of all users.
    #[must_use]
    pub fn all_capabilities(&self) -> BTreeMap<String, Value> {
        let current = self.book.current();
        let entries = current.rules.users().iter().map(|(user, capabilities)| (user.clone(), capabilities.to_json()));
        let agents = self.installed.identities().into_iter().map(|identity| {
            let capabilities = agents::own_store(identity.as_str()).to_json();
            (identity.to_string(), capabilities)
        });
        // Services push under the name by which they were addressed, and agents look that name up.
        let of_service = |(alias, name): (&str, &str)| Some((alias.to_owned(), current.rules.users().get(name)?.to_json()));
        let aliases = known::ALIASES.iter().copied().filter_map(of_service);
        // Later ones win: what an entry says counts more than what an agent has without one.
        agents.chain(aliases).chain(entries).collect()
    }

    /// Checks that a user holds `needed` for a call of `method`.
    ///
    /// # Errors
    /// The refusal in VOLTTRON's words.
    pub(crate) fn check(&self, user_id: &str, method: &str, needed: &[String], arguments: Arguments<'_>) -> Result<(), String> {
        let held = self.capabilities(user_id).unwrap_or_default();
        rights::check(user_id, &held, method, needed, arguments)
    }

    /// Checks that a user may call a method of an agent, by all that closes it.
    ///
    /// # Errors
    /// The refusal in VOLTTRON's words.
    pub(crate) fn check_call(&self, user_id: &str, callee: &Identity, method: &str, arguments: Arguments<'_>) -> Result<(), String> {
        let current = self.book.current();
        if let Some(needed) = current.rules.methods(callee).and_then(|methods| methods.get(method)) {
            self.check(user_id, method, needed, arguments)?;
        }
        let powers = current.rules.powers();
        let is_closed = powers.closed(callee).is_some_and(|methods| methods.contains(method));
        if is_closed { powers.check_call(user_id, callee.as_str(), method, arguments) } else { Ok(()) }
    }

    /// Whether a role, a group or an agent's own rights of the modular generation let a user call a method that others may not.
    pub(crate) fn is_given(&self, user_id: &str, callee: &Identity, method: &str, arguments: Arguments<'_>) -> bool {
        self.book.current().rules.powers().check_call(user_id, callee.as_str(), method, arguments).is_ok()
    }

    /// Whether anything is said about the methods of a peer.
    pub(crate) fn has_closed_methods(&self, callee: &Identity) -> bool {
        let current = self.book.current();
        current.rules.methods(callee).is_some() || current.rules.powers().closed(callee).is_some()
    }

    /// Methods of a peer that not everybody may call, sorted.
    pub(crate) fn closed_methods(&self, callee: &Identity) -> Vec<String> {
        let current = self.book.current();
        let own = current.rules.methods(callee).into_iter().flat_map(BTreeMap::keys);
        let modular = current.rules.powers().closed(callee).into_iter().flatten();
        own.chain(modular).cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether `authz` protects any topic.
    pub(crate) fn protects_topics(&self) -> bool {
        self.book.current().rules.powers().protects_any()
    }

    /// Whether `authz` protects a topic.
    pub(crate) fn protects(&self, topic: &str) -> bool {
        self.book.current().rules.powers().protects(topic)
    }

    /// Whether a user may do this on a topic, as far as `authz` is concerned.
    pub(crate) fn may(&self, user_id: &str, topic: &str, wanted: Access) -> bool {
        let current = self.book.current();
        let powers = current.rules.powers();
        !powers.protects(topic) || powers.may(user_id, topic, wanted)
    }

    /// What the modular generation says of an agent, with its roles and groups.
    pub(crate) fn agent_authz(&self, identity: &str) -> Option<AgentAuthz> {
        powers::effective(&self.book.current().records.authz).remove(identity)
    }
}
