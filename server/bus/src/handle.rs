//! The handle through which a peer speaks, whether it is in this process or its transport speaks for it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use serde_json::Value;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use vt_types::{Envelope, Headers, Identity, Publication, RpcError, RpcRequest, Topic, TopicPrefix};

use crate::router::{Inbox, Inner, Slot};
use crate::{Bus, Delivery, IncomingCall, PeerRef, PublishError, Refusal, RelayError, Reply, SubscribeError, Subscription};

/// The sending half of a peer. Cheap to clone. Dead once the peer's mailbox is dropped or the bus disconnected it.
#[derive(Clone)]
pub struct PeerHandle {
    bus: Arc<Inner>,
    slot: Arc<Slot>,
    user: Option<Arc<str>>,
}

impl PeerHandle {
    pub(crate) fn new(bus: Arc<Inner>, slot: Arc<Slot>) -> Self {
        Self { bus, slot, user: None }
    }

    /// The peer's identity.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.slot.identity
    }

    /// The peer's authenticated user id.
    #[must_use]
    pub fn user_id(&self) -> &Arc<str> {
        &self.slot.user_id
    }

    /// The bus that it is connected to.
    #[must_use]
    pub fn bus(&self) -> Bus {
        Bus::of(Arc::clone(&self.bus))
    }

    /// The same peer, acting for a web user; callees and interceptors see the name.
    #[must_use]
    pub fn on_behalf_of(&self, user: &str) -> Self {
        Self { user: Some(Arc::from(user)), ..self.clone() }
    }

    /// Publications of this peer that were lost so far because its queue was full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.slot.lost.load(Relaxed)
    }

    /// Publishes; returns the number of subscribers that match. Never waits. Headers go out as given.
    ///
    /// # Errors
    /// [`PublishError`] if refused or no longer connected; then nobody got the message.
    pub fn publish(&self, topic: &Topic, headers: Headers, message: impl Into<Arc<Value>>) -> Result<usize, PublishError> {
        self.publish_as(Publication::new(self.identity().clone(), topic.clone(), headers, message.into()))
    }

    /// Publishes what a transport made. Its sender is this peer, or, from a link to another platform, a peer there.
    ///
    /// # Errors
    /// As [`PeerHandle::publish`].
    pub fn publish_as(&self, publication: Publication) -> Result<usize, PublishError> {
        if !self.slot.connected.load(Relaxed) {
            return Err(PublishError::NotConnected(self.identity().clone()));
        }
        self.bus.intercept(|policy| policy.on_publish(self.peer_ref(), &publication.topic))?;
        let publication = Arc::new(publication);
        let (mut matched, mut lost) = (0_usize, 0_u64);
        let (bus, topic) = (publication.bus.as_deref(), publication.topic.as_str());
        let index = self.bus.index.read();
        index.for_each_match(bus, topic, |slot| {
            if publication.is_external && !index.wants_from_outside(slot.id, bus, topic) {
                return;
            }
            matched += 1;
            lost += u64::from(!slot.offer(&publication));
        });
        drop(index);
        self.slot.published.fetch_add(1, Relaxed);
        self.bus.published.fetch_add(1, Relaxed);
        self.bus.delivered.fetch_add(matched as u64 - lost, Relaxed);
        if lost > 0 {
            self.bus.lost.fetch_add(lost, Relaxed);
        }
        Ok(matched)
    }

    /// Subscribes to messages of this platform on the default bus; repeating a prefix changes nothing. Messages published before this
    /// returns are not delivered.
    ///
    /// # Errors
    /// [`SubscribeError`] if refused, at the bound, or no longer connected.
    pub fn subscribe(&self, prefix: &TopicPrefix) -> Result<(), SubscribeError> {
        self.subscribe_to(&Subscription::local(prefix.clone()))
    }

    /// Subscribes, with everything that can be said of a subscription.
    ///
    /// # Errors
    /// As [`PeerHandle::subscribe`].
    pub fn subscribe_to(&self, subscription: &Subscription) -> Result<(), SubscribeError> {
        self.bus.intercept(|policy| policy.on_subscribe(self.peer_ref(), &subscription.prefix))?;
        let mut index = self.bus.index.write();
        // Read under the lock: a peer that is being disconnected must not leave a subscription behind.
        if !self.slot.connected.load(Relaxed) {
            return Err(SubscribeError::NotConnected(self.identity().clone()));
        }
        if index.count(self.slot.id) >= self.bus.config.subscriptions_max && !index.contains(self.slot.id, subscription) {
            return Err(SubscribeError::TooMany(self.bus.config.subscriptions_max));
        }
        index.insert(&self.slot, subscription);
        drop(index);
        self.tell_wanted(subscription);
        Ok(())
    }

    /// Ends a subscription to messages of this platform on the default bus; says whether there was one.
    pub fn unsubscribe(&self, prefix: &TopicPrefix) -> bool {
        self.unsubscribe_from(&Subscription::local(prefix.clone()))
    }

    /// Ends a subscription; says whether there was one.
    pub fn unsubscribe_from(&self, subscription: &Subscription) -> bool {
        let is_removed = self.bus.index.write().remove(self.slot.id, subscription);
        if is_removed {
            self.tell_wanted(subscription);
        }
        is_removed
    }

    /// What the peer is subscribed to.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<Subscription> {
        self.bus.index.read().subscriptions(self.slot.id).cloned().collect()
    }

    /// Calls a method of `callee`. Never waits itself; await the [`PendingReply`], with a time limit.
    ///
    /// # Errors
    /// `UnknownPeer`, `Refused`, `Busy`, or `PeerGone` if this peer itself is no longer connected.
    pub fn call(&self, callee: &Identity, request: RpcRequest) -> Result<PendingReply, RpcError> {
        let (reply, answer) = oneshot::channel();
        self.send_call(callee, request, Some(Reply(reply)))?;
        Ok(PendingReply { callee: callee.clone(), answer })
    }

    /// Calls a method without wanting an answer.
    ///
    /// # Errors
    /// As [`PeerHandle::call`].
    pub fn notify(&self, callee: &Identity, request: RpcRequest) -> Result<(), RpcError> {
        self.send_call(callee, request, None)
    }

    /// Whether calls of `callee` are to be shown to [`PeerHandle::may_call`] before they are passed on to it unread.
    #[must_use]
    pub fn is_guarded(&self, callee: &Identity) -> bool {
        self.bus.guards(callee)
    }

    /// Asks the policy about a call that is passed on in an envelope.
    ///
    /// # Errors
    /// The refusal.
    pub fn may_call(&self, callee: &Identity, request: &RpcRequest) -> Result<(), Refusal> {
        self.bus.intercept(|policy| policy.on_call(self.peer_ref(), callee, request))
    }

    /// Passes a message on to a remote peer, unread. Never waits.
    ///
    /// # Errors
    /// [`RelayError`]; for a recipient in this process, the message comes back to be understood.
    pub fn relay(&self, to: &Identity, envelope: Envelope) -> Result<(), RelayError> {
        if !self.slot.connected.load(Relaxed) {
            return Err(RelayError::NotConnected(self.identity().clone()));
        }
        let Some(slot) = self.bus.peers.read().get(to).cloned() else { return Err(RelayError::UnknownPeer(to.clone())) };
        let Inbox::Remote(deliveries) = &slot.inbox else { return Err(RelayError::Local(Box::new(envelope))) };
        deliveries.try_send(Delivery::Envelope(envelope)).map_err(|error| match error {
            TrySendError::Full(_) => RelayError::Full(to.clone()),
            TrySendError::Closed(_) => RelayError::UnknownPeer(to.clone()),
        })
    }

    fn send_call(&self, callee: &Identity, request: RpcRequest, reply: Option<Reply>) -> Result<(), RpcError> {
        let result = self.try_send_call(callee, request, reply);
        let counter = if result.is_ok() { &self.bus.calls } else { &self.bus.calls_failed };
        counter.fetch_add(1, Relaxed);
        result
    }

    fn try_send_call(&self, callee: &Identity, request: RpcRequest, reply: Option<Reply>) -> Result<(), RpcError> {
        if !self.slot.connected.load(Relaxed) {
            return Err(RpcError::PeerGone(self.identity().clone()));
        }
        let Some(slot) = self.bus.peers.read().get(callee).cloned() else { return Err(RpcError::UnknownPeer(callee.clone())) };
        self.may_call(callee, &request).map_err(|refusal| RpcError::Refused(refusal.0))?;
        let (from, user_id) = (self.identity().clone(), Arc::clone(self.user_id()));
        let call = IncomingCall { from, user_id, user: self.user.clone(), request, reply };
        let sent = match &slot.inbox {
            Inbox::Local { calls, .. } => calls.try_send(call).map_err(|error| matches!(error, TrySendError::Full(_))),
            Inbox::Remote(deliveries) => deliveries.try_send(Delivery::Call(call)).map_err(|error| matches!(error, TrySendError::Full(_))),
        };
        sent.map_err(|is_full| if is_full { RpcError::Busy(callee.clone()) } else { RpcError::PeerGone(callee.clone()) })
    }

    fn tell_wanted(&self, changed: &Subscription) {
        if changed.all_platforms {
            self.bus.wanted.send_modify(|count| *count += 1);
        }
    }

    fn peer_ref(&self) -> PeerRef<'_> {
        let slot = &*self.slot;
        PeerRef {
            identity: &slot.identity,
            kind: slot.kind,
            user_id: &slot.user_id,
            is_remote: slot.is_remote(),
            user: self.user.as_deref(),
        }
    }
}

impl fmt::Debug for PeerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerHandle").field("identity", self.identity()).field("user", &self.user).finish_non_exhaustive()
    }
}

/// The answer to a call, when it comes. Dropping it gives up.
#[derive(Debug)]
pub struct PendingReply {
    callee: Identity,
    answer: oneshot::Receiver<Result<Value, RpcError>>,
}

impl Future for PendingReply {
    type Output = Result<Value, RpcError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.answer).poll(context) {
            Poll::Ready(Ok(result)) => Poll::Ready(result),
            Poll::Ready(Err(_)) => Poll::Ready(Err(RpcError::PeerGone(self.callee.clone()))),
            Poll::Pending => Poll::Pending,
        }
    }
}
