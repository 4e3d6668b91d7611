//! `/platforms`: the other platforms that this one is linked to, and how setting up goes; `/platforms/{name}`: one of them, as it was when it
//! last answered. No page here waits for another platform.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use vt_services::instances::{RemoteAgent, Told};
use vt_services::{Admission, InstanceView, Introduction, Services};
use vt_types::ErrorKind;
use vt_types::timestamp::Timestamp;

use super::view;
use crate::cx::{Viewer, page};
use crate::error::{PageError, sentence};
use crate::frame::{Frame, Section};
use crate::ui::{self, Tone};

/// An answer older than so many seconds is told to be old: several questions in a row were not answered.
const OLD_AFTER_S: i64 = 60;

/// Another platform.
#[derive(Debug, Clone)]
pub struct PlatformRow {
    /// Key of its row.
    pub id: String,
    /// Its instance name.
    pub name: String,
    /// Its page.
    pub href: String,
    /// Its VIP address.
    pub address: String,
    /// How the link looks.
    pub tone: Tone,
    /// In words.
    pub word: &'static str,
    /// Why it is not well.
    pub why: Option<String>,
    /// Since when the link is so.
    pub since: Option<Timestamp>,
    /// When it last answered.
    pub told_at: Option<Timestamp>,
    /// Whether that is long ago.
    pub is_old: bool,
    /// `running of installed`, if it told.
    pub agents: Option<(usize, usize)>,
    /// Messages to it.
    pub sent: String,
    /// Messages that came from it.
    pub received: String,
    /// Messages for it that were lost.
    pub lost: String,
    /// Whether any were lost.
    pub loses: bool,
    /// How often the link was made again.
    pub reconnects: String,
}

impl PlatformRow {
    /// The row of a platform.
    pub fn of(instance: &InstanceView, now: Timestamp) -> Self {
        let InstanceView { link, told, silence } = instance;
        let unwell = told.as_deref().map(Told::unwell).unwrap_or_default();
        let unwell: Vec<&str> = unwell.into_iter().map(|(identity, _)| identity).collect();
        let (tone, word, why) = match (link.is_connected, silence, unwell.is_empty()) {
            (false, ..) if link.connects == 0 && link.problem.is_none() => (Tone::Starting, "Connecting", None),
            (false, ..) => (Tone::Bad, "Not linked", link.problem.as_deref().map(sentence)),
            (true, Some(silence), _) => (Tone::Stale, "Silent", Some(sentence(silence))),
            (true, None, _) if told.is_none() => (Tone::Starting, "Linked", None),
            (true, None, false) => (Tone::Stale, "Linked", Some(format!("Not well there: {}.", unwell.join(", ")))),
            (true, None, true) => (Tone::Good, "Linked", None),
        };
        let told_at = told.as_ref().map(|told| told.at);
        Self {
            id: ui::id("platform", &link.platform.name),
            name: link.platform.name.clone(),
            href: format!("/platforms/{}", ui::segment(&link.platform.name)),
            address: link.platform.address.clone(),
            tone,
            word,
            why,
            since: link.since,
            told_at,
            is_old: told_at.is_some_and(|at| (now - at).num_seconds() > OLD_AFTER_S),
            agents: told.as_ref().and_then(|told| told.counts()),
            sent: ui::count(link.sent),
            received: ui::count(link.received),
            lost: ui::count(link.lost),
            loses: link.lost > 0,
            reconnects: ui::count(link.connects.saturating_sub(1)),
        }
    }
}

/// All of them, for every page that lists them.
pub fn rows(services: &Services, now: Timestamp) -> Vec<PlatformRow> {
    services.instances.list().iter().map(|instance| PlatformRow::of(instance, now)).collect()
}

/// A web address at which a platform is looked for.
#[derive(Debug, Clone)]
pub struct IntroductionRow {
    /// The address.
    pub web_address: String,
    /// How it looks.
    pub tone: Tone,
    /// In words.
    pub word: &'static str,
    /// The platform's name, or why there is none.
    pub what: String,
    /// The last try.
    pub tried_at: Option<Timestamp>,
}

