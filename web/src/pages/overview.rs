//! `/`: is everything well, and if not, what and why. The roll-up is made of what the platform's health service says, of agents that failed,
//! and of devices in trouble; each reason leads to the page where something can be done.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;
use axum::response::Response;
use serde_json::Value;
use vt_services::devices::DeviceStatus;
use vt_services::{AlertRecord, BusView, RunState, Services};
use vt_types::timestamp::Timestamp;
use vt_types::{Identity, StatusWord};

use super::platforms::{self, PlatformRow};
use super::view::{self, AgentRow, DeviceRow};
use crate::cx::{Cx, Viewer, page};
use crate::error::{PageError, sentence};
use crate::frame::{Frame, Section};
use crate::routes::Web;
use crate::ui::{self, Tone};

/// A page does not wait longer for the driver's account of its devices.
pub const STATUS_WAIT: Duration = Duration::from_millis(1500);
const REASONS_MAX: usize = 6;
const TROUBLE_MAX: usize = 12;
const ALERTS_MAX: usize = 8;
/// Rates are taken over at least so long, milliseconds.
const RATE_OVER_MS: i64 = 2000;

/// The bus's counters at a moment, and the rate shown since.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    at: Timestamp,
    published: u64,
    rate: u64,
}

/// Something that needs attention.
#[derive(Debug, Clone)]
pub struct Reason {
    /// How bad.
    pub tone: Tone,
    /// In one word.
    pub word: &'static str,
    /// What it is about.
    pub what: String,
    /// Where to act.
    pub href: String,
    /// Why.
    pub why: String,
}

/// Everything in one word.
#[derive(Debug, Clone)]
pub struct Rollup {
    /// The worst of all.
    pub tone: Tone,
    /// As a heading.
    pub heading: String,
    /// What to say when there are no reasons.
    pub sentence: &'static str,
    /// The first reasons, worst first.
    pub reasons: Vec<Reason>,
    /// How many are not shown.
    pub more: usize,
}

/// Counts of agents by state.
#[derive(Debug, Clone, Copy, Default)]
pub struct AgentCounts {
    /// All.
    pub installed: usize,
    /// Running.
    pub running: usize,
    /// Stopped or never started.
    pub stopped: usize,
    /// Given up or ended with an error.
    pub failed: usize,
    /// Waiting for a restart.
    pub waiting: usize,
}

impl AgentCounts {
    fn failed_words(&self) -> String {
        format!("{} failed", self.failed)
    }
    fn waiting_words(&self) -> String {
        format!("{} restarting", self.waiting)
    }
    fn stopped_words(&self) -> String {
        format!("{} stopped", self.stopped)
    }
    fn quiet(&self) -> bool {
        self.failed + self.waiting + self.stopped == 0
    }
}

/// Counts of devices.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeviceCounts {
    /// All.
    pub configured: usize,
    /// Read within their time.
    pub answering: usize,
    /// Failing, stale or misconfigured.
    pub trouble: usize,
    /// Points of all.
    pub points: usize,
}

impl DeviceCounts {
    fn trouble_words(&self) -> String {
        format!("{} in trouble", self.trouble)
    }
}

/// Traffic.
#[derive(Debug, Clone)]
pub struct BusTile {
    /// Publications per second.
    pub rate: String,
    /// Copies lost by slow subscribers.
    pub lost: u64,
}

impl BusTile {
    fn lost_words(&self) -> String {
        format!("{} lost", ui::count(self.lost))
    }
}

/// Historians.
#[derive(Debug, Clone)]
pub struct HistorianTile {
    /// A count.
    pub figure: String,
    /// Of what.
    pub of: &'static str,
    /// How they are.
    pub tone: Tone,
    /// In words.
    pub word: String,
}

/// A device with trouble.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// Its path.
    pub path: String,
    /// Its page.
    pub href: String,
    /// How bad.
    pub tone: Tone,
    /// In one word.
    pub word: &'static str,
    /// Why.
    pub why: String,
    /// Last successful scrape.
    pub last_scrape: Option<Timestamp>,
}

/// An alert.
#[derive(Debug, Clone)]
pub struct AlertRow {
    /// How bad.
    pub tone: Tone,
    /// Its status word.
    pub word: String,
    /// Its key.
    pub key: String,
    /// Who raised it.
    pub identity: String,
    /// Its context.
    pub context: String,
    /// When.
    pub at: Timestamp,
}

