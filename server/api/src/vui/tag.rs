//! `A/tag`: the user's nickname for an agent. `GET`: `{"tag": text or null}`. `PUT {"tag": text}`, up to 64 characters, and `DELETE`: 204.

use axum::http::Method;
use serde_json::{Value, json};
use vt_services::AgentView;
use vt_types::Tag;

use super::{Answer, Cx, done, ok};
use crate::error::ApiError;

/// All methods.
pub async fn serve(mut cx: Cx, identity: &str) -> Answer {
    if ![Method::GET, Method::PUT, Method::DELETE].contains(&cx.method) {
        return Err(cx.not_offered("GET, HEAD, PUT, DELETE"));
    }
    let agent = installed(&cx, identity)?;
    let tag = match cx.method {
        Method::GET => return Ok(ok(&json!({"tag": agent.tag.as_ref().map(Tag::as_str)}))),
        Method::PUT => match cx.object().await?.get("tag") {
            Some(Value::String(text)) => Some(Tag::parse(text).map_err(|error| ApiError::invalid(error.to_string()))?),
            _ => return Err(ApiError::invalid("The body must be a JSON object with the text 'tag'.")),
        },
        _ => None,
    };
    cx.services().agents.set_tag(&cx.caller, &agent.identity, tag).await?;
    Ok(done())
}

/// With single quotes round the name: VOLTTRON's text differs here.
fn installed(cx: &Cx, identity: &str) -> Result<AgentView, ApiError> {
    cx.services().agents.by_identity(identity).ok_or_else(|| ApiError::invalid(format!("Agent '{identity}' not found.")))
}
