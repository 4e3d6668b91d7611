//! Making packages in Python ready to be installed: an environment of its own for each, its dependencies, its files in the places where
//! VOLTTRON looks for them. What is ready is handed to the repository of installations, which puts it into place.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use vt_types::Identity;

use crate::PythonSource;

/// Largest package that is taken from a peer or a person, bytes.
pub const PACKAGE_BYTES_MAX: usize = 64 << 20;

/// Where the code of an agent comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageSource {
    /// A directory on this machine with `pyproject.toml` or `setup.py`.
    Directory(PathBuf),
    /// A wheel on this machine.
    File(PathBuf),
    /// A wheel that was sent.
    Wheel {
        /// Its file name, which carries name and version.
        file_name: String,
        /// Its content.
        content: Arc<Vec<u8>>,
    },
    /// A name in a package index, with or without a version, such as `volttron-listener==2.0.0rc3`.
    Requirement(String),
}

/// What is to be made ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageRequest {
    /// The code.
    pub source: PackageSource,
    /// Install-time configuration, the content of a file as it is; `None` leaves what the package brings along.
    pub config: Option<String>,
    /// File whose content is the configuration if neither the request nor the package has one; it need not exist.
    pub earlier_config: Option<PathBuf>,
    /// Name or path of the Python interpreter; `None` for the configured one.
    pub interpreter: Option<String>,
    /// Whether versions that are not final may be chosen.
    pub allow_prerelease: bool,
    /// Whether a directory's `requirements.txt` is left alone.
    pub skip_requirements: bool,
}

impl PackageRequest {
    /// A package with nothing special about it.
    #[must_use]
    pub fn of(source: PackageSource) -> Self {
        Self { source, config: None, earlier_config: None, interpreter: None, allow_prerelease: false, skip_requirements: false }
    }
}

/// A package that is ready to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedPackage {
    /// Where it lies, and how it is started.
    pub source: PythonSource,
    /// Name and version, such as `listeneragent-3.3`.
    pub name: String,
    /// The identity it asks for, perhaps with `{n}`.
    pub identity_template: Option<String>,
}

/// A library that all agents in Python are to have in their environments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryRequest {
    /// Its code.
    pub source: PackageSource,
    /// Installs it anew where it is installed.
    pub force: bool,
    /// Whether versions that are not final may be chosen.
    pub allow_prerelease: bool,
}

/// A library that all agents in Python have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Its name in the index.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The environment of an installed agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentEnvironment {
    /// Whose.
    pub identity: Identity,
    /// Where it lies.
    pub source: PythonSource,
}

/// A step of making a package ready, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrepareStep {
    /// Finding interpreter and tools, reading the source.
    Checking,
    /// Making the virtual environment.
    Environment,
    /// Building a wheel from a directory.
    Building,
    /// Installing the package with its dependencies.
    Dependencies,
    /// Putting its files into place.
    Unpacking,
}

impl PrepareStep {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checking => "checking",
            Self::Building => "building",
            Self::Environment => "environment",
            Self::Dependencies => "dependencies",
            Self::Unpacking => "unpacking",
        }
    }
}

/// Is told how the work goes on. Must not block.
pub trait PrepareObserver: Send + Sync {
    /// A step begins.
    fn on_step(&self, step: PrepareStep);
    /// A tool said something; control characters are taken out.
    fn on_line(&self, line: &str);
}

/// Why a package could not be made ready. Nothing is left of it then.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The source is no agent that can be installed here, or the request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// A tool failed.
    #[error("{tool} failed: {reason}")]
    Tool {
        /// What was done with which tool.
        tool: String,
        /// Its last words.
        reason: String,
    },
    /// The system refused (disk, processes).
    #[error("the package could not be prepared: {0}")]
    System(String),
}

/// Makes packages in Python ready.
#[async_trait]
pub trait PythonPackages: Send + Sync {
    /// Makes a package ready. It is kept until it is installed or discarded, and does not survive the end of the server.
    ///
    /// # Errors
    /// [`PrepareError`].
    async fn prepare(&self, request: PackageRequest, observer: Arc<dyn PrepareObserver>) -> Result<PreparedPackage, PrepareError>;

    /// Removes a package that will not be installed.
    async fn discard(&self, package: PreparedPackage);

    /// Puts a library into the environments of `agents`, and of every package that is prepared from now on. An agent that has it by itself
    /// keeps its own.
    ///
    /// # Errors
    /// [`PrepareError`]; then no environment has it that had it not before.
    async fn install_library(
        &self,
        request: LibraryRequest,
        agents: Vec<AgentEnvironment>,
        observer: Arc<dyn PrepareObserver>,
    ) -> Result<Library, PrepareError>;

    /// Takes a library out of the environments of `agents`, and of what is prepared from now on.
    ///
    /// # Errors
    /// `Invalid` if there is none of this name, or it could not be taken out everywhere; which agents still have it is told.
    async fn remove_library(
        &self,
        name: &str,
        agents: Vec<AgentEnvironment>,
        observer: Arc<dyn PrepareObserver>,
    ) -> Result<(), PrepareError>;

    /// The libraries that all agents get, by name.
    ///
    /// # Errors
    /// `System`.
    async fn libraries(&self) -> Result<Vec<Library>, PrepareError>;
}