/// The page.
#[derive(Template)]
#[template(path = "overview.html")]
pub struct OverviewPage {
    /// Surroundings.
    pub frame: Frame,
    /// Everything in one word.
    pub rollup: Rollup,
    /// Agents.
    pub agents: AgentCounts,
    /// Devices.
    pub devices: DeviceCounts,
    /// Traffic.
    pub bus: BusTile,
    /// Historians.
    pub historian: HistorianTile,
    /// Devices with trouble.
    pub trouble: Vec<Trouble>,
    /// How many are not shown.
    pub trouble_more: usize,
    /// Newest alerts.
    pub alerts: Vec<AlertRow>,
    /// Label and value.
    pub facts: Vec<(&'static str, String)>,
    /// When the platform started.
    pub started: Option<Timestamp>,
    /// Who lost messages, and how many.
    pub lost: Vec<(String, String)>,
    /// Other platforms.
    pub platforms: Vec<PlatformRow>,
}

/// `GET /`
pub async fn show(viewer: Viewer) -> Result<Response, PageError> {
    let Cx { web, now, .. } = &viewer.cx;
    let services = &web.services;
    let (status, alerts) = tokio::join!(device_status(services), services.alerts.newest(ALERTS_MAX));
    let rows: Vec<DeviceRow> = services
        .devices
        .tree()
        .devices()
        .map(|node| {
            let latest = services.live.latest(node.path.depth_first_all().as_str());
            DeviceRow::of(node, status.get(node.path.as_str()), latest.as_deref(), *now)
        })
        .collect();
    let agents = services.agents.list();
    let mut bad: Vec<&DeviceRow> = rows.iter().filter(|row| row.in_trouble()).collect();
    bad.sort_by_key(|row| (row.tone, row.path.clone()));
    let bus = services.bus_statistics();
    let agent_rows: Vec<AgentRow> = agents.iter().map(|agent| AgentRow::of(agent, *now)).collect();
    let instance = &services.instance;
    let platforms = platforms::rows(services, *now);
    page(&OverviewPage {
        frame: viewer.cx.frame(Section::Overview),
        rollup: rollup(services, &agent_rows, &bad, &platforms, rows.len()),
        agents: count(agents.iter().map(|agent| &agent.state)),
        devices: DeviceCounts {
            answering: rows.iter().filter(|row| row.tone == Tone::Good).count(),
            configured: rows.len(),
            trouble: bad.len(),
            points: rows.iter().map(|row| row.points).sum(),
        },
        bus: BusTile { rate: ui::count(rate(web, *now, &bus)), lost: bus.lost },
        historian: historian(services),
        trouble_more: bad.len().saturating_sub(TROUBLE_MAX),
        trouble: bad.iter().take(TROUBLE_MAX).map(|row| trouble(row)).collect(),
        alerts: alerts?.iter().map(alert).collect(),
        facts: vec![
            ("Version", instance.version.clone()),
            ("Web address", instance.web_address.clone()),
            ("Bus addresses", if instance.vip_addresses.is_empty() { "none".to_owned() } else { instance.vip_addresses.join(", ") }),
            ("Connected peers", ui::count(bus.peers)),
            ("Messages published", ui::count(bus.published)),
            ("Calls", format!("{}, {} failed", ui::count(bus.calls), ui::count(bus.calls_failed))),
        ],
        started: Some(instance.started_at),
        lost: services.peers().iter().filter(|peer| peer.lost > 0).map(|peer| (peer.identity.to_string(), ui::count(peer.lost))).collect(),
        platforms,
    })
}

/// What the driver says, or nothing when it takes too long to say it.
pub async fn device_status(services: &Services) -> BTreeMap<String, DeviceStatus> {
    tokio::time::timeout(STATUS_WAIT, services.devices.status()).await.unwrap_or_default()
}

fn count<'a>(states: impl Iterator<Item = &'a RunState>) -> AgentCounts {
    let mut counts = AgentCounts::default();
    for state in states {
        counts.installed += 1;
        let of = match state {
            RunState::Running { .. } => &mut counts.running,
            RunState::BackingOff { .. } => &mut counts.waiting,
            RunState::Failed { .. } => &mut counts.failed,
            RunState::Stopped { exit_code, .. } if *exit_code != 0 => &mut counts.failed,
            RunState::Stopped { .. } | RunState::NeverStarted => &mut counts.stopped,
        };
        *of += 1;
    }
    counts
}

