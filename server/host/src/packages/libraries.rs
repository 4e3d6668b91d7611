//! Libraries for the environments of all agents in Python, of today and of later. Which these are stands in `libraries/libraries.json` of the
//! home, with the wheels that were sent beside it.
//!
//! What an agent has is never changed by a library: the versions in its environment stay, and a library that needs others is refused. Into
//! the environment of a monolithic agent no library of the modular VOLTTRON goes, since both have the package `volttron`.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vt_backends::{AgentEnvironment, Generation, Library, LibraryRequest, PrepareError, PrepareObserver, PythonSource};

use super::files::{self, system};
use super::inspect::normal;
use super::tool::Tools;
use super::{PREPARED, Packages, What, Work, checked};

/// Prints names and versions of what is installed.
const INSTALLED: &str =
    "import importlib.metadata as m, json; print(json.dumps([[d.metadata['Name'] or '', d.version] for d in m.distributions()]))";
/// In an environment: the libraries that were put in for all agents, as a JSON list of names. What is there and not in it is the agent's own.
const MARK: &str = "volttron-libraries.json";

/// A library of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    name: String,
    version: String,
    /// File name of the wheel that was sent; without one the index is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wheel: Option<String>,
    #[serde(default)]
    allow_prerelease: bool,
    /// Whether it needs the modular VOLTTRON.
    #[serde(default)]
    modular: bool,
}

impl Entry {
    pub(super) fn library(&self) -> Library {
        Library { name: self.name.clone(), version: self.version.clone() }
    }

    /// What `pip` understands.
    fn specification(&self, shelf: &Path) -> String {
        match &self.wheel {
            Some(wheel) => shelf.join(wheel).to_string_lossy().into_owned(),
            None => format!("{}=={}", self.name, self.version),
        }
    }

    fn is_for(&self, generation: Generation) -> bool {
        !self.modular || generation == Generation::Modular
    }
}

impl Packages {
    fn shelf(&self) -> PathBuf {
        self.config.home.join("libraries")
    }

    /// The list.
    pub(super) async fn entries(&self) -> Result<Vec<Entry>, PrepareError> {
        let path = self.shelf().join("libraries.json");
        let text = match tokio::fs::read_to_string(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(system(&path))?,
        };
        serde_json::from_str(&text).map_err(|error| PrepareError::System(format!("{}: {error}", path.display())))
    }

    async fn write_entries(&self, entries: &[Entry]) -> Result<(), PrepareError> {
        let text = serde_json::to_string_pretty(entries).map_err(|error| PrepareError::System(error.to_string()))?;
        files::write_durably(&self.shelf().join("libraries.json"), text + "\n").await
    }

    pub(super) async fn install_library_now(
        &self,
        request: &LibraryRequest,
        agents: &[AgentEnvironment],
        observer: Arc<dyn PrepareObserver>,
    ) -> Result<Library, PrepareError> {
        let _turn = self.turn.lock().await;
        let directory = self.config.home.join("agents").join(format!("{PREPARED}{}", files::unique()));
        files::make(&directory).await?;
        let tools = Tools { config: &self.config, spawner: &self.spawner, observer };
        let result = self.install_library_in(&directory, request, agents, &tools).await;
        files::remove(&directory).await;
        result
    }

