//! VIP over ZeroMQ: the sockets at which peers of other processes reach the bus, and the dealer through which this platform reaches
//! another.
//!
//! Map: `endpoint` (listening, one task per connection), `handshake` (ZMTP and CURVE up to a proven key, and the wait for somebody to
//! approve it), `wire` (ZMTP messages over one stream), `session` (one peer: what it sends, what it is sent), `requests` (what it asks of
//! the router), `pubsub` and `calls` (two of these in more depth), `channels` (byte pipes to services), `holders` (who holds which identity), `dealer` (the connecting side),
//! `platforms` and `outside` (links to other platforms, and what comes in from them), `remote` (links to other platforms as one of our
//! agents), `discovery` (finding a platform by its web address), `facts` (what the router tells of itself), `config`, `address`.
//!
//! The protocol itself is in the crate `omq-proto` (ZMTP, CURVE) and in `vt-vip` (frames). Who may connect is the authenticator's business,
//! what a peer may do that of the bus's interceptors.
//!
//! Invariants: an unproven peer holds a bounded piece of memory for a bounded time and never delays others; bytes between two remote
//! peers are passed on as they came; a peer that does not read loses its own messages and nobody else's.

mod address;
mod calls;
mod channels;
mod config;
mod dealer;
mod discovery;
mod endpoint;
mod facts;
mod handshake;
mod holders;
mod outside;
mod platforms;
mod pubsub;
mod remote;
mod requests;
mod session;
mod wire;

pub use address::{AddressError, Listen};
pub use channels::ZmqChannels;
pub use config::{Config, KeyPair};
pub use dealer::{Dealer, DealerConfig, DealerError, DealerEvent};
pub use discovery::WebDiscovery;
pub use endpoint::{Endpoint, EndpointError, Parts, Statistics};
pub use facts::Facts;
pub use platforms::{NoLink, Platforms};
pub use remote::ZmqRemoteBus;
