//! Putting installations into place, replacing and removing them, so that a crash at any moment leaves the old or the new state, or one
//! that [`recover`] completes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use vt_backends::{AgentSource, Generation, InstalledAgent, NewInstallation, PythonSource, RepositoryError};
use vt_types::{AgentUuid, CurveKeyPair, Priority, Tag};

use super::WORD_BYTES_MAX;
use super::description::{self, Description};
use crate::atomic::{self, PRIVATE, PUBLIC};
use crate::blocking::unavailable;

/// In a replacement that waits: the UUID of the installation in whose place it goes.
const REPLACES: &str = "REPLACES";
/// Where a monolithic agent finds its key.
const KEYSTORE: &str = "keystore.json";

/// Configuration file and data directory of an agent installed at `path`.
pub(super) fn files(source: &AgentSource, path: &Path, name: &str) -> (PathBuf, PathBuf) {
    match source {
        AgentSource::BuiltIn { .. } => {
            let package = path.join(name);
            (package.join(format!("{name}.dist-info")).join("config"), package.join(format!("{name}.agent-data")))
        }
        AgentSource::Python(python) => {
            let here = PythonSource { directory: path.to_owned(), ..python.clone() };
            (here.config_file(name), here.data_dir(name))
        }
    }
}

pub(super) fn install(directory: &Path, new: NewInstallation) -> Result<InstalledAgent, RepositoryError> {
    let uuid = new_uuid()?;
    let (building, path) = (directory.join(format!(".new-{uuid}")), directory.join(uuid.as_str()));
    let put = || {
        build(&building, &new)?;
        let (_, data_dir) = files(&new.source, &building, &new.name);
        atomic::make_directory(&data_dir, 0o700)?;
        if let Some(keys) = new.keys.as_ref().filter(|_| generation(&new.source) == Some(Generation::Monolithic6)) {
            atomic::write_new(&data_dir.join(KEYSTORE), keystore(keys).as_bytes(), PRIVATE)?;
        }
        flush(&building, &new)?;
        fs::rename(&building, &path)?;
        atomic::sync_parent(&path)
    };
    put().map_err(|error| {
        // The cause is what counts; a rest is deleted at the next load.
        fs::remove_dir_all(&building).ok();
        unavailable(&path)(error)
    })?;
    Ok(installed(&path, uuid, new))
}

/// Builds the replacement beside, says there what it replaces, and then takes the old one's data and its place.
pub(super) fn replace(directory: &Path, old: AgentUuid, new: NewInstallation) -> Result<InstalledAgent, RepositoryError> {
    let uuid = new_uuid()?;
    let (building, swap) = (directory.join(format!(".new-{uuid}")), directory.join(format!(".swap-{uuid}")));
    let prepare = || {
        build(&building, &new)?;
        atomic::write_new(&building.join(REPLACES), old.as_str().as_bytes(), PUBLIC)?;
        flush(&building, &new)?;
        fs::rename(&building, &swap)?;
        atomic::sync_parent(&swap)
    };
    let path = directory.join(uuid.as_str());
    let done = prepare().and_then(|()| complete(directory, uuid));
    done.map_err(|error| {
        fs::remove_dir_all(&building).ok();
        if let Err(problem) = undo(directory, old, uuid) {
            tracing::warn!(%old, new = %uuid, %problem, "a replacement of an agent is completed at the next start");
        }
        unavailable(&path)(error)
    })?;
    Ok(installed(&path, uuid, new))
}

pub(super) fn remove(directory: &Path, uuid: AgentUuid) -> io::Result<()> {
    let gone = directory.join(format!(".gone-{uuid}"));
    fs::rename(directory.join(uuid.as_str()), &gone)?;
    atomic::sync_parent(&gone)?;
    // The agent is gone for good from here on; whatever cannot be deleted now is deleted at the next start.
    if let Err(error) = fs::remove_dir_all(&gone) {
        tracing::warn!(path = %gone.display(), %error, "files of a removed agent could not be deleted yet");
    }
    Ok(())
}

/// Deletes or completes what a crash left under `name`.
pub(super) fn recover(directory: &Path, name: &str) -> io::Result<()> {
    if name.starts_with(".new-") || name.starts_with(".gone-") {
        return fs::remove_dir_all(directory.join(name));
    }
    match name.strip_prefix(".swap-").map(AgentUuid::parse) {
        Some(Ok(uuid)) => complete(directory, uuid),
        Some(Err(_)) | None => Ok(()),
    }
}

