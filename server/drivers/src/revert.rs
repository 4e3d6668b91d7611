//! What a point is put back to: a configured default, else the last value read while nobody had set the point.
//! [`Reverting`] turns a bare [`Device`] into an [`Interface`] by adding this memory; protocols whose devices revert by themselves
//! implement [`Interface`] directly.
//! Source: VOLTTRON `platform_driver/interfaces/__init__.py`, `RevertTracker` and `BasicRevert`.

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;

use crate::error::DriverError;
use crate::interface::{Interface, Points, Scrape};

/// What is remembered of one point.
#[derive(Debug, Clone, Default, PartialEq)]
struct Memory {
    default: Option<Value>,
    clean: Option<Value>,
    dirty: bool,
}

/// Remembers per point what it would be put back to. Points are numbered as in [`Points::as_slice`].
#[derive(Debug, Default)]
pub struct RevertTracker {
    points: Vec<Memory>,
}

impl RevertTracker {
    /// A tracker for `len` points with the given defaults; a default for a number out of range is ignored.
    #[must_use]
    pub fn new(len: usize, defaults: Vec<(usize, Value)>) -> Self {
        let mut points = vec![Memory::default(); len];
        for (index, value) in defaults {
            if let Some(memory) = points.get_mut(index) {
                memory.default = Some(value);
            }
        }
        Self { points }
    }

    /// Takes the values of a scrape as clean where the point is not dirty and has no default. Null is no value.
    pub fn update_clean(&mut self, values: &[Value]) {
        for (memory, value) in self.points.iter_mut().zip(values) {
            if !memory.dirty && memory.default.is_none() && !value.is_null() {
                memory.clean = Some(value.clone());
            }
        }
    }

    /// Marks a point as set by somebody; returns whether that is news. A point with a default needs no mark.
    pub fn mark_dirty(&mut self, index: usize) -> bool {
        match self.points.get_mut(index) {
            Some(memory) if memory.default.is_none() && !memory.dirty => {
                memory.dirty = true;
                true
            }
            _ => false,
        }
    }

    /// Marks a point as put back.
    pub fn clear_dirty(&mut self, index: usize) {
        if let Some(memory) = self.points.get_mut(index) {
            memory.dirty = false;
        }
    }

    /// What the point is put back to: its default, else its clean value.
    #[must_use]
    pub fn revert_value(&self, index: usize) -> Option<&Value> {
        self.points.get(index).and_then(|memory| memory.default.as_ref().or(memory.clean.as_ref()))
    }

    /// Every dirty point and every point with a default, with what it is put back to.
    #[must_use]
    pub fn revert_values(&self) -> Vec<(usize, Value)> {
        let due = self.points.iter().enumerate().filter(|(_, memory)| memory.dirty || memory.default.is_some());
        due.filter_map(|(index, _)| self.revert_value(index).map(|value| (index, value.clone()))).collect()
    }
}

/// A device without memory: what a protocol has to provide for [`Reverting`]. `index` is always valid.
#[async_trait]
pub trait Device: Send + Sync + std::fmt::Debug {
    /// The points, fixed for the life of the device.
    fn points(&self) -> &Points;

    /// See [`Interface::warnings`].
    fn warnings(&self) -> &[String];

    /// What a write to the read-only point `name` is refused with.
    fn read_only(&self, name: &str) -> DriverError;

    /// Reads one point.
    ///
    /// # Errors
    /// [`DriverError`].
    async fn read(&self, index: usize) -> Result<Value, DriverError>;

    /// Writes one writable point; returns the value actually written.
    ///
    /// # Errors
    /// [`DriverError`].
    async fn write(&self, index: usize, value: &Value) -> Result<Value, DriverError>;

    /// Reads all points.
    ///
    /// # Errors
    /// [`DriverError`] when no point could be read.
    async fn read_all(&self) -> Result<Scrape, DriverError>;
}

