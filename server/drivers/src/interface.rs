//! What a device interface is: points, one read of all of them, one write, and putting values back.
//! Not here: how a protocol does it (`interfaces`) and when (the platform driver agent).
//! Source: VOLTTRON `platform_driver/interfaces/__init__.py`.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use crate::error::DriverError;
use crate::registry::Registry;

/// The word under `type` in a point's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// `boolean`.
    Boolean,
    /// `integer`.
    Integer,
    /// `float`.
    Float,
    /// `string`.
    String,
}

impl ValueType {
    /// As in published metadata.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::String => "string",
        }
    }
}

/// One readable or settable value of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Topic name (`Volttron Point Name`), unique on the device.
    pub name: Arc<str>,
    /// Units as the registry spells them; may be empty.
    pub units: Arc<str>,
    /// Type in metadata.
    pub value_type: ValueType,
    /// Whether it can be set.
    pub writable: bool,
    /// Index of its row in the registry.
    pub row: usize,
}

impl Point {
    /// `{"units", "type", "tz"}` as published beside the values.
    #[must_use]
    pub fn metadata(&self, tz: &str) -> Value {
        json!({"units": &*self.units, "type": self.value_type.as_str(), "tz": tz})
    }
}

/// The points of a device in registry order, findable by name.
#[derive(Debug, Clone, Default)]
pub struct Points {
    list: Vec<Point>,
    by_name: HashMap<Arc<str>, usize>,
    registry: Arc<Registry>,
}

impl Points {
    /// Points built from `registry`. Names are unique, because the registry refuses duplicates.
    #[must_use]
    pub fn new(list: Vec<Point>, registry: Arc<Registry>) -> Self {
        let by_name = list.iter().enumerate().map(|(index, point)| (Arc::clone(&point.name), index)).collect();
        Self { list, by_name, registry }
    }

    /// All points, in registry order. The order of every [`Scrape`].
    #[must_use]
    pub fn as_slice(&self) -> &[Point] {
        &self.list
    }

    /// The index of `name`.
    ///
    /// # Errors
    /// [`DriverError::PointNotConfigured`].
    pub fn index(&self, name: &str) -> Result<usize, DriverError> {
        self.by_name.get(name).copied().ok_or_else(|| DriverError::PointNotConfigured(name.to_owned()))
    }

    /// The point called `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Point> {
        self.by_name.get(name).and_then(|index| self.list.get(*index))
    }

    /// The registry row of `point`, keyed by column.
    #[must_use]
    pub fn registry_row(&self, point: &Point) -> Option<&Map<String, Value>> {
        self.registry.rows().get(point.row).map(|row| row.fields())
    }

    /// The registry the points came from.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }
}

/// A point that could not be read during a scrape that otherwise worked.
#[derive(Debug, Clone, PartialEq)]
pub struct PointError {
    /// Index in [`Points::as_slice`].
    pub index: usize,
    /// Why.
    pub error: DriverError,
}

/// One read of a device.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scrape {
    /// One value per point, in the order of [`Points::as_slice`]; null where [`Scrape::errors`] names the point.
    pub values: Vec<Value>,
    /// The points that could not be read.
    pub errors: Vec<PointError>,
}

impl Scrape {
    /// `{point: value}`, as the RPC method `scrape_all` returns it.
    #[must_use]
    pub fn into_map(self, points: &Points) -> Map<String, Value> {
        points.as_slice().iter().map(|point| point.name.to_string()).zip(self.values).collect()
    }
}

/// A device as the platform driver sees it. Methods may be called concurrently; an implementation serialises what must be.
#[async_trait]
pub trait Interface: Send + Sync + std::fmt::Debug {
    /// The points, fixed for the life of the interface.
    fn points(&self) -> &Points;

    /// What was odd in the configuration without preventing work: unknown columns, unusable defaults. Shown to people.
    fn warnings(&self) -> &[String];

    /// Reads one point.
    ///
    /// # Errors
    /// [`DriverError`].
    async fn get_point(&self, name: &str) -> Result<Value, DriverError>;

    /// Writes one point and returns the value actually written.
    ///
    /// # Errors
    /// [`DriverError`]; nothing is written for an unknown or read-only point or a value that does not fit.
    async fn set_point(&self, name: &str, value: &Value) -> Result<Value, DriverError>;

    /// Reads all points.
    ///
    /// # Errors
    /// [`DriverError`] when no point could be read; a failure of some points is in [`Scrape::errors`].
    async fn scrape_all(&self) -> Result<Scrape, DriverError>;

    /// Puts one point back to its default, or to the last value read before it was set. Without either, nothing happens.
    ///
    /// # Errors
    /// [`DriverError`] of the write, or for an unknown or read-only point.
    async fn revert_point(&self, name: &str) -> Result<(), DriverError>;

    /// Puts all points back that were set or have a default; returns those that failed, by name.
    async fn revert_all(&self) -> Vec<(String, DriverError)>;
}
