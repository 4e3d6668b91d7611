//! Changes of what the modular generation says about rights: roles, groups of agents, agents, protected topics. Each says whether there was
//! anything to change. Source: volttron-core 2.0 `volttron/auth/authz_manager.py`.
//!
//! Differs from VOLTTRON: what is removed counts from that moment on, in groups and roles as well.

use vt_backends::{AgentAuthz, AgentGroup, Authz, HeldRole, Named, Powers};
use vt_types::Identity;

use super::powers::{is_method, topic_pattern};
use super::{Change, PeerAuth};
use crate::{Caller, ServiceError};

/// Roles, groups, agents or protected topics; of each, and of what one of them holds.
const ITEMS_MAX: usize = 10_000;

impl PeerAuth {
    /// Makes a role, or adds to it.
    ///
    /// # Errors
    /// `Forbidden`, `Invalid`, `Conflict` while `auth.json` is broken, `Unavailable`.
    pub async fn merge_authz_role(&self, caller: &Caller, name: &str, powers: Powers) -> Result<bool, ServiceError> {
        check(&powers)?;
        self.authz(caller, name, |authz| {
            if powers.is_empty() {
                return Err(ServiceError::Invalid(format!(
                    "Role {name} should have non empty capabilities - rpc capabilities, pubsub capabilities or both"
                )));
            }
            let mut role = authz.roles.get(name).cloned().unwrap_or_default();
            role.merge(&powers);
            set(&mut authz.roles, name, role)
        })
        .await
    }

    /// Makes a group of agents, or adds to it.
    ///
    /// # Errors
    /// As [`PeerAuth::merge_authz_role`].
    pub async fn merge_agent_group(&self, caller: &Caller, name: &str, group: AgentGroup) -> Result<bool, ServiceError> {
        check(&group.powers)?;
        group.identities.iter().try_for_each(|identity| check_identity(identity))?;
        self.authz(caller, name, |authz| {
            let known = authz.groups.get(name);
            if known.is_none() && group.identities.is_empty() {
                return Err(ServiceError::Invalid("Empty agent group".to_owned()));
            }
            if known.is_none() && group.roles.is_empty() && group.powers.is_empty() {
                return Err(ServiceError::Invalid(format!(
                    "agent group {name} should have non empty capabilities. Please pass non empty values for at least one of the three \
                     parameters - agent_roles, rpc_capabilities, pubsub_capabilities"
                )));
            }
            let mut known = known.cloned().unwrap_or_default();
            include(&mut known.identities, group.identities);
            HeldRole::merge_all(&mut known.roles, group.roles);
            known.powers.merge(&group.powers);
            set(&mut authz.groups, name, known)
        })
        .await
    }

    /// Adds agents to a group, or takes them out; false if there is no such group.
    ///
    /// # Errors
    /// As [`PeerAuth::merge_authz_role`].
    pub async fn change_agents_of_group(
        &self,
        caller: &Caller,
        name: &str,
        change: Change,
        identities: Vec<String>,
    ) -> Result<bool, ServiceError> {
        identities.iter().try_for_each(|identity| check_identity(identity))?;
        self.authz(caller, name, |authz| {
            let Some(mut group) = authz.groups.get(name).cloned() else { return Ok(false) };
            match change {
                Change::Add => include(&mut group.identities, identities),
                Change::Remove => group.identities.retain(|identity| !identities.contains(identity)),
            }
            set(&mut authz.groups, name, group)
        })
        .await
    }

    /// Says more about an agent.
    ///
    /// # Errors
    /// As [`PeerAuth::merge_authz_role`].
    pub async fn merge_agent_authz(&self, caller: &Caller, identity: &str, agent: AgentAuthz) -> Result<bool, ServiceError> {
        check_identity(identity)?;
        check(&agent.powers)?;
        self.authz(caller, identity, |authz| {
            let mut known = authz.agents.get(identity).cloned().unwrap_or_default();
            include(&mut known.protected_rpcs, agent.protected_rpcs);
            HeldRole::merge_all(&mut known.roles, agent.roles);
            known.powers.merge(&agent.powers);
            known.comments = agent.comments.or(known.comments);
            set(&mut authz.agents, identity, known)
        })
        .await
    }

