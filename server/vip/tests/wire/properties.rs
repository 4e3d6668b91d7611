//! What holds for any bytes: nothing panics, what is written is read back, what is spliced can be read.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value};
use vt_types::{Params, PublicKey, RemoteError, RpcError, RpcRequest, Topic};
use vt_vip::json::{asciify, elements, members, parse_lenient, to_ascii};
use vt_vip::pubsub::{self, Operation};
use vt_vip::rpc::{self, Decoded, Document, RawId};
use vt_vip::{Address, Message, error, external_rpc, router, routing_table, text};

fn any_bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

/// Numbers of which text and value are one and the same.
fn any_number() -> impl Strategy<Value = Value> {
    prop_oneof![any::<i64>().prop_map(Value::from), any::<u64>().prop_map(Value::from), (-1e300..1e300).prop_map(Value::from)]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::Bool), any_number(), any::<String>().prop_map(Value::String)];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![vec(inner.clone(), 0..5).prop_map(Value::Array), any_object(inner).prop_map(Value::Object)]
    })
}

fn any_object(member: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    vec((any::<String>(), member), 0..5).prop_map(|members| members.into_iter().collect())
}

/// Text that is nearly JSON: fragments of it in any order.
fn jumble() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        proptest::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            " ",
            "\n",
            "null",
            "true",
            "NaN",
            "-Infinity",
            "1",
            "-1.5e400",
            "0",
            "1e",
            "\\u",
            "\\ud83d",
            "\\ude00",
            "\"a\"",
            "\"bus\":\"\"",
            "\"headers\":{}",
            "\"message\":",
            "\"jsonrpc\":\"2.0\"",
            "\"id\":",
            "\"method\":",
            "\"params\":",
            "\"result\":",
            "\"error\":",
            "\"*args\":[]",
            "\"**kwargs\":{}",
            "\"prefix\":",
            "\"internal\":",
            "\u{e9}",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 0..3),
    ];
    vec(fragment, 0..16).prop_map(|fragments| fragments.concat())
}

/// For what only must not panic.
fn survives<T>(result: T) {
    drop(result);
}

