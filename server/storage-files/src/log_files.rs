//! Log files: those of the home (`*.log`, `*.log.*`), and the one that the platform writes with those beside it that were moved away
//! (`<name>.<number>`). Links are left out, for they may lead anywhere. Source: modular `volttron/server/logs.py`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use vt_backends::{LogFile, LogFiles, RepositoryError};

use crate::blocking::{self, unavailable};

/// The log files of a platform.
#[derive(Debug, Clone)]
pub struct FileLogs {
    places: Arc<Places>,
}

#[derive(Debug)]
struct Places {
    home: PathBuf,
    /// What the platform writes, if it writes a file.
    own: Option<PathBuf>,
}

impl FileLogs {
    /// Those of the home at `home`, and the file that is written.
    #[must_use]
    pub fn new(home: &Path, own: Option<PathBuf>) -> Self {
        Self { places: Arc::new(Places { home: home.to_owned(), own }) }
    }
}

#[async_trait]
impl LogFiles for FileLogs {
    async fn list(&self) -> Result<Vec<LogFile>, RepositoryError> {
        let places = Arc::clone(&self.places);
        blocking::run("log files", move || {
            let describe = |(name, path): (String, PathBuf)| {
                let metadata = fs::symlink_metadata(path).ok()?;
                let modified = metadata.modified().ok()?.into();
                Some(LogFile { name, file: format!("{}:{}", metadata.dev(), metadata.ino()), size_bytes: metadata.len(), modified })
            };
            // One that was moved away meanwhile is left out.
            Ok(places.find()?.into_iter().filter_map(describe).collect())
        })
        .await
    }

    async fn read(&self, name: &str, from: u64, bytes_max: usize) -> Result<Vec<u8>, RepositoryError> {
        let (places, name) = (Arc::clone(&self.places), name.to_owned());
        blocking::run("log files", move || {
            let path = places.find()?.remove(&name).ok_or_else(|| RepositoryError::NotFound(format!("the log file {name}")))?;
            read(&path, from, bytes_max).map_err(unavailable(&path))
        })
        .await
    }
}

impl Places {
    fn find(&self) -> Result<BTreeMap<String, PathBuf>, RepositoryError> {
        let mut found = BTreeMap::new();
        look(&self.home, &mut found, |name| name.ends_with(".log") || name.contains(".log.")).map_err(unavailable(&self.home))?;
        if let Some(own) = &self.own
            && let (Some(folder), Some(base)) = (own.parent(), own.file_name().and_then(|name| name.to_str()))
        {
            let is_moved = |name: &str| name.strip_prefix(base).and_then(|rest| rest.strip_prefix('.')).is_some_and(is_number);
            look(folder, &mut found, |name| name == base || is_moved(name)).map_err(unavailable(folder))?;
        }
        Ok(found)
    }
}

fn look(folder: &Path, found: &mut BTreeMap<String, PathBuf>, fits: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && fits(&name)
            && entry.file_type()?.is_file()
        {
            found.insert(name, entry.path());
        }
    }
    Ok(())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn read(path: &Path, from: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut content = Vec::new();
    file.take(bytes_max as u64).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn logs_are_found_in_the_home_and_where_the_platform_writes_and_nothing_else_is() {
        let (home, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |folder: &tempfile::TempDir, name: &str| fs::write(folder.path().join(name), name).unwrap();
        for name in ["volttron.log", "volttron.log.1", "config", "web-users.json", "catalog"] {
            write(&home, name);
        }
        for name in ["platform.txt", "platform.txt.2", "platform.txt.bak", "platform.txt.", "other.log"] {
            write(&elsewhere, name);
        }
        std::os::unix::fs::symlink(home.path().join("config"), home.path().join("sly.log")).unwrap();
        fs::create_dir(home.path().join("folder.log")).unwrap();
        let logs = FileLogs::new(home.path(), Some(elsewhere.path().join("platform.txt")));
        let listed = logs.list().await.unwrap();
        let names: Vec<_> = listed.iter().map(|log| log.name.as_str()).collect();
        assert_eq!(names, ["platform.txt", "platform.txt.2", "volttron.log", "volttron.log.1"]);
        assert_eq!(listed[2].size_bytes, 12);
        assert_eq!(logs.read("volttron.log.1", 9, 100).await.unwrap(), b"log.1");
        assert_eq!(logs.read("platform.txt.2", 0, 4).await.unwrap(), b"plat");
        assert_eq!(logs.read("volttron.log", 100, 4).await.unwrap(), b"");
        for bad in ["config", "sly.log", "../config", "other.log", ""] {
            assert!(matches!(logs.read(bad, 0, 10).await, Err(RepositoryError::NotFound(_))), "{bad}");
        }
        let before = listed[2].file.clone();
        fs::rename(home.path().join("volttron.log"), home.path().join("volttron.log.2")).unwrap();
        write(&home, "volttron.log");
        assert_ne!(logs.list().await.unwrap()[2].file, before, "another file under the name");
    }
}
