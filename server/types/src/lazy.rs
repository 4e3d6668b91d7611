//! JSON that came as text and is understood only when somebody looks at it: a message that merely passes through a platform is never
//! parsed.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;

use crate::Headers;

/// A `T`, known at once or made from JSON text at the first look.
pub struct Lazy<T> {
    value: OnceLock<T>,
    source: Option<Source<T>>,
}

/// The text and what makes a `T` of it. The function cannot fail, because there is nobody to tell at the time of the first look: who
/// accepts a text checks its form first.
struct Source<T> {
    text: Bytes,
    parse: fn(&[u8]) -> T,
}

impl<T> Lazy<T> {
    /// A known value.
    #[must_use]
    pub fn of(value: T) -> Self {
        Self { value: OnceLock::from(value), source: None }
    }

    /// `text` is well-formed JSON; `parse` runs at the first look.
    #[must_use]
    pub fn from_text(text: Bytes, parse: fn(&[u8]) -> T) -> Self {
        Self { value: OnceLock::new(), source: Some(Source { text, parse }) }
    }

    /// The text that it came from, if it came as one.
    #[must_use]
    pub fn source_text(&self) -> Option<&Bytes> {
        self.source.as_ref().map(|source| &source.text)
    }

    fn look(&self) -> &T {
        self.value.get_or_init(|| match &self.source {
            Some(source) => (source.parse)(&source.text),
            // A value without a source is set where it is made.
            None => unreachable!("a known value is known"),
        })
    }
}

impl<T> Deref for Lazy<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.look()
    }
}

impl<T: Clone> Clone for Lazy<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), source: self.source.as_ref().map(|s| Source { text: s.text.clone(), parse: s.parse }) }
    }
}

impl<T: PartialEq> PartialEq for Lazy<T> {
    fn eq(&self, other: &Self) -> bool {
        self.look() == other.look()
    }
}

impl<T: fmt::Debug> fmt::Debug for Lazy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.look().fmt(f)
    }
}

/// The body of a message: any JSON. Cheap to share.
#[derive(Debug, Clone, PartialEq)]
pub struct Body(Lazy<Arc<Value>>);

impl Body {
    /// A body that came as well-formed JSON text.
    #[must_use]
    pub fn from_text(text: Bytes, parse: fn(&[u8]) -> Arc<Value>) -> Self {
        Self(Lazy::from_text(text, parse))
    }

    /// The text that it came as, if it came as one.
    #[must_use]
    pub fn source_text(&self) -> Option<&Bytes> {
        self.0.source_text()
    }

    /// The value, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<Value> {
        Arc::clone(&self.0)
    }
}

impl Deref for Body {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl AsRef<Value> for Body {
    fn as_ref(&self) -> &Value {
        self
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

impl<T: Into<Arc<Value>>> From<T> for Body {
    fn from(value: T) -> Self {
        Self(Lazy::of(value.into()))
    }
}

impl From<Headers> for Lazy<Headers> {
    fn from(headers: Headers) -> Self {
        Self::of(headers)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_parsed_at_the_first_look_and_kept_as_it_came() {
        let parse: fn(&[u8]) -> Arc<Value> = |text| Arc::new(serde_json::from_slice(text).unwrap());
        let body = Body::from_text(Bytes::from_static(b"[1.0 ]"), parse);
        assert_eq!(body, Body::from(json!([1.0])));
        assert_eq!(body.source_text().unwrap().as_ref(), b"[1.0 ]");
        assert!(Arc::ptr_eq(&body.shared(), &body.shared()), "parsed once");
        assert!(Body::from(json!(null)).source_text().is_none());
    }
}
