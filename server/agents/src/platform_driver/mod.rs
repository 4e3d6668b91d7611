//! The platform driver: scrapes devices in their rhythm, publishes what they say, writes to them for whoever may.
//! Who may write when is the actuator's business; protocols are those of `vt-drivers`.
//! Source: VOLTTRON `services/core/PlatformDriverAgent/platform_driver/{agent,driver}.py`.
//!
//! Map: `config` (entries), `schedule` (when), `device` (one device and its task), `message` (what is published), `overrides`,
//! `troubles` (status and alerts), `rpc`.
//!
//! Differs from VOLTTRON: a device is also scraped once when it is added (`scrape_at_start`); a point that cannot be read is published
//! as null beside the others; patterns of overrides do not regard case; reverts of an override run in the background.

mod config;
mod device;
mod message;
mod overrides;
mod rpc;
mod schedule;
mod troubles;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use vt_agent::{Agent, AgentContext, AgentError, BuildError, ConfigAction, Event, Events};
use vt_drivers::{BuildContext, Registry};
use vt_types::topic::TOPIC_BYTES_MAX;
use vt_types::{DevicePath, Headers, Topic};

use config::{DEVICES, DeviceConfig, MAIN, MainConfig, OVERRIDES};
use device::Device;
use overrides::Overrides;
use schedule::{Rhythm, Slots};
use troubles::{Trouble, Troubles};

/// Makes a platform driver; `install` gives the main entry's values where the store has none.
///
/// # Errors
/// [`BuildError`] names the key that cannot be used.
#[expect(clippy::needless_pass_by_value, reason = "the signature of the catalogue")]
pub fn build(install: Value) -> Result<Box<dyn Agent>, BuildError> {
    let config = MainConfig::parse(&install).map_err(|error| BuildError(error.to_string()))?;
    Ok(Box::new(DriverAgent { install: config }))
}

struct DriverAgent {
    install: MainConfig,
}

/// What tasks and methods share.
#[derive(Debug)]
struct Driver {
    context: AgentContext,
    config: RwLock<Arc<MainConfig>>,
    /// By exact path, as callers name them.
    devices: RwLock<BTreeMap<String, Arc<Device>>>,
    troubles: Troubles,
    overrides: Mutex<Overrides>,
    overrides_changed: Notify,
    /// Held while the patterns are stored, so that the last state is stored last.
    storing: tokio::sync::Mutex<()>,
    /// True once the devices that were configured at the start are there.
    ready: watch::Sender<bool>,
}

#[async_trait]
impl Agent for DriverAgent {
    async fn run(self: Box<Self>, context: AgentContext, mut events: Events) -> Result<(), AgentError> {
        let driver = Arc::new(Driver {
            context: context.clone(),
            config: RwLock::new(Arc::new(self.install.clone())),
            devices: RwLock::default(),
            troubles: Troubles::default(),
            overrides: Mutex::default(),
            overrides_changed: Notify::new(),
            storing: tokio::sync::Mutex::new(()),
            ready: watch::Sender::new(false),
        });
        context.serve(rpc::methods(&driver));
        context.load_configs().await;
        let mut actor = Actor::new(Arc::clone(&driver), self.install);
        actor.start();
        loop {
            match events.next().await {
                Event::Stop => {
                    driver.devices.read().values().for_each(|device| device.end(&driver));
                    return Ok(());
                }
                Event::Config(change) => {
                    actor.entry_changed(&change.name, change.action);
                    // Devices that are there already are scraped while many others are being added.
                    tokio::task::yield_now().await;
                }
                Event::Publication(_) => {}
            }
        }
    }
}

impl Driver {
    fn config(&self) -> Arc<MainConfig> {
        Arc::clone(&self.config.read())
    }

    fn device(&self, path: &str) -> Option<Arc<Device>> {
        self.devices.read().get(path).cloned()
    }

    fn publish(&self, topic: &Topic, headers: Headers, message: Arc<Value>) {
        if let Err(error) = self.context.publish(topic, headers, message) {
            tracing::warn!(%topic, %error, "driver failed to publish");
        }
    }
}

/// Owns what only changes of configuration touch.
struct Actor {
    driver: Arc<Driver>,
    install: MainConfig,
    build: BuildContext,
    slots: Slots,
    /// Path by lower-case name of the entry.
    entries: HashMap<String, String>,
    /// Registries in use, by their rows as text: devices with equal rows share one.
    registries: HashMap<String, Weak<Registry>>,
    /// Device entries of the start that were not taken in yet.
    expected: HashSet<String>,
}

impl Actor {
    fn new(driver: Arc<Driver>, install: MainConfig) -> Self {
        // The main entry decides on sockets before the first device is built.
        let sockets_max =
            driver.context.config(MAIN).ok().and_then(|entry| MainConfig::parse(&entry).ok()).unwrap_or_else(|| install.clone());
        let build = BuildContext::new(driver.context.clock(), sockets_max.sockets_max);
        let names = driver.context.config_names();
        let expected = names.iter().map(|name| name.to_lowercase()).filter(|name| name.starts_with(DEVICES)).collect();
        Self { driver, install, build, slots: Slots::default(), entries: HashMap::new(), registries: HashMap::new(), expected }
    }

    fn start(&mut self) {
        let driver = Arc::clone(&self.driver);
        self.driver.context.spawn(async move { driver.troubles.tell(&driver.context).await });
        self.load_overrides();
        let driver = Arc::clone(&self.driver);
        self.driver.context.spawn(async move { driver.end_overrides().await });
        self.driver.ready.send_replace(self.expected.is_empty());
    }

