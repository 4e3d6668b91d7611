//! Any arguments are a pubsub operation or none; what is published can be delivered, and the delivery says the same.
//! Arguments are separated by 0xfe in the input. How to run: see `frames.rs`.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use vt_vip::json;
use vt_vip::pubsub::{self, Operation};

fuzz_target!(|input: &[u8]| {
    let args: Vec<Bytes> = input.split(|byte| *byte == 0xfe).map(Bytes::copy_from_slice).collect();
    match pubsub::decode(&args) {
        Ok(Operation::Publish(publish)) => {
            let delivery = pubsub::delivery(&publish.topic_frame, "sender", &publish.bus, &publish.headers, &publish.message);
            says_the_same(&args[2], &delivery[2]);
        }
        Ok(Operation::ExternalPublish { sender, publish }) => {
            let args = pubsub::external_publish(&publish.topic_frame, sender.as_str(), &publish.bus, &publish.headers, &publish.message);
            match pubsub::decode(&args) {
                Ok(Operation::ExternalPublish { sender: again, publish: same }) => assert_eq!((again, same), (sender, publish)),
                other => panic!("read back as {other:?}"),
            }
        }
        Ok(Operation::Subscribe { prefixes, bus, all_platforms }) => {
            let again = pubsub::decode(&pubsub::subscribe(&prefixes, &bus, all_platforms));
            assert_eq!(again, Ok(Operation::Subscribe { prefixes, bus, all_platforms }));
        }
        Ok(Operation::Unsubscribe { internal, all }) => {
            let again = pubsub::decode(&pubsub::unsubscribe(internal.as_ref(), all.as_ref()));
            assert_eq!(again, Ok(Operation::Unsubscribe { internal, all }));
        }
        Ok(Operation::Synchronize { internal, all }) => {
            let again = pubsub::decode(&pubsub::synchronize(&internal, &all));
            assert_eq!(again, Ok(Operation::Synchronize { internal, all }));
        }
        Ok(Operation::List(list)) => assert_eq!(pubsub::decode(&pubsub::list(&list)), Ok(Operation::List(list))),
        Ok(_) => (),
        Err(error) => drop(error.answer()),
    }
});

fn says_the_same(published: &[u8], delivered: &[u8]) {
    assert!(delivered.is_ascii());
    let published = json::parse_lenient(published).expect("a publication that does not parse");
    let delivered = json::parse_lenient(delivered).expect("a delivery that does not parse");
    assert_eq!(delivered["message"], published["message"]);
    assert_eq!(delivered["bus"], published["bus"]);
    assert_eq!(delivered["sender"], "sender");
    assert!(delivered["headers"] == published["headers"] || published["headers"].is_null());
    assert_eq!(delivered.as_object().map(|members| members.len()), Some(4));
}
