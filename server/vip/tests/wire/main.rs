//! The crate from outside: the frames and documents that VOLTTRON's versions 6, 9 and 11 were seen to send and to understand, and
//! properties that hold for any bytes.

#![cfg(test)]

mod addresses;
mod errors;
mod frames;
mod json;
mod platforms;
mod properties;
mod pubsub;
mod router;
mod rpc;
mod text;

use bytes::Bytes;
use vt_vip::Message;

/// Frames from texts; `0x` starts one in hexadecimal.
fn bytes(texts: &[&str]) -> Vec<Bytes> {
    texts.iter().map(|text| frame(text)).collect()
}

fn frame(text: &str) -> Bytes {
    match text.strip_prefix("0x") {
        Some(hex) => (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect::<Vec<u8>>().into(),
        None => Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// A message as a peer reads it: frames as texts, latin-1 as Python decodes them.
fn seen(message: Message) -> Vec<String> {
    message.into_frames().iter().map(|frame| frame.iter().copied().map(char::from).collect()).collect()
}

fn message(frames: &[&str]) -> Message {
    Message::decode(bytes(frames)).unwrap()
}
