//! §4: calls, results and errors as VOLTTRON's versions write them.

use bytes::Bytes;
use serde_json::{Value, json};
use vt_types::{Identity, Params, RemoteError, RpcError, RpcRequest};
use vt_vip::rpc::{self, BATCH_MAX, Decoded, Document, DocumentError, RawId};

fn single(text: &str) -> Document {
    match rpc::decode(text.as_bytes()) {
        Decoded::Single(document) => document,
        Decoded::Batch(documents) => panic!("{documents:?}"),
    }
}

fn request(text: &str) -> (Option<RawId>, RpcRequest) {
    match single(text) {
        Document::Request { id, request } => (id, request),
        other => panic!("{other:?}"),
    }
}

fn response(text: &str) -> (RawId, Result<Value, RpcError>) {
    match single(text) {
        Document::Response { id, result } => (id, result),
        other => panic!("{other:?}"),
    }
}

fn invalid(text: &str) -> (Option<RawId>, DocumentError) {
    match single(text) {
        Document::Invalid { id, error } => (id, error),
        other => panic!("{other:?}"),
    }
}

fn params(text: &str) -> Params {
    request(&format!(r#"{{"jsonrpc": "2.0", "method": "m", "params": {text}, "id": "1"}}"#)).1.params
}

fn object(value: Value) -> serde_json::Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("{other}"),
    }
}

fn json_of(bytes: &Bytes) -> Value {
    assert!(bytes.is_ascii());
    serde_json::from_slice(bytes).unwrap()
}

fn told(result: &Result<Value, RpcError>) -> Value {
    json_of(&rpc::encode_response(&RawId::text("1"), result))
}

#[test]
fn a_request_of_version_9_is_read() {
    let text = r#"{"jsonrpc": "2.0", "method": "set_config", "params": ["a", "c", "{\"a\": 1}", "json"], "id": "1795478024.000000.8787919824695.000000"}"#;
    let (id, read) = request(text);
    assert_eq!(id, Some(RawId::text("1795478024.000000.8787919824695.000000")));
    assert_eq!(read, RpcRequest::new("set_config", Params::positional(vec![json!("a"), json!("c"), json!("{\"a\": 1}"), json!("json")])));
}

