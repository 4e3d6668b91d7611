//! The interface of the server's local socket, for `vctl` and `vcfg`: an RPC gateway that speaks on the bus as `control.local`, a look
//! at the platform, and its end; `overview` (for `vctl top`) and `pubsub` are beside. The socket's file rights and the peer's credentials are
//! checked by whoever serves it.
//!
//! - `POST /rpc` [`RpcCall`] → 200 [`RpcAnswer`]; the outcome of the call is in the body, not in the status.
//! - `GET /status` → 200 [`StatusAnswer`].
//! - `POST /install`: see `local_install`.
//! - `POST /shutdown` → 200 [`ShutdownAnswer`]; the platform ends a moment later.
//!
//! Errors of the request itself are 4xx with `{"error": {"kind", "exc_type", "message"}}`.

pub mod overview;
pub mod pubsub;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vt_services::Caller;
use vt_types::identity::known;
use vt_types::{Identity, Params, RpcError, timestamp};

use crate::edge::RouteLabel;
use crate::local_install;
use crate::operations::reasons_not_ready;
use crate::state::ApiState;
use crate::vui::body;

/// Time limit of a call unless it says otherwise, seconds.
pub const CALL_TIMEOUT_S: f64 = 30.0;
/// Longest time limit, seconds.
pub const CALL_TIMEOUT_MAX_S: f64 = 600.0;
/// Longest time for one request: a little more than the longest call.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(610);
/// Largest body, bytes; registries travel through here.
const BODY_BYTES_MAX: usize = 32 << 20;

/// Put into a request's extensions by whoever serves the socket: the Unix user at the other end.
#[derive(Debug, Clone)]
pub struct LocalUser(pub String);

/// Calls a method of a peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RpcCall {
    /// Identity of the peer.
    pub peer: String,
    /// Method.
    pub method: String,
    /// Positional arguments.
    #[serde(default)]
    pub args: Vec<Value>,
    /// Keyword arguments.
    #[serde(default)]
    pub kwargs: Map<String, Value>,
    /// Time limit, seconds; at most [`CALL_TIMEOUT_MAX_S`].
    #[serde(default = "default_timeout_s")]
    pub timeout_s: f64,
}

fn default_timeout_s() -> f64 {
    CALL_TIMEOUT_S
}

/// `{"result": ...}` or `{"error": {...}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RpcAnswer {
    /// What the method returned.
    Result(Value),
    /// Why there is no result.
    Error(RpcFailure),
}

/// Why a call gave no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcFailure {
    /// What sort of failure.
    pub kind: FailureKind,
    /// Python class of what the method raised, such as `builtins.KeyError`; empty if nothing was raised.
    pub exc_type: String,
    /// One readable sentence.
    pub message: String,
}

/// Sorts of failure, one per way in which a call can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Nobody is connected under the identity.
    UnknownPeer,
    /// No answer in time.
    Timeout,
    /// Policy refused the call.
    Refused,
    /// The peer has no such method.
    MethodNotFound,
    /// The arguments do not fit, or the request itself is wrong.
    InvalidParams,
    /// The peer's queue is full.
    Busy,
    /// The peer disconnected before it answered.
    PeerGone,
    /// The method raised.
    Remote,
}

/// What the platform is and how it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// Instance name.
    pub instance_name: String,
    /// Version of the software.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// When it started.
    pub started_at: String,
    /// How long it has run, seconds.
    pub uptime_s: u64,
    /// `zmq` or `rmq`.
    pub message_bus: String,
    /// Bus addresses.
    pub vip_addresses: Vec<String>,
    /// Address of the web service.
    pub web_address: String,
    /// Connected peers.
    pub peers: u64,
    /// Why it is not ready; empty when it is.
    pub reasons_not_ready: Vec<String>,
}

/// The platform ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutdownAnswer {
    /// Always true.
    pub stopping: bool,
}

pub(crate) fn routes() -> Router<Arc<ApiState>> {
    Router::new()
        .route("/rpc", post(rpc))
        .route("/status", get(status))
        .route("/shutdown", post(shutdown))
        .route("/overview", get(overview::overview))
        .route("/publish", post(pubsub::publish))
        .route("/subscribe", get(pubsub::subscribe))
        .route("/install", post(local_install::install))
}

async fn rpc(State(state): State<Arc<ApiState>>, request: Request) -> Response {
    let caller = caller(&request);
    let answer = match read("/rpc", request.into_body()).await {
        Ok(call) => call_peer(&state, &caller, call).await,
        Err(response) => return response,
    };
    answered("/rpc", StatusCode::OK, &answer)
}

