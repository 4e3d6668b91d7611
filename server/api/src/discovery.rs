//! `GET /discovery/`: how others reach this platform over ZeroMQ, without authentication: other platforms while they are set up, forwarders.
//! `{"serverkey", "vip-address", "instance-name"}` and no other key, for VOLTTRON's clients refuse others; without a TCP address the first
//! two are missing. Source: vip-zmq.md §9.1, web.md §4.1, VOLTTRON `volttron/platform/web/platform_web_service.py`.
//!
//! `POST /discovery/allow`: JSON-RPC `allowvc` with `["<key>"]` or `{"vcpublickey": "<key>"}` lets a central server in under the identity
//! `volttron.central`; result `"Added"`, also if it was there. Differs from VOLTTRON, where everybody may: an administrator's token is
//! needed, or setup mode.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use vt_services::{Admission, AuthEntry, AuthList, Caller, ServiceError};
use vt_types::{Identity, PublicKey};

use crate::edge::{BODY_BYTES_MAX, RouteLabel};
use crate::error::{ApiError, json_response};
use crate::identify;
use crate::state::ApiState;
use crate::vui::body;

/// As whom VOLTTRON Central is let in.
const CENTRAL: &str = "volttron.central";

/// `/discovery/`.
pub async fn tell(State(state): State<Arc<ApiState>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let mut told = Map::new();
    if let (Some(address), Some(key)) = (vip_address(&state, &parts), state.services.peer_auth.server_key()) {
        told.insert("serverkey".to_owned(), key.to_string().into());
        told.insert("vip-address".to_owned(), address.into());
    }
    told.insert("instance-name".to_owned(), state.services.instance.name.as_str().into());
    labelled("/discovery", json_response(StatusCode::OK, &Value::Object(told)))
}

/// `/discovery/allow`.
pub async fn allow(State(state): State<Arc<ApiState>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = async {
        let caller = caller(&state, &parts)?;
        let request = body::json(&body::read(body, BODY_BYTES_MAX).await?)?;
        Ok::<_, ApiError>(match key(&request) {
            Ok(key) => {
                let added = add(&state, &caller, key).await;
                added.map_err(ApiError::of_new_route)?;
                json!({"jsonrpc": "2.0", "result": "Added", "id": request.get("id")})
            }
            Err((code, message)) => {
                json!({"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": request.get("id")})
            }
        })
    };
    let response = match answer.await {
        Ok(answer) => json_response(StatusCode::OK, &answer),
        Err(error) => error.into_response(),
    };
    labelled("/discovery/allow", response)
}

/// The first TCP address. Where the platform listens everywhere, the host is the one under which it was asked.
fn vip_address(state: &ApiState, parts: &Parts) -> Option<String> {
    let (host, port) = state.services.instance.vip_addresses.iter().find_map(|address| address.strip_prefix("tcp://")?.rsplit_once(':'))?;
    let is_everywhere = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
    let asked = || {
        let header = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok());
        let authority = header.map_or_else(|| parts.uri.authority().cloned(), |text| text.parse::<Authority>().ok());
        authority.map(|authority| authority.host().to_owned())
    };
    let host = if is_everywhere { asked() } else { None }.unwrap_or_else(|| host.to_owned());
    Some(format!("tcp://{host}:{port}"))
}

fn caller(state: &ApiState, parts: &Parts) -> Result<Caller, ApiError> {
    if parts.method != Method::POST {
        return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Only POST is offered here.").with_header(header::ALLOW, "POST"));
    }
    if state.services.peer_auth.admission() == Admission::Setup {
        return Ok(Caller::setup_mode());
    }
    // What everybody could do on VOLTTRON tells nobody more than that it is closed.
    let caller = identify::identify(&state.services.auth, parts).map_err(|_| ApiError::unauthenticated())?.caller;
    if caller.is_admin() { Ok(caller) } else { Err(ApiError::unauthenticated()) }
}

fn key(request: &Value) -> Result<PublicKey, (i32, String)> {
    if request.get("method").and_then(Value::as_str) != Some("allowvc") {
        return Err((-32601, "Only the method allowvc is offered here.".to_owned()));
    }
    let params = request.get("params").unwrap_or(&Value::Null);
    let text = params.get(0).or_else(|| params.get("vcpublickey")).and_then(Value::as_str);
    let text = text.ok_or_else(|| (-32602, "The key of the central server is missing.".to_owned()))?;
    PublicKey::parse(text).map_err(|error| (-32602, error.to_string()))
}

async fn add(state: &ApiState, caller: &Caller, key: PublicKey) -> Result<(), ServiceError> {
    let auth = &state.services.peer_auth;
    if auth.records().allow.iter().any(|entry| entry.names_key(key)) {
        return Ok(());
    }
    let mut entry = AuthEntry::for_key(key, CENTRAL);
    entry.identity = Some(Identity::known(CENTRAL));
    entry.comments = Some("Added by VOLTTRON Central through /discovery/allow".to_owned());
    auth.add_entry(caller, AuthList::Allow, entry).await
}

fn labelled(label: &'static str, mut response: Response) -> Response {
    response.extensions_mut().insert(RouteLabel(label));
    response
}