fn single(bytes: &[u8]) -> Document {
    match rpc::decode(bytes) {
        Decoded::Single(document) => document,
        Decoded::Batch(documents) => panic!("{documents:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_are_read_back(peer in any_bytes(), user in any_bytes(), id in any_bytes(), name in any_bytes(), args in vec(any_bytes(), 0..6)) {
        let message = Message { peer, user, id, subsystem: name, args };
        prop_assert_eq!(Message::decode(message.clone().into_frames()), Ok(message));
    }

    #[test]
    fn any_frames_are_a_message_or_none(frames in vec(any_bytes(), 0..8), signed in any::<bool>()) {
        let mut frames = frames;
        if let Some(signature) = frames.get_mut(1).filter(|_| signed) {
            *signature = Bytes::from_static(b"VIP1");
        }
        if let Ok(message) = Message::decode(frames.clone()) {
            prop_assert_eq!(message.clone().into_frames(), frames);
            survives(router::Request::decode(&message));
            let told = error::message(&message, &error::Failure::NoRoute { peer: message.peer.clone() });
            prop_assert!(error::Report::decode(&told.args).is_some());
        }
    }

    #[test]
    fn values_are_written_in_ascii_and_read_back(value in any_value()) {
        let text = to_ascii(&value);
        prop_assert!(text.is_ascii());
        prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &value);
        prop_assert_eq!(parse_lenient(text.as_bytes()), Ok(value.clone()));
        let utf_8 = value.to_string();
        prop_assert_eq!(serde_json::from_str::<Value>(&asciify(utf_8.as_bytes())).unwrap(), value);
    }

    #[test]
    fn members_are_those_that_serde_json_sees(object in any_object(any_value()), pretty in any::<bool>()) {
        let value = Value::Object(object.clone());
        let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        let found = members(&text).unwrap();
        let found: Vec<(String, Value)> = found.into_iter().map(|(name, raw)| (name.into_owned(), serde_json::from_str(raw).unwrap())).collect();
        prop_assert_eq!(found, object.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn elements_are_those_that_serde_json_sees(array in vec(any_value(), 0..5)) {
        let text = Value::Array(array.clone()).to_string();
        let found: Vec<Value> = elements(&text).unwrap().into_iter().map(|raw| serde_json::from_str(raw).unwrap()).collect();
        prop_assert_eq!(found, array);
    }

    #[test]
    fn taking_apart_and_parsing_accept_the_same_texts(text in jumble()) {
        let text = [b"{", &text[..], b"}"].concat();
        let parsed = parse_lenient(&text);
        let text = asciify(&text);
        prop_assert_eq!(members(&text).is_ok(), parsed.is_ok(), "{:?}", parsed);
        prop_assert!(serde_json::from_str::<Value>(&text).is_err() || parsed.is_ok());
        if let Ok(found) = members(&text) {
            for (_, raw) in found {
                prop_assert!(parse_lenient(raw.as_bytes()).is_ok());
            }
        }
        let array = format!("[{text}]");
        prop_assert_eq!(elements(&array).is_ok(), parse_lenient(array.as_bytes()).is_ok());
    }

    #[test]
    fn escaping_changes_how_a_text_is_written_and_not_what_it_says(text in jumble()) {
        let escaped = asciify(&text).into_owned();
        prop_assert!(escaped.is_ascii());
        let (before, after) = (parse_lenient(&text), parse_lenient(escaped.as_bytes()));
        prop_assert_eq!(after.is_ok(), before.is_ok());
        prop_assert_eq!(after.ok(), before.ok());
    }

    #[test]
    fn texts_are_read_back(text in any::<String>(), narrow in vec(0_u8..=255, 0..8)) {
        prop_assert_eq!(text::decode(&text::encode(&text)).into_owned(), text);
        let narrow: String = narrow.into_iter().map(char::from).collect();
        prop_assert_eq!(text::decode(&text::encode(&narrow)).into_owned(), narrow);
    }

    #[test]
    fn requests_are_read_back(
        method in any::<String>(), args in vec(any_value(), 0..4), kwargs in any_object(any_value()), id in proptest::option::of(any::<String>()),
        odd in any::<bool>(),
    ) {
        let mut kwargs = kwargs;
        if odd {
            kwargs.insert("*args".to_owned(), Value::Array(Vec::new()));
            kwargs.insert("**kwargs".to_owned(), Value::Object(Map::new()));
        }
        let request = RpcRequest::new(method, Params { args, kwargs });
        let bytes = rpc::encode_request(id.as_deref(), &request);
        prop_assert!(bytes.is_ascii());
        match single(&bytes) {
            Document::Request { id: read_id, request: read } => {
                prop_assert_eq!(read, request);
                prop_assert_eq!(read_id.map(|id| id.as_text().unwrap().into_owned()), id);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn results_are_read_back(id in any::<String>(), value in any_value()) {
        let bytes = rpc::encode_response(&RawId::text(&id), &Ok(value.clone()));
        prop_assert!(bytes.is_ascii());
        prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
        prop_assert_eq!(single(&bytes), Document::Response { id: RawId::text(&id), result: Ok(value) });
    }

    #[test]
    fn failures_are_read_back(text in any::<String>(), exc_type in "[a-z]{1,9}\\.[A-Z][a-z]{0,9}", exc_args in vec(any_value(), 0..4)) {
        let raised = RpcError::Remote(RemoteError { exc_type, message: text.clone(), exc_args });
        for failure in [raised, RpcError::Refused(text.clone()), RpcError::MethodNotFound(text)] {
            let bytes = rpc::encode_response(&RawId::text("1"), &Err(failure.clone()));
            prop_assert!(bytes.is_ascii());
            prop_assert_eq!(single(&bytes), Document::Response { id: RawId::text("1"), result: Err(failure) });
        }
    }

    #[test]
    fn any_document_can_be_answered(text in jumble()) {
        let documents = match rpc::decode(&text) {
            Decoded::Single(document) => vec![document],
            Decoded::Batch(documents) => documents,
        };
        let mut answers = Vec::new();
        for document in documents {
            match document {
                Document::Request { id, .. } => answers.extend(id.map(|id| rpc::encode_response(&id, &Ok(Value::Null)))),
                Document::Response { id, .. } => answers.push(rpc::encode_response(&id, &Ok(Value::Null))),
                Document::Invalid { id, error } => answers.extend(id.map(|id| rpc::encode_invalid(&id, &error))),
            }
        }
        for answer in &answers {
            prop_assert!(answer.is_ascii() && parse_lenient(answer).is_ok(), "{:?}", answer);
        }
        if let Some(batch) = rpc::encode_batch(&answers) {
            prop_assert!(parse_lenient(&batch).is_ok());
        }
    }

    #[test]
    fn a_spliced_delivery_always_parses(topic in "[a-z/\u{e9}\u{20ac}]{1,9}", document in jumble(), headers in jumble(), sender in any::<String>()) {
        let open = [b"{\"bus\":\"\",\"headers\":{", &headers[..], b"},\"message\":", &document[..], b"}"].concat();
        let loose = [b"{", &document[..], b"}"].concat();
        for document in [open, loose] {
            let args = [Bytes::from_static(b"publish"), text::encode(&topic), Bytes::from(document.clone())];
            let Ok(Operation::Publish(publish)) = pubsub::decode(&args) else { continue };
            let delivery = pubsub::delivery(&publish.topic_frame, &sender, &publish.bus, &publish.headers, &publish.message);
            prop_assert!(delivery[2].is_ascii());
            let delivered = parse_lenient(&delivery[2]).unwrap();
            let published = parse_lenient(&document).unwrap();
            prop_assert_eq!(&delivered["message"], &published["message"]);
            prop_assert_eq!(&delivered["headers"], &published["headers"]);
            prop_assert_eq!(delivered["sender"].as_str(), Some(sender.as_str()));
            prop_assert_eq!(delivered.as_object().unwrap().len(), 4);
        }
    }

    #[test]
    fn a_delivery_of_values_says_what_was_published(topic in "[ -~]{1,30}", sender in any::<String>(), headers in any_object(any_value()), message in any_value()) {
        let topic = Topic::parse(&topic).unwrap();
        let headers = Value::Object(headers);
        let args = pubsub::deliver(&topic, &sender, "", &headers, &message);
        prop_assert_eq!(text::topic(&args[1]).unwrap(), topic);
        let document: Value = serde_json::from_slice(&args[2]).unwrap();
        prop_assert_eq!(&document["headers"], &headers);
        prop_assert_eq!(&document["message"], &message);
        prop_assert_eq!(document["sender"].as_str().unwrap(), &sender);
    }

    #[test]
    fn any_arguments_are_an_operation_or_none(first in any_bytes(), rest in vec(jumble(), 0..4), known in 0_usize..18) {
        let names = [
            "subscribe", "unsubscribe", "publish", "list", "synchronize", "auth_update", "protected_update", "external_list", "external_publish",
            "error", "request_response", "send_platform", "send_peer", "hello", "web-addresses", "normalmode_platform_connection", "connected",
        ];
        let mut args = vec![names.get(known).map_or(first, |name| Bytes::from_static(name.as_bytes()))];
        if known == 4 {
            args.push(Bytes::from_static(b"connected"));
        }
        args.extend(rest.into_iter().map(Bytes::from));
        if let Err(error) = pubsub::decode(&args) {
            survives(error.answer());
        }
        if let Ok((operation, letter)) = external_rpc::decode(&args) {
            prop_assert_eq!(external_rpc::decode(&external_rpc::encode(operation, &letter)), Ok((operation, letter)));
        }
        survives(routing_table::decode(&args));
        survives(error::Report::decode(&args));
        survives(router::PeerlistAnswer::decode(&args));
        survives(router::Welcome::decode(&args));
        survives(router::decode_query_value(&args));
    }

    #[test]
    fn keys_survive_all_forms(bytes in any::<[u8; 32]>()) {
        let key = PublicKey::new(bytes);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for form in [key.to_string(), format!("{key}="), hex(&bytes)] {
            prop_assert_eq!(PublicKey::parse(&form), Ok(key));
        }
    }

    #[test]
    fn any_text_is_a_key_or_none(text in ".{0,90}", fitting in "[!-~]{40}|[0-9A-Za-z_-]{43}|[0-9A-Za-z_-]{54}|[0-9a-f]{64}|[2-7][0-9a-f]{79}") {
        survives(PublicKey::parse(&text));
        if let Ok(key) = PublicKey::parse(&fitting) {
            prop_assert_eq!(PublicKey::parse(&key.to_string()), Ok(key));
        }
    }

    #[test]
    fn addresses_are_read_back(text in "(tcp|ipc|inproc)://[@a-z.]{0,8}(:[0-9]{1,6})?(/[a-z]{0,4})?([?&](server|domain|ipv6|username|x)=[%+a-zA-Z0-9&=]{0,9}){0,3}(#[a-z.]{0,5})?", any in ".{0,60}") {
        survives(Address::parse(&any));
        if let Ok(address) = Address::parse(&text) {
            prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
        }
    }
}
