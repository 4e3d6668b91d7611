//! JSON-RPC errors: what is wrong with a document, and how a failed call looks to a Python caller and back.

use serde_json::{Value, json};
use vt_types::{RemoteError, RpcError};

use crate::JsonError;

/// The codes that VOLTTRON uses.
pub mod code {
    /// The frame is not JSON.
    pub const PARSE_ERROR: i64 = -32700;
    /// Not a JSON-RPC document.
    pub const INVALID_REQUEST: i64 = -32600;
    /// The peer has no such method.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// `params` is neither an array nor an object.
    pub const INVALID_PARAMS: i64 = -32602;
    /// The method raised; `data` tells what.
    pub const UNHANDLED_EXCEPTION: i64 = -32000;
    /// The caller lacks a capability; found inside `exc_args`.
    pub const UNAUTHORIZED: i64 = -32001;
}

const EXCEPTION: &str = "exception.py";
const JSONRPC_ERROR: &str = "volttron.platform.jsonrpc.Error";

/// Why a document is neither a request nor a response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON, not even as Python writes it.
    #[error("{0}")]
    NotJson(#[source] JsonError),
    /// JSON, but neither an object nor an array of objects.
    #[error("expected a list or dictionary (object)")]
    NotObject,
    /// A member that must be there is not.
    #[error("missing required '{0}' member")]
    Missing(&'static str),
    /// `jsonrpc` is not `"2.0"`.
    #[error("only version 2.0 is supported")]
    Version,
    /// `method` is not a text.
    #[error("the method's name is not a text")]
    Method,
    /// `params` is neither an array nor an object.
    #[error("expected a list or dictionary (object) as params")]
    Params,
    /// More documents than [`super::BATCH_MAX`].
    #[error("a batch may have at most {max} documents, this one has {0}", max = super::BATCH_MAX)]
    BatchTooLong(usize),
}

impl DocumentError {
    fn code(&self) -> i64 {
        match self {
            Self::NotJson(_) => code::PARSE_ERROR,
            Self::Params => code::INVALID_PARAMS,
            _ => code::INVALID_REQUEST,
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::NotJson(_) => "invalid JSON",
            Self::Missing(_) => "missing required member",
            Self::Version => "unsupported version",
            Self::NotObject | Self::Method | Self::Params => "invalid object type",
            Self::BatchTooLong(_) => "batch too long",
        }
    }
}

pub(super) fn encode_invalid(error: &DocumentError) -> Value {
    json!({"code": error.code(), "message": error.title(), "data": {"detail": error.to_string()}})
}

/// The `error` member for a failed call.
///
/// A Python caller that gets -32000 without `detail` or without a full `exception.py` crashes in its own handler and waits for its timeout,
/// so every failure but an unknown method is told as an exception.
pub(super) fn encode(error: &RpcError) -> Value {
    let detail = error.to_string();
    match error {
        RpcError::MethodNotFound(method) => {
            let detail = format!("method '{method}' is not implemented");
            json!({"code": code::METHOD_NOT_FOUND, "message": "unimplemented method", "data": {"detail": detail}})
        }
        RpcError::Remote(raised) => exception(&raised.exc_type, &raised.message, &raised.exc_args),
        RpcError::Refused(text) => exception(JSONRPC_ERROR, text, &[code::UNAUTHORIZED.into(), text.as_str().into()]),
        // What Python raises when a method is called with arguments that do not fit.
        RpcError::InvalidParams(text) => exception("builtins.TypeError", text, &[text.as_str().into()]),
        RpcError::UnknownPeer(_) | RpcError::PeerGone(_) => {
            let args = [crate::error::EHOSTUNREACH.into(), detail.as_str().into()];
            exception("volttron.platform.vip.agent.errors.Unreachable", &detail, &args)
        }
        RpcError::Busy(_) => {
            let args = [crate::error::EAGAIN.into(), detail.as_str().into()];
            exception("volttron.platform.vip.agent.errors.Again", &detail, &args)
        }
        RpcError::Timeout { .. } => exception("gevent.timeout.Timeout", &detail, &[detail.as_str().into()]),
    }
}

fn exception(exc_type: &str, detail: &str, exc_args: &[Value]) -> Value {
    let exc_type = if exc_type.is_empty() { "builtins.Exception" } else { exc_type };
    json!({
        "code": code::UNHANDLED_EXCEPTION,
        "message": "unhandled exception",
        "data": {"detail": detail, EXCEPTION: {"exc_type": exc_type, "exc_args": exc_args}},
    })
}

/// How a call failed, from the `error` member of the answer.
pub(super) fn decode(error: &Value) -> RpcError {
    let code = error["code"].as_i64().unwrap_or_default();
    let message = text_of(&error["message"]);
    let detail = match &error["data"]["detail"] {
        Value::Null => message,
        detail => text_of(detail),
    };
    match code {
        code::METHOD_NOT_FOUND => RpcError::MethodNotFound(unimplemented(&detail).to_owned()),
        code::INVALID_PARAMS => RpcError::InvalidParams(detail),
        code::UNAUTHORIZED => RpcError::Refused(detail),
        code::UNHANDLED_EXCEPTION => decode_exception(&error["data"][EXCEPTION], detail),
        _ => RpcError::Remote(RemoteError {
            exc_type: JSONRPC_ERROR.to_owned(),
            exc_args: vec![code.into(), detail.as_str().into()],
            message: detail,
        }),
    }
}

fn decode_exception(exception: &Value, detail: String) -> RpcError {
    let exc_args = match &exception["exc_args"] {
        Value::Array(args) => args.clone(),
        Value::Null => vec![detail.as_str().into()],
        other => vec![other.clone()],
    };
    let exc_type = exception["exc_type"].as_str().unwrap_or("builtins.Exception");
    if exc_type.ends_with("jsonrpc.Error") && exc_args.first().and_then(Value::as_i64) == Some(code::UNAUTHORIZED) {
        return RpcError::Refused(exc_args.get(1).map_or(detail, text_of));
    }
    RpcError::Remote(RemoteError { exc_type: exc_type.to_owned(), message: detail, exc_args })
}

/// The method's name in `method 'x' is not implemented`, or the whole text.
fn unimplemented(detail: &str) -> &str {
    detail.strip_prefix("method '").and_then(|rest| rest.strip_suffix("' is not implemented")).unwrap_or(detail)
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "the peer gave no reason".to_owned(),
        other => crate::json::to_ascii(other),
    }
}
