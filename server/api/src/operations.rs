//! What monitoring asks for, outside `/vui`.
//!
//! - `GET /healthz`: 200 `{"status":"ok"}` while the process answers at all.
//! - `GET /readyz`: 200 `{"status":"ready"}`, or 503 `{"status":"not ready","reasons":[...]}` while a service of the platform is missing.
//! - `GET /metrics`: Prometheus text. Without a token only for direct connections from this machine (forwarded ones count as foreign);
//!   else with an access token of a user with the right to use `/vui`, or with the fixed token of the settings.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use vt_services::{InstanceView, RunState};
use vt_types::identity::known;
use vt_types::timestamp::Timestamp;

use crate::edge::{Compressible, RouteLabel};
use crate::error::{ApiError, json_response};
use crate::identify;
use crate::metrics::Exposition;
use crate::state::ApiState;

/// Services without which the platform is not ready.
const NEEDED: [&str; 4] = [known::CONTROL, known::CONFIG_STORE, known::PLATFORM_HEALTH, known::PLATFORM_WEB];

/// `GET /healthz`.
pub async fn healthz() -> Response {
    labelled("/healthz", json_response(StatusCode::OK, &json!({"status": "ok"})))
}

/// `GET /readyz`.
pub async fn readyz(State(state): State<Arc<ApiState>>) -> Response {
    let reasons = reasons_not_ready(&state);
    let response = if reasons.is_empty() {
        json_response(StatusCode::OK, &json!({"status": "ready"}))
    } else {
        json_response(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "not ready", "reasons": reasons}))
    };
    labelled("/readyz", response)
}

/// Why the platform is not ready, one sentence each.
pub fn reasons_not_ready(state: &ApiState) -> Vec<String> {
    let peers = state.services.peers();
    let missing = NEEDED.iter().filter(|needed| !peers.iter().any(|peer| peer.identity.as_str() == **needed));
    missing.map(|service| format!("The service {service} is not connected to the bus.")).collect()
}

/// `GET /metrics`.
pub async fn metrics(State(state): State<Arc<ApiState>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let response = if may_read_metrics(&state, &parts) {
        let mut response = render(&state).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
        response.extensions_mut().insert(Compressible);
        response
    } else {
        ApiError::unauthenticated().into_response()
    };
    labelled("/metrics", response)
}

fn may_read_metrics(state: &ApiState, parts: &Parts) -> bool {
    let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| parts.headers.contains_key(*name));
    let near = parts.extensions.get::<ConnectInfo<SocketAddr>>().is_some_and(|info| info.0.ip().to_canonical().is_loopback());
    if near && !forwarded {
        return true;
    }
    let given = identify::credentials(&parts.headers).map(identify::Credentials::token);
    let fixed = given.zip(state.metrics_token.as_deref()).is_some_and(|(given, token)| same(given.as_bytes(), token.as_bytes()));
    fixed || identify::identify(&state.services.auth, parts).is_ok()
}

/// Compares in a time that tells nothing but the length.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn render(state: &ApiState) -> String {
    let services = &state.services;
    let mut text = Exposition::default();
    text.family("volttron_info", "gauge", "What runs here.");
    text.sample("volttron_info", &[("instance", &services.instance.name), ("version", &services.instance.version)], 1);
    let bus = services.bus_statistics();
    text.single("volttron_uptime_seconds", "gauge", "Time since the platform started.", bus.uptime_s);
    text.single("volttron_bus_published_total", "counter", "Publications accepted.", bus.published);
    text.single("volttron_bus_delivered_total", "counter", "Copies handed to subscribers.", bus.delivered);
    text.single("volttron_bus_lost_total", "counter", "Copies lost because a subscriber's queue was full.", bus.lost);
    text.single("volttron_bus_calls_total", "counter", "Calls handed to callees.", bus.calls);
    text.single("volttron_bus_calls_failed_total", "counter", "Calls not handed over.", bus.calls_failed);
    text.single("volttron_bus_peers", "gauge", "Connected peers.", bus.peers);
    let peers = services.peers();
    text.family("volttron_peer_lost_total", "counter", "Publications that a peer lost because its queue was full.");
    for peer in &peers {
        text.sample("volttron_peer_lost_total", &[("identity", peer.identity.as_str())], peer.lost);
    }
    text.family("volttron_peer_queued", "gauge", "Publications that wait for a peer.");
    for peer in &peers {
        text.sample("volttron_peer_queued", &[("identity", peer.identity.as_str())], peer.queued);
    }
    write_queues(&mut text, state);
    write_links(&mut text, state);
    let mut agents: BTreeMap<&str, u64> = ["backing_off", "failed", "never_started", "running", "stopped"].map(|word| (word, 0)).into();
    for agent in services.agents.list() {
        *agents.entry(word(&agent.state)).or_default() += 1;
    }
    text.family("volttron_agents", "gauge", "Installed agents by state.");
    for (state, count) in agents {
        text.sample("volttron_agents", &[("state", state)], count);
    }
    text.single("volttron_live_sessions", "gauge", "Open websockets and other viewers.", services.live.sessions());
    for reading in state.readings.iter().flat_map(|read| read()) {
        text.single(reading.name, reading.kind, reading.help, reading.value);
    }
    if let Some(process) = &state.process {
        let used = process();
        text.single("process_resident_memory_bytes", "gauge", "Resident memory.", used.resident_bytes);
        text.single("process_cpu_seconds_total", "counter", "Processor time, user and system.", used.cpu_s);
        text.single("process_open_fds", "gauge", "Open file descriptors.", used.open_files);
        text.single("process_threads", "gauge", "Threads.", used.threads);
    }
    state.http.write(&mut text);
    text.finish()
}

