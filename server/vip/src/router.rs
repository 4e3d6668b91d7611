//! What peers ask of the router itself (empty recipient): hello, ping, peerlist, query, agentstop, quit, and the answers.
//! The answers are argument frames; [`Message::answer`] puts them into a message. Source: VOLTTRON `volttron/platform/vip/router.py`.

use bytes::Bytes;
use serde_json::Value;

use crate::frames::{Message, subsystem};
use crate::{json, text};

/// The version of VIP that the router greets with.
pub const VIP_VERSION: &str = "1.0";

/// A message to the router, by subsystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To be answered with [`welcome`].
    Hello,
    /// To be answered with [`pong`].
    Ping {
        /// To be echoed.
        data: Vec<Bytes>,
    },
    /// To be answered with [`listing`].
    ListPeers,
    /// A `peerlist` message that is none; to be answered with [`peerlist_error`].
    BadPeerlist(PeerlistError),
    /// To be answered with [`query_value`].
    Query {
        /// Which fact; none was named: the answer is null.
        key: Option<String>,
    },
    /// The peer leaves; no answer.
    AgentStop {
        /// Who leaves.
        identity: Bytes,
    },
    /// Shut the platform down; no answer. Only the control service may.
    Quit,
    /// For [`crate::pubsub`].
    Pubsub,
    /// For [`crate::routing_table`].
    RoutingTable,
    /// For [`crate::external_rpc`].
    ExternalRpc,
    /// Not to be answered: an error report, or a message that says nothing.
    Ignored,
    /// To be answered with [`crate::error::Failure::UnknownSubsystem`].
    Unknown,
}

/// What is wrong with a `peerlist` message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerlistError {
    /// No argument.
    #[error("missing operation")]
    Missing,
    /// Another operation than `list`.
    #[error("unknown operation")]
    Unknown,
}

impl Request {
    /// What a message whose recipient is the router asks for.
    #[must_use]
    pub fn decode(message: &Message) -> Self {
        let first = message.args.first();
        match &message.subsystem[..] {
            subsystem::HELLO => Self::Hello,
            subsystem::PING => Self::Ping { data: message.args.iter().skip(1).cloned().collect() },
            subsystem::PEERLIST => match first.map(|operation| &operation[..]) {
                Some(b"list") => Self::ListPeers,
                Some(_) => Self::BadPeerlist(PeerlistError::Unknown),
                None => Self::BadPeerlist(PeerlistError::Missing),
            },
            subsystem::QUERY => Self::Query { key: first.map(|key| text::decode(key).into_owned()) },
            subsystem::AGENTSTOP => match first {
                Some(identity) => Self::AgentStop { identity: identity.clone() },
                None => Self::Ignored,
            },
            subsystem::QUIT => Self::Quit,
            subsystem::PUBSUB => Self::Pubsub,
            subsystem::ROUTING_TABLE => Self::RoutingTable,
            subsystem::EXTERNAL_RPC => Self::ExternalRpc,
            subsystem::ERROR => Self::Ignored,
            _ => Self::Unknown,
        }
    }
}

/// A peer's greeting.
#[must_use]
pub fn hello(id: impl Into<Bytes>) -> Message {
    Message::new(Bytes::new(), id, subsystem::HELLO, vec![Bytes::from_static(b"hello")])
}

/// `welcome, 1.0, <router>, <peer>`.
#[must_use]
pub fn welcome(router: &str, peer: &Bytes) -> Vec<Bytes> {
    vec![Bytes::from_static(b"welcome"), Bytes::from_static(VIP_VERSION.as_bytes()), text::encode(router), peer.clone()]
}

/// What a router's welcome says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Normally [`VIP_VERSION`].
    pub version: String,
    /// The router's identity.
    pub router: String,
    /// The identity under which the router knows the greeter.
    pub peer: Bytes,
}

impl Welcome {
    /// Takes it from the arguments of a `hello` message; `None` when they are no welcome.
    #[must_use]
    pub fn decode(args: &[Bytes]) -> Option<Self> {
        match args {
            [word, version, router, peer, ..] if word == "welcome" => {
                Some(Self { version: text::decode(version).into_owned(), router: text::decode(router).into_owned(), peer: peer.clone() })
            }
            _ => None,
        }
    }
}

/// `pong` and the data of the ping.
#[must_use]
pub fn pong(data: Vec<Bytes>) -> Vec<Bytes> {
    let mut args = vec![Bytes::from_static(b"pong")];
    args.extend(data);
    args
}

/// `listing` and the identities.
#[must_use]
pub fn listing(peers: impl IntoIterator<Item = Bytes>) -> Vec<Bytes> {
    let mut args = vec![Bytes::from_static(b"listing")];
    args.extend(peers);
    args
}

/// `error` and the text; stays in subsystem `peerlist`.
#[must_use]
pub fn peerlist_error(error: PeerlistError) -> Vec<Bytes> {
    vec![Bytes::from_static(b"error"), Bytes::from(error.to_string())]
}

/// What the router says in subsystem `peerlist`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerlistAnswer {
    /// Who is connected, the asker included.
    Listing(Vec<Bytes>),
    /// A peer came.
    Added(Bytes),
    /// A peer left.
    Dropped(Bytes),
    /// The question was not understood.
    Error(String),
}

impl PeerlistAnswer {
    /// Takes it from the arguments of a `peerlist` message; `None` when it is no answer.
    #[must_use]
    pub fn decode(args: &[Bytes]) -> Option<Self> {
        let (word, rest) = args.split_first()?;
        match (&word[..], rest) {
            (b"listing", peers) => Some(Self::Listing(peers.to_vec())),
            (b"add", [peer, ..]) => Some(Self::Added(peer.clone())),
            (b"drop", [peer, ..]) => Some(Self::Dropped(peer.clone())),
            (b"error", [text, ..]) => Some(Self::Error(text::decode(text).into_owned())),
            _ => None,
        }
    }
}

/// Tells a peer that another one came: `['', 'VIP1', '', '', 'peerlist', 'add', peer]`.
#[must_use]
pub fn peer_added(peer: &Bytes) -> Message {
    Message::new(Bytes::new(), Bytes::new(), subsystem::PEERLIST, vec![Bytes::from_static(b"add"), peer.clone()])
}

/// Tells a peer that another one left: `['', 'VIP1', '', '', 'peerlist', 'drop', peer]`.
#[must_use]
pub fn peer_dropped(peer: &Bytes) -> Message {
    Message::new(Bytes::new(), Bytes::new(), subsystem::PEERLIST, vec![Bytes::from_static(b"drop"), peer.clone()])
}

/// An empty frame and the value as JSON, which all versions read.
#[must_use]
pub fn query_value(value: &Value) -> Vec<Bytes> {
    vec![Bytes::new(), Bytes::from(json::to_ascii(value))]
}

/// The value in the arguments of a router's answer to a query: JSON, or the bare text that VOLTTRON 9 sends; nothing is null.
#[must_use]
pub fn decode_query_value(args: &[Bytes]) -> Value {
    match args.get(1) {
        Some(value) if !value.is_empty() => json::parse_lenient(value).unwrap_or_else(|_| text::decode(value).into()),
        _ => Value::Null,
    }
}
