//! VOLTTRON's REST interface. Here: what all resources share, from the path to the answer. One file per resource.
//!
//! Rules (for clients):
//! - `Authorization: Bearer <access token>`; 401 without, 403 without group `vui` or `admin`, both `{"error":"Not Authorized"}`.
//! - A slash at the end is optional. `HEAD` works where `GET` does. A method that a path does not offer is 501 with `Allow`.
//! - What does not exist is 400 on VOLTTRON's routes and 404 on ours (`kinds`, `audit`, `alerts`, `introductions`, `logs`, `health`, `link`,
//!   `statistics`, `auths`, `groups`, `roles`, `known-hosts`).
//! - Places that lead on answer `{"links": {name: path}, "route_options": {same}}`; paths are percent-encoded.
//! - A peer of the bus that does not answer in time is 504, one that is not there 503.
//! - Bodies: 1 MiB, configurations 16 MiB; more is 413. Broken JSON is 400.
//! - Each answer has `X-Request-Id`; a plain one of the caller's own is kept.

mod agents;
pub mod alerts;
mod audit;
mod auths;
pub mod body;
mod bundles;
mod configs;
mod devices;
mod enabled;
mod health;
mod historians;
mod installs;
mod introductions;
mod kinds;
mod known_hosts;
pub mod logs;
mod platforms;
mod pubsub;
mod remote;
mod route;
mod rpc;
mod running;
mod statistics;
mod status;
mod tag;
mod users;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use vt_services::{AgentView, Caller, Services, Session};
use vt_types::Identity;

use self::route::{AgentResource, Resource, Route};
use crate::edge::{BODY_BYTES_MAX, Compressible, RouteLabel};
use crate::error::{ApiError, json_response};
use crate::query::{self, Query};
use crate::state::ApiState;
use crate::{identify, socket};

/// Result of a resource.
pub type Answer = Result<Response, ApiError>;

/// One request, its caller known.
pub struct Cx {
    pub state: Arc<ApiState>,
    pub caller: Caller,
    pub session: Session,
    pub parts: Parts,
    pub method: Method,
    pub query: Query,
    /// Locked by nobody: bodies are not `Sync`, and this makes references to a request so.
    body: Mutex<Body>,
}

