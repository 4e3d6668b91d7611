//! Agents of a platform.
//!
//! - `GET P/agents?agent-state=running|installed&include-hidden=bool`: links, one per agent. Default: installed agents that run; hidden ones
//!   are peers that are connected but not installed, such as the platform's services.
//! - `POST P/agents` (admin) with JSON `{"kind", "identity"?, "tag"?, "priority"?, "config"?, "start"?, "enable"?, "force"?}`: installs an
//!   agent of a built-in kind (see `/vui/kinds`). 201 with `Location` and the agent's status object; when it was installed but not started,
//!   the object has `start_error`. `vip_identity`, `tag`, `start`, `enable` may stand in the query instead. Packages in Python: see `installs`.
//! - `GET A`: links of what can be done with the agent. `DELETE A` (admin): uninstalls, 204.

use axum::http::Method;
use serde_json::Value;
use vt_services::InstallRequest;
use vt_types::{Identity, Priority, Tag};

use super::{Answer, Cx, agent_not_found, created, done, installs, links, status};
use crate::error::ApiError;

/// `P/agents`.
pub async fn list(cx: Cx) -> Answer {
    match cx.method {
        Method::GET => links_of(&cx),
        Method::POST => install(cx).await,
        _ => Err(cx.not_offered("GET, HEAD, POST")),
    }
}

fn links_of(cx: &Cx) -> Answer {
    let only_running = match cx.query.get("agent-state").unwrap_or("running") {
        "running" => true,
        "installed" => false,
        other => {
            let text = format!("Unknown agent-state: {other}. It must be running or installed; packaged agents are not kept here.");
            return Err(ApiError::invalid(text));
        }
    };
    let running = cx.services().agents.running_peers();
    let installed = cx.services().agents.list();
    let is_running = |identity: &Identity| running.contains(identity);
    let mut identities: Vec<&Identity> =
        installed.iter().map(|agent| &agent.identity).filter(|identity| !only_running || is_running(identity)).collect();
    if cx.query.flag("include-hidden", false) {
        identities.extend(running.iter().filter(|peer| !installed.iter().any(|agent| agent.identity == **peer)));
    }
    identities.sort_unstable();
    identities.dedup();
    Ok(links(identities.into_iter().map(|identity| (identity.to_string(), cx.path(&format!("agents/{identity}"))))))
}

async fn install(mut cx: Cx) -> Answer {
    match cx.content_type().as_str() {
        "" | "application/json" => {}
        "application/octet-stream" => return installs::by_content(cx).await,
        "multipart/form-data" => return installs::by_form(cx).await,
        other => {
            return Err(ApiError::invalid(format!(
                "Agents of built-in kinds (/vui/kinds) and packages of the index are installed with a JSON object, wheels as \
                 application/octet-stream or multipart/form-data; {other} is not understood here."
            )));
        }
    }
    let body = cx.object().await?;
    if body.contains_key("package") {
        return installs::by_name(&cx, &body).await;
    }
    let text = |name: &str| -> Result<Option<String>, ApiError> {
        match body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(ApiError::invalid(format!("'{name}' must be text."))),
        }
    };
    let flag = |name: &str| body.get(name).map_or_else(|| cx.query.flag(name, false), |value| value == &Value::Bool(true));
    let invalid = |error: vt_types::InstallationError| ApiError::invalid(error.to_string());
    let kind = text("kind")?.ok_or_else(|| ApiError::invalid("'kind' is missing; /vui/kinds lists the kinds."))?;
    let identity = text("identity")?.or(text("vip_identity")?).or_else(|| cx.query.text("vip_identity").map(str::to_owned));
    let tag = text("tag")?.or_else(|| cx.query.text("tag").map(str::to_owned));
    let priority = match body.get("priority") {
        None | Some(Value::Null) => flag("enable").then(Priority::default),
        Some(Value::String(text)) => Some(Priority::parse(text).map_err(invalid)?),
        Some(other) => Some(Priority::parse(&other.to_string()).map_err(invalid)?),
    };
    let request = InstallRequest {
        kind,
        identity,
        tag: tag.map(|tag| Tag::parse(&tag)).transpose().map_err(invalid)?,
        priority,
        config: body.get("config").filter(|config| !config.is_null()).cloned(),
        force: flag("force"),
    };
    let start = flag("start");
    let agent = cx.services().agents.install(&cx.caller, request).await?;
    let started = if start { cx.services().agents.start(&cx.caller, &agent.identity).await } else { Ok(()) };
    let view = cx.services().agents.by_identity(agent.identity.as_str()).unwrap_or_else(|| agent.clone());
    let mut body = status::object(&view);
    if let Err(error) = started {
        body["start_error"] = Value::from(error.to_string());
    }
    Ok(created(&cx.path(&format!("agents/{}", agent.identity)), Some(&body)))
}

/// `A`.
pub async fn agent(cx: &Cx, identity: &str) -> Answer {
    match cx.method {
        Method::GET => {
            let mut names = vec!["configs"];
            if let Some(agent) = cx.services().agents.by_identity(identity) {
                names.extend(["enabled", "running", "status", "tag"]);
                if cx.services().agents.running_peers().contains(&agent.identity) {
                    names.insert(2, "rpc");
                }
            }
            Ok(links(names.into_iter().map(|name| (name.to_owned(), cx.path(&format!("agents/{identity}/{name}"))))))
        }
        Method::DELETE => {
            cx.only_admin()?;
            let agent = cx.services().agents.by_identity(identity).ok_or_else(|| agent_not_found(identity))?;
            cx.services().agents.remove(&cx.caller, &agent.identity).await?;
            Ok(done())
        }
        _ => Err(cx.not_offered("GET, HEAD, DELETE")),
    }
}
