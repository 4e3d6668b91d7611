//! The actuator over pubsub: requests under `devices/actuators/` are answered there. The requester is who published, whatever a header
//! says. Differs from VOLTTRON: values that Python takes as false (0, "", null) are written as any other.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use vt_agent::AgentError;
use vt_types::headers::TASK_ID;
use vt_types::{Publication, RpcError, TopicPrefix};

use crate::python;

use super::driver::{Failure, LOCK_ERROR, PointRef};
use super::request::Refusal;
use super::{Actuator, booking, topics};

/// Subscribes to all requests.
///
/// # Errors
/// If the bus refuses.
pub fn subscribe(actuator: &Actuator) -> Result<(), AgentError> {
    for prefix in [topics::GET, topics::SET, topics::REVERT_POINT, topics::REVERT_DEVICE, topics::REQUEST] {
        let prefix = TopicPrefix::parse(prefix).map_err(AgentError::new)?;
        actuator.context.subscribe(&prefix).map_err(AgentError::new)?;
    }
    Ok(())
}

/// Answers one request in a task of its own. With too many running it is refused at once, so that the events never wait for a device.
pub fn handle(actuator: &Arc<Actuator>, publication: Arc<Publication>) {
    let Some(request) = Request::read(&publication) else { return };
    match Arc::clone(&actuator.requests).try_acquire_owned() {
        Ok(permit) => {
            let actuator = Arc::clone(actuator);
            actuator.context.clone().spawn(async move {
                let _permit = permit;
                actuator.answer(request, &publication).await;
            });
        }
        Err(_) => {
            let problem = json!({"type": "Busy", "value": "the actuator has too many requests under way; try again later"});
            let topic = publication.topic.as_str().trim_start_matches("devices/actuators/");
            actuator.reply(topics::ERROR, topic, topics::requested_by(publication.sender.as_str()), problem);
        }
    }
}

/// A request; the text is what follows its topic's prefix.
enum Request {
    Get(String),
    Set(String),
    RevertPoint(String),
    RevertDevice(String),
    Schedule,
}

impl Request {
    fn read(publication: &Publication) -> Option<Self> {
        let topic = publication.topic.as_str();
        let rest = |prefix: &str| topic.strip_prefix(prefix).map(|rest| rest.trim_matches('/').to_owned());
        rest(topics::GET)
            .map(Self::Get)
            .or_else(|| rest(topics::SET).map(Self::Set))
            .or_else(|| rest(topics::REVERT_POINT).map(Self::RevertPoint))
            .or_else(|| rest(topics::REVERT_DEVICE).map(Self::RevertDevice))
            .or_else(|| (topic.trim_end_matches('/') == topics::REQUEST).then_some(Self::Schedule))
    }
}

impl Actuator {
    async fn answer(&self, request: Request, publication: &Publication) {
        let requester = publication.sender.as_str();
        let (topic, result) = match request {
            Request::Schedule => return self.answer_schedule(requester, publication).await,
            Request::Get(topic) => {
                let result = self.get(requester, &topic).await;
                (topic, result)
            }
            Request::Set(topic) => {
                let value = Value::clone(&publication.message);
                let result = match PointRef::parse(&topic, None) {
                    Ok(point) => self.set_point(requester, point, value, Map::new()).await.map(drop),
                    Err(failure) => Err(failure),
                };
                (topic, result)
            }
            Request::RevertPoint(topic) => {
                let result = match PointRef::parse(&topic, None) {
                    Ok(point) => self.revert_point(requester, point).await,
                    Err(failure) => Err(failure),
                };
                (topic, result)
            }
            Request::RevertDevice(topic) => {
                let result = self.revert_device(requester, &topic).await;
                (topic, result)
            }
        };
        if let Err(failure) = result {
            tracing::debug!(requester, topic, %failure, "a request failed");
            self.reply(topics::ERROR, &topic, topics::requested_by(requester), error_json(&failure));
        }
    }

    async fn get(&self, requester: &str, topic: &str) -> Result<(), Failure> {
        let value = self.get_point(PointRef::parse(topic, None)?, Map::new()).await?;
        self.reply(topics::VALUE, topic, topics::timed(self.context.now(), requester), value);
        Ok(())
    }

    async fn answer_schedule(&self, requester: &str, publication: &Publication) {
        let header = |name| publication.headers.find(name).cloned().unwrap_or_default();
        let (kind, task) = (header(topics::TYPE), header(TASK_ID));
        let result = match kind.as_str() {
            Some(topics::NEW_SCHEDULE) => {
                self.request_new_schedule(requester, &task, &header(topics::PRIORITY), &publication.message).await
            }
            Some(topics::CANCEL_SCHEDULE) => self.request_cancel_schedule(requester, &task).await,
            _ => booking::refused(&Refusal::InvalidRequestType),
        };
        let headers = topics::timed(self.context.now(), requester).with(TASK_ID, task).with(topics::TYPE, kind);
        self.publish(topics::RESULT, headers, result);
    }
}

/// `{"type", "value"}` as Python's actuator writes it: an error of the driver comes with its list of arguments as text.
fn error_json(failure: &Failure) -> Value {
    let (class, text) = match failure {
        Failure::Driver(RpcError::Remote(error)) => {
            return json!({"type": error.exc_type, "value": python::repr(&json!(error.exc_args))});
        }
        Failure::Lock(text) => (LOCK_ERROR.rsplit('.').next().unwrap_or_default(), text.clone()),
        Failure::NoPoint(_) => ("ValueError", failure.to_string()),
        Failure::Driver(RpcError::Timeout { .. }) => ("Timeout", failure.to_string()),
        Failure::Driver(RpcError::UnknownPeer(_) | RpcError::PeerGone(_)) => ("Unreachable", failure.to_string()),
        Failure::Driver(_) => ("RemoteError", failure.to_string()),
    };
    json!({"type": class, "value": text})
}
