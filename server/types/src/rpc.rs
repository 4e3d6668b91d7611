//! RPC between peers: request, parameters and every way in which a call can fail.
//! Source: VOLTTRON `volttron/platform/jsonrpc.py`; JSON-RPC 2.0.

use serde_json::{Map, Value};

use crate::{ErrorKind, Identity};

/// Arguments of a call. On the wire: absent, an array, an object, or `{"*args": [...], "**kwargs": {...}}`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params {
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: Map<String, Value>,
}

impl Params {
    /// No arguments.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Positional arguments only.
    #[must_use]
    pub fn positional(args: Vec<Value>) -> Self {
        Self { args, kwargs: Map::new() }
    }

    /// Keyword arguments only.
    #[must_use]
    pub fn keyword(kwargs: Map<String, Value>) -> Self {
        Self { args: Vec::new(), kwargs }
    }
}

/// A call: which method with which arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct RpcRequest {
    /// Exported name, such as `get_point` or `health.get_status`.
    pub method: String,
    /// Arguments.
    pub params: Params,
}

impl RpcRequest {
    /// A request.
    #[must_use]
    pub fn new(method: impl Into<String>, params: Params) -> Self {
        Self { method: method.into(), params }
    }
}

/// What a called method raised. Python callers see `exc_type` and `exc_args`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct RemoteError {
    /// `module.Class` as Python writes it, such as `builtins.KeyError`.
    pub exc_type: String,
    /// One readable sentence.
    pub message: String,
    /// The exception's arguments; normally the message alone.
    pub exc_args: Vec<Value>,
}

impl RemoteError {
    /// An error of Python class `exc_type` whose only argument is `message`.
    #[must_use]
    pub fn new(exc_type: impl Into<String>, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { exc_type: exc_type.into(), exc_args: vec![Value::String(message.clone())], message }
    }

    /// The class without its module: `KeyError` of `builtins.KeyError`.
    #[must_use]
    pub fn class(&self) -> &str {
        self.exc_type.rsplit('.').next().unwrap_or(&self.exc_type)
    }
}

/// Why a call gave no result. Each cause is its own variant so that callers need not read texts.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RpcError {
    /// Nobody is connected under that identity.
    #[error("no peer is connected under the identity {0}")]
    UnknownPeer(Identity),
    /// No answer in time.
    #[error("{peer} did not answer {method} within {timeout_ms} ms")]
    Timeout {
        /// Who was asked.
        peer: Identity,
        /// What was asked.
        method: String,
        /// How long the caller waited.
        timeout_ms: u64,
    },
    /// An interceptor or the callee's policy refused the call.
    #[error("the call was refused: {0}")]
    Refused(String),
    /// The peer has no such method.
    #[error("method '{0}' is not implemented")]
    MethodNotFound(String),
    /// The arguments do not fit the method.
    #[error("{0}")]
    InvalidParams(String),
    /// The peer's queue of incoming calls is full.
    #[error("{0} is busy: its queue of calls is full")]
    Busy(Identity),
    /// The peer disconnected before it answered.
    #[error("{0} disconnected before it answered")]
    PeerGone(Identity),
    /// The method raised.
    #[error("{0}")]
    Remote(RemoteError),
}

impl RpcError {
    /// Shorthand for a raised error of class `exc_type`.
    #[must_use]
    pub fn raised(exc_type: &str, message: impl Into<String>) -> Self {
        Self::Remote(RemoteError::new(exc_type, message))
    }

    /// `builtins.ValueError`.
    #[must_use]
    pub fn value_error(message: impl Into<String>) -> Self {
        Self::raised("builtins.ValueError", message)
    }

    /// `builtins.KeyError`.
    #[must_use]
    pub fn key_error(message: impl Into<String>) -> Self {
        Self::raised("builtins.KeyError", message)
    }

    /// `builtins.TypeError`.
    #[must_use]
    pub fn type_error(message: impl Into<String>) -> Self {
        Self::raised("builtins.TypeError", message)
    }

    /// `builtins.RuntimeError`.
    #[must_use]
    pub fn runtime_error(message: impl Into<String>) -> Self {
        Self::raised("builtins.RuntimeError", message)
    }

    /// The kind that edges translate.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownPeer(_) | Self::PeerGone(_) | Self::Busy(_) => ErrorKind::Unavailable,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::Refused(_) => ErrorKind::Forbidden,
            Self::MethodNotFound(_) => ErrorKind::NotFound,
            Self::InvalidParams(_) => ErrorKind::Invalid,
            Self::Remote(error) => match error.class() {
                "KeyError" => ErrorKind::NotFound,
                "ValueError" | "TypeError" => ErrorKind::Invalid,
                "LockError" | "OverrideError" => ErrorKind::Conflict,
                _ => ErrorKind::Internal,
            },
        }
    }
}
