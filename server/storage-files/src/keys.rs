//! CURVE keys where each generation of agents looks for them: `keystore` (the platform's pair), `keystores/<identity>/keystore.json`,
//! both `{"public", "secret"}`; `credentials_store/<identity>.json` of the modular generation, `platform.json` being the platform's; and
//! the server keys of platforms in `known_hosts` (`{host: key}`) and `known_hosts.json` (`{"hosts": {host: {"publickey": key}}}`).
//! Source: VOLTTRON `keystore.py`; `volttron/auth/zap/credential_store.py` and `volttron/types/known_host.py` of volttron-core 2.0.
//!
//! What all files say is written together, the older place first; when they differ, the older place counts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use vt_backends::repositories::Loaded;
use vt_backends::{KeyOwner, KeyRepository, KnownHost, RepositoryError};
use vt_types::{CurveKeyPair, Identity, PublicKey, SecretKey};

use crate::atomic::{self, PRIVATE, PUBLIC};
use crate::blocking::{self, unavailable};
use crate::json::{self as members, corrupt, excerpt};

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The name of the platform's own file in `credentials_store`.
const PLATFORM: &str = "platform";

/// The keys of a home.
#[derive(Debug, Clone)]
pub struct FileKeys {
    home: Arc<PathBuf>,
    writing: Arc<Mutex<()>>,
}

impl FileKeys {
    /// The keys of the home at `home`.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self { home: Arc::new(home.to_owned()), writing: Arc::default() }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, RepositoryError> + Send + 'static,
    ) -> Result<T, RepositoryError> {
        let (home, writing) = (Arc::clone(&self.home), Arc::clone(&self.writing));
        blocking::run("keys", move || {
            let _turn = writing.lock();
            work(&home)
        })
        .await
    }
}

#[async_trait]
impl KeyRepository for FileKeys {
    async fn load(&self, owner: &KeyOwner) -> Result<Option<CurveKeyPair>, RepositoryError> {
        let owner = owner.clone();
        self.run(move |home| {
            let places = Places::of(home, &owner)?;
            match read_pair(&places.keystore, "public", "secret")? {
                Some(pair) => Ok(Some(pair)),
                None => read_pair(&places.credentials, "publickey", "secretkey"),
            }
        })
        .await
    }

    async fn save(&self, owner: &KeyOwner, pair: &CurveKeyPair) -> Result<(), RepositoryError> {
        let (owner, pair) = (owner.clone(), pair.clone());
        self.run(move |home| {
            let places = Places::of(home, &owner)?;
            let (public, secret) = (pair.public.to_string(), pair.secret.expose_text());
            write(&places.keystore, &indented(&json!({"public": public, "secret": secret})), PRIVATE)?;
            // Every agent of the modular generation reads the platform's file, for the public half alone.
            let secret = if owner == KeyOwner::Platform { String::new() } else { secret };
            let credentials = json!({"identity": places.name, "publickey": public, "secretkey": secret, "domain": "", "address": ""});
            write(&places.credentials, &credentials.to_string(), PRIVATE)
        })
        .await
    }

    async fn remove(&self, peer: &Identity) -> Result<bool, RepositoryError> {
        let owner = KeyOwner::Peer(peer.clone());
        self.run(move |home| {
            let places = match Places::of(home, &owner) {
                Ok(places) => places,
                Err(RepositoryError::NotFound(_)) => return Ok(false),
                Err(error) => return Err(error),
            };
            let mut was_there = false;
            for path in [&places.keystore, &places.credentials] {
                was_there |= path.exists();
                atomic::remove(path).map_err(unavailable(path))?;
            }
            // Its directory is of no use any more, unless somebody keeps something else in it.
            if let Some(directory) = places.keystore.parent() {
                fs::remove_dir(directory).ok();
            }
            Ok(was_there)
        })
        .await
    }

