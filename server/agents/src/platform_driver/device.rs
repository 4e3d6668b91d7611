//! One device: scraped in its rhythm by a task of its own, so that no device waits for another and no scrape overlaps the next.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use vt_drivers::{DriverError, Interface, Scrape};
use vt_types::{DevicePath, Headers, Timestamp, Topic, headers, timestamp};

use super::Driver;
use super::config::{DeviceConfig, Publish};
use super::message::Messages;
use super::schedule::{Rhythm, wait};
use super::troubles::Trouble;

/// Points named in a text about several.
const NAMED_MAX: usize = 5;

/// A device that is being scraped.
#[derive(Debug)]
pub struct Device {
    pub path: DevicePath,
    pub config: DeviceConfig,
    pub interface: Arc<dyn Interface>,
    /// Which slot of `config.group` it has.
    pub slot: Mutex<u32>,
    rhythm: Mutex<Rhythm>,
    rhythm_changed: Notify,
    stop: CancellationToken,
    /// Whether the last heartbeat sent 1.
    beat: AtomicBool,
    messages: Mutex<Messages>,
    record: Mutex<Record>,
}

/// What is known of the last scrapes.
#[derive(Debug, Default)]
struct Record {
    last_scrape: Option<Timestamp>,
    last_error: Option<String>,
    /// Failed scrapes in a row.
    failures: u64,
    /// Whether a trouble of the device is told now.
    told: bool,
    /// Points that could not be read, with the reason.
    points: Vec<(usize, String)>,
}

impl Device {
    /// A device in `slot`, with the rhythm that follows from it.
    pub fn new(path: DevicePath, config: DeviceConfig, interface: Arc<dyn Interface>, slot: u32, rhythm: Rhythm) -> Self {
        let messages = Mutex::new(Messages::new(&path));
        Self {
            path,
            config,
            interface,
            slot: Mutex::new(slot),
            rhythm: Mutex::new(rhythm),
            rhythm_changed: Notify::new(),
            stop: CancellationToken::new(),
            beat: AtomicBool::new(false),
            messages,
            record: Mutex::default(),
        }
    }

    /// `devices/<path>`: name of the entry, and of its troubles.
    pub fn place(&self) -> String {
        format!("{}{}", super::config::DEVICES, self.path)
    }

    /// Gives the device another slot and rhythm.
    pub fn reschedule(&self, slot: u32, rhythm: Rhythm) {
        *self.slot.lock() = slot;
        *self.rhythm.lock() = rhythm;
        self.rhythm_changed.notify_one();
    }

    /// Ends the scrapes and takes back what was told of them.
    pub fn end(&self, driver: &Driver) {
        // Under the lock, a scrape that is just failing cannot tell anything afterwards.
        let _record = self.record.lock();
        self.stop.cancel();
        driver.troubles.set(&self.place(), None);
    }

