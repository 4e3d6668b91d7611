//! Topics, topic prefixes and device paths, built and taken apart here only.
//! Source: VOLTTRON `volttron/platform/messaging/topics.py`, platform driver documentation.

use std::fmt;
use std::sync::Arc;

/// Longest topic or prefix, in bytes.
pub const TOPIC_BYTES_MAX: usize = 1024;

/// Root of everything that devices publish.
pub const DEVICES: &str = "devices";
/// Last segment of a message that carries all points of a device.
pub const ALL: &str = "all";

/// Why a text is not a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Nothing was given.
    #[error("a topic may not be empty")]
    Empty,
    /// Longer than [`TOPIC_BYTES_MAX`].
    #[error("a topic may have at most {TOPIC_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// A control character (including NUL, line ends and bidirectional overrides).
    #[error("a topic may not contain the control character {0:?}")]
    Control(char),
    /// A device path with an empty, `.` or `..` segment, or with a slash at an end.
    #[error("a device path is made of names separated by single slashes, such as campus/building/unit; {0:?} is not")]
    Segments(String),
}

fn check(text: &str) -> Result<(), TopicError> {
    if text.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::TooLong(text.len()));
    }
    match text.chars().find(|c| is_control(*c)) {
        Some(c) => Err(TopicError::Control(c)),
        None => Ok(()),
    }
}

/// Control characters and the invisible ones that reorder text; neither belongs in a name that people read.
#[must_use]
pub fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// What a message is published on: slash-separated text, 1 to 1024 bytes, no control characters. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`TopicError`] names what is wrong.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        check(text)?;
        Ok(Self(Arc::from(text)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The device path of `devices/<path>/all`; `None` for any other topic, breadth-first ones included.
    #[must_use]
    pub fn device_all(&self) -> Option<DevicePath> {
        let path = self.0.strip_prefix("devices/")?.strip_suffix("/all")?;
        DevicePath::parse(path).ok()
    }
}

/// The start of topics that a subscriber wants; plain text, may be empty (everything), matched without regard to segments:
/// `devices/a` also gets `devices/ab`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TopicPrefix(Arc<str>);

impl TopicPrefix {
    /// Parses `text`; empty is allowed.
    ///
    /// # Errors
    /// [`TopicError`] names what is wrong.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        check(text)?;
        Ok(Self(Arc::from(text)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a message on `topic` is wanted.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        topic.0.starts_with(&*self.0)
    }
}

/// A device's place, such as `campus/building/unit`: one or more non-empty segments, without the `devices/` root.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DevicePath(Arc<str>);

impl DevicePath {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`TopicError::Segments`] for empty or relative segments, else as for a topic.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        check(text)?;
        if text.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(TopicError::Segments(text.to_owned()));
        }
        Ok(Self(Arc::from(text)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `devices/<path>/all`, the depth-first topic with all points.
    #[must_use]
    pub fn depth_first_all(&self) -> Topic {
        Topic(Arc::from(format!("{DEVICES}/{}/{ALL}", self.0)))
    }

    /// `devices/<path>/<point>`, the depth-first topic of one point.
    #[must_use]
    pub fn depth_first(&self, point: &str) -> Topic {
        Topic(Arc::from(format!("{DEVICES}/{}/{point}", self.0)))
    }

    /// `devices/all/<path reversed>`, the breadth-first topic with all points.
    #[must_use]
    pub fn breadth_first_all(&self) -> Topic {
        Topic(Arc::from(format!("{DEVICES}/{ALL}/{}", self.reversed())))
    }

    /// `devices/<point>/<path reversed>`, the breadth-first topic of one point.
    #[must_use]
    pub fn breadth_first(&self, point: &str) -> Topic {
        Topic(Arc::from(format!("{DEVICES}/{point}/{}", self.reversed())))
    }

    fn reversed(&self) -> String {
        self.0.rsplit('/').collect::<Vec<_>>().join("/")
    }
}

macro_rules! text_type {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
        impl std::str::FromStr for $name {
            type Err = TopicError;
            fn from_str(text: &str) -> Result<Self, TopicError> {
                Self::parse(text)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}
text_type!(Topic);
text_type!(TopicPrefix);
text_type!(DevicePath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_topics_are_built_and_taken_apart() {
        let path = DevicePath::parse("campus/building/unit").unwrap();
        assert_eq!(path.depth_first_all().as_str(), "devices/campus/building/unit/all");
        assert_eq!(path.breadth_first_all().as_str(), "devices/all/unit/building/campus");
        assert_eq!(path.depth_first("T").as_str(), "devices/campus/building/unit/T");
        assert_eq!(path.breadth_first("T").as_str(), "devices/T/unit/building/campus");
        assert_eq!(path.depth_first_all().device_all(), Some(path.clone()));
        assert_eq!(path.breadth_first_all().device_all(), None);
    }

    #[test]
    fn prefix_matching_ignores_segments() {
        let prefix = TopicPrefix::parse("devices/a").unwrap();
        assert!(prefix.matches(&Topic::parse("devices/ab/all").unwrap()));
        assert!(!prefix.matches(&Topic::parse("device/a").unwrap()));
        assert!(TopicPrefix::default().matches(&Topic::parse("x").unwrap()));
    }

    #[test]
    fn hostile_topics_are_refused() {
        assert_eq!(Topic::parse(""), Err(TopicError::Empty));
        assert_eq!(Topic::parse("a\nb"), Err(TopicError::Control('\n')));
        assert_eq!(Topic::parse("a\u{202e}b"), Err(TopicError::Control('\u{202e}')));
        assert_eq!(Topic::parse(&"x".repeat(65_536)), Err(TopicError::TooLong(65_536)));
        assert!(matches!(DevicePath::parse("a/../b"), Err(TopicError::Segments(_))));
        assert!(matches!(DevicePath::parse("/a"), Err(TopicError::Segments(_))));
        assert!(Topic::parse("devices/.*[a-z]+(").is_ok());
    }
}
