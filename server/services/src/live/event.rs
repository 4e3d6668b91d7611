//! One message on its way to viewers. Its texts are made when the first viewer needs them, and once for all of them.

use std::sync::{Arc, OnceLock};

use serde_json::Value;
use vt_types::Publication;
use vt_types::timestamp::Timestamp;

/// A message and when it arrived.
#[derive(Debug)]
pub struct LiveEvent {
    /// The message.
    pub publication: Arc<Publication>,
    /// When it arrived here.
    pub at: Timestamp,
    platform: Arc<str>,
    body: OnceLock<Arc<str>>,
    tail: OnceLock<Arc<str>>,
}

impl LiveEvent {
    pub(super) fn new(publication: Arc<Publication>, at: Timestamp, platform: Arc<str>) -> Self {
        Self { publication, at, platform, body: OnceLock::new(), tail: OnceLock::new() }
    }

    /// The message alone as JSON text.
    #[must_use]
    pub fn body(&self) -> &Arc<str> {
        self.body.get_or_init(|| Arc::from(self.publication.message.to_string()))
    }

    /// What all envelopes of this message have in common: `"platform":..,"topic":..,"headers":..,"message":..,"sender":..,"at":..}`.
    #[must_use]
    pub fn envelope_tail(&self) -> &Arc<str> {
        self.tail.get_or_init(|| {
            let publication = &self.publication;
            let text = |text: &str| Value::from(text).to_string();
            let headers = serde_json::to_string(&*publication.headers).unwrap_or_else(|_| "{}".to_owned());
            Arc::from(format!(
                "\"platform\":{},\"topic\":{},\"headers\":{headers},\"message\":{},\"sender\":\"{}\",\"at\":\"{}\"}}",
                text(&self.platform),
                text(publication.topic.as_str()),
                // Not `body()`: few messages are wanted in both forms, and keeping both would double the memory.
                publication.message,
                publication.sender,
                self.at.format("%Y-%m-%dT%H:%M:%S%.6fZ"),
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vt_types::{Headers, Identity, Topic};

    use super::*;

    #[test]
    fn texts_are_made_once_and_are_json() {
        let headers = Headers::new().with("Date", "x");
        let topic = Topic::parse("devices/a\"b/all").unwrap();
        let publication = Publication::new(Identity::known("platform.driver"), topic, headers, json!([{"T": 1.5}]));
        let event = LiveEvent::new(Arc::new(publication), Timestamp::default(), Arc::from("harbor1"));
        assert_eq!(&**event.body(), r#"[{"T":1.5}]"#);
        assert!(Arc::ptr_eq(event.envelope_tail(), event.envelope_tail()));
        let envelope: Value = serde_json::from_str(&format!("{{{}", event.envelope_tail())).unwrap();
        assert_eq!(
            envelope,
            json!({"platform": "harbor1", "topic": "devices/a\"b/all", "headers": {"Date": "x"}, "message": [{"T": 1.5}],
                   "sender": "platform.driver", "at": "1970-01-01T00:00:00.000000Z"})
        );
    }
}
