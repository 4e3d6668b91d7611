//! The log files of the platform, for reading from elsewhere. Who writes them and moves them away is not known here.

use async_trait::async_trait;
use vt_types::timestamp::Timestamp;

use crate::RepositoryError;

/// A log file as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Its name without a folder.
    pub name: String,
    /// Changes when another file takes the name.
    pub file: String,
    /// Length, bytes.
    pub size_bytes: u64,
    /// Last written.
    pub modified: Timestamp,
}

/// Reads log files.
#[async_trait]
pub trait LogFiles: Send + Sync {
    /// All that there are, by name; each name once.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn list(&self) -> Result<Vec<LogFile>, RepositoryError>;

    /// Up to `bytes_max` bytes of a listed file from byte `from` on; fewer at its end.
    ///
    /// # Errors
    /// `NotFound` for a name that [`LogFiles::list`] does not give, `Unavailable`.
    async fn read(&self, name: &str, from: u64, bytes_max: usize) -> Result<Vec<u8>, RepositoryError>;
}
