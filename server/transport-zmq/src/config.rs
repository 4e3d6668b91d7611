//! Bounds and keys of the endpoint.

use std::fmt;
use std::time::Duration;

use omq_proto::{CurveKeypair, CurvePublicKey, CurveSecretKey};
use vt_types::PublicKey;

/// Both halves of a CURVE key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// Known to others.
    pub public: PublicKey,
    /// Never shown.
    pub secret: [u8; 32],
}

impl KeyPair {
    /// A new pair that is kept nowhere.
    #[must_use]
    pub fn throw_away() -> Self {
        let pair = CurveKeypair::generate();
        Self { public: PublicKey::new(pair.public.0), secret: pair.secret.0 }
    }

    pub(crate) fn curve(&self) -> CurveKeypair {
        CurveKeypair { public: CurvePublicKey::from_bytes(*self.public.as_bytes()), secret: CurveSecretKey::from_bytes(self.secret) }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

/// How much the endpoint holds, and how long it waits.
#[derive(Debug, Clone)]
pub struct Config {
    /// The platform's key pair; `None` serves peers without keys (`allow-auth = False`).
    pub keys: Option<KeyPair>,
    /// Connections that have not proven a key yet. When full, the oldest of them is closed, so that a newcomer always gets its chance.
    pub unproven_max: usize,
    /// Connected peers. When full, newcomers are closed.
    pub connections_max: usize,
    /// Bytes that an unproven peer may send; VOLTTRON's need about 600.
    pub handshake_bytes_max: usize,
    /// How long a handshake may take; also how long an unknown key waits for somebody to approve it.
    pub handshake_limit: Duration,
    /// Largest message in bytes; a peer that sends a larger one is disconnected.
    pub message_bytes_max: usize,
    /// Deliveries that wait for a peer that does not read; VOLTTRON's high-water mark. When full, messages for it are lost and counted, and
    /// senders to it are told.
    pub queue_max: usize,
    /// Encoded bytes that wait for a peer that does not read. When reached, nothing more is encoded for it and nothing more read from it.
    pub backlog_bytes_max: usize,
    /// Calls of a peer to peers in this process that are not answered yet. When reached, further ones are answered as busy.
    pub calls_max: usize,
    /// Bytes of those calls. A larger single call passes alone.
    pub calls_bytes_max: usize,
    /// Longest wait for the answer to a call in either direction.
    pub call_limit: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keys: None,
            unproven_max: 4096,
            connections_max: 16_384,
            handshake_bytes_max: 16 << 10,
            handshake_limit: Duration::from_secs(30),
            message_bytes_max: 64 << 20,
            queue_max: 6000,
            backlog_bytes_max: 1 << 20,
            calls_max: 1024,
            calls_bytes_max: 64 << 20,
            call_limit: Duration::from_secs(600),
        }
    }
}
