//! §2.1 and §2.2: layout, and what a router drops.

use bytes::Bytes;
use vt_vip::frames::{ARGS_MAX, subsystem};
use vt_vip::{FrameError, Message};

use crate::{bytes, message};

#[test]
fn hello_is_read_from_its_frames() {
    let hello = message(&["", "0x56495031", "", "0x636f6e6e6563742e68656c6c6f2e30", "0x68656c6c6f", "hello"]);
    assert_eq!(hello.peer, "");
    assert_eq!(hello.user, "");
    assert_eq!(hello.id, "connect.hello.0");
    assert_eq!(hello.subsystem, subsystem::HELLO);
    assert_eq!(hello.args, ["hello"]);
}

#[test]
fn arguments_pass_untouched() {
    let args = ["0x00ff", "true", "77", "1.5", "", "0xe9", "null"];
    let mut frames = vec!["bob", "VIP1", "who I claim to be", "1795478028.8787919824695", "RPC"];
    frames.extend(args);
    let read = Message::decode(bytes(&frames)).unwrap();
    assert_eq!(read.args, bytes(&args));
    assert_eq!(read.id, "1795478028.8787919824695");
    assert_eq!(read.into_frames(), bytes(&frames));
}

#[test]
fn an_argument_is_not_copied() {
    let large = Bytes::from(vec![0_u8; 1_000_000]);
    let mut frames = bytes(&["bob", "VIP1", "", "", "channel"]);
    frames.push(large.clone());
    let read = Message::decode(frames).unwrap();
    assert_eq!(read.args[0].as_ptr(), large.as_ptr());
}

#[test]
fn a_message_without_arguments_is_one() {
    assert_eq!(message(&["", "VIP1", "", "", "quit"]).args, Vec::<Bytes>::new());
}

#[test]
fn what_is_no_message_says_why() {
    let decode = |frames: &[&str]| Message::decode(bytes(frames));
    assert_eq!(decode(&[]), Err(FrameError::TooFew(0)));
    assert_eq!(decode(&[""]), Err(FrameError::Probe));
    assert_eq!(decode(&["x"]), Err(FrameError::TooFew(1)));
    assert_eq!(decode(&["", "VIP1", "", "id"]), Err(FrameError::TooFew(4)));
    assert_eq!(decode(&["", "VIP2", "", "id", "hello"]), Err(FrameError::Signature));
    assert_eq!(decode(&["", "VIP1\0", "", "id", "hello"]), Err(FrameError::Signature));
}

#[test]
fn arguments_are_bounded() {
    let mut frames = bytes(&["", "VIP1", "", "", "ping"]);
    frames.extend(std::iter::repeat_n(Bytes::new(), ARGS_MAX));
    assert_eq!(Message::decode(frames.clone()).unwrap().args.len(), ARGS_MAX);
    frames.push(Bytes::new());
    assert_eq!(Message::decode(frames), Err(FrameError::TooMany(ARGS_MAX + 1)));
}

#[test]
fn an_answer_keeps_user_id_and_subsystem() {
    let asked = message(&["", "VIP1", "alice", "id.1", "ping", "ping"]);
    let answer = asked.answer(bytes(&["pong"])).into_frames();
    assert_eq!(answer, bytes(&["", "VIP1", "alice", "id.1", "ping", "pong"]));
}
