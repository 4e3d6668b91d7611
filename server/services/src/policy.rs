//! Who may connect, publish and call what: an interceptor of the bus, so that it holds for every way in.
//!
//! - Peers from outside may not take the identity of a service, save command line tools that proved to be such.
//! - Protected topics (vip-zmq.md §5.4) need the capabilities of the publisher's user; services, tools and administrators hold all. Those that
//!   the modular generation protects need its rights, also for peers from outside that subscribe; as there, a shorter prefix is not looked at.
//! - Rights of the modular generation let agents call methods of services that others may not.
//! - People without `admin` may not call `platform.auth`, `config.store` and what changes something in `control` (web.md §2.6).
//! - Agents change configurations with `edit_config_store` and entries of peers with `allow_auth_modifications`. Agents outside this process
//!   start, stop, install and remove others with `control_agents` (ours: VOLTTRON 9 leaves `control` open to every peer, the modular
//!   generation closes it).
//! - Methods of agents that `auth.json` closes need what it says (vip-zmq.md §4.6).
//! - On a platform that admits everybody (`allow-auth = False`), peers may do everything but be a service.
//!
//! Calls between peers outside are looked at only where `auth.json` closes methods of the callee; others are passed on unread.
//! Refusals are in VOLTTRON's words where it has any. Deliberately not here: rights of people inside a service, which it checks itself.

use std::sync::Arc;

use arc_swap::ArcSwap;
use regex::Regex;
use serde_json::{Map, Value, json};
use vt_backends::repositories::Stamp;
use vt_backends::{Access, PolicyRepository, ProtectedTopic, RepositoryError};
use vt_bus::{Interceptor, PeerKind, PeerRef, Refusal};
use vt_types::identity::known;
use vt_types::{Identity, RpcRequest, Topic, TopicPrefix};

use crate::peer_auth::rights::Arguments;
use crate::peer_auth::{AUTH_CAPABILITY, Admission, CONTROL_CAPABILITY};
use crate::{Auth, PeerAuth};

/// How often the stored policy is looked at.
const POLL_PERIOD: std::time::Duration = std::time::Duration::from_secs(1);

/// Services that people without `admin` may not call at all.
const CLOSED: &[&str] = &[known::PLATFORM_AUTH, known::CONFIG_STORE, known::PLATFORM_WEB];

/// Methods of `control` that only tell.
const CONTROL_TELLS: &[&str] = &[
    "agent.version",
    "agent_kinds",
    "agent_name",
    "agent_priority",
    "agent_status",
    "agent_tag",
    "agent_versions",
    "agent_vip_identity",
    "health.get_status",
    "health.get_status_json",
    "identity_exists",
    "list_agents",
    "get_all_agent_publickeys",
    "peerlist",
    "serverkey",
    "stats.enabled",
    "stats.get",
    "status_agents",
];

/// Methods of `platform.auth` that change something.
const AUTH_CHANGES: &[&str] = &[
    "add_agents_to_group",
    "add_rpc_authorizations",
    "approve_authorization",
    "approve_authorization_failure",
    "auth_file.add",
    "auth_file.add_group",
    "auth_file.add_role",
    "auth_file.remove_by_credentials",
    "auth_file.remove_by_index",
    "auth_file.remove_by_indices",
    "auth_file.remove_group",
    "auth_file.remove_role",
    "auth_file.set_groups",
    "auth_file.set_roles",
    "auth_file.update_by_index",
    "auth_file.update_group",
    "auth_file.update_role",
    "create_credentials",
    "create_or_merge_agent_authz",
    "create_or_merge_agent_group",
    "create_or_merge_role",
    "create_protected_topics",
    "delete_authorization",
    "delete_authorization_failure",
    "delete_rpc_authorizations",
    "deny_authorization",
    "deny_authorization_failure",
    "get_authorization",
    "get_authorization_status",
    "known_hosts.add",
    "known_hosts.remove",
    "remove_agent",
    "remove_agent_authorization",
    "remove_agent_authz",
    "remove_agent_group",
    "remove_agents_from_group",
    "remove_credentials",
    "remove_protected_topics",
    "remove_role",
];
/// What each agent of VOLTTRON 9 calls at its start about its own methods.
const OWN_METHODS: &str = "update_id_rpc_authorizations";

