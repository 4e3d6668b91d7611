//! VIP identities: a peer's address on the bus. Source: VOLTTRON `volttron/platform/agent/known_identities.py` and `aip.py`.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Identities that the platform itself fixes.
pub mod known {
    /// Answers RPC for agent life cycle (`vctl`).
    pub const CONTROL: &str = "control";
    /// The peer as which VOLTTRON's own command line tools connect from outside.
    pub const CONTROL_CONNECTION: &str = "control.connection";
    /// The peer as which our command line tools speak, over the server's local socket.
    pub const CONTROL_LOCAL: &str = "control.local";
    /// The platform itself: the user id of its key, with which it connects to other platforms.
    pub const PLATFORM: &str = "platform";
    /// Looks up server keys of other platforms.
    pub const KEY_DISCOVERY: &str = "keydiscovery";
    /// The configuration store service.
    pub const CONFIG_STORE: &str = "config.store";
    /// Authorisation service.
    pub const PLATFORM_AUTH: &str = "platform.auth";
    /// Platform health service.
    pub const PLATFORM_HEALTH: &str = "platform.health";
    /// The web service.
    pub const PLATFORM_WEB: &str = "platform_web";
    /// The platform driver agent.
    pub const PLATFORM_DRIVER: &str = "platform.driver";
    /// The actuator agent.
    pub const PLATFORM_ACTUATOR: &str = "platform.actuator";
    /// The platform historian agent.
    pub const PLATFORM_HISTORIAN: &str = "platform.historian";

    /// Names under which other generations of VOLTTRON know a service, and its name here.
    pub const ALIASES: &[(&str, &str)] = &[
        ("platform.config_store", CONFIG_STORE),
        ("platform.control", CONTROL),
        ("platform.web", PLATFORM_WEB),
        ("master.web", PLATFORM_WEB),
    ];

    /// The name here of what a peer addresses.
    #[must_use]
    pub fn canonical(text: &str) -> &str {
        ALIASES.iter().find(|(alias, _)| *alias == text).map_or(text, |(_, name)| name)
    }

    /// Identities that belong to the platform and its services, in the spelling of every generation; agents may not be installed under
    /// them, and peers from outside may not take them.
    pub const SERVICES: &[&str] = &[
        CONTROL,
        CONTROL_CONNECTION,
        CONTROL_LOCAL,
        CONFIG_STORE,
        PLATFORM,
        PLATFORM_AUTH,
        PLATFORM_HEALTH,
        PLATFORM_WEB,
        KEY_DISCOVERY,
        "aip",
        "master.web",
        "platform.config_store",
        "platform.control",
        "platform.federation",
        "platform.web",
        "proxy_router",
        "pubsub",
        "zmq.proxy.router",
    ];

    /// Whether an identity belongs to the platform.
    #[must_use]
    pub fn is_reserved(identity: &str) -> bool {
        SERVICES.contains(&identity)
    }
}

/// Longest identity accepted, in bytes. ZeroMQ routing ids are limited to 255 bytes.
pub const IDENTITY_BYTES_MAX: usize = 255;

/// A VIP identity such as `platform.driver`: 1 to 255 characters out of `A-Z a-z 0-9 _ . -`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(Arc<str>);

/// Why a text is not an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Nothing was given.
    #[error("a VIP identity may not be empty")]
    Empty,
    /// Longer than [`IDENTITY_BYTES_MAX`].
    #[error("a VIP identity may have at most {IDENTITY_BYTES_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// A character outside the allowed set.
    #[error("a VIP identity may contain only letters A-Z, digits, '_', '.' and '-'; found {0:?}")]
    Character(char),
}

impl Identity {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`IdentityError`] names the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        if text.is_empty() {
            return Err(IdentityError::Empty);
        }
        if text.len() > IDENTITY_BYTES_MAX {
            return Err(IdentityError::TooLong(text.len()));
        }
        match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))) {
            Some(c) => Err(IdentityError::Character(c)),
            None => Ok(Self(Arc::from(text))),
        }
    }

    /// One of the fixed identities in [`known`], which are valid by construction (a unit test parses each).
    #[must_use]
    pub fn known(text: &'static str) -> Self {
        Self(Arc::from(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Borrow<str> for Identity {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Identity {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        Self::parse(text)
    }
}

impl serde::Serialize for Identity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Identity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_identities_are_valid() {
        for text in known::SERVICES.iter().chain(&[known::PLATFORM_DRIVER, known::PLATFORM_ACTUATOR, known::PLATFORM_HISTORIAN]) {
            assert_eq!(Identity::parse(text).unwrap(), Identity::known(text));
        }
    }

    #[test]
    fn hostile_names_are_refused_with_the_reason() {
        assert_eq!(Identity::parse(""), Err(IdentityError::Empty));
        assert_eq!(Identity::parse("<img onerror=x>"), Err(IdentityError::Character('<')));
        assert_eq!(Identity::parse("a/../b"), Err(IdentityError::Character('/')));
        assert_eq!(Identity::parse("a\u{202e}b"), Err(IdentityError::Character('\u{202e}')));
        assert_eq!(Identity::parse(&"x".repeat(65_536)), Err(IdentityError::TooLong(65_536)));
    }
}
