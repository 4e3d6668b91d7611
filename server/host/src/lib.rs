//! Runs installed agents: built-in ones each on an operating-system thread of its own, packages in Python each in a child process;
//! supervises them, restarts them with back-off, and stops them even when they do not want to. Implements [`vt_backends::AgentLauncher`].
//!
//! Map: `host` (the launcher that others call), `supervisor` (the one task that owns the state of every agent), `supervised` (one agent's life), `thread` (what happens on
//! an agent's thread), `restart` (when and whether to try again; pure), `board` (what each agent does, for readers and observers),
//! `config` (time limits and bounds).
//!
//! Agents in child processes: `process`; making packages in Python ready for them: `packages`.
//!
//! Deliberately not here: which agents exist (the catalogue is handed in), where installations are kept.
//!
//! Invariants: a panic, a busy loop or a blocking call in one agent never delays another or the platform; an agent that was stopped or
//! given up is off the bus; no lock is held across an await.

mod board;
mod config;
mod host;
mod packages;
mod process;
mod restart;
mod supervised;
mod supervisor;
mod thread;

pub use config::HostConfig;
pub use host::Host;
pub use packages::{Packages, PackagesConfig};
pub use process::config::{ProcessConfig, StopLadder};
pub use process::limits::Limits;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;
