//! Whether a file was edited: one `stat`, no reading.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Device, inode, size, and both times of change; the status change time cannot be set back by an editor. `None` if there is no file.
pub(crate) fn of(path: &Path) -> io::Result<Option<String>> {
    match std::fs::metadata(path) {
        Ok(m) => Ok(Some(format!(
            "{}:{}:{}:{}.{:09}:{}.{:09}",
            m.dev(),
            m.ino(),
            m.size(),
            m.mtime(),
            m.mtime_nsec(),
            m.ctime(),
            m.ctime_nsec()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
