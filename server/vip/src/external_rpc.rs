//! Subsystem `external_rpc`: calls to peers of other platforms, `send_platform` from a peer to its router, `send_peer` onwards.
//! Source: VOLTTRON `volttron/platform/vip/externalrpcservice.py`.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::{JsonError, json};

/// Most JSON-RPC documents in one message; one with more is refused.
pub const DOCUMENTS_MAX: usize = 1024;

/// Which way a call or its answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// From a peer to its router, for another platform.
    SendPlatform,
    /// From a router to the other platform's router, and from there to the peer.
    SendPeer,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::SendPlatform => "send_platform",
            Self::SendPeer => "send_peer",
        }
    }
}

/// A call or its answer on its way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Letter {
    /// Instance name of the recipient's platform.
    pub to_platform: String,
    /// The recipient's identity there.
    pub to_peer: String,
    /// Instance name of the sender's platform; empty until its router has filled it in.
    pub from_platform: String,
    /// The sender's identity there; empty until its router has filled it in.
    pub from_peer: String,
    /// JSON-RPC documents as texts, for [`crate::rpc::decode`].
    pub documents: Vec<String>,
}

/// Why a message is no letter; VOLTTRON's router says nothing then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExternalRpcError {
    /// Neither `send_platform` nor `send_peer`, or nothing after it.
    #[error("the operation is unknown or has no argument")]
    Operation,
    /// The argument is not JSON.
    #[error(transparent)]
    Json(JsonError),
    /// A member is absent or of another type.
    #[error("member {0:?} is missing or of the wrong type")]
    Member(&'static str),
    /// More documents than [`DOCUMENTS_MAX`].
    #[error("a message may carry at most {DOCUMENTS_MAX} documents, this one has {0}")]
    TooMany(usize),
}

/// Reads the arguments of an `external_rpc` message.
///
/// # Errors
/// [`ExternalRpcError`] names what is wrong.
pub fn decode(args: &[Bytes]) -> Result<(Operation, Letter), ExternalRpcError> {
    let [name, letter, ..] = args else { return Err(ExternalRpcError::Operation) };
    let operation = match &name[..] {
        b"send_platform" => Operation::SendPlatform,
        b"send_peer" => Operation::SendPeer,
        _ => return Err(ExternalRpcError::Operation),
    };
    let Value::Object(mut letter) = json::parse_lenient(letter).map_err(ExternalRpcError::Json)? else {
        return Err(ExternalRpcError::Member("to_platform"));
    };
    let documents = match letter.remove("args") {
        Some(Value::Array(documents)) if documents.len() > DOCUMENTS_MAX => return Err(ExternalRpcError::TooMany(documents.len())),
        Some(Value::Array(documents)) => documents.into_iter().map(document).collect(),
        _ => return Err(ExternalRpcError::Member("args")),
    };
    let letter = Letter {
        to_platform: required(&mut letter, "to_platform")?,
        to_peer: required(&mut letter, "to_peer")?,
        from_platform: optional(&mut letter, "from_platform")?,
        from_peer: optional(&mut letter, "from_peer")?,
        documents,
    };
    Ok((operation, letter))
}

/// The arguments of an `external_rpc` message.
#[must_use]
pub fn encode(operation: Operation, letter: &Letter) -> Vec<Bytes> {
    let json = json!({
        "to_platform": letter.to_platform,
        "to_peer": letter.to_peer,
        "from_platform": letter.from_platform,
        "from_peer": letter.from_peer,
        "args": letter.documents,
    });
    vec![Bytes::from_static(operation.name().as_bytes()), Bytes::from(json::to_ascii(&json))]
}

/// Documents travel as texts; one that was put in as an object is made a text.
fn document(document: Value) -> String {
    match document {
        Value::String(text) => text,
        other => json::to_ascii(&other),
    }
}

fn required(letter: &mut Map<String, Value>, name: &'static str) -> Result<String, ExternalRpcError> {
    match letter.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(ExternalRpcError::Member(name)),
    }
}

fn optional(letter: &mut Map<String, Value>, name: &'static str) -> Result<String, ExternalRpcError> {
    match letter.remove(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(ExternalRpcError::Member(name)),
    }
}