    fn load_overrides(&self) {
        let Ok(stored) = self.driver.context.config(OVERRIDES) else { return };
        match Overrides::parse(&stored, self.driver.context.now()) {
            Ok(overrides) => *self.driver.overrides.lock() = overrides,
            Err(reason) => {
                tracing::error!(entry = OVERRIDES, reason, "Override patterns is not set correctly in config store");
                self.driver.troubles.set(OVERRIDES, Some(Trouble::Configuration(reason)));
            }
        }
    }

    fn entry_changed(&mut self, name: &str, action: ConfigAction) {
        let key = name.to_lowercase();
        if key == MAIN {
            self.read_main();
        } else if key.starts_with(DEVICES) {
            self.stop_device(&key);
            let built = match action {
                ConfigAction::Delete => Ok(()),
                ConfigAction::New | ConfigAction::Update => self.start_device(name, &key),
            };
            if let Err(reason) = built {
                tracing::error!(entry = name, reason, "the device cannot be set up");
                self.driver.troubles.set(name, Some(Trouble::Configuration(reason)));
            }
            if self.expected.remove(&key) && self.expected.is_empty() {
                self.driver.ready.send_replace(true);
            }
        }
    }

    /// Takes in the main entry; one that cannot be used leaves things as they are.
    fn read_main(&mut self) {
        let parsed = match self.driver.context.config(MAIN) {
            Ok(entry) => MainConfig::parse(&entry).map_err(|error| error.to_string()),
            Err(vt_agent::ConfigError::Missing(_)) => Ok(self.install.clone()),
            Err(error) => Err(error.to_string()),
        };
        let new = match parsed {
            Ok(new) => Arc::new(new),
            Err(reason) => {
                tracing::error!(entry = MAIN, reason, "the configuration is not used; the settings stay as they were");
                self.driver.troubles.set(MAIN, Some(Trouble::Configuration(reason)));
                return;
            }
        };
        self.driver.troubles.set(MAIN, None);
        let old = std::mem::replace(&mut *self.driver.config.write(), Arc::clone(&new));
        if old.sockets_max != new.sockets_max {
            tracing::info!("The platform driver must be restarted for changes to the max_open_sockets setting to take effect");
        }
        if old.spacing != new.spacing {
            self.slots = Slots::default();
            for device in self.driver.devices.read().values() {
                let slot = self.slots.take(device.config.group);
                device.reschedule(slot, Rhythm::new(device.config.interval_s, slot, device.config.group, new.spacing));
            }
        }
    }

    fn stop_device(&mut self, key: &str) {
        let path = self.entries.remove(key);
        let device = path.and_then(|path| self.driver.devices.write().remove(&path));
        if let Some(device) = device {
            device.end(&self.driver);
            let slot = *device.slot.lock();
            self.slots.free(device.config.group, slot);
        }
        // The trouble may be under another spelling of the same entry.
        for (place, _) in self.driver.troubles.configurations() {
            if place.to_lowercase() == key {
                self.driver.troubles.set(&place, None);
            }
        }
    }

    fn start_device(&mut self, name: &str, key: &str) -> Result<(), String> {
        let path = name.get(DEVICES.len()..).unwrap_or_default();
        let path = DevicePath::parse(path).map_err(|error| format!("name of the entry: {error}"))?;
        let entry = self.driver.context.config(name).map_err(|error| error.to_string())?;
        let mut config = DeviceConfig::parse(entry).map_err(|error| error.to_string())?;
        // The rows live on in the registry.
        let registry = self.registry(&std::mem::take(&mut config.registry))?;
        let built = vt_drivers::build(&self.build, &config.driver_type, &config.driver_config, &registry);
        let interface = built.map_err(|error| error.to_string())?;
        let points = interface.points();
        let longest = points.as_slice().iter().map(|point| point.name.len()).max().unwrap_or(0);
        if DEVICES.len() + path.as_str().len() + 1 + longest > TOPIC_BYTES_MAX {
            return Err(format!("name of the entry: with the longest point name its topic exceeds {TOPIC_BYTES_MAX} bytes"));
        }
        if let Some(point) = &config.heart_beat_point
            && !points.find(point).is_some_and(|point| point.writable)
        {
            config.warnings.push(format!("field heart_beat_point: {point:?} is no writable point of the device"));
        }
        for warning in config.warnings.iter().chain(interface.warnings()) {
            tracing::warn!(entry = name, "{warning}");
        }
        let slot = self.slots.take(config.group);
        let rhythm = Rhythm::new(config.interval_s, slot, config.group, self.driver.config().spacing);
        let device = Arc::new(Device::new(path, config, interface, slot, rhythm));
        self.driver.troubles.set(&device.place(), None);
        self.entries.insert(key.to_owned(), device.path.to_string());
        self.driver.devices.write().insert(device.path.to_string(), Arc::clone(&device));
        let driver = Arc::clone(&self.driver);
        self.driver.context.spawn(async move { device.run(&driver).await });
        Ok(())
    }

    fn registry(&mut self, rows: &Value) -> Result<Arc<Registry>, String> {
        let text = rows.to_string();
        if let Some(known) = self.registries.get(&text).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let registry = Arc::new(Registry::from_json(rows).map_err(|error| format!("registry_config, {error}"))?);
        self.registries.retain(|_, known| known.strong_count() > 0);
        self.registries.insert(text, Arc::downgrade(&registry));
        Ok(registry)
    }
}

#[cfg(test)]
mod tests;