    async fn known_hosts(&self) -> Result<Loaded<Vec<KnownHost>>, RepositoryError> {
        self.run(|home| {
            let (old, new) = (Hosts::read_old(home)?, Hosts::read_new(home)?);
            let mut loaded = Loaded { records: Vec::new(), warnings: Vec::new() };
            for (path, host, key) in old.keys().chain(new.keys()) {
                if loaded.records.iter().any(|known: &KnownHost| known.host == host) {
                    continue;
                }
                match key.and_then(|text| PublicKey::parse(text).ok()) {
                    Some(key) => loaded.records.push(KnownHost { host: host.to_owned(), key }),
                    None => {
                        loaded.warnings.push(format!("{}: the key of {} is no server key; it is left out", path.display(), excerpt(host)));
                    }
                }
            }
            Ok(loaded)
        })
        .await
    }

    async fn add_known_hosts(&self, hosts: &[KnownHost]) -> Result<(), RepositoryError> {
        let hosts = hosts.to_vec();
        self.run(move |home| {
            let (mut old, mut new) = (Hosts::read_old(home)?, Hosts::read_new(home)?);
            for KnownHost { host, key } in hosts {
                old.members.insert(host.clone(), json!(key.to_string()));
                match new.members.get_mut(&host).and_then(Value::as_object_mut) {
                    Some(properties) => {
                        properties.insert("publickey".to_owned(), json!(key.to_string()));
                    }
                    None => {
                        new.members.insert(host, json!({"publickey": key.to_string()}));
                    }
                }
            }
            old.write()?;
            new.write()
        })
        .await
    }

    async fn remove_known_host(&self, host: &str) -> Result<bool, RepositoryError> {
        let host = host.to_owned();
        self.run(move |home| {
            let mut was_known = false;
            for mut hosts in [Hosts::read_old(home)?, Hosts::read_new(home)?] {
                if hosts.members.shift_remove(&host).is_some() {
                    was_known = true;
                    hosts.write()?;
                }
            }
            Ok(was_known)
        })
        .await
    }
}

/// Where the pair of one owner lies.
struct Places {
    name: String,
    keystore: PathBuf,
    credentials: PathBuf,
}

impl Places {
    fn of(home: &Path, owner: &KeyOwner) -> Result<Self, RepositoryError> {
        let (name, keystore) = match owner {
            KeyOwner::Platform => (PLATFORM.to_owned(), home.join("keystore")),
            // Names of dots alone would lead out of the directory, and one name belongs to the platform.
            KeyOwner::Peer(identity) if identity.as_str() == PLATFORM || identity.as_str().bytes().all(|byte| byte == b'.') => {
                return Err(RepositoryError::NotFound(format!("a place for keys of {identity}")));
            }
            KeyOwner::Peer(identity) => (identity.to_string(), home.join("keystores").join(identity.as_str()).join("keystore.json")),
        };
        let credentials = home.join("credentials_store").join(format!("{name}.json"));
        Ok(Self { name, keystore, credentials })
    }
}

fn read_pair(path: &Path, public: &str, secret: &str) -> Result<Option<CurveKeyPair>, RepositoryError> {
    let Some(bytes) = atomic::read(path, FILE_BYTES_MAX).map_err(unavailable(path))? else { return Ok(None) };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    close_up(path)?;
    let found = members::object(path, &bytes)?.0;
    let text = |name: &str| found.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.as_str());
    // A credential of the public half alone is no pair.
    if found.iter().any(|(key, value)| key == secret && (value.is_null() || value.as_str() == Some(""))) {
        return Ok(None);
    }
    // The problem names the member only: what stands there may be a secret in a wrong form.
    let problem = |name: &str| {
        let what = format!("{name:?} must be a CURVE key of 43 characters; restore the file, or remove it to have new keys made");
        corrupt(path, members::line_of(&bytes, name), what)
    };
    let public_key = text(public).and_then(|text| PublicKey::parse(text).ok()).ok_or_else(|| problem(public))?;
    let secret_key = text(secret).and_then(|text| SecretKey::parse(text).ok()).ok_or_else(|| problem(secret))?;
    Ok(Some(CurveKeyPair { public: public_key, secret: secret_key }))
}

