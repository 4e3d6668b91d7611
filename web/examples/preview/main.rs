//! Serves pages with sample data over plain HTTP on loopback, for work on the design: `cargo run -p vt-web --example preview [port]`.
//! `?theme=dark|light` chooses colours. Nothing is stored; buttons lead to the page's address and nowhere else.

mod samples;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use askama::Template;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::Utc;
use serde::Deserialize;
use serde_json::{Value, json};
use vt_web::assets;
use vt_web::frame::Theme;

use crate::samples::Samples;

#[derive(Deserialize)]
struct Look {
    #[serde(default)]
    theme: String,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "tells the maintainer where to look")]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(8180);
    let router = Router::new()
        .route("/static/{*path}", get(assets::serve))
        .route("/favicon.ico", get(assets::favicon))
        .route("/session", get(async || Json(json!({"user": "dana"}))))
        .route("/vui/ws", get(async |upgrade: WebSocketUpgrade| upgrade.protocols(["volttron.v2"]).on_upgrade(publish)))
        .route("/chart-data/{*path}", get(chart))
        .route("/", get(async |look: Query<Look>| show(&look, "overview")))
        .route("/{*path}", get(async |Path(path): Path<String>, look: Query<Look>| show(&look, &path)));
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    println!("http://{0}/ http://{0}/components", listener.local_addr()?);
    axum::serve(listener, router).await
}

fn show(look: &Look, path: &str) -> Response {
    let samples = Samples::pleasant(Theme::parse(&look.theme));
    let page = match path {
        "overview" => samples.overview().render(),
        "agents" => samples.agents().render(),
        "search" => samples.search().render(),
        "setup" => samples.setup().render(),
        "login" => samples.login().render(),
        "confirm" => samples.confirm().render(),
        "components" => samples.components().render(),
        "devices" => samples.devices().render(),
        path if path.ends_with("log/stream") => return StatusCode::NO_CONTENT.into_response(),
        path if path.starts_with("agents/") && path.contains("/configs") => samples.config().render(),
        path if path.starts_with("agents/") => samples.agent_page().render(),
        path if path.starts_with("devices/") && path.matches('/').count() > 3 => samples.point().render(),
        path if path.starts_with("devices/") => samples.device_page().render(),
        _ => samples.error("There is no page at this address.").render(),
    };
    match page {
        Ok(html) => Html(html).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[derive(Deserialize)]
struct Range {
    from: String,
    to: String,
}

/// A slow wave with a gap, and a band when the range is long.
async fn chart(Query(range): Query<Range>) -> Json<Value> {
    let parse = |text: &str| chrono::DateTime::parse_from_rfc3339(text).map_or(0, |time| time.timestamp_millis());
    let (from, to) = (parse(&range.from), parse(&range.to));
    let step = ((to - from) / 400).max(5000);
    let times: Vec<i64> = (0..400)
        .map(|at| from + at * step)
        .filter(|time| *time <= to)
        .filter(|time| !(0.55..0.6).contains(&((time - from) as f64 / (to - from) as f64)))
        .collect();
    let wave = |time: &i64| 21.5 + ((*time as f64) / 900_000.0).sin() * 1.8 + ((*time as f64) / 97_000.0).sin() * 0.2;
    let values: Vec<f64> = times.iter().map(wave).collect();
    let width = if step > 60_000 { 0.6 } else { 0.0 };
    let (low, high): (Vec<f64>, Vec<f64>) = values.iter().map(|value| (value - width, value + width)).unzip();
    Json(json!({"t": times, "v": values, "min": low, "max": high, "thinned": width > 0.0}))
}

/// Answers subscriptions and publishes readings of one device every two seconds.
async fn publish(mut socket: WebSocket) {
    let mut tick = tokio::time::interval(Duration::from_secs(2));
    let mut subscriptions = Vec::new();
    loop {
        tokio::select! {
            frame = socket.recv() => {
                let Some(Ok(frame)) = frame else { return };
                let Ok(request) = serde_json::from_str::<Value>(frame.to_text().unwrap_or_default()) else { continue };
                if request["op"] == "subscribe" {
                    let name = format!("s{}", subscriptions.len() + 1);
                    let answer = json!({"op": "ok", "id": request["id"], "sub": name});
                    subscriptions.push((name, request["prefix"].as_str().unwrap_or_default().to_owned()));
                    if socket.send(Message::from(answer.to_string())).await.is_err() { return }
                }
            }
            _ = tick.tick() => for (sub, prefix) in &subscriptions {
                let topic = "devices/harbor/pier4/ahu1/all";
                if !topic.starts_with(prefix.as_str()) { continue }
                let now = Utc::now();
                let value = 21.5 + ((now.timestamp_millis() as f64) / 97_000.0).sin() * 0.2;
                let values = json!({"SupplyAirTemperature": value - 7.0, "ZoneTemperature": value, "ZoneTemperatureSetPoint": value, "DamperPosition": 40});
                let event = json!({"op": "event", "sub": sub, "platform": "harbor1", "topic": topic, "headers": {"TimeStamp": now.to_rfc3339()}, "message": [values, {}], "sender": "platform.driver", "at": now.to_rfc3339()});
                if socket.send(Message::from(event.to_string())).await.is_err() { return }
            }
        }
    }
}