/// Whose entries of the configuration store a call is about.
enum Store {
    /// The caller's, because the call names nobody, as VOLTTRON 6's.
    Callers,
    /// Of this identity.
    Of(String),
}

/// The policy of the bus.
pub struct Policy {
    auth: Arc<Auth>,
    peers: Arc<PeerAuth>,
    records: Arc<dyn PolicyRepository>,
    protected: ArcSwap<Vec<Protected>>,
    stamp: tokio::sync::Mutex<Option<Stamp>>,
}

struct Protected {
    rule: Rule,
    capabilities: Vec<String>,
}

enum Rule {
    /// This topic and all that start with it.
    Literal(String),
    /// Topics that match from end to end.
    Pattern(Regex),
}

impl Policy {
    /// Reads the policy; one that cannot be understood keeps the platform from starting, for without it topics would be open.
    pub async fn open(records: Arc<dyn PolicyRepository>, auth: Arc<Auth>, peers: Arc<PeerAuth>) -> Result<Self, RepositoryError> {
        let stamp = records.stamp().await?;
        let protected = compile(records.protected_topics().await?)?;
        Ok(Self { auth, peers, records, protected: ArcSwap::from_pointee(protected), stamp: tokio::sync::Mutex::new(stamp) })
    }

    /// Keeps step with the stored policy, until dropped.
    pub async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(POLL_PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.refresh().await;
        }
    }

    /// Reads the stored policy again if it changed; a wrong one is told once and the old one stays.
    async fn refresh(&self) {
        let mut known = self.stamp.lock().await;
        let stamp = match self.records.stamp().await {
            Ok(stamp) if stamp == *known => return,
            Ok(stamp) => stamp,
            Err(error) => {
                tracing::debug!(%error, "the protected topics cannot be looked at");
                return;
            }
        };
        match self.records.protected_topics().await.and_then(compile) {
            Ok(protected) => {
                tracing::info!(topics = protected.len(), "the protected topics were read again");
                self.protected.store(Arc::new(protected));
                *known = stamp;
            }
            Err(error) => {
                tracing::error!(%error, "the protected topics stay as they were");
                if matches!(error, RepositoryError::Corrupt { .. }) {
                    *known = stamp;
                }
            }
        }
    }

    fn is_admin(&self, user: &str) -> bool {
        self.auth.caller_of(user).is_admin()
    }

    /// Whether publishing on a topic needs anything.
    pub fn is_protected(&self, topic: &str) -> bool {
        find(&self.protected.load(), topic).is_some() || self.peers.protects(topic)
    }

    /// Whether a user may publish on a topic.
    ///
    /// # Errors
    /// The refusal in VOLTTRON's words.
    pub fn may_publish(&self, user_id: &str, topic: &str) -> Result<(), Refusal> {
        if !self.peers.may(user_id, topic, Access::Publish) {
            return Err(Refusal(format!("to publish to topic \"{topic}\" requires the right to do so, which {user_id:?} was not given")));
        }
        let all = self.protected.load();
        let Some(protected) = find(&all, topic) else { return Ok(()) };
        let held = self.peers.capabilities(user_id).unwrap_or_default();
        if protected.capabilities.iter().all(|needed| held.get(needed).is_some()) {
            return Ok(());
        }
        let needed = protected.capabilities.join(", ");
        let held = held.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>().join(", ");
        Err(Refusal(format!("to publish to topic \"{topic}\" requires capabilities [{needed}], but capability list [{held}] was provided")))
    }

    /// Services and tools of the platform, and tools outside that proved to be such.
    fn is_platform(peer: PeerRef<'_>) -> bool {
        match peer.kind {
            PeerKind::Service | PeerKind::Tool => !peer.is_remote || peer.user_id == known::CONTROL_CONNECTION,
            // The other end of a link is another platform, which has no rights here but those that are given to it.
            PeerKind::Agent => peer.is_remote && matches!(peer.user_id, known::CONTROL_CONNECTION | known::PLATFORM),
            PeerKind::Link => false,
        }
    }

    fn is_open(&self) -> bool {
        self.peers.admission() == Admission::Open
    }

    fn check_agent(&self, peer: PeerRef<'_>, callee: &Identity, request: &RpcRequest) -> Result<(), String> {
        let method = request.method.as_str();
        let need = |capability: &str, named: &Map<String, Value>| {
            self.peers.check(peer.user_id, method, &[capability.to_owned()], Arguments { named, has_others: false })
        };
        let arguments = Arguments { named: &request.params.kwargs, has_others: !request.params.args.is_empty() };
        // Restrictions must be seen to be kept before a right counts; what is given without its name is not.
        let seen = Arguments { has_others: false, ..arguments };
        if known::is_reserved(callee.as_str()) && self.peers.is_given(peer.user_id, callee, method, seen) {
            return Ok(());
        }
        match known::canonical(callee.as_str()) {
            known::CONTROL if peer.is_remote && !CONTROL_TELLS.contains(&method) => need(CONTROL_CAPABILITY, &Map::new()),
            known::PLATFORM_AUTH if AUTH_CHANGES.contains(&method) => need(AUTH_CAPABILITY, &Map::new()),
            known::PLATFORM_AUTH if method == OWN_METHODS => {
                let is_own = argument(request, 0, "identity").and_then(Value::as_str) == Some(peer.identity.as_str());
                if is_own { Ok(()) } else { need(AUTH_CAPABILITY, &Map::new()) }
            }
            known::CONTROL => Ok(()),
            known::CONFIG_STORE => {
                let Some(store) = changed_store(request) else { return Ok(()) };
                let is_question = matches!(method, "initialize_configs" | "get_configs");
                match store {
                    Store::Callers => Ok(()),
                    // What is in the store of an agent goes to that agent, whoever asks for it to be sent.
                    Store::Of(identity) if identity == peer.identity.as_str() && (is_question || !peer.is_remote) => Ok(()),
                    Store::Of(identity) => need("edit_config_store", &Map::from_iter([("identity".to_owned(), json!(identity))])),
                }
            }
            _ => self.peers.check_call(peer.user_id, callee, method, arguments),
        }
    }
}

