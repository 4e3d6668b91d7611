//! One connected peer: what it sends goes to the bus or to the router's own answers, what the bus has for it goes out. The task of the
//! connection owns all of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use vt_backends::{ConnectAttempt, Verdict};
use vt_bus::{ConnectError, Delivery, PeerEvent, PeerHandle, PeerKind, RelayError, RemoteMailbox, RemotePeer};
use vt_types::identity::known;
use vt_types::{Envelope, Identity};
use vt_vip::frames::subsystem;
use vt_vip::{FrameError, Message, error as vip_error, router};

use crate::calls::{Calls, from_addressed};
use crate::endpoint::Shared;
use crate::handshake::Admitted;
use crate::pubsub;
use crate::wire::{Wire, WireError};

/// Deliveries encoded between two looks at the wire.
const DELIVERIES_AT_ONCE: usize = 256;

/// Why a session ended.
#[derive(Debug)]
pub enum Ended {
    Wire(WireError),
    Unadmitted,
    Stopped,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(error) => error.fmt(f),
            Self::Unadmitted => f.write_str("the peer may no longer connect"),
            Self::Stopped => f.write_str("the platform ends"),
        }
    }
}

impl From<WireError> for Ended {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// One connection's state.
pub struct Session {
    pub(crate) shared: Arc<Shared>,
    id: u64,
    pub(crate) attempt: ConnectAttempt,
    user_id: Arc<str>,
    /// On the bus: from the peer's first message until it says that it stops, or another connection takes over.
    pub(crate) peer: Option<PeerHandle>,
    mailbox: Option<RemoteMailbox>,
    events: Option<broadcast::Receiver<PeerEvent>>,
    pub(crate) calls: Calls,
    /// What goes out next, in order.
    pub(crate) out: Vec<Message>,
}

impl Session {
    pub fn new(shared: Arc<Shared>, id: u64, admitted: Admitted) -> Self {
        let Admitted { attempt, user_id } = admitted;
        let calls = Calls::new(&shared.config);
        Self { shared, id, attempt, user_id, peer: None, mailbox: None, events: None, calls, out: Vec::new() }
    }

    /// Serves the peer until it goes, loses its admission, or the platform ends.
    pub async fn run(mut self, mut wire: Wire) -> Ended {
        let ended = self.serve(&mut wire).await;
        self.leave();
        ended
    }

    async fn serve(&mut self, wire: &mut Wire) -> Ended {
        let stop = self.shared.stop.clone();
        let mut generation = self.shared.generation.clone();
        let mut deliveries = Vec::with_capacity(DELIVERIES_AT_ONCE);
        loop {
            // First, because a message may have come with the last bytes of the handshake.
            while let Some(frames) = wire.next() {
                self.take(frames);
            }
            self.shared.statistics.outgoing.fetch_add(self.out.len() as u64, Relaxed);
            for message in self.out.drain(..) {
                if let Err(error) = wire.send(message.into_frames()) {
                    return error.into();
                }
            }
            // A peer that does not read gets nothing encoded and is not read from: its messages wait in bounded queues, and in its own.
            let has_room = wire.backlog() < self.shared.config.backlog_bytes_max;
            tokio::select! {
                result = wire.step(has_room) => {
                    if let Err(error) = result {
                        return error.into();
                    }
                }
                count = receive(&mut self.mailbox, &mut deliveries), if has_room => {
                    if count == 0 {
                        // Another connection took over, or the bus was told to end this peer.
                        self.leave();
                    }
                    self.encode(&mut deliveries);
                }
                answer = self.calls.next(), if has_room => self.out.push(answer),
                event = next_event(&mut self.events), if has_room => self.tell(event),
                result = generation.changed() => {
                    if result.is_err() || !self.is_admitted() {
                        return Ended::Unadmitted;
                    }
                }
                () = stop.cancelled() => return Ended::Stopped,
            }
        }
    }

    fn is_admitted(&self) -> bool {
        matches!(self.shared.authenticator.judge(&self.attempt), Verdict::Admitted { .. })
    }

