//! Runs installed built-in agents: starts each on an operating-system thread of its own, supervises it, restarts it with back-off, and
//! stops it even when it does not want to. Implements [`vt_backends::AgentLauncher`].
//!
//! Map: `host` (the launcher that others call), `supervisor` (the one task that owns the state of every agent), `supervised` (one agent's life), `thread` (what happens on
//! an agent's thread), `restart` (when and whether to try again; pure), `board` (what each agent does, for readers and observers),
//! `config` (time limits and bounds).
//!
//! Deliberately not here: which agents exist (the catalogue is handed in), where installations are kept, child processes.
//!
//! Invariants: a panic, a busy loop or a blocking call in one agent never delays another or the platform; an agent that was stopped or
//! given up is off the bus; no lock is held across an await.

mod board;
mod config;
mod host;
mod restart;
mod supervised;
mod supervisor;
mod thread;

pub use config::HostConfig;
pub use host::Host;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;
