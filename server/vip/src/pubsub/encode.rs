//! Operations and deliveries to the arguments of `pubsub` messages; all JSON in pure ASCII.

use bytes::Bytes;
use serde_json::{Value, json};
use vt_types::{Topic, TopicPrefix};

use super::{List, Selection};
use crate::{json, text};

/// A delivery: `publish`, topic, `{"sender", "bus", "headers", "message"}`.
///
/// `headers` and `message` are JSON texts, taken over as they are, save that what is not ASCII is escaped; they must be whole values, as
/// those of [`super::Publish`] are.
#[must_use]
pub fn delivery(topic_frame: &Bytes, sender: &str, bus: &str, headers: &[u8], message: &[u8]) -> Vec<Bytes> {
    vec![Bytes::from_static(b"publish"), topic_frame.clone(), envelope(Some(sender), bus, headers, message)]
}

/// [`delivery`] of values.
#[must_use]
pub fn deliver(topic: &Topic, sender: &str, bus: &str, headers: &Value, message: &Value) -> Vec<Bytes> {
    let (headers, message) = (json::to_ascii(headers), json::to_ascii(message));
    delivery(&text::topic_frame(topic), sender, bus, headers.as_bytes(), message.as_bytes())
}

/// A message for another platform: like [`delivery`], with operation `external_publish`.
#[must_use]
pub fn external_publish(topic_frame: &Bytes, sender: &str, bus: &str, headers: &[u8], message: &[u8]) -> Vec<Bytes> {
    vec![Bytes::from_static(b"external_publish"), topic_frame.clone(), envelope(Some(sender), bus, headers, message)]
}

/// A peer's wish to publish: `publish`, topic, `{"bus", "headers", "message"}`; JSON texts as for [`delivery`].
#[must_use]
pub fn publish(topic_frame: &Bytes, bus: &str, headers: &[u8], message: &[u8]) -> Vec<Bytes> {
    vec![Bytes::from_static(b"publish"), topic_frame.clone(), envelope(None, bus, headers, message)]
}

fn envelope(sender: Option<&str>, bus: &str, headers: &[u8], message: &[u8]) -> Bytes {
    let (headers, message) = (json::asciify(headers), json::asciify(message));
    let names = sender.map_or(0, str::len) + bus.len();
    let mut out = String::with_capacity(names + headers.len() + message.len() + 64);
    out.push('{');
    if let Some(sender) = sender {
        out.push_str(r#""sender":"#);
        json::push_text(&mut out, sender);
        out.push(',');
    }
    out.push_str(r#""bus":"#);
    json::push_text(&mut out, bus);
    out.push_str(r#","headers":"#);
    out.push_str(&headers);
    out.push_str(r#","message":"#);
    out.push_str(&message);
    out.push('}');
    Bytes::from(out)
}

/// `request_response` and the value as JSON text, the only form that all versions read: true, false or a count.
#[must_use]
pub fn request_response(value: &Value) -> Vec<Bytes> {
    vec![Bytes::from_static(b"request_response"), Bytes::from(json::to_ascii(value))]
}

/// `list_response` and `[[bus, prefix, whether the asker is subscribed], ...]`.
#[must_use]
pub fn list_response(subscriptions: &[(String, TopicPrefix, bool)]) -> Vec<Bytes> {
    let rows = subscriptions.iter().map(|(bus, prefix, member)| json!([bus, prefix.as_str(), member])).collect();
    vec![Bytes::from_static(b"list_response"), Bytes::from(json::to_ascii(&Value::Array(rows)))]
}

/// `external_list` and `{platform: [prefix, ...]}`.
#[must_use]
pub fn external_list(platform: &str, prefixes: &[TopicPrefix]) -> Vec<Bytes> {
    operation("external_list", &json!({platform: texts(prefixes)}))
}

/// A peer's wish to subscribe.
#[must_use]
pub fn subscribe(prefixes: &[TopicPrefix], bus: &str, all_platforms: bool) -> Vec<Bytes> {
    operation("subscribe", &json!({"prefix": texts(prefixes), "bus": bus, "all_platforms": all_platforms}))
}

/// A peer's wish to unsubscribe.
#[must_use]
pub fn unsubscribe(internal: Option<&Selection>, all: Option<&Selection>) -> Vec<Bytes> {
    let of = |selection: &Selection| json!({"prefix": selection.prefixes.as_deref().map(texts), "bus": selection.bus});
    let given = [("internal", internal), ("all", all)].into_iter().filter_map(|(name, selection)| Some((name.to_owned(), of(selection?))));
    operation("unsubscribe", &Value::Object(given.collect()))
}

/// All subscriptions of a peer: bus and prefixes, for this platform and for all.
#[must_use]
pub fn synchronize(internal: &[(String, Vec<TopicPrefix>)], all: &[(String, Vec<TopicPrefix>)]) -> Vec<Bytes> {
    let of = |lists: &[(String, Vec<TopicPrefix>)]| lists.iter().map(|(bus, prefixes)| (bus.clone(), texts(prefixes))).collect();
    let subscriptions = json!({"subscriptions": {"internal": Value::Object(of(internal)), "all": Value::Object(of(all))}});
    vec![Bytes::from_static(b"synchronize"), Bytes::from_static(b"connected"), Bytes::from(json::to_ascii(&subscriptions))]
}

/// A peer's question for subscriptions.
#[must_use]
pub fn list(request: &List) -> Vec<Bytes> {
    let request = json!({
        "prefix": request.prefix.as_str(),
        "bus": request.bus,
        "subscribed": request.subscribed,
        "reverse": request.reverse,
        "all_platforms": request.all_platforms,
    });
    operation("list", &request)
}

fn operation(name: &'static str, request: &Value) -> Vec<Bytes> {
    vec![Bytes::from_static(name.as_bytes()), Bytes::from(json::to_ascii(request))]
}

fn texts(prefixes: &[TopicPrefix]) -> Value {
    prefixes.iter().map(|prefix| Value::from(prefix.as_str())).collect()
}