/// A [`Device`] with memory.
#[derive(Debug)]
pub struct Reverting<D> {
    device: D,
    tracker: Mutex<RevertTracker>,
}

impl<D: Device> Reverting<D> {
    /// Adds memory to `device`; `defaults` are revert targets by point index.
    #[must_use]
    pub fn new(device: D, defaults: Vec<(usize, Value)>) -> Self {
        let tracker = Mutex::new(RevertTracker::new(device.points().as_slice().len(), defaults));
        Self { device, tracker }
    }

    fn writable(&self, name: &str) -> Result<usize, DriverError> {
        let index = self.device.points().index(name)?;
        match self.device.points().as_slice().get(index) {
            Some(point) if point.writable => Ok(index),
            _ => Err(self.device.read_only(name)),
        }
    }
}

#[async_trait]
impl<D: Device> Interface for Reverting<D> {
    fn points(&self) -> &Points {
        self.device.points()
    }

    fn warnings(&self) -> &[String] {
        self.device.warnings()
    }

    async fn get_point(&self, name: &str) -> Result<Value, DriverError> {
        self.device.read(self.device.points().index(name)?).await
    }

    async fn set_point(&self, name: &str, value: &Value) -> Result<Value, DriverError> {
        let index = self.writable(name)?;
        // Marked before the write: a scrape that runs meanwhile must not take the new value for a clean one.
        let marked = self.tracker.lock().mark_dirty(index);
        let written = self.device.write(index, value).await;
        if marked && matches!(written, Err(DriverError::BadValue { .. })) {
            self.tracker.lock().clear_dirty(index);
        }
        written
    }

    async fn scrape_all(&self) -> Result<Scrape, DriverError> {
        let scrape = self.device.read_all().await?;
        self.tracker.lock().update_clean(&scrape.values);
        Ok(scrape)
    }

    async fn revert_point(&self, name: &str) -> Result<(), DriverError> {
        let index = self.writable(name)?;
        let Some(value) = self.tracker.lock().revert_value(index).cloned() else { return Ok(()) };
        self.device.write(index, &value).await?;
        self.tracker.lock().clear_dirty(index);
        Ok(())
    }

    async fn revert_all(&self) -> Vec<(String, DriverError)> {
        let due = self.tracker.lock().revert_values();
        let mut failed = Vec::new();
        for (index, value) in due {
            match self.device.write(index, &value).await {
                Ok(_) => self.tracker.lock().clear_dirty(index),
                Err(error) => {
                    let name = self.device.points().as_slice().get(index).map(|point| point.name.to_string()).unwrap_or_default();
                    failed.push((name, error));
                }
            }
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_value_before_the_set_is_kept() {
        let mut tracker = RevertTracker::new(2, vec![]);
        assert_eq!(tracker.revert_value(0), None);
        tracker.update_clean(&[json!(1), json!(2)]);
        assert!(tracker.mark_dirty(0));
        tracker.update_clean(&[json!(9), json!(3)]);
        assert_eq!(tracker.revert_value(0), Some(&json!(1)));
        assert_eq!(tracker.revert_values(), vec![(0, json!(1))]);
        tracker.clear_dirty(0);
        tracker.update_clean(&[json!(9), json!(3)]);
        assert_eq!(tracker.revert_value(0), Some(&json!(9)));
        assert!(tracker.revert_values().is_empty());
    }

    #[test]
    fn a_default_wins_over_what_was_read() {
        let mut tracker = RevertTracker::new(1, vec![(0, json!(5))]);
        tracker.update_clean(&[json!(7)]);
        assert!(!tracker.mark_dirty(0));
        assert_eq!(tracker.revert_values(), vec![(0, json!(5))]);
    }

    #[test]
    fn null_is_no_clean_value() {
        let mut tracker = RevertTracker::new(1, vec![]);
        tracker.update_clean(&[json!(4)]);
        tracker.update_clean(&[Value::Null]);
        assert_eq!(tracker.revert_value(0), Some(&json!(4)));
    }
}
