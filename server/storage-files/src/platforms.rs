//! Which other platforms there are: `external_platform_discovery.json`, `{"<name>": {"vip-address", "instance-name", "serverkey"}}`, and
//! while setting up `external_address.json`, a list of web addresses. Edited by people and by VOLTTRON while the server runs; members of an
//! entry that mean nothing here stay. Source: vip-zmq.md §9.1, VOLTTRON `volttron/platform/vip/keydiscovery.py`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Map, Value};
use vt_backends::repositories::Loaded;
use vt_backends::{Platform, RepositoryError};
use vt_types::PublicKey;

use crate::atomic::{self, PUBLIC};
use crate::blocking::{self, unavailable};
use crate::json::{self as members, corrupt, excerpt};
use crate::stamp;

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most web addresses; more are refused. VOLTTRON's own message for them holds as many.
const ADDRESSES_MAX: usize = 1024;

/// The two files of a home.
#[derive(Debug, Clone)]
pub struct FilePlatforms {
    known: Arc<PathBuf>,
    addresses: Arc<PathBuf>,
    writing: Arc<Mutex<()>>,
}

impl FilePlatforms {
    /// Those of the home at `home`.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        let file = |name: &str| Arc::new(home.join(name));
        Self { known: file("external_platform_discovery.json"), addresses: file("external_address.json"), writing: Arc::default() }
    }

    /// Changes whenever somebody edits the known platforms; `None` while there is no file.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn stamp(&self) -> Result<Option<String>, RepositoryError> {
        stamp_of(&self.known).await
    }

    /// The known platforms; entries that make no sense are left out with a warning.
    ///
    /// # Errors
    /// `Unavailable`; `Corrupt` when the file holds no object.
    pub async fn load(&self) -> Result<Loaded<Vec<Platform>>, RepositoryError> {
        let path = Arc::clone(&self.known);
        blocking::run("external_platform_discovery.json", move || {
            let mut loaded = Loaded { records: Vec::new(), warnings: Vec::new() };
            for (name, entry) in read(&path)? {
                match platform(&entry) {
                    Ok(platform) => loaded.records.push(platform),
                    Err(problem) => loaded.warnings.push(format!("the entry {} {problem}", excerpt(&name))),
                }
            }
            Ok(loaded)
        })
        .await
    }

    /// Adds a platform, or changes the entry of its name.
    ///
    /// # Errors
    /// As [`FilePlatforms::load`]; nothing is changed then.
    pub async fn put(&self, platform: &Platform) -> Result<(), RepositoryError> {
        let (path, writing, platform) = (Arc::clone(&self.known), Arc::clone(&self.writing), platform.clone());
        blocking::run("external_platform_discovery.json", move || {
            let _turn = writing.lock();
            let mut all = read(&path)?;
            let before = all.clone();
            if !all.get(&platform.name).is_some_and(Value::is_object) {
                all.insert(platform.name.clone(), Value::Object(Map::new()));
            }
            if let Some(entry) = all.get_mut(&platform.name).and_then(Value::as_object_mut) {
                for (name, value) in
                    [("serverkey", platform.server_key.to_string()), ("vip-address", platform.address), ("instance-name", platform.name)]
                {
                    entry.insert(name.to_owned(), value.into());
                }
            }
            if all == before {
                return Ok(());
            }
            let text = format!("{:#}\n", Value::Object(all));
            atomic::write(&path, text.as_bytes(), PUBLIC).map_err(unavailable(&path))
        })
        .await
    }

    /// Changes whenever somebody edits the web addresses; `None` while there is no file.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn addresses_stamp(&self) -> Result<Option<String>, RepositoryError> {
        stamp_of(&self.addresses).await
    }

    /// The web addresses at which other platforms are looked for while setting up.
    ///
    /// # Errors
    /// `Unavailable`; `Corrupt` when the file holds no list of texts, or more than [`ADDRESSES_MAX`].
    pub async fn web_addresses(&self) -> Result<Vec<String>, RepositoryError> {
        let path = Arc::clone(&self.addresses);
        blocking::run("external_address.json", move || {
            let Some(bytes) = read_filled(&path)? else { return Ok(Vec::new()) };
            let wrong = |line| corrupt(&path, line, "it must hold a list of web addresses, such as [\"https://other:8443\"]");
            let mut list: Vec<String> = serde_json::from_slice(&bytes).map_err(|error| wrong(Some(error.line())))?;
            if list.len() > ADDRESSES_MAX {
                return Err(corrupt(&path, None, format!("it may hold at most {ADDRESSES_MAX} addresses, and holds {}", list.len())));
            }
            list.iter_mut().for_each(|address| *address = address.trim().trim_end_matches('/').to_owned());
            list.sort_unstable();
            list.dedup();
            Ok(list)
        })
        .await
    }
}

