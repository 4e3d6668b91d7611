//! What the modular generation says about rights, made ready for deciding: roles and groups joined into rights by user, patterns compiled. Pure.
//! Source: volttron-core 2.0 `volttron/auth/authz_manager.py`.
//!
//! Differs from VOLTTRON: patterns of arguments match from end to end, as those of `auth.json`; of several topics that fit, each that allows
//! counts, not the first alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};
use vt_backends::repositories::peer_auth::entry;
use vt_backends::{Access, AgentAuthz, Authz, HeldRole, PeerAuthRecords, Powers};
use vt_types::Identity;
use vt_types::identity::known;

use super::rights::{self, Arguments};
use super::rules::{PATTERN_BYTES_MAX, compile};

/// See the module.
#[derive(Default)]
pub struct Compiled {
    users: HashMap<String, Rights>,
    protected: Vec<Regex>,
    methods: HashMap<Identity, BTreeSet<String>>,
}

#[derive(Default)]
struct Rights {
    calls: Vec<(Method, Map<String, Value>)>,
    topics: Vec<(Regex, Access)>,
}

enum Method {
    Name(String),
    Pattern(Regex),
}

impl Compiled {
    /// Makes rights of records, with a sentence for each pattern that cannot be used.
    pub fn of(records: &PeerAuthRecords, warnings: &mut Vec<String>) -> Self {
        let authz = &records.authz;
        let mut warn = |pattern: &str, what: &str| warnings.push(format!("the pattern {pattern:?} of {what} cannot be used"));
        let mut compiled = Self::default();
        for topic in &authz.protected_topics {
            // A topic that cannot be understood must not be open because of that.
            let fallback = || RegexBuilder::new(&format!("^{}", regex::escape(topic.trim_matches('/')))).build();
            match topic_pattern(topic).or_else(|| fallback().ok()) {
                Some(pattern) => compiled.protected.push(pattern),
                None => warn(topic, "a protected topic"),
            }
        }
        for (identity, agent) in authz.agents.iter() {
            if let Ok(identity) = Identity::parse(identity)
                && !agent.protected_rpcs.is_empty()
            {
                compiled.methods.insert(identity, agent.protected_rpcs.iter().cloned().collect());
            }
        }
        for (identity, agent) in effective(authz) {
            let rights = compiled.users.entry(user_of(records, &identity)).or_default();
            for power in &agent.powers.rpc {
                match method(&power.method) {
                    Some(method) => rights.calls.push((method, power.only.clone())),
                    None => warn(&power.method, &identity),
                }
            }
            for (topic, access) in agent.powers.pubsub.iter() {
                match topic_pattern(topic) {
                    Some(pattern) => rights.topics.push((pattern, *access)),
                    None => warn(topic, &identity),
                }
            }
        }
        compiled
    }

    /// Methods of a peer that are closed.
    pub fn closed(&self, callee: &Identity) -> Option<&BTreeSet<String>> {
        self.methods.get(callee)
    }

    /// Whether any topic is protected.
    pub fn protects_any(&self) -> bool {
        !self.protected.is_empty()
    }

    /// Whether a topic is protected.
    pub fn protects(&self, topic: &str) -> bool {
        self.protected.iter().any(|pattern| pattern.is_match(topic))
    }

    /// Whether a user may do this on a protected topic.
    pub fn may(&self, user: &str, topic: &str, wanted: Access) -> bool {
        let rights = self.users.get(user);
        rights.is_some_and(|rights| rights.topics.iter().any(|(pattern, access)| access.covers(wanted) && pattern.is_match(topic)))
    }

