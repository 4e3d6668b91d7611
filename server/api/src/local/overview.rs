//! `GET /overview` → 200 [`OverviewAnswer`]: every peer and every agent with its counters, for `vctl top`. Counters only grow while a peer
//! stays connected; rates are the business of whoever asks twice.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vt_services::{AgentView, PeerView, RunState};
use vt_types::timestamp;

use super::answered;
use crate::state::ApiState;

/// What happens on the platform now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverviewAnswer {
    /// Instance name.
    pub instance_name: String,
    /// Process id of the server.
    pub pid: u32,
    /// How long it has run, seconds.
    pub uptime_s: u64,
    /// Publications accepted.
    pub published: u64,
    /// Copies handed to subscribers.
    pub delivered: u64,
    /// Copies lost because a subscriber's queue was full.
    pub lost: u64,
    /// Calls handed to callees.
    pub calls: u64,
    /// Calls not handed over.
    pub calls_failed: u64,
    /// Connected peers by identity.
    pub peers: Vec<PeerRow>,
    /// Installed agents.
    pub agents: Vec<AgentRow>,
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRow {
    /// Its identity.
    pub identity: String,
    /// `agent`, `service`, `tool` or `link`.
    pub kind: String,
    /// Whether it is in another process.
    pub is_remote: bool,
    /// When it connected.
    pub connected_at: String,
    /// Publications it sent.
    pub published: u64,
    /// Publications handed to it.
    pub delivered: u64,
    /// Publications it lost because its queue was full.
    pub lost: u64,
    /// Publications that wait for it.
    pub queued: u64,
    /// Bound of that queue.
    pub queue_max: u64,
}

/// An installed agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRow {
    /// Its identity.
    pub identity: String,
    /// Name and version.
    pub name: String,
    /// `never_started`, `running`, `stopped`, `backing_off` or `failed`.
    pub state: String,
    /// Process id, or the thread id of an agent inside the server; none if it was never started.
    pub pid: Option<u32>,
    /// Restarts by the supervisor since somebody started it.
    pub restarts: u32,
    /// `GOOD`, `BAD`, `UNKNOWN` ...; empty while it is not connected.
    pub health: String,
    /// Records that a historian holds and has not stored yet.
    pub backlog: Option<u64>,
}

pub(super) async fn overview(State(state): State<Arc<ApiState>>) -> Response {
    let services = &state.services;
    let bus = services.bus_statistics();
    let answer = OverviewAnswer {
        instance_name: services.instance.name.clone(),
        pid: std::process::id(),
        uptime_s: bus.uptime_s,
        published: bus.published,
        delivered: bus.delivered,
        lost: bus.lost,
        calls: bus.calls,
        calls_failed: bus.calls_failed,
        peers: services.peers().iter().map(peer_row).collect(),
        agents: services.agents.list().into_iter().map(agent_row).collect(),
    };
    answered("/overview", StatusCode::OK, &answer)
}

fn peer_row(peer: &PeerView) -> PeerRow {
    PeerRow {
        identity: peer.identity.to_string(),
        kind: peer.kind.to_owned(),
        is_remote: peer.is_remote,
        connected_at: timestamp::format(peer.connected_at),
        published: peer.published,
        delivered: peer.delivered,
        lost: peer.lost,
        queued: peer.queued as u64,
        queue_max: peer.queue_max as u64,
    }
}

fn agent_row(agent: AgentView) -> AgentRow {
    let restarts = if let RunState::Running { restarts, .. } = agent.state { restarts } else { 0 };
    // Historians tell it in the reason of their status, as VOLTTRON's do.
    let backlog = agent.health.as_ref().and_then(|health| health.context.get("cache_count")).and_then(Value::as_u64);
    AgentRow {
        identity: agent.identity.to_string(),
        name: agent.name,
        state: crate::operations::word(&agent.state).to_owned(),
        pid: agent.state.pid_and_exit_code().0,
        restarts,
        health: agent.health.map(|health| health.status.as_str().to_owned()).unwrap_or_default(),
        backlog,
    }
}
