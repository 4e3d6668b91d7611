//! Device interfaces: how values of one device are read, written and put back; one file or folder per protocol.
//!
//! Map: `interface` (the trait every protocol implements, points and scrapes), `error` (every way in which a device can refuse),
//! `registry` (the table of a device's points, from CSV text or from the config store's rows), `revert` (what a point is put back to),
//! `interfaces` (the protocols), `catalog` (their list).
//!
//! Deliberately not here: scheduling, publishing and overrides (the platform driver agent's), and anything of the bus.
//! Invariant: an interface never panics on what a device sends and every operation ends within a bounded time.
//! Source: VOLTTRON `services/core/PlatformDriverAgent/platform_driver/interfaces`.

pub mod catalog;
pub mod error;
pub mod interface;
mod interfaces;
pub mod registry;
pub mod revert;

pub use catalog::{BuildContext, build};
pub use error::{ConfigError, DriverError};
pub use interface::{Interface, Point, PointError, Scrape, ValueType};
pub use registry::{Registry, RegistryError};
