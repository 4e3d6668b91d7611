//! The driver over RPC. Paths are compared as they are: exact text, no slashes stripped.
//! Source: VOLTTRON `platform_driver/agent.py`; texts of errors are contract.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use vt_agent::{Call, MethodTable};
use vt_drivers::DriverError;
use vt_types::{RemoteError, RpcError};

use super::Driver;
use super::config::{DEVICES, OVERRIDES};
use super::device::Device;
use super::overrides::OverrideRefusal;
use super::schedule::wait;

/// Class of the refusal of an overridden device.
const OVERRIDE_ERROR: &str = "platform_driver.agent.OverrideError";
/// Longest wait for the devices of the start.
const START_WAIT: Duration = Duration::from_secs(10);
/// Pause between devices whose reverts are staggered.
const STAGGER: Duration = Duration::from_millis(50);
/// Devices that one call for all devices asks at the same time.
const DEVICES_AT_ONCE: usize = 64;
/// Longest wait for one device's heartbeat.
const HEART_BEAT_LIMIT: Duration = Duration::from_secs(5);

/// The exported methods.
pub fn methods(driver: &Arc<Driver>) -> MethodTable {
    let mut table = MethodTable::new();
    let add = |name: &str, doc: &str| Adding { driver: Arc::clone(driver), name: name.to_owned(), doc: doc.to_owned() };
    let get_point = add("get_point", "Reads a point of a device.");
    get_point.to(&mut table, &["path", "point_name"], &[], true, |driver, call| async move {
        let device = find(&driver, &call.arg::<String>("path")?).await?;
        Ok(device.interface.get_point(&call.arg::<String>("point_name")?).await?)
    });
    let set_point = add("set_point", "Writes a point of a device; returns the value actually written.");
    set_point.to(&mut table, &["path", "point_name", "value"], &[], true, |driver, call| async move {
        let path: String = call.arg("path")?;
        not_overridden(&driver, &path, "set point on device")?;
        let device = find(&driver, &path).await?;
        Ok(device.interface.set_point(&call.arg::<String>("point_name")?, call.value("value")).await?)
    });
    let scrape_all = add("scrape_all", "Reads all points of a device: value by point.");
    scrape_all.to(&mut table, &["path"], &[], false, |driver, call| async move {
        let device = find(&driver, &call.arg::<String>("path")?).await?;
        Ok(Value::Object(device.interface.scrape_all().await?.into_map(device.interface.points())))
    });
    let get_multiple = add("get_multiple_points", "Reads points of a device: values by topic, errors by topic.");
    get_multiple.to(&mut table, &["path", "point_names"], &[], true, |driver, call| async move {
        let (path, names): (String, Vec<String>) = (call.arg("path")?, call.arg("point_names")?);
        Ok(get_multiple_points(&*find(&driver, &path).await?, &names).await)
    });
    let set_multiple = add("set_multiple_points", "Writes points of a device: errors by topic.");
    set_multiple.to(&mut table, &["path", "point_names_values"], &[], true, |driver, call| async move {
        let (path, values): (String, Vec<(String, Value)>) = (call.arg("path")?, call.arg("point_names_values")?);
        not_overridden(&driver, &path, "set point on device")?;
        Ok(set_multiple_points(&*find(&driver, &path).await?, &values).await)
    });
    let heart_beat = add("heart_beat", "Toggles the heartbeat point of every device between 0 and 1.");
    heart_beat.to(&mut table, &[], &[], false, |driver, _| async move {
        heart_beat_all(&driver).await;
        Ok(Value::Null)
    });
    let revert_point = add("revert_point", "Puts a point back to its default, or to its value before it was set.");
    revert_point.to(&mut table, &["path", "point_name"], &[], true, |driver, call| async move {
        let path: String = call.arg("path")?;
        not_overridden(&driver, &path, "revert point on device")?;
        let device = find(&driver, &path).await?;
        device.interface.revert_point(&call.arg::<String>("point_name")?).await?;
        Ok(Value::Null)
    });
    let revert_device = add("revert_device", "Puts all points of a device back.");
    revert_device.to(&mut table, &["path"], &[], true, |driver, call| async move {
        let path: String = call.arg("path")?;
        not_overridden(&driver, &path, "revert device")?;
        revert(&*find(&driver, &path).await?).await;
        Ok(Value::Null)
    });
    add_overrides(&mut table, driver);
    let forward = add("forward_bacnet_cov_value", "Publishes values that a device sent by itself.");
    forward.to(&mut table, &["source_address", "point_name", "point_values"], &[], false, |driver, call| async move {
        let (path, values): (String, Map<String, Value>) = (call.arg("source_address")?, call.arg("point_values")?);
        let name: String = call.arg("point_name")?;
        if let Some(device) = driver.device(&path) {
            values.values().for_each(|value| device.publish_value(&driver, &name, value));
        }
        Ok(Value::Null)
    });
    let status = add("device_status", "State of every device by path; with a path, of that device, its points included.");
    status.to(&mut table, &[], &[("path", Value::Null)], false, |driver, call| async move {
        match call.arg::<Option<String>>("path")? {
            Some(path) => {
                let status = find(&driver, &path).await?.status(true);
                Ok(Value::Object(Map::from_iter([(path, status)])))
            }
            None => Ok(all_status(&driver)),
        }
    });
    table
}

