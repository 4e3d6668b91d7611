//! Channels in memory: a test registers a peer and holds its far ends.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use async_trait::async_trait;
use parking_lot::Mutex;
use vt_types::Identity;

use crate::channels::{CHANNEL_MESSAGES_MAX, Channel, ChannelError, Channels};

type Frames = Vec<Vec<u8>>;

/// One direction of a channel.
#[derive(Default)]
struct Pipe {
    messages: VecDeque<Frames>,
    waiting: Option<Waker>,
    is_closed: bool,
}

impl Pipe {
    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

/// One end of a channel. Dropping it closes both directions.
pub struct MemoryChannel {
    peer: Identity,
    name: String,
    out: Arc<Mutex<Pipe>>,
    back: Arc<Mutex<Pipe>>,
    /// Where the channel is known as open, for the end that was opened.
    open: Option<MemoryChannels>,
}

#[derive(Default)]
struct Peers {
    /// Far ends that wait to be opened, by peer and name.
    waiting: BTreeMap<(Identity, String), MemoryChannel>,
    open: Vec<(Identity, String)>,
}

/// Channels to peers that a test plays. Clones share the peers.
#[derive(Clone, Default)]
pub struct MemoryChannels {
    peers: Arc<Mutex<Peers>>,
}

impl MemoryChannels {
    /// Lets `peer` take part in the channel `name`; the end it holds.
    #[must_use]
    pub fn peer(&self, peer: &Identity, name: &str) -> MemoryChannel {
        let (there, back) = (Arc::<Mutex<Pipe>>::default(), Arc::<Mutex<Pipe>>::default());
        let end = |out: &Arc<Mutex<Pipe>>, back: &Arc<Mutex<Pipe>>| MemoryChannel {
            peer: peer.clone(),
            name: name.to_owned(),
            out: Arc::clone(out),
            back: Arc::clone(back),
            open: None,
        };
        self.peers.lock().waiting.insert((peer.clone(), name.to_owned()), end(&there, &back));
        end(&back, &there)
    }
}

#[async_trait]
impl Channels for MemoryChannels {
    async fn open(&self, _own: &Identity, peer: &Identity, name: &str) -> Result<Box<dyn Channel>, ChannelError> {
        let key = (peer.clone(), name.to_owned());
        let mut peers = self.peers.lock();
        if peers.open.contains(&key) {
            return Err(ChannelError::InUse { peer: peer.clone(), name: name.to_owned() });
        }
        let mut channel = peers.waiting.remove(&key).ok_or_else(|| ChannelError::NoPeer(peer.clone()))?;
        peers.open.push(key);
        channel.open = Some(self.clone());
        Ok(Box::new(channel))
    }
}

#[async_trait]
impl Channel for MemoryChannel {
    async fn send(&mut self, frames: Frames) -> Result<(), ChannelError> {
        let mut pipe = self.out.lock();
        if pipe.is_closed {
            return Err(ChannelError::Gone(self.peer.clone()));
        }
        if pipe.messages.len() >= CHANNEL_MESSAGES_MAX {
            return Err(ChannelError::Full(self.peer.clone()));
        }
        pipe.messages.push_back(frames);
        pipe.wake();
        Ok(())
    }

    async fn receive(&mut self) -> Result<Frames, ChannelError> {
        poll_fn(|context| {
            let mut pipe = self.back.lock();
            match pipe.messages.pop_front() {
                Some(frames) => Poll::Ready(Ok(frames)),
                None if pipe.is_closed => Poll::Ready(Err(ChannelError::Gone(self.peer.clone()))),
                None => {
                    pipe.waiting = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for MemoryChannel {
    fn drop(&mut self) {
        for pipe in [&self.out, &self.back] {
            let mut pipe = pipe.lock();
            pipe.is_closed = true;
            pipe.wake();
        }
        if let Some(channels) = &self.open {
            channels.peers.lock().open.retain(|(peer, name)| (peer, name) != (&self.peer, &self.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_ends_hear_each_other_until_one_is_dropped() {
        let channels = MemoryChannels::default();
        let (control, vctl) = (Identity::known("control"), Identity::known("vctl"));
        assert_eq!(channels.open(&control, &vctl, "a").await.err(), Some(ChannelError::NoPeer(vctl.clone())));
        let mut far = channels.peer(&vctl, "a");
        let mut near = channels.open(&control, &vctl, "a").await.unwrap();
        assert!(matches!(channels.open(&control, &vctl, "a").await.err(), Some(ChannelError::InUse { .. })));
        let (sent, heard) = tokio::join!(near.send(vec![b"fetch".to_vec()]), far.receive());
        sent.unwrap();
        assert_eq!(heard.unwrap(), [b"fetch".to_vec()]);
        for _ in 0..CHANNEL_MESSAGES_MAX {
            far.send(vec![b"chunk".to_vec()]).await.unwrap();
        }
        assert_eq!(far.send(vec![]).await, Err(ChannelError::Full(vctl.clone())));
        drop(near);
        assert_eq!(far.send(vec![]).await, Err(ChannelError::Gone(vctl.clone())));
        let again = channels.peer(&vctl, "a");
        channels.open(&control, &vctl, "a").await.unwrap();
        drop(again);
    }
}
