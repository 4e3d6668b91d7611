//! The forwarder (VOLTTRON's ForwardHistorian): publishes on another platform what is published here, with original topic, headers and
//! message, and with headers that name the way it took. Taking in, keeping and sending again is in `outbox`.
//!
//! What the other platform's router has taken is not yet stored there; it is held until that platform was heard some seconds later and sent
//! once more if it started anew instead. So a message may arrive twice, with the same topic and time, and a historian stores it once.
//! Source: agents.md §5.7, VOLTTRON `services/core/ForwardHistorian/forwarder/agent.py`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::{Map, Value};
use vt_agent::{Agent, BuildError};
use vt_backends::{LinkError, Outgoing, RemoteBus, RemoteLink};
use vt_historians::outbox::{Entry, Leave};
use vt_types::{Identity, Params, RpcRequest, Topic};

use crate::outbox::{
    self, Consignment, Delivered, Problem, Role,
    capture::{FORWARDED_FROM, note_time},
    settings::{SettingError, Settings},
};

/// How long the other platform may take for a batch.
const PUBLISH_LIMIT: Duration = Duration::from_secs(30);
/// How long a peer of `required_target_agents` may take to tell its status.
const TARGET_LIMIT: Duration = Duration::from_secs(10);

const FORWARDED: &str = "X-Forwarded";
/// Headers of old generations that lead answers back; they lead nowhere on another platform.
const REMOVED: [&str; 2] = ["Origin", "Destination"];

/// Makes a forwarder that reaches other platforms over `remote`.
///
/// # Errors
/// [`BuildError`] names the setting that cannot be used.
pub fn build(remote: Arc<dyn RemoteBus>, config: Value) -> Result<Box<dyn Agent>, BuildError> {
    outbox::build(Arc::new(Forwarder), remote, config)
}

struct Forwarder;

#[async_trait]
impl Role for Forwarder {
    fn check(&self, settings: Settings) -> Result<Settings, SettingError> {
        Ok(settings)
    }

    fn alert_key(&self) -> &'static str {
        "FORWARD_TIMEOUT_KEY"
    }

    fn leave(&self) -> Leave {
        Leave::Held
    }

    async fn deliver(&self, link: &dyn RemoteLink, consignment: &Consignment) -> Delivered {
        for target in &consignment.settings.required_targets {
            if let Err(problem) = ready(link, target).await {
                return Delivered::nothing(problem);
            }
        }
        let sends = consignment.entries.iter().map(|entry| async move {
            let Some(message) = outgoing(entry, consignment) else { return Ok(()) };
            link.publish(&message, PUBLISH_LIMIT).await.map(drop)
        });
        let mut delivered = Delivered::all(Vec::with_capacity(consignment.entries.len()));
        for (entry, result) in consignment.entries.iter().zip(join_all(sends).await) {
            match result {
                Ok(()) => delivered.confirmed.push(entry.row),
                Err(error @ LinkError::Refused(_)) => {
                    delivered.refused.push(entry.row);
                    delivered.refusal.get_or_insert_with(|| error.to_string());
                }
                Err(error) => delivered.note(error),
            }
        }
        delivered
    }
}

impl Delivered {
    /// Keeps the error that says most: one of the connection concerns all messages.
    fn note(&mut self, error: LinkError) {
        let says_more = match &self.problem {
            Some(Problem::Link(known)) => error.is_of_connection() && !known.is_of_connection(),
            _ => self.problem.is_none(),
        };
        if says_more {
            self.problem = Some(error.into());
        }
    }
}

/// Whether a peer is there and has started. VOLTTRON asks whether it is there only; a historian that is still starting is not yet
/// subscribed, and what is published then is missing in its history.
async fn ready(link: &dyn RemoteLink, target: &Identity) -> Result<(), Problem> {
    match link.call(target, &RpcRequest::new("health.get_status", Params::none()), TARGET_LIMIT).await {
        Ok(status) if status.get("status").and_then(Value::as_str) == Some("STARTING") => Err(Problem::TargetStarting(target.clone())),
        // It answers; whether it tells its status to us is its own affair.
        Ok(_) | Err(LinkError::Raised(_) | LinkError::Refused(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The message as it arrives; none for a row that is no message, which nobody could send.
fn outgoing(entry: &Entry, consignment: &Consignment) -> Option<Outgoing> {
    let topic =
        Topic::parse(&entry.record.topic).inspect_err(|error| tracing::error!(%error, "a message in the outbox has no topic")).ok()?;
    let context = &consignment.context;
    let mut headers = entry.record.value.get("headers").and_then(Value::as_object).cloned().unwrap_or_default();
    stamp(&mut headers, context.instance_name());
    if consignment.settings.gather_timing_data {
        note_time(&mut headers, context.identity().as_str(), "forwarded", context.now());
    }
    Some(Outgoing { topic, headers, message: entry.record.value.get("message").cloned().unwrap_or_default() })
}

/// Adds the name of this platform to the way that a message has taken.
fn stamp(headers: &mut Map<String, Value>, instance: &str) {
    for name in REMOVED {
        headers.shift_remove(name);
    }
    headers.insert(FORWARDED.to_owned(), true.into());
    let way = match headers.remove(FORWARDED_FROM) {
        None | Some(Value::Null) => Value::from(instance),
        Some(Value::Array(mut names)) => {
            names.push(instance.into());
            Value::Array(names)
        }
        Some(name) => Value::Array(vec![name, instance.into()]),
    };
    headers.insert(FORWARDED_FROM.to_owned(), way);
}

#[cfg(test)]
mod tests;
