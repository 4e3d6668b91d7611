//! Entries of the configuration store.
//!
//! - `GET A/configs`: links of entries; with `-` as agent: array of identities that own a store.
//! - `POST A/configs?config-name=N` (or `file-name=N`): 201 with `Location`; 409 if it exists. `DELETE A/configs`: the whole store, 204.
//! - `GET A/configs/{name}`: the stored text as one JSON string; `?raw=true` or `Accept: text/csv` / `text/plain`: the text itself;
//!   `?parsed=true`: its value. `PUT`: creates or replaces, 204. `DELETE`: 204.
//!
//! Types: `application/json`, `text/csv`, `text/plain`; parameters such as `charset` are ignored. Up to 16 MiB. Errors carry `Error`, as in
//! VOLTTRON, and `error`.

use axum::http::{Method, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::Value;
use vt_services::ConfigType;
use vt_types::Identity;

use super::{Answer, Cx, created, done, identity, links, ok};
use crate::error::ApiError;

/// Largest entry, bytes.
const BYTES_MAX: usize = 16 << 20;

/// `A/configs`.
pub async fn store(cx: Cx, agent: &str) -> Answer {
    serve_store(cx, agent).await.map_err(ApiError::with_capital_key)
}

/// `A/configs/{name}`.
pub async fn entry(cx: Cx, agent: &str, name: &str) -> Answer {
    serve_entry(cx, agent, name).await.map_err(ApiError::with_capital_key)
}

async fn serve_store(cx: Cx, agent: &str) -> Answer {
    if agent == "-" {
        cx.only_get()?;
        let stores = cx.services().configs.stores().iter().map(|identity| Value::from(identity.as_str())).collect();
        return Ok(ok(&Value::Array(stores)));
    }
    let agent = identity(agent)?;
    match cx.method {
        Method::GET => {
            let names = cx.services().configs.names(&agent);
            Ok(links(names.into_iter().map(|name| {
                let path = cx.path(&format!("agents/{agent}/configs/{name}"));
                (name, path)
            })))
        }
        Method::POST => create(cx, &agent).await,
        Method::DELETE => {
            cx.services().configs.delete_store(&cx.caller, &agent).await?;
            Ok(done())
        }
        _ => Err(cx.not_offered("GET, HEAD, POST, DELETE")),
    }
}

async fn create(mut cx: Cx, agent: &Identity) -> Answer {
    let name = cx.query.get("config-name").or_else(|| cx.query.get("file-name")).unwrap_or_default().to_owned();
    check_name(&name)?;
    let kind = config_type(&cx)?;
    let text = text(&mut cx).await?;
    if cx.services().configs.get(agent, &name).is_some() {
        return Err(ApiError::new(StatusCode::CONFLICT, format!("Configuration: \"{name}\" already exists for agent: \"{agent}\"")));
    }
    cx.services().configs.set(&cx.caller, agent, &name, kind, &text).await?;
    Ok(created(&cx.path(&format!("agents/{agent}/configs/{name}")), None))
}

async fn serve_entry(mut cx: Cx, agent: &str, name: &str) -> Answer {
    let agent = identity(agent)?;
    match cx.method {
        Method::GET => read(&cx, &agent, name),
        Method::PUT => {
            check_name(name)?;
            let kind = config_type(&cx)?;
            let text = text(&mut cx).await?;
            cx.services().configs.set(&cx.caller, &agent, name, kind, &text).await?;
            Ok(done())
        }
        Method::DELETE => {
            if cx.services().configs.get(&agent, name).is_none() {
                return Err(missing(&agent, name));
            }
            cx.services().configs.delete(&cx.caller, &agent, name).await?;
            Ok(done())
        }
        _ => Err(cx.not_offered("GET, HEAD, PUT, DELETE")),
    }
}

fn read(cx: &Cx, agent: &Identity, name: &str) -> Answer {
    let configs = &cx.services().configs;
    let view = configs.get(agent, name).ok_or_else(|| missing(agent, name))?;
    if cx.query.flag("parsed", false) {
        let unreadable = || {
            ApiError::new(StatusCode::CONFLICT, format!("The stored text of \"{name}\" cannot be read as {}.", view.config_type.as_str()))
        };
        return configs.parsed(agent, name).map(|value| ok(&value)).ok_or_else(unreadable);
    }
    let accept = cx.header(&header::ACCEPT);
    if cx.query.flag("raw", false) || accept.contains("text/csv") || accept.contains("text/plain") {
        let media = match view.config_type {
            ConfigType::Json => "application/json",
            ConfigType::Csv => "text/csv; charset=utf-8",
            ConfigType::Raw => "text/plain; charset=utf-8",
        };
        return Ok(([(header::CONTENT_TYPE, media)], view.data).into_response());
    }
    Ok(ok(&Value::String(view.data)))
}

async fn text(cx: &mut Cx) -> Result<String, ApiError> {
    let bytes = cx.bytes(BYTES_MAX).await?;
    String::from_utf8(bytes.into()).map_err(|_| ApiError::invalid("The configuration is not UTF-8 text."))
}

fn config_type(cx: &Cx) -> Result<ConfigType, ApiError> {
    match cx.content_type().as_str() {
        "application/json" => Ok(ConfigType::Json),
        "text/csv" => Ok(ConfigType::Csv),
        "text/plain" => Ok(ConfigType::Raw),
        _ => Err(ApiError::invalid("The configuration type can only be 'JSON', 'CSV' and 'RAW.'")),
    }
}

/// A name must survive the way through a path: clients and proxies fold empty and relative segments.
fn check_name(name: &str) -> Result<(), ApiError> {
    if name.is_empty() {
        return Err(ApiError::invalid("The query must name the configuration: config-name=..."));
    }
    if name.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(ApiError::invalid(
            "A configuration name is made of names separated by single slashes; none of them may be empty, '.' or '..'.",
        ));
    }
    Ok(())
}

fn missing(agent: &Identity, name: &str) -> ApiError {
    ApiError::invalid(format!("builtins.KeyError('No configuration file \"{name}\" for VIP IDENTITY {agent}')"))
}
