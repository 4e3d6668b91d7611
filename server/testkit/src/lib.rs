//! For tests only: the real program started on a home of its own, and waiting without sleeping.
//!
//! Map: `server` (start, address, output, signals, restart), `client` (HTTPS that trusts the platform's CA, and the usual calls),
//! `socket` (websockets), `wait` (a condition with a deadline), `program` (where the built binaries are). A failure here is a failed test, so these functions
//! panic with what the program printed. It uses no other crate of the product: what is tested is what a user gets.
#![expect(clippy::expect_used, clippy::panic, reason = "a failure in test support is a failed test")]

pub mod client;
pub mod program;
pub mod server;
pub mod socket;
pub mod wait;

pub use client::{Client, Tokens};
pub use program::{Finished, program};
pub use server::{TestServer, TestServerBuilder};
pub use socket::Socket;
pub use wait::{eventually, eventually_async};
