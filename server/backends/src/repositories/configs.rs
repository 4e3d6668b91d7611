//! Entries of the configuration store. Source: VOLTTRON `configuration_store/<identity>.store`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use vt_types::Identity;
use vt_types::timestamp::Timestamp;

use super::{Loaded, RepositoryError};

/// How an entry's text is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConfigType {
    /// Object or array; comments allowed.
    Json,
    /// Header row, then rows.
    Csv,
    /// Any text.
    Raw,
}

impl ConfigType {
    /// `json`, `csv`, `raw`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Raw => "raw",
        }
    }

    /// The type of a word, without regard to case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Json, Self::Csv, Self::Raw].into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text))
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Name as given; compared without regard to case.
    pub name: String,
    /// How to read `data`.
    pub config_type: ConfigType,
    /// When it was stored; unknown in files of old versions.
    pub modified: Option<Timestamp>,
    /// The raw text.
    pub data: String,
}

/// Keeps the configuration store, one list of entries per identity.
#[async_trait]
pub trait ConfigRepository: Send + Sync {
    /// Everything that is stored.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`]. Unreadable stores and invalid entries are left out with a warning.
    async fn load_all(&self) -> Result<Loaded<BTreeMap<Identity, Vec<ConfigEntry>>>, RepositoryError>;

    /// Replaces all entries of `identity` at once; no entries removes the store.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`]; then the old entries are still stored.
    async fn save(&self, identity: &Identity, entries: &[ConfigEntry]) -> Result<(), RepositoryError>;
}
