//! How sending goes, for status, alerts and whoever asks. Numbers that only grow are told every few seconds, changes at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use vt_agent::AgentContext;
use vt_types::{StatusWord, Timestamp};

use super::settings::Settings;

/// How often a status whose numbers alone have changed is set: each time it is set, a heartbeat goes out.
const NUMBERS_PERIOD: Duration = Duration::from_secs(5);

/// VOLTTRON's alert for a cache near its bound.
const FULL_ALERT: &str = "historian_cache_full";
/// VOLTTRON's alert for a historian that can do nothing with what it gets.
const DISK_ALERT: &str = "process_loop_failed";

/// What the agent is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum State {
    /// The first attempt to connect is under way.
    #[default]
    Connecting,
    /// Messages are sent as they come.
    Publishing,
    /// There is no link.
    Down(String),
    /// There is a link, but the other platform does not take what is sent.
    NotTaken(String),
    /// It is told not to send.
    CacheOnly,
    /// Nobody has said where to send.
    Unconfigured,
    /// The outbox cannot be used.
    DiskFailed(String),
}

impl State {
    fn word(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Publishing => "publishing",
            Self::Down(_) => "not connected",
            Self::NotTaken(_) => "not taken",
            Self::CacheOnly => "cache only",
            Self::Unconfigured => "not configured",
            Self::DiskFailed(_) => "outbox failed",
        }
    }

    /// Why nothing is sent.
    fn reason(&self) -> Option<String> {
        match self {
            Self::Connecting | Self::Publishing => None,
            Self::Down(reason) | Self::NotTaken(reason) => Some(reason.clone()),
            Self::CacheOnly => Some("cache_only is set: messages are kept in the outbox and not sent".to_owned()),
            Self::Unconfigured => Some("destination-vip is not set: nothing is taken in until it is".to_owned()),
            Self::DiskFailed(reason) => Some(format!("the outbox cannot be used, messages wait in memory: {reason}")),
        }
    }
}

/// What is counted; outlives changes of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    state: State,
    /// Messages that are not confirmed.
    pub backlog: u64,
    /// When the oldest of them was taken.
    pub oldest: Option<Timestamp>,
    /// Confirmed since the start.
    pub sent: u64,
    /// Lost since the start: the outbox was at its bound.
    pub lost_full: u64,
    /// Lost since the start: the outbox could not be written and there was no more room in memory.
    pub lost_unwritten: u64,
    /// Lost since the start: more was published than was taken in.
    lost_queue: u64,
    /// The outbox is near its bound.
    pub is_full: bool,
    /// Messages that the other platform refuses.
    pub refused: u64,
    /// Why it does.
    pub refusal: Option<String>,
}

impl Figures {
    fn lost(&self) -> u64 {
        self.lost_full + self.lost_unwritten + self.lost_queue
    }

    /// As the answer of `statistics`, and as the context of the status.
    pub fn to_json(&self, now: Timestamp) -> Value {
        let mut context = Map::new();
        if let Some(reason) = self.reason() {
            context.insert("reason".to_owned(), reason.into());
        }
        let lag_s = self.oldest.map_or(0.0, |oldest| (now - oldest).as_seconds_f64().max(0.0));
        let is_publishing = self.state == State::Publishing;
        for (name, value) in [
            ("state", json!(self.state.word())),
            ("backlog", json!(self.backlog)),
            ("lag_s", json!((lag_s * 10.0).round() / 10.0)),
            ("sent", json!(self.sent)),
            ("refused", json!(self.refused)),
            ("lost", json!(self.lost())),
            ("lost_outbox_full", json!(self.lost_full)),
            ("lost_outbox_not_writable", json!(self.lost_unwritten)),
            ("lost_queue_full", json!(self.lost_queue)),
            // VOLTTRON's names.
            ("publishing", json!(is_publishing)),
            ("backlogged", json!(!is_publishing && self.backlog > 0)),
            ("cache_full", json!(self.is_full)),
            ("cache_count", json!(self.backlog)),
            ("cache_only_enabled", json!(self.state == State::CacheOnly)),
        ] {
            context.insert(name.to_owned(), value);
        }
        Value::Object(context)
    }

    fn reason(&self) -> Option<String> {
        let full = || self.is_full.then(|| "the outbox is near its bound; beyond it the oldest messages are dropped".to_owned());
        self.state.reason().or_else(full).or_else(|| self.refused_reason())
    }

    /// Why some messages are not taken while others are.
    fn refused_reason(&self) -> Option<String> {
        let why = self.refusal.as_deref().unwrap_or("the other platform refuses them");
        (self.refused > 0).then(|| format!("{} messages are set aside and tried again now and then: {why}", self.refused))
    }

    fn status(&self) -> StatusWord {
        match (&self.state, self.reason()) {
            (_, Some(_)) => StatusWord::Bad,
            (State::Connecting, None) => StatusWord::Starting,
            (_, None) => StatusWord::Good,
        }
    }
}

/// Status and alerts.
pub struct Report {
    context: AgentContext,
    alert_key: &'static str,
    figures: Arc<Mutex<Figures>>,
    publish_count: u64,
    logged: u64,
    told: Option<Figures>,
    told_at: Instant,
}

impl Report {
    pub fn new(context: AgentContext, alert_key: &'static str, settings: &Settings, figures: Arc<Mutex<Figures>>) -> Self {
        let publish_count = settings.base.message_publish_count;
        Self { context, alert_key, figures, publish_count, logged: 0, told: None, told_at: Instant::now() }
    }

    /// Tells what is new.
    pub fn tell(&mut self, state: &State) {
        let figures = {
            let mut figures = self.figures.lock();
            figures.state = state.clone();
            figures.lost_queue = self.context.peer().lost();
            figures.clone()
        };
        if self.publish_count > 0 && figures.sent / self.publish_count > self.logged / self.publish_count {
            tracing::info!("published {} items", figures.sent);
            self.logged = figures.sent;
        }
        let before = self.told.as_ref();
        let is_news = before.is_none_or(|before| {
            (&before.state, before.is_full, before.refused > 0) != (&figures.state, figures.is_full, figures.refused > 0)
        });
        let has_grown = before.is_some_and(|before| {
            (before.backlog, before.sent, before.lost()) != (figures.backlog, figures.sent, figures.lost()) || figures.backlog > 0
        });
        let is_due = is_news || (has_grown && self.told_at.elapsed() >= NUMBERS_PERIOD);
        if !is_due {
            return;
        }
        let lost_before = before.map_or(0, Figures::lost);
        if figures.lost() > lost_before {
            tracing::warn!(missed = figures.lost() - lost_before, lost = figures.lost(), "messages were lost before they could be sent");
        }
        let context = figures.to_json(self.context.now());
        self.context.set_status(figures.status(), context.clone());
        let is_disk = |state: &State| matches!(state, State::DiskFailed(_));
        let is_stuck = |state: &State| matches!(state, State::Down(_) | State::NotTaken(_));
        for (key, now, was) in [
            (self.alert_key, is_stuck(&figures.state), before.is_some_and(|before| is_stuck(&before.state))),
            (self.alert_key, figures.refused > 0, before.is_some_and(|before| before.refused > 0)),
            (DISK_ALERT, is_disk(&figures.state), before.is_some_and(|before| is_disk(&before.state))),
            (FULL_ALERT, figures.is_full, before.is_some_and(|before| before.is_full)),
        ] {
            if now && !was {
                self.context.send_alert(key, StatusWord::Bad, context.clone());
            }
        }
        (self.told, self.told_at) = (Some(figures), Instant::now());
    }
}
