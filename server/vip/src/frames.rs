//! A VIP message as frames, the way a DEALER peer sends and receives it; the identity that a ROUTER socket puts in front is the
//! transport's business. Source: VOLTTRON `volttron/platform/vip/router.py` and `socket.py`.

use bytes::Bytes;

/// The second frame of every message.
pub const SIGNATURE: &[u8] = b"VIP1";
/// Most argument frames of a message; one with more is refused.
pub const ARGS_MAX: usize = 1024;
/// Frames before the arguments: peer, signature, user, id, subsystem.
const HEAD: usize = 5;

/// Names of the subsystems that the router and the platform's services know.
pub mod subsystem {
    /// Greets the router, or another peer.
    pub const HELLO: &[u8] = b"hello";
    /// Asks for an echo.
    pub const PING: &[u8] = b"ping";
    /// Who is connected.
    pub const PEERLIST: &[u8] = b"peerlist";
    /// Facts about the router.
    pub const QUERY: &[u8] = b"query";
    /// A peer is about to leave.
    pub const AGENTSTOP: &[u8] = b"agentstop";
    /// The control service shuts the platform down.
    pub const QUIT: &[u8] = b"quit";
    /// Publishing and subscribing.
    pub const PUBSUB: &[u8] = b"pubsub";
    /// Calls between peers.
    pub const RPC: &[u8] = b"RPC";
    /// What could not be delivered or done.
    pub const ERROR: &[u8] = b"error";
    /// Links between platforms.
    pub const ROUTING_TABLE: &[u8] = b"routing_table";
    /// Calls between platforms.
    pub const EXTERNAL_RPC: &[u8] = b"external_rpc";
    /// Raw byte pipes between peers.
    pub const CHANNEL: &[u8] = b"channel";
}

/// One message: `[peer, 'VIP1', user, id, subsystem, args...]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// To a router: the recipient. From a router: the sender. Empty means the router itself.
    pub peer: Bytes,
    /// From a router: the authenticated user of the sender. To a router: meaningless.
    pub user: Bytes,
    /// Chosen by the asker and copied into the answer; opaque, may be empty.
    pub id: Bytes,
    /// The protocol of the arguments; a name of [`subsystem`] or any other.
    pub subsystem: Bytes,
    /// Zero or more, opaque here.
    pub args: Vec<Bytes>,
}

/// Why frames are not a message. VOLTTRON's router drops all of these without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// One empty frame: how a ROUTER socket announces itself. The peer is there, nothing is asked.
    #[error("the message is the probe of a router socket")]
    Probe,
    /// Fewer than the five leading frames.
    #[error("a VIP message has at least {HEAD} frames, this one has {0}")]
    TooFew(usize),
    /// More than [`ARGS_MAX`] arguments.
    #[error("a VIP message may have at most {ARGS_MAX} arguments, this one has {0}")]
    TooMany(usize),
    /// The second frame is not `VIP1`.
    #[error("the message does not carry the signature VIP1")]
    Signature,
}

impl Message {
    /// A message without user; `peer` empty is the router.
    #[must_use]
    pub fn new(peer: impl Into<Bytes>, id: impl Into<Bytes>, subsystem: &'static [u8], args: Vec<Bytes>) -> Self {
        Self { peer: peer.into(), user: Bytes::new(), id: id.into(), subsystem: Bytes::from_static(subsystem), args }
    }

    /// Takes a message from its frames, without copying them.
    ///
    /// # Errors
    /// [`FrameError`] says what is not a message; such frames are not to be answered.
    pub fn decode(frames: Vec<Bytes>) -> Result<Self, FrameError> {
        let count = frames.len();
        if count > HEAD + ARGS_MAX {
            return Err(FrameError::TooMany(count - HEAD));
        }
        let mut frames = frames.into_iter();
        let mut next = || frames.next();
        match (next(), next(), next(), next(), next()) {
            (Some(peer), Some(signature), Some(user), Some(id), Some(subsystem)) => {
                if signature != SIGNATURE {
                    return Err(FrameError::Signature);
                }
                Ok(Self { peer, user, id, subsystem, args: frames.collect() })
            }
            (Some(only), None, ..) if only.is_empty() => Err(FrameError::Probe),
            _ => Err(FrameError::TooFew(count)),
        }
    }

    /// The frames in order, the signature included.
    #[must_use]
    pub fn into_frames(self) -> Vec<Bytes> {
        let mut frames = Vec::with_capacity(HEAD + self.args.len());
        frames.extend([self.peer, Bytes::from_static(SIGNATURE), self.user, self.id, self.subsystem]);
        frames.extend(self.args);
        frames
    }

    /// The router's answer: from the router, with the same id, subsystem and user.
    #[must_use]
    pub fn answer(&self, args: Vec<Bytes>) -> Self {
        Self { peer: Bytes::new(), user: self.user.clone(), id: self.id.clone(), subsystem: self.subsystem.clone(), args }
    }
}