fn rollup(services: &Services, agents: &[AgentRow], bad_devices: &[&DeviceRow], platforms: &[PlatformRow], devices: usize) -> Rollup {
    let said = services.health.roll_up();
    let mut reasons: Vec<Reason> = agents
        .iter()
        .filter(|row| row.run_key == "failed")
        .map(|row| Reason {
            tone: row.run_tone,
            word: row.run_word,
            what: row.identity.clone(),
            href: row.href.clone(),
            why: row.run_why.clone().unwrap_or_default(),
        })
        .collect();
    for (identity, why) in &said.reasons {
        if reasons.iter().any(|reason| reason.what == *identity) {
            continue;
        }
        let word = Identity::parse(identity)
            .ok()
            .and_then(|identity| services.health.of(&identity))
            .map_or(StatusWord::Bad, |health| health.status);
        let href = format!("/agents/{}", ui::segment(identity));
        reasons.push(Reason {
            tone: Tone::from(word),
            word: view::status_word(word),
            what: identity.clone(),
            href,
            why: sentence(&readable(why)),
        });
    }
    reasons.extend(bad_devices.iter().map(|row| Reason {
        tone: row.tone,
        word: row.word,
        what: row.path.clone(),
        href: row.href.clone(),
        why: row.why.clone().unwrap_or_default(),
    }));
    reasons.extend(platforms.iter().filter(|row| matches!(row.tone, Tone::Bad | Tone::Stale)).map(|row| Reason {
        tone: row.tone,
        word: row.word,
        what: row.name.clone(),
        href: row.href.clone(),
        why: row.why.clone().unwrap_or_default(),
    }));
    reasons.sort_by_key(|reason| reason.tone);
    let worst = reasons.first().map(|reason| reason.tone);
    let serious = reasons.iter().filter(|reason| matches!(reason.tone, Tone::Bad | Tone::Stale)).count();
    let tone = worst.unwrap_or_else(|| if agents.iter().any(|row| row.running) { Tone::from(said.worst) } else { Tone::Unknown });
    let heading = match (tone, serious) {
        (_, 1) => "One thing needs attention".to_owned(),
        (_, serious) if serious > 1 => format!("{serious} things need attention"),
        (Tone::Starting, _) => "Starting".to_owned(),
        (Tone::Good, _) => "Everything is well".to_owned(),
        _ if agents.is_empty() => "Nothing is installed yet".to_owned(),
        _ => "Not everything is known yet".to_owned(),
    };
    let sentence = match tone {
        Tone::Good if devices > 0 => "All agents report good health and every device answers.",
        Tone::Good => "All agents report good health.",
        Tone::Starting => "Some agents are still getting ready.",
        _ if agents.is_empty() => "A platform begins with its first agent.",
        _ => "No agent has reported its health yet.",
    };
    let more = reasons.len().saturating_sub(REASONS_MAX);
    reasons.truncate(REASONS_MAX);
    Rollup { tone, heading, sentence, reasons, more }
}

/// A reason that is a health context as JSON, in words.
fn readable(why: &str) -> String {
    let context = serde_json::from_str::<Value>(why).ok().filter(Value::is_object);
    context.as_ref().and_then(view::context).unwrap_or_else(|| why.to_owned())
}

fn historian(services: &Services) -> HistorianTile {
    let running = services.history.historians();
    let mut worst = Tone::Off;
    let mut why = None;
    for identity in &running {
        let (tone, reason) = match services.health.of(identity) {
            Some(health) => (Tone::from(health.status), view::context(&health.context)),
            None => (Tone::Unknown, None),
        };
        if tone < worst {
            (worst, why) = (tone, reason);
        }
    }
    let word = match (worst, why) {
        (Tone::Off, _) => "None is running, nothing is kept".to_owned(),
        (Tone::Good, _) => "Keeping up".to_owned(),
        (_, Some(why)) => ui::plain(&why),
        (tone, None) => format!("Health {}", tone.class()),
    };
    let tone = if running.is_empty() { Tone::Stale } else { worst };
    HistorianTile { figure: running.len().to_string(), of: "running", tone, word }
}

fn rate(web: &Web, now: Timestamp, bus: &BusView) -> u64 {
    let mut sample = web.sample.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let per_second = |published: u64, ms: i64| published.saturating_mul(1000) / u64::try_from(ms.max(1)).unwrap_or(1);
    let rate = match *sample {
        Some(last) if (now - last.at).num_milliseconds() < RATE_OVER_MS => return last.rate,
        Some(last) => per_second(bus.published.saturating_sub(last.published), (now - last.at).num_milliseconds()),
        None => bus.published / bus.uptime_s.max(1),
    };
    *sample = Some(Sample { at: now, published: bus.published, rate });
    rate
}

fn trouble(row: &DeviceRow) -> Trouble {
    Trouble {
        path: row.path.clone(),
        href: row.href.clone(),
        tone: row.tone,
        word: row.word,
        why: row.why.clone().unwrap_or_default(),
        last_scrape: row.last_scrape,
    }
}

fn alert(record: &AlertRecord) -> AlertRow {
    let word = StatusWord::parse(&record.status);
    AlertRow {
        tone: word.map_or(Tone::Unknown, Tone::from),
        word: word.map_or_else(|| ui::plain(&record.status), |word| view::status_word(word).to_owned()),
        key: if record.key.is_empty() { record.topic.clone() } else { record.key.clone() },
        identity: record.identity.clone(),
        context: view::context(&record.context).unwrap_or_default(),
        at: record.at,
    }
}