/// A file of secrets that others may read is closed.
fn close_up(path: &Path) -> Result<(), RepositoryError> {
    let metadata = fs::metadata(path).map_err(unavailable(path))?;
    if metadata.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "a file of secret keys was open to others; it is closed now");
    fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE)).map_err(unavailable(path))
}

/// Writes a file unless it says the same already.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), RepositoryError> {
    if mode == PRIVATE && path.exists() {
        close_up(path)?;
    }
    if atomic::read(path, FILE_BYTES_MAX).map_err(unavailable(path))?.as_deref() == Some(text.as_bytes()) {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        atomic::make_directory(directory, 0o700).map_err(unavailable(directory))?;
    }
    atomic::write(path, text.as_bytes(), mode).map_err(unavailable(path))
}

/// Four spaces, as VOLTTRON writes key files.
fn indented(value: &Value) -> String {
    let members = value.as_object().into_iter().flatten().map(|(key, value)| format!("    {}: {value}", json!(key)));
    format!("{{\n{}\n}}", members.collect::<Vec<_>>().join(",\n"))
}

/// One of the two files of known hosts.
struct Hosts {
    path: PathBuf,
    /// By host.
    members: Map<String, Value>,
    /// What stands beside `hosts` in the newer form; `None` for the older form.
    around: Option<Map<String, Value>>,
}

impl Hosts {
    fn read_old(home: &Path) -> Result<Self, RepositoryError> {
        let path = home.join("known_hosts");
        Ok(Self { members: read_members(&path)?, path, around: None })
    }

    fn read_new(home: &Path) -> Result<Self, RepositoryError> {
        let path = home.join("known_hosts.json");
        let mut around = read_members(&path)?;
        let members = match around.shift_remove("hosts") {
            None => Map::new(),
            Some(Value::Object(members)) => members,
            Some(_) => return Err(corrupt(&path, None, "\"hosts\" must be an object")),
        };
        Ok(Self { path, members, around: Some(around) })
    }

    fn keys(&self) -> impl Iterator<Item = (&Path, &str, Option<&str>)> {
        self.members.iter().map(|(host, value)| {
            let key = if self.around.is_some() { value.get("publickey") } else { Some(value) };
            (self.path.as_path(), host.as_str(), key.and_then(Value::as_str))
        })
    }

    fn write(self) -> Result<(), RepositoryError> {
        let value = match self.around {
            None => Value::Object(self.members),
            Some(mut around) => {
                around.insert("hosts".to_owned(), Value::Object(self.members));
                Value::Object(around)
            }
        };
        write(&self.path, &format!("{value:#}"), PUBLIC)
    }
}

