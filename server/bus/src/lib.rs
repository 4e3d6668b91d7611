//! The router: who is connected, who gets which message, who answers which call. Pure state and in-process handles; no sockets, no
//! wire formats, no policy (that is what interceptors are for), no timers (callers put a time limit on a reply themselves).
//!
//! Map: `router` (the [`Bus`]), `handle` (a peer's [`PeerHandle`]), `mailbox` (what a peer receives), `queue` (its bounds), `subscription`, `index` (who wants a topic),
//! `interceptor` (policy on the way in), `statistics` (counters), `config` (bounds), `error`.
//!
//! Invariants: publishing and calling never wait, so neither can dead-lock, whatever a callback does. Every queue is bounded: a full
//! publication queue loses the new message for that subscriber alone and counts it, a full call queue answers `Busy`.
//! Locks: `peers` may be taken before `index`, never the other way round; nothing else is locked while either is held.

pub mod config;
pub mod error;
pub mod handle;
mod index;
pub mod interceptor;
pub mod mailbox;
pub mod queue;
pub mod router;
pub mod statistics;
pub mod subscription;

pub use config::Config;
pub use error::{ConnectError, PublishError, RelayError, SubscribeError};
pub use handle::{PeerHandle, PendingReply};
pub use interceptor::{Interceptor, PeerRef, Refusal};
pub use mailbox::{Connection, Delivery, IncomingCall, Mailbox, RemoteMailbox, Reply};
pub use queue::Queue;
pub use router::{Bus, PeerEvent, PeerKind, RemotePeer};
pub use statistics::{BusStatistics, PeerInfo};
pub use subscription::Subscription;
