//! Replacing a file as a whole: written beside it, flushed to the disk, renamed over it, and the directory flushed. After a crash at any
//! moment there is the old file or the new one. The temporary file has a fixed name (`<file>.tmp`), so that a crash leaves at most one,
//! which the next write replaces; writers of one file take turns.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Mode of files that hold secrets.
pub(crate) const PRIVATE: u32 = 0o600;
/// Mode of files that anybody on the machine may read.
pub(crate) const PUBLIC: u32 = 0o644;

/// Replaces `path` by `bytes`, with `mode` whatever mode it had.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // A link (to a mounted volume, say) is followed, so that the link stays.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let temporary = temporary_of(&target);
    let result = write_new(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, &target));
    if let Err(error) = result {
        // The error that matters is the first one; the next write replaces the rest.
        fs::remove_file(&temporary).ok();
        return Err(error);
    }
    sync_parent(&target)
}

/// Removes `path`; a missing file is no error.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_parent(path),
    }
}

/// Writes a file that is not in use yet, and flushes it.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    // The mode above is subject to the umask, and ignored for a file left by a crash.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes `path` and its parents; `mode` holds for those that are new.
pub(crate) fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(mode).create(path)?;
    sync_parent(path)
}

/// Flushes the directory entry of `path`.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

/// Reads a file of at most `bytes_max`; `None` if there is none.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(metadata) if metadata.len() > bytes_max => {
            let text = format!("the file has {} bytes; at most {bytes_max} are read", metadata.len());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        Ok(_) => {}
    }
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

fn temporary_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".tmp");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        fs::write(temporary_of(&path), "left by a crash").unwrap();
        write(&path, b"one", PRIVATE).unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (b"one".as_slice(), 0o600));
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        write(&path, b"two", PRIVATE).unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (b"two".as_slice(), 0o600));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        write(&path, b"old", PUBLIC).unwrap();
        fs::create_dir(temporary_of(&path)).unwrap();
        assert!(write(&path, b"new", PUBLIC).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert!(write(&directory.path().join("missing/f"), b"x", PUBLIC).is_err());
    }

    #[test]
    fn links_are_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&link, b"x", PUBLIC).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"x");
    }

    #[test]
    fn reading_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        assert!(read(&path, 3).unwrap().is_none());
        fs::write(&path, "abcd").unwrap();
        assert_eq!(read(&path, 4).unwrap().unwrap(), b"abcd");
        assert_eq!(read(&path, 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        remove(&path).unwrap();
        remove(&path).unwrap();
    }
}
