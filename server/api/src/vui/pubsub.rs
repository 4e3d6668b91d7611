//! Publishing and listening.
//!
//! - `GET P/pubsub`: array of routes that this user listens on now. `GET P/pubsub/{topic}` with an upgrade to a websocket: see `socket`;
//!   without one 426.
//! - `PUT P/pubsub/{topic}` with `{"headers": {...}, "message": ...}`: publishes once; 200 `{"number_of_subscribers": n}`, 403 for a protected
//!   topic.
//! - `DELETE P/pubsub/{topic}`: ends this user's websockets on the topic, 204.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::{Answer, Cx, done, ok};
use crate::error::ApiError;
use crate::socket;

/// `P/pubsub`.
pub fn list(cx: &Cx) -> Answer {
    cx.only_get()?;
    let topics = cx.state.open_topics.of(&cx.caller.user);
    Ok(ok(&topics.into_iter().map(|topic| Value::from(cx.path(&format!("pubsub/{topic}")))).collect()))
}

/// `P/pubsub/{topic}`.
pub async fn topic(mut cx: Cx, topic: &str) -> Answer {
    match cx.method {
        Method::GET => socket::legacy(cx, topic).await,
        Method::PUT => {
            let mut body = cx.object().await?;
            let headers = match body.shift_remove("headers") {
                None | Some(Value::Null) => Map::new(),
                Some(Value::Object(headers)) => headers,
                Some(_) => return Err(ApiError::invalid("'headers' must be a JSON object.")),
            };
            let message = body.shift_remove("message").unwrap_or_default();
            let subscribers = cx.services().live.publish(&cx.caller, topic, headers, message).await?;
            Ok(ok(&json!({"number_of_subscribers": subscribers})))
        }
        Method::DELETE => {
            cx.state.open_topics.close(&cx.caller.user, topic);
            Ok(done())
        }
        _ => Err(cx.not_offered("GET, HEAD, PUT, DELETE")),
    }
}
