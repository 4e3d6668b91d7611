//! Installing packages in Python, and following that.
//!
//! - `POST P/agents` (admin) begins: with JSON `{"package": "name==1.0", "identity"?, "tag"?, "priority"?, "config"?, "force"?, "start"?,
//!   "enable"?, "interpreter"?, "allow_prerelease"?}` a package of the index; with a wheel as `application/octet-stream` and its name in the
//!   query (`file-name`, the other members beside it), or as the file of a `multipart/form-data` whose other parts have those names, that
//!   wheel. `config` is the content of a file, kept as it is. 202 with `Location`.
//! - `GET P/installs` (admin): the newest ones. `GET P/installs/{id}?from=N` (admin): `{"id", "what", "step", "percent", "lines", "next_line",
//!   "done", "agent", "start_error", "error"}`, lines from number N on; with `wait=S` it answers when something changes, at most S seconds later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequest, Multipart};
use axum::http::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};
use vt_services::{Install, PACKAGE_BYTES_MAX, PackageInstall, PackageSource};
use vt_types::{Priority, Tag};

use super::{Answer, Cx, ok_long, status};
use crate::error::{ApiError, json_response};

/// Longest wait for a change.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// What is sent around a wheel, bytes.
const FORM_BYTES_MAX: usize = 17 << 20;

/// A package of the index, described by `body`.
pub async fn by_name(cx: &Cx, body: &Map<String, Value>) -> Answer {
    let mut texts = BTreeMap::new();
    for (name, value) in body {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Object(_) | Value::Array(_) => format!("{value:#}\n"),
            other => other.to_string(),
        };
        texts.insert(name.clone(), text);
    }
    let package = texts.remove("package").unwrap_or_default();
    begin(cx, PackageSource::Requirement(package), &texts).await
}

/// A wheel that is sent as it is.
pub async fn by_content(mut cx: Cx) -> Answer {
    let names = ["identity", "vip_identity", "tag", "priority", "force", "start", "enable", "interpreter"];
    let texts = names.iter().filter_map(|name| Some(((*name).to_owned(), cx.query.text(name)?.to_owned()))).collect();
    let file_name = cx.query.text("file-name").map(str::to_owned);
    let file_name = file_name.ok_or_else(|| ApiError::invalid("'file-name' is missing in the query: the wheel's file name."))?;
    cx.only_admin()?;
    let content = Arc::new(cx.bytes(PACKAGE_BYTES_MAX).await?.to_vec());
    begin(&cx, PackageSource::Wheel { file_name, content }, &texts).await
}

/// A form with a wheel as its file.
pub async fn by_form(mut cx: Cx) -> Answer {
    cx.only_admin()?;
    let bytes = cx.bytes(PACKAGE_BYTES_MAX + FORM_BYTES_MAX).await?;
    let mut request = Request::new(axum::body::Body::from(bytes));
    *request.headers_mut() = cx.parts.headers.clone();
    // Read to our own bound above.
    DefaultBodyLimit::disable().apply(&mut request);
    let unreadable = |error: &dyn std::fmt::Display| ApiError::invalid(format!("The form could not be read: {error}."));
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| unreadable(&error))?;
    let (mut texts, mut wheel) = (BTreeMap::new(), None);
    while let Some(field) = form.next_field().await.map_err(|error| unreadable(&error))? {
        let (name, file_name) = (field.name().unwrap_or_default().to_owned(), field.file_name().map(str::to_owned));
        match file_name.filter(|name| !name.is_empty()) {
            Some(file_name) => {
                let content = field.bytes().await.map_err(|error| unreadable(&error))?;
                wheel = Some(PackageSource::Wheel { file_name, content: Arc::new(content.to_vec()) });
            }
            None => {
                texts.insert(name, field.text().await.map_err(|error| unreadable(&error))?);
            }
        }
    }
    let package = texts.remove("package").filter(|package| !package.is_empty()).map(PackageSource::Requirement);
    let source = wheel.or(package).ok_or_else(|| ApiError::invalid("The form has neither a file nor a 'package'."))?;
    begin(&cx, source, &texts).await
}

async fn begin(cx: &Cx, source: PackageSource, texts: &BTreeMap<String, String>) -> Answer {
    let text = |name: &str| texts.get(name).filter(|text| !text.is_empty()).cloned();
    let flag = |name: &str| text(name).is_some_and(|text| matches!(text.as_str(), "true" | "True" | "1" | "on"));
    let invalid = |error: vt_types::InstallationError| ApiError::invalid(error.to_string());
    let priority = match text("priority") {
        Some(text) => Some(Priority::parse(&text).map_err(invalid)?),
        None => flag("enable").then(Priority::default),
    };
    let request = PackageInstall {
        identity: text("identity").or_else(|| text("vip_identity")),
        tag: text("tag").as_deref().map(Tag::parse).transpose().map_err(invalid)?,
        priority,
        config: text("config"),
        force: flag("force"),
        start: flag("start"),
        interpreter: text("interpreter"),
        allow_prerelease: flag("allow_prerelease"),
        ..PackageInstall::of(source)
    };
    let install = cx.services().agents.begin_install(&cx.caller, request).await?;
    let location = cx.path(&format!("installs/{}", install.id));
    let mut response = json_response(StatusCode::ACCEPTED, &object(&install, 0));
    if let Ok(value) = location.parse() {
        response.headers_mut().insert(axum::http::header::LOCATION, value);
    }
    Ok(response)
}

/// `P/installs`.
pub fn list(cx: &Cx) -> Answer {
    cx.only_get()?;
    cx.only_admin()?;
    let all: Vec<Value> = cx.services().agents.installs().iter().map(|install| object(install, usize::MAX)).collect();
    Ok(ok_long(&json!({"installs": all})))
}

/// `P/installs/{id}`.
pub async fn one(cx: &Cx, id: u64) -> Answer {
    if cx.method != Method::GET {
        return Err(cx.not_offered("GET, HEAD"));
    }
    cx.only_admin()?;
    let install = cx.services().agents.install_of(id);
    let install = install.ok_or_else(|| ApiError::not_found(format!("There is no installation {id}; only the newest are remembered.")))?;
    let number = |name: &str| cx.query.text(name).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    let from = number("from") as usize;
    let mut changes = install.changes();
    let news = install.news(from);
    if news.lines.is_empty() && news.outcome.is_none() {
        let wait = Duration::from_secs(number("wait").into()).min(WAIT_MAX);
        // Without a change the answer says so.
        drop(tokio::time::timeout(wait, changes.changed()).await);
    }
    Ok(ok_long(&object(&install, from)))
}

fn object(install: &Install, from: usize) -> Value {
    let news = install.news(from);
    let (agent, start_error, error) = match &news.outcome {
        None => (Value::Null, None, None),
        Some(Ok(outcome)) => {
            let mut agent = status::object(&outcome.agent);
            agent["identity"] = outcome.agent.identity.as_str().into();
            (agent, outcome.start_error.clone(), None)
        }
        Some(Err(error)) => (Value::Null, None, Some(error.to_string())),
    };
    json!({
        "id": install.id,
        "what": install.what,
        "user": install.user,
        "step": news.step,
        "percent": news.percent,
        "lines": news.lines,
        "next_line": news.next_line,
        "done": news.outcome.is_some(),
        "agent": agent,
        "start_error": start_error,
        "error": error,
    })
}
