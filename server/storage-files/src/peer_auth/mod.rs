//! Who may connect, in `auth.json`: `{"allow": [entry], "deny": [entry], "groups": {name: [role]}, "roles": {name: [capability]},
//! "version": {"major": 1, "minor": 4}, "authz": {...}}`. People and VOLTTRON's tools edit it; comments (`//`, `#`, `/* */`) are tolerated, older versions
//! are brought up to 1.4 (`upgrade`), and a copy `auth.json.<uuid>.bak` is kept before that is written.
//! Source: VOLTTRON `volttron/platform/auth/auth_file.py`.
//!
//! Ours: the member `authz` holds what the modular generation keeps in `authz.json`, in the same form.
//!
//! Differs from VOLTTRON: entries that make no sense are kept when the file is written, as are unknown members; a version from the future
//! is an error instead of being read as it comes.

mod upgrade;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use vt_backends::repositories::Stamp;
use vt_backends::{
    AuthEntry, AuthList, Authz, Capabilities, LoadedPeerAuth, Named, PeerAuthRecords, PeerAuthRepository, RepositoryError, UnusableEntry,
};

use self::upgrade::Version;
use crate::atomic;
use crate::blocking::{self, unavailable};
use crate::json::{self as members, corrupt, excerpt};
use crate::stamp;

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Mode of a new file, as VOLTTRON makes it.
const MODE: u32 = 0o660;

/// The auth file of a home.
#[derive(Debug, Clone)]
pub struct FilePeerAuth {
    path: Arc<PathBuf>,
    writing: Arc<Mutex<()>>,
}

impl FilePeerAuth {
    /// The file of the home at `home`.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self { path: Arc::new(home.join("auth.json")), writing: Arc::default() }
    }
}

#[async_trait]
impl PeerAuthRepository for FilePeerAuth {
    async fn load(&self) -> Result<LoadedPeerAuth, RepositoryError> {
        let path = Arc::clone(&self.path);
        blocking::run("auth.json", move || match atomic::read(&path, FILE_BYTES_MAX).map_err(unavailable(&path))? {
            Some(bytes) => parse(&path, &bytes),
            None => Ok(LoadedPeerAuth::default()),
        })
        .await
    }

    async fn save(&self, records: &PeerAuthRecords) -> Result<(), RepositoryError> {
        let (path, writing) = (Arc::clone(&self.path), Arc::clone(&self.writing));
        let text = format!("{:#}\n", render(records));
        blocking::run("auth.json", move || {
            let _turn = writing.lock();
            keep_older(&path)?;
            atomic::write(&path, text.as_bytes(), MODE & !umask(&path)).map_err(unavailable(&path))
        })
        .await
    }

    async fn stamp(&self) -> Result<Option<Stamp>, RepositoryError> {
        let path = Arc::clone(&self.path);
        blocking::run("auth.json", move || stamp::of(&path).map_err(unavailable(&path))).await
    }
}

/// Bits that a new file must not have: what others may do with the home they may not do with this file either, nor more.
fn umask(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    let mode_of = |path: &Path| fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o777).ok();
    match mode_of(path) {
        // Somebody chose a mode; it stays.
        Some(mode) => !mode,
        None => path.parent().and_then(mode_of).map_or(0o077, |home| !home),
    }
}

/// Copies a file of an older version aside before it is overwritten.
fn keep_older(path: &Path) -> Result<(), RepositoryError> {
    let Some(bytes) = atomic::read(path, FILE_BYTES_MAX).map_err(unavailable(path))? else { return Ok(()) };
    let is_old = parse(path, &bytes).is_ok_and(|loaded| loaded.migrated_from.is_some());
    if is_old {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.bak", uuid::Uuid::new_v4()));
        let kept = PathBuf::from(name);
        atomic::write_new(&kept, &bytes, atomic::PRIVATE).map_err(unavailable(&kept))?;
        atomic::sync_parent(&kept).map_err(unavailable(&kept))?;
        tracing::info!(path = %kept.display(), "the auth file of an older version was kept");
    }
    Ok(())
}

