//! `GET A/health`: `{"status", "context", "last_updated"}` of a connected agent; 400 if it is not. `GET P/health`: by identity,
//! `{"peer", "service_agent", "connected", "last_heartbeat", "status", "context", "last_updated"}`.

use serde_json::{Map, Value, json};
use vt_types::timestamp::{self, Timestamp};

use super::{Answer, Cx, agent_not_found, identity, ok, ok_long};

/// `A/health`.
pub fn agent(cx: &Cx, agent: &str) -> Answer {
    cx.only_get()?;
    let view = cx.services().health.of(&identity(agent)?).ok_or_else(|| agent_not_found(agent))?;
    Ok(ok(&json!({"status": view.status.as_str(), "context": view.context, "last_updated": text(view.last_updated)})))
}

/// `P/health`.
pub fn platform(cx: &Cx) -> Answer {
    cx.only_get()?;
    let services = cx.services().health.services();
    let all = cx.services().health.all().into_iter().map(|(identity, view)| {
        let entry = json!({
            "peer": identity,
            "service_agent": services.contains(&identity),
            "connected": text(view.connected),
            "last_heartbeat": text(view.last_heartbeat),
            "status": view.status.as_str(),
            "context": view.context,
            "last_updated": text(view.last_updated),
        });
        (identity.to_string(), entry)
    });
    Ok(ok_long(&Value::Object(all.collect::<Map<_, _>>())))
}

fn text(time: Option<Timestamp>) -> Option<String> {
    time.map(timestamp::format)
}
