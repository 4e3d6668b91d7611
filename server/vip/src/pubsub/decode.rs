//! Arguments of `pubsub` messages to operations.

use bytes::Bytes;
use serde_json::{Map, Value};
use vt_types::{Identity, TopicPrefix};

use super::{Fault, List, Operation, PREFIXES_MAX, Publish, PubsubError, Selection, Verb, list_response, request_response};
use crate::{JsonError, json, text};

impl PubsubError {
    /// The arguments that the peer gets: subscribers false, publishers 0, askers an empty list. `None`: it gets nothing.
    #[must_use]
    pub fn answer(&self) -> Option<Vec<Bytes>> {
        match self.verb {
            Verb::Publish if self.fault == Fault::NoArgument => None,
            Verb::Publish => Some(request_response(&0.into())),
            Verb::Subscribe | Verb::Unsubscribe | Verb::ExternalList => Some(request_response(&false.into())),
            Verb::List => Some(list_response(&[])),
            Verb::Missing | Verb::Synchronize | Verb::AuthUpdate | Verb::ProtectedUpdate | Verb::ExternalPublish => None,
        }
    }
}

/// Reads the arguments of a `pubsub` message.
///
/// # Errors
/// [`PubsubError`] when a known operation lacks something or carries what cannot be read.
pub fn decode(args: &[Bytes]) -> Result<Operation, PubsubError> {
    let (name, args) = args.split_first().ok_or(PubsubError { verb: Verb::Missing, fault: Fault::NoArgument })?;
    let first = || args.first().cloned().unwrap_or_default();
    let (verb, result) = match &name[..] {
        b"publish" => (Verb::Publish, decode_publish(args).map(|(_, publish)| Operation::Publish(publish))),
        b"subscribe" => (Verb::Subscribe, object(args.first()).and_then(|request| subscribe(&request))),
        b"unsubscribe" => (Verb::Unsubscribe, object(args.first()).and_then(|request| unsubscribe(&request))),
        b"synchronize" => (Verb::Synchronize, synchronize(args)),
        b"list" => (Verb::List, object(args.first()).and_then(|request| list(&request)).map(Operation::List)),
        b"auth_update" => (Verb::AuthUpdate, value(args.first()).map(Operation::AuthUpdate)),
        b"protected_update" => (Verb::ProtectedUpdate, value(args.first()).map(Operation::ProtectedUpdate)),
        b"external_list" => (Verb::ExternalList, object(args.first()).and_then(|request| external_list(&request))),
        b"external_publish" => (Verb::ExternalPublish, external_publish(args)),
        b"request_response" => return Ok(Operation::RequestResponse { value: first() }),
        b"list_response" => return Ok(Operation::ListResponse { value: first() }),
        b"error" => return Ok(Operation::Error { args: args.to_vec() }),
        _ => return Ok(Operation::Unknown { operation: name.clone() }),
    };
    result.map_err(|fault| PubsubError { verb, fault })
}

/// Topic frame and `{"bus", "headers", "message"}`, with `sender` if there is one; other members are dropped.
pub(super) fn decode_publish(args: &[Bytes]) -> Result<(Option<String>, Publish), Fault> {
    let (Some(topic_frame), Some(document)) = (args.first(), args.get(1)) else { return Err(Fault::NoArgument) };
    let document = json::asciify_bytes(document);
    let (mut sender, mut bus, mut headers, mut message) = (None, None, None, None);
    let document_text = str::from_utf8(&document).map_err(|_| Fault::Json(JsonError::Unreadable))?;
    json::each_member(document_text, |name, raw| match &*name {
        "sender" => sender = Some(raw),
        "bus" => bus = Some(raw),
        "headers" => headers = Some(raw),
        "message" => message = Some(raw),
        _ => (),
    })
    .map_err(Fault::Json)?;
    let headers = match headers {
        Some(raw) if raw.starts_with('{') => document.slice_ref(raw.as_bytes()),
        Some("null") => Bytes::from_static(b"{}"),
        _ => return Err(Fault::Member("headers")),
    };
    let message = document.slice_ref(message.ok_or(Fault::Member("message"))?.as_bytes());
    let bus = text_member(bus).ok_or(Fault::Member("bus"))?;
    let topic = text::topic(topic_frame).map_err(Fault::Topic)?;
    Ok((text_member(sender), Publish { topic, topic_frame: topic_frame.clone(), bus, headers, message }))
}

fn text_member(raw: Option<&str>) -> Option<String> {
    match raw? {
        r#""""# => Some(String::new()),
        raw => json::parse_lenient(raw.as_bytes()).ok()?.as_str().map(str::to_owned),
    }
}

fn external_publish(args: &[Bytes]) -> Result<Operation, Fault> {
    let (sender, publish) = decode_publish(args)?;
    let sender = Identity::parse(&sender.ok_or(Fault::Member("sender"))?).map_err(Fault::Sender)?;
    Ok(Operation::ExternalPublish { sender, publish })
}