fn parse(path: &Path, bytes: &[u8]) -> Result<LoadedPeerAuth, RepositoryError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(LoadedPeerAuth::default());
    }
    let bytes = members::without_comments(bytes);
    let mut found: Map<String, Value> = members::object(path, &bytes)?.0.into_iter().collect();
    let mut take = |name: &str, empty: Value| {
        let value = found.shift_remove(name).filter(|value| !value.is_null()).unwrap_or_else(|| empty.clone());
        if value.is_array() == empty.is_array() && value.is_object() == empty.is_object() {
            return Ok(value);
        }
        let kind = if empty.is_array() { "a list" } else { "an object" };
        Err(corrupt(path, members::line_of(&bytes, name), format!("\"{name}\" must be {kind}")))
    };
    let (allow, deny) = (take("allow", json!([]))?, take("deny", json!([]))?);
    let (groups, roles) = (take("groups", json!({}))?, take("roles", json!({}))?);
    let authz = take("authz", json!({}))?;
    let version = take("version", json!({"major": 0, "minor": 0}))?;
    let version = Version::parse(&version)
        .map_err(|problem| corrupt(path, members::line_of(&bytes, "version"), format!("\"version\": {problem}")))?;
    let mut loaded = LoadedPeerAuth::default();
    for (list, name, mut entries) in [(AuthList::Allow, "allow", allow), (AuthList::Deny, "deny", deny)] {
        let entries = std::mem::take(&mut entries).as_array_mut().map(std::mem::take).unwrap_or_default();
        for (index, json) in entries.into_iter().enumerate() {
            let upgraded = if list == AuthList::Allow { upgrade::entry(json.clone(), version) } else { Ok(json.clone()) };
            match upgraded.and_then(|json| AuthEntry::parse(&json).map_err(|error| error.to_string())) {
                Ok(entry) => {
                    loaded.needs_saving |= json.get("user_id").is_none_or(|id| id.as_str() != Some(&entry.user_id));
                    loaded.records.list_mut(list).push(entry);
                }
                Err(problem) => {
                    let line = line_of_entry(&bytes, &json);
                    let place = line.map_or_else(|| path.display().to_string(), |line| format!("{} (line {line})", path.display()));
                    loaded.warnings.push(format!("{place}: entry {index} of \"{name}\" counts for nobody: {problem}"));
                    loaded.records.unusable.push(UnusableEntry { list, json });
                }
            }
        }
    }
    upgrade::unite(&mut loaded.records, version, &mut loaded.warnings);
    let wrong = |problem: String| corrupt(path, None, problem);
    loaded.records.groups = read_groups(&groups).map_err(wrong)?;
    loaded.records.roles = read_roles(&roles).map_err(wrong)?;
    let wrong = |error| corrupt(path, members::line_of(&bytes, "authz"), format!("\"authz\": {error}"));
    loaded.records.authz = Authz::parse(&authz).map_err(wrong)?;
    loaded.records.extra = found;
    loaded.migrated_from = version.older();
    loaded.needs_saving |= loaded.migrated_from.is_some();
    Ok(loaded)
}

/// The line of what most likely tells an entry from others.
fn line_of_entry(bytes: &[u8], json: &Value) -> Option<usize> {
    let text = |name: &str| json.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    [text("credentials"), text("user_id"), text("mechanism")].into_iter().flatten().find_map(|text| members::line_of(bytes, text))
}

fn read_groups(groups: &Value) -> Result<Named<Vec<String>>, String> {
    let roles = |name: &str, value: &Value| {
        let list = value.as_array().and_then(|list| list.iter().map(|role| role.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
        list.ok_or_else(|| format!("group {}: the value must be a list of names of roles", excerpt(name)))
    };
    groups.as_object().into_iter().flatten().map(|(name, value)| Ok((name.clone(), roles(name, value)?))).collect()
}

fn read_roles(roles: &Value) -> Result<Named<Capabilities>, String> {
    let read = |name: &str, value| Capabilities::parse(value).map_err(|error| format!("role {}: {error}", excerpt(name)));
    roles.as_object().into_iter().flatten().map(|(name, value)| Ok((name.clone(), read(name, value)?))).collect()
}

fn render(records: &PeerAuthRecords) -> Value {
    let list = |list: AuthList| {
        let entries = records.list(list).iter().map(AuthEntry::to_json);
        let unusable = records.unusable.iter().filter(|entry| entry.list == list).map(|entry| entry.json.clone());
        entries.chain(unusable).collect::<Vec<_>>()
    };
    let groups: Map<_, _> = records.groups.iter().map(|(name, roles)| (name.to_owned(), json!(roles))).collect();
    let roles: Map<_, _> = records.roles.iter().map(|(name, capabilities)| (name.to_owned(), capabilities.to_json_list())).collect();
    let mut file = Map::new();
    file.insert("allow".to_owned(), json!(list(AuthList::Allow)));
    file.insert("deny".to_owned(), json!(list(AuthList::Deny)));
    file.insert("groups".to_owned(), Value::Object(groups));
    file.insert("roles".to_owned(), Value::Object(roles));
    file.insert("version".to_owned(), Version::NEWEST.to_json());
    if !records.authz.is_empty() {
        file.insert("authz".to_owned(), records.authz.to_json());
    }
    file.extend(records.extra.clone());
    Value::Object(file)
}

#[cfg(test)]
mod tests;
