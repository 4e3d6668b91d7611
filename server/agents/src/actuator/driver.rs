//! What the actuator does with points: asks who has the device, calls the driver, publishes what was written.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use vt_types::{Params, RpcError};

use super::{Actuator, topics};

/// Class of the error of a caller that does not have the device.
pub const LOCK_ERROR: &str = "actuator.agent.LockError";
/// Devices that one call for several devices asks at the same time.
const DEVICES_AT_ONCE: usize = 16;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The caller does not have the device.
    #[error("{0}")]
    Lock(String),
    /// The topic names no point.
    #[error("{0:?} names no point: write <device path>/<point>, or give the point separately")]
    NoPoint(String),
    /// The driver's error, or that it could not be asked.
    #[error(transparent)]
    Driver(#[from] RpcError),
}

impl From<Failure> for RpcError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lock(text) => Self::raised(LOCK_ERROR, text),
            Failure::NoPoint(_) => Self::value_error(failure.to_string()),
            Failure::Driver(error) => error,
        }
    }
}

/// A point of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointRef {
    pub device: String,
    pub point: String,
}

impl PointRef {
    /// From `<device path>/<point>`, or from a device path and a point.
    ///
    /// # Errors
    /// [`Failure::NoPoint`].
    pub fn parse(topic: &str, point: Option<&str>) -> Result<Self, Failure> {
        let topic = topic.trim_matches('/');
        let (device, point) =
            point.map(|point| (topic, point)).or_else(|| topic.rsplit_once('/')).ok_or_else(|| Failure::NoPoint(topic.to_owned()))?;
        Ok(Self { device: device.to_owned(), point: point.to_owned() })
    }

    /// `<device path>/<point>`.
    pub fn topic(&self) -> String {
        format!("{}/{}", self.device, self.point)
    }
}

impl Actuator {
    /// Reads a point.
    pub async fn get_point(&self, point: PointRef, kwargs: Map<String, Value>) -> Result<Value, Failure> {
        self.call_driver("get_point", vec![json!(point.device), json!(point.point)], kwargs).await
    }

    /// Reads all points of a device.
    pub async fn scrape_all(&self, device: &str) -> Result<Value, Failure> {
        self.call_driver("scrape_all", vec![json!(device.trim_matches('/'))], Map::new()).await
    }

    /// Writes a point if `requester` may; tells everybody what was written.
    pub async fn set_point(&self, requester: &str, point: PointRef, value: Value, kwargs: Map<String, Value>) -> Result<Value, Failure> {
        if !self.may_write(&point.device, requester) {
            return Err(Failure::Lock(format!("caller ({requester}) does not have this lock")));
        }
        let args = vec![json!(point.device), json!(point.point), value.clone()];
        let written = self.call_driver("set_point", args, kwargs).await?;
        let topic = point.topic();
        self.reply(topics::WRITE, &topic, topics::requested_by(requester), value);
        self.reply(topics::VALUE, &topic, topics::requested_by(requester), written.clone());
        Ok(written)
    }

    /// Puts a point back if `requester` may.
    pub async fn revert_point(&self, requester: &str, point: PointRef) -> Result<(), Failure> {
        self.check_revert(&point.device, requester)?;
        self.call_driver("revert_point", vec![json!(point.device), json!(point.point)], Map::new()).await?;
        self.reply(topics::REVERTED_POINT, &point.topic(), topics::requested_by(requester), Value::Null);
        Ok(())
    }

    /// Puts all points of a device back if `requester` may.
    pub async fn revert_device(&self, requester: &str, device: &str) -> Result<(), Failure> {
        let device = device.trim_matches('/');
        self.check_revert(device, requester)?;
        self.call_driver("revert_device", vec![json!(device)], Map::new()).await?;
        self.reply(topics::REVERTED_DEVICE, device, topics::requested_by(requester), Value::Null);
        Ok(())
    }

