//! Any frames are a message or none, and what a message asks can be answered. Frames are separated by 0xfe in the input; so the seeds can
//! be read.
//!
//! With `cargo install cargo-fuzz` and without a nightly compiler, from `server/vip`, ten minutes:
//!
//! ```sh
//! mkdir -p fuzz/corpus/frames
//! RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none frames fuzz/corpus/frames fuzz/seeds/frames -- -max_total_time=600
//! ```

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use vt_vip::error::{self, Failure, Report};
use vt_vip::router::{self, PeerlistAnswer, Request, Welcome};
use vt_vip::{Address, Message, external_rpc, json, routing_table, text};

fuzz_target!(|input: &[u8]| {
    let frames: Vec<Bytes> = input.split(|byte| *byte == 0xfe).map(Bytes::copy_from_slice).collect();
    if let Ok(text) = str::from_utf8(input) {
        read_text(text);
    }
    let Ok(message) = Message::decode(frames.clone()) else { return };
    assert_eq!(message.clone().into_frames(), frames);
    answer(&message);
    read_answers(&message.args);
});

fn answer(message: &Message) {
    let args = match Request::decode(message) {
        Request::Hello => router::welcome("router", &message.peer),
        Request::Ping { data } => router::pong(data),
        Request::ListPeers => router::listing([message.peer.clone()]),
        Request::BadPeerlist(error) => router::peerlist_error(error),
        Request::Query { key } => router::query_value(&key.into()),
        _ => Vec::new(),
    };
    assert_eq!(message.answer(args).id, message.id);
    for failure in [Failure::NoRoute { peer: message.peer.clone() }, Failure::UnknownSubsystem, Failure::Refused("no".to_owned())] {
        let told = error::message(message, &failure);
        let report = Report::decode(&told.args).expect("an error message that cannot be read");
        assert_eq!(report.subsystem, message.subsystem);
        // Of version 6 alone the ids are numbers, too large for seconds, and have to come back as such.
        let digits = told.id.iter().take_while(|byte| byte.is_ascii_digit()).count();
        assert!(!json::is_number(&told.id) || digits > 11, "clients would take the id for a number");
        assert!(told.id == message.id || Report::failed_id(&told.id) == message.id);
    }
}

fn read_answers(args: &[Bytes]) {
    drop(Report::decode(args));
    drop(PeerlistAnswer::decode(args));
    drop(Welcome::decode(args));
    drop(router::decode_query_value(args));
    drop(routing_table::decode(args));
    if let Ok((operation, letter)) = external_rpc::decode(args) {
        let again = external_rpc::decode(&external_rpc::encode(operation, &letter));
        assert_eq!(again, Ok((operation, letter)));
    }
    for arg in args {
        let text = text::decode(arg);
        assert_eq!(text::decode(&text::encode(&text)), text);
    }
}

fn read_text(text: &str) {
    if let Ok(address) = Address::parse(text) {
        let mut again = Address::parse(&address.to_string()).expect("an address that does not parse again");
        // Secrets are not written.
        again.secret_key.clone_from(&address.secret_key);
        again.password.clone_from(&address.password);
        assert_eq!(again, address);
    }
}
