//! The actuator: the one through whom agents and people write to devices. It reserves devices for tasks, refuses writes to those that
//! somebody else has, and passes the rest to the driver. It knows no protocol and keeps no values.
//! Source: VOLTTRON `services/core/ActuatorAgent/actuator/{agent,scheduler}.py`.
//!
//! Map: `schedule` (who has what when; pure), `request` (what a request says), `state` (what survives a restart), `booking` (requests
//! carried out and announced), `driver` (points read and written), `rpc` and `pubsub` (how both are asked for), `topics`, `config`.

mod booking;
mod config;
mod driver;
mod pubsub;
mod request;
mod rpc;
mod schedule;
mod state;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use vt_agent::{Agent, AgentContext, AgentError, BuildError, Event, Events};
use vt_types::{Headers, Params, StatusWord, Topic};

use config::Config;
use schedule::Scheduler;
use state::Saver;

/// Name of the store entry that overrides the install-time configuration.
const CONFIG_ENTRY: &str = "config";
/// Requests over pubsub that are under way at the same time; further ones are answered with an error.
const REQUESTS_MAX: usize = 256;
/// Time limit of the driver's heartbeat.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(20);

/// Makes an actuator.
///
/// # Errors
/// [`BuildError`] names the key that cannot be used.
pub fn build(install: Value) -> Result<Box<dyn Agent>, BuildError> {
    let config = Config::parse(&install, None).map_err(|problem| BuildError(problem.to_string()))?;
    Ok(Box::new(ActuatorAgent { install, config }))
}

struct ActuatorAgent {
    install: Value,
    config: Config,
}

/// What methods, requests and tasks share.
struct Actuator {
    context: AgentContext,
    install: Value,
    config: Mutex<Arc<Config>>,
    config_changed: Notify,
    scheduler: Mutex<Scheduler>,
    schedule_changed: Notify,
    saver: Saver,
    /// Bounds the requests over pubsub.
    requests: Arc<Semaphore>,
    /// True once configuration and schedules are loaded.
    ready: watch::Sender<bool>,
    /// What is wrong now, by part; told as the agent's status.
    problems: Mutex<BTreeMap<&'static str, String>>,
}

#[async_trait]
impl Agent for ActuatorAgent {
    async fn run(self: Box<Self>, context: AgentContext, mut events: Events) -> Result<(), AgentError> {
        let Self { install, config } = *self;
        let actuator = Arc::new(Actuator {
            context: context.clone(),
            install,
            config: Mutex::new(Arc::new(config)),
            config_changed: Notify::new(),
            scheduler: Mutex::default(),
            schedule_changed: Notify::new(),
            saver: Saver::new(),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            ready: watch::Sender::new(false),
            problems: Mutex::default(),
        });
        context.serve(rpc::methods(&actuator));
        context.load_configs().await;
        actuator.read_config();
        actuator.load_schedule();
        let this = Arc::clone(&actuator);
        context.spawn(async move { this.keep_schedule_stored().await });
        let this = Arc::clone(&actuator);
        context.spawn(async move { this.announce_schedule().await });
        let this = Arc::clone(&actuator);
        context.spawn(async move { this.keep_driver_heartbeat().await });
        pubsub::subscribe(&actuator)?;
        actuator.ready.send_replace(true);
        loop {
            match events.next().await {
                Event::Stop => return Ok(()),
                Event::Publication(publication) => pubsub::handle(&actuator, publication),
                Event::Config(change) if change.name.eq_ignore_ascii_case(CONFIG_ENTRY) => actuator.read_config(),
                // Its own state, and entries that it has no use for.
                Event::Config(_) => {}
            }
        }
    }
}

impl Actuator {
    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.lock())
    }

    /// Takes in the store entry; one that cannot be used leaves things as they are and shows in the status.
    fn read_config(&self) {
        let entry = match self.context.config(CONFIG_ENTRY) {
            Ok(entry) => Ok(Some(entry)),
            Err(vt_agent::ConfigError::Missing(_)) => Ok(None),
            Err(error) => Err(error.to_string()),
        };
        let config = entry.and_then(|entry| Config::parse(&self.install, entry.as_ref()).map_err(|problem| problem.to_string()));
        let problem = match config {
            Ok(config) => {
                *self.config.lock() = Arc::new(config);
                self.config_changed.notify_one();
                self.schedule_changed.notify_one();
                None
            }
            Err(problem) => {
                tracing::error!(problem, "the configuration entry cannot be used; the earlier one stays in force");
                Some(format!("configuration entry {CONFIG_ENTRY:?} is not in force: {problem}"))
            }
        };
        self.set_problem(CONFIG_ENTRY, problem);
    }

    /// Sets or clears what is wrong with a part.
    fn set_problem(&self, part: &'static str, problem: Option<String>) {
        let mut problems = self.problems.lock();
        let before = problems.clone();
        match problem {
            Some(problem) => drop(problems.insert(part, problem)),
            None => drop(problems.remove(part)),
        }
        if *problems == before {
            return;
        }
        match problems.is_empty() {
            true => self.context.set_status(StatusWord::Good, Value::Null),
            false => {
                let context: Map<String, Value> = problems.iter().map(|(part, text)| ((*part).to_owned(), text.as_str().into())).collect();
                self.context.set_status(StatusWord::Bad, context);
            }
        }
    }

    /// Toggles the driver's heartbeat points each interval.
    async fn keep_driver_heartbeat(&self) {
        let (mut last, mut failing) = (Instant::now(), false);
        loop {
            let config = self.config();
            let due = async {
                match config.heartbeat_interval {
                    Some(interval) => tokio::time::sleep_until(last + interval).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.config_changed.notified() => continue,
            }
            last = Instant::now();
            let beat = self.context.call_within(HEARTBEAT_LIMIT, &config.driver, "heart_beat", Params::none()).await;
            match &beat {
                Err(error) if !failing => tracing::warn!(%error, driver = %config.driver, "the driver does not take its heartbeat"),
                Ok(_) if failing => tracing::info!(driver = %config.driver, "the driver takes its heartbeat again"),
                _ => {}
            }
            failing = beat.is_err();
        }
    }

    /// Publishes on `<prefix>/<path>`.
    fn reply(&self, prefix: &str, path: &str, headers: Headers, message: Value) {
        self.publish(&format!("{prefix}/{path}"), headers, message);
    }

    fn publish(&self, topic: &str, headers: Headers, message: Value) {
        let sent = Topic::parse(topic)
            .map_err(|error| error.to_string())
            .and_then(|topic| self.context.publish(&topic, headers, message).map_err(|error| error.to_string()));
        if let Err(error) = sent {
            tracing::warn!(topic, error, "a message could not be published");
        }
    }
}

#[cfg(test)]
mod tests;
