//! Builds everything from the settings, binds the listeners, announces that the platform is ready, and ends it in order. All wiring is
//! here; no rule of the platform is.
//!
//! Map: `platform` (start and shutdown, in order), `stores` (home and database), `tls` (certificates and signing key), `listeners` (HTTPS
//! and the local socket), `peers` (ZeroMQ), `neighbours` (which platforms are linked) and `introductions` (setup mode), `logging` (lines for
//! people and for the pages), `demo` (the demonstration building), `process` (memory and CPU for the metrics), `signals`; `offline`,
//! `certificates` and `packaging` (what tools may do while the server is down).
//!
//! Invariants: nothing is announced before it is bound; the home is held by one process; every task ends before `run` returns.

pub mod certificates;
pub mod demo;
mod first_run;
mod introductions;
mod listeners;
mod logging;
mod neighbours;
pub mod offline;
pub mod packaging;
mod peers;
mod platform;
mod process;
mod python;
mod signals;
mod stores;
mod tls;

use vt_config::Loaded;

/// What is wanted beside the settings.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Also set up the demonstration building.
    pub demo: bool,
}

/// Runs the platform until it is told to stop.
///
/// # Errors
/// One readable sentence with its causes.
pub fn run(loaded: Loaded, options: &RunOptions) -> anyhow::Result<()> {
    // The only TLS stack; a second installation could only be the same one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("platform").build()?;
    let result = runtime.block_on(platform::run(loaded, options));
    // What still blocks (a file, a hash) is not waited for: everything acknowledged is on disk.
    runtime.shutdown_background();
    result
}
