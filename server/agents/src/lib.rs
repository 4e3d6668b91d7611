//! The built-in agents. What an agent is, is defined in `vt-agent`; where it runs, the host decides.
//!
//! Map: one folder per agent, `catalog` lists them all; `outbox` is what the forwarder and the data mover have in common; `python` writes values as Python does.
//!
//! Deliberately not here: interfaces to devices (`vt-drivers`), stores of history (`vt-historians`).
//!
//! Invariant: an agent reaches the rest of the platform only over its context; it knows no service and no other agent by type.

pub mod actuator;
pub mod catalog;
pub mod data_mover;
pub mod forwarder;
pub mod historian;
pub mod listener;
mod outbox;
pub mod platform_driver;
mod python;
