//! What a historian keeps. Source: VOLTTRON `volttron/platform/agent/base_historian.py`.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::timestamp::Timestamp;

/// One stored reading. Key: (topic, timestamp); a later value for the same key replaces the earlier.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryRecord {
    /// When the value held, UTC, microseconds.
    pub timestamp: Timestamp,
    /// Stored topic: `campus/building/unit/point`, without `devices/` and `all`. Shared between records.
    pub topic: Arc<str>,
    /// Where it came from: `scrape`, `analysis`, `log`, `record`, `actuator` or `forwarded`.
    pub source: Source,
    /// Any JSON, null included.
    pub value: Value,
    /// `{units, type, tz}` or empty. Shared between records of a topic.
    pub meta: Arc<Map<String, Value>>,
}

/// Which subscription a record came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// `devices/.../all`.
    Scrape,
    /// `analysis/...`.
    Analysis,
    /// `datalogger/...`.
    Log,
    /// `record/...`.
    Record,
    /// `devices/actuators/...`.
    Actuator,
    /// A whole message on its way to another platform; the value is `{"headers": {...}, "message": ...}`.
    Forwarded,
}

impl Source {
    /// The word stored in cache files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scrape => "scrape",
            Self::Analysis => "analysis",
            Self::Log => "log",
            Self::Record => "record",
            Self::Actuator => "actuator",
            Self::Forwarded => "forwarded",
        }
    }

    /// The source of a stored word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Scrape, Self::Analysis, Self::Log, Self::Record, Self::Actuator, Self::Forwarded]
            .into_iter()
            .find(|source| source.as_str() == text)
    }
}
