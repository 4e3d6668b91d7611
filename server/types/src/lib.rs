//! The field's words as types: identities, topics, headers, publications, RPC requests and errors, timestamps, health.
//!
//! Map: `identity` (who), `topic` (where), `headers` and `publication` (what is published), `rpc` (calls and their errors),
//! `timestamp` and `clock` (when), `health` (how it is), `installation` (what an installed agent carries), `history` (what a historian
//! keeps), `lines` (where in a text), `lazy` (JSON that is parsed at the first look), `envelope` (what passes between remote peers), `key` and
//! `secret` (CURVE keys), `error` (the closed set of error kinds that edges translate).
//!
//! Invariant: no I/O, no async runtime, no process-wide state. A value of these types is valid; parsing is the only way in.

pub mod clock;
pub mod envelope;
pub mod error;
pub mod headers;
pub mod health;
pub mod history;
pub mod identity;
pub mod installation;
pub mod key;
pub mod lazy;
pub mod lines;
pub mod publication;
pub mod rpc;
pub mod secret;
pub mod timestamp;
pub mod topic;

pub use clock::{Clock, ManualClock, SystemClock};
pub use envelope::Envelope;
pub use error::ErrorKind;
pub use headers::Headers;
pub use health::{Status, StatusWord};
pub use history::HistoryRecord;
pub use identity::{Identity, IdentityError};
pub use installation::{AgentUuid, InstallationError, Priority, Tag};
pub use key::{KeyError, PublicKey};
pub use lazy::{Body, Lazy};
pub use lines::Lines;
pub use publication::Publication;
pub use rpc::{Params, RemoteError, RpcError, RpcRequest};
pub use secret::{CurveKeyPair, SecretKey};
pub use timestamp::{Timestamp, TimestampError};
pub use topic::{DevicePath, Topic, TopicError, TopicPrefix};