    /// Scrapes until stopped.
    pub async fn run(&self, driver: &Driver) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = self.scrape_in_rhythm(driver) => {}
        }
    }

    async fn scrape_in_rhythm(&self, driver: &Driver) {
        if driver.config().scrape_at_start {
            // Spread as the scrapes themselves are.
            let offset = Duration::from_micros(self.rhythm.lock().offset_us);
            tokio::time::sleep(offset).await;
            self.scrape(driver, None).await;
        }
        let mut rhythm = *self.rhythm.lock();
        let mut booked = rhythm.first(driver.context.now());
        loop {
            if let Some(left) = wait(booked, driver.context.now()) {
                tokio::select! {
                    biased;
                    () = self.rhythm_changed.notified() => {
                        rhythm = *self.rhythm.lock();
                        booked = rhythm.first(driver.context.now());
                    }
                    () = tokio::time::sleep(left) => {
                        // A clock set back leaves the time booked far ahead.
                        if wait(booked, driver.context.now()).is_some() {
                            booked = rhythm.next(booked - chrono::TimeDelta::seconds(i64::from(rhythm.interval_s)), driver.context.now());
                        }
                    }
                }
                continue;
            }
            let due = booked;
            booked = rhythm.next(due, driver.context.now());
            self.scrape(driver, Some(rhythm.synchronized(due))).await;
            let now = driver.context.now();
            if now - booked > chrono::TimeDelta::seconds(i64::from(rhythm.interval_s)) {
                booked = rhythm.first(now);
            }
        }
    }

    /// One scrape with its publications. `synchronized` is absent for one outside the rhythm.
    async fn scrape(&self, driver: &Driver, synchronized: Option<Timestamp>) {
        let interval = Duration::from_secs(u64::from(self.config.interval_s));
        let mut reading = std::pin::pin!(AssertUnwindSafe(self.interface.scrape_all()).catch_unwind());
        let (outcome, overdue) = tokio::select! {
            biased;
            outcome = &mut reading => (outcome, None),
            () = tokio::time::sleep(interval) => {
                let text = format!("its scrape takes longer than the interval of {} s", self.config.interval_s);
                self.overdue(driver, &text);
                (reading.await, Some(text))
            }
        };
        match outcome {
            Ok(Ok(scrape)) => self.publish(driver, scrape, synchronized, overdue),
            Ok(Err(error)) => self.failed(driver, cause(&error).to_string()),
            Err(_) => self.failed(driver, "a fault in its driver; see the log".to_owned()),
        }
    }

    /// The scrape under way should have ended. Of a device that fails anyway this is no news.
    fn overdue(&self, driver: &Driver, text: &str) {
        let mut record = self.record.lock();
        if record.failures == 0 && record.last_error.as_deref() != Some(text) {
            tracing::warn!(device = %self.path, "{}: {text}", self.path);
            record.last_error = Some(text.to_owned());
            self.tell(driver, &mut record, Some(Trouble::Device(text.to_owned())));
        }
    }

    fn failed(&self, driver: &Driver, text: String) {
        let mut record = self.record.lock();
        record.failures += 1;
        let news = record.last_error.as_deref() != Some(&text);
        if news {
            tracing::warn!(device = %self.path, "Failed to scrape {}: {text}", self.path);
        } else {
            tracing::debug!(device = %self.path, failures = record.failures, "Failed to scrape {}: {text}", self.path);
        }
        if news || record.failures == 1 {
            record.last_error = Some(text.clone());
            self.tell(driver, &mut record, Some(Trouble::Device(text)));
        }
    }

    fn tell(&self, driver: &Driver, record: &mut Record, trouble: Option<Trouble>) {
        if self.stop.is_cancelled() {
            return;
        }
        record.told = trouble.is_some();
        driver.troubles.set(&self.place(), trouble);
    }

    fn publish(&self, driver: &Driver, scrape: Scrape, synchronized: Option<Timestamp>, overdue: Option<String>) {
        let now = driver.context.now();
        self.succeeded(driver, now, &scrape, overdue);
        if scrape.values.is_empty() {
            return;
        }
        let time = timestamp::format(now);
        let mut headers = Headers::new().with(headers::DATE, time.as_str()).with(headers::TIMESTAMP, time);
        if let Some(time) = synchronized {
            headers.set(headers::SYNC_TIMESTAMP, timestamp::format(time));
        }
        let publish = self.config.publish(driver.config().publish);
        self.publish_singles(driver, publish, &headers, self.interface.points().as_slice().iter().zip(&scrape.values));
        let (depth, breadth, message) = {
            let mut messages = self.messages.lock();
            let message = messages.all(self.interface.points(), &self.config.timezone, scrape.values);
            (messages.depth_first_all.clone(), messages.breadth_first_all.clone(), message)
        };
        if publish.breadth_first_all {
            driver.publish(&breadth, headers.clone(), Arc::clone(&message));
        }
        if publish.depth_first_all {
            driver.publish(&depth, headers, message);
        }
    }

    fn publish_singles<'a>(
        &self,
        driver: &Driver,
        publish: Publish,
        headers: &Headers,
        readings: impl Iterator<Item = (&'a vt_drivers::Point, &'a Value)>,
    ) {
        if !publish.depth_first && !publish.breadth_first {
            return;
        }
        for (point, value) in readings {
            let message = Arc::new(json!([value, point.metadata(&self.config.timezone)]));
            let send = |topic: Topic| driver.publish(&topic, headers.clone(), Arc::clone(&message));
            if publish.depth_first {
                send(self.path.depth_first(&point.name));
            }
            if publish.breadth_first {
                send(self.path.breadth_first(&point.name));
            }
        }
    }

    /// Publishes one value that came by itself.
    pub fn publish_value(&self, driver: &Driver, name: &str, value: &Value) {
        let Some(point) = self.interface.points().find(name) else { return };
        let time = timestamp::format(driver.context.now());
        let headers = Headers::new().with(headers::DATE, time.as_str()).with(headers::TIMESTAMP, time);
        let publish = self.config.publish(driver.config().publish);
        self.publish_singles(driver, publish, &headers, std::iter::once((point, value)));
        let message = Arc::new(json!([{ name: value }, { name: point.metadata(&self.config.timezone) }]));
        if publish.depth_first_all {
            driver.publish(&self.path.depth_first_all(), headers.clone(), Arc::clone(&message));
        }
        if publish.breadth_first_all {
            driver.publish(&self.path.breadth_first_all(), headers, message);
        }
    }

    /// `overdue` says that the scrape took too long: then the trouble lasts until one is in time.
    fn succeeded(&self, driver: &Driver, now: Timestamp, scrape: &Scrape, overdue: Option<String>) {
        let mut record = self.record.lock();
        record.last_scrape = Some(now);
        let quiet = !record.told && record.last_error.is_none() && scrape.errors.is_empty() && overdue.is_none();
        if quiet {
            return;
        }
        let errors: Vec<(usize, String)> = scrape.errors.iter().map(|point| (point.index, cause(&point.error).to_string())).collect();
        for (index, text) in errors.iter().filter(|error| !record.points.contains(error)) {
            if let Some(point) = self.interface.points().as_slice().get(*index) {
                tracing::warn!(device = %self.path, "Failed to scrape point: {}: {text}", self.path.depth_first(&point.name));
            }
        }
        if record.failures > 0 {
            tracing::info!(device = %self.path, failures = record.failures, "the device can be read again");
        }
        record.failures = 0;
        // A point that holds no value now is no trouble of the device.
        let faults = scrape.errors.iter().filter(|point| !matches!(point.error, DriverError::NoValue { .. })).count();
        let points = self.points_text(&errors);
        let trouble = overdue.clone().map(Trouble::Device).or_else(|| points.clone().filter(|_| faults > 0).map(Trouble::Points));
        record.last_error = overdue.or(points);
        record.points = errors;
        self.tell(driver, &mut record, trouble);
    }

    fn points_text(&self, errors: &[(usize, String)]) -> Option<String> {
        let name = |index: usize| self.interface.points().as_slice().get(index).map(|point| &*point.name).unwrap_or_default();
        let shown: Vec<String> = errors.iter().take(NAMED_MAX).map(|(index, text)| format!("{}: {text}", name(*index))).collect();
        match errors.len() {
            0 => None,
            1 => Some(format!("1 point cannot be read: {}", shown.join(""))),
            count if count > NAMED_MAX => Some(format!("{count} points cannot be read: {}; and others", shown.join("; "))),
            count => Some(format!("{count} points cannot be read: {}", shown.join("; "))),
        }
    }

    /// Writes the next heartbeat value, 1 first; nothing without a heartbeat point.
    pub async fn heart_beat(&self) {
        let Some(point) = &self.config.heart_beat_point else { return };
        let value = i32::from(!self.beat.fetch_xor(true, Relaxed));
        if let Err(error) = self.interface.set_point(point, &json!(value)).await {
            tracing::warn!(device = %self.path, %error, "the heartbeat could not be written");
        }
    }

    /// `{"driver_type", "interval", "last_scrape", "last_error", "failures", "warnings"}`, and `"points"` if wanted.
    pub fn status(&self, with_points: bool) -> Value {
        let record = self.record.lock();
        let mut warnings = self.config.warnings.clone();
        warnings.extend_from_slice(self.interface.warnings());
        let mut status = Map::new();
        status.insert("driver_type".into(), json!(self.config.driver_type));
        status.insert("interval".into(), json!(self.config.interval_s));
        status.insert("last_scrape".into(), json!(record.last_scrape.map(timestamp::format)));
        status.insert("last_error".into(), json!(record.last_error));
        status.insert("failures".into(), json!(record.failures));
        status.insert("warnings".into(), json!(warnings));
        if with_points {
            let mut points = Map::new();
            for (index, point) in self.interface.points().as_slice().iter().enumerate() {
                let error = record.points.iter().find(|(failed, _)| *failed == index).map(|(_, text)| text);
                let entry = json!({"units": &*point.units, "type": point.value_type.as_str(), "writable": point.writable, "error": error});
                points.insert(point.name.to_string(), entry);
            }
            status.insert("points".into(), Value::Object(points));
        }
        Value::Object(status)
    }
}

/// The failure behind a pause between attempts; its text does not change from scrape to scrape.
fn cause(error: &DriverError) -> &DriverError {
    match error {
        DriverError::BackingOff { last, .. } => last,
        other => other,
    }
}
