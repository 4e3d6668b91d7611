//! Two looks at the platform make rates.

use std::time::Instant;

use serde::Serialize;
use vt_api::local::overview::{AgentRow, OverviewAnswer, PeerRow};

use super::Sort;
use super::usage::{self, Usage};

/// One look: what the server says, and what the system says of its processes.
pub struct Look {
    at: Instant,
    answer: OverviewAnswer,
    server: Option<Usage>,
    agents: Vec<Option<Usage>>,
}

impl Look {
    pub fn new(answer: OverviewAnswer) -> Self {
        let server = usage::of_process(answer.pid);
        let of = |agent: &AgentRow| agent.pid.filter(|_| agent.state == "running").and_then(|pid| usage::of_agent(answer.pid, pid));
        let agents = answer.agents.iter().map(of).collect();
        Self { at: Instant::now(), answer, server, agents }
    }
}

/// What happened between two looks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    pub instance_name: String,
    pub pid: u32,
    pub uptime_s: u64,
    pub peers: usize,
    pub agents_running: usize,
    pub agents_installed: usize,
    pub published_per_s: f64,
    pub delivered_per_s: f64,
    pub calls_per_s: f64,
    /// Since the server started.
    pub lost: u64,
    pub calls_failed: u64,
    pub cpu_percent: Option<f64>,
    pub memory_bytes: Option<u64>,
    pub rows: Vec<Row>,
}

/// A peer, an agent, or mostly both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub identity: String,
    /// `agent`, `service`, `tool` or `link`.
    pub kind: String,
    /// Of an agent: `running` and so on; else `connected`.
    pub state: String,
    pub pid: Option<u32>,
    pub cpu_percent: Option<f64>,
    pub memory_bytes: Option<u64>,
    pub published_per_s: f64,
    pub delivered_per_s: f64,
    /// Since it connected.
    pub lost: u64,
    pub queued: u64,
    pub queue_max: u64,
    pub health: String,
    /// Records that a historian has not stored yet.
    pub backlog: Option<u64>,
}

impl Sample {
    pub fn between(before: &Look, now: &Look, sort: Sort) -> Self {
        let seconds = now.at.duration_since(before.at).as_secs_f64();
        let answer = &now.answer;
        let rate = |now: u64, before: u64| per_second(now, before, seconds);
        let mut rows: Vec<Row> = answer.peers.iter().map(|peer| row_of(peer, before, seconds)).collect();
        for (agent, usage) in answer.agents.iter().zip(&now.agents) {
            let index = rows.iter().position(|row| row.identity == agent.identity).unwrap_or_else(|| {
                rows.push(Row::of_agent(&agent.identity));
                rows.len() - 1
            });
            let row = &mut rows[index];
            row.state.clone_from(&agent.state);
            row.pid = agent.pid.filter(|_| agent.state == "running");
            row.health.clone_from(&agent.health);
            row.backlog = agent.backlog;
            row.memory_bytes = usage.and_then(|usage| usage.memory_bytes);
            row.cpu_percent = percent(before.usage_of(agent), *usage, seconds);
        }
        rows.sort_by(|a, b| order(a, b, sort).then_with(|| a.identity.cmp(&b.identity)));
        Self {
            instance_name: answer.instance_name.clone(),
            pid: answer.pid,
            uptime_s: answer.uptime_s,
            peers: answer.peers.len(),
            agents_running: answer.agents.iter().filter(|agent| agent.state == "running").count(),
            agents_installed: answer.agents.len(),
            published_per_s: rate(answer.published, before.answer.published),
            delivered_per_s: rate(answer.delivered, before.answer.delivered),
            calls_per_s: rate(answer.calls, before.answer.calls),
            lost: answer.lost,
            calls_failed: answer.calls_failed,
            cpu_percent: percent(before.server, now.server, seconds),
            memory_bytes: now.server.and_then(|usage| usage.memory_bytes),
            rows,
        }
    }
}

impl Look {
    /// The usage of the same run of an agent.
    fn usage_of(&self, agent: &AgentRow) -> Option<Usage> {
        let index = self.answer.agents.iter().position(|known| known.identity == agent.identity && known.pid == agent.pid)?;
        self.agents.get(index).copied().flatten()
    }
}

