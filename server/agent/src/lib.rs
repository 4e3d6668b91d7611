//! What an agent is: a future that runs with a context. The context is its whole world: publishing, calling, exported methods,
//! configuration, health, heartbeat, events, shutdown. Knows no sockets, no files, no storage; the host decides where an agent runs.
//!
//! Map: `agent` (the trait and the catalogue entry), `context` (what an agent can do), `events` (what reaches it), `methods` (what it
//! offers to callers), `config` (its part of the configuration store), `health` (status, heartbeat, alerts), `liveness` (how a supervisor
//! sees that it hangs), `bench` (one agent on a test bench).
//!
//! Invariants: every agent answers `inspect`, `<method>.inspect`, `agent.version`, `health.*`, `heartbeat.*` and `config.*`; a panic in
//! one method call reaches its caller as an error and nothing else; all tasks of a context end with it.

pub mod agent;
pub mod bench;
pub mod config;
pub mod context;
pub mod events;
pub mod health;
pub mod liveness;
pub mod methods;
mod serving;

pub use agent::{Agent, AgentError, AgentKind, BuildAgent, BuildError};
pub use config::{ConfigAction, ConfigChange, ConfigError};
pub use context::{AgentContext, AgentSettings, ConnectFailure};
pub use events::{Event, Events};
pub use liveness::Liveness;
pub use methods::{Call, MethodTable};
