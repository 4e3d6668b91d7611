//! What a message from the other platform answers, and with what.

use bytes::Bytes;
use serde_json::Value;
use vt_backends::LinkError;
use vt_types::{Identity, RpcError};
use vt_vip::error::{self, Report};
use vt_vip::frames::subsystem;
use vt_vip::pubsub::{self, Operation};
use vt_vip::router::Welcome;
use vt_vip::rpc::{self, Decoded, Document};
use vt_vip::{Message, json, text};

/// An answer to something that was asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Name of the router's run.
    Welcome(String),
    /// How many got a publication.
    Count(u64),
    /// A ping came back.
    Pong,
    /// A method returned.
    Value(Value),
}

/// The id of what was asked, and how that ended; `None` for a message that answers nothing.
pub fn read(message: &Message) -> Option<(Bytes, Result<Answer, LinkError>)> {
    match &message.subsystem[..] {
        subsystem::HELLO => Welcome::decode(&message.args).map(|welcome| (message.id.clone(), Ok(Answer::Welcome(welcome.router)))),
        subsystem::PING => Some((message.id.clone(), Ok(Answer::Pong))),
        subsystem::PUBSUB => match pubsub::decode(&message.args) {
            Ok(Operation::RequestResponse { value }) => Some((message.id.clone(), Ok(Answer::Count(count(&value))))),
            _ => None,
        },
        subsystem::RPC => message.args.iter().find_map(|arg| response(arg)),
        subsystem::ERROR => Report::decode(&message.args).map(|report| (Report::failed_id(&message.id), Err(failure(report)))),
        _ => None,
    }
}

/// Calls are found by the id inside the document: VOLTTRON 9 changes those of messages that look like numbers.
fn response(arg: &[u8]) -> Option<(Bytes, Result<Answer, LinkError>)> {
    let Decoded::Single(Document::Response { id, result }) = rpc::decode(arg) else { return None };
    let id = Bytes::from(id.as_text()?.into_owned());
    let result = result.map(Answer::Value).map_err(|error| match error {
        RpcError::Refused(text) => LinkError::Refused(text),
        other => LinkError::Raised(other),
    });
    Some((id, result))
}

/// A count as JSON text, or as the four bytes that VOLTTRON 9 makes of an integer.
fn count(frame: &[u8]) -> u64 {
    match json::parse_lenient(frame) {
        Ok(Value::Number(number)) => number.as_u64().unwrap_or(0),
        Ok(Value::Bool(done)) => u64::from(done),
        _ => <[u8; 4]>::try_from(frame).map_or(0, |bytes| u32::from_le_bytes(bytes).into()),
    }
}

fn failure(report: Report) -> LinkError {
    let peer = Identity::parse(&text::decode(&report.peer)).ok();
    match (report.number, peer) {
        (error::EHOSTUNREACH, Some(peer)) => LinkError::NoPeer(peer),
        (error::EAGAIN, Some(peer)) => LinkError::Busy(peer),
        _ => LinkError::Refused(report.text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vt_vip::error::Failure;

    use super::*;

    fn asked(subsystem: &'static [u8]) -> Message {
        Message::new("b", "17.5", subsystem, vec![])
    }

    #[test]
    fn counts_of_all_versions_are_read() {
        for (frame, wanted) in [(&b"200"[..], 200), (b"\xc8\x00\x00\x00", 200), (b"0", 0), (b"true", 1), (b"odd", 0)] {
            let args = vec![Bytes::from("request_response"), Bytes::copy_from_slice(frame)];
            assert_eq!(read(&asked(b"pubsub").answer(args)), Some(("17.5".into(), Ok(Answer::Count(wanted)))), "{frame:?}");
        }
    }

    #[test]
    fn errors_are_told_by_type_and_find_a_quoted_id() {
        let b = Identity::parse("b").unwrap();
        for (failure, wanted) in [
            (Failure::NoRoute { peer: "b".into() }, LinkError::NoPeer(b.clone())),
            (Failure::Busy { peer: "b".into() }, LinkError::Busy(b)),
            (Failure::UnknownSubsystem, LinkError::Refused("Protocol not supported".to_owned())),
            (Failure::Refused("needs can_publish".to_owned()), LinkError::Refused("needs can_publish".to_owned())),
        ] {
            let message = error::message(&asked(b"RPC"), &failure);
            assert_eq!(read(&message), Some(("17.5".into(), Err(wanted))));
        }
    }

    #[test]
    fn calls_are_found_by_the_id_of_the_document() {
        let id = rpc::RawId::text("link.3");
        let answer = |result| asked(b"RPC").answer(vec![rpc::encode_response(&id, &result)]);
        assert_eq!(read(&answer(Ok(json!(1)))), Some(("link.3".into(), Ok(Answer::Value(json!(1))))));
        let raised = RpcError::value_error("no");
        assert_eq!(read(&answer(Err(raised.clone()))), Some(("link.3".into(), Err(LinkError::Raised(raised)))));
        let refused = RpcError::Refused("not you".to_owned());
        assert_eq!(read(&answer(Err(refused))), Some(("link.3".into(), Err(LinkError::Refused("not you".to_owned())))));
        assert_eq!(read(&asked(b"peerlist").answer(vec!["add".into(), "x".into()])), None);
    }
}
