//! Endpoint tests: real services over fakes, asked through the router without sockets, save for the websockets themselves.

mod agents;
mod authentication;
mod common_rules;
mod configs;
mod devices;
mod historians;
mod local;
mod operations;
mod others;
mod peers;
mod platforms;
mod pubsub;
mod sockets;
mod users;

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use vt_services::bench::{Bench, Running};

use crate::ApiState;

/// The instance name of a bench.
pub const P: &str = "/vui/platforms/harbor1";

/// An API over a bench, with an administrator's token.
pub struct Api {
    pub running: Running,
    pub router: Router,
    pub token: String,
    pub refresh: String,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Api {
    pub async fn start() -> Self {
        Self::over(&Bench::default()).await
    }

    pub async fn over(bench: &Bench) -> Self {
        let running = bench.start().await;
        let tokens = running.log_in("dana", &["admin", "vui"]).await;
        let router = crate::router(ApiState::new(running.services.clone()));
        Self { running, router, token: tokens.access_token, refresh: tokens.refresh_token }
    }

    /// The access token of another user.
    pub async fn token_of(&self, name: &str, groups: &[&str]) -> String {
        self.running.log_in(name, groups).await.access_token
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], None).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.send("PUT", path, &[("content-type", "application/json")], Some(body.to_string())).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send("POST", path, &[("content-type", "application/json")], Some(body.to_string())).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], None).await
    }

    /// As the administrator, unless `headers` name somebody else.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<String>) -> Reply {
        let bearer = format!("Bearer {}", self.token);
        let mut all = headers.to_vec();
        if !headers.iter().any(|(name, _)| matches!(*name, "authorization" | "cookie")) {
            all.push(("authorization", &bearer));
        }
        send(&self.router, method, path, &all, body, None).await
    }

    /// Without any token.
    pub async fn anonymous(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Reply {
        send(&self.router, method, path, headers, body.map(str::to_owned), None).await
    }
}

/// One request through a router.
pub async fn send(
    router: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<String>,
    from: Option<SocketAddr>,
) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(body.map_or_else(Body::empty, Body::from)).unwrap();
    if let Some(from) = from {
        request.extensions_mut().insert(ConnectInfo(from));
    }
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Reply { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes().to_vec() }
}

impl Reply {
    /// Itself, if the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{} {:?}", self.text(), self.headers);
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The text under `error`.
    #[track_caller]
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("no error in {}", self.text())).to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Names of the links; checks that both keys say the same.
    #[track_caller]
    pub fn links(&self) -> Vec<String> {
        let body = self.json();
        assert_eq!(body["links"], body["route_options"]);
        body["links"].as_object().unwrap_or_else(|| panic!("no links in {body}")).keys().cloned().collect()
    }
}

/// Installs and optionally starts an agent that does nothing.
pub async fn install(api: &Api, identity: &str, start: bool) {
    api.post(&format!("{P}/agents"), json!({"kind": "listener", "identity": identity, "start": start})).await.expect(201);
}
