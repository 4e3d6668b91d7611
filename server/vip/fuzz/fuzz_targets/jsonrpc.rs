//! Any bytes are JSON-RPC documents or none; every one can be answered, in ASCII that parses; requests and results are read back.
//! How to run: see `frames.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use vt_vip::json;
use vt_vip::rpc::{self, Decoded, Document};

fuzz_target!(|input: &[u8]| {
    readers_agree(input);
    // Answers nest a level or two deeper than what they echo, and need not be readable at the limit.
    if input.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > json::DEPTH_MAX - 10 {
        return;
    }
    let documents = match rpc::decode(input) {
        Decoded::Single(document) => vec![document],
        Decoded::Batch(documents) => documents,
    };
    let answers: Vec<_> = documents.into_iter().filter_map(answer).collect();
    for answer in &answers {
        assert!(answer.is_ascii());
        json::parse_lenient(answer).expect("an answer that does not parse");
    }
    if let Some(batch) = rpc::encode_batch(&answers) {
        assert_eq!(json::elements(&json::asciify(&batch)).map(|found| found.len()), Ok(answers.len()));
    }
});

fn answer(document: Document) -> Option<bytes::Bytes> {
    match document {
        Document::Request { id, request } => {
            let written = rpc::encode_request(Some("x"), &request);
            match rpc::decode(&written) {
                Decoded::Single(Document::Request { request: again, .. }) => assert_eq!(again, request),
                other => panic!("a request was read back as {other:?}"),
            }
            id.map(|id| rpc::encode_response(&id, &Ok(Value::Array(request.params.args))))
        }
        Document::Response { id, result } => {
            let written = rpc::encode_response(&id, &result);
            match rpc::decode(&written) {
                Decoded::Single(Document::Response { result: again, .. }) if result.is_ok() => assert_eq!(again, result),
                Decoded::Single(Document::Response { result: Err(_), .. }) => (),
                other => panic!("a response was read back as {other:?}"),
            }
            Some(written)
        }
        Document::Invalid { id, error } => id.map(|id| rpc::encode_invalid(&id, &error)),
    }
}

/// All ways to read a text accept the same ones, and escaping does not change what a text says.
fn readers_agree(input: &[u8]) {
    let parsed = json::parse_lenient(input);
    let text = json::asciify(input);
    assert_eq!(json::parse_lenient(text.as_bytes()).ok(), parsed.clone().ok());
    match &parsed {
        Ok(Value::Object(object)) => {
            let members = json::members(&text).expect("an object without members");
            assert!(members.len() >= object.len());
            for (name, raw) in members {
                json::parse_lenient(raw.as_bytes()).expect("a member that does not parse");
                assert!(object.contains_key(&*name));
            }
        }
        Ok(Value::Array(array)) => assert_eq!(json::elements(&text).map(|found| found.len()), Ok(array.len())),
        _ => assert!(json::members(&text).is_err() && json::elements(&text).is_err()),
    }
    if let Ok(value) = parsed {
        assert_eq!(json::parse_lenient(json::to_ascii(&value).as_bytes()), Ok(value));
    }
}