impl Interceptor for Policy {
    fn on_connect(&self, peer: PeerRef<'_>) -> Result<(), Refusal> {
        if !known::is_reserved(peer.identity.as_str()) {
            return Ok(());
        }
        let is_tool = peer.identity.as_str() == known::CONTROL_CONNECTION && peer.user_id == known::CONTROL_CONNECTION;
        let may = if peer.is_remote { is_tool } else { !matches!(peer.kind, PeerKind::Agent | PeerKind::Link) };
        if may { Ok(()) } else { Err(Refusal(format!("the identity {} belongs to a service of the platform", peer.identity))) }
    }

    fn on_publish(&self, peer: PeerRef<'_>, topic: &Topic) -> Result<(), Refusal> {
        if (self.protected.load().is_empty() && !self.peers.protects_topics()) || self.is_open() {
            return Ok(());
        }
        match peer.user {
            Some(user) if self.is_admin(user) => Ok(()),
            None if Self::is_platform(peer) => Ok(()),
            Some(_) => self.may_publish("", topic.as_str()),
            None => self.may_publish(peer.user_id, topic.as_str()),
        }
    }

    fn on_subscribe(&self, peer: PeerRef<'_>, prefix: &TopicPrefix) -> Result<(), Refusal> {
        if !peer.is_remote || self.is_open() || Self::is_platform(peer) || self.peers.may(peer.user_id, prefix.as_str(), Access::Subscribe)
        {
            return Ok(());
        }
        let user = peer.user_id;
        Err(Refusal(format!("to subscribe to topic \"{prefix}\" requires the right to do so, which {user:?} was not given")))
    }