impl Row {
    fn of_agent(identity: &str) -> Self {
        Self {
            identity: identity.to_owned(),
            kind: "agent".to_owned(),
            state: String::new(),
            pid: None,
            cpu_percent: None,
            memory_bytes: None,
            published_per_s: 0.0,
            delivered_per_s: 0.0,
            lost: 0,
            queued: 0,
            queue_max: 0,
            health: String::new(),
            backlog: None,
        }
    }
}

fn row_of(peer: &PeerRow, before: &Look, seconds: f64) -> Row {
    // Counters begin anew with each connection.
    let old = before.answer.peers.iter().find(|old| old.identity == peer.identity && old.connected_at == peer.connected_at);
    let rate = |read: fn(&PeerRow) -> u64| per_second(read(peer), old.map_or(0, read), seconds);
    Row {
        kind: peer.kind.clone(),
        state: "connected".to_owned(),
        published_per_s: rate(|peer| peer.published),
        delivered_per_s: rate(|peer| peer.delivered),
        lost: peer.lost,
        queued: peer.queued,
        queue_max: peer.queue_max,
        ..Row::of_agent(&peer.identity)
    }
}

fn per_second(now: u64, before: u64, seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "messages between two looks are far below 2^52")]
    let count = now.saturating_sub(before) as f64;
    if seconds > 0.0 { (count / seconds * 10.0).round() / 10.0 } else { 0.0 }
}

fn percent(before: Option<Usage>, now: Option<Usage>, seconds: f64) -> Option<f64> {
    let used = now?.cpu_s - before?.cpu_s;
    (seconds > 0.0).then(|| (used.max(0.0) / seconds * 1000.0).round() / 10.0)
}

fn order(a: &Row, b: &Row, sort: Sort) -> std::cmp::Ordering {
    match sort {
        Sort::Name => std::cmp::Ordering::Equal,
        Sort::Messages => b.published_per_s.total_cmp(&a.published_per_s),
        Sort::Cpu => b.cpu_percent.unwrap_or(-1.0).total_cmp(&a.cpu_percent.unwrap_or(-1.0)),
        Sort::Queue => b.queued.cmp(&a.queued),
        Sort::Lost => b.lost.cmp(&a.lost),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn peer(identity: &str, connected_at: &str, published: u64, lost: u64) -> PeerRow {
        let (identity, connected_at, kind) = (identity.to_owned(), connected_at.to_owned(), "agent".to_owned());
        PeerRow { identity, kind, is_remote: false, connected_at, published, delivered: 0, lost, queued: 3, queue_max: 10 }
    }

    fn look(at: Instant, published: u64, peers: Vec<PeerRow>, cpu_s: f64) -> Look {
        let agent = AgentRow {
            identity: "historian".to_owned(),
            name: "h-1.0".to_owned(),
            state: "running".to_owned(),
            pid: Some(7),
            restarts: 0,
            health: "GOOD".to_owned(),
            backlog: Some(12),
        };
        let answer = OverviewAnswer {
            instance_name: "harbor".to_owned(),
            pid: 1,
            uptime_s: 5,
            published,
            delivered: 0,
            lost: 4,
            calls: 0,
            calls_failed: 0,
            peers,
            agents: vec![agent],
        };
        let usage = Usage { cpu_s, memory_bytes: Some(1024) };
        Look { at, answer, server: Some(usage), agents: vec![Some(usage)] }
    }

    #[test]
    fn rates_are_differences_of_the_same_connection_over_the_time_between() {
        let start = Instant::now();
        let before = look(start, 100, vec![peer("a", "t1", 50, 0), peer("b", "t1", 50, 0)], 1.0);
        let now = look(start + Duration::from_secs(2), 120, vec![peer("a", "t1", 60, 0), peer("b", "t2", 8, 9)], 1.5);
        let sample = Sample::between(&before, &now, Sort::Lost);
        assert_eq!((sample.published_per_s, sample.cpu_percent, sample.lost), (10.0, Some(25.0), 4));
        let found: Vec<_> = sample.rows.iter().map(|row| (row.identity.as_str(), row.published_per_s, row.lost)).collect();
        assert_eq!(found, [("b", 4.0, 9), ("a", 5.0, 0), ("historian", 0.0, 0)]);
        let historian = &sample.rows[2];
        assert_eq!((historian.backlog, historian.cpu_percent, historian.state.as_str()), (Some(12), Some(25.0), "running"));
        let same = Sample::between(&before, &before, Sort::Name);
        assert_eq!((same.published_per_s, same.cpu_percent), (0.0, None), "no time has passed");
    }
}
