//! Makes packages in Python ready to be installed: each gets a virtual environment of its own with its dependencies, by `uv` where there
//! is one, else by `venv` and `pip`. Implements [`vt_backends::PythonPackages`].
//!
//! Map: `config`, `tool` (calls of tools), `inspect` (what kind of agent a package is), `files` (copying, making an environment movable),
//! `libraries` (what all environments have), `wheels` (wheels as files).
//!
//! Everything happens in `agents/.prepared-<id>` of the home, which the repository of installations renames into place. What is left of
//! it after a crash is deleted at the next start. One package is prepared at a time.

mod config;
mod files;
mod inspect;
mod libraries;
mod tool;
mod wheels;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use vt_backends::{
    AgentEnvironment, Generation, Library, LibraryRequest, PackageRequest, PackageSource, PrepareError, PrepareObserver, PrepareStep,
    PreparedPackage, PythonPackages, PythonSource,
};

use crate::process::spawn::Spawner;
pub use config::PackagesConfig;
use files::system;
use inspect::{Facts, Kind};
use tool::Tools;

/// With what modular agents speak over ZeroMQ, which their packages do not name: on VOLTTRON it comes with the platform.
const MODULAR_BUS: &str = "volttron-lib-zmq";
/// Begins the name of a directory in which a package is prepared.
const PREPARED: &str = ".prepared-";

/// Makes packages ready.
pub struct Packages {
    config: PackagesConfig,
    spawner: Spawner,
    turn: Mutex<()>,
}

impl Packages {
    /// Deletes what an earlier server left half prepared, and is ready then. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the system gives no thread, or the leftovers cannot be deleted.
    pub fn new(config: PackagesConfig) -> std::io::Result<Self> {
        files::sweep(&config.home.join("agents"), PREPARED)?;
        Ok(Self { config, spawner: Spawner::new()?, turn: Mutex::default() })
    }

    async fn prepare_in(&self, directory: &Path, request: &PackageRequest, tools: &Tools<'_>) -> Result<PreparedPackage, PrepareError> {
        let step = |step: PrepareStep| tools.observer.on_step(step);
        step(PrepareStep::Checking);
        let wheels = directory.join("wheel");
        files::make(&wheels).await?;
        let mut what = checked(&request.source, directory, &wheels).await?;
        let interpreter = request.interpreter.as_deref().unwrap_or(&self.config.interpreter);

        step(PrepareStep::Environment);
        let work = Work { tools, directory, environment: directory.join("env"), prerelease: request.allow_prerelease };
        work.make_environment(interpreter).await?;
        if let What::Sources(sources) = &what {
            step(PrepareStep::Building);
            work.build(sources, &wheels).await?;
            what = What::Wheel(files::only_wheel(&wheels).await?);
        }

        step(PrepareStep::Dependencies);
        let (name, specification) = what.specification()?;
        work.install(&specification).await?;
        let requirements = directory.join("source/requirements.txt");
        if matches!(request.source, PackageSource::Directory(_)) && !request.skip_requirements && requirements.is_file() {
            work.install_all_of(&requirements).await?;
        }
        let mut facts = work.facts(&name).await?;
        let Kind { generation, entry, name } = facts.kind()?;
        let is_monolithic = generation != Generation::Modular;
        if let Some(volttron) = self.config.monolithic.as_ref().filter(|_| is_monolithic && !facts.has("volttron")) {
            work.install(volttron).await?;
        }
        if !is_monolithic && facts.has("volttron-core") && !facts.has(MODULAR_BUS) {
            work.install(MODULAR_BUS).await?;
        }

        step(PrepareStep::Unpacking);
        let source = PythonSource { directory: directory.to_owned(), generation, entry };
        let identity_template = facts.identity_template(&request.source);
        if is_monolithic {
            facts.information = work.unpack(&specification, &name).await?;
        }
        let config = files::Configuration {
            given: request.config.clone(),
            // Modular agents do not look for it where `vpkg configure` puts it.
            others: [Some(facts.information.join("config")), request.earlier_config.clone()].into_iter().flatten().collect(),
        };
        self.put_all(&source, tools).await?;
        files::finish(&source, &name, config).await?;
        Ok(PreparedPackage { source, name, identity_template })
    }
}

