//! The configuration store on disk: `configuration_store/<identity>.store`, compact JSON
//! `{name: {"type": "json|csv|raw", "modified": time, "data": text}}`, one file per identity, removed when it has no entries.
//! Source: VOLTTRON `volttron/platform/store.py`.
//!
//! What a load had to leave out would be lost with the next save; the damaged file is therefore kept as `<identity>.store.broken` first.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use vt_backends::repositories::Loaded;
use vt_backends::{ConfigEntry, ConfigRepository, ConfigType, RepositoryError};
use vt_types::{Identity, timestamp};

use crate::atomic::{self, PUBLIC};
use crate::blocking::{self, unavailable};
use crate::json::{self as members, excerpt};

/// Largest store that is read, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The configuration store of a home.
#[derive(Debug, Clone)]
pub struct FileConfigs {
    directory: Arc<PathBuf>,
    /// Identities whose file on disk has more than was loaded. Held while writing, so that writers take turns.
    damaged: Arc<Mutex<BTreeSet<Identity>>>,
}

impl FileConfigs {
    /// The store of the home at `home`.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self { directory: Arc::new(home.join("configuration_store")), damaged: Arc::default() }
    }
}

#[async_trait]
impl ConfigRepository for FileConfigs {
    async fn load_all(&self) -> Result<Loaded<BTreeMap<Identity, Vec<ConfigEntry>>>, RepositoryError> {
        let (directory, damaged) = (Arc::clone(&self.directory), Arc::clone(&self.damaged));
        blocking::run("configuration store", move || load_all(&directory, &mut damaged.lock())).await
    }

    async fn save(&self, identity: &Identity, entries: &[ConfigEntry]) -> Result<(), RepositoryError> {
        let (directory, damaged, identity) = (Arc::clone(&self.directory), Arc::clone(&self.damaged), identity.clone());
        let bytes = (!entries.is_empty()).then(|| render(entries));
        blocking::run("configuration store", move || {
            let mut damaged = damaged.lock();
            let path = directory.join(format!("{identity}.store"));
            if damaged.contains(&identity) {
                let kept = directory.join(format!("{identity}.store.broken"));
                fs::copy(&path, &kept).map_err(unavailable(&kept))?;
                damaged.remove(&identity);
            }
            match bytes {
                Some(bytes) => {
                    atomic::make_directory(&directory, 0o755).map_err(unavailable(&directory))?;
                    atomic::write(&path, &bytes, PUBLIC).map_err(unavailable(&path))
                }
                None => atomic::remove(&path).map_err(unavailable(&path)),
            }
        })
        .await
    }
}

fn load_all(directory: &Path, damaged: &mut BTreeSet<Identity>) -> Result<Loaded<BTreeMap<Identity, Vec<ConfigEntry>>>, RepositoryError> {
    let mut loaded = Loaded { records: BTreeMap::new(), warnings: Vec::new() };
    let listing = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(loaded),
        other => other.map_err(unavailable(directory))?,
    };
    let mut paths = Vec::new();
    for entry in listing {
        paths.push(entry.map_err(unavailable(directory))?.path());
    }
    paths.sort();
    for path in paths {
        let Some(stem) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".store")) else { continue };
        let identity = match Identity::parse(stem) {
            Ok(identity) => identity,
            Err(error) => {
                loaded.warnings.push(format!("{}: the file is left out, its name is no identity: {error}", path.display()));
                continue;
            }
        };
        let before = loaded.warnings.len();
        let entries = load(&path, &mut loaded.warnings);
        if loaded.warnings.len() > before {
            damaged.insert(identity.clone());
        }
        if !entries.is_empty() {
            loaded.records.insert(identity, entries);
        }
    }
    Ok(loaded)
}

fn load(path: &Path, warnings: &mut Vec<String>) -> Vec<ConfigEntry> {
    let read = atomic::read(path, FILE_BYTES_MAX).map_err(unavailable(path));
    let parsed = read.and_then(|bytes| {
        let bytes = bytes.unwrap_or_default();
        if bytes.is_empty() { Ok((bytes, Vec::new())) } else { members::object(path, &bytes).map(|members| (bytes, members.0)) }
    });
    let (bytes, found) = match parsed {
        Ok(found) => found,
        Err(error) => {
            warnings.push(format!("the configuration store is left out: {error}"));
            return Vec::new();
        }
    };
    let mut names = HashSet::new();
    let mut entries = Vec::new();
    for (name, value) in found {
        let result = entry(&name, &value).and_then(|entry| {
            if names.insert(entry.name.to_lowercase()) { Ok(entry) } else { Err("another entry has the same name in other capitals") }
        });
        match result {
            Ok(entry) => entries.push(entry),
            Err(problem) => {
                let line = members::line_of(&bytes, &name).unwrap_or(1);
                warnings.push(format!("{} (line {line}): the entry {} is left out: {problem}", path.display(), excerpt(&name)));
            }
        }
    }
    entries
}

