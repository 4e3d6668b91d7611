//! Subsystem `error`: what could not be delivered or done, `[errnum, text, recipient, subsystem]`.
//! Source: VOLTTRON `volttron/platform/vip/router.py`, `volttron/platform/vip/agent/errors.py`.

use bytes::Bytes;

use crate::frames::{Message, subsystem};
use crate::{json, text};

/// The recipient is not connected.
pub const EHOSTUNREACH: i64 = 113;
/// The recipient's queue is full.
pub const EAGAIN: i64 = 11;
/// The router has no such subsystem.
pub const EPROTONOSUPPORT: i64 = 93;
/// The sender lacks a capability.
pub const UNAUTHORIZED: i64 = -32001;
/// Digits before the point in an id that counts from the seconds since 1970, for the next thousand years.
const SECONDS_DIGITS_MAX: usize = 11;

/// Why a message was not delivered or not obeyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Nobody is connected under that identity (or no platform under that name).
    NoRoute {
        /// Who was wanted.
        peer: Bytes,
    },
    /// That peer does not take more messages at present.
    Busy {
        /// Who was wanted.
        peer: Bytes,
    },
    /// The router has no such subsystem, or does not obey this peer in it.
    UnknownSubsystem,
    /// The sender may not do that; the text says what it lacks.
    Refused(String),
}

/// The error message for the sender of `failed`.
///
/// Its id is the one of `failed`, in double quotes when version 7 or later made it and it is a number: these clients read every frame as
/// JSON where they can, and would look for a float in a table of texts and find nothing. Clients of version 6 look for the very bytes.
#[must_use]
pub fn message(failed: &Message, failure: &Failure) -> Message {
    let (number, text, peer) = match failure {
        Failure::NoRoute { peer } => (EHOSTUNREACH, Bytes::from_static(b"No route to host"), peer.clone()),
        Failure::Busy { peer } => (EAGAIN, Bytes::from_static(b"Resource temporarily unavailable"), peer.clone()),
        Failure::UnknownSubsystem => (EPROTONOSUPPORT, Bytes::from_static(b"Protocol not supported"), Bytes::new()),
        Failure::Refused(text) => (UNAUTHORIZED, text::encode(text), Bytes::new()),
    };
    let args = vec![Bytes::from(number.to_string()), text, peer, failed.subsystem.clone()];
    Message { user: failed.user.clone(), ..Message::new(Bytes::new(), quoted_id(&failed.id), subsystem::ERROR, args) }
}

fn quoted_id(id: &Bytes) -> Bytes {
    if json::is_number(id) && !made_by_version_6(id) { Bytes::from([b"\"", &id[..], b"\""].concat()) } else { id.clone() }
}

/// Version 6 counts its ids from a random number of 64 bits, later versions from the seconds since 1970.
fn made_by_version_6(id: &[u8]) -> bool {
    id.iter().take_while(|byte| byte.is_ascii_digit()).count() > SECONDS_DIGITS_MAX
}

/// An error as a peer reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// [`EHOSTUNREACH`], [`EAGAIN`], [`EPROTONOSUPPORT`], [`UNAUTHORIZED`] or any other.
    pub number: i64,
    /// One sentence.
    pub text: String,
    /// Who could not be reached; empty for the router itself.
    pub peer: Bytes,
    /// The subsystem of the failed message.
    pub subsystem: Bytes,
}

impl Report {
    /// Takes a report from the arguments of an `error` message. Agents leave the recipient out; the router does not.
    /// `None` when there are fewer than three arguments or the first is not a number.
    #[must_use]
    pub fn decode(args: &[Bytes]) -> Option<Self> {
        let (number, text, peer, subsystem) = match args {
            [number, text, subsystem] => (number, text, Bytes::new(), subsystem),
            [number, text, peer, subsystem, ..] => (number, text, peer.clone(), subsystem),
            _ => return None,
        };
        Some(Self { number: decode_number(number)?, text: text::decode(text).into_owned(), peer, subsystem: subsystem.clone() })
    }

    /// The id of the failed message: without the quotes that [`message`] adds.
    #[must_use]
    pub fn failed_id(id: &Bytes) -> Bytes {
        match id.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) {
            Some(inner) if json::is_number(inner) => id.slice_ref(inner),
            _ => id.clone(),
        }
    }
}

/// Decimal text, or the four bytes that VOLTTRON 9 makes of an integer.
fn decode_number(frame: &[u8]) -> Option<i64> {
    if let Ok(number) = str::from_utf8(frame).unwrap_or_default().parse() {
        return Some(number);
    }
    <[u8; 4]>::try_from(frame).ok().map(|bytes| u32::from_le_bytes(bytes).into())
}