#[async_trait]
impl PythonPackages for Packages {
    async fn prepare(&self, request: PackageRequest, observer: Arc<dyn PrepareObserver>) -> Result<PreparedPackage, PrepareError> {
        let _turn = self.turn.lock().await;
        let directory = self.config.home.join("agents").join(format!("{PREPARED}{}", files::unique()));
        files::make(&directory).await?;
        let tools = Tools { config: &self.config, spawner: &self.spawner, observer };
        let result = self.prepare_in(&directory, &request, &tools).await;
        if result.is_err() {
            files::remove(&directory).await;
        }
        result
    }

    async fn discard(&self, package: PreparedPackage) {
        files::remove(&package.source.directory).await;
    }

    async fn install_library(
        &self,
        request: LibraryRequest,
        agents: Vec<AgentEnvironment>,
        observer: Arc<dyn PrepareObserver>,
    ) -> Result<Library, PrepareError> {
        self.install_library_now(&request, &agents, observer).await
    }

    async fn remove_library(
        &self,
        name: &str,
        agents: Vec<AgentEnvironment>,
        observer: Arc<dyn PrepareObserver>,
    ) -> Result<(), PrepareError> {
        self.remove_library_now(name, &agents, observer).await
    }

    async fn libraries(&self) -> Result<Vec<Library>, PrepareError> {
        Ok(self.entries().await?.iter().map(libraries::Entry::library).collect())
    }
}

/// What is installed into the environment.
enum What {
    /// A copy of the sources.
    Sources(PathBuf),
    Wheel(PathBuf),
    Requirement(String),
}

impl What {
    /// The package's name, and what `pip` understands.
    fn specification(&self) -> Result<(String, String), PrepareError> {
        match self {
            Self::Sources(path) | Self::Wheel(path) => {
                let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                Ok((inspect::wheel_name(&file)?.to_owned(), path.to_string_lossy().into_owned()))
            }
            Self::Requirement(text) => {
                let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(text.len());
                Ok((text[..end].to_owned(), text.clone()))
            }
        }
    }
}

/// Takes the source into `directory`, where nobody changes it any more.
async fn checked(source: &PackageSource, directory: &Path, wheels: &Path) -> Result<What, PrepareError> {
    match source {
        PackageSource::Directory(path) => {
            if !path.is_dir() {
                return Err(PrepareError::Invalid(format!("Invalid file {}", path.display())));
            }
            if !["pyproject.toml", "setup.py"].iter().any(|file| path.join(file).is_file()) {
                return Err(PrepareError::Invalid("Agent source must contain a setup.py file or a pyproject.toml file.".to_owned()));
            }
            let sources = directory.join("source");
            files::copy_tree(path, &sources).await?;
            Ok(What::Sources(sources))
        }
        PackageSource::File(path) => {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            inspect::wheel_name(&name)?;
            let copy = wheels.join(&name);
            tokio::fs::copy(path, &copy)
                .await
                .map_err(|error| PrepareError::Invalid(format!("Invalid file {}: {error}", path.display())))?;
            Ok(What::Wheel(copy))
        }
        PackageSource::Wheel { file_name, content } => {
            inspect::wheel_name(file_name)?;
            let path = wheels.join(file_name);
            tokio::fs::write(&path, content.as_slice()).await.map_err(system(&path))?;
            Ok(What::Wheel(path))
        }
        PackageSource::Requirement(text) => inspect::requirement(text).map(What::Requirement),
    }
}

/// What the calls of tools for one package share.
struct Work<'a> {
    tools: &'a Tools<'a>,
    directory: &'a Path,
    environment: PathBuf,
    prerelease: bool,
}