async fn call_peer(state: &ApiState, caller: &Caller, call: RpcCall) -> RpcAnswer {
    let peer = match Identity::parse(&call.peer) {
        Ok(peer) => peer,
        Err(error) => return RpcAnswer::Error(failure(FailureKind::InvalidParams, error.to_string())),
    };
    let limit_s = if call.timeout_s.is_finite() { call.timeout_s.clamp(0.001, CALL_TIMEOUT_MAX_S) } else { CALL_TIMEOUT_S };
    let params = Params { args: call.args, kwargs: call.kwargs };
    match state.services.tools.call(caller, &peer, &call.method, params, Duration::from_secs_f64(limit_s)).await {
        Ok(result) => RpcAnswer::Result(result),
        Err(error) => RpcAnswer::Error(RpcFailure::from(&error)),
    }
}

async fn status(State(state): State<Arc<ApiState>>) -> Response {
    let instance = &state.services.instance;
    let bus = state.services.bus_statistics();
    let answer = StatusAnswer {
        instance_name: instance.name.clone(),
        version: instance.version.clone(),
        pid: std::process::id(),
        started_at: timestamp::format(instance.started_at),
        uptime_s: bus.uptime_s,
        message_bus: instance.message_bus.clone(),
        vip_addresses: instance.vip_addresses.clone(),
        web_address: instance.web_address.clone(),
        peers: bus.peers,
        reasons_not_ready: reasons_not_ready(&state),
    };
    answered("/status", StatusCode::OK, &answer)
}

async fn shutdown(State(state): State<Arc<ApiState>>, request: Request) -> Response {
    let control = Identity::known(known::CONTROL);
    let limit = Duration::from_secs_f64(CALL_TIMEOUT_S);
    match state.services.tools.call(&caller(&request), &control, "stop_platform", Params::none(), limit).await {
        // The control service may be gone before its answer is.
        Ok(_) | Err(RpcError::PeerGone(_)) => answered("/shutdown", StatusCode::OK, &ShutdownAnswer { stopping: true }),
        Err(error) => answered("/shutdown", StatusCode::CONFLICT, &RpcAnswer::Error(RpcFailure::from(&error))),
    }
}

impl From<&RpcError> for RpcFailure {
    fn from(error: &RpcError) -> Self {
        let kind = match error {
            RpcError::UnknownPeer(_) => FailureKind::UnknownPeer,
            RpcError::Timeout { .. } => FailureKind::Timeout,
            RpcError::Refused(_) => FailureKind::Refused,
            RpcError::MethodNotFound(_) => FailureKind::MethodNotFound,
            RpcError::InvalidParams(_) => FailureKind::InvalidParams,
            RpcError::Busy(_) => FailureKind::Busy,
            RpcError::PeerGone(_) => FailureKind::PeerGone,
            RpcError::Remote(raised) => {
                return Self { kind: FailureKind::Remote, exc_type: raised.exc_type.clone(), message: raised.message.clone() };
            }
        };
        failure(kind, error.to_string())
    }
}

fn failure(kind: FailureKind, message: String) -> RpcFailure {
    RpcFailure { kind, exc_type: String::new(), message }
}

pub(crate) fn caller(request: &Request) -> Caller {
    Caller::local(request.extensions().get::<LocalUser>().map_or("owner", |user| &user.0))
}

async fn read<T: DeserializeOwned>(label: &'static str, body: Body) -> Result<T, Response> {
    let refuse =
        |status: StatusCode, text: &str| answered(label, status, &RpcAnswer::Error(failure(FailureKind::InvalidParams, text.to_owned())));
    let bytes = body::read(body, BODY_BYTES_MAX).await.map_err(|error| refuse(error.status(), error.text()))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| refuse(StatusCode::BAD_REQUEST, &format!("the body is not what is expected here: {error}")))
}

fn answered(label: &'static str, status: StatusCode, answer: &impl Serialize) -> Response {
    let mut response = match serde_json::to_vec(answer) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    };
    response.extensions_mut().insert(RouteLabel(label));
    response
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_shaped_as_tools_expect() {
        let null = serde_json::to_value(RpcAnswer::Result(Value::Null)).unwrap();
        assert_eq!(null, json!({"result": null}));
        assert_eq!(serde_json::from_value::<RpcAnswer>(null).unwrap(), RpcAnswer::Result(Value::Null));
        let raised = RpcAnswer::Error(RpcFailure::from(&RpcError::key_error("x")));
        assert_eq!(
            serde_json::to_value(raised).unwrap(),
            json!({"error": {"kind": "remote", "exc_type": "builtins.KeyError", "message": "x"}})
        );
    }

    #[test]
    fn a_call_needs_no_more_than_peer_and_method() {
        let call: RpcCall = serde_json::from_value(json!({"peer": "control", "method": "inspect"})).unwrap();
        assert_eq!((call.args.len(), call.kwargs.len(), call.timeout_s), (0, 0, CALL_TIMEOUT_S));
    }
}