/// Families of what agents that keep something tell in the context of their status, and the members that they are read from.
const QUEUES: [(&str, &str, &str, &[&str]); 5] = [
    ("volttron_agent_publishing", "gauge", "Whether an agent stores or sends what it takes in: 1 or 0.", &["publishing"]),
    ("volttron_agent_backlog", "gauge", "Records that an agent keeps until they can be stored or sent.", &["cache_count"]),
    ("volttron_agent_lag_seconds", "gauge", "Age of the oldest of them.", &["lag_s"]),
    ("volttron_agent_sent_total", "counter", "Messages that another platform has confirmed.", &["sent"]),
    (
        "volttron_agent_lost_total",
        "counter",
        "Messages that an agent lost before they were stored or sent.",
        &["lost", "publications_lost"],
    ),
];

/// Backlog, lag and losses of historians and of agents that send to other platforms, as they last told them.
fn write_queues(text: &mut Exposition, state: &ApiState) {
    let told = state.services.health.all();
    for (family, kind, help, members) in QUEUES {
        text.family(family, kind, help);
        for (identity, view) in &told {
            let value = members.iter().find_map(|member| view.context.get(member));
            let value = value.and_then(|value| value.as_f64().or_else(|| value.as_bool().map(|is| f64::from(u8::from(is)))));
            if let Some(value) = value {
                text.sample(family, &[("identity", identity.as_str())], value);
            }
        }
    }
}

/// The links to other platforms, by their names.
fn write_links(text: &mut Exposition, state: &ApiState) {
    let now = state.services.clock.now();
    let instances = state.services.instances.list();
    type Read = fn(&InstanceView, Timestamp) -> Option<u64>;
    let families: [(&str, &str, &str, Read); 7] = [
        ("volttron_platform_link_up", "gauge", "Whether the link to another platform is connected: 1 or 0.", |it, _| {
            Some(u64::from(it.link.is_connected))
        }),
        ("volttron_platform_link_connects_total", "counter", "How often the link was made; the first time included.", |it, _| {
            Some(it.link.connects)
        }),
        ("volttron_platform_link_sent_total", "counter", "Messages sent to another platform.", |it, _| Some(it.link.sent)),
        ("volttron_platform_link_received_total", "counter", "Messages that came from it.", |it, _| Some(it.link.received)),
        ("volttron_platform_link_lost_total", "counter", "Messages for it that were lost because they waited too long.", |it, _| {
            Some(it.link.lost)
        }),
        ("volttron_platform_agents_running", "gauge", "Agents that run there, by its newest answer.", |it, _| {
            it.told.as_ref().and_then(|told| told.counts()).and_then(|(running, _)| u64::try_from(running).ok())
        }),
        ("volttron_platform_told_age_seconds", "gauge", "Age of its newest answer.", |it, now| {
            it.told.as_ref().and_then(|told| u64::try_from((now - told.at).num_seconds()).ok())
        }),
    ];
    for (family, kind, help, read) in families {
        text.family(family, kind, help);
        for instance in &instances {
            if let Some(value) = read(instance, now) {
                text.sample(family, &[("platform", &instance.link.platform.name)], value);
            }
        }
    }
}

/// One word for a state, as metrics and tools show it.
pub fn word(state: &RunState) -> &'static str {
    match state {
        RunState::NeverStarted => "never_started",
        RunState::Running { .. } => "running",
        RunState::Stopped { .. } => "stopped",
        RunState::BackingOff { .. } => "backing_off",
        RunState::Failed { .. } => "failed",
    }
}

fn labelled(label: &'static str, mut response: Response) -> Response {
    response.extensions_mut().insert(RouteLabel(label));
    response
}
