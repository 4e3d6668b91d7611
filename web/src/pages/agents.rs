//! `/agents`: what is installed and how it is doing, installing built-in agents, and every peer of the bus with its counters.

use askama::Template;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use vt_services::{InstallRequest, PeerView};
use vt_types::{Priority, Tag};

use super::view::AgentRow;
use crate::csrf::Checked;
use crate::cx::{Viewer, back_with, page, page_with};
use crate::error::PageError;
use crate::frame::{Frame, Section};
use crate::ui::{self, Tone};

/// A kind that can be installed.
#[derive(Debug, Clone)]
pub struct KindOption {
    /// Its name.
    pub kind: String,
    /// One sentence.
    pub summary: String,
}

/// What the install form holds.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct InstallForm {
    /// Kind in the catalogue.
    #[serde(default)]
    pub kind: String,
    /// Identity, or empty.
    #[serde(default)]
    pub identity: String,
    /// Tag, or empty.
    #[serde(default)]
    pub tag: String,
    /// Start order, or empty.
    #[serde(default)]
    pub priority: String,
    /// `1` to start it at once.
    #[serde(default)]
    pub start: String,
}

/// A connected peer.
#[derive(Debug, Clone)]
pub struct PeerRow {
    /// Key of the row.
    pub id: String,
    /// Its identity.
    pub identity: String,
    /// Its page.
    pub href: String,
    /// `agent`, `service` or `tool`.
    pub kind: &'static str,
    /// Counters.
    pub published: String,
    /// Counters.
    pub delivered: String,
    /// Counters.
    pub lost: String,
    /// Whether it lost anything.
    pub loses: bool,
    /// `waiting of bound`.
    pub queue: String,
}

/// The page.
#[derive(Template)]
#[template(path = "agents.html")]
pub struct AgentsPage {
    /// Surroundings.
    pub frame: Frame,
    /// Installed agents.
    pub rows: Vec<AgentRow>,
    /// All peers.
    pub peers: Vec<PeerRow>,
    /// Kinds that can be installed.
    pub kinds: Vec<KindOption>,
    /// Whether the viewer may install.
    pub may_install: bool,
    /// The filter.
    pub query: String,
    /// What the install form holds.
    pub install: InstallForm,
    /// What was wrong with it.
    pub problem: Option<String>,
}

/// Query of pages with a filter.
#[derive(Debug, Default, Deserialize)]
pub struct Filter {
    /// Words that must occur.
    #[serde(default)]
    pub q: String,
}

impl Filter {
    /// Whether all words occur in `text`.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.q.to_lowercase().split_whitespace().all(|word| text.contains(word))
    }
}

/// `GET /agents`
pub async fn show(viewer: Viewer, Query(filter): Query<Filter>) -> Result<Response, PageError> {
    let install = InstallForm { start: "1".to_owned(), ..InstallForm::default() };
    page(&agents_page(&viewer, &filter, install, None))
}

/// The page with what a form held and what was wrong with it.
pub fn agents_page(viewer: &Viewer, filter: &Filter, install: InstallForm, problem: Option<String>) -> AgentsPage {
    let services = &viewer.cx.web.services;
    let mut rows: Vec<AgentRow> = services.agents.list().iter().map(|agent| AgentRow::of(agent, viewer.cx.now)).collect();
    rows.sort_by(|one, other| one.identity.cmp(&other.identity));
    rows.retain(|row| {
        let why = [&row.run_why, &row.health_why, &row.tag].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
        filter.fits(&format!("{} {} {} {} {why}", row.identity, row.name, row.run_word, row.health_word))
    });
    AgentsPage {
        frame: viewer.cx.frame(Section::Agents),
        rows,
        peers: services.peers().iter().map(peer_row).collect(),
        kinds: services.agents.kinds().into_iter().map(|kind| KindOption { kind: kind.kind, summary: kind.summary }).collect(),
        may_install: viewer.caller.is_admin(),
        query: filter.q.clone(),
        install,
        problem,
    }
}

fn peer_row(peer: &PeerView) -> PeerRow {
    PeerRow {
        id: ui::id("peer", peer.identity.as_str()),
        href: format!("/agents/{}", ui::segment(peer.identity.as_str())),
        identity: peer.identity.to_string(),
        kind: peer.kind,
        published: ui::count(peer.published),
        delivered: ui::count(peer.delivered),
        lost: ui::count(peer.lost),
        loses: peer.lost > 0,
        queue: format!("{} of {}", ui::count(peer.queued as u64), ui::count(peer.queue_max as u64)),
    }
}

/// `POST /agents`
pub async fn install(viewer: Viewer, Checked(form): Checked<InstallForm>) -> Result<Response, PageError> {
    match try_install(&viewer, &form).await {
        Ok(done) => Ok(done),
        Err(error) => page_with(error.status(), &agents_page(&viewer, &Filter::default(), form, Some(error.text))),
    }
}

async fn try_install(viewer: &Viewer, form: &InstallForm) -> Result<Response, PageError> {
    let agents = &viewer.cx.web.services.agents;
    let request = InstallRequest {
        kind: form.kind.clone(),
        identity: Some(form.identity.trim().to_owned()).filter(|text| !text.is_empty()),
        tag: tag(&form.tag)?,
        priority: priority(&form.priority)?,
        config: None,
        force: false,
    };
    let agent = agents.install(&viewer.caller, request).await?;
    let href = format!("/agents/{}", ui::segment(agent.identity.as_str()));
    if form.start == "1"
        && let Err(error) = agents.start(&viewer.caller, &agent.identity).await
    {
        let text = format!("{} is installed but could not be started: {error}", agent.identity);
        return Ok(back_with(&viewer.cx, &href, Tone::Bad, text));
    }
    Ok(back_with(&viewer.cx, &href, Tone::Good, format!("{} is installed.", agent.identity)))
}

/// A tag; empty is none.
pub fn tag(text: &str) -> Result<Option<Tag>, PageError> {
    match text.trim() {
        "" => Ok(None),
        text => Tag::parse(text).map(Some).map_err(|error| PageError::invalid(crate::error::sentence(&error.to_string()))),
    }
}

/// A start order; empty is none.
pub fn priority(text: &str) -> Result<Option<Priority>, PageError> {
    match text.trim() {
        "" => Ok(None),
        text => Priority::parse(text).map(Some).map_err(|error| PageError::invalid(error.to_string())),
    }
}

/// The status of a form that was shown again.
pub const AGAIN: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