    /// Understands one message.
    fn take(&mut self, frames: Vec<Bytes>) {
        self.shared.statistics.incoming.fetch_add(1, Relaxed);
        let message = match Message::decode(frames) {
            Ok(message) => message,
            Err(FrameError::Probe) => {
                self.enter();
                return;
            }
            Err(error) => {
                self.shared.statistics.malformed.fetch_add(1, Relaxed);
                tracing::debug!(identity = %self.attempt.identity, %error, "a message was dropped");
                return;
            }
        };
        let Some(peer) = self.enter() else { return };
        if message.peer.is_empty() {
            self.answer(&peer, &message);
        } else {
            self.pass(&peer, message);
        }
    }

    /// Puts the peer on the bus if it is not there. None while another connection holds the identity with another key: this one is heard
    /// but not served, as in VOLTTRON.
    pub(crate) fn enter(&mut self) -> Option<PeerHandle> {
        if let Some(peer) = &self.peer {
            return Some(peer.clone());
        }
        let identity = self.attempt.identity.clone();
        let kind = kind(&self.attempt, &self.user_id, &self.shared.facts.instance_name);
        let remote =
            RemotePeer { identity: identity.clone(), kind, user_id: Arc::clone(&self.user_id), queue_max: self.shared.config.queue_max };
        // Before the peer is on the list, so that it misses nothing that comes after.
        let events = self.shared.bus.peer_events();
        let connected = match self.shared.bus.connect_remote(remote.clone()) {
            Err(ConnectError::InUse(_)) if self.shared.holders.is_same(&identity, &self.attempt.proof) => {
                self.shared.bus.disconnect(&identity);
                self.shared.bus.connect_remote(remote)
            }
            other => other,
        };
        match connected {
            Ok((peer, mailbox)) => {
                self.shared.holders.hold(&identity, self.id, self.attempt.proof);
                self.shared.channels.join(self.id, &peer);
                (self.peer, self.mailbox, self.events) = (Some(peer.clone()), Some(mailbox), Some(events));
                Some(peer)
            }
            Err(error) => {
                tracing::debug!(%identity, %error, "a peer is not served");
                None
            }
        }
    }

    /// Takes the peer off the bus; the connection stays.
    pub(crate) fn leave(&mut self) {
        (self.peer, self.mailbox, self.events) = (None, None, None);
        self.calls.abandon();
        self.shared.channels.leave(self.id, &self.attempt.identity);
        self.shared.holders.release(&self.attempt.identity, self.id);
    }

    /// Passes a message to another peer, or understands it for one that is in this process.
    fn pass(&mut self, peer: &PeerHandle, message: Message) {
        let Some(to) = std::str::from_utf8(&message.peer).ok().and_then(|text| Identity::parse(known::canonical(text)).ok()) else {
            self.fail(&message, &vip_error::Failure::NoRoute { peer: message.peer.clone() });
            return;
        };
        if message.subsystem == subsystem::RPC && peer.is_guarded(&to) && !self.calls.may_pass(peer, &to, &message, &mut self.out) {
            return;
        }
        let Message { peer: addressed, id, subsystem, args, .. } = message;
        let envelope =
            Envelope { from: Some(peer.identity().clone()), user_id: Arc::clone(&self.user_id), message_id: id, subsystem, args };
        let failed = |envelope: Envelope| Message { peer: addressed.clone(), ..message_of(envelope) };
        // The envelope is needed again only to name what failed; both are cheap to share.
        match peer.relay(&to, envelope.clone()) {
            Ok(()) => {}
            Err(RelayError::Local(envelope)) => self.for_local(peer, &to, failed(*envelope)),
            Err(RelayError::UnknownPeer(_)) => self.fail(&failed(envelope), &vip_error::Failure::NoRoute { peer: addressed.clone() }),
            Err(RelayError::Full(_)) => self.fail(&failed(envelope), &vip_error::Failure::Busy { peer: addressed.clone() }),
            Err(RelayError::NotConnected(_)) => {}
        }
    }

