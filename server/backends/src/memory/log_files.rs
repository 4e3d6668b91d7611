//! Log files in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use vt_types::timestamp::Timestamp;

use crate::log_files::{LogFile, LogFiles};
use crate::repositories::RepositoryError;

/// When it was written last, and what.
type Written = (Timestamp, Vec<u8>);

/// Log files that a test writes. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemoryLogFiles {
    files: Arc<Mutex<BTreeMap<String, Written>>>,
}

impl MemoryLogFiles {
    /// Writes a file as a whole.
    pub fn write(&self, name: &str, modified: Timestamp, content: &[u8]) {
        self.files.lock().insert(name.to_owned(), (modified, content.to_vec()));
    }
}

#[async_trait]
impl LogFiles for MemoryLogFiles {
    async fn list(&self) -> Result<Vec<LogFile>, RepositoryError> {
        let file = |(name, (modified, content)): (&String, &Written)| LogFile {
            name: name.clone(),
            file: format!("memory:{name}"),
            size_bytes: content.len() as u64,
            modified: *modified,
        };
        Ok(self.files.lock().iter().map(file).collect())
    }

    async fn read(&self, name: &str, from: u64, bytes_max: usize) -> Result<Vec<u8>, RepositoryError> {
        let files = self.files.lock();
        let (_, content) = files.get(name).ok_or_else(|| RepositoryError::NotFound(format!("the log file {name}")))?;
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        Ok(content.iter().skip(from).take(bytes_max).copied().collect())
    }
}
