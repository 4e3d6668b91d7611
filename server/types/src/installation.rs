//! What an installed agent carries: UUID, tag, priority. Source: VOLTTRON `volttron/platform/aip.py`, `control`.

use std::fmt;

use crate::topic::is_control;

/// Longest tag, in characters.
pub const TAG_CHARS_MAX: usize = 64;

/// Why a text is no UUID, tag or priority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstallationError {
    /// Not a UUID.
    #[error("{0:?} is not an agent UUID")]
    Uuid(String),
    /// Not 0-99.
    #[error("Priority must be an integer from 0 - 99. Received: {0}.")]
    Priority(String),
    /// Empty, too long, or with control characters.
    #[error("a tag has 1 to {TAG_CHARS_MAX} characters and no control characters")]
    Tag,
}

/// Installation id: 36 characters, lower case. Copied freely.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentUuid([u8; 36]);

impl AgentUuid {
    /// Parses the hyphenated form.
    ///
    /// # Errors
    /// [`InstallationError::Uuid`].
    pub fn parse(text: &str) -> Result<Self, InstallationError> {
        let error = || InstallationError::Uuid(text.chars().take(64).collect());
        let bytes: [u8; 36] = text.as_bytes().try_into().map_err(|_| error())?;
        let valid = bytes.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        });
        if valid { Ok(Self(bytes.map(|b| b.to_ascii_lowercase()))) } else { Err(error()) }
    }

    /// The hyphenated text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The bytes were checked to be ASCII when they came in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for AgentUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AgentUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for AgentUuid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The user's nickname for an agent: 1 to 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// Parses `text`, trimmed.
    ///
    /// # Errors
    /// [`InstallationError::Tag`].
    pub fn parse(text: &str) -> Result<Self, InstallationError> {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > TAG_CHARS_MAX || text.chars().any(is_control) {
            return Err(InstallationError::Tag);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Start order, 0 to 99, kept as text because VOLTTRON sorts it as text ("9" after "50"). `enable` writes two digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Priority(String);

impl Priority {
    /// Parses digits with a value of 0 to 99.
    ///
    /// # Errors
    /// [`InstallationError::Priority`] with VOLTTRON's text.
    pub fn parse(text: &str) -> Result<Self, InstallationError> {
        let text = text.trim();
        let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
        if digits { Ok(Self(text.to_owned())) } else { Err(InstallationError::Priority(text.chars().take(64).collect())) }
    }

    /// The text as stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> u8 {
        self.0.parse().unwrap_or(0)
    }

    /// The same value in two digits, as `vctl enable` writes it.
    #[must_use]
    pub fn padded(&self) -> Self {
        Self(format!("{:02}", self.value()))
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self("50".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_0_to_99() {
        for bad in ["100", "-1", "abc", "", "٣"] {
            assert!(Priority::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Priority::parse("5").unwrap().padded().as_str(), "05");
    }

    #[test]
    fn tags_are_bounded() {
        assert!(Tag::parse(&"x".repeat(65)).is_err());
        assert!(Tag::parse(&"é".repeat(64)).is_ok());
        assert!(Tag::parse("a\u{202e}").is_err());
        assert!(Tag::parse("<img onerror=1>").is_ok(), "shown escaped, never refused for its looks");
    }

    #[test]
    fn uuids_are_checked() {
        assert!(AgentUuid::parse("8b1e0000-0000-4000-8000-00000000000A").is_ok());
        assert!(AgentUuid::parse("../../../../../../../../../etc/passwd").is_err());
    }
}
