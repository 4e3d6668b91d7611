//! From an accepted stream to a proven and admitted peer. A key that nobody has decided on is not answered: a CURVE error would make
//! libzmq give up for good, silence makes it come again.

use std::sync::Arc;

use bytes::Bytes;
use omq_proto::proto::{ConnectionConfig, Event, Role, SocketType};
use omq_proto::{AuthenticationResult, Authenticator as Callback, CurveServerOptions, MechanismSetup};
use tokio::sync::Semaphore;
use vt_backends::{Authenticator, ConnectAttempt, Proof, Verdict};
use vt_types::{Identity, PublicKey};

use crate::Config;
use crate::wire::{Wire, WireError};

/// A peer that may connect.
#[derive(Debug)]
pub struct Admitted {
    pub attempt: ConnectAttempt,
    pub user_id: Arc<str>,
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("too many bytes came before a key was proven")]
    TooMuch,
    #[error("the peer's name is no VIP identity: {0}")]
    Identity(String),
}

/// How the listening side of a connection is set up.
pub fn connection(config: &Config) -> ConnectionConfig {
    let mechanism = match &config.keys {
        Some(keys) => {
            let mut options = CurveServerOptions::new().cookie_lifetime(config.handshake_limit);
            // Deferred: we are asked, and this callback never is.
            options.authenticator = Some(Callback::new(|_| false));
            MechanismSetup::CurveServer { our_keypair: keys.curve(), options }
        }
        None => MechanismSetup::Null,
    };
    ConnectionConfig::new(Role::Server, SocketType::Router)
        .max_message_size(config.message_bytes_max)
        .mechanism(mechanism)
        .defer_authentication(true)
}

/// Takes a stream through the handshake; whoever calls bounds the time. `computing` bounds how many threads do the arithmetic of
/// handshakes at once, so that a storm of them does not delay connected peers.
pub async fn admit(
    wire: &mut Wire,
    config: &Config,
    address: &str,
    authenticator: &dyn Authenticator,
    computing: &Semaphore,
) -> Result<Admitted, HandshakeError> {
    let mut left = config.handshake_bytes_max;
    let (proof, name) = proven(wire, &mut left, computing).await?;
    let name = std::str::from_utf8(&name).map_err(|error| HandshakeError::Identity(error.to_string()))?;
    let identity = Identity::parse(name).map_err(|error| HandshakeError::Identity(error.to_string()))?;
    let attempt = ConnectAttempt { proof, address: address.to_owned(), identity };
    let user_id = decided(wire, config, &attempt, authenticator).await?;
    if wire.zmtp.awaiting_authentication() {
        let _permit = computing.acquire().await;
        wire.zmtp.complete_authentication(AuthenticationResult::allow()).map_err(WireError::from)?;
    }
    wire.parse()?;
    Ok(Admitted { attempt, user_id })
}

/// What the peer proves, and the name that it gives itself.
async fn proven(wire: &mut Wire, left: &mut usize, computing: &Semaphore) -> Result<(Proof, Bytes), HandshakeError> {
    loop {
        if let Some(request) = wire.zmtp.take_authentication_request() {
            let peer = request.peer();
            return Ok((Proof::Curve(PublicKey::new(peer.public_key)), peer.identity.clone().unwrap_or_default()));
        }
        // Without keys the handshake is over when the names are known.
        if let Some(Event::HandshakeSucceeded { peer_properties, .. }) = wire.zmtp.poll_event() {
            return Ok((Proof::Null, peer_properties.identity.clone().unwrap_or_default()));
        }
        step(wire, left, computing).await?;
    }
}

/// One step of a handshake, for which `left` bytes may still come.
async fn step(wire: &mut Wire, left: &mut usize, computing: &Semaphore) -> Result<(), HandshakeError> {
    wire.transfer(*left > 0, *left).await?;
    if wire.unparsed() > 0 {
        *left = left.saturating_sub(wire.unparsed());
        let _permit = computing.acquire().await;
        wire.parse()?;
    }
    if *left == 0 && wire.backlog() == 0 && !wire.zmtp.is_ready() && !wire.zmtp.awaiting_authentication() {
        return Err(HandshakeError::TooMuch);
    }
    Ok(())
}

/// Waits until somebody lets the peer in, or the peer goes.
async fn decided(
    wire: &mut Wire,
    config: &Config,
    attempt: &ConnectAttempt,
    authenticator: &dyn Authenticator,
) -> Result<Arc<str>, HandshakeError> {
    let mut verdict = authenticator.admit(attempt).await;
    let mut seen = 0;
    loop {
        match verdict {
            Verdict::Admitted { user_id } => return Ok(user_id),
            Verdict::Pending => tracing::debug!(identity = %attempt.identity, address = attempt.address, "a key waits for approval"),
            Verdict::Refused(reason) => {
                tracing::debug!(identity = %attempt.identity, address = attempt.address, reason, "a peer is not answered");
            }
        }
        tokio::select! {
            generation = authenticator.changed(seen) => {
                seen = generation;
                verdict = authenticator.judge(attempt);
            }
            result = wire.watch() => {
                result?;
                if wire.unparsed() > config.handshake_bytes_max {
                    return Err(HandshakeError::TooMuch);
                }
                verdict = Verdict::Pending;
            }
        }
    }
}