impl Work<'_> {
    fn python(&self) -> PathBuf {
        self.environment.join("bin/python")
    }

    async fn make_environment(&self, interpreter: &str) -> Result<(), PrepareError> {
        let bad = interpreter.is_empty() || interpreter.starts_with('-') || interpreter.contains(char::is_control);
        if bad {
            return Err(PrepareError::Invalid("an interpreter is a name such as python3.11, or a path".to_owned()));
        }
        let place = self.environment.to_string_lossy().into_owned();
        match &self.tools.config.uv {
            Some(uv) => {
                let arguments = ["venv", "--relocatable", "--python", interpreter, &place].map(str::to_owned);
                self.tools.call("uv venv", uv, &arguments, self.directory).await
            }
            None => {
                let arguments = ["-m", "venv", &place].map(str::to_owned);
                let what = format!("{interpreter} -m venv");
                self.tools.call(&what, Path::new(interpreter), &arguments, self.directory).await
            }
        }
    }

    /// Calls `uv` or `pip` with `arguments` of their common language.
    async fn pip(&self, what: &str, uv_words: &[&str], pip_words: &[&str], arguments: Vec<String>) -> Result<(), PrepareError> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let python = self.python();
        let place = python.to_string_lossy().into_owned();
        match &self.tools.config.uv {
            Some(uv) => {
                let all = [words(uv_words), vec!["--python".to_owned(), place], arguments].concat();
                self.tools.call(&format!("uv {what}"), uv, &all, self.directory).await
            }
            None => {
                let all = [words(&["-m", "pip"]), words(pip_words), arguments].concat();
                self.tools.call(&format!("pip {what}"), &python, &all, self.directory).await
            }
        }
    }

    async fn build(&self, sources: &Path, wheels: &Path) -> Result<(), PrepareError> {
        let (from, to) = (sources.to_string_lossy().into_owned(), wheels.to_string_lossy().into_owned());
        let arguments = [self.tools.config.index_options(), vec![from]].concat();
        let uv_words = ["build", "--wheel", "--out-dir", &to];
        self.pip("build", &uv_words, &["wheel", "--no-deps", "--wheel-dir", &to], arguments).await
    }

    fn options(&self) -> Vec<String> {
        let mut options = self.tools.config.index_options();
        if self.prerelease {
            let uv = self.tools.config.uv.is_some();
            options.push(if uv { "--prerelease=allow" } else { "--pre" }.to_owned());
        }
        options
    }

    async fn install(&self, specification: &str) -> Result<(), PrepareError> {
        let mut arguments = self.options();
        if let Some(volttron) = &self.tools.config.monolithic {
            let path = self.directory.join("constraints.txt");
            tokio::fs::write(&path, format!("{volttron}\n")).await.map_err(system(&path))?;
            arguments.extend(["--constraint".to_owned(), path.to_string_lossy().into_owned()]);
        }
        arguments.push(specification.to_owned());
        self.pip("install", &["pip", "install"], &["install"], arguments).await
    }

    /// Beside what is there already, of which `held` names the versions.
    async fn install_held(&self, specification: &str, held: &Path) -> Result<(), PrepareError> {
        let held = ["--constraint".to_owned(), held.to_string_lossy().into_owned(), specification.to_owned()];
        let arguments = [self.options(), held.to_vec()].concat();
        self.pip("install", &["pip", "install"], &["install"], arguments).await
    }

    async fn uninstall(&self, name: &str) -> Result<(), PrepareError> {
        self.pip("uninstall", &["pip", "uninstall"], &["uninstall", "--yes"], vec![name.to_owned()]).await
    }

    /// What a list of requirements names, which agents of VOLTTRON have beside what their package says.
    async fn install_all_of(&self, requirements: &Path) -> Result<(), PrepareError> {
        let arguments = [self.options(), vec!["--requirement".to_owned(), requirements.to_string_lossy().into_owned()]].concat();
        self.pip("install", &["pip", "install"], &["install"], arguments).await
    }

    /// Puts the package itself where monolithic agents look for it; its metadata there.
    async fn unpack(&self, specification: &str, name: &str) -> Result<PathBuf, PrepareError> {
        let target = self.directory.join(name);
        let place = target.to_string_lossy().into_owned();
        let arguments = [self.options(), vec!["--no-deps".to_owned(), "--target".to_owned(), place, specification.to_owned()]].concat();
        self.pip("install", &["pip", "install"], &["install"], arguments).await?;
        let information = target.join(format!("{name}.dist-info"));
        if information.is_dir() { Ok(information) } else { Err(PrepareError::System(format!("{} is missing", information.display()))) }
    }

    async fn facts(&self, name: &str) -> Result<Facts, PrepareError> {
        // Isolated, so that nothing in the directory or the environment is taken for a module of the interpreter.
        let arguments = ["-I", "-c", inspect::SCRIPT, name].map(str::to_owned);
        let answer = self.tools.ask("reading the package", &self.python(), &arguments, self.directory).await?;
        serde_json::from_str(&answer).map_err(|error| PrepareError::System(format!("the metadata of {name} cannot be read: {error}")))
    }
}
