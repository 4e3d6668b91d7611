//! What another platform tells, read from the answers of every generation. What makes no sense is left out. Source: vip-zmq.md §6, §8.2.

use std::collections::BTreeMap;

use serde_json::Value;
use vt_types::StatusWord;
use vt_types::timestamp::Timestamp;

/// Agents and peers that are kept of one platform; more are left out, for what others tell is not ours to bound otherwise.
const KEPT_MAX: usize = 5000;
/// Characters kept of a text.
const TEXT_CHARS_MAX: usize = 300;

/// An installed agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteAgent {
    /// Its installation id there.
    pub uuid: String,
    /// Its identity.
    pub identity: String,
    /// Package and version.
    pub name: String,
    /// Nickname.
    pub tag: Option<String>,
    /// Start order, if it starts with the platform.
    pub priority: Option<String>,
    /// Process id, if it was started.
    pub pid: Option<i64>,
    /// How it ended, if it has.
    pub exit_code: Option<i64>,
}

impl RemoteAgent {
    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.pid.is_some() && self.exit_code.is_none()
    }
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemotePeer {
    /// Its word.
    pub status: StatusWord,
    /// Whether it is a service of the platform.
    pub is_service: bool,
    /// The answer as it came.
    pub entry: Value,
}

/// How another platform said that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// When it last answered.
    pub at: Timestamp,
    /// Its agents by identity; `None` if it never told.
    pub agents: Option<Vec<RemoteAgent>>,
    /// Its connected peers by identity; `None` if it never told.
    pub peers: Option<BTreeMap<String, RemotePeer>>,
}

impl Told {
    /// Reads answers: health, and the lists of agents and of their states. What did not come is as `before`.
    pub(super) fn new(at: Timestamp, health: Option<&Value>, agents: Option<&(Value, Value)>, before: Option<&Self>) -> Self {
        let agents = agents.map(|(list, status)| read_agents(list, status));
        let peers = health.map(read_peers);
        Self { at, agents: agents.or_else(|| before?.agents.clone()), peers: peers.or_else(|| before?.peers.clone()) }
    }

    /// One agent.
    #[must_use]
    pub fn agent(&self, identity: &str) -> Option<&RemoteAgent> {
        self.agents.iter().flatten().find(|agent| agent.identity == identity)
    }

    /// The agents that run, and all.
    #[must_use]
    pub fn counts(&self) -> Option<(usize, usize)> {
        let agents = self.agents.as_ref()?;
        Some((agents.iter().filter(|agent| agent.is_running()).count(), agents.len()))
    }

    /// Who is not well, with the word.
    #[must_use]
    pub fn unwell(&self) -> Vec<(&str, StatusWord)> {
        let peers = self.peers.iter().flatten();
        peers.filter(|(_, peer)| peer.status == StatusWord::Bad).map(|(identity, peer)| (identity.as_str(), peer.status)).collect()
    }
}

fn read_agents(list: &Value, status: &Value) -> Vec<RemoteAgent> {
    let rows = status.as_array().map(Vec::as_slice).unwrap_or_default();
    let states: BTreeMap<&str, (Option<i64>, Option<i64>)> =
        rows.iter().filter_map(|row| Some((row.get(0)?.as_str()?, pid_and_exit_code(row)?))).collect();
    let mut agents: Vec<_> = list.as_array().map(Vec::as_slice).unwrap_or_default().iter().filter_map(agent).take(KEPT_MAX).collect();
    for agent in &mut agents {
        (agent.pid, agent.exit_code) = states.get(agent.uuid.as_str()).copied().unwrap_or_default();
    }
    agents.sort_by(|a, b| a.identity.cmp(&b.identity));
    agents
}

/// The two numbers, which stand at another place in each generation's row.
fn pid_and_exit_code(row: &Value) -> Option<(Option<i64>, Option<i64>)> {
    let pair = row.as_array()?.iter().filter_map(Value::as_array).find(|part| part.len() == 2)?;
    Some((pair[0].as_i64(), pair[1].as_i64()))
}

fn agent(entry: &Value) -> Option<RemoteAgent> {
    let text = |name: &str| match entry.get(name)? {
        Value::String(text) if !text.is_empty() => Some(text.chars().take(TEXT_CHARS_MAX).collect::<String>()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    Some(RemoteAgent {
        uuid: text("uuid")?,
        identity: text("identity")?,
        name: text("name").unwrap_or_default(),
        tag: text("tag"),
        priority: text("priority"),
        pid: None,
        exit_code: None,
    })
}

fn read_peers(health: &Value) -> BTreeMap<String, RemotePeer> {
    let entries = health.as_object().into_iter().flatten().take(KEPT_MAX);
    entries
        .map(|(identity, entry)| {
            let word = entry.get("message").and_then(Value::as_str).and_then(StatusWord::parse);
            let is_service = entry.get("service_agent").and_then(Value::as_bool).unwrap_or(false);
            let peer = RemotePeer { status: word.unwrap_or(StatusWord::Unknown), is_service, entry: entry.clone() };
            (identity.chars().take(TEXT_CHARS_MAX).collect(), peer)
        })
        .collect()
}