    /// Checks that a user was given a method, by any name of the callee.
    ///
    /// # Errors
    /// The refusal in VOLTTRON's words.
    pub fn check_call(&self, user: &str, callee: &str, method: &str, arguments: Arguments<'_>) -> Result<(), String> {
        let names: Vec<String> = names(callee).map(|callee| format!("{callee}.{method}")).collect();
        let mut refusal = format!("User {user} does not have access to call {callee}.{method} ");
        for (allowed, only) in self.users.get(user).map(|rights| rights.calls.as_slice()).unwrap_or_default() {
            let is_meant = match allowed {
                Method::Name(name) => names.contains(name),
                Method::Pattern(pattern) => names.iter().any(|name| pattern.is_match(name)),
            };
            if !is_meant {
                continue;
            }
            match only.iter().try_for_each(|(name, value)| rights::fits(user, method, name, value, arguments)) {
                Ok(()) => return Ok(()),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }
}

/// What agents have by themselves, their roles and their groups, by identity.
pub fn effective(authz: &Authz) -> BTreeMap<String, AgentAuthz> {
    let mut all: BTreeMap<String, AgentAuthz> = authz.agents.iter().map(|(identity, agent)| (identity.to_owned(), agent.clone())).collect();
    for (_, group) in authz.groups.iter() {
        for identity in &group.identities {
            let agent = all.entry(identity.clone()).or_default();
            agent.powers.merge(&group.powers);
            // What a group gives counts beside what the agent holds, be it restricted or not.
            agent.roles.extend(group.roles.iter().filter(|role| !agent.roles.contains(role)).cloned().collect::<Vec<_>>());
        }
    }
    for agent in all.values_mut() {
        for HeldRole { name, only } in &agent.roles {
            let Some(role) = authz.roles.get(name) else { continue };
            agent.powers.merge(&restricted(role, only));
        }
    }
    all
}

fn restricted(role: &Powers, only: &Map<String, Value>) -> Powers {
    let mut powers = role.clone();
    for power in &mut powers.rpc {
        power.only.extend(only.clone());
    }
    powers
}

/// Rights are looked up by user id: that of the entry which claims the identity, else the identity itself.
fn user_of(records: &PeerAuthRecords, identity: &str) -> String {
    let claims = |entry: &&vt_backends::AuthEntry| entry.enabled && entry.identity.as_ref().is_some_and(|own| own.as_str() == identity);
    records.allow.iter().find(claims).map_or_else(|| identity.to_owned(), |entry| entry.user_id.clone())
}

/// All names of a service, or the one of another peer.
fn names(callee: &str) -> impl Iterator<Item = &str> {
    let name = known::canonical(callee);
    std::iter::once(name).chain(known::ALIASES.iter().filter(move |(_, of)| *of == name).map(|(alias, _)| *alias))
}

fn method(text: &str) -> Option<Method> {
    match entry::pattern(text).filter(|_| text.len() > 2) {
        Some(pattern) => compile(pattern).ok().map(Method::Pattern),
        None => Some(Method::Name(text.to_owned())),
    }
}

/// Both forms are patterns that match the start of a topic, as in VOLTTRON.
pub fn topic_pattern(text: &str) -> Option<Regex> {
    let pattern = entry::pattern(text).filter(|_| text.len() > 2).unwrap_or(text);
    RegexBuilder::new(&format!("^(?:{pattern})")).size_limit(PATTERN_BYTES_MAX).build().ok()
}

/// Whether a method, given by name or as a pattern, can be used.
pub fn is_method(text: &str) -> bool {
    method(text).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compiled(authz: &Value) -> (Compiled, Vec<String>) {
        let records = PeerAuthRecords { authz: Authz::parse(authz).unwrap(), ..PeerAuthRecords::default() };
        let mut warnings = Vec::new();
        (Compiled::of(&records, &mut warnings), warnings)
    }

    fn call(rights: &Compiled, user: &str, callee: &str, method: &str, named: &Value) -> Result<(), String> {
        rights.check_call(user, callee, method, Arguments { named: named.as_object().unwrap(), has_others: false })
    }

    #[test]
    fn rights_come_from_agents_roles_and_groups() {
        let (rights, warnings) = compiled(&json!({
            "roles": {"write": {"rpc_capabilities": ["p.set", {"p.reset": {"point": "/a.*/"}}], "pubsub_capabilities": {"devices/a": "publish"}}},
            "agent_groups": {"g": {"identities": ["x", "y"], "agent_roles": ["write"], "rpc_capabilities": ["/q\\..*/"]}},
            "agents": {"x": {"rpc_capabilities": ["config.store.set_config"]}, "z": {"agent_roles": [{"write": {"device": "d1"}}, "none"]},
                       "p": {"protected_rpcs": ["set", "reset"]}},
        }));
        assert!(warnings.is_empty(), "{warnings:?}");
        for user in ["x", "y"] {
            assert_eq!(call(&rights, user, "p", "set", &json!({})), Ok(()));
            assert_eq!(call(&rights, user, "q", "anything", &json!({})), Ok(()));
            assert_eq!(call(&rights, user, "p", "reset", &json!({"point": "air"})), Ok(()));
            assert!(
                call(&rights, user, "p", "reset", &json!({"point": "xa"})).unwrap_err().contains("only with point matching pattern /a.*/")
            );
        }
        assert_eq!(call(&rights, "y", "p", "get", &json!({})).unwrap_err(), "User y does not have access to call p.get ");
        assert_eq!(call(&rights, "x", "platform.config_store", "set_config", &json!({})), Ok(()), "a service has several names");
        assert!(call(&rights, "z", "p", "set", &json!({"device": "d2"})).is_err());
        assert_eq!(call(&rights, "z", "p", "set", &json!({"device": "d1"})), Ok(()));
        assert!(call(&rights, "nobody", "p", "set", &json!({})).is_err());
        assert_eq!(rights.closed(&Identity::known("p")).unwrap().len(), 2);
    }

    #[test]
    fn protected_topics_need_a_right_that_covers_what_is_done() {
        let (rights, warnings) = compiled(&json!({
            "agents": {"x": {"pubsub_capabilities": {"devices/a": "publish", "/ana.*/": "subscribe", "record": "pubsub", "/(/": "publish"}}},
            "protected_topics": ["devices", "/ana.*ysis/", "record", "/(/"],
        }));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        for (topic, protected) in [("devices/a/all", true), ("analysis/x", true), ("analog", false), ("x/devices", false), ("(x", true)] {
            assert_eq!(rights.protects(topic), protected, "{topic}");
        }
        for (topic, access, may) in [
            ("devices/a/all", Access::Publish, true),
            ("devices/a/all", Access::Subscribe, false),
            ("devices/b", Access::Publish, false),
            ("analysis", Access::Subscribe, true),
            ("record/x", Access::Publish, true),
            ("record/x", Access::Subscribe, true),
        ] {
            assert_eq!(rights.may("x", topic, access), may, "{topic}");
        }
        assert!(!rights.may("nobody", "record", Access::Publish));
    }
}
