//! The addresses of all pages and what they share. Order of nesting: files and favicon need no session; everything else passes `cx::layer`.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use vt_services::Services;

use crate::csrf::CsrfKey;
use crate::error::PageError;
use crate::pages::overview::Sample;
use crate::pages::{account, agent, agents, chart, components, config, device, devices, install, log, overview, peers, platforms, search};
use crate::{assets, cx};

/// Largest form, in bytes; configuration entries have their own bound.
const FORM_BYTES_MAX: usize = 128 * 1024;
/// Largest configuration entry in a form, in bytes; URL encoding makes three bytes of some.
const CONFIG_FORM_BYTES_MAX: usize = 24 * 1024 * 1024;

/// What pages are built from.
pub struct WebState {
    services: Services,
}

impl WebState {
    /// Pages over `services`, by their clock.
    #[must_use]
    pub fn new(services: Services) -> Self {
        Self { services }
    }
}

/// What pages keep between requests.
pub struct Web {
    /// What the platform does.
    pub services: Services,
    /// Form tokens.
    pub csrf: CsrfKey,
    /// Whether pages are served over HTTPS, so that cookies may say so.
    pub secure: bool,
    /// The bus's counters when they were last shown, for rates.
    pub sample: Mutex<Option<Sample>>,
}

/// All pages, static files included. Its fallback answers every other address with a page that says so; merge it with routers that have none.
pub fn router(state: WebState) -> Router {
    let WebState { services } = state;
    let secure = services.instance.web_address.starts_with("https");
    let web = Arc::new(Web { services, csrf: CsrfKey::random(), secure, sample: Mutex::default() });
    let configs = Router::new()
        .route("/agents/{identity}/configs", get(config::blank).post(config::create))
        .route("/agents/{identity}/configs/{*name}", get(config::show).post(config::change))
        .layer(DefaultBodyLimit::max(CONFIG_FORM_BYTES_MAX));
    let installs = Router::new()
        .route("/install", post(install::begin))
        .route("/install/{id}", get(install::show))
        .layer(DefaultBodyLimit::max(install::UPLOAD_BYTES_MAX));
    let pages = Router::new()
        .route("/", get(overview::show))
        .route("/setup", get(account::setup).post(account::create_first))
        .route("/login", get(account::login).post(account::log_in))
        .route("/logout", post(account::log_out))
        .route("/session", get(account::session))
        .route("/preferences/theme", post(account::theme))
        .route("/components", get(components::show))
        .route("/agents", get(agents::show).post(agents::install))
        .route("/agents/{identity}", get(agent::show))
        .route("/agents/{identity}/{action}", post(agent::act))
        .route("/agents/{identity}/log.txt", get(log::download))
        .route("/agents/{identity}/log/stream", get(log::stream))
        .route("/devices", get(devices::root))
        .route("/devices/{*path}", get(device::show).post(device::change))
        .route("/peers", get(peers::show).post(peers::decide))
        .route("/peers/{user_id}", get(peers::edit).post(peers::change))
        .route("/platforms", get(platforms::list))
        .route("/platforms/{name}", get(platforms::show))
        .route("/search", get(search::show))
        .route("/chart-data/{*path}", get(chart::data))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .merge(configs)
        .merge(installs)
        .fallback(async || PageError::not_found("There is no page at this address."))
        .method_not_allowed_fallback(async || {
            let error = PageError::invalid("This address does not take requests of that kind.");
            let mut response = error.into_response();
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response
        })
        .layer(CatchPanicLayer::custom(|_| {
            PageError::new(vt_types::ErrorKind::Internal, "The page could not be made. The server's log tells why.").into_response()
        }))
        .layer(from_fn_with_state(Arc::clone(&web), cx::layer))
        .with_state(web);
    Router::new()
        .route("/favicon.ico", get(assets::favicon))
        .route("/static/{*path}", get(assets::serve))
        .merge(pages)
        .layer(CompressionLayer::new())
}
