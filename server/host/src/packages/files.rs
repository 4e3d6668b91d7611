//! Files of a package that is being prepared.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use vt_backends::{Generation, PrepareError, PythonSource};

/// Most that is copied from a directory with sources, bytes.
const SOURCES_BYTES_MAX: u64 = 256 << 20;
/// Names in a directory with sources that are not part of a package.
const NOT_SOURCES: [&str; 6] = [".git", "__pycache__", ".venv", "env", "node_modules", ".tox"];
/// Begins a script that finds its interpreter beside itself, wherever the environment lies.
const RELOCATABLE: &str = "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python' \"$0\" \"$@\"\n' '''\n";

/// The error for a path.
pub fn system(path: &Path) -> impl FnOnce(io::Error) -> PrepareError + '_ {
    move |error| PrepareError::System(format!("{}: {error}", path.display()))
}

/// A name that nobody else uses.
pub fn unique() -> String {
    format!("{:032x}", rand::random::<u128>())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, PrepareError> + Send + 'static) -> Result<T, PrepareError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(PrepareError::System(error.to_string())))
}

/// Deletes the directories of `agents` whose names begin with `prefix`.
pub fn sweep(agents: &Path, prefix: &str) -> io::Result<()> {
    let listing = match fs::read_dir(agents) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in listing {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Writes a file so that a crash leaves the old or the new one.
pub async fn write_durably(path: &Path, text: String) -> Result<(), PrepareError> {
    let path = path.to_owned();
    blocking(move || {
        let beside = path.with_extension("part");
        let put = || {
            let mut file = File::create(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
        };
        put().map_err(system(&path))
    })
    .await
}

/// Copies a file to where it is needed for long.
pub async fn copy_durably(from: &Path, to: &Path) -> Result<(), PrepareError> {
    let (from, to) = (from.to_owned(), to.to_owned());
    blocking(move || fs::copy(&from, &to).and_then(|_| File::open(&to)?.sync_all()).map_err(system(&to))).await
}

/// Makes a directory with its parents.
pub async fn make(path: &Path) -> Result<(), PrepareError> {
    tokio::fs::create_dir_all(path).await.map_err(system(path))
}

/// Deletes a directory; what cannot be deleted is deleted at the next start.
pub async fn remove(path: &Path) {
    if let Err(error) = tokio::fs::remove_dir_all(path).await {
        tracing::warn!(path = %path.display(), %error, "what was prepared for an agent could not be deleted yet");
    }
}

/// The only wheel in a directory.
pub async fn only_wheel(wheels: &Path) -> Result<PathBuf, PrepareError> {
    let wheels = wheels.to_owned();
    blocking(move || {
        let listing = fs::read_dir(&wheels).map_err(system(&wheels))?;
        let paths = listing.filter_map(Result::ok).map(|entry| entry.path());
        let mut found = paths.filter(|path| path.extension().is_some_and(|extension| extension == "whl"));
        let wheel = found.next().ok_or_else(|| PrepareError::System("the build made no wheel".to_owned()))?;
        if found.next().is_some() { Err(PrepareError::System("the build made several wheels".to_owned())) } else { Ok(wheel) }
    })
    .await
}

/// Copies a directory with sources. Links are left out: they may lead anywhere.
pub async fn copy_tree(from: &Path, to: &Path) -> Result<(), PrepareError> {
    let (from, to) = (from.to_owned(), to.to_owned());
    blocking(move || {
        let mut left = SOURCES_BYTES_MAX;
        copy_into(&from, &to, &mut left).map_err(system(&from))
    })
    .await
}

fn copy_into(from: &Path, to: &Path, left: &mut u64) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, name) = (entry.file_type()?, entry.file_name());
        if NOT_SOURCES.iter().any(|other| name == *other) {
            continue;
        }
        if kind.is_dir() {
            copy_into(&entry.path(), &to.join(&name), left)?;
        } else if kind.is_file() {
            let size = entry.metadata()?.len();
            *left = left.checked_sub(size).ok_or_else(|| io::Error::other("the directory holds more than 256 MiB"))?;
            fs::copy(entry.path(), to.join(&name))?;
        }
    }
    Ok(())
}

/// An agent's install-time configuration.
pub struct Configuration {
    /// What was asked for.
    pub given: Option<String>,
    /// Where else it may stand, best first, if nothing was asked for and the package has none in its place.
    pub others: Vec<PathBuf>,
}

/// The last touches: configuration, scripts that can be moved, nothing that is not needed; all of it on the disk.
pub async fn finish(source: &PythonSource, name: &str, config: Configuration) -> Result<(), PrepareError> {
    let (source, name) = (source.clone(), name.to_owned());
    let path = source.directory.clone();
    blocking(move || finish_now(&source, &name, &config).map_err(system(&path))).await
}

fn finish_now(source: &PythonSource, name: &str, config: &Configuration) -> io::Result<()> {
    for rest in ["wheel", "source"] {
        match fs::remove_dir_all(source.directory.join(rest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    drop(fs::remove_file(source.directory.join("constraints.txt")));
    if source.generation != Generation::Modular {
        drop(fs::remove_file(source.information(name).join("IDENTITY_TEMPLATE")));
    }
    let file = source.config_file(name);
    let other = || config.others.iter().find(|path| path.is_file()).map(fs::read_to_string).transpose();
    let content = if config.given.is_some() || file.exists() { config.given.clone() } else { other()? };
    if let Some(config) = content {
        // Configurations hold passwords of databases and devices.
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file)?;
        file.write_all(config.as_bytes())?;
    } else if file.exists() {
        fs::set_permissions(&file, Permissions::from_mode(0o600))?;
    }
    make_movable(&source.environment())?;
    // Thousands of files: one call for all of them instead of one for each.
    nix::unistd::syncfs(File::open(&source.directory)?).map_err(io::Error::from)
}

/// Scripts name their interpreter by its path, which changes when the environment is put into place.
fn make_movable(environment: &Path) -> io::Result<()> {
    let binaries = environment.join("bin");
    let here = format!("#!{}/python", binaries.display());
    for entry in fs::read_dir(&binaries)? {
        let path = entry?.path();
        if !fs::symlink_metadata(&path)?.is_file() {
            continue;
        }
        let content = fs::read(&path)?;
        if content.starts_with(here.as_bytes())
            && let Some(end) = content.iter().position(|byte| *byte == b'\n')
        {
            // In place, which keeps the mode.
            fs::write(&path, [RELOCATABLE.as_bytes(), &content[end + 1..]].concat())?;
        }
    }
    Ok(())
}
