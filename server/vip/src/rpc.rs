//! JSON-RPC 2.0 documents, the arguments of subsystem `RPC`: requests, results and errors as VOLTTRON writes them.
//!
//! Correlating answers with requests, running methods and timing out are not done here. Ids are kept as the JSON text they came as and
//! echoed unchanged. Source: VOLTTRON `volttron/platform/jsonrpc.py`, `volttron/platform/vip/agent/subsystems/rpc.py`.

mod fault;

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Map, Value};
use vt_types::{Params, RpcError, RpcRequest};

use crate::json;

pub use fault::{DocumentError, code};

/// Most documents in a batch; one with more is refused as a whole.
pub const BATCH_MAX: usize = 1024;

/// The id of a request as JSON text, ASCII, as the peer wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RawId(String);

impl RawId {
    /// The id of answers to documents whose own id cannot be known.
    #[must_use]
    pub fn null() -> Self {
        Self("null".to_owned())
    }

    /// An id that is a text.
    #[must_use]
    pub fn text(id: &str) -> Self {
        let mut raw = String::with_capacity(id.len() + 2);
        json::push_text(&mut raw, id);
        Self(raw)
    }

    /// The text, if the id is one; for finding one's own request.
    #[must_use]
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if !inner.contains('\\') {
            return Some(Cow::Borrowed(inner));
        }
        serde_json::from_str::<String>(&self.0).ok().map(Cow::Owned)
    }

    /// The JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Whether the id is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.0 == "null"
    }

    /// From a checked raw value. One with `NaN` in it cannot be echoed: we never write that.
    fn from_raw(raw: &str) -> Self {
        if serde_json::from_str::<serde::de::IgnoredAny>(raw).is_ok() {
            return Self(raw.to_owned());
        }
        json::parse_lenient(raw.as_bytes()).map_or_else(|_| Self::null(), |id| Self(json::to_ascii(&id)))
    }
}

/// One document.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// A call.
    Request {
        /// `None` for a notification: nothing may be answered, not even an error.
        id: Option<RawId>,
        /// What is called.
        request: RpcRequest,
    },
    /// The answer to a call.
    Response {
        /// The call's id; null when the answerer could not read it.
        id: RawId,
        /// What the method returned, or how it failed.
        result: Result<Value, RpcError>,
    },
    /// Neither.
    Invalid {
        /// For the answer ([`encode_invalid`]); `None` when nothing may be answered.
        id: Option<RawId>,
        /// What is wrong.
        error: DocumentError,
    },
}

/// The content of one argument frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    /// One document.
    Single(Document),
    /// An array of documents; their answers go into one array, see [`encode_batch`].
    Batch(Vec<Document>),
}

/// Reads one argument frame.
#[must_use]
pub fn decode(arg: &[u8]) -> Decoded {
    let text = json::asciify(arg);
    let text = text.trim_ascii_start();
    if text.starts_with('[') {
        return match json::elements(text) {
            Ok(documents) if documents.len() > BATCH_MAX => Decoded::Single(unreadable(DocumentError::BatchTooLong(documents.len()))),
            Ok(documents) => Decoded::Batch(documents.into_iter().map(decode_document).collect()),
            Err(error) => Decoded::Single(unreadable(DocumentError::NotJson(error))),
        };
    }
    Decoded::Single(decode_document(text))
}

fn unreadable(error: DocumentError) -> Document {
    Document::Invalid { id: Some(RawId::null()), error }
}

/// The members that matter, raw; of repetitions the last one counts, as in Python.
#[derive(Default)]
struct Members<'a> {
    jsonrpc: Option<&'a str>,
    id: Option<&'a str>,
    method: Option<&'a str>,
    params: Option<&'a str>,
    result: Option<&'a str>,
    error: Option<&'a str>,
}

fn decode_document(text: &str) -> Document {
    if !text.trim_ascii_start().starts_with('{') {
        return unreadable(match json::parse_lenient(text.as_bytes()) {
            Ok(_) => DocumentError::NotObject,
            Err(error) => DocumentError::NotJson(error),
        });
    }
    let mut members = Members::default();
    let walked = json::each_member(text, |name, value| match &*name {
        "jsonrpc" => members.jsonrpc = Some(value),
        "id" => members.id = Some(value),
        "method" => members.method = Some(value),
        "params" => members.params = Some(value),
        "result" => members.result = Some(value),
        "error" => members.error = Some(value),
        _ => (),
    });
    let read = walked.map_err(DocumentError::NotJson).and_then(|()| decode_members(&members));
    read.unwrap_or_else(|error| {
        let id = members.id.map(RawId::from_raw);
        let id = match error {
            // A request all but in its arguments; if it is a notification, it gets no answer.
            DocumentError::Params => id.filter(|id| !id.is_null()),
            _ => Some(id.unwrap_or_else(RawId::null)),
        };
        Document::Invalid { id, error }
    })
}

