//! Installed agents. Source: VOLTTRON's `agents/<uuid>/` directories.

use std::path::PathBuf;

use async_trait::async_trait;
use serde_json::Value;
use vt_types::{AgentUuid, CurveKeyPair, Identity, Priority, Tag};

use super::{Loaded, RepositoryError};

/// What runs when the agent is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentSource {
    /// An agent of the built-in catalogue.
    BuiltIn {
        /// Its kind, such as `platform_driver`.
        kind: String,
    },
    /// A package in Python, which runs in a process of its own.
    Python(PythonSource),
}

/// A package in Python as it lies on the disk.
///
/// Below `directory` are: `env/`, its virtual environment; of a monolithic agent `<name>/`, the unpacked package, with `<name>.dist-info/`
/// (`config`, `keystore.json`, `execreqs.json`) and `<name>.agent-data/`; of a modular one `config` and `data/`. `<name>` is name and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonSource {
    /// Of what is to be installed: where it was prepared; the repository takes it from there. Of an installed agent: its own directory.
    pub directory: PathBuf,
    /// For which VOLTTRON it was written.
    pub generation: Generation,
    /// Where its code begins.
    pub entry: EntryPoint,
}

/// For which VOLTTRON an agent in Python was written, which decides how it is started and where it finds its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Generation {
    /// VOLTTRON 6, Python 2.7.
    Monolithic6,
    /// VOLTTRON 7 to 9.
    Monolithic9,
    /// The modular packages: volttron-core 2.x and what goes with it.
    Modular,
}

/// `module` or `module:function`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPoint {
    /// Dotted name of a module.
    pub module: String,
    /// Function of that module.
    pub function: Option<String>,
}

impl Generation {
    /// The word for it in files and answers: `6`, `9` or `modular`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Monolithic6 => "6",
            Self::Monolithic9 => "9",
            Self::Modular => "modular",
        }
    }

    /// The generation of such a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Monolithic6, Self::Monolithic9, Self::Modular].into_iter().find(|generation| generation.as_str() == word)
    }
}

impl EntryPoint {
    /// Parses `module` or `module:function`; what follows in square brackets is not part of it. `None` for anything that is not made of
    /// dotted Python names, because the text becomes part of a program.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split('[').next().unwrap_or_default().trim();
        let (module, function) = match text.split_once(':') {
            Some((module, function)) => (module.trim(), Some(function.trim())),
            None => (text, None),
        };
        let is_name = |text: &str| {
            text.split('.')
                .all(|part| part.chars().all(|c| c.is_alphanumeric() || c == '_') && part.chars().next().is_some_and(|c| !c.is_numeric()))
        };
        let fits = is_name(module) && function.is_none_or(is_name);
        fits.then(|| Self { module: module.to_owned(), function: function.map(str::to_owned) })
    }
}

impl std::fmt::Display for EntryPoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.module)?;
        self.function.as_ref().map_or(Ok(()), |function| write!(f, ":{function}"))
    }
}

impl PythonSource {
    /// The virtual environment.
    #[must_use]
    pub fn environment(&self) -> PathBuf {
        self.directory.join("env")
    }

    /// Where the metadata of the package `name` (name and version) lies.
    #[must_use]
    pub fn information(&self, name: &str) -> PathBuf {
        self.directory.join(name).join(format!("{name}.dist-info"))
    }

    /// The file with its install-time configuration; it need not exist.
    #[must_use]
    pub fn config_file(&self, name: &str) -> PathBuf {
        match self.generation {
            Generation::Monolithic6 | Generation::Monolithic9 => self.information(name).join("config"),
            Generation::Modular => self.directory.join("config"),
        }
    }

    /// The directory for its data.
    #[must_use]
    pub fn data_dir(&self, name: &str) -> PathBuf {
        match self.generation {
            Generation::Monolithic6 | Generation::Monolithic9 => self.directory.join(name).join(format!("{name}.agent-data")),
            Generation::Modular => self.directory.join("data"),
        }
    }
}