fn add_overrides(table: &mut MethodTable, driver: &Arc<Driver>) {
    let add = |name: &str, doc: &str| Adding { driver: Arc::clone(driver), name: name.to_owned(), doc: doc.to_owned() };
    let options = [("duration", json!(0.0)), ("failsafe_revert", json!(true)), ("staggered_revert", json!(false))];
    let on = add("set_override_on", "Holds the devices that match a pattern against writers, for a time or until cleared.");
    on.to(table, &["pattern"], &options, false, |driver, call| async move {
        let (pattern, duration): (String, f64) = (call.arg("pattern")?, call.arg("duration")?);
        let (failsafe, staggered): (bool, bool) = (call.arg("failsafe_revert")?, call.arg("staggered_revert")?);
        let changed = driver.overrides.lock().set(&pattern, duration, driver.context.now()).map_err(refused)?;
        driver.overrides_changed.notify_one();
        if failsafe {
            revert_matching(&driver, &pattern, staggered);
        }
        if changed {
            driver.store_overrides().await?;
        }
        Ok(Value::Null)
    });
    let off = add("set_override_off", "Ends the override of a pattern.");
    off.to(table, &["pattern"], &[], false, |driver, call| async move {
        driver.overrides.lock().remove(&call.arg::<String>("pattern")?).map_err(refused)?;
        driver.store_overrides().await?;
        Ok(Value::Null)
    });
    add("clear_overrides", "Ends all overrides.").to(table, &[], &[], false, |driver, _| async move {
        driver.overrides.lock().clear();
        driver.store_overrides().await?;
        Ok(Value::Null)
    });
    add("get_override_patterns", "Patterns of the overrides.")
        .to(table, &[], &[], false, |driver, _| async move { Ok(json!(driver.overrides.lock().patterns())) });
    add("get_override_devices", "Devices that are held.").to(table, &[], &[], false, |driver, _| async move {
        let overrides = driver.overrides.lock();
        Ok(driver.devices.read().keys().filter(|path| overrides.holds(path)).map(|path| json!(path)).collect())
    });
}

/// A method that is being described.
struct Adding {
    driver: Arc<Driver>,
    name: String,
    doc: String,
}