    /// What a peer in this process says to a message that came in frames.
    fn for_local(&mut self, peer: &PeerHandle, to: &Identity, message: Message) {
        match &message.subsystem[..] {
            subsystem::RPC => {
                self.shared.channels.called(peer.identity(), to, &message.peer);
                self.calls.take(peer, to, message, &mut self.out);
            }
            subsystem::CHANNEL => self.shared.channels.take(peer.identity(), to, &message),
            subsystem::PING => {
                let pong = router::pong(message.args.iter().skip(1).cloned().collect());
                self.out.push(from_addressed(&message, pong));
            }
            subsystem::HELLO => {
                let welcome = router::welcome(to.as_str(), &Bytes::copy_from_slice(peer.identity().as_str().as_bytes()));
                self.out.push(from_addressed(&message, welcome));
            }
            subsystem::ERROR => self.calls.take_error(to, &message),
            _ => {
                let mut answer = vip_error::message(&message, &vip_error::Failure::UnknownSubsystem);
                answer.peer = message.peer.clone();
                self.out.push(answer);
            }
        }
    }

    /// Tells the peer that something did not work. Errors are not answered with errors.
    pub(crate) fn fail(&mut self, message: &Message, failure: &vip_error::Failure) {
        self.shared.statistics.unroutable.fetch_add(1, Relaxed);
        if message.subsystem != subsystem::ERROR {
            self.out.push(vip_error::message(message, failure));
        }
    }

    /// Encodes what the bus has for the peer.
    pub(crate) fn encode(&mut self, deliveries: &mut Vec<Delivery>) {
        for delivery in deliveries.drain(..) {
            match delivery {
                Delivery::Publication(publication) => self.out.push(pubsub::delivery(&publication)),
                Delivery::Call(call) => {
                    if let Some(message) = self.calls.send(call) {
                        self.out.push(message);
                    }
                }
                Delivery::Envelope(envelope) => self.out.push(message_of(envelope)),
            }
        }
    }

    /// Encodes what waits already; before an answer that has to come after it.
    pub(crate) fn encode_waiting(&mut self) {
        let Some(mailbox) = &mut self.mailbox else { return };
        let mut deliveries = Vec::new();
        mailbox.receive_now(&mut deliveries, DELIVERIES_AT_ONCE);
        self.encode(&mut deliveries);
    }

    /// Tells the peer that another one came or went.
    fn tell(&mut self, event: Result<PeerEvent, RecvError>) {
        let frame = |identity: &Identity| Bytes::copy_from_slice(identity.as_str().as_bytes());
        let own = &self.attempt.identity;
        match event {
            Ok(PeerEvent::Connected(identity)) if identity != *own => self.out.push(router::peer_added(&frame(&identity))),
            Ok(PeerEvent::Disconnected(identity)) if identity != *own => self.out.push(router::peer_dropped(&frame(&identity))),
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => {
                // Who came is told again; who went is found out by calling them.
                tracing::debug!(identity = %own, missed, "a slow peer missed changes of the peer list");
                let peers = self.shared.bus.peers();
                self.out.extend(peers.iter().filter(|identity| *identity != own).map(|identity| router::peer_added(&frame(identity))));
            }
            Err(RecvError::Closed) => self.events = None,
        }
    }
}

fn message_of(envelope: Envelope) -> Message {
    let Envelope { from, user_id, message_id, subsystem, args } = envelope;
    Message {
        peer: from.map(|from| Bytes::copy_from_slice(from.as_str().as_bytes())).unwrap_or_default(),
        user: Bytes::copy_from_slice(user_id.as_bytes()),
        id: message_id,
        subsystem,
        args,
    }
}

/// What sort of peer this is: a tool by its user id, a link by the name that platforms give theirs.
fn kind(attempt: &ConnectAttempt, user_id: &str, instance_name: &str) -> PeerKind {
    if user_id == known::CONTROL_CONNECTION {
        return PeerKind::Tool;
    }
    let is_link = attempt.identity.as_str().strip_prefix("instance.").is_some_and(|rest| rest.starts_with(instance_name));
    if is_link { PeerKind::Link } else { PeerKind::Agent }
}

async fn receive(mailbox: &mut Option<RemoteMailbox>, into: &mut Vec<Delivery>) -> usize {
    match mailbox {
        Some(mailbox) => mailbox.receive(into, DELIVERIES_AT_ONCE).await,
        None => std::future::pending().await,
    }
}

async fn next_event(events: &mut Option<broadcast::Receiver<PeerEvent>>) -> Result<PeerEvent, RecvError> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}