/// Answers everything below `/vui`.
pub async fn serve(State(state): State<Arc<ApiState>>, request: Request) -> Response {
    let head = request.method() == Method::HEAD;
    let (label, answer) = answer(state, request).await;
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    if head {
        let length = axum::body::HttpBody::size_hint(response.body()).exact();
        *response.body_mut() = Body::empty();
        if let Some(length) = length {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
    response.extensions_mut().insert(RouteLabel(label));
    response
}

async fn answer(state: Arc<ApiState>, request: Request) -> (&'static str, Answer) {
    let (parts, body) = request.into_parts();
    let asker = match identify::identify(&state.services.auth, &parts) {
        Ok(asker) => asker,
        Err(error) => return ("/vui", Err(error)),
    };
    let path = match query::decode_path(parts.uri.path()) {
        Ok(path) => path,
        Err(error) => return ("/vui", Err(error)),
    };
    let Some(route) = Route::parse(&path) else {
        return ("/vui", Err(ApiError::not_found(format!("There is nothing at {path}."))));
    };
    let label = route.label();
    let method = match parts.method {
        // HTTP/2 opens websockets with CONNECT.
        Method::HEAD | Method::CONNECT => Method::GET,
        ref method => method.clone(),
    };
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let cx = Cx { state, caller: asker.caller, session: asker.session, parts, method, query, body: Mutex::new(body) };
    (label, dispatch(cx, route).await)
}

async fn dispatch(cx: Cx, route: Route) -> Answer {
    let (platform, resource) = match route {
        Route::Root => return platforms::root(&cx),
        Route::Platforms => return platforms::list(&cx),
        Route::Socket => return socket::envelope(cx).await,
        Route::Kinds => return kinds::serve(&cx),
        Route::Audit => return audit::serve(&cx).await,
        Route::Alerts => return alerts::serve(&cx).await,
        Route::Introductions => return introductions::serve(&cx),
        Route::Platform(platform, resource) => (platform, resource),
    };
    if platform != cx.services().instance.name {
        return remote::serve(cx, &platform, resource).await;
    }
    match resource {
        Resource::Platform => platforms::platform(&cx),
        Resource::Link => Err(ApiError::not_found("A platform has no link to itself.")),
        Resource::Agents => agents::list(cx).await,
        Resource::Installs => installs::list(&cx),
        Resource::Install(id) => installs::one(&cx, id).await,
        Resource::Agent(agent, resource) => match resource {
            AgentResource::Agent => agents::agent(&cx, &agent).await,
            AgentResource::Configs => configs::store(cx, &agent).await,
            AgentResource::Config(name) => configs::entry(cx, &agent, &name).await,
            AgentResource::Enabled => enabled::serve(&cx, &agent).await,
            AgentResource::Rpc => rpc::methods(&cx, &agent).await,
            AgentResource::Method(method) => rpc::method(cx, &agent, &method).await,
            AgentResource::Running => running::serve(&cx, &agent).await,
            AgentResource::Status => status::agent(&cx, &agent),
            AgentResource::Tag => tag::serve(cx, &agent).await,
            AgentResource::Health => health::agent(&cx, &agent),
            AgentResource::Logs => logs::agent(&cx, &agent),
        },
        Resource::Devices(topic) => devices::serve(cx, &topic).await,
        Resource::Historians => historians::list(&cx),
        Resource::Historian(historian) => historians::historian(&cx, &historian),
        Resource::HistorianTopics(historian, topic) => historians::topics(&cx, &historian, &topic).await,
        Resource::Pubsub => pubsub::list(&cx),
        Resource::PubsubTopic(topic) => pubsub::topic(cx, &topic).await,
        Resource::Status => status::platform(&cx),
        Resource::Health => health::platform(&cx),
        Resource::Statistics => statistics::serve(&cx),
        Resource::Logs => logs::platform(&cx),
        Resource::Users => users::list(cx).await,
        Resource::User(name) => users::user(cx, &name).await,
        Resource::Auths => auths::list(cx).await,
        Resource::Auth(user_id) => auths::record(cx, &user_id).await,
        Resource::AuthsOf(peers) => auths::group(&cx, peers),
        Resource::AuthOf(peers, user_id) => auths::decision(cx, peers, &user_id).await,
        Resource::PublicKeys(identity) => auths::public_keys(&cx, &identity).await,
        Resource::Groups => bundles::list(cx, bundles::Kind::Groups).await,
        Resource::Group(name) => bundles::one(cx, bundles::Kind::Groups, &name).await,
        Resource::Roles => bundles::list(cx, bundles::Kind::Roles).await,
        Resource::Role(name) => bundles::one(cx, bundles::Kind::Roles, &name).await,
        Resource::KnownHosts => known_hosts::list(cx).await,
        Resource::KnownHost(host) => known_hosts::one(cx, &host).await,
    }
}

impl Cx {
    /// The services.
    pub fn services(&self) -> &Services {
        &self.state.services
    }

    /// Path of something of this platform; `rest` is encoded here.
    pub fn path(&self, rest: &str) -> String {
        let platform = query::encode(&self.services().instance.name);
        if rest.is_empty() { format!("/vui/platforms/{platform}") } else { format!("/vui/platforms/{platform}/{}", query::encode(rest)) }
    }

    /// 501 with the methods that are offered.
    pub fn not_offered(&self, offered: &str) -> ApiError {
        let (method, path) = (&self.parts.method, self.parts.uri.path());
        ApiError::new(StatusCode::NOT_IMPLEMENTED, format!("Endpoint {method} {path} is not implemented."))
            .with_header(header::ALLOW, offered)
    }

    /// Only `GET` is offered.
    ///
    /// # Errors
    /// 501.
    pub fn only_get(&self) -> Result<(), ApiError> {
        if self.method == Method::GET { Ok(()) } else { Err(self.not_offered("GET, HEAD")) }
    }

    /// The caller is an administrator.
    ///
    /// # Errors
    /// 403.
    pub fn only_admin(&self) -> Result<(), ApiError> {
        self.caller.require_admin().map_err(|_| ApiError::forbidden())
    }

    /// A header's text.
    pub fn header(&self, name: &HeaderName) -> &str {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The media type of the body, lower case and without parameters.
    pub fn content_type(&self) -> String {
        self.header(&header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Reads the body.
    ///
    /// # Errors
    /// 413, 400.
    pub async fn bytes(&mut self, bytes_max: usize) -> Result<axum::body::Bytes, ApiError> {
        body::read(std::mem::take(self.body.get_mut()), bytes_max).await
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// 413, 400.
    pub async fn json(&mut self) -> Result<Value, ApiError> {
        body::json(&self.bytes(BODY_BYTES_MAX).await?)
    }

    /// Reads the body as a JSON object.
    ///
    /// # Errors
    /// 413, 400.
    pub async fn object(&mut self) -> Result<Map<String, Value>, ApiError> {
        match self.json().await? {
            Value::Object(object) => Ok(object),
            _ => Err(ApiError::invalid("The body must be a JSON object.")),
        }
    }

    /// The installed agent of that identity.
    ///
    /// # Errors
    /// 400.
    pub fn installed(&self, identity: &str) -> Result<AgentView, ApiError> {
        self.services().agents.by_identity(identity).ok_or_else(|| agent_not_found(identity))
    }
}

/// 400 with VOLTTRON's text.
pub fn agent_not_found(identity: &str) -> ApiError {
    ApiError::invalid(format!("Agent \"{identity}\" not found."))
}

/// The identity of a path.
///
/// # Errors
/// 400.
pub fn identity(text: &str) -> Result<Identity, ApiError> {
    Identity::parse(text).map_err(|_| agent_not_found(text))
}

/// 200 with JSON.
pub fn ok(body: &Value) -> Response {
    json_response(StatusCode::OK, body)
}

/// 200 with JSON that holds no secrets and may be long.
pub fn ok_long(body: &Value) -> Response {
    let mut response = ok(body);
    response.extensions_mut().insert(Compressible);
    response
}

/// 204.
pub fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// 201 at an encoded path.
pub fn created(location: &str, body: Option<&Value>) -> Response {
    let mut response = match body {
        Some(body) => json_response(StatusCode::CREATED, body),
        None => StatusCode::CREATED.into_response(),
    };
    if let Ok(value) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

/// 200 with next hops, under both names that clients know.
pub fn links(links: impl IntoIterator<Item = (String, String)>) -> Response {
    let links: Map<String, Value> = links.into_iter().map(|(name, path)| (name, Value::from(path))).collect();
    ok_long(&json!({"links": links, "route_options": links}))
}
