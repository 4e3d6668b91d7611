//! Installed agents in VOLTTRON's places: `agents/<uuid>/` with `IDENTITY`, `TAG`, `AUTOSTART`, and `<name>/<name>.dist-info/config` and
//! `<name>/<name>.agent-data/`. `agent.json` says what runs (`description`). Source: VOLTTRON `volttron/platform/aip.py`.
//!
//! An installation is built beside (`.new-<uuid>`) and renamed into place; a removed one is renamed away (`.gone-<uuid>`) and then deleted.
//! What a crash leaves of either is deleted at the next load. A replacement waits as `.swap-<uuid>` until it has taken the old one's data;
//! the next load completes what a crash interrupted there. Other names with a dot belong to whoever prepares packages.

mod description;
mod place;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use vt_backends::repositories::Loaded;
use vt_backends::{AgentSource, InstallationRepository, InstalledAgent, NewInstallation, RepositoryError};
use vt_types::{AgentUuid, Identity, Priority, Tag};

use crate::atomic::{self, PUBLIC};
use crate::blocking::{self, unavailable};
use crate::json::{corrupt, excerpt};

use description::{Description, Runs};

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
        self.change(move |directory| {
            check(directory, &new, None)?;
            place::install(directory, new)
        })
        .await
    }

    async fn replace(&self, old: AgentUuid, new: NewInstallation) -> Result<InstalledAgent, RepositoryError> {
        self.change(move |directory| {
            existing(directory, old)?;
            check(directory, &new, Some(old))?;
            place::replace(directory, old, new)
        })
        .await
    }

    async fn remove(&self, uuid: AgentUuid) -> Result<(), RepositoryError> {
        self.change(move |directory| {
            let path = existing(directory, uuid)?;
            place::remove(directory, uuid).map_err(unavailable(&path))
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
    for name in names(directory)?.iter().filter(|name| name.starts_with('.')) {
        let path = directory.join(name);
        place::recover(directory, name).map_err(unavailable(&path))?;
    }
    for name in names(directory)?.into_iter().filter(|name| !name.starts_with('.')) {
        let path = directory.join(&name);
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
    let Description { runs, name } = Description::read(path)?;
    let identity_file = path.join("IDENTITY");
    let text = match word(&identity_file)? {
        Some(text) => text,
        // As VOLTTRON does.
        None if matches!(runs, Runs::Python { .. }) => {
            atomic::write(&identity_file, uuid.as_str().as_bytes(), PUBLIC).map_err(unavailable(&identity_file))?;
            uuid.to_string()
        }
        None => return Err(corrupt(&identity_file, None, "the file is missing")),
    };
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
    let source = runs.source(path);
    let (config_file, data_dir) = place::files(&source, path, &name);
    let config = if matches!(source, AgentSource::BuiltIn { .. }) { config(&config_file)? } else { None };
    atomic::make_directory(&data_dir, 0o700).map_err(unavailable(&data_dir))?;
    Ok(InstalledAgent { uuid, identity, name, tag, priority, source, config, data_dir })
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

fn is_file_name(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+'));
    plain && !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.starts_with('.')
}

#[cfg(test)]
mod tests;