#[test]
fn arguments_come_in_four_ways() {
    let (_, none) = request(r#"{"jsonrpc":"2.0","method":"m","id":"1"}"#);
    assert_eq!(none.params, Params::none());
    for empty in ["null", "[]", "{}"] {
        assert_eq!(params(empty), Params::none(), "{empty}");
    }
    assert_eq!(params("[1, NaN]"), Params::positional(vec![json!(1), Value::Null]));
    assert_eq!(params(r#"{"a": 1}"#), Params::keyword(object(json!({"a": 1}))));
    let both = Params { args: vec![json!(1)], kwargs: object(json!({"a": 2})) };
    assert_eq!(params(r#"{"*args": [1], "**kwargs": {"a": 2}}"#), both);
    assert_eq!(params(r#"{"*args": [1]}"#), Params::keyword(object(json!({"*args": [1]}))));
    assert_eq!(params(r#"{"*args": 1, "**kwargs": {}}"#), Params::keyword(object(json!({"*args": 1, "**kwargs": {}}))));
}

#[test]
fn arguments_are_written_in_the_way_they_need() {
    let written = |params: Params| String::from_utf8(rpc::encode_request(Some("x.1"), &RpcRequest::new("m", params)).to_vec()).unwrap();
    assert_eq!(written(Params::none()), r#"{"jsonrpc":"2.0","method":"m","id":"x.1"}"#);
    assert_eq!(
        written(Params::positional(vec![json!(1), json!("\u{e9}")])),
        r#"{"jsonrpc":"2.0","method":"m","params":[1,"\u00e9"],"id":"x.1"}"#
    );
    assert_eq!(written(Params::keyword(object(json!({"a": null})))), r#"{"jsonrpc":"2.0","method":"m","params":{"a":null},"id":"x.1"}"#);
    let both = Params { args: vec![json!(1)], kwargs: object(json!({"a": 2})) };
    assert_eq!(written(both), r#"{"jsonrpc":"2.0","method":"m","params":{"*args":[1],"**kwargs":{"a":2}},"id":"x.1"}"#);
    let odd = Params::keyword(object(json!({"*args": [], "**kwargs": {}})));
    assert_eq!(params(&json!({"*args": [], "**kwargs": {"*args": [], "**kwargs": {}}}).to_string()), odd);
    assert_eq!(request(&written(odd.clone())).1.params, odd);
}

#[test]
fn a_notification_has_no_id() {
    for id in ["", r#","id":null"#, r#","id":NaN"#] {
        assert_eq!(request(&format!(r#"{{"jsonrpc":"2.0","method":"m"{id}}}"#)).0, None, "{id}");
    }
    let written = rpc::encode_request(None, &RpcRequest::new("m", Params::none()));
    assert_eq!(written, r#"{"jsonrpc":"2.0","method":"m"}"#);
}

#[test]
fn an_id_is_echoed_as_it_came() {
    for id in [r#""1795478028.8787919824695""#, "17", "1.50", "-0", r#"{"a": [1]}"#, r#""\u00e9""#, "123456789012345678901234567890"] {
        let (read, _) = request(&format!(r#"{{"jsonrpc":"2.0","method":"m","id": {id} }}"#));
        let answer = rpc::encode_response(&read.unwrap(), &Ok(json!(null)));
        assert_eq!(answer, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":null}}"#));
    }
    let (read, _) = request("{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"id\":\"\u{e9}\"}");
    assert_eq!(read.as_ref().unwrap().as_json(), r#""\u00e9""#);
    assert_eq!(read.unwrap().as_text().unwrap(), "\u{e9}");
    let (read, _) = request(r#"{"jsonrpc":"2.0","method":"m","id":[NaN]}"#);
    assert_eq!(read.unwrap().as_json(), "[null]");
}

#[test]
fn an_id_is_compared_as_a_text() {
    assert_eq!(RawId::text("a\"b").as_text().unwrap(), "a\"b");
    assert_eq!(response(r#"{"jsonrpc":"2.0","id":"\u0061.1","result":1}"#).0.as_text().unwrap(), "a.1");
    assert_eq!(response(r#"{"jsonrpc":"2.0","id":17,"result":1}"#).0.as_text(), None);
    assert!(response(r#"{"jsonrpc":"2.0","result":1}"#).0.is_null());
}

#[test]
fn a_result_is_read_and_written() {
    let (id, result) = response(r#"{"jsonrpc": "2.0", "id": "1", "result": {"v": [NaN, 1.5]}}"#);
    assert_eq!((id.as_text().unwrap().as_ref(), result), ("1", Ok(json!({"v": [null, 1.5]}))));
    assert_eq!(response(r#"{"jsonrpc":"2.0","id":"1","result":null}"#).1, Ok(Value::Null));
    assert_eq!(response(r#"{"jsonrpc":"2.0","id":"1","error":null,"result":5}"#).1, Ok(json!(5)));
    let written = rpc::encode_response(&RawId::text("1"), &Ok(json!({"t": "21 \u{b0}C", "n": f64::INFINITY})));
    assert_eq!(written, r#"{"jsonrpc":"2.0","id":"1","result":{"t":"21 \u00b0C","n":null}}"#);
}

#[test]
fn an_exception_carries_what_python_needs() {
    let raised = RpcError::key_error(r#"No configuration file "x" for VIP IDENTIY a"#);
    let text = r#"No configuration file "x" for VIP IDENTIY a"#;
    assert_eq!(
        told(&Err(raised.clone())),
        json!({"jsonrpc": "2.0", "id": "1", "error": {"code": -32000, "message": "unhandled exception",
            "data": {"detail": text, "exception.py": {"exc_type": "builtins.KeyError", "exc_args": [text]}}}})
    );
    assert_eq!(response(&told(&Err(raised.clone())).to_string()).1, Err(raised));
}

#[test]
fn a_refusal_is_an_exception_with_the_code_inside() {
    let refused = RpcError::Refused("user a lacks can_write".to_owned());
    let error = &told(&Err(refused.clone()))["error"];
    assert_eq!(error["code"], -32000);
    assert_eq!(
        error["data"]["exception.py"],
        json!({"exc_type": "volttron.platform.jsonrpc.Error", "exc_args": [-32001, "user a lacks can_write"]})
    );
    assert_eq!(error["data"]["detail"], "user a lacks can_write");
    assert_eq!(response(&told(&Err(refused.clone())).to_string()).1, Err(refused.clone()));
    for refusal in [
        r#"{"code":-32001,"message":"user a lacks can_write"}"#,
        r#"{"code":-32000,"message":"unhandled exception","data":{"detail":"x","exception.py":
            {"exc_type":"volttron.client.vip.agent.jsonrpc.Error","exc_args":[-32001,"user a lacks can_write"]}}}"#,
    ] {
        assert_eq!(response(&format!(r#"{{"jsonrpc":"2.0","id":"1","error":{refusal}}}"#)).1, Err(refused.clone()));
    }
}

#[test]
fn an_unknown_method_has_its_own_code() {
    let unknown = RpcError::MethodNotFound("fly".to_owned());
    assert_eq!(
        told(&Err(unknown.clone()))["error"],
        json!({"code": -32601, "message": "unimplemented method", "data": {"detail": "method 'fly' is not implemented"}})
    );
    assert_eq!(response(&told(&Err(unknown.clone())).to_string()).1, Err(unknown));
    let bare = r#"{"jsonrpc":"2.0","id":"1","error":{"code":-32601,"message":"unimplemented method"}}"#;
    assert_eq!(response(bare).1, Err(RpcError::MethodNotFound("unimplemented method".to_owned())));
}

#[test]
fn every_other_failure_is_an_exception_that_python_can_raise() {
    let peer = Identity::parse("platform.driver").unwrap();
    let timeout = RpcError::Timeout { peer: peer.clone(), method: "get_point".to_owned(), timeout_ms: 1_000 };
    for (failure, exc_type) in [
        (RpcError::InvalidParams("m() takes 2 arguments".to_owned()), "builtins.TypeError"),
        (RpcError::UnknownPeer(peer.clone()), "volttron.platform.vip.agent.errors.Unreachable"),
        (RpcError::PeerGone(peer.clone()), "volttron.platform.vip.agent.errors.Unreachable"),
        (RpcError::Busy(peer), "volttron.platform.vip.agent.errors.Again"),
        (timeout, "gevent.timeout.Timeout"),
        (RpcError::Remote(RemoteError { exc_type: String::new(), message: String::new(), exc_args: Vec::new() }), "builtins.Exception"),
    ] {
        let error = &told(&Err(failure.clone()))["error"];
        assert_eq!(error["code"], -32000, "{failure}");
        assert!(error["data"]["detail"].is_string(), "{failure}");
        assert_eq!(error["data"]["exception.py"]["exc_type"], exc_type, "{failure}");
        assert!(error["data"]["exception.py"]["exc_args"].is_array(), "{failure}");
    }
}

#[test]
fn errors_of_other_shapes_are_read_as_well_as_possible() {
    let failed = |error: &str| response(&format!(r#"{{"jsonrpc":"2.0","id":"1","error":{error}}}"#)).1.unwrap_err();
    let remote = |exc_type: &str, message: &str, exc_args: Vec<Value>| {
        RpcError::Remote(RemoteError { exc_type: exc_type.to_owned(), message: message.to_owned(), exc_args })
    };
    assert_eq!(
        failed(r#"{"code":-32000,"message":"unhandled exception"}"#),
        remote("builtins.Exception", "unhandled exception", vec![json!("unhandled exception")])
    );
    // Version 6 leaves the module of builtins out.
    assert_eq!(
        failed(
            r#"{"code":-32000,"message":"m","data":{"detail":"'x'","exception.py":{"exc_type":"KeyError","exc_args":["x"],"exc_tb":"..."}}}"#
        ),
        remote("KeyError", "'x'", vec![json!("x")])
    );
    assert_eq!(failed(r#"{"code":-32602,"message":"invalid object type","data":{"detail":"d"}}"#), RpcError::InvalidParams("d".to_owned()));
    assert_eq!(
        failed(r#"{"code":-32003,"message":"discovery"}"#),
        remote("volttron.platform.jsonrpc.Error", "discovery", vec![json!(-32003), json!("discovery")])
    );
    for odd in ["null", "1", "[]", r#"{"code":"x"}"#] {
        assert!(matches!(failed(odd), RpcError::Remote(_)), "{odd}");
    }
}

#[test]
fn documents_that_are_none_are_answered_with_the_reason() {
    let null = Some(RawId::null());
    for (text, id, error, code, message) in [
        ("not json", null.clone(), None, -32700, "invalid JSON"),
        ("{\"jsonrpc\":", null.clone(), None, -32700, "invalid JSON"),
        ("", null.clone(), None, -32700, "invalid JSON"),
        ("\"text\"", null.clone(), Some(DocumentError::NotObject), -32600, "invalid object type"),
        ("5", null.clone(), Some(DocumentError::NotObject), -32600, "invalid object type"),
        (r#"{"method":"m","id":"1"}"#, Some(RawId::text("1")), Some(DocumentError::Missing("jsonrpc")), -32600, "missing required member"),
        ("{}", null, Some(DocumentError::Missing("jsonrpc")), -32600, "missing required member"),
        (r#"{"jsonrpc":"1.0","method":"m","id":"1"}"#, Some(RawId::text("1")), Some(DocumentError::Version), -32600, "unsupported version"),
        (r#"{"jsonrpc":2.0,"method":"m","id":"1"}"#, Some(RawId::text("1")), Some(DocumentError::Version), -32600, "unsupported version"),
        (
            r#"{"jsonrpc":"2.0","id":"1"}"#,
            Some(RawId::text("1")),
            Some(DocumentError::Missing("method")),
            -32600,
            "missing required member",
        ),
        (r#"{"jsonrpc":"2.0","method":5,"id":"1"}"#, Some(RawId::text("1")), Some(DocumentError::Method), -32600, "invalid object type"),
        (
            r#"{"jsonrpc":"2.0","method":"m","params":5,"id":"1"}"#,
            Some(RawId::text("1")),
            Some(DocumentError::Params),
            -32602,
            "invalid object type",
        ),
    ] {
        let (read_id, read_error) = invalid(text);
        assert_eq!(read_id, id, "{text}");
        if let Some(error) = error {
            assert_eq!(read_error, error, "{text}");
        }
        let answer = json_of(&rpc::encode_invalid(&read_id.unwrap(), &read_error));
        assert_eq!(answer["error"]["code"], code, "{text}");
        assert_eq!(answer["error"]["message"], message, "{text}");
        assert!(answer["error"]["data"]["detail"].is_string(), "{text}");
        assert_eq!(answer["id"].to_string(), id.unwrap().as_json(), "{text}");
    }
}

#[test]
fn a_notification_is_not_answered_even_when_it_is_wrong() {
    assert_eq!(invalid(r#"{"jsonrpc":"2.0","method":"m","params":"x"}"#), (None, DocumentError::Params));
    assert_eq!(invalid(r#"{"jsonrpc":"2.0","method":"m","params":"x","id":null}"#), (None, DocumentError::Params));
}

#[test]
fn an_array_is_a_batch_and_its_answers_are_one() {
    let text = r#" [{"jsonrpc":"2.0","method":"a","id":"1"}, {"jsonrpc":"2.0","method":"b"}, 5, {"jsonrpc":"2.0","id":"9","result":true}]"#;
    let Decoded::Batch(documents) = rpc::decode(text.as_bytes()) else { panic!("no batch") };
    assert_eq!(documents.len(), 4);
    assert!(matches!(&documents[0], Document::Request { id: Some(_), request } if request.method == "a"));
    assert!(matches!(&documents[1], Document::Request { id: None, request } if request.method == "b"));
    assert!(matches!(&documents[2], Document::Invalid { id: Some(_), error: DocumentError::NotObject }));
    assert!(matches!(&documents[3], Document::Response { result: Ok(Value::Bool(true)), .. }));

    let answers = [rpc::encode_response(&RawId::text("1"), &Ok(json!(1))), rpc::encode_invalid(&RawId::null(), &DocumentError::NotObject)];
    let batch = json_of(&rpc::encode_batch(&answers).unwrap());
    assert_eq!(batch[0]["result"], 1);
    assert_eq!(batch[1]["error"]["code"], -32600);
    assert_eq!(rpc::encode_batch(&[]), None);
    assert_eq!(rpc::decode(b"[]"), Decoded::Batch(Vec::new()));
}

#[test]
fn a_batch_is_bounded() {
    let batch = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    assert!(matches!(rpc::decode(batch(BATCH_MAX).as_bytes()), Decoded::Batch(documents) if documents.len() == BATCH_MAX));
    assert_eq!(invalid(&batch(BATCH_MAX + 1)), (Some(RawId::null()), DocumentError::BatchTooLong(BATCH_MAX + 1)));
    assert!(matches!(invalid("[1,"), (Some(_), DocumentError::NotJson(_))));
}

#[test]
fn the_last_member_of_a_name_counts_and_unknown_ones_do_not() {
    let (id, read) = request(r#"{"id":"0","x":{},"jsonrpc":"1.0","jsonrpc":"2.0","method":"a","m\u0065thod":"b","id":"1"}"#);
    assert_eq!((id, read.method.as_str()), (Some(RawId::text("1")), "b"));
}

#[test]
fn latin_1_is_read() {
    let (_, read) = match rpc::decode(b"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":[\"caf\xe9\"]}") {
        Decoded::Single(Document::Request { id, request }) => (id, request),
        other => panic!("{other:?}"),
    };
    assert_eq!(read.params.args, [json!("caf\u{e9}")]);
}
