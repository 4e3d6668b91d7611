//! `/agents/{identity}`: one agent's status, log, configuration entries and RPC methods, and the buttons of its life.

use std::time::Duration;

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::Value;
use vt_services::{Caller, ServiceError, Services};
use vt_types::timestamp::Timestamp;
use vt_types::{ErrorKind, Identity, Priority};

use super::agents::{priority, tag};
use super::log::{self, LogRow};
use super::view::AgentRow;
use crate::csrf::Checked;
use crate::cx::{Viewer, back_with, page, page_with};
use crate::error::{PageError, sentence};
use crate::frame::{Frame, Section};
use crate::local;
use crate::ui::{self, Tone};

/// A page does not wait longer for an agent to describe its methods.
const METHODS_WAIT: Duration = Duration::from_millis(1500);
const METHODS_MAX: usize = 200;

/// A configuration entry in the list.
#[derive(Debug, Clone)]
pub struct EntryRow {
    /// Its name.
    pub name: String,
    /// Its page.
    pub href: String,
    /// `JSON`, `CSV` or `Text`.
    pub kind: &'static str,
    /// Size in bytes.
    pub bytes: usize,
    /// Size in words.
    pub size: String,
    /// When it was stored.
    pub modified: Option<Timestamp>,
}

/// A method that peers may call.
#[derive(Debug, Clone)]
pub struct MethodRow {
    /// Name and parameters.
    pub signature: String,
    /// What its author says.
    pub doc: String,
}

/// The page.
#[derive(Template)]
#[template(path = "agent.html")]
pub struct AgentPage {
    /// Surroundings.
    pub frame: Frame,
    /// The agent.
    pub row: AgentRow,
    /// Whether it is installed here, not only connected or remembered.
    pub installed: bool,
    /// Its configuration store.
    pub entries: Vec<EntryRow>,
    /// Its methods.
    pub methods: Vec<MethodRow>,
    /// Why they cannot be shown.
    pub methods_problem: Option<String>,
    /// The newest log lines, oldest first.
    pub log: Vec<LogRow>,
    /// Where the stream of new lines goes on.
    pub log_place: String,
    /// Whether the viewer may remove it.
    pub may_remove: bool,
}

/// Asks before something that cannot be undone, for viewers without scripts.
#[derive(Template)]
#[template(path = "confirm.html")]
pub struct ConfirmPage<'a> {
    /// Surroundings.
    pub frame: Frame,
    /// The question.
    pub heading: String,
    /// What will happen.
    pub text: String,
    /// Where the form goes.
    pub action: String,
    /// Further fields of the form.
    pub fields: &'a [(&'a str, &'a str)],
    /// What its button says.
    pub button: &'a str,
    /// Where Cancel goes.
    pub back: String,
}

/// An identity in an address.
pub fn identity(text: &str) -> Result<Identity, PageError> {
    Identity::parse(text).map_err(|error| PageError::not_found(format!("There can be no such agent: {error}.")))
}

/// `GET /agents/{identity}`
pub async fn show(viewer: Viewer, Path(name): Path<String>) -> Result<Response, PageError> {
    let identity = identity(&name)?;
    let services = &viewer.cx.web.services;
    let agent = services.agents.by_identity(identity.as_str());
    let peer = services.peers().into_iter().find(|peer| peer.identity == identity);
    let names = services.configs.names(&identity);
    let row = match &agent {
        Some(agent) => AgentRow::of(agent, viewer.cx.now),
        None if peer.is_some() || !names.is_empty() => {
            AgentRow::of_peer(identity.as_str(), peer.as_ref(), services.health.of(&identity).as_ref())
        }
        None => return Err(PageError::not_found(format!("No agent with the identity {identity} is installed or connected."))),
    };
    // A refresh takes only status and buttons from this page.
    let (methods, methods_problem) = match (viewer.cx.refresh, peer.is_some()) {
        (true, _) => (Vec::new(), None),
        (false, true) => methods(services, &identity).await,
        (false, false) => (Vec::new(), Some("Methods are shown while the agent runs.".to_owned())),
    };
    let log = if viewer.cx.refresh { Vec::new() } else { log::tail(services, &identity) };
    page(&AgentPage {
        frame: viewer.cx.frame(Section::Agents),
        entries: names.iter().filter_map(|name| entry(services, &identity, &row.href, name)).collect(),
        row,
        installed: agent.is_some(),
        methods,
        methods_problem,
        log_place: log::place(services, log.last().map_or(0, |line| line.seq)),
        log: log.iter().map(LogRow::of).collect(),
        may_remove: viewer.caller.is_admin(),
    })
}

fn entry(services: &Services, identity: &Identity, agent: &str, name: &str) -> Option<EntryRow> {
    let view = services.configs.get(identity, name)?;
    Some(EntryRow {
        href: format!("{agent}/configs/{}", ui::path(&view.name)),
        kind: match view.config_type.as_str() {
            "json" => "JSON",
            "csv" => "CSV",
            _ => "Text",
        },
        bytes: view.data.len(),
        size: size(view.data.len()),
        modified: view.modified,
        name: view.name,
    })
}

fn size(bytes: usize) -> String {
    if bytes < 1024 { format!("{bytes} B") } else { format!("{} kB", bytes.div_ceil(1024)) }
}