impl Adding {
    fn to<F, Fut>(self, table: &mut MethodTable, params: &[&str], options: &[(&str, Value)], keywords: bool, run: F)
    where
        F: Fn(Arc<Driver>, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, RpcError>> + Send + 'static,
    {
        let mut method = params.iter().fold(table.method(&self.name).doc(&self.doc), |method, param| method.param(param));
        for (name, default) in options {
            method = method.optional(name, default.clone());
        }
        let method = if keywords { method.keywords("kwargs") } else { method };
        let driver = self.driver;
        method.to(move |call| run(Arc::clone(&driver), call));
    }
}

/// The device at `path`; waits for the devices of the start.
async fn find(driver: &Driver, path: &str) -> Result<Arc<Device>, RpcError> {
    if let Some(device) = driver.device(path) {
        return Ok(device);
    }
    let mut ready = driver.ready.subscribe();
    // Whether it came in time shows in what is there.
    drop(tokio::time::timeout(START_WAIT, ready.wait_for(|ready| *ready)).await);
    driver.device(path).ok_or_else(|| {
        let entry = format!("{DEVICES}{path}");
        let reason = driver.troubles.configurations().into_iter().find(|(place, _)| *place == entry).map(|(_, reason)| reason);
        let message = match reason {
            Some(reason) => format!("the device {path} cannot be used: {reason}"),
            None => format!("there is no device {path}"),
        };
        RpcError::Remote(RemoteError { exc_type: "builtins.KeyError".to_owned(), message, exc_args: vec![json!(path)] })
    })
}

fn not_overridden(driver: &Driver, path: &str, what: &str) -> Result<(), RpcError> {
    if driver.overrides.lock().holds(path) {
        return Err(RpcError::raised(OVERRIDE_ERROR, format!("Cannot {what} {path} since global override is set")));
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn refused(refusal: OverrideRefusal) -> RpcError {
    match &refusal {
        OverrideRefusal::UnknownPattern(_) => RpcError::raised(OVERRIDE_ERROR, refusal.to_string()),
        OverrideRefusal::Invalid(_) => RpcError::value_error(refusal.to_string()),
    }
}

/// `[{topic: value}, {topic: error}]`. Once the device proves unreachable its other points are not asked for.
async fn get_multiple_points(device: &Device, names: &[String]) -> Value {
    let (mut values, mut errors) = (Map::new(), Map::new());
    let mut down: Option<DriverError> = None;
    for name in names {
        let topic = format!("{}/{name}", device.path);
        let read = match &down {
            Some(error) => Err(error.clone()),
            None => device.interface.get_point(name).await,
        };
        match read {
            Ok(value) => {
                values.insert(topic, value);
            }
            Err(error) => {
                errors.insert(topic, json!(error.python_repr()));
                down = Some(error).filter(DriverError::is_device_down);
            }
        }
    }
    json!([values, errors])
}

/// `{topic: error}`.
async fn set_multiple_points(device: &Device, values: &[(String, Value)]) -> Value {
    let mut errors = Map::new();
    let mut down: Option<DriverError> = None;
    for (name, value) in values {
        let written = match &down {
            Some(error) => Err(error.clone()),
            None => device.interface.set_point(name, value).await.map(drop),
        };
        if let Err(error) = written {
            errors.insert(format!("{}/{name}", device.path), json!(error.python_repr()));
            down = Some(error).filter(DriverError::is_device_down);
        }
    }
    Value::Object(errors)
}

async fn heart_beat_all(driver: &Driver) {
    let devices: Vec<Arc<Device>> =
        driver.devices.read().values().filter(|device| device.config.heart_beat_point.is_some()).cloned().collect();
    let beat = |device: Arc<Device>| async move {
        if tokio::time::timeout(HEART_BEAT_LIMIT, device.heart_beat()).await.is_err() {
            tracing::warn!(device = %device.path, "the heartbeat was not written in time");
        }
    };
    futures_util::stream::iter(devices).for_each_concurrent(DEVICES_AT_ONCE, beat).await;
}

async fn revert(device: &Device) {
    for (point, error) in device.interface.revert_all().await {
        tracing::warn!(device = %device.path, point, %error, "a point could not be reverted");
    }
}

/// Reverts in the background what `pattern` matches.
fn revert_matching(driver: &Driver, pattern: &str, staggered: bool) {
    let matching = |device: &&Arc<Device>| super::overrides::matches(pattern, device.path.as_str());
    let devices: Vec<Arc<Device>> = driver.devices.read().values().filter(matching).cloned().collect();
    driver.context.spawn(async move {
        let started = futures_util::stream::iter(devices).then(|device| async move {
            if staggered {
                tokio::time::sleep(STAGGER).await;
            }
            device
        });
        started.for_each_concurrent(DEVICES_AT_ONCE, |device| async move { revert(&device).await }).await;
    });
}

fn all_status(driver: &Driver) -> Value {
    let mut all: Map<String, Value> = driver.devices.read().iter().map(|(path, device)| (path.clone(), device.status(false))).collect();
    for (entry, reason) in driver.troubles.configurations() {
        if let Some(path) = entry.get(DEVICES.len()..).filter(|_| entry.to_lowercase().starts_with(DEVICES)) {
            let status =
                json!({"driver_type": null, "interval": null, "last_scrape": null, "last_error": reason, "failures": 0, "warnings": []});
            all.entry(path.to_owned()).or_insert(status);
        }
    }
    Value::Object(all)
}

impl Driver {
    /// Stores the patterns as they are now.
    ///
    /// # Errors
    /// An error that says that they are in effect all the same.
    async fn store_overrides(&self) -> Result<(), RpcError> {
        let _turn = self.storing.lock().await;
        let text = self.overrides.lock().to_text();
        self.context
            .set_config(OVERRIDES, &Value::String(text))
            .await
            .map_err(|error| RpcError::runtime_error(format!("the change of overrides is in effect but could not be stored: {error}")))
    }

    /// Ends overrides when their time is over, for as long as the agent lives.
    pub async fn end_overrides(&self) {
        loop {
            let now = self.context.now();
            let (over, next) = {
                let mut overrides = self.overrides.lock();
                (overrides.expire(now), overrides.next_end())
            };
            if !over.is_empty() {
                tracing::info!(patterns = ?over, "overrides ended");
                if let Err(error) = self.store_overrides().await {
                    tracing::warn!(%error, "the end of an override was not stored");
                }
                continue;
            }
            match next.map(|end| wait(end, now)) {
                None => self.overrides_changed.notified().await,
                Some(None) => {}
                // Whichever comes first.
                Some(Some(left)) => drop(tokio::time::timeout(left, self.overrides_changed.notified()).await),
            }
        }
    }
}
