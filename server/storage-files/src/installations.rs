//! Installed agents in VOLTTRON's places: `agents/<uuid>/` with `IDENTITY`, `TAG`, `AUTOSTART`, and `<name>/<name>.dist-info/config` and
//! `<name>/<name>.agent-data/`. A built-in agent has `agent.json` (`{"kind", "name"}`) where an agent in Python has its code.
//! Source: VOLTTRON `volttron/platform/aip.py`.
//!
//! An installation is built beside (`.new-<uuid>`) and renamed into place; a removed one is renamed away (`.gone-<uuid>`) and then deleted.
//! What a crash leaves of either is deleted at the next load.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use vt_backends::repositories::Loaded;
use vt_backends::{AgentSource, InstallationRepository, InstalledAgent, NewInstallation, RepositoryError};
use vt_types::{AgentUuid, Identity, Priority, Tag};

use crate::atomic::{self, PRIVATE, PUBLIC};
use crate::blocking::{self, unavailable};
use crate::json::{self as members, corrupt, excerpt};

/// Largest small file (identity, tag, priority), in bytes.
const WORD_BYTES_MAX: u64 = 4096;
/// Largest configuration of an agent, in bytes.
const CONFIG_BYTES_MAX: u64 = 16 << 20;
/// Longest name of an agent, in bytes, so that `<name>.agent-data` is a file name.
const NAME_BYTES_MAX: usize = 200;

/// The installed agents of a home.
#[derive(Debug, Clone)]
pub struct FileInstallations {
    directory: Arc<PathBuf>,
    /// Changes take turns: an identity that is free stays free until its agent is in place.
    changing: Arc<Mutex<()>>,
}

impl FileInstallations {
    /// The agents of the home at `home`.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self { directory: Arc::new(home.join("agents")), changing: Arc::default() }
    }

    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, RepositoryError> + Send + 'static,
    ) -> Result<T, RepositoryError> {
        let (directory, changing) = (Arc::clone(&self.directory), Arc::clone(&self.changing));
        blocking::run("installed agents", move || {
            let _turn = changing.lock();
            work(&directory)
        })
        .await
    }

    async fn set_word(&self, uuid: AgentUuid, file: &'static str, word: Option<String>) -> Result<(), RepositoryError> {
        self.change(move |directory| {
            let path = existing(directory, uuid)?.join(file);
            match word {
                Some(word) => atomic::write(&path, word.as_bytes(), PUBLIC),
                None => atomic::remove(&path),
            }
            .map_err(unavailable(&path))
        })
        .await
    }
}

#[async_trait]
impl InstallationRepository for FileInstallations {
    async fn load_all(&self) -> Result<Loaded<Vec<InstalledAgent>>, RepositoryError> {
        self.change(load_all).await
    }

    async fn install(&self, new: NewInstallation) -> Result<InstalledAgent, RepositoryError> {
        self.change(move |directory| install(directory, new)).await
    }

    async fn replace(&self, old: AgentUuid, new: NewInstallation) -> Result<InstalledAgent, RepositoryError> {
        self.change(move |directory| replace(directory, old, new)).await
    }

    async fn remove(&self, uuid: AgentUuid) -> Result<(), RepositoryError> {
        self.change(move |directory| {
            let path = existing(directory, uuid)?;
            let gone = directory.join(format!(".gone-{uuid}"));
            fs::rename(&path, &gone).and_then(|()| atomic::sync_parent(&gone)).map_err(unavailable(&path))?;
            // The agent is gone for good from here on; whatever cannot be deleted now is deleted at the next start.
            if let Err(error) = fs::remove_dir_all(&gone) {
                tracing::warn!(path = %gone.display(), %error, "files of a removed agent could not be deleted yet");
            }
            Ok(())
        })
        .await
    }

    async fn set_tag(&self, uuid: AgentUuid, tag: Option<Tag>) -> Result<(), RepositoryError> {
        self.set_word(uuid, "TAG", tag.map(|tag| tag.as_str().to_owned())).await
    }

