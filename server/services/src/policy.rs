//! Who may connect, publish and call what: an interceptor of the bus, so that it holds for every way in.
//!
//! - Agents may not take the identity of a service.
//! - Protected topics (vip-zmq.md §5.4): services, tools and administrators may publish there; nobody else holds capabilities yet.
//! - People without `admin` may not call `platform.auth`, `config.store` and what changes something in `control` (web.md §2.6).
//!
//! Deliberately not here: rights inside a service, which the service checks itself.

use std::sync::Arc;

use arc_swap::ArcSwap;
use regex::Regex;
use vt_backends::repositories::Stamp;
use vt_backends::{PolicyRepository, ProtectedTopic, RepositoryError};
use vt_bus::{Interceptor, PeerKind, PeerRef, Refusal};
use vt_types::identity::known;
use vt_types::{Identity, RpcRequest, Topic};

use crate::Auth;

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
    "peerlist",
    "stats.enabled",
    "stats.get",
    "status_agents",
];

/// The policy of the bus.
pub struct Policy {
    auth: Arc<Auth>,
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
    pub async fn open(records: Arc<dyn PolicyRepository>, auth: Arc<Auth>) -> Result<Self, RepositoryError> {
        let stamp = records.stamp().await?;
        let protected = compile(records.protected_topics().await?)?;
        Ok(Self { auth, records, protected: ArcSwap::from_pointee(protected), stamp: tokio::sync::Mutex::new(stamp) })
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
}

impl Interceptor for Policy {
    fn on_connect(&self, peer: PeerRef<'_>) -> Result<(), Refusal> {
        if peer.kind == PeerKind::Agent && known::SERVICES.contains(&peer.identity.as_str()) {
            return Err(Refusal(format!("the identity {} belongs to a service of the platform", peer.identity)));
        }
        Ok(())
    }

    fn on_publish(&self, peer: PeerRef<'_>, topic: &Topic) -> Result<(), Refusal> {
        let all = self.protected.load();
        if all.is_empty() {
            return Ok(());
        }
        let Some(protected) = find(&all, topic.as_str()) else { return Ok(()) };
        let may = match peer.user {
            Some(user) => self.is_admin(user),
            None => peer.kind != PeerKind::Agent,
        };
        if may || protected.capabilities.is_empty() {
            return Ok(());
        }
        // VOLTTRON's words.
        let needed = protected.capabilities.join(", ");
        Err(Refusal(format!("to publish to topic \"{topic}\" requires capabilities [{needed}], but capability list [] was provided")))
    }

    fn on_call(&self, peer: PeerRef<'_>, callee: &Identity, request: &RpcRequest) -> Result<(), Refusal> {
        let Some(user) = peer.user else { return Ok(()) };
        let (callee, method) = (callee.as_str(), request.method.as_str());
        let is_question = method == "inspect" || method.ends_with(".inspect");
        let is_closed = CLOSED.contains(&callee) || (callee == known::CONTROL && !CONTROL_TELLS.contains(&method));
        if is_question || !is_closed || self.is_admin(user) {
            return Ok(());
        }
        Err(Refusal(format!("calling {method} of {callee} needs the group admin")))
    }
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