    async fn install_library_in(
        &self,
        directory: &Path,
        request: &LibraryRequest,
        agents: &[AgentEnvironment],
        tools: &Tools<'_>,
    ) -> Result<Library, PrepareError> {
        let mut entries = self.entries().await?;
        // Alone first: whether it can be had, and what it is.
        let (new, wheel) = probe(directory, request, tools).await?;
        let at = entries.iter().position(|entry| normal(&entry.name) == normal(&new.name));
        let old = at.map(|at| entries[at].clone());
        let place = self.shelf();
        let specification = wheel.as_ref().map_or_else(|| new.specification(&place), |wheel| wheel.to_string_lossy().into_owned());
        let shelf = Shelf { tools, directory, place };
        let mut changed = Vec::new();
        for agent in agents {
            changed.push(agent);
            if let Err(error) = shelf.put(&new, &specification, &agent.source, request.force).await {
                shelf.put_back(&new, old.as_ref(), &changed).await;
                let left = if old.is_some() { "nothing was changed" } else { "no agent has it" };
                return Err(PrepareError::Invalid(format!("{} cannot be used by {}: {error}; {left}", new.name, agent.identity)));
            }
        }
        files::make(&self.shelf()).await?;
        if let (Some(wheel), Some(name)) = (wheel, &new.wheel) {
            files::copy_durably(&wheel, &self.shelf().join(name)).await?;
        }
        entries.retain(|entry| normal(&entry.name) != normal(&new.name));
        entries.push(new.clone());
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        self.write_entries(&entries).await?;
        if let Some(old) = old {
            self.drop_wheel(&old, &entries).await;
        }
        Ok(new.library())
    }

    pub(super) async fn remove_library_now(
        &self,
        name: &str,
        agents: &[AgentEnvironment],
        observer: Arc<dyn PrepareObserver>,
    ) -> Result<(), PrepareError> {
        let _turn = self.turn.lock().await;
        let mut entries = self.entries().await?;
        let at = entries.iter().position(|entry| normal(&entry.name) == normal(name));
        let at = at.ok_or_else(|| {
            PrepareError::Invalid(format!("there is no library {} for all agents", name.chars().take(200).collect::<String>()))
        })?;
        let entry = entries.remove(at);
        // First of all agents to come: what fails below is told and can be repeated by nobody but those who look after that agent.
        self.write_entries(&entries).await?;
        let tools = Tools { config: &self.config, spawner: &self.spawner, observer };
        let shelf = Shelf { tools: &tools, directory: &self.config.home, place: self.shelf() };
        let mut problems = Vec::new();
        for agent in agents {
            if let Err(error) = shelf.take_out(&entry.name, &agent.source).await {
                problems.push(format!("{} ({error})", agent.identity));
            }
        }
        self.drop_wheel(&entry, &entries).await;
        if problems.is_empty() {
            return Ok(());
        }
        Err(PrepareError::Invalid(format!("new agents do not get {} any more; still in use by {}", entry.name, problems.join(", "))))
    }

    /// Puts all libraries into the environment of a package that is being prepared.
    pub(super) async fn put_all(&self, source: &PythonSource, tools: &Tools<'_>) -> Result<(), PrepareError> {
        let shelf = Shelf { tools, directory: &source.directory, place: self.shelf() };
        for entry in self.entries().await? {
            let put = shelf.put(&entry, &entry.specification(&shelf.place), source, false).await;
            put.map_err(|error| PrepareError::Invalid(format!("the library {} cannot be used by it: {error}", entry.name)))?;
        }
        Ok(())
    }

    /// Deletes the wheel of a library that is no longer in the list.
    async fn drop_wheel(&self, entry: &Entry, entries: &[Entry]) {
        if let Some(wheel) = entry.wheel.as_ref().filter(|wheel| !entries.iter().any(|other| other.wheel.as_ref() == Some(wheel))) {
            let path = self.shelf().join(wheel);
            if let Err(error) = tokio::fs::remove_file(&path).await {
                tracing::warn!(path = %path.display(), %error, "the wheel of a library could not be deleted");
            }
        }
    }
}

/// Installs a library alone, and gives what it is, with its wheel if it was sent.
async fn probe(directory: &Path, request: &LibraryRequest, tools: &Tools<'_>) -> Result<(Entry, Option<PathBuf>), PrepareError> {
    let wheels = directory.join("wheel");
    files::make(&wheels).await?;
    let mut what = checked(&request.source, directory, &wheels).await?;
    let work = Work { tools, directory, environment: directory.join("env"), prerelease: request.allow_prerelease };
    work.make_environment(&tools.config.interpreter).await?;
    if let What::Sources(sources) = &what {
        work.build(sources, &wheels).await?;
        what = What::Wheel(files::only_wheel(&wheels).await?);
    }
    let (name, specification) = what.specification()?;
    work.install(&specification).await?;
    let facts = work.facts(&name).await?;
    let wheel = if let What::Wheel(path) = what { Some(path) } else { None };
    let entry = Entry {
        modular: facts.has("volttron-core"),
        wheel: wheel.as_ref().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
        allow_prerelease: request.allow_prerelease,
        name: facts.name,
        version: facts.version,
    };
    Ok((entry, wheel))
}

