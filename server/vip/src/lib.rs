//! VIP: the frames that VOLTTRON's peers exchange over ZeroMQ, and what is in them, to and from types.
//!
//! Map: `frames` (a message), `router` (hello, ping, peerlist, query, agentstop, quit), `pubsub`, `rpc` (JSON-RPC), `error` (what could not
//! be delivered), `routing_table` and `external_rpc` (between platforms); below them `json` (as Python writes and reads it) and `text`
//! (topics as bytes); beside them `address` (`tcp://host:port?serverkey=...`).
//!
//! Invariant: bytes in, bytes out. No I/O, no clock, no randomness, no state. No bytes make it panic, and what it allocates is bounded by
//! a small multiple of the bytes it was given, never by a length they claim.
//!
//! Source: VOLTTRON 6.0, 9.0.4 and the modular packages of 11, as observed on the wire.

pub mod address;
pub mod error;
pub mod external_rpc;
pub mod frames;
pub mod json;
pub mod pubsub;
pub mod router;
pub mod routing_table;
pub mod rpc;
pub mod text;

pub use address::{Address, AddressError};
pub use frames::{FrameError, Message};
pub use json::JsonError;