    /// Protects topics, or protects them no more.
    ///
    /// # Errors
    /// As [`PeerAuth::merge_authz_role`].
    pub async fn change_protected_topics(&self, caller: &Caller, change: Change, topics: Vec<String>) -> Result<bool, ServiceError> {
        if change == Change::Add
            && let Some(wrong) = topics.iter().find(|topic| topic.is_empty() || topic_pattern(topic).is_none())
        {
            return Err(ServiceError::Invalid(format!("{wrong:?} is no topic and no pattern")));
        }
        self.authz(caller, &topics.join(", "), |authz| {
            let known = &mut authz.protected_topics;
            let before = known.len();
            match change {
                Change::Add => include(known, topics.clone()),
                Change::Remove => known.retain(|topic| !topics.contains(topic)),
            }
            if known.len() > ITEMS_MAX { Err(too_many()) } else { Ok(known.len() != before) }
        })
        .await
    }

    /// Removes a role; false if there is none.
    ///
    /// # Errors
    /// As [`PeerAuth::merge_authz_role`].
    pub async fn remove_authz_role(&self, caller: &Caller, name: &str) -> Result<bool, ServiceError> {
        self.authz(caller, name, |authz| Ok(authz.roles.remove(name))).await
    }

    /// Removes a group of agents; false if there is none.
    ///
    /// # Errors
    /// As [`PeerAuth::merge_authz_role`].
    pub async fn remove_agent_group(&self, caller: &Caller, name: &str) -> Result<bool, ServiceError> {
        self.authz(caller, name, |authz| Ok(authz.groups.remove(name))).await
    }

    /// Removes what is said of an agent; false if nothing is.
    ///
    /// # Errors
    /// As [`PeerAuth::merge_authz_role`].
    pub async fn remove_agent_authz(&self, caller: &Caller, identity: &str) -> Result<bool, ServiceError> {
        self.authz(caller, identity, |authz| Ok(authz.agents.remove(identity))).await
    }

    async fn authz(
        &self,
        caller: &Caller,
        target: &str,
        change: impl FnOnce(&mut Authz) -> Result<bool, ServiceError>,
    ) -> Result<bool, ServiceError> {
        self.edit(caller, "peer.authz", target, |records| change(&mut records.authz)).await
    }
}

fn set<T>(all: &mut Named<T>, name: &str, value: T) -> Result<bool, ServiceError> {
    if name.is_empty() {
        return Err(ServiceError::Invalid("the name is empty".to_owned()));
    }
    all.set(name, value);
    if all.iter().len() > ITEMS_MAX { Err(too_many()) } else { Ok(true) }
}

fn include(known: &mut Vec<String>, more: Vec<String>) {
    for one in more {
        if !known.contains(&one) {
            known.push(one);
        }
    }
}

fn check(powers: &Powers) -> Result<(), ServiceError> {
    let methods = powers.rpc.iter().find(|power| !is_method(&power.method)).map(|power| power.method.as_str());
    let topics = powers.pubsub.iter().find(|(topic, _)| topic_pattern(topic).is_none()).map(|(topic, _)| topic);
    if powers.rpc.len() + powers.pubsub.iter().len() > ITEMS_MAX {
        return Err(too_many());
    }
    match methods.or(topics) {
        Some(wrong) => Err(ServiceError::Invalid(format!("the pattern {wrong:?} cannot be used"))),
        None => Ok(()),
    }
}

fn check_identity(text: &str) -> Result<(), ServiceError> {
    Identity::parse(text).map(drop).map_err(|error| ServiceError::Invalid(error.to_string()))
}

fn too_many() -> ServiceError {
    ServiceError::Invalid(format!("there may be at most {ITEMS_MAX} of a kind"))
}