fn entry(name: &str, value: &Value) -> Result<ConfigEntry, &'static str> {
    if name.is_empty() {
        return Err("it has no name");
    }
    let object = value.as_object().ok_or("it is not an object")?;
    let word = object.get("type").and_then(Value::as_str).ok_or("\"type\" is missing")?;
    let config_type = ConfigType::parse(word).ok_or("\"type\" is none of json, csv and raw")?;
    let data = object.get("data").and_then(Value::as_str).ok_or("\"data\" is missing or is not text")?;
    let modified = object.get("modified").and_then(Value::as_str).and_then(|text| timestamp::parse(text).ok());
    Ok(ConfigEntry { name: name.to_owned(), config_type, modified: modified.map(timestamp::Parsed::assume_utc), data: data.to_owned() })
}

fn render(entries: &[ConfigEntry]) -> Vec<u8> {
    let object: Map<String, Value> = entries
        .iter()
        .map(|entry| {
            let modified = entry.modified.map(timestamp::format);
            (entry.name.clone(), json!({"type": entry.config_type.as_str(), "modified": modified, "data": entry.data}))
        })
        .collect();
    Value::Object(object).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity::parse("platform.driver").unwrap()
    }

    fn entry_of(name: &str, data: &str) -> ConfigEntry {
        let modified = Some(timestamp::parse("2026-11-24T00:06:57.948933+00:00").unwrap().assume_utc());
        ConfigEntry { name: name.to_owned(), config_type: ConfigType::Json, modified, data: data.to_owned() }
    }

    fn home_with(file: &str, text: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("configuration_store");
        fs::create_dir(&directory).unwrap();
        let path = directory.join(file);
        fs::write(&path, text).unwrap();
        (home, path)
    }

    #[tokio::test]
    async fn the_file_is_compact_json_as_volttron_writes_it() {
        let home = tempfile::tempdir().unwrap();
        let store = FileConfigs::new(home.path());
        store.save(&identity(), &[entry_of("config", "{\"a\": 1}")]).await.unwrap();
        let path = home.path().join("configuration_store/platform.driver.store");
        let expected = r#"{"config":{"type":"json","modified":"2026-11-24T00:06:57.948933+00:00","data":"{\"a\": 1}"}}"#;
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        store.save(&identity(), &[]).await.unwrap();
        assert!(!path.exists());
        store.save(&identity(), &[]).await.unwrap();
    }

    #[tokio::test]
    async fn old_files_are_read_and_bad_entries_are_left_out_with_their_line() {
        let text = br#"{"config": {"type": "JSON", "data": "{}"},
"no type": {"data": ""},
"bad type": {"type": "xml", "data": ""},
"no data": {"type": "raw"},
"number": 7,
"": {"type": "raw", "data": ""},
"CONFIG": {"type": "raw", "data": "later"},
"r.csv": {"type": "csv", "modified": "yesterday", "data": "a,b\n1,2\n"}}"#;
        let (home, path) = home_with("platform.driver.store", text);
        let store = FileConfigs::new(home.path());
        let loaded = store.load_all().await.unwrap();
        let entries = &loaded.records[&identity()];
        assert_eq!(entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["config", "r.csv"]);
        assert!(entries.iter().all(|entry| entry.modified.is_none()));
        assert_eq!(loaded.warnings.len(), 6, "{:#?}", loaded.warnings);
        assert!(loaded.warnings[0].contains("platform.driver.store (line 2): the entry \"no type\" is left out"));
        // The next save keeps what was left out beside the store, once.
        store.save(&identity(), entries).await.unwrap();
        let broken = path.with_extension("store.broken");
        assert_eq!(fs::read(&broken).unwrap(), text);
        fs::remove_file(&broken).unwrap();
        store.save(&identity(), entries).await.unwrap();
        assert!(!broken.exists());
    }

    #[tokio::test]
    async fn unreadable_stores_and_strange_names_are_left_out() {
        let (home, path) = home_with("platform.driver.store", b"{\"config\": {\"type\": \"js");
        let directory = path.parent().unwrap();
        for name in ["a b.store", "notes.txt", "x.store.tmp", "<img onerror=1>.store"] {
            fs::write(directory.join(name), "{}").unwrap();
        }
        fs::write(directory.join("empty.store"), "").unwrap();
        fs::write(directory.join("good.store"), br#"{"c": {"type": "raw", "data": "x"}}"#).unwrap();
        fs::create_dir(directory.join("folder.store")).unwrap();
        let loaded = FileConfigs::new(home.path()).load_all().await.unwrap();
        assert_eq!(loaded.records.keys().map(Identity::as_str).collect::<Vec<_>>(), ["good"]);
        assert_eq!(loaded.warnings.len(), 4, "{:#?}", loaded.warnings);
        assert!(loaded.warnings.iter().any(|warning| warning.contains("platform.driver.store (line 1): the file ends too early")));
    }

    #[tokio::test]
    async fn a_home_without_store_is_empty() {
        let home = tempfile::tempdir().unwrap();
        let loaded = FileConfigs::new(home.path()).load_all().await.unwrap();
        assert!(loaded.records.is_empty() && loaded.warnings.is_empty());
    }
}