async fn methods(services: &Services, identity: &Identity) -> (Vec<MethodRow>, Option<String>) {
    let described = async {
        let mut names = services.agents.rpc_methods(identity).await?;
        names.sort();
        names.truncate(METHODS_MAX);
        let details = join_all(names.iter().map(|name| services.agents.rpc_inspect(identity, name))).await;
        Ok::<_, ServiceError>(names.iter().zip(details).map(|(name, detail)| method(name, &detail.unwrap_or_default())).collect())
    };
    match tokio::time::timeout(METHODS_WAIT, described).await {
        Ok(Ok(methods)) => (methods, None),
        Ok(Err(error)) => (Vec::new(), Some(sentence(&error.to_string()))),
        Err(_) => (Vec::new(), Some("The agent did not describe its methods in time.".to_owned())),
    }
}

/// `name(a, b=1)` out of what `inspect` answers.
fn method(name: &str, detail: &Value) -> MethodRow {
    let empty = serde_json::Map::new();
    let params = detail.get("params").and_then(Value::as_object).unwrap_or(&empty);
    let params: Vec<String> = params
        .iter()
        .map(|(param, about)| match (about.get("kind").and_then(Value::as_str), about.get("default")) {
            (Some("VAR_POSITIONAL"), _) => format!("*{param}"),
            (Some("VAR_KEYWORD"), _) => format!("**{param}"),
            (_, Some(default)) => format!("{param}={default}"),
            (_, None) => param.clone(),
        })
        .collect();
    let doc = detail.get("doc").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    MethodRow { signature: format!("{name}({})", params.join(", ")), doc }
}

/// Fields of the buttons' forms; each uses some.
#[derive(Debug, Deserialize)]
pub struct ActForm {
    #[serde(default)]
    next: String,
    #[serde(default)]
    priority: String,
    #[serde(default)]
    tag: String,
    #[serde(default)]
    confirmed: String,
}

/// `POST /agents/{identity}/{start|stop|restart|enable|disable|tag|remove}`
pub async fn act(
    viewer: Viewer,
    Path((name, action)): Path<(String, String)>,
    Checked(form): Checked<ActForm>,
) -> Result<Response, PageError> {
    let identity = identity(&name)?;
    let services = &viewer.cx.web.services;
    if services.agents.by_identity(identity.as_str()).is_none() {
        return Err(PageError::not_found(format!("No agent with the identity {identity} is installed.")));
    }
    let href = format!("/agents/{}", ui::segment(identity.as_str()));
    if action == "remove" && form.confirmed != "1" {
        return page_with(axum::http::StatusCode::OK, &ConfirmPage {
            frame: viewer.cx.frame(Section::Agents),
            heading: format!("Remove {identity}?"),
            text: "The agent is stopped and its installation and own data are deleted. Its configuration store and what historians kept stay."
                .to_owned(),
            action: format!("{href}/remove"),
            fields: &[],
            button: "Remove agent",
            back: href,
        });
    }
    let next = match (form.next.as_str(), action.as_str()) {
        (_, "remove") => "/agents".to_owned(),
        ("", _) => href,
        (next, _) => local::path_or_root(next).to_owned(),
    };
    match perform(services, &viewer.caller, &identity, &action, &form).await {
        Ok(text) => Ok(back_with(&viewer.cx, &next, Tone::Good, text)),
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Forbidden) => Err(error),
        Err(error) => Ok(back_with(&viewer.cx, &next, Tone::Bad, format!("{identity}: {}", error.text))),
    }
}

async fn perform(services: &Services, caller: &Caller, identity: &Identity, action: &str, form: &ActForm) -> Result<String, PageError> {
    let agents = &services.agents;
    Ok(match action {
        "start" => {
            agents.start(caller, identity).await?;
            format!("{identity} is started.")
        }
        "stop" => {
            agents.stop(caller, identity).await?;
            format!("{identity} is stopped.")
        }
        "restart" => {
            agents.restart(caller, identity).await?;
            format!("{identity} is restarted.")
        }
        "enable" => {
            let priority = match priority(&form.priority)? {
                Some(priority) => priority,
                None => Priority::parse("50").map_err(|error| PageError::invalid(error.to_string()))?,
            };
            let at = priority.value();
            agents.set_priority(caller, identity, Some(priority)).await?;
            format!("{identity} starts with the platform, at {at}.")
        }
        "disable" => {
            agents.set_priority(caller, identity, None).await?;
            format!("{identity} no longer starts with the platform.")
        }
        "tag" => {
            let tag = tag(&form.tag)?;
            let text =
                tag.as_ref().map_or_else(|| format!("{identity} has no tag now."), |tag| format!("{identity} is tagged {}.", tag.as_str()));
            agents.set_tag(caller, identity, tag).await?;
            text
        }
        "remove" => {
            agents.remove(caller, identity).await?;
            format!("{identity} is removed.")
        }
        _ => return Err(PageError::not_found("There is no page at this address.")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn methods_are_shown_as_calls() {
        let detail = json!({"params": {"topic": {"kind": "POSITIONAL_OR_KEYWORD"}, "count": {"kind": "POSITIONAL_OR_KEYWORD", "default": 5}, "rest": {"kind": "VAR_KEYWORD"}}, "doc": " Reads. "});
        let row = method("query", &detail);
        assert_eq!(row.signature, "query(topic, count=5, **rest)");
        assert_eq!(row.doc, "Reads.");
        assert_eq!(method("x", &Value::Null).signature, "x()");
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1025), "2 kB");
    }
}
