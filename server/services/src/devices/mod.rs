//! Devices as people see them: the configured tree, its state, and reading, writing and reverting points through the platform driver or,
//! when it is there, the actuator, which guards against writers that reserved the device.
//! Keeps no values (that is `live`) and decides no schedule. Source: VOLTTRON `volttron/platform/web/vui_endpoints.py` (devices), RPC of
//! `platform.driver` and `platform.actuator`.

mod select;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;
use vt_agent::context::call_within;
use vt_backends::{AuditFilter, AuditRecord};
use vt_bus::PeerHandle;
use vt_types::identity::known;
use vt_types::timestamp::{self, Timestamp};
use vt_types::{DevicePath, Identity, Params, RpcError};

pub use self::select::{SelectedPoint, Selection, WILDCARD};
pub use self::tree::{DeviceNode, DeviceTree, PointInfo};
use crate::{Audit, Caller, ConfigStore, ServiceError};

/// How long one call of the driver or the actuator may take.
pub const DEVICE_TIMEOUT: Duration = Duration::from_secs(10);
/// Devices asked at the same time for one request; the others wait.
const DEVICES_AT_ONCE_MAX: usize = 16;
/// Audit actions of writes start with this.
const AUDIT_PREFIX: &str = "device.";

/// One point of one device.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PointRef {
    /// The device.
    pub path: DevicePath,
    /// Name of the point.
    pub point: String,
}

impl PointRef {
    /// `campus/building/unit/point`.
    #[must_use]
    pub fn topic(&self) -> String {
        format!("{}/{}", self.path, self.point)
    }
}

/// How a device is doing, as the driver tells it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceStatus {
    /// Of the last successful scrape.
    pub last_scrape: Option<Timestamp>,
    /// Of the last scrape, if it failed.
    pub last_error: Option<String>,
    /// Failed scrapes in a row.
    pub failures: u64,
    /// Writers are kept out.
    pub overridden: bool,
}

/// Values and errors of one device, keyed `path/point`.
type Read = (Map<String, Value>, Map<String, Value>);

/// The service.
pub struct Devices {
    peer: PeerHandle,
    read_tree: Box<dyn Fn() -> DeviceTree + Send + Sync>,
    audit: Arc<Audit>,
    cached: Mutex<Cached>,
}

struct Cached {
    tree: Arc<DeviceTree>,
    changes: broadcast::Receiver<(Identity, String)>,
}

impl Devices {
    /// Reads the tree once; afterwards it follows the configuration store.
    pub(crate) fn new(peer: PeerHandle, configs: Arc<ConfigStore>, audit: Arc<Audit>) -> Self {
        let changes = configs.changes();
        let driver = Identity::known(known::PLATFORM_DRIVER);
        Self::of(peer, changes, move || DeviceTree::build(&configs.names(&driver), |name| configs.parsed(&driver, name)), audit)
    }

    fn of(
        peer: PeerHandle,
        changes: broadcast::Receiver<(Identity, String)>,
        read_tree: impl Fn() -> DeviceTree + Send + Sync + 'static,
        audit: Arc<Audit>,
    ) -> Self {
        let tree = Arc::new(read_tree());
        Self { peer, read_tree: Box::new(read_tree), audit, cached: Mutex::new(Cached { tree, changes }) }
    }

