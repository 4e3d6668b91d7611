//! What the forwarder and the data mover have in common: they take messages from the bus, put them into a durable outbox, and send them to
//! another platform over a link that comes back whenever it is lost. A message leaves the outbox when the other platform has confirmed it;
//! one that it refuses is set aside there and tried again now and then, so that it is in no other's way.
//! How it is sent and what a confirmation is worth is the matter of each (`Role`).
//! Source: agents.md §5.1 to §5.3 and §5.7, VOLTTRON `volttron/platform/agent/base_historian.py`.
//!
//! Bounds: what is published waits in the agent's queue of publications, then, while the outbox cannot be written (a full disk), up to
//! [`UNWRITTEN_MAX`] messages wait in memory. The outbox itself is bounded by `backup_storage_limit_gb`. Whatever is beyond a bound is
//! lost, counted by its reason, and told in status, alert and statistics.

pub mod capture;
mod report;
mod session;
pub mod settings;

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use vt_agent::{Agent, AgentContext, AgentError, BuildError, Events, MethodTable};
use vt_backends::{LinkError, RemoteBus, RemoteLink};
use vt_historians::outbox::{Entry, Leave};
use vt_types::{Identity, RpcError, StatusWord, TopicPrefix};

use self::{
    report::Figures,
    session::Session,
    settings::{SettingError, Settings, normal},
};

/// Messages that wait in memory while the outbox cannot be written.
pub const UNWRITTEN_MAX: usize = 65_536;

/// Why messages were not sent.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    /// The link or the other platform.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A peer of `required_target_agents` is there and not ready.
    #[error("{0} on the other platform is still starting")]
    TargetStarting(Identity),
}

/// What became of a batch.
#[derive(Debug)]
pub struct Delivered {
    /// Rows that the other platform has confirmed, ascending.
    pub confirmed: Vec<i64>,
    /// Rows that it refuses for what they are, ascending: others may still be taken.
    pub refused: Vec<i64>,
    /// Why it does.
    pub refusal: Option<String>,
    /// One of several is refused, and nobody knows which: fewer are to be sent at once.
    pub is_to_be_split: bool,
    /// Why the others were not confirmed.
    pub problem: Option<Problem>,
}

impl Delivered {
    /// Nothing was confirmed.
    pub fn nothing(problem: impl Into<Problem>) -> Self {
        Self { problem: Some(problem.into()), ..Self::all(Vec::new()) }
    }

    /// These were confirmed, and there is nothing to tell of others.
    pub fn all(confirmed: Vec<i64>) -> Self {
        Self { confirmed, refused: Vec::new(), refusal: None, is_to_be_split: false, problem: None }
    }
}

/// What is sent, with what it takes to send it.
pub struct Consignment {
    /// The messages.
    pub entries: Vec<Entry>,
    /// The settings.
    pub settings: Arc<Settings>,
    /// Who sends.
    pub context: AgentContext,
}

/// How an agent sends.
#[async_trait]
pub trait Role: Send + Sync {
    /// Settings that only this role refuses.
    ///
    /// # Errors
    /// [`SettingError`].
    fn check(&self, settings: Settings) -> Result<Settings, SettingError>;

    /// Key of the alert that nothing is sent.
    fn alert_key(&self) -> &'static str;

    /// What a confirmation is worth.
    fn leave(&self) -> Leave;

    /// Sends a batch.
    async fn deliver(&self, link: &dyn RemoteLink, consignment: &Consignment) -> Delivered;
}

/// Makes an agent of a role.
///
/// # Errors
/// [`BuildError`] names the setting that cannot be used.
pub fn build(role: Arc<dyn Role>, remote: Arc<dyn RemoteBus>, config: Value) -> Result<Box<dyn Agent>, BuildError> {
    let installed = match config {
        Value::Object(map) => normal(&map),
        Value::Null => Map::new(),
        _ => return Err(BuildError("the configuration must be a JSON object".to_owned())),
    };
    Settings::parse(&installed).and_then(|settings| role.check(settings)).map_err(|error| BuildError(error.to_string()))?;
    Ok(Box::new(Sender { role, remote, installed, figures: Arc::default() }))
}

struct Sender {
    role: Arc<dyn Role>,
    remote: Arc<dyn RemoteBus>,
    /// Settings given at installation: the defaults.
    installed: Map<String, Value>,
    figures: Arc<Mutex<Figures>>,
}

#[async_trait]
impl Agent for Sender {
    async fn run(self: Box<Self>, context: AgentContext, mut events: Events) -> Result<(), AgentError> {
        self.serve(&context);
        context.set_status(StatusWord::Starting, "the outbox is being opened");
        context.load_configs().await;
        let mut settings = self.settings(&context).unwrap_or_else(|error| {
            tracing::error!(error, "the stored configuration cannot be used; the one of the installation is");
            self.installed.clone()
        });
        let mut subscribed = Vec::new();
        loop {
            let parsed = Settings::parse(&settings).and_then(|settings| self.role.check(settings)).map_err(AgentError::new)?;
            let mut session = Session::start(&self, &context, parsed).await;
            subscribe(&context, &mut subscribed, session.prefixes())?;
            let next = loop {
                if session.work(&mut events).await.is_stop() {
                    break None;
                }
                match self.settings(&context) {
                    Ok(changed) if changed != settings => break Some(changed),
                    Ok(_) => {}
                    Err(error) => tracing::error!(error, "the changed configuration cannot be used; the one before stays"),
                }
            };
            let left = if next.is_none() { events.drain() } else { Vec::new() };
            session.end(&left).await;
            match next {
                Some(changed) => settings = changed,
                None => return Ok(()),
            }
        }
    }
}

impl Sender {
    /// The settings of the installation with those of the store's entry `config` over them.
    fn settings(&self, context: &AgentContext) -> Result<Map<String, Value>, String> {
        let mut settings = self.installed.clone();
        if context.config_names().iter().any(|name| name.eq_ignore_ascii_case("config")) {
            match context.config("config").map_err(|error| error.to_string())? {
                Value::Object(stored) => settings.extend(normal(&stored)),
                _ => return Err("entry config must be a JSON object".to_owned()),
            }
        }
        Settings::parse(&settings).and_then(|settings| self.role.check(settings)).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    fn serve(&self, context: &AgentContext) {
        let mut table = MethodTable::new();
        let (figures, clock) = (Arc::clone(&self.figures), context.clock());
        table
            .method("statistics")
            .doc("State of the link, messages in the outbox, age of the oldest in seconds, messages sent and lost since the start.")
            .to(move |_| std::future::ready(Ok(figures.lock().to_json(clock.now()))));
        table
            .method("insert")
            .doc("Not supported: this agent stores nothing.")
            .param("records")
            .to(|_| async { Err(RpcError::runtime_error("Insert not supported by this historian.")) });
        context.serve(table);
    }
}

/// Makes the subscriptions `wanted`. Those that stay are not ended in between, so that a change of settings loses no message.
fn subscribe(context: &AgentContext, subscribed: &mut Vec<TopicPrefix>, wanted: Vec<TopicPrefix>) -> Result<(), AgentError> {
    for prefix in &wanted {
        context.subscribe(prefix).map_err(AgentError::new)?;
    }
    for old in std::mem::replace(subscribed, wanted) {
        if !subscribed.contains(&old) && !context.unsubscribe(&old) {
            tracing::debug!(prefix = old.as_str(), "the subscription had ended before");
        }
    }
    Ok(())
}