fn decode_members(members: &Members<'_>) -> Result<Document, DocumentError> {
    let value = |raw: &str| json::parse_lenient(raw.as_bytes()).map_err(DocumentError::NotJson);
    let id = members.id.map(RawId::from_raw);
    match members.jsonrpc.map(value).transpose()? {
        Some(Value::String(version)) if version == "2.0" => (),
        Some(_) => return Err(DocumentError::Version),
        None => return Err(DocumentError::Missing("jsonrpc")),
    }
    // Some peers write both, with null in the one that does not apply.
    if let Some(error) = members.error.filter(|error| *error != "null" || members.result.is_none()) {
        return Ok(Document::Response { id: id.unwrap_or_else(RawId::null), result: Err(fault::decode(&value(error)?)) });
    }
    if let Some(result) = members.result {
        return Ok(Document::Response { id: id.unwrap_or_else(RawId::null), result: Ok(value(result)?) });
    }
    let method = match members.method.map(value).transpose()? {
        Some(Value::String(method)) => method,
        Some(_) => return Err(DocumentError::Method),
        None => return Err(DocumentError::Missing("method")),
    };
    let params = decode_params(members.params.map(value).transpose()?).ok_or(DocumentError::Params)?;
    Ok(Document::Request { id: id.filter(|id| !id.is_null()), request: RpcRequest { method, params } })
}

const ARGS: &str = "*args";
const KWARGS: &str = "**kwargs";

fn decode_params(params: Option<Value>) -> Option<Params> {
    match params {
        None | Some(Value::Null) => Some(Params::none()),
        Some(Value::Array(args)) => Some(Params::positional(args)),
        Some(Value::Object(mut members)) => match (members.shift_remove(ARGS), members.shift_remove(KWARGS)) {
            (Some(Value::Array(args)), Some(Value::Object(kwargs))) => Some(Params { args, kwargs }),
            (None, None) => Some(Params::keyword(members)),
            // Keywords that happen to have such a name.
            (args, kwargs) => {
                members.extend(args.map(|args| (ARGS.to_owned(), args)));
                members.extend(kwargs.map(|kwargs| (KWARGS.to_owned(), kwargs)));
                Some(Params::keyword(members))
            }
        },
        Some(_) => None,
    }
}

/// A request; without `id` a notification. No arguments: no `params`; only positional: an array; only keywords: an object; both:
/// `{"*args": [...], "**kwargs": {...}}`.
#[must_use]
pub fn encode_request(id: Option<&str>, request: &RpcRequest) -> Bytes {
    let mut out = String::from(r#"{"jsonrpc":"2.0","method":"#);
    json::push_text(&mut out, &request.method);
    push_params(&mut out, &request.params);
    if let Some(id) = id {
        out.push_str(r#","id":"#);
        json::push_text(&mut out, id);
    }
    out.push('}');
    Bytes::from(out)
}

fn push_params(out: &mut String, params: &Params) {
    let kwargs = &params.kwargs;
    // Keywords that look like the form for both are written in that form, so that they are not taken for it.
    let looks_like_both = kwargs.contains_key(ARGS) && kwargs.contains_key(KWARGS);
    match (params.args.is_empty(), kwargs.is_empty()) {
        (true, true) => (),
        (false, true) => {
            out.push_str(r#","params":"#);
            push_array(out, &params.args);
        }
        (true, false) if !looks_like_both => {
            out.push_str(r#","params":"#);
            push_object(out, kwargs);
        }
        _ => {
            out.push_str(r#","params":{"*args":"#);
            push_array(out, &params.args);
            out.push_str(r#","**kwargs":"#);
            push_object(out, kwargs);
            out.push('}');
        }
    }
}

fn push_array(out: &mut String, elements: &[Value]) {
    out.push('[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        json::push_value(out, element);
    }
    out.push(']');
}

fn push_object(out: &mut String, members: &Map<String, Value>) {
    out.push('{');
    for (index, (name, member)) in members.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        json::push_text(out, name);
        out.push(':');
        json::push_value(out, member);
    }
    out.push('}');
}

/// The answer to a request. Errors carry what Python clients need so as not to hang.
#[must_use]
pub fn encode_response(id: &RawId, result: &Result<Value, RpcError>) -> Bytes {
    let mut out = response_head(id);
    match result {
        Ok(value) => {
            out.push_str(r#""result":"#);
            json::push_value(&mut out, value);
        }
        Err(error) => {
            out.push_str(r#""error":"#);
            json::push_value(&mut out, &fault::encode(error));
        }
    }
    out.push('}');
    Bytes::from(out)
}

/// The answer to [`Document::Invalid`], if there is an id.
#[must_use]
pub fn encode_invalid(id: &RawId, error: &DocumentError) -> Bytes {
    let mut out = response_head(id);
    out.push_str(r#""error":"#);
    json::push_value(&mut out, &fault::encode_invalid(error));
    out.push('}');
    Bytes::from(out)
}

fn response_head(id: &RawId) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},"#, id.as_json())
}

/// One array of encoded documents; `None` when there are none, for then nothing is sent.
#[must_use]
pub fn encode_batch(documents: &[Bytes]) -> Option<Bytes> {
    if documents.is_empty() {
        return None;
    }
    let mut out = vec![b'['];
    for (index, document) in documents.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(document);
    }
    out.push(b']');
    Some(Bytes::from(out))
}
