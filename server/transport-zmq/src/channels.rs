//! Raw byte pipes between a service in this process and a connected peer (subsystem `channel`): `[peer, VIP1, user, id, channel, name, data ..]`
//! in both directions, with no greeting and no end. Source: vip-zmq.md §4.7, VOLTTRON `volttron/platform/vip/agent/subsystems/channel.py`.
//!
//! Bounds: what a peer sends into an open channel waits up to [`CHANNEL_MESSAGES_MAX`] messages and [`WAITING_BYTES_MAX`] bytes; further
//! messages are dropped. What belongs to no open channel is dropped unanswered, since the last message of a transfer may be on its way when
//! the service closes the channel. When the peer goes, whoever waits for it is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use vt_backends::channels::CHANNEL_MESSAGES_MAX;
use vt_backends::{Channel, ChannelError, Channels};
use vt_bus::{PeerHandle, RelayError};
use vt_types::{Envelope, Identity};
use vt_vip::Message;
use vt_vip::frames::subsystem;

/// Bytes that may wait in one channel. The largest piece that a service asks for at once is a quarter of it.
const WAITING_BYTES_MAX: usize = 4 << 20;

type Frames = Vec<Vec<u8>>;
type Key = (Identity, String);

/// The channels of an endpoint. Clones share them.
#[derive(Clone, Default)]
pub struct ZmqChannels {
    lines: Arc<Mutex<HashMap<Identity, Line>>>,
}

/// One connected peer.
struct Line {
    connection: u64,
    peer: PeerHandle,
    /// How the peer spells a service that it does not call by its name here: it knows its end of a channel by that.
    spelled: HashMap<Identity, Identity>,
    /// The sending ends of open channels, by service and name.
    open: HashMap<Key, Inlet>,
}

#[derive(Clone)]
struct Inlet {
    messages: mpsc::Sender<Frames>,
    waiting_bytes: Arc<AtomicUsize>,
}

struct ZmqChannel {
    lines: ZmqChannels,
    connection: u64,
    own: Identity,
    /// What the peer calls `own`.
    spelled: Identity,
    peer: PeerHandle,
    name: String,
    messages: mpsc::Receiver<Frames>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl ZmqChannels {
    /// `peer` is on the bus; a former connection of the same identity is forgotten.
    pub(crate) fn join(&self, connection: u64, peer: &PeerHandle) {
        let line = Line { connection, peer: peer.clone(), spelled: HashMap::new(), open: HashMap::new() };
        self.lines.lock().insert(peer.identity().clone(), line);
    }

    /// The peer of `connection` is off the bus; a later connection of the same identity is left alone.
    pub(crate) fn leave(&self, connection: u64, peer: &Identity) {
        let mut lines = self.lines.lock();
        if lines.get(peer).is_some_and(|line| line.connection == connection) {
            lines.remove(peer);
        }
    }

    /// `peer` has called the service `to` by the name `addressed`.
    pub(crate) fn called(&self, peer: &Identity, to: &Identity, addressed: &Bytes) {
        let mut lines = self.lines.lock();
        let Some(line) = lines.get_mut(peer) else { return };
        if addressed == to.as_str().as_bytes() {
            line.spelled.remove(to);
        } else if let Some(name) = std::str::from_utf8(addressed).ok().and_then(|text| Identity::parse(text).ok()) {
            line.spelled.insert(to.clone(), name);
        }
    }

    /// Takes what `peer` sends to the service `to`.
    pub(crate) fn take(&self, peer: &Identity, to: &Identity, message: &Message) {
        let Some((name, data)) = message.args.split_first() else { return };
        let Ok(name) = std::str::from_utf8(name) else { return };
        let key = (to.clone(), name.to_owned());
        let inlet = self.lines.lock().get(peer).and_then(|line| line.open.get(&key).cloned());
        let Some(inlet) = inlet else {
            tracing::debug!(%peer, %to, channel = name, "a message for no open channel was dropped");
            return;
        };
        let bytes = size(data);
        // Only the task of this peer's connection adds, so nothing can come in between.
        let is_full = inlet.waiting_bytes.load(Relaxed) + bytes > WAITING_BYTES_MAX;
        let permit = if is_full { None } else { inlet.messages.try_reserve().ok() };
        let Some(permit) = permit else {
            tracing::debug!(%peer, %to, channel = name, bytes, "a message for a full channel was dropped");
            return;
        };
        inlet.waiting_bytes.fetch_add(bytes, Relaxed);
        permit.send(data.iter().map(|frame| frame.to_vec()).collect());
    }
}

#[async_trait]
impl Channels for ZmqChannels {
    async fn open(&self, own: &Identity, peer: &Identity, name: &str) -> Result<Box<dyn Channel>, ChannelError> {
        let mut lines = self.lines.lock();
        let line = lines.get_mut(peer).ok_or_else(|| ChannelError::NoPeer(peer.clone()))?;
        let key = (own.clone(), name.to_owned());
        if line.open.contains_key(&key) {
            return Err(ChannelError::InUse { peer: peer.clone(), name: name.to_owned() });
        }
        let (inlet, messages) = mpsc::channel(CHANNEL_MESSAGES_MAX);
        let waiting_bytes = Arc::<AtomicUsize>::default();
        line.open.insert(key, Inlet { messages: inlet, waiting_bytes: Arc::clone(&waiting_bytes) });
        Ok(Box::new(ZmqChannel {
            lines: self.clone(),
            connection: line.connection,
            own: own.clone(),
            spelled: line.spelled.get(own).unwrap_or(own).clone(),
            peer: line.peer.clone(),
            name: name.to_owned(),
            messages,
            waiting_bytes,
        }))
    }
}

#[async_trait]
impl Channel for ZmqChannel {
    async fn send(&mut self, frames: Frames) -> Result<(), ChannelError> {
        let peer = self.peer.identity();
        let mut args = vec![Bytes::copy_from_slice(self.name.as_bytes())];
        args.extend(frames.into_iter().map(Bytes::from));
        let envelope = Envelope {
            from: Some(self.spelled.clone()),
            user_id: Arc::from(self.own.as_str()),
            message_id: Bytes::new(),
            subsystem: Bytes::from_static(subsystem::CHANNEL),
            args,
        };
        self.peer.relay(peer, envelope).map_err(|error| match error {
            RelayError::Full(_) => ChannelError::Full(peer.clone()),
            RelayError::Local(_) | RelayError::NotConnected(_) | RelayError::UnknownPeer(_) => ChannelError::Gone(peer.clone()),
        })
    }

    async fn receive(&mut self) -> Result<Frames, ChannelError> {
        let frames = self.messages.recv().await.ok_or_else(|| ChannelError::Gone(self.peer.identity().clone()))?;
        self.waiting_bytes.fetch_sub(frames.iter().map(Vec::len).sum(), Relaxed);
        Ok(frames)
    }
}

impl Drop for ZmqChannel {
    fn drop(&mut self) {
        let mut lines = self.lines.lines.lock();
        if let Some(line) = lines.get_mut(self.peer.identity()).filter(|line| line.connection == self.connection) {
            line.open.remove(&(self.own.clone(), self.name.clone()));
        }
    }
}

fn size(frames: &[Bytes]) -> usize {
    frames.iter().map(Bytes::len).sum()
}
