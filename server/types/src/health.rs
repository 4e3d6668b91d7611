//! Health words of agents. Source: VOLTTRON `volttron/platform/messaging/health.py`.

use serde_json::{Value, json};

use crate::timestamp::{self, Timestamp};

/// How an agent says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StatusWord {
    /// All is well.
    Good,
    /// Something needs attention.
    Bad,
    /// Nothing is known.
    Unknown,
    /// Not ready yet.
    Starting,
}

impl StatusWord {
    /// As on the wire: `GOOD`, `BAD`, `UNKNOWN`, `STARTING`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "GOOD",
            Self::Bad => "BAD",
            Self::Unknown => "UNKNOWN",
            Self::Starting => "STARTING",
        }
    }

    /// The word of `text`; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Good, Self::Bad, Self::Unknown, Self::Starting].into_iter().find(|word| word.as_str() == text)
    }
}

/// Status of an agent: `{"status", "context", "last_updated"}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The word.
    pub word: StatusWord,
    /// Why: null, text or an object.
    pub context: Value,
    /// When the status was last set.
    pub last_updated: Timestamp,
}

impl Status {
    /// The wire form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"status": self.word.as_str(), "context": self.context, "last_updated": timestamp::format(self.last_updated)})
    }
}
