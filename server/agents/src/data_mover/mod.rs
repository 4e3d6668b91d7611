//! The data mover (VOLTTRON's DataMover): hands what is published here to the historian of another platform with calls of its `insert`.
//! Taking in, keeping and sending again is in `outbox`.
//!
//! A batch leaves the outbox when `insert` has returned; one whose answer did not come is kept and sent again. Differs from VOLTTRON, which
//! counts a batch as done before the answer and loses it when the call fails. The historian may get a batch twice that way: ours, like
//! VOLTTRON's SQL historians, has one value per topic and time, and each message carries its time, so it is stored once.
//! Source: agents.md §5.7, VOLTTRON `services/core/DataMover/data_mover/agent.py`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use vt_agent::{Agent, BuildError};
use vt_backends::{LinkError, RemoteBus, RemoteLink};
use vt_historians::{config::CaptureKind, outbox::Leave};
use vt_types::{ErrorKind, Params, RpcRequest};

use crate::outbox::{
    self, Consignment, Delivered, Role,
    settings::{SettingError, Settings},
};

/// How long the historian may take to store a batch.
const INSERT_LIMIT: Duration = Duration::from_secs(30);

/// Makes a data mover that reaches other platforms over `remote`.
///
/// # Errors
/// [`BuildError`] names the setting that cannot be used.
pub fn build(remote: Arc<dyn RemoteBus>, config: Value) -> Result<Box<dyn Agent>, BuildError> {
    outbox::build(Arc::new(DataMover), remote, config)
}

struct DataMover;

#[async_trait]
impl Role for DataMover {
    fn check(&self, mut settings: Settings) -> Result<Settings, SettingError> {
        // A historian knows by the root what a message is.
        let is_known = |prefix: &str| {
            CaptureKind::ALL.into_iter().any(|kind| prefix == kind.prefix() || prefix.starts_with(&format!("{}/", kind.prefix())))
        };
        if let Some((prefix, _)) = settings.routes.iter().find(|(prefix, _)| !is_known(prefix)) {
            let reason =
                format!("{prefix:?} begins with none of devices, analysis, datalogger and record, which is all that a historian inserts");
            return Err(SettingError::new("custom topics", reason));
        }
        settings.replacements.clear();
        Ok(settings)
    }

    fn alert_key(&self) -> &'static str {
        "DATAMOVER_TIMEOUT_KEY"
    }

    fn leave(&self) -> Leave {
        Leave::Now
    }

    async fn deliver(&self, link: &dyn RemoteLink, consignment: &Consignment) -> Delivered {
        let records: Vec<Value> = consignment
            .entries
            .iter()
            .map(|entry| {
                let part = |name: &str| entry.record.value.get(name).cloned().unwrap_or_default();
                json!({"topic": &*entry.record.topic, "headers": part("headers"), "message": part("message")})
            })
            .collect();
        let request = RpcRequest::new("insert", Params::positional(vec![Value::Array(records)]));
        match link.call(&consignment.settings.historian, &request, INSERT_LIMIT).await {
            Ok(_) => Delivered::all(consignment.entries.iter().map(|entry| entry.row).collect()),
            Err(error) if is_of_message(&error) => match consignment.entries.as_slice() {
                [one] => Delivered { refused: vec![one.row], refusal: Some(error.to_string()), ..Delivered::all(Vec::new()) },
                _ => Delivered { is_to_be_split: true, ..Delivered::all(Vec::new()) },
            },
            Err(error) => Delivered::nothing(error),
        }
    }
}

/// Whether the historian cannot make sense of what it got, rather than cannot store at present.
fn is_of_message(error: &LinkError) -> bool {
    matches!(error, LinkError::Raised(raised) if raised.kind() == ErrorKind::Invalid)
}

#[cfg(test)]
mod tests;