fn subscribe(request: &Map<String, Value>) -> Result<Operation, Fault> {
    Ok(Operation::Subscribe {
        prefixes: prefixes(request.get("prefix").ok_or(Fault::Member("prefix"))?)?,
        bus: text_of(request, "bus")?.to_owned(),
        all_platforms: flag(request, "all_platforms")?,
    })
}

fn unsubscribe(request: &Map<String, Value>) -> Result<Operation, Fault> {
    let of = |name| match request.get(name) {
        None => Ok(None),
        Some(Value::Object(selection)) => self::selection(selection).map(Some),
        Some(_) => Err(Fault::Member(name)),
    };
    let (internal, all) = (of("internal")?, of("all")?);
    if internal.is_some() || all.is_some() {
        return Ok(Operation::Unsubscribe { internal, all });
    }
    // How VOLTTRON asked before there were other platforms.
    Ok(Operation::Unsubscribe { internal: Some(selection(request)?), all: None })
}

fn selection(request: &Map<String, Value>) -> Result<Selection, Fault> {
    let prefixes = match request.get("prefix") {
        Some(Value::Null) => None,
        Some(given) => Some(prefixes(given)?),
        None => return Err(Fault::Member("prefix")),
    };
    Ok(Selection { bus: text_of(request, "bus")?.to_owned(), prefixes })
}

fn synchronize(args: &[Bytes]) -> Result<Operation, Fault> {
    if args.first().is_none_or(|word| word != "connected") {
        return Err(Fault::NotConnected);
    }
    let request = object(args.get(1))?;
    let Some(Value::Object(subscriptions)) = request.get("subscriptions") else { return Err(Fault::Member("subscriptions")) };
    let mut count = 0;
    let mut of = |name| match subscriptions.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Object(lists)) => prefix_lists(lists, &mut count),
        Some(_) => Err(Fault::Member(name)),
    };
    Ok(Operation::Synchronize { internal: of("internal")?, all: of("all")? })
}

fn external_list(request: &Map<String, Value>) -> Result<Operation, Fault> {
    Ok(Operation::ExternalList { platforms: prefix_lists(request, &mut 0)? })
}

fn list(request: &Map<String, Value>) -> Result<List, Fault> {
    let prefix = match request.get("prefix") {
        Some(Value::Null) => "",
        _ => text_of(request, "prefix")?,
    };
    let bus = match request.get("bus") {
        Some(Value::Null) => None,
        _ => Some(text_of(request, "bus")?.to_owned()),
    };
    Ok(List {
        prefix: TopicPrefix::parse(prefix).map_err(Fault::Topic)?,
        bus,
        subscribed: flag(request, "subscribed")?,
        reverse: flag(request, "reverse")?,
        all_platforms: flag(request, "all_platforms")?,
    })
}

/// `{name: [prefix, ...], ...}`; `count` goes over all lists of a message.
fn prefix_lists(lists: &Map<String, Value>, count: &mut usize) -> Result<Vec<(String, Vec<TopicPrefix>)>, Fault> {
    *count += lists.len();
    if *count > PREFIXES_MAX {
        return Err(Fault::TooMany);
    }
    let mut out = Vec::with_capacity(lists.len());
    for (name, given) in lists {
        let list = prefixes(given)?;
        *count += list.len();
        if *count > PREFIXES_MAX {
            return Err(Fault::TooMany);
        }
        out.push((name.clone(), list));
    }
    Ok(out)
}

/// One prefix, or a list of them.
fn prefixes(given: &Value) -> Result<Vec<TopicPrefix>, Fault> {
    let parse = |value: &Value| match value {
        Value::String(text) => TopicPrefix::parse(text).map_err(Fault::Topic),
        _ => Err(Fault::Member("prefix")),
    };
    match given {
        Value::Array(list) if list.len() > PREFIXES_MAX => Err(Fault::TooMany),
        Value::Array(list) => list.iter().map(parse).collect(),
        one => Ok(vec![parse(one)?]),
    }
}

fn value(arg: Option<&Bytes>) -> Result<Value, Fault> {
    json::parse_lenient(arg.ok_or(Fault::NoArgument)?).map_err(Fault::Json)
}

fn object(arg: Option<&Bytes>) -> Result<Map<String, Value>, Fault> {
    match value(arg)? {
        Value::Object(members) => Ok(members),
        _ => Err(Fault::NotObject),
    }
}

fn text_of<'a>(request: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, Fault> {
    request.get(name).and_then(Value::as_str).ok_or(Fault::Member(name))
}

/// An optional boolean; absent and null are false.
fn flag(request: &Map<String, Value>, name: &'static str) -> Result<bool, Fault> {
    match request.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(Fault::Member(name)),
    }
}
