//! Subsystem `pubsub`: what peers ask the router, and what the router sends.
//!
//! Headers and message stay the JSON text that the publisher wrote: a delivery is spliced together from it, so that numbers and `NaN` arrive
//! as they were sent. Who may publish, who is subscribed and who gets what is not decided here.
//! Source: VOLTTRON `volttron/platform/vip/pubsubservice.py`, `volttron/platform/vip/agent/subsystems/pubsub.py`.

mod decode;
mod encode;

use std::fmt;

use bytes::Bytes;
use serde_json::Value;
use vt_types::topic::TopicError;
use vt_types::{Identity, IdentityError, Topic, TopicPrefix};

use crate::JsonError;

pub use decode::decode;
pub use encode::{
    deliver, delivery, external_list, external_publish, list, list_response, publish, request_response, subscribe, synchronize, unsubscribe,
};

/// Most prefixes in one message; one with more is refused.
pub const PREFIXES_MAX: usize = 10_000;

/// A message to the router's `pubsub` subsystem, or from it.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Adds subscriptions. Answer: true.
    Subscribe {
        /// What is wanted.
        prefixes: Vec<TopicPrefix>,
        /// On which bus; normally empty.
        bus: String,
        /// Whether from other platforms too.
        all_platforms: bool,
    },
    /// Removes subscriptions. Answer: true.
    Unsubscribe {
        /// Of those for this platform.
        internal: Option<Selection>,
        /// Of those for all platforms.
        all: Option<Selection>,
    },
    /// Publishes. Answer: how many got it.
    Publish(Publish),
    /// Asks for subscriptions. Answer: [`list_response`].
    List(List),
    /// Replaces all subscriptions of the peer. No answer.
    Synchronize {
        /// Bus and prefixes, for this platform.
        internal: Vec<(String, Vec<TopicPrefix>)>,
        /// Bus and prefixes, for all platforms.
        all: Vec<(String, Vec<TopicPrefix>)>,
    },
    /// Capabilities, from `platform.auth`. No answer.
    AuthUpdate(Value),
    /// Protected topics, from `platform.auth`. No answer.
    ProtectedUpdate(Value),
    /// What other platforms want to get. Answer: true.
    ExternalList {
        /// Platform and prefixes; replaces the former list of that platform.
        platforms: Vec<(String, Vec<TopicPrefix>)>,
    },
    /// A message from another platform. No answer.
    ExternalPublish {
        /// Who published there.
        sender: Identity,
        /// What.
        publish: Publish,
    },
    /// The answer to one of these. No answer.
    RequestResponse {
        /// As sent.
        value: Bytes,
    },
    /// Subscriptions, the answer to [`Operation::List`]. No answer.
    ListResponse {
        /// As sent.
        value: Bytes,
    },
    /// Another platform could not deliver. No answer.
    Error {
        /// As sent.
        args: Vec<Bytes>,
    },
    /// None of these; VOLTTRON's router says nothing.
    Unknown {
        /// The operation's name.
        operation: Bytes,
    },
}

/// Which subscriptions of one bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// On which bus; normally empty.
    pub bus: String,
    /// These; `None` for every one of the bus.
    pub prefixes: Option<Vec<TopicPrefix>>,
}

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Where.
    pub topic: Topic,
    /// The topic as it came, to be relayed.
    pub topic_frame: Bytes,
    /// On which bus; normally empty.
    pub bus: String,
    /// A JSON object in ASCII, checked.
    pub headers: Bytes,
    /// A JSON value in ASCII, checked; as the publisher wrote it.
    pub message: Bytes,
}

/// Which subscriptions are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Compared with the subscriptions' prefixes.
    pub prefix: TopicPrefix,
    /// On which bus; `None` for every one.
    pub bus: Option<String>,
    /// Only those of the asker.
    pub subscribed: bool,
    /// False: those that start with `prefix`. True: those that `prefix` starts with.
    pub reverse: bool,
    /// Among the subscriptions for all platforms.
    pub all_platforms: bool,
}

/// Why a message is no operation; [`PubsubError::answer`] says what the peer gets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{verb}: {fault}")]
pub struct PubsubError {
    /// Which operation was meant.
    pub verb: Verb,
    /// What is wrong.
    #[source]
    pub fault: Fault,
}

/// The names of the operations that can be misread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// There was no name.
    Missing,
    /// `subscribe`
    Subscribe,
    /// `unsubscribe`
    Unsubscribe,
    /// `publish`
    Publish,
    /// `list`
    List,
    /// `synchronize`
    Synchronize,
    /// `auth_update`
    AuthUpdate,
    /// `protected_update`
    ProtectedUpdate,
    /// `external_list`
    ExternalList,
    /// `external_publish`
    ExternalPublish,
}

impl Verb {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Publish => "publish",
            Self::List => "list",
            Self::Synchronize => "synchronize",
            Self::AuthUpdate => "auth_update",
            Self::ProtectedUpdate => "protected_update",
            Self::ExternalList => "external_list",
            Self::ExternalPublish => "external_publish",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Missing { "a pubsub message" } else { self.name() })
    }
}

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no such argument frame.
    #[error("an argument is missing")]
    NoArgument,
    /// An argument is not JSON.
    #[error(transparent)]
    Json(JsonError),
    /// An argument is JSON of another kind than an object.
    #[error("an argument is not a JSON object")]
    NotObject,
    /// The first argument of `synchronize` is not `connected`.
    #[error("only a peer that is connected can synchronize")]
    NotConnected,
    /// A member is absent or of another type.
    #[error("member {0:?} is missing or of the wrong type")]
    Member(&'static str),
    /// A topic or prefix is none.
    #[error(transparent)]
    Topic(TopicError),
    /// The sender is no identity.
    #[error(transparent)]
    Sender(IdentityError),
    /// More prefixes than [`PREFIXES_MAX`].
    #[error("more than {PREFIXES_MAX} prefixes")]
    TooMany,
}
