//! Unmodified Python VOLTTRON against the built server, from outside: agents of modular 11 and of 10 through their own public API, their `vctl`, and a bare
//! pyzmq peer that speaks byte for byte as the real clients of 6, 9 and 11 were seen to.
//!
//! Map: `python` (a program that takes commands and tells what it sees), `agent` (a real agent), `peer` (the bare one), `platform` (the server with an
//! address and a book of who may connect), `python_platform` (a whole VOLTTRON 10), `network` (a line that loses packets and is cut); the other files hold the tests, one concern each. What they need is made by `tests/support/prepare.sh`.

#![cfg(test)]

mod admission;
mod agent;
mod agents;
mod authz;
mod calls;
mod channel_install;
mod install;
mod linked;
mod listener;
mod network;
mod one_bus;
mod outbox;
mod partition;
mod peer;
mod platform;
mod pubsub;
mod python;
mod python_platform;
mod restart;
mod router;
mod store;
mod vctl;