    /// Reads points of several devices: values by topic, errors by topic. A device that fails as a whole gives an error for each of its
    /// points; if all fail so, that is the error.
    pub async fn get_multiple_points(&self, points: Vec<PointRef>, kwargs: &Map<String, Value>) -> Result<Value, Failure> {
        let mut devices: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for PointRef { device, point } in points {
            devices.entry(device).or_default().push(json!(point));
        }
        let (mut values, mut errors) = (Map::new(), Map::new());
        let all = self.for_each_device("get_multiple_points", devices, kwargs, |answer| {
            let (more_values, more_errors) = serde_json::from_value(answer).ok()?;
            let (more_values, more_errors): (Map<String, Value>, Map<String, Value>) = (more_values, more_errors);
            values.extend(more_values);
            Some(more_errors)
        });
        errors.extend(all.await?);
        Ok(json!([values, errors]))
    }

    /// Writes points of several devices if `requester` may write all of them: errors by topic.
    pub async fn set_multiple_points(
        &self,
        requester: &str,
        writes: Vec<(PointRef, Value)>,
        kwargs: &Map<String, Value>,
    ) -> Result<Value, Failure> {
        let mut devices: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (PointRef { device, point }, value) in writes {
            devices.entry(device).or_default().push(json!([point, value]));
        }
        for device in devices.keys() {
            if !self.may_write(device, requester) {
                return Err(Failure::Lock(format!("caller ({requester}) does not lock for device {device}")));
            }
        }
        let all = self.for_each_device("set_multiple_points", devices, kwargs, |answer| serde_json::from_value(answer).ok());
        all.await.map(Value::Object)
    }

    /// Calls a method of the driver for each device, several at the same time so that a slow one does not delay the others. `take` keeps
    /// what an answer holds and gives its errors by topic.
    async fn for_each_device(
        &self,
        method: &str,
        devices: BTreeMap<String, Vec<Value>>,
        kwargs: &Map<String, Value>,
        mut take: impl FnMut(Value) -> Option<Map<String, Value>>,
    ) -> Result<Map<String, Value>, Failure> {
        let count = devices.len();
        let mut answers = futures_util::stream::iter(devices)
            .map(|(device, points)| async move {
                let answer = self.call_driver(method, vec![json!(device), json!(points)], kwargs.clone()).await;
                (device, points, answer)
            })
            .buffer_unordered(DEVICES_AT_ONCE);
        let (mut errors, mut failed) = (Map::new(), Vec::new());
        while let Some((device, points, answer)) = answers.next().await {
            let unreadable = || RpcError::runtime_error(format!("the driver's answer to {method} cannot be read")).into();
            match answer.and_then(|answer| take(answer).ok_or_else(unreadable)) {
                Ok(more) => errors.extend(more),
                Err(failure) => {
                    for point in &points {
                        // A write comes with its value.
                        let name = point.get(0).unwrap_or(point).as_str().unwrap_or_default();
                        errors.insert(format!("{device}/{name}"), json!(failure.to_string()));
                    }
                    failed.push(failure);
                }
            }
        }
        match failed.pop() {
            Some(failure) if failed.len() + 1 == count => Err(failure),
            _ => Ok(errors),
        }
    }

    fn check_revert(&self, device: &str, requester: &str) -> Result<(), Failure> {
        if self.may_write(device, requester) { Ok(()) } else { Err(Failure::Lock("caller does not have this lock".to_owned())) }
    }

    /// A device in use belongs to its owner; one that is not, to whom the configuration says.
    fn may_write(&self, device: &str, requester: &str) -> bool {
        match self.scheduler.lock().lock(device, self.context.now()) {
            Some(lock) => lock.owner == requester,
            None => self.config().allow_no_lock_write,
        }
    }

    async fn call_driver(&self, method: &str, args: Vec<Value>, kwargs: Map<String, Value>) -> Result<Value, Failure> {
        let driver = self.config().driver.clone();
        Ok(self.context.call(&driver, method, Params { args, kwargs }).await?)
    }
}