/// Puts libraries into environments and takes them out.
struct Shelf<'a> {
    tools: &'a Tools<'a>,
    /// For small files.
    directory: &'a Path,
    place: PathBuf,
}

impl Shelf<'_> {
    /// Unless the agent has it by itself, or it is not for its kind.
    async fn put(&self, entry: &Entry, specification: &str, source: &PythonSource, anew: bool) -> Result<(), PrepareError> {
        let environment = source.environment();
        if !environment.is_dir() || !entry.is_for(source.generation) {
            return Ok(());
        }
        let work = Work { tools: self.tools, directory: self.directory, environment, prerelease: entry.allow_prerelease };
        let installed = installed(&work).await?;
        let mut marked = marked(&work.environment).await?;
        let is_it = |name: &str| normal(name) == normal(&entry.name);
        let there = installed.iter().any(|(name, _)| is_it(name));
        if there && !marked.contains(&normal(&entry.name)) {
            return Ok(());
        }
        if there && anew {
            work.uninstall(&entry.name).await?;
        }
        let held: String =
            installed.iter().filter(|(name, _)| !is_it(name)).map(|(name, version)| format!("{name}=={version}\n")).collect();
        let path = self.directory.join(format!(".held-{}", files::unique()));
        tokio::fs::write(&path, held).await.map_err(system(&path))?;
        let result = work.install_held(specification, &path).await;
        drop(tokio::fs::remove_file(&path).await);
        result?;
        marked.insert(normal(&entry.name));
        mark(&work.environment, &marked).await
    }

    /// If it was put in for all agents.
    async fn take_out(&self, name: &str, source: &PythonSource) -> Result<(), PrepareError> {
        let environment = source.environment();
        let mut marked = marked(&environment).await?;
        if !marked.remove(&normal(name)) {
            return Ok(());
        }
        let work = Work { tools: self.tools, directory: self.directory, environment, prerelease: false };
        work.uninstall(name).await?;
        mark(&work.environment, &marked).await
    }

    /// After a failure: everything as it was.
    async fn put_back(&self, new: &Entry, old: Option<&Entry>, agents: &[&AgentEnvironment]) {
        for agent in agents {
            let result = match old {
                Some(old) => self.put(old, &old.specification(&self.place), &agent.source, true).await,
                None => self.take_out(&new.name, &agent.source).await,
            };
            if let Err(error) = result {
                tracing::error!(identity = %agent.identity, library = new.name, %error, "an agent's environment could not be put back");
            }
        }
    }
}

async fn installed(work: &Work<'_>) -> Result<Vec<(String, String)>, PrepareError> {
    let arguments = ["-I", "-c", INSTALLED].map(str::to_owned);
    let answer = work.tools.ask("reading the environment", &work.python(), &arguments, work.directory).await?;
    serde_json::from_str(&answer).map_err(|error| PrepareError::System(format!("the environment cannot be read: {error}")))
}

async fn marked(environment: &Path) -> Result<BTreeSet<String>, PrepareError> {
    let path = environment.join(MARK);
    match tokio::fs::read_to_string(&path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(system(&path)(error)),
        Ok(text) => serde_json::from_str(&text).map_err(|error| PrepareError::System(format!("{}: {error}", path.display()))),
    }
}

async fn mark(environment: &Path, marked: &BTreeSet<String>) -> Result<(), PrepareError> {
    let text = serde_json::to_string(marked).map_err(|error| PrepareError::System(error.to_string()))?;
    files::write_durably(&environment.join(MARK), text).await
}