    fn guards(&self, callee: &Identity) -> bool {
        known::is_reserved(callee.as_str()) || (!self.is_open() && self.peers.has_closed_methods(callee))
    }

    fn on_call(&self, peer: PeerRef<'_>, callee: &Identity, request: &RpcRequest) -> Result<(), Refusal> {
        let method = request.method.as_str();
        if method == "inspect" || method.ends_with(".inspect") {
            return Ok(());
        }
        let Some(user) = peer.user else {
            let may = Self::is_platform(peer) || self.is_open();
            return if may { Ok(()) } else { self.check_agent(peer, callee, request).map_err(Refusal) };
        };
        let callee = callee.as_str();
        let is_closed = CLOSED.contains(&callee) || (callee == known::CONTROL && !CONTROL_TELLS.contains(&method));
        if !is_closed || self.is_admin(user) {
            return Ok(());
        }
        Err(Refusal(format!("calling {method} of {callee} needs the group admin")))
    }
}

/// Whose entries a call of the configuration store changes or sends; `None` for calls that only read.
fn changed_store(request: &RpcRequest) -> Option<Store> {
    let has = |index, name| argument(request, index, name).is_some();
    let names_identity = match request.method.as_str() {
        "set_config" | "manage_store" => has(2, "raw_contents"),
        "delete_config" | "manage_delete_config" => has(1, "config_name"),
        "delete_store" | "manage_delete_store" => true,
        "initialize_configs" | "get_configs" => has(0, "identity"),
        _ => return None,
    };
    if !names_identity {
        return Some(Store::Callers);
    }
    let identity = argument(request, 0, "identity").and_then(Value::as_str).unwrap_or_default();
    Some(Store::Of(identity.to_owned()))
}

/// An argument of a call, wherever it stands.
fn argument<'a>(request: &'a RpcRequest, index: usize, name: &str) -> Option<&'a Value> {
    request.params.args.get(index).or_else(|| request.params.kwargs.get(name))
}

fn compile(topics: Vec<ProtectedTopic>) -> Result<Vec<Protected>, RepositoryError> {
    topics.into_iter().map(|ProtectedTopic { topic, capabilities }| Ok(Protected { rule: rule(&topic)?, capabilities })).collect()
}

fn rule(topic: &str) -> Result<Rule, RepositoryError> {
    let Some(pattern) = topic.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')).filter(|pattern| !pattern.is_empty()) else {
        return Ok(Rule::Literal(topic.to_owned()));
    };
    Regex::new(&format!("^(?:{pattern})$")).map(Rule::Pattern).map_err(|error| RepositoryError::Corrupt {
        place: format!("protected topic {topic}"),
        problem: format!("this is no regular expression: {error}"),
    })
}

/// The rule that holds for a topic: the exact literal, then a literal that it starts with, then patterns in their order.
fn find<'a>(all: &'a [Protected], topic: &str) -> Option<&'a Protected> {
    let exact = |protected: &&Protected| matches!(&protected.rule, Rule::Literal(text) if text == topic);
    let prefix = |protected: &&Protected| matches!(&protected.rule, Rule::Literal(text) if topic.starts_with(text.as_str()));
    let pattern = |protected: &&Protected| matches!(&protected.rule, Rule::Pattern(regex) if regex.is_match(topic));
    all.iter().find(exact).or_else(|| all.iter().find(prefix)).or_else(|| all.iter().find(pattern))
}

#[cfg(test)]
mod tests;