async fn stamp_of(path: &Arc<PathBuf>) -> Result<Option<String>, RepositoryError> {
    let path = Arc::clone(path);
    blocking::run("a file of other platforms", move || stamp::of(&path).map_err(unavailable(&path))).await
}

/// The contents; `None` without a file, or with nothing in it.
fn read_filled(path: &Path) -> Result<Option<Vec<u8>>, RepositoryError> {
    let bytes = atomic::read(path, FILE_BYTES_MAX).map_err(unavailable(path))?;
    Ok(bytes.filter(|bytes| !bytes.iter().all(u8::is_ascii_whitespace)))
}

fn read(path: &Path) -> Result<Map<String, Value>, RepositoryError> {
    let Some(bytes) = read_filled(path)? else { return Ok(Map::new()) };
    Ok(members::object(path, &bytes)?.0.into_iter().collect())
}

fn platform(entry: &Value) -> Result<Platform, String> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| format!("has no {name}"));
    let server_key = PublicKey::parse(&text("serverkey")?).map_err(|error| format!("has no usable serverkey: {error}"))?;
    Ok(Platform { name: text("instance-name")?, address: text("vip-address")?, server_key })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM";

    fn files() -> (tempfile::TempDir, FilePlatforms) {
        let home = tempfile::tempdir().unwrap();
        let files = FilePlatforms::new(home.path());
        (home, files)
    }

    #[tokio::test]
    async fn good_entries_count_beside_wrong_ones_and_a_broken_file_is_an_error() {
        let (home, files) = files();
        assert!(files.load().await.unwrap().records.is_empty() && files.stamp().await.unwrap().is_none());
        let path = home.path().join("external_platform_discovery.json");
        std::fs::write(&path, " \n").unwrap();
        assert!(files.load().await.unwrap().records.is_empty());
        let text = format!(
            r#"{{"p2": {{"vip-address": "tcp://h:22916", "instance-name": "p2", "serverkey": "{KEY}"}}, "p3": {{"serverkey": "short"}}}}"#
        );
        std::fs::write(&path, text).unwrap();
        let loaded = files.load().await.unwrap();
        assert_eq!((loaded.records.len(), loaded.records[0].address.as_str()), (1, "tcp://h:22916"));
        assert!(loaded.warnings[0].contains("\"p3\" has no usable serverkey"), "{:?}", loaded.warnings);
        std::fs::write(&path, "{\"p2\": ").unwrap();
        assert!(files.load().await.unwrap_err().to_string().contains("(line 1)"));
        let platform = Platform { name: "p4".to_owned(), address: "tcp://x:1".to_owned(), server_key: PublicKey::parse(KEY).unwrap() };
        assert!(files.put(&platform).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"p2\": ", "what cannot be read is not overwritten");
    }

    #[tokio::test]
    async fn a_platform_is_added_and_changed_and_what_others_wrote_stays() {
        let (home, files) = files();
        let path = home.path().join("external_platform_discovery.json");
        std::fs::write(&path, r#"{"far": 1, "p2": {"note": "ours"}}"#).unwrap();
        let mut platform = Platform { name: "p2".to_owned(), address: "tcp://h:1".to_owned(), server_key: PublicKey::parse(KEY).unwrap() };
        files.put(&platform).await.unwrap();
        platform.address = "tcp://h:2".to_owned();
        files.put(&platform).await.unwrap();
        assert_eq!(files.load().await.unwrap().records, [platform.clone()]);
        let stored: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((&stored["far"], &stored["p2"]["note"], &stored["p2"]["serverkey"]), (&1.into(), &"ours".into(), &KEY.into()));
        let before = files.stamp().await.unwrap();
        files.put(&platform).await.unwrap();
        assert_eq!(files.stamp().await.unwrap(), before, "nothing is written without need");
    }

    #[tokio::test]
    async fn web_addresses_are_a_list() {
        let (home, files) = files();
        assert!(files.web_addresses().await.unwrap().is_empty());
        let path = home.path().join("external_address.json");
        std::fs::write(&path, r#"["https://b:8443/", "http://a:8080", "https://b:8443"]"#).unwrap();
        assert_eq!(files.web_addresses().await.unwrap(), ["http://a:8080", "https://b:8443"]);
        assert!(files.addresses_stamp().await.unwrap().is_some());
        std::fs::write(&path, r#"{"a": 1}"#).unwrap();
        assert!(files.web_addresses().await.unwrap_err().to_string().contains("list of web addresses"));
    }
}
