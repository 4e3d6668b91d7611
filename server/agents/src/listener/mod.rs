//! The listener: shows everything that is published as log lines in the well-known form. For people who want to see that data flows.
//! It keeps nothing and answers nothing but the standard methods.
//! Source: VOLTTRON `examples/ListenerAgent/listener/agent.py`.

mod config;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::time::Instant;
use vt_agent::{Agent, AgentContext, AgentError, BuildError, Event, Events};
use vt_types::{Publication, StatusWord, TopicPrefix};

use crate::python;

use config::{Config, LogLevel};

/// Messages taken in at once; between two batches the agent looks whether it is to stop.
const BATCH_MAX: usize = 64;
/// Messages that were lost because it cannot write as fast as others publish are told this often at most.
const LOSS_REPORT_PERIOD: Duration = Duration::from_secs(10);

/// Makes a listener.
///
/// # Errors
/// [`BuildError`] names the key that cannot be used.
#[expect(clippy::needless_pass_by_value, reason = "the signature that the catalogue asks for")]
pub fn build(config: Value) -> Result<Box<dyn Agent>, BuildError> {
    Ok(Box::new(Listener { config: Config::parse(&config)? }))
}

struct Listener {
    config: Config,
}

#[async_trait]
impl Agent for Listener {
    async fn run(self: Box<Self>, context: AgentContext, mut events: Events) -> Result<(), AgentError> {
        let Config { message, heartbeat, log_level, runtime_limit, .. } = &self.config;
        context.serve(vt_agent::MethodTable::new());
        tracing::info!(target: "listener.agent", "{message}");
        context.set_heartbeat(*heartbeat);
        context.set_status(StatusWord::Good, message.as_str());
        context.subscribe(&TopicPrefix::default()).map_err(AgentError::new)?;
        let end = match runtime_limit {
            Some(limit) => {
                tracing::info!(target: "listener.agent", "Listener agent will stop after {} s", limit.as_secs());
                Some(Instant::now() + *limit)
            }
            None => {
                tracing::info!(
                    target: "listener.agent",
                    "No valid runtime_limit configured; listener agent will run until manually stopped"
                );
                None
            }
        };
        let mut losses = Losses::default();
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let event = tokio::select! {
                event = events.next_batch(&mut batch, BATCH_MAX) => event,
                () = at(end) => Some(Event::Stop),
            };
            if let Some(Event::Stop) = event {
                return Ok(());
            }
            for publication in batch.drain(..) {
                show(*log_level, &publication);
            }
            losses.tell(context.peer().lost());
            // Signs of life, and the heartbeat, must not wait for a flood to end.
            tokio::task::yield_now().await;
        }
    }
}

async fn at(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Logs one message; its text is made only if somebody reads it.
fn show(level: LogLevel, publication: &Arc<Publication>) {
    match level {
        LogLevel::Debug => tracing::debug!(target: "listener.agent", "{}", Line(publication)),
        LogLevel::Info => tracing::info!(target: "listener.agent", "{}", Line(publication)),
        LogLevel::Warn => tracing::warn!(target: "listener.agent", "{}", Line(publication)),
        LogLevel::Error => tracing::error!(target: "listener.agent", "{}", Line(publication)),
    }
}

/// A message in the form of the log line.
struct Line<'a>(&'a Publication);

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Publication { sender, topic, bus, headers, message, .. } = self.0;
        let bus = bus.as_deref().unwrap_or_default();
        let (headers, message) = (python::repr_map(headers.as_map()), python::pformat(message));
        write!(f, "Peer: pubsub, Sender: {sender}:, Bus: {bus}, Topic: {topic}, Headers: {headers}, Message: \n{message}")
    }
}

/// Tells of lost messages, not too often.
#[derive(Default)]
struct Losses {
    told: u64,
    told_at: Option<Instant>,
}

impl Losses {
    fn tell(&mut self, lost: u64) {
        let soon = self.told_at.is_some_and(|at| at.elapsed() < LOSS_REPORT_PERIOD);
        if lost == self.told || soon {
            return;
        }
        let missed = lost - self.told;
        tracing::warn!(target: "listener.agent", missed, "more was published than can be shown; {missed} messages are missing here");
        (self.told, self.told_at) = (lost, Some(Instant::now()));
    }
}

#[cfg(test)]
mod tests;
