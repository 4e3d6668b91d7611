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
    let Some((request, path)) = read(publication.topic.as_str()) else { return };
    let path = path.to_owned();
    match Arc::clone(&actuator.requests).try_acquire_owned() {
        Ok(permit) => {
            let actuator = Arc::clone(actuator);
            actuator.context.clone().spawn(async move {
                let _permit = permit;
                actuator.answer(request, &path, &publication).await;
            });
        }
        Err(_) => actuator.refuse_busy(request, &path, &publication),
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Get,
    Set,
    RevertPoint,
    RevertDevice,
    Schedule,
}

/// The request and the path that a topic names.
fn read(topic: &str) -> Option<(Request, &str)> {
    let with_path = [
        (topics::GET, Request::Get),
        (topics::SET, Request::Set),
        (topics::REVERT_POINT, Request::RevertPoint),
        (topics::REVERT_DEVICE, Request::RevertDevice),
    ];
    let named = |(prefix, request): (&str, Request)| Some((request, topic.strip_prefix(prefix)?.trim_matches('/')));
    with_path.into_iter().find_map(named).or_else(|| (topic.trim_end_matches('/') == topics::REQUEST).then_some((Request::Schedule, "")))
}

impl Actuator {
    async fn answer(&self, request: Request, path: &str, publication: &Publication) {
        let requester = publication.sender.as_str();
        let result = match request {
            Request::Schedule => return self.answer_schedule(requester, publication).await,
            Request::Get => self.answer_get(requester, path).await,
            Request::Set => self.answer_set(requester, path, &publication.message).await,
            Request::RevertPoint => match PointRef::parse(path, None) {
                Ok(point) => self.revert_point(requester, point).await,
                Err(failure) => Err(failure),
            },
            Request::RevertDevice => self.revert_device(requester, path).await,
        };
        if let Err(failure) = result {
            tracing::debug!(requester, path, %failure, "a request failed");
            self.reply(topics::ERROR, path, topics::requested_by(requester), error_json(&failure));
        }
    }

    async fn answer_get(&self, requester: &str, path: &str) -> Result<(), Failure> {
        let value = self.get_point(PointRef::parse(path, None)?, Map::new()).await?;
        self.reply(topics::VALUE, path, topics::timed(self.context.now(), requester), value);
        Ok(())
    }

    async fn answer_set(&self, requester: &str, path: &str, value: &Value) -> Result<(), Failure> {
        self.set_point(requester, PointRef::parse(path, None)?, value.clone(), Map::new()).await.map(drop)
    }

    async fn answer_schedule(&self, requester: &str, publication: &Publication) {
        let header = |name| publication.headers.find(name).cloned().unwrap_or_default();
        let task = header(TASK_ID);
        let result = match header(topics::TYPE).as_str() {
            Some(topics::NEW_SCHEDULE) => {
                self.request_new_schedule(requester, &task, &header(topics::PRIORITY), &publication.message).await
            }
            Some(topics::CANCEL_SCHEDULE) => self.request_cancel_schedule(requester, &task).await,
            _ => booking::refused(&Refusal::InvalidRequestType),
        };
        self.tell_result(publication, result);
    }

    fn tell_result(&self, request: &Publication, result: Value) {
        let header = |name| request.headers.find(name).cloned().unwrap_or_default();
        let headers = topics::timed(self.context.now(), request.sender.as_str());
        let headers = headers.with(TASK_ID, header(TASK_ID)).with(topics::TYPE, header(topics::TYPE));
        self.publish(topics::RESULT, headers, result);
    }

    fn refuse_busy(&self, request: Request, path: &str, publication: &Publication) {
        let problem = "too many requests are under way; try again later".to_owned();
        if request == Request::Schedule {
            return self.tell_result(publication, booking::refused(&Refusal::Malformed { class: "RuntimeError", problem }));
        }
        let error = json!({"type": "RuntimeError", "value": problem});
        self.reply(topics::ERROR, path, topics::requested_by(publication.sender.as_str()), error);
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
