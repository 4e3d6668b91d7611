//! `GET A/status`: `{"name", "uuid", "tag", "priority", "running", "enabled", "pid", "exit_code"}`. `GET P/status`: the same for each
//! installed agent, by identity. `DELETE P/status`: forgets the ends of agents that do not run, 204.

use axum::http::Method;
use serde_json::{Map, Value, json};
use vt_services::AgentView;

use super::{Answer, Cx, done, ok, ok_long};

/// `A/status`.
pub fn agent(cx: &Cx, identity: &str) -> Answer {
    cx.only_get()?;
    Ok(ok(&object(&cx.installed(identity)?)))
}

/// `P/status`.
pub fn platform(cx: &Cx) -> Answer {
    match cx.method {
        Method::GET => {
            let agents = cx.services().agents.list();
            let all: Map<String, Value> = agents.iter().map(|agent| (agent.identity.to_string(), object(agent))).collect();
            Ok(ok_long(&Value::Object(all)))
        }
        Method::DELETE => {
            cx.services().agents.clear_status(&cx.caller, true);
            Ok(done())
        }
        _ => Err(cx.not_offered("GET, HEAD, DELETE")),
    }
}

/// The status object.
pub fn object(agent: &AgentView) -> Value {
    let (pid, exit_code) = agent.state.pid_and_exit_code();
    json!({
        "name": agent.name,
        "uuid": agent.uuid,
        "tag": agent.tag.as_ref().map(vt_types::Tag::as_str),
        "priority": agent.priority.as_ref().map(vt_types::Priority::as_str),
        "running": pid.is_some() && exit_code.is_none(),
        "enabled": agent.priority.is_some(),
        "pid": pid,
        "exit_code": exit_code,
    })
}
