//! The historian: stores what is published and answers questions about it. It takes messages from the bus, makes records of them
//! (`capture`), hands them in batches to a task that owns store and cache (`pipeline`), and answers over RPC (`rpc`). How records are
//! stored is the matter of `vt-historians`.
//! Source: VOLTTRON `volttron/platform/agent/base_historian.py`, SQLHistorian.
//!
//! The queue between bus and store is the agent's own queue of publications: while the store is slow, messages wait there; what does not
//! fit is lost, counted, logged, and shown in the status as `publications_lost`.

mod capture;
mod pipeline;
mod rpc;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::watch;
use vt_agent::{Agent, AgentContext, AgentError, BuildError, Event, Events};
use vt_historians::{HistorianConfig, HistoryStore, catalog, config::Connection};
use vt_types::{StatusWord, TopicPrefix};

use self::{capture::Capture, pipeline::Pipeline};

/// Version that `get_version` answers; the behaviour is that of VOLTTRON's SQLHistorian of this version.
pub const VERSION: &str = "4.0.0";

/// Publications that may wait while the store is slow: some seconds of 20,000 a second. What does not fit is lost and counted.
pub const PUBLICATIONS_MAX: usize = 65_536;

/// How long a question waits for a store that is just being set up.
const START_WAIT: Duration = Duration::from_secs(5);

/// Publications taken in at once; with ten points each this makes a batch that costs one commit.
const BATCH_PUBLICATIONS: usize = 2048;

/// Makes a historian.
///
/// # Errors
/// [`BuildError`] names the setting that cannot be used.
pub fn build(config: Value) -> Result<Box<dyn Agent>, BuildError> {
    let installed = match config {
        Value::Object(map) => map,
        Value::Null => Map::new(),
        _ => return Err(BuildError("the configuration must be a JSON object".to_owned())),
    };
    HistorianConfig::parse(&installed).map_err(|error| BuildError(error.to_string()))?;
    Ok(Box::new(Historian { installed, active: Arc::default(), subscribed: Mutex::default() }))
}

struct Historian {
    /// Settings given at installation: the defaults.
    installed: Map<String, Value>,
    active: Arc<Active>,
    /// Prefixes subscribed now.
    subscribed: Mutex<Vec<TopicPrefix>>,
}

/// What answers questions now; changes with the configuration.
#[derive(Default)]
struct Active(watch::Sender<Option<Running>>);

#[derive(Clone)]
struct Running {
    store: Arc<dyn HistoryStore>,
    config: Arc<HistorianConfig>,
    /// Where inserts go; none for a historian that only answers.
    inserts: Option<pipeline::Inserts>,
    /// True once the first attempt to set the store up has ended, well or not.
    attempted: watch::Receiver<bool>,
}

impl Active {
    /// What answers, after a short wait for one that is just starting.
    async fn running(&self) -> Option<Running> {
        let started = async {
            let mut running = self.0.subscribe().wait_for(Option::is_some).await.ok()?.clone()?;
            // An error says that it ended; then its store tells why it cannot answer.
            running.attempted.wait_for(|attempted| *attempted).await.ok()?;
            Some(running)
        };
        match tokio::time::timeout(START_WAIT, started).await {
            Ok(Some(running)) => Some(running),
            Ok(None) | Err(_) => self.0.borrow().clone(),
        }
    }
}

/// One configuration at work.
struct Session {
    capture: Option<Capture>,
    pipeline: Pipeline,
    store: Arc<dyn HistoryStore>,
}

#[async_trait]
impl Agent for Historian {
    async fn run(self: Box<Self>, context: AgentContext, mut events: Events) -> Result<(), AgentError> {
        rpc::serve(&context, &self.active);
        context.set_status(StatusWord::Starting, "the history store is being set up");
        context.load_configs().await;
        let mut settings = self.settings(&context).unwrap_or_else(|error| {
            tracing::error!(error, "the stored configuration cannot be used; the one of the installation is");
            self.installed.clone()
        });
        loop {
            let mut session = self.start(&context, &settings).await?;
            let next = self.work(&context, &mut events, &mut session, &settings).await;
            if next.is_none() {
                // What was delivered before the stop is stored as well.
                let left = events.drain();
                session.store_all(&context, &left).await;
            }
            self.active.0.send_replace(None);
            session.end().await;
            match next {
                Some(changed) => settings = changed,
                None => return Ok(()),
            }
        }
    }
}

