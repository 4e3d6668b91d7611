//! The edge for programs: `/authenticate`, VOLTTRON's REST interface below `/vui`, websockets, and what monitoring asks for; and the
//! interface of the server's local socket for our own command line tools. No pages (those are `web`), no rules (those are in services).
//! Source: VOLTTRON 9 `volttron/platform/web/{vui_endpoints,vui_pubsub,authenticate_endpoint}.py`; departures are told where they are.
//!
//! Map: `state` (what handlers share), `edge` (the layer around every request), `authenticate`, `discovery` (for platforms that look for this one), `identify` (who asks), `vui` (one file per
//! resource), `socket` (websockets), `operations` (`/healthz`, `/readyz`, `/metrics`), `local` (the local socket), `error` (one shape).
//!
//! Invariants: nothing below `/vui` is answered without a verified token; every answer is JSON unless its documentation says otherwise; a
//! request ends within [`edge::REQUEST_TIMEOUT`]; tokens and passwords are in no log line, no URL and no error.

mod authenticate;
mod discovery;
pub mod edge;
pub mod error;
mod identify;
pub mod local;
pub mod local_install;
mod metrics;
mod operations;
mod query;
mod socket;
pub mod state;
#[cfg(test)]
mod tests;
mod vui;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};
use tower_http::compression::CompressionLayer;

pub use state::{ApiState, ProcessUse, Reading};

/// Everything for the web listener. Has no fallback, so that pages can be merged in. Requests should carry
/// `axum::extract::ConnectInfo<std::net::SocketAddr>`; without it no peer address is known.
pub fn router(state: ApiState) -> Router {
    let state = Arc::new(state);
    let routes = Router::new()
        .route("/authenticate", any(authenticate::serve))
        .route("/authenticate/", any(authenticate::serve))
        .route("/discovery", get(discovery::tell))
        .route("/discovery/", get(discovery::tell))
        .route("/discovery/allow", any(discovery::allow))
        .route("/vui", any(vui::serve))
        .route("/vui/", any(vui::serve))
        .route("/vui/{*rest}", any(vui::serve))
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
        .route("/metrics", get(operations::metrics));
    routes
        .layer(CompressionLayer::new().compress_when(edge::Compressed))
        .layer(axum::middleware::from_fn_with_state((Arc::clone(&state), edge::REQUEST_TIMEOUT), edge::layer))
        .with_state(state)
}

/// The interface of the local socket. Whoever reaches it is the administrator of this platform: the socket's owner must see to that.
pub fn local_router(state: ApiState) -> Router {
    let state = Arc::new(state);
    local::routes().layer(axum::middleware::from_fn_with_state((Arc::clone(&state), local::REQUEST_TIMEOUT), edge::layer)).with_state(state)
}