/// One installed agent.
#[derive(Debug, Clone, PartialEq)]
pub struct InstalledAgent {
    /// Installation id.
    pub uuid: AgentUuid,
    /// Its identity on the bus; unique among installed agents.
    pub identity: Identity,
    /// Name and version, such as `listeneragent-3.3`.
    pub name: String,
    /// Nickname.
    pub tag: Option<Tag>,
    /// Start order; an agent with one is enabled (starts with the platform).
    pub priority: Option<Priority>,
    /// What it runs.
    pub source: AgentSource,
    /// Its install-time configuration, if any. Of an agent in Python it lies beside its code and is not read here.
    pub config: Option<Value>,
    /// Its own directory for data; exists.
    pub data_dir: PathBuf,
}

/// What is needed to install an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct NewInstallation {
    /// Identity; must be free.
    pub identity: Identity,
    /// Name and version.
    pub name: String,
    /// Nickname.
    pub tag: Option<Tag>,
    /// Start order.
    pub priority: Option<Priority>,
    /// What to run.
    pub source: AgentSource,
    /// Install-time configuration; of an agent in Python it was put beside its code when that was prepared.
    pub config: Option<Value>,
    /// Its key, for generations that look for it beside their code.
    pub keys: Option<CurveKeyPair>,
}

/// Keeps the installed agents.
#[async_trait]
pub trait InstallationRepository: Send + Sync {
    /// All installed agents. Broken installations are left out with a warning.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`].
    async fn load_all(&self) -> Result<Loaded<Vec<InstalledAgent>>, RepositoryError>;

    /// Installs: all or nothing.
    ///
    /// # Errors
    /// [`RepositoryError::AlreadyExists`] if the identity is taken; [`RepositoryError::Unavailable`], then nothing is left behind.
    async fn install(&self, new: NewInstallation) -> Result<InstalledAgent, RepositoryError>;

    /// Puts `new` in the place of the installation `old`, whose identity it has: a new UUID, the same data. `old` is gone afterwards.
    ///
    /// # Errors
    /// [`RepositoryError::NotFound`], [`RepositoryError::AlreadyExists`] if another agent has the identity,
    /// [`RepositoryError::Unavailable`]; then `old` can still be loaded with its data, be it with what `new` says of it.
    async fn replace(&self, old: AgentUuid, new: NewInstallation) -> Result<InstalledAgent, RepositoryError>;

    /// Removes an installation with its data.
    ///
    /// # Errors
    /// [`RepositoryError::NotFound`], [`RepositoryError::Unavailable`].
    async fn remove(&self, uuid: AgentUuid) -> Result<(), RepositoryError>;

    /// Sets or clears the tag.
    ///
    /// # Errors
    /// [`RepositoryError::NotFound`], [`RepositoryError::Unavailable`].
    async fn set_tag(&self, uuid: AgentUuid, tag: Option<Tag>) -> Result<(), RepositoryError>;

    /// Sets or clears the priority.
    ///
    /// # Errors
    /// [`RepositoryError::NotFound`], [`RepositoryError::Unavailable`].
    async fn set_priority(&self, uuid: AgentUuid, priority: Option<Priority>) -> Result<(), RepositoryError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_points_are_dotted_names_and_nothing_else() {
        let parsed = EntryPoint::parse("listener.agent:main").unwrap();
        assert_eq!((parsed.module.as_str(), parsed.function.as_deref()), ("listener.agent", Some("main")));
        assert_eq!(parsed.to_string(), "listener.agent:main");
        assert_eq!(EntryPoint::parse(" listener.agent ").unwrap().function, None);
        assert_eq!(EntryPoint::parse("a.b:c.d [extra]").unwrap().to_string(), "a.b:c.d");
        for bad in ["", "a b", "os; import sys", "a..b", ":main", "a:", "a:b:c", "1a", "a/b", "a:main()", "a\nb"] {
            assert_eq!(EntryPoint::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn generations_have_words() {
        for generation in [Generation::Monolithic6, Generation::Monolithic9, Generation::Modular] {
            assert_eq!(Generation::parse(generation.as_str()), Some(generation));
        }
        assert_eq!(Generation::parse("8"), None);
    }
}