impl Historian {
    /// The settings of the installation with those of the store's entry `config` over them.
    fn settings(&self, context: &AgentContext) -> Result<Map<String, Value>, String> {
        let mut settings = self.installed.clone();
        if context.config_names().iter().any(|name| name.eq_ignore_ascii_case("config")) {
            match context.config("config").map_err(|error| error.to_string())? {
                Value::Object(stored) => settings.extend(stored.into_iter().map(|(name, value)| (name.replace('-', "_"), value))),
                _ => return Err("entry config must be a JSON object".to_owned()),
            }
        }
        HistorianConfig::parse(&settings).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    async fn start(&self, context: &AgentContext, settings: &Map<String, Value>) -> Result<Session, AgentError> {
        let config = HistorianConfig::parse(settings).map_err(AgentError::new)?;
        for name in &config.deprecated {
            tracing::warn!("historian setting {name} has no effect; the identity is given at installation");
        }
        if let Connection::Sqlite { database } = &config.connection {
            tracing::info!(database, "history is stored in SQLite");
        }
        let store = catalog::build(&config.connection, &config.tables, context.data_dir());
        let pipeline = Pipeline::start(context, &config, &store).await.map_err(AgentError::new)?;
        let capture = (!config.readonly).then(|| Capture::new(&config));
        let prefixes = capture.as_ref().map(Capture::prefixes).unwrap_or_default();
        for prefix in &prefixes {
            context.subscribe(prefix).map_err(AgentError::new)?;
        }
        // Prefixes that stay are not unsubscribed in between, so that a change of settings loses no message.
        for old in std::mem::replace(&mut *self.subscribed.lock(), prefixes.clone()) {
            if !prefixes.contains(&old) && !context.unsubscribe(&old) {
                tracing::debug!(prefix = old.as_str(), "the subscription had ended before");
            }
        }
        let (inserts, attempted) = (pipeline.inserts(), pipeline.attempted());
        self.active.0.send_replace(Some(Running { store: Arc::clone(&store), config: Arc::new(config), inserts, attempted }));
        Ok(Session { capture, pipeline, store })
    }

    /// Stores what comes until the agent is to stop (`None`) or has other settings.
    async fn work(
        &self,
        context: &AgentContext,
        events: &mut Events,
        session: &mut Session,
        settings: &Map<String, Value>,
    ) -> Option<Map<String, Value>> {
        let mut batch = Vec::with_capacity(BATCH_PUBLICATIONS);
        loop {
            let event = events.next_batch(&mut batch, BATCH_PUBLICATIONS).await;
            session.store_all(context, &batch).await;
            batch.clear();
            match event {
                Some(Event::Stop) => return None,
                Some(Event::Config(change)) if change.name.eq_ignore_ascii_case("config") => match self.settings(context) {
                    Ok(changed) if changed != *settings => return Some(changed),
                    Ok(_) => {}
                    Err(error) => tracing::error!(error, "the changed configuration cannot be used; the one before stays"),
                },
                _ => {}
            }
        }
    }
}

impl Session {
    async fn store_all(&mut self, context: &AgentContext, publications: &[Arc<vt_types::Publication>]) {
        let Some(capture) = &mut self.capture else { return };
        if publications.is_empty() {
            return;
        }
        let now = context.now();
        for publication in publications {
            capture.take(publication.topic.as_str(), &publication.headers, &publication.message, now);
        }
        self.pipeline.store(capture.captured()).await;
    }

    async fn end(self) {
        self.pipeline.end().await;
        self.store.close().await;
    }
}

#[cfg(test)]
mod tests;
