//! `A/enabled`: whether an agent starts with the platform, and when.
//! `GET`: `{"status": bool, "priority": 0..99 or null}`. `PUT ?priority=0..99` (default 50) and `DELETE`: 204.

use axum::http::Method;
use serde_json::json;
use vt_types::Priority;

use super::{Answer, Cx, done, ok};
use crate::error::ApiError;

/// All methods.
pub async fn serve(cx: &Cx, identity: &str) -> Answer {
    let priority = match cx.method {
        Method::GET => {
            let priority = cx.installed(identity)?.priority.map(|priority| priority.value());
            return Ok(ok(&json!({"status": priority.is_some(), "priority": priority})));
        }
        Method::PUT => {
            let text = cx.query.get("priority").unwrap_or("50");
            Some(Priority::parse(text).map_err(|error| ApiError::invalid(error.to_string()))?)
        }
        Method::DELETE => None,
        _ => return Err(cx.not_offered("GET, HEAD, PUT, DELETE")),
    };
    let agent = cx.installed(identity)?;
    cx.services().agents.set_priority(&cx.caller, &agent.identity, priority).await?;
    Ok(done())
}