impl From<Introduction> for IntroductionRow {
    fn from(introduction: Introduction) -> Self {
        let (tone, word, what) = match introduction.outcome {
            None => (Tone::Starting, "Looking", String::new()),
            Some(Ok(name)) => (Tone::Good, "Found", name),
            Some(Err(problem)) => (Tone::Bad, "Not found", sentence(&problem)),
        };
        Self { web_address: introduction.web_address, tone, word, what, tried_at: introduction.tried_at }
    }
}

/// The list.
#[derive(Template)]
#[template(path = "platforms.html")]
pub struct PlatformsPage {
    /// Surroundings.
    pub frame: Frame,
    /// The platforms.
    pub rows: Vec<PlatformRow>,
    /// What is wrong with the files.
    pub problems: Vec<String>,
    /// Whether the platform runs in setup mode.
    pub is_setup: bool,
    /// How looking for others goes.
    pub introductions: Vec<IntroductionRow>,
}

/// An agent there.
#[derive(Debug, Clone)]
pub struct RemoteAgentRow {
    /// Key of its row.
    pub id: String,
    /// What it told.
    pub agent: RemoteAgent,
    /// How its state looks.
    pub run_tone: Tone,
    /// In words.
    pub run_word: &'static str,
    /// How its health looks.
    pub health_tone: Tone,
    /// In words.
    pub health_word: &'static str,
}

/// One platform.
#[derive(Template)]
#[template(path = "platform.html")]
pub struct PlatformPage {
    /// Surroundings.
    pub frame: Frame,
    /// The platform.
    pub row: PlatformRow,
    /// Its key.
    pub server_key: String,
    /// When it was last heard at all.
    pub heard_at: Option<Timestamp>,
    /// What it wants to get.
    pub wanted: String,
    /// Its agents; `None` if it never told.
    pub agents: Option<Vec<RemoteAgentRow>>,
}

/// `GET /platforms`
pub async fn list(viewer: Viewer) -> Result<Response, PageError> {
    let services = &viewer.cx.web.services;
    page(&PlatformsPage {
        rows: rows(services, viewer.cx.now),
        problems: services.instances.problems().iter().map(|problem| sentence(problem)).collect(),
        is_setup: services.peer_auth.admission() == Admission::Setup,
        introductions: services.instances.introductions().into_iter().map(IntroductionRow::from).collect(),
        frame: viewer.cx.frame(Section::Platforms),
    })
}

/// `GET /platforms/{name}`
pub async fn show(viewer: Viewer, Path(name): Path<String>) -> Result<Response, PageError> {
    let instance = viewer.cx.web.services.instances.by_name(&name);
    let instance = instance.ok_or_else(|| PageError::new(ErrorKind::NotFound, "This instance is linked to no platform of that name."))?;
    let wanted: Vec<&str> = instance.link.wanted.iter().map(|prefix| prefix.as_str()).collect();
    page(&PlatformPage {
        row: PlatformRow::of(&instance, viewer.cx.now),
        server_key: instance.link.platform.server_key.to_string(),
        heard_at: instance.link.heard_at,
        wanted: if wanted.contains(&"") { "everything".to_owned() } else { wanted.join(", ") },
        agents: instance.told.as_deref().and_then(agents),
        frame: viewer.cx.frame(Section::Platforms),
    })
}

fn agents(told: &Told) -> Option<Vec<RemoteAgentRow>> {
    let row = |agent: &RemoteAgent| {
        let health = told.peers.as_ref().and_then(|peers| peers.get(&agent.identity)).map(|peer| peer.status);
        let (run_tone, run_word) = match (agent.is_running(), agent.exit_code) {
            (true, _) => (Tone::Good, "Running"),
            (false, Some(code)) if code != 0 => (Tone::Bad, "Failed"),
            (false, Some(_)) => (Tone::Off, "Stopped"),
            (false, None) => (Tone::Off, "Not started"),
        };
        RemoteAgentRow {
            id: ui::id("agent", &agent.identity),
            agent: agent.clone(),
            run_tone,
            run_word,
            health_tone: health.map_or(Tone::Off, Tone::from),
            health_word: health.map_or("Not connected", view::status_word),
        }
    };
    Some(told.agents.as_ref()?.iter().map(row).collect())
}