/// Moves the data of the replaced installation over and puts the replacement into its place; however far that had come before.
fn complete(directory: &Path, uuid: AgentUuid) -> io::Result<()> {
    let (swap, path) = (directory.join(format!(".swap-{uuid}")), directory.join(uuid.as_str()));
    let replaced = atomic::read(&swap.join(REPLACES), WORD_BYTES_MAX)?;
    let replaced = replaced.and_then(|bytes| AgentUuid::parse(String::from_utf8_lossy(&bytes).trim()).ok());
    let (_, data) = data_dir_of(&swap)?;
    if let Some(old) = replaced.filter(|old| directory.join(old.as_str()).is_dir()) {
        let (_, old_data) = data_dir_of(&directory.join(old.as_str()))?;
        move_data(&old_data, &data)?;
        remove(directory, old)?;
    }
    atomic::make_directory(&data, 0o700)?;
    atomic::remove(&swap.join(REPLACES))?;
    fs::rename(&swap, &path)?;
    atomic::sync_parent(&path)
}

/// Gives the data back to `old`, as long as that stands, and deletes the replacement.
fn undo(directory: &Path, old: AgentUuid, uuid: AgentUuid) -> io::Result<()> {
    let (swap, old) = (directory.join(format!(".swap-{uuid}")), directory.join(old.as_str()));
    if !swap.is_dir() {
        return Ok(());
    }
    if !old.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the replaced installation is gone already"));
    }
    let ((_, data), (_, old_data)) = (data_dir_of(&swap)?, data_dir_of(&old)?);
    move_data(&data, &old_data)?;
    fs::remove_dir_all(&swap)
}

fn data_dir_of(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let Description { runs, name } = Description::read(path).map_err(io::Error::other)?;
    Ok(files(&runs.source(path), path, &name))
}

fn move_data(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() || to.exists() {
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        atomic::make_directory(parent, 0o755)?;
    }
    fs::rename(from, to)?;
    atomic::sync_parent(to)?;
    atomic::sync_parent(from)
}

/// Everything but the data.
fn build(path: &Path, new: &NewInstallation) -> io::Result<()> {
    match &new.source {
        AgentSource::BuiltIn { .. } => atomic::make_directory(path, 0o755)?,
        AgentSource::Python(python) => fs::rename(&python.directory, path)?,
    }
    let (config_file, _) = files(&new.source, path, &new.name);
    if let Some(parent) = config_file.parent() {
        atomic::make_directory(parent, 0o755)?;
    }
    atomic::write_new(&path.join("IDENTITY"), new.identity.as_str().as_bytes(), PUBLIC)?;
    atomic::write_new(&path.join(description::FILE), Description::text(&new.source, &new.name).as_bytes(), PUBLIC)?;
    if let Some(tag) = new.tag.as_ref().map(Tag::as_str) {
        atomic::write_new(&path.join("TAG"), tag.as_bytes(), PUBLIC)?;
    }
    if let Some(priority) = new.priority.as_ref().map(Priority::as_str) {
        atomic::write_new(&path.join("AUTOSTART"), priority.as_bytes(), PUBLIC)?;
    }
    if let (AgentSource::BuiltIn { .. }, Some(config)) = (&new.source, &new.config) {
        // Configurations hold passwords of databases and devices.
        atomic::write_new(&config_file, format!("{config:#}\n").as_bytes(), PRIVATE)?;
    }
    if let Some(keys) = new.keys.as_ref().filter(|_| generation(&new.source) == Some(Generation::Monolithic9)) {
        let information = config_file.with_file_name(KEYSTORE);
        atomic::write_new(&information, keystore(keys).as_bytes(), PRIVATE)?;
    }
    Ok(())
}

fn generation(source: &AgentSource) -> Option<Generation> {
    match source {
        AgentSource::BuiltIn { .. } => None,
        AgentSource::Python(python) => Some(python.generation),
    }
}

/// As monolithic agents read it; those of version 6 in their data, which goes over to a replacement.
fn keystore(keys: &CurveKeyPair) -> String {
    format!("{:#}\n", json!({"public": keys.public.to_string(), "secret": keys.secret.expose_text()}))
}

/// Flushes the directories from the inside out. What a package brought along was flushed when it was prepared.
fn flush(path: &Path, new: &NewInstallation) -> io::Result<()> {
    let (config_file, data_dir) = files(&new.source, path, &new.name);
    for directory in [config_file.parent(), data_dir.parent(), Some(path)].into_iter().flatten() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

fn installed(path: &Path, uuid: AgentUuid, new: NewInstallation) -> InstalledAgent {
    let NewInstallation { identity, name, tag, priority, source, config, keys: _ } = new;
    let (_, data_dir) = files(&source, path, &name);
    let source = match source {
        AgentSource::BuiltIn { kind } => AgentSource::BuiltIn { kind },
        AgentSource::Python(python) => AgentSource::Python(PythonSource { directory: path.to_owned(), ..python }),
    };
    InstalledAgent { uuid, identity, name, tag, priority, source, config, data_dir }
}

fn new_uuid() -> Result<AgentUuid, RepositoryError> {
    let text = uuid::Uuid::new_v4().to_string();
    AgentUuid::parse(&text).map_err(|error| RepositoryError::Unavailable { what: text, source: Box::new(error) })
}