fn read_members(path: &Path) -> Result<Map<String, Value>, RepositoryError> {
    match atomic::read(path, FILE_BYTES_MAX).map_err(unavailable(path))? {
        Some(bytes) if !bytes.iter().all(u8::is_ascii_whitespace) => Ok(members::object(path, &bytes)?.0.into_iter().collect()),
        _ => Ok(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM";

    fn pair(n: u8) -> CurveKeyPair {
        CurveKeyPair { public: PublicKey::new([n; 32]), secret: SecretKey::new([n + 1; 32]) }
    }

    fn peer(text: &str) -> KeyOwner {
        KeyOwner::Peer(Identity::parse(text).unwrap())
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// vip-zmq.md §12, 11.
    #[tokio::test]
    async fn key_files_have_the_shapes_and_modes_of_each_generation() {
        let home = tempfile::tempdir().unwrap();
        let keys = FileKeys::new(home.path());
        keys.save(&KeyOwner::Platform, &pair(1)).await.unwrap();
        keys.save(&peer("control.connection"), &pair(2)).await.unwrap();
        let at = |path: &str| home.path().join(path);
        let text = fs::read_to_string(at("keystore")).unwrap();
        let (public, secret) = (pair(1).public.to_string(), pair(1).secret.expose_text());
        assert_eq!(text, format!("{{\n    \"public\": \"{public}\",\n    \"secret\": \"{secret}\"\n}}"));
        let platform: Value = serde_json::from_str(&fs::read_to_string(at("credentials_store/platform.json")).unwrap()).unwrap();
        assert_eq!(platform, json!({"identity": "platform", "publickey": public, "secretkey": "", "domain": "", "address": ""}));
        let tool: Value = serde_json::from_str(&fs::read_to_string(at("credentials_store/control.connection.json")).unwrap()).unwrap();
        assert_eq!(tool["secretkey"], json!(pair(2).secret.expose_text()));
        for path in [
            "keystore",
            "keystores/control.connection/keystore.json",
            "credentials_store/platform.json",
            "credentials_store/control.connection.json",
        ] {
            assert_eq!(mode(&at(path)), 0o600, "{path}");
        }
        assert_eq!(mode(&at("credentials_store")), 0o700);
    }

    #[tokio::test]
    async fn keys_of_either_generation_are_taken_up_and_closed() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("credentials_store")).unwrap();
        let path = home.path().join("credentials_store/a1.json");
        fs::write(&path, format!(r#"{{"identity": "a1", "publickey": "{KEY}", "secretkey": "{KEY}"}}"#)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let keys = FileKeys::new(home.path());
        assert_eq!(keys.load(&peer("a1")).await.unwrap().unwrap().public.to_string(), KEY);
        assert_eq!(mode(&path), 0o600);
        fs::write(home.path().join("keystore"), format!("{{\"public\": \"{KEY}\",\n\"secret\": \"hunter2\"}}")).unwrap();
        let error = keys.load(&KeyOwner::Platform).await.unwrap_err().to_string();
        assert!(error.contains("keystore (line 2): \"secret\" must be a CURVE key") && !error.contains("hunter2"), "{error}");
    }

    #[tokio::test]
    async fn no_identity_leads_out_of_its_directory() {
        let home = tempfile::tempdir().unwrap();
        let keys = FileKeys::new(home.path());
        for name in [".", "..", "platform"] {
            assert!(keys.save(&peer(name), &pair(1)).await.is_err(), "{name}");
            assert!(keys.load(&peer(name)).await.is_err(), "{name}");
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn known_hosts_keep_what_we_do_not_know() {
        let home = tempfile::tempdir().unwrap();
        let (old, new) = (home.path().join("known_hosts"), home.path().join("known_hosts.json"));
        fs::write(&old, format!("{{\"192.0.2.1:22916\": \"{KEY}\",\n\"bad\": 5}}")).unwrap();
        fs::write(&new, r#"{"hosts": {"b:1": {"publickey": "x", "web": "https://b"}}, "note": 1}"#).unwrap();
        let keys = FileKeys::new(home.path());
        let loaded = keys.known_hosts().await.unwrap();
        assert_eq!((loaded.records.len(), loaded.warnings.len()), (1, 2), "{:?}", loaded.warnings);
        let key = PublicKey::parse(KEY).unwrap();
        keys.add_known_hosts(&[KnownHost { host: "@".to_owned(), key }, KnownHost { host: "b:1".to_owned(), key }]).await.unwrap();
        let read = |path: &Path| serde_json::from_str::<Value>(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(read(&old), json!({"192.0.2.1:22916": KEY, "bad": 5, "@": KEY, "b:1": KEY}));
        let properties = json!({"b:1": {"publickey": KEY, "web": "https://b"}, "@": {"publickey": KEY}});
        assert_eq!(read(&new), json!({"note": 1, "hosts": properties}));
        assert_eq!(mode(&old), 0o644);
        fs::write(&old, "{\n\"a\": ").unwrap();
        assert!(matches!(keys.add_known_hosts(&[]).await, Err(RepositoryError::Corrupt { .. })), "a broken file is not overwritten");
    }
}
