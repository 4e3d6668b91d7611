//! The explicit, alphabetical list of interfaces, and building one from a device's configuration.

use std::fmt;
use std::sync::Arc;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use vt_types::Clock;

use crate::error::ConfigError;
use crate::interface::Interface;
use crate::interfaces::{fake, modbus};
use crate::registry::Registry;

/// Open files where the system sets no limit or does not tell it. VOLTTRON's number.
const OPEN_FILES_UNLIMITED: u64 = 8192;

/// Most sockets that interfaces hold open at once, when nothing else is configured: 80 % of the files that this process may have open, so
/// that devices leave some to everything else.
#[must_use]
pub fn open_sockets_max() -> usize {
    sockets_of(getrlimit(Resource::RLIMIT_NOFILE).map_or(RLIM_INFINITY, |(soft, _)| soft))
}

fn sockets_of(open_files: u64) -> usize {
    let open_files = if open_files == RLIM_INFINITY { OPEN_FILES_UNLIMITED } else { open_files };
    usize::try_from(open_files / 5 * 4).unwrap_or(usize::MAX).max(1)
}

/// What interfaces share.
#[derive(Clone)]
pub struct BuildContext {
    /// The time, for interfaces that simulate.
    pub clock: Arc<dyn Clock>,
    /// One permit per open socket; who finds none waits up to the device's timeout and then fails as busy.
    pub sockets: Arc<Semaphore>,
}

impl BuildContext {
    /// A context with `sockets_max` socket permits.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, sockets_max: usize) -> Self {
        Self { clock, sockets: Arc::new(Semaphore::new(sockets_max.clamp(1, Semaphore::MAX_PERMITS))) }
    }
}

impl fmt::Debug for BuildContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildContext").field("sockets_free", &self.sockets.available_permits()).finish()
    }
}

type Build = fn(&BuildContext, &Map<String, Value>, &Arc<Registry>) -> Result<Arc<dyn Interface>, ConfigError>;

/// One kind of interface.
struct Entry {
    driver_type: &'static str,
    build: Build,
}

/// Alphabetical. `fake` is another name of `fakedriver`.
const CATALOG: &[Entry] = &[
    Entry { driver_type: "fake", build: fake::build },
    Entry { driver_type: "fakedriver", build: fake::build },
    Entry { driver_type: "modbus", build: modbus::build },
    Entry { driver_type: "modbus_tk", build: modbus::build_tk },
];

/// The values that `driver_type` may have.
#[must_use]
pub fn driver_types() -> Vec<&'static str> {
    CATALOG.iter().map(|entry| entry.driver_type).collect()
}

/// Builds the interface of one device. Nothing is connected yet.
///
/// # Errors
/// [`ConfigError`] naming the field, or the row and column.
pub fn build(
    context: &BuildContext,
    driver_type: &str,
    driver_config: &Map<String, Value>,
    registry: &Arc<Registry>,
) -> Result<Arc<dyn Interface>, ConfigError> {
    match CATALOG.iter().find(|entry| entry.driver_type == driver_type) {
        Some(entry) => (entry.build)(context, driver_config, registry),
        None => Err(ConfigError::UnknownDriverType { given: driver_type.chars().take(64).collect(), known: driver_types() }),
    }
}

#[cfg(test)]
mod tests {
    use vt_types::SystemClock;

    use super::*;

    #[test]
    fn devices_leave_a_fifth_of_the_open_files_to_others() {
        assert_eq!([1024, 4096, RLIM_INFINITY, 0].map(sockets_of), [816, 3276, 6552, 1]);
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(open_sockets_max(), sockets_of(soft));
    }

    #[test]
    fn the_catalogue_is_alphabetical_and_every_entry_builds() {
        let types = driver_types();
        assert!(types.is_sorted());
        let context = BuildContext::new(Arc::new(SystemClock), 1);
        let config = serde_json::json!({"device_address": "127.0.0.1", "port": 502}).as_object().unwrap().clone();
        for driver_type in types {
            assert!(build(&context, driver_type, &config, &Arc::default()).unwrap().points().as_slice().is_empty(), "{driver_type}");
        }
        let error = build(&context, "bacnet", &config, &Arc::default()).unwrap_err();
        assert_eq!(error.to_string(), "driver_type \"bacnet\" is unknown; this server has: fake, fakedriver, modbus, modbus_tk");
    }
}