    async fn set_priority(&self, uuid: AgentUuid, priority: Option<Priority>) -> Result<(), RepositoryError> {
        self.set_word(uuid, "AUTOSTART", priority.map(|priority| priority.as_str().to_owned())).await
    }
}

fn existing(directory: &Path, uuid: AgentUuid) -> Result<PathBuf, RepositoryError> {
    let path = directory.join(uuid.as_str());
    if path.is_dir() { Ok(path) } else { Err(RepositoryError::NotFound(format!("agent {uuid}"))) }
}

/// Names of everything in `directory`, sorted.
fn names(directory: &Path) -> Result<Vec<String>, RepositoryError> {
    let listing = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(unavailable(directory))?,
    };
    let mut names = Vec::new();
    for entry in listing {
        names.push(entry.map_err(unavailable(directory))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn load_all(directory: &Path) -> Result<Loaded<Vec<InstalledAgent>>, RepositoryError> {
    let mut loaded = Loaded { records: Vec::<InstalledAgent>::new(), warnings: Vec::new() };
    for name in names(directory)? {
        let path = directory.join(&name);
        if name.starts_with(".new-") || name.starts_with(".gone-") {
            fs::remove_dir_all(&path).map_err(unavailable(&path))?;
            continue;
        }
        let agent = match AgentUuid::parse(&name) {
            Ok(uuid) => load(&path, uuid, &mut loaded.warnings),
            Err(_) => Err(corrupt(&path, None, "this is not an installed agent, its name is no UUID")),
        };
        match agent {
            Ok(agent) => match loaded.records.iter().find(|other| other.identity == agent.identity) {
                Some(other) => {
                    let (identity, uuid) = (&agent.identity, other.uuid);
                    loaded.warnings.push(format!("{} is left out: agent {uuid} has the same identity {identity}", path.display()));
                }
                None => loaded.records.push(agent),
            },
            Err(error) => loaded.warnings.push(format!("an agent is left out: {error}")),
        }
    }
    Ok(loaded)
}

fn load(path: &Path, uuid: AgentUuid, warnings: &mut Vec<String>) -> Result<InstalledAgent, RepositoryError> {
    let description = path.join("agent.json");
    let Some(bytes) = atomic::read(&description, WORD_BYTES_MAX).map_err(unavailable(&description))? else {
        return Err(corrupt(path, None, "it has no agent.json; agents in Python cannot be run yet"));
    };
    let (kind, name) = describe(&description, &bytes)?;
    let identity_file = path.join("IDENTITY");
    let text = word(&identity_file)?.ok_or_else(|| corrupt(&identity_file, None, "the file is missing"))?;
    let identity = Identity::parse(&text).map_err(|error| corrupt(&identity_file, Some(1), error.to_string()))?;
    // A wrong tag or priority is no reason to lose the agent.
    let mut optional = |file: &str, text: Option<String>, problem: Option<String>| {
        if let Some(problem) = problem {
            warnings.push(format!("{}: {problem}; {} is taken as not set", path.join(file).display(), excerpt(&text.unwrap_or_default())));
        }
    };
    let (tag_text, priority_text) = (word(&path.join("TAG"))?, word(&path.join("AUTOSTART"))?);
    let tag = tag_text.as_deref().map(Tag::parse).transpose().unwrap_or_else(|error| {
        optional("TAG", tag_text.clone(), Some(error.to_string()));
        None
    });
    let priority = priority_text.as_deref().map(Priority::parse).transpose().unwrap_or_else(|error| {
        optional("AUTOSTART", priority_text.clone(), Some(error.to_string()));
        None
    });
    let config = config(&config_file(path, &name))?;
    let data_dir = data_dir(path, &name);
    atomic::make_directory(&data_dir, 0o700).map_err(unavailable(&data_dir))?;
    Ok(InstalledAgent { uuid, identity, name, tag, priority, source: AgentSource::BuiltIn { kind }, config, data_dir })
}

fn describe(path: &Path, bytes: &[u8]) -> Result<(String, String), RepositoryError> {
    let found = members::object(path, bytes)?.0;
    let text = |key: &str| found.iter().find(|(name, _)| name == key).and_then(|(_, value)| value.as_str()).map(str::to_owned);
    let kind = text("kind").ok_or_else(|| corrupt(path, Some(1), "\"kind\" is missing or is not text"))?;
    let name = text("name").filter(|name| is_file_name(name));
    Ok((kind, name.ok_or_else(|| corrupt(path, Some(1), "\"name\" is missing or is no agent name"))?))
}

fn config(path: &Path) -> Result<Option<Value>, RepositoryError> {
    let Some(bytes) = atomic::read(path, CONFIG_BYTES_MAX).map_err(unavailable(path))? else { return Ok(None) };
    let value = serde_json::from_slice(&bytes);
    value.map(Some).map_err(|error| corrupt(path, Some(error.line()), format!("the configuration is not valid JSON: {error}")))
}

/// The trimmed text of a small file.
fn word(path: &Path) -> Result<Option<String>, RepositoryError> {
    let bytes = atomic::read(path, WORD_BYTES_MAX).map_err(unavailable(path))?;
    let text = bytes.map(String::from_utf8).transpose().map_err(|_| corrupt(path, Some(1), "the file is not UTF-8 text"))?;
    Ok(text.map(|text| text.trim().to_owned()))
}

/// Whether `new` can be installed, beside all others but `old`.
fn check(directory: &Path, new: &NewInstallation, old: Option<AgentUuid>) -> Result<(), RepositoryError> {
    if !is_file_name(&new.name) {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "an agent's name has 1 to 200 letters, digits, '.', '_' and '-'");
        return Err(RepositoryError::Unavailable { what: format!("agent {}", excerpt(&new.name)), source: Box::new(source) });
    }
    for name in names(directory)?.into_iter().filter(|name| !name.starts_with('.')) {
        if old.is_some_and(|old| old.as_str() == name) {
            continue;
        }
        // Agents that cannot be run still own their identity.
        if word(&directory.join(name).join("IDENTITY")).is_ok_and(|taken| taken.as_deref() == Some(new.identity.as_str())) {
            return Err(RepositoryError::AlreadyExists(format!("an agent with the identity {}", new.identity)));
        }
    }
    Ok(())
}

fn new_uuid() -> Result<AgentUuid, RepositoryError> {
    let text = uuid::Uuid::new_v4().to_string();
    AgentUuid::parse(&text).map_err(|error| RepositoryError::Unavailable { what: text, source: Box::new(error) })
}

/// Changes the installation where it lies, so that its data never moves far, and gives it its new UUID last. A crash in between leaves the
/// old UUID with its data; replacing it again completes the work.
fn replace(directory: &Path, old: AgentUuid, new: NewInstallation) -> Result<InstalledAgent, RepositoryError> {
    let path = existing(directory, old)?;
    check(directory, &new, Some(old))?;
    let description = path.join("agent.json");
    let before = atomic::read(&description, WORD_BYTES_MAX).map_err(unavailable(&description))?;
    let (_, old_name) = describe(&description, &before.unwrap_or_default())?;
    let uuid = new_uuid()?;
    let replaced = directory.join(uuid.as_str());
    let change = || {
        rewrite(&path, &old_name, &new)?;
        fs::rename(&path, &replaced)?;
        atomic::sync_parent(&replaced)
    };
    change().map_err(unavailable(&path))?;
    let NewInstallation { identity, name, tag, priority, source, config } = new;
    let data_dir = data_dir(&replaced, &name);
    Ok(InstalledAgent { uuid, identity, name, tag, priority, source, config, data_dir })
}

fn rewrite(path: &Path, old_name: &str, new: &NewInstallation) -> io::Result<()> {
    let AgentSource::BuiltIn { kind } = &new.source;
    let (config_file, data) = (config_file(path, &new.name), data_dir(path, &new.name));
    atomic::make_directory(&path.join(&new.name).join(format!("{}.dist-info", new.name)), 0o755)?;
    match &new.config {
        Some(config) => atomic::write(&config_file, format!("{config:#}\n").as_bytes(), PRIVATE)?,
        None => atomic::remove(&config_file)?,
    }
    if !data.exists() {
        fs::rename(data_dir(path, old_name), &data)?;
        atomic::sync_parent(&data)?;
    }
    atomic::write(&path.join("IDENTITY"), new.identity.as_str().as_bytes(), PUBLIC)?;
    atomic::write(&path.join("agent.json"), format!("{:#}\n", json!({"kind": kind, "name": new.name})).as_bytes(), PUBLIC)?;
    for (file, word) in [("TAG", new.tag.as_ref().map(Tag::as_str)), ("AUTOSTART", new.priority.as_ref().map(Priority::as_str))] {
        match word {
            Some(word) => atomic::write(&path.join(file), word.as_bytes(), PUBLIC)?,
            None => atomic::remove(&path.join(file))?,
        }
    }
    if old_name != new.name {
        fs::remove_dir_all(path.join(old_name))?;
    }
    Ok(())
}

fn install(directory: &Path, new: NewInstallation) -> Result<InstalledAgent, RepositoryError> {
    check(directory, &new, None)?;
    atomic::make_directory(directory, 0o755).map_err(unavailable(directory))?;
    let uuid = new_uuid()?;
    let (building, path) = (directory.join(format!(".new-{uuid}")), directory.join(uuid.as_str()));
    let result = build(&building, &new).and_then(|()| fs::rename(&building, &path)).and_then(|()| atomic::sync_parent(&path));
    if let Err(error) = result {
        // The cause is what counts; a rest is deleted at the next load.
        fs::remove_dir_all(&building).ok();
        return Err(unavailable(&path)(error));
    }
    let NewInstallation { identity, name, tag, priority, source, config } = new;
    let data_dir = data_dir(&path, &name);
    Ok(InstalledAgent { uuid, identity, name, tag, priority, source, config, data_dir })
}

/// Writes every file, then flushes every directory from the inside out.
fn build(path: &Path, new: &NewInstallation) -> io::Result<()> {
    let AgentSource::BuiltIn { kind } = &new.source;
    let (config_file, data_dir) = (config_file(path, &new.name), data_dir(path, &new.name));
    let package = path.join(&new.name);
    let information = package.join(format!("{}.dist-info", new.name));
    atomic::make_directory(&information, 0o755)?;
    atomic::make_directory(&data_dir, 0o700)?;
    atomic::write_new(&path.join("IDENTITY"), new.identity.as_str().as_bytes(), PUBLIC)?;
    atomic::write_new(&path.join("agent.json"), format!("{:#}\n", json!({"kind": kind, "name": new.name})).as_bytes(), PUBLIC)?;
    if let Some(tag) = &new.tag {
        atomic::write_new(&path.join("TAG"), tag.as_str().as_bytes(), PUBLIC)?;
    }
    if let Some(priority) = &new.priority {
        atomic::write_new(&path.join("AUTOSTART"), priority.as_str().as_bytes(), PUBLIC)?;
    }
    if let Some(config) = &new.config {
        // Configurations hold passwords of databases and devices.
        atomic::write_new(&config_file, format!("{config:#}\n").as_bytes(), PRIVATE)?;
    }
    for directory in [&information, &data_dir, &package, path] {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

fn config_file(path: &Path, name: &str) -> PathBuf {
    path.join(name).join(format!("{name}.dist-info")).join("config")
}

fn data_dir(path: &Path, name: &str) -> PathBuf {
    path.join(name).join(format!("{name}.agent-data"))
}

fn is_file_name(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    plain && !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.starts_with('.')
}

#[cfg(test)]
mod tests;
