//! Server keys of platforms (admin).
//!
//! - `GET P/known-hosts`: links by `address-port`. `POST {"address", "port", "key"}`: 201.
//! - `GET|PUT|DELETE P/known-hosts/{address-port}`: `{"address", "port", "key"}`; the local socket is `@` and has no port.

use axum::http::Method;
use serde_json::{Map, Value, json};
use vt_services::KnownHost;
use vt_types::PublicKey;

use super::{Answer, Cx, created, done, links, ok};
use crate::error::ApiError;

/// `P/known-hosts`.
pub async fn list(mut cx: Cx) -> Answer {
    cx.only_admin()?;
    match cx.method {
        Method::GET => {
            let hosts = cx.services().peer_auth.known_hosts().await?;
            Ok(links(hosts.iter().map(|host| {
                let id = id(&host.host);
                let path = cx.path(&format!("known-hosts/{id}"));
                (id, path)
            })))
        }
        Method::POST => {
            let body = cx.object().await?;
            let host = host_of(&body)?;
            add(&cx, &host, &body).await?;
            Ok(created(&cx.path(&format!("known-hosts/{}", id(&host))), None))
        }
        _ => Err(cx.not_offered("GET, HEAD, POST")),
    }
}

/// `P/known-hosts/{address-port}`.
pub async fn one(mut cx: Cx, given: &str) -> Answer {
    cx.only_admin()?;
    let host = match given.rsplit_once('-') {
        Some((address, port)) => format!("{address}:{port}"),
        None => given.to_owned(),
    };
    match cx.method {
        Method::GET => {
            let hosts = cx.services().peer_auth.known_hosts().await?;
            let found = hosts.iter().find(|known| known.host == host);
            found.map(|known| ok(&shown(known))).ok_or_else(|| ApiError::not_found(format!("No key of {given:?} is known.")))
        }
        Method::PUT => {
            let body = cx.object().await?;
            add(&cx, &host, &body).await?;
            Ok(done())
        }
        Method::DELETE => {
            let removed = cx.services().peer_auth.remove_known_host(&cx.caller, &host).await;
            removed.map(|()| done()).map_err(ApiError::of_new_route)
        }
        _ => Err(cx.not_offered("GET, HEAD, PUT, DELETE")),
    }
}

async fn add(cx: &Cx, host: &str, body: &Map<String, Value>) -> Result<(), ApiError> {
    let text = body.get("key").and_then(Value::as_str).ok_or_else(|| ApiError::invalid("'key' must be given as text."))?;
    let key = PublicKey::parse(text).map_err(|error| ApiError::invalid(error.to_string()))?;
    cx.services().peer_auth.add_known_host(&cx.caller, host, key).await.map_err(ApiError::of_new_route)
}

fn host_of(body: &Map<String, Value>) -> Result<String, ApiError> {
    let address = body.get("address").and_then(Value::as_str).ok_or_else(|| ApiError::invalid("'address' must be given as text."))?;
    match body.get("port").filter(|port| !port.is_null()) {
        None if address == "@" => Ok(address.to_owned()),
        Some(port) if port.is_u64() || port.is_string() => Ok(format!("{address}:{}", port.to_string().trim_matches('"'))),
        _ => Err(ApiError::invalid("'port' must be given as a number.")),
    }
}

fn shown(known: &KnownHost) -> Value {
    let key = known.key.to_string();
    match known.host.rsplit_once(':') {
        Some((address, port)) => json!({"address": address, "port": port.parse::<u16>().ok(), "key": key}),
        None => json!({"address": known.host, "port": null, "key": key}),
    }
}

fn id(host: &str) -> String {
    host.rsplit_once(':').map_or_else(|| host.to_owned(), |(address, port)| format!("{address}-{port}"))
}
