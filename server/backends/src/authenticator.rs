//! Who may connect from outside this process. Transports ask; the platform's auth service answers.

use std::sync::Arc;

use async_trait::async_trait;
use vt_types::{Identity, PublicKey};

/// How a peer proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Not at all.
    Null,
    /// It holds the secret half of this key; the transport has checked that.
    Curve(PublicKey),
}

/// A peer that wants to connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectAttempt {
    /// What it proved.
    pub proof: Proof,
    /// From where: an IP address without port, or `localhost:<uid>:<gid>:<pid>` for a local socket.
    pub address: String,
    /// The identity that it wants.
    pub identity: Identity,
}

/// What becomes of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may connect.
    Admitted {
        /// By which rights are decided from now on.
        user_id: Arc<str>,
    },
    /// Nobody has decided yet. The attempt stays unanswered, so that the peer tries again.
    Pending,
    /// Somebody decided against it, or the identity belongs to others. Unanswered as well; the reason is for the log.
    Refused(String),
}

/// Decides who may connect.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// Decides on a new attempt, and remembers one that nobody has decided on for people to look at.
    async fn admit(&self, attempt: &ConnectAttempt) -> Verdict;

    /// What [`Authenticator::admit`] would say, remembering nothing; for peers that are connected when something has changed.
    fn judge(&self, attempt: &ConnectAttempt) -> Verdict;

    /// Waits until a verdict may have changed since the generation `seen` and returns the newer generation; start with 0.
    async fn changed(&self, seen: u64) -> u64;
}