    /// The tree as the configuration store has it now. Built again only when an entry of the driver changed since the last call.
    #[must_use]
    pub fn tree(&self) -> Arc<DeviceTree> {
        let mut cached = self.cached.lock();
        let mut changed = false;
        loop {
            match cached.changes.try_recv() {
                Ok((identity, _)) => changed |= identity.as_str() == known::PLATFORM_DRIVER,
                Err(TryRecvError::Lagged(_)) => changed = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if changed {
            cached.tree = Arc::new((self.read_tree)());
        }
        Arc::clone(&cached.tree)
    }

    /// The state of each device that the driver knows, by path. Empty when there is no driver that could tell.
    pub async fn status(&self) -> BTreeMap<String, DeviceStatus> {
        let driver = Identity::known(known::PLATFORM_DRIVER);
        let (devices, overridden) =
            tokio::join!(self.call(&driver, "device_status", Params::none()), self.call(&driver, "get_override_devices", Params::none()));
        let mut status: BTreeMap<String, DeviceStatus> = match devices {
            Ok(Value::Object(devices)) => devices.iter().map(|(path, entry)| (path.clone(), device_status(entry))).collect(),
            Ok(_) => BTreeMap::new(),
            Err(error) => {
                tracing::debug!(%error, "the platform driver does not tell the state of its devices");
                BTreeMap::new()
            }
        };
        for path in overridden.ok().iter().filter_map(Value::as_array).flatten().filter_map(Value::as_str) {
            status.entry(path.to_owned()).or_default().overridden = true;
        }
        status
    }

    /// Reads a point from the device.
    pub async fn read(&self, path: &DevicePath, point: &str) -> Result<Value, ServiceError> {
        let driver = Identity::known(known::PLATFORM_DRIVER);
        self.call(&driver, "get_point", Params::positional(vec![json!(path), json!(point)])).await.map_err(refused)
    }

    /// Reads points, each with its value or the reason why there is none.
    pub async fn read_many(&self, points: &[PointRef]) -> BTreeMap<PointRef, Result<Value, String>> {
        match self.read_points(points).await {
            Ok(values) => values,
            Err(error) => points.iter().map(|point| (point.clone(), Err(error.to_string()))).collect(),
        }
    }

    /// As [`Devices::read_many`], but fails as a whole when the driver is not there or answered for no device at all.
    pub async fn read_points(&self, points: &[PointRef]) -> Result<BTreeMap<PointRef, Result<Value, String>>, ServiceError> {
        let mut by_device: BTreeMap<&DevicePath, Vec<&str>> = BTreeMap::new();
        for point in points {
            by_device.entry(&point.path).or_default().push(&point.point);
        }
        let reads: Vec<_> = by_device.into_iter().map(|(path, names)| self.read_device(path, names)).collect();
        let asked = reads.len();
        let answers: Vec<_> = stream::iter(reads).buffer_unordered(DEVICES_AT_ONCE_MAX).collect().await;
        let mut values = BTreeMap::new();
        let mut silent = Vec::new();
        for (path, names, answer) in answers {
            let (mut good, errors, failed) = match &answer {
                Ok((good, errors)) => (good.clone(), errors.clone(), None),
                Err(error) => (Map::new(), Map::new(), Some(error.to_string())),
            };
            for name in names {
                let key = format!("{path}/{name}");
                let value = match (good.remove(&key), errors.get(&key), &failed) {
                    (Some(value), _, _) => Ok(value),
                    (None, Some(Value::String(error)), _) => Err(error.clone()),
                    (None, Some(error), _) => Err(error.to_string()),
                    (None, None, Some(error)) => Err(error.clone()),
                    (None, None, None) => Err("The driver gave no value for this point.".to_owned()),
                };
                values.insert(PointRef { path: path.clone(), point: name.to_owned() }, value);
            }
            if let Err(error) = answer
                && matches!(error, RpcError::UnknownPeer(_) | RpcError::PeerGone(_) | RpcError::Timeout { .. } | RpcError::Refused(_))
            {
                silent.push(error);
            }
        }
        match silent.pop() {
            Some(error) if silent.len() + 1 == asked => Err(refused(error)),
            _ => Ok(values),
        }
    }

    /// Writes a point and gives back the value that was written.
    pub async fn write(&self, caller: &Caller, point: &PointRef, value: Value) -> Result<Value, ServiceError> {
        let detail = format!("value {value}");
        let result = self
            .change(caller, "set_point", vec![json!(point.topic()), value.clone()], vec![json!(point.path), json!(point.point), value])
            .await;
        self.audit.record(caller, "device.set", &point.topic(), result.as_ref().map(|_| detail.as_str())).await;
        result
    }

    /// Puts a point back to what the driver started with.
    pub async fn revert_point(&self, caller: &Caller, point: &PointRef) -> Result<(), ServiceError> {
        let result = self.change(caller, "revert_point", vec![json!(point.topic())], vec![json!(point.path), json!(point.point)]).await;
        self.audit.record(caller, "device.revert", &point.topic(), result.as_ref().map(|_| "")).await;
        result.map(drop)
    }

    /// Puts all points of a device back.
    pub async fn revert_device(&self, caller: &Caller, path: &DevicePath) -> Result<(), ServiceError> {
        let result = self.change(caller, "revert_device", vec![json!(path)], vec![json!(path)]).await;
        self.audit.record(caller, "device.revert", path.as_str(), result.as_ref().map(|_| "")).await;
        result.map(drop)
    }

    /// The newest entry of the audit log about writing or reverting this point.
    pub async fn last_write(&self, point: &PointRef) -> Option<AuditRecord> {
        let filter = AuditFilter { user: None, action_prefix: Some(AUDIT_PREFIX.to_owned()), target: Some(point.topic()), limit: 1 };
        match self.audit.list(filter).await {
            Ok(records) => records.into_iter().next(),
            Err(error) => {
                tracing::warn!(%error, "the audit log could not be read");
                None
            }
        }
    }

    /// Topics (device or point, with or without `devices/`) that carry tags as `condition` wants, from the tagging service.
    pub async fn tagged(&self, condition: &str) -> Result<Vec<String>, ServiceError> {
        let params = Params::keyword(Map::from_iter([("condition".to_owned(), json!(condition))]));
        match self.call(&Identity::known("platform.tagging"), "get_topics_by_tags", params).await {
            Ok(Value::Array(topics)) => Ok(topics.iter().filter_map(|topic| topic.as_str().map(str::to_owned)).collect()),
            Ok(_) => Ok(Vec::new()),
            Err(RpcError::UnknownPeer(_)) => Err(ServiceError::Unavailable(
                "Selecting by tag needs a tagging service, and none is running (platform.tagging). Leave out 'tag', or start one."
                    .to_owned(),
            )),
            Err(error) => Err(ServiceError::Rpc(error)),
        }
    }

    /// A change, through the actuator if it is connected (`guarded`, after the requester), else through the driver (`direct`).
    async fn change(&self, caller: &Caller, method: &str, guarded: Vec<Value>, direct: Vec<Value>) -> Result<Value, ServiceError> {
        caller.require_vui()?;
        let peer = self.peer.on_behalf_of(&caller.user);
        let actuator = Identity::known(known::PLATFORM_ACTUATOR);
        let result = if peer.bus().is_connected(&actuator) {
            let requester = json!(format!("web:{}", caller.user));
            let args = std::iter::once(requester).chain(guarded).collect();
            call_within(&peer, DEVICE_TIMEOUT, &actuator, method, Params::positional(args)).await
        } else {
            let driver = Identity::known(known::PLATFORM_DRIVER);
            call_within(&peer, DEVICE_TIMEOUT, &driver, method, Params::positional(direct)).await
        };
        result.map_err(refused)
    }

    /// `[values, errors]` of some points of one device, keyed `path/point`.
    async fn read_device<'a>(&self, path: &'a DevicePath, points: Vec<&'a str>) -> (&'a DevicePath, Vec<&'a str>, Result<Read, RpcError>) {
        let driver = Identity::known(known::PLATFORM_DRIVER);
        let params = Params::positional(vec![json!(path), json!(points)]);
        let answer = self.call(&driver, "get_multiple_points", params).await.map(|answer| {
            let mut parts = match answer {
                Value::Array(parts) => parts.into_iter(),
                _ => Vec::new().into_iter(),
            };
            let mut part = || match parts.next() {
                Some(Value::Object(map)) => map,
                _ => Map::new(),
            };
            (part(), part())
        });
        (path, points, answer)
    }

    async fn call(&self, peer: &Identity, method: &str, params: Params) -> Result<Value, RpcError> {
        call_within(&self.peer, DEVICE_TIMEOUT, peer, method, params).await
    }
}

/// What a caller reads about a call that failed.
fn refused(error: RpcError) -> ServiceError {
    match error {
        RpcError::UnknownPeer(peer) | RpcError::PeerGone(peer) => {
            ServiceError::Unavailable(format!("{peer} is not running; start it to reach devices."))
        }
        RpcError::Remote(raised) if matches!(raised.class(), "LockError" | "OverrideError") => ServiceError::Conflict(raised.message),
        RpcError::Timeout { peer, .. } => {
            ServiceError::Timeout(format!("{peer} did not answer within {} s; the device may be unreachable.", DEVICE_TIMEOUT.as_secs()))
        }
        other => ServiceError::Rpc(other),
    }
}

fn device_status(entry: &Value) -> DeviceStatus {
    DeviceStatus {
        last_scrape: entry
            .get("last_scrape")
            .and_then(Value::as_str)
            .and_then(|text| timestamp::parse(text).ok())
            .map(timestamp::Parsed::assume_utc),
        last_error: entry.get("last_error").and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned),
        failures: entry.get("failures").and_then(Value::as_u64).unwrap_or(0),
        overridden: false,
    }
}
