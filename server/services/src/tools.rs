//! The peer as which our command line tools on this machine speak: `control.local`. One for all of them; whom it acts for travels with each
//! call. VOLTTRON's own tools connect from outside, as `control.connection`. Which person that is was settled where the tool connected, by the
//! rights on the server's socket. A tool that listens gets a peer of its own for that time, so that its subscriptions and what it loses are its
//! own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use vt_agent::AgentContext;
use vt_bus::{Mailbox, PeerHandle, PeerKind};
use vt_types::identity::known;
use vt_types::{Headers, Identity, Params, Publication, RpcError, Topic, TopicPrefix};

use crate::{Caller, ServiceError};

/// Longest time that a tool may wait for one call.
pub const CALL_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Publications that wait for a tool that listens; further ones are lost for it and counted.
pub const PUBLICATIONS_MAX: usize = 4096;

/// Speaks on the bus for command line tools.
pub struct Tools {
    context: AgentContext,
    listeners: AtomicU64,
    platform_stop: CancellationToken,
}

impl Tools {
    /// Speaks through a connected context; it is closed by whoever owns the tasks of the services.
    pub(crate) fn new(context: AgentContext, platform_stop: CancellationToken) -> Self {
        Self { context, listeners: AtomicU64::new(1), platform_stop }
    }

    /// Calls a method of any peer for `caller`, as command line tools of VOLTTRON do.
    ///
    /// # Errors
    /// [`RpcError`], each cause its own variant.
    pub async fn call(&self, caller: &Caller, peer: &Identity, method: &str, params: Params, limit: Duration) -> Result<Value, RpcError> {
        let handle = self.context.peer().on_behalf_of(&caller.user);
        vt_agent::context::call_within(&handle, limit.min(CALL_TIMEOUT_MAX), peer, method, params).await
    }

    /// Publishes for `caller`; gives the number of subscribers.
    ///
    /// # Errors
    /// `Forbidden` if policy refuses the topic; `Unavailable` while the platform ends.
    pub fn publish(&self, caller: &Caller, topic: &Topic, headers: Headers, message: Value) -> Result<usize, ServiceError> {
        self.context.peer().on_behalf_of(&caller.user).publish(topic, headers, message).map_err(|error| match error {
            vt_bus::PublishError::Refused(refusal) => ServiceError::Forbidden(refusal.0),
            error @ vt_bus::PublishError::NotConnected(_) => ServiceError::Unavailable(error.to_string()),
        })
    }

    /// What is published below `prefix` from now on.
    ///
    /// # Errors
    /// `Unavailable` if the bus takes no more peers or refuses the subscription.
    pub fn listen(&self, prefix: &TopicPrefix) -> Result<Listening, ServiceError> {
        let number = self.listeners.fetch_add(1, Relaxed);
        let identity =
            Identity::parse(&format!("{}.{number}", known::CONTROL_LOCAL)).map_err(|error| ServiceError::Invalid(error.to_string()))?;
        let unavailable = |error: &dyn std::fmt::Display| ServiceError::Unavailable(error.to_string());
        let connected = self.context.peer().bus().connect_with_queue(identity, PeerKind::Tool, PUBLICATIONS_MAX);
        let (peer, mailbox) = connected.map_err(|error| unavailable(&error))?;
        peer.subscribe(prefix).map_err(|error| unavailable(&error))?;
        Ok(Listening { peer, mailbox, platform_stop: self.platform_stop.clone() })
    }
}

/// A tool that listens; dropping it ends that.
pub struct Listening {
    peer: PeerHandle,
    mailbox: Mailbox,
    platform_stop: CancellationToken,
}

impl Listening {
    /// The next publication; `None` when the platform ends.
    pub async fn next(&mut self) -> Option<Arc<Publication>> {
        tokio::select! {
            () = self.platform_stop.cancelled() => None,
            publication = self.mailbox.publications().recv() => publication,
        }
    }

    /// Publications lost so far because the tool did not take them in time.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.peer.lost()
    }
}
