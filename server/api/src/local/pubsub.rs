//! Publishing and listening for command line tools.
//!
//! - `POST /publish` [`PublishRequest`] → 200 [`PublishAnswer`]; 4xx with the local socket's error shape if the topic is none or is refused.
//! - `GET /subscribe?prefix=TEXT` → 200, one [`Heard`] as JSON per line, for as long as the tool reads and the platform runs.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vt_services::{Listening, ServiceError};
use vt_types::{ErrorKind, Headers, Topic, TopicPrefix};

use super::{FailureKind, RpcAnswer, answered, failure};
use crate::edge::RouteLabel;
use crate::state::ApiState;

/// What to publish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishRequest {
    /// Where.
    pub topic: String,
    /// Headers.
    #[serde(default)]
    pub headers: Map<String, Value>,
    /// Any JSON.
    pub message: Value,
}

/// It was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishAnswer {
    /// Subscribers that it went to.
    pub subscribers: u64,
}

/// One line of what a tool hears.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heard {
    /// A message.
    Publication(Box<HeardPublication>),
    /// So many messages were lost so far, because the tool read too slowly.
    Lost(u64),
}

/// A message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeardPublication {
    /// Who published.
    pub sender: String,
    /// Named bus; empty for the default one.
    pub bus: String,
    /// Where.
    pub topic: String,
    /// Headers.
    pub headers: Value,
    /// Body.
    pub message: Value,
}

pub(super) async fn publish(State(state): State<Arc<ApiState>>, request: Request) -> Response {
    const LABEL: &str = "/publish";
    let caller = super::caller(&request);
    let request: PublishRequest = match super::read(LABEL, request.into_body()).await {
        Ok(request) => request,
        Err(response) => return response,
    };
    let topic = match Topic::parse(&request.topic) {
        Ok(topic) => topic,
        Err(error) => return refused(LABEL, &ServiceError::Invalid(error.to_string())),
    };
    let mut headers = Headers::new();
    for (name, value) in request.headers {
        headers.set(&name, value);
    }
    match state.services.tools.publish(&caller, &topic, headers, request.message) {
        Ok(subscribers) => answered(LABEL, StatusCode::OK, &PublishAnswer { subscribers: subscribers as u64 }),
        Err(error) => refused(LABEL, &error),
    }
}

pub(super) async fn subscribe(State(state): State<Arc<ApiState>>, Query(query): Query<HashMap<String, String>>) -> Response {
    const LABEL: &str = "/subscribe";
    let prefix = TopicPrefix::parse(query.get("prefix").map_or("", String::as_str));
    let listening =
        prefix.map_err(|error| ServiceError::Invalid(error.to_string())).and_then(|prefix| state.services.tools.listen(&prefix));
    let listening = match listening {
        Ok(listening) => listening,
        Err(error) => return refused(LABEL, &error),
    };
    let lines = stream::unfold((listening, 0_u64), async |(mut listening, told)| {
        let (line, told) = next_line(&mut listening, told).await?;
        Some((Ok::<_, std::convert::Infallible>(line), (listening, told)))
    });
    let mut response = ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response();
    response.extensions_mut().insert(RouteLabel(LABEL));
    response
}

async fn next_line(listening: &mut Listening, told: u64) -> Option<(Bytes, u64)> {
    let publication = listening.next().await?;
    let heard = HeardPublication {
        sender: publication.sender.to_string(),
        bus: publication.bus.as_deref().unwrap_or_default().to_owned(),
        topic: publication.topic.to_string(),
        headers: serde_json::to_value(&*publication.headers).unwrap_or_default(),
        message: Value::clone(&publication.message.shared()),
    };
    let lost = listening.lost();
    let mut text = String::new();
    if lost > told {
        text += &line(&Heard::Lost(lost));
    }
    text += &line(&Heard::Publication(Box::new(heard)));
    Some((Bytes::from(text), lost))
}

fn line(heard: &Heard) -> String {
    serde_json::to_string(heard).map(|text| text + "\n").unwrap_or_default()
}

fn refused(label: &'static str, error: &ServiceError) -> Response {
    let (status, kind) = match error.kind() {
        ErrorKind::Forbidden => (StatusCode::FORBIDDEN, FailureKind::Refused),
        ErrorKind::Invalid => (StatusCode::BAD_REQUEST, FailureKind::InvalidParams),
        _ => (StatusCode::SERVICE_UNAVAILABLE, FailureKind::Busy),
    };
    answered(label, status, &RpcAnswer::Error(failure(kind, error.to_string())))
}
