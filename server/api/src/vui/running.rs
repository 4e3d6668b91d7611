//! `A/running`: starting and stopping an agent.
//! `GET`: `{"running": bool, "status": bool}`, equal by definition. `PUT`: starts, 204; 400 if it runs, unless `restart=true`.
//! `DELETE`: stops, 204 also if it does not run.

use axum::http::Method;
use serde_json::json;

use super::{Answer, Cx, done, ok};
use crate::error::ApiError;

/// All methods.
pub async fn serve(cx: &Cx, identity: &str) -> Answer {
    if ![Method::GET, Method::PUT, Method::DELETE].contains(&cx.method) {
        return Err(cx.not_offered("GET, HEAD, PUT, DELETE"));
    }
    let agent = cx.installed(identity)?.identity;
    let agents = &cx.services().agents;
    let running = || agents.running_peers().contains(&agent);
    match cx.method {
        Method::GET => {
            let running = running();
            return Ok(ok(&json!({"running": running, "status": running})));
        }
        Method::PUT if cx.query.flag("restart", false) => agents.restart(&cx.caller, &agent).await?,
        Method::PUT if running() => return Err(ApiError::invalid(format!("Agent: {agent} is already running."))),
        Method::PUT => agents.start(&cx.caller, &agent).await?,
        _ => agents.stop(&cx.caller, &agent).await?,
    }
    Ok(done())
}
