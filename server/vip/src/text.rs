//! Topics and names between bytes and text.
//!
//! VOLTTRON 6 sends bytes, normally UTF-8; later versions take and send latin-1. A topic frame is therefore read as UTF-8 where it is
//! UTF-8 and as latin-1 else, and written so that those later versions read what was meant.

use std::borrow::Cow;

use bytes::Bytes;
use vt_types::topic::{Topic, TopicError, TopicPrefix};

/// Bytes as text: UTF-8 where they are UTF-8, else latin-1, in which every byte is a character.
#[must_use]
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().copied().map(char::from).collect()),
    }
}

/// Text as bytes: latin-1 when all its characters have one, UTF-8 otherwise. [`decode`] gives the text back: where latin-1 would read as
/// another text in UTF-8, UTF-8 is written.
#[must_use]
pub fn encode(text: &str) -> Bytes {
    if !text.is_ascii()
        && let Ok(latin) = text.chars().map(|character| u8::try_from(u32::from(character))).collect::<Result<Vec<u8>, _>>()
        && str::from_utf8(&latin).is_err()
    {
        return Bytes::from(latin);
    }
    Bytes::copy_from_slice(text.as_bytes())
}

/// The topic of a topic frame.
///
/// # Errors
/// [`TopicError`] names what is wrong.
pub fn topic(frame: &[u8]) -> Result<Topic, TopicError> {
    Topic::parse(&decode(frame))
}

/// The topic frame of a topic.
#[must_use]
pub fn topic_frame(topic: &Topic) -> Bytes {
    encode(topic.as_str())
}

/// A prefix that came as a frame; those inside JSON are texts already.
///
/// # Errors
/// [`TopicError`] names what is wrong.
pub fn prefix(frame: &[u8]) -> Result<TopicPrefix, TopicError> {
    TopicPrefix::parse(&decode(frame))
}
