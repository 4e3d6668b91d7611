//! Methods of an agent.
//!
//! - `GET A/rpc`: links of its methods. `GET A/rpc/{method}`: its signature `{"params", "doc"?}`.
//! - `POST A/rpc/{method}`: calls it; 200 with the result, `null` included. The body is an object of keyword arguments (an array under `args`
//!   becomes the positional ones), an array of positional arguments, or nothing.
//!
//! 400 for methods that do not exist and bodies of another shape, 403 by policy, 504 without an answer within 30 s. What the method raised is
//! 400, 409 or 502 with `{"error", "exception": {"type", "message"}}`.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Map, Value};
use vt_services::ServiceError;
use vt_types::{Identity, Params, RpcError};

use super::{Answer, Cx, agent_not_found, body, identity, links, ok};
use crate::edge::BODY_BYTES_MAX;
use crate::error::ApiError;

/// How long a method may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// `A/rpc`.
pub async fn methods(cx: &Cx, agent: &str) -> Answer {
    cx.only_get()?;
    let agent = identity(agent)?;
    let methods = cx.services().agents.rpc_methods(&agent).await.map_err(|error| explained(&agent, error))?;
    Ok(links(methods.into_iter().map(|method| {
        let path = cx.path(&format!("agents/{agent}/rpc/{method}"));
        (method, path)
    })))
}

/// `A/rpc/{method}`.
pub async fn method(mut cx: Cx, agent: &str, method: &str) -> Answer {
    let result = match cx.method {
        Method::GET => {
            let agent = identity(agent)?;
            cx.services().agents.rpc_inspect(&agent, method).await.map_err(|error| explained(&agent, error))?
        }
        Method::POST => {
            let agent = identity(agent)?;
            let params = params(&mut cx).await?;
            let call = cx.services().agents.rpc_call(&cx.caller, &agent, method, params, CALL_TIMEOUT);
            call.await.map_err(|error| explained(&agent, error))?
        }
        _ => return Err(cx.not_offered("GET, HEAD, POST")),
    };
    Ok(ok(&result))
}

/// The arguments in a body.
pub async fn params(cx: &mut Cx) -> Result<Params, ApiError> {
    let bytes = cx.bytes(BODY_BYTES_MAX).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Params::none());
    }
    let malformed = |text: &str| ApiError::invalid(format!("Malformed message body: {text}"));
    match body::json(&bytes).map_err(|error| malformed(error.text()))? {
        Value::Array(args) => Ok(Params::positional(args)),
        Value::Object(kwargs) => Ok(keywords(kwargs)),
        _ => Err(malformed("a JSON object of keyword arguments or an array of positional ones is expected")),
    }
}

fn keywords(mut kwargs: Map<String, Value>) -> Params {
    match kwargs.shift_remove("args") {
        Some(Value::Array(args)) => Params { args, kwargs },
        Some(other) => {
            kwargs.insert("args".to_owned(), other);
            Params::keyword(kwargs)
        }
        None => Params::keyword(kwargs),
    }
}

fn explained(agent: &Identity, error: ServiceError) -> ApiError {
    match error {
        ServiceError::Rpc(RpcError::UnknownPeer(peer)) if peer == *agent => agent_not_found(agent.as_str()),
        ServiceError::Rpc(error @ RpcError::MethodNotFound(_)) => ApiError::invalid(format!("for agent {agent}: {error}")),
        ServiceError::NotFound(text) => ApiError::invalid(format!("for agent {agent}: {text}")),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_array_under_args_is_positional() {
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        let params = keywords(object(json!({"args": [15], "unit": "s"})));
        assert_eq!(params, Params { args: vec![json!(15)], kwargs: object(json!({"unit": "s"})) });
        assert_eq!(keywords(object(json!({"args": 3}))), Params::keyword(object(json!({"args": 3}))));
    }
}
