//! The newest log lines. `GET A/logs?limit=200&after=SEQ`: of one agent; `GET P/logs` (admin): of the platform and everything in it.
//! `{"lines": [{"seq", "at", "identity", "level", "logger", "text"}, ...]}`, oldest first; `after` gives only lines after that number.

use serde_json::{Value, json};
use vt_services::LogLine;
use vt_types::timestamp;

use super::{Answer, Cx, agent_not_found, ok_long};
use crate::error::ApiError;

/// Lines unless the query says otherwise, and at most.
const LINES: u64 = 200;
const LINES_MAX: u64 = 10_000;

/// `A/logs`.
pub fn agent(cx: &Cx, agent: &str) -> Answer {
    cx.only_get()?;
    let services = cx.services();
    let lines = lines(cx, Some(agent))?;
    let known =
        || services.agents.by_identity(agent).is_some() || services.agents.running_peers().iter().any(|peer| peer.as_str() == agent);
    if lines.is_empty() && !known() {
        return Err(ApiError::not_found(agent_not_found(agent).text()));
    }
    Ok(ok_long(&json!({"lines": lines})))
}

/// `P/logs`.
pub fn platform(cx: &Cx) -> Answer {
    cx.only_get()?;
    cx.only_admin()?;
    Ok(ok_long(&json!({"lines": lines(cx, None)?})))
}

fn lines(cx: &Cx, identity: Option<&str>) -> Result<Vec<Value>, ApiError> {
    let limit = cx.query.number("limit")?.unwrap_or(LINES).min(LINES_MAX);
    let lines = cx.services().logs.tail(identity, usize::try_from(limit).unwrap_or(usize::MAX), cx.query.number("after")?);
    Ok(lines.iter().map(line).collect())
}

/// One line.
pub fn line(line: &LogLine) -> Value {
    json!({
        "seq": line.seq,
        "at": timestamp::format(line.at),
        "identity": line.identity,
        "level": line.level.as_str(),
        "logger": line.logger,
        "text": line.text,
    })
}
