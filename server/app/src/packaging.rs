//! What `vpkg` does with wheels, by the tools and with the settings by which the server installs them; the server need not run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vt_backends::{PrepareError, PrepareObserver, PrepareStep};
use vt_config::{Environment, Settings};
use vt_host::Packages;

use crate::python;

/// Makes and changes wheels.
pub struct Packaging {
    runtime: tokio::runtime::Runtime,
    packages: Packages,
    observer: Arc<dyn PrepareObserver>,
}

/// Hands on what the tools say.
struct Said(Box<dyn Fn(&str) + Send + Sync>);

impl PrepareObserver for Said {
    fn on_step(&self, step: PrepareStep) {
        (self.0)(step.as_str());
    }

    fn on_line(&self, line: &str) {
        (self.0)(line);
    }
}

impl Packaging {
    /// With the settings of a home, working in the directory `work`; `say` is told what the tools say.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn new(
        settings: &Settings,
        environment: &Environment,
        work: &Path,
        say: impl Fn(&str) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut config = python::packages_config(settings, environment);
        config.home = work.to_owned();
        let packages = {
            let _inside = runtime.enter();
            Packages::new(config)?
        };
        Ok(Self { runtime, packages, observer: Arc::new(Said(Box::new(say))) })
    }

    /// Builds the wheel of a directory into `to` and gives its path.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub fn build(&self, sources: &Path, to: &Path) -> Result<PathBuf, PrepareError> {
        self.runtime.block_on(self.packages.build_wheel(sources, to, Arc::clone(&self.observer)))
    }

    /// Puts a file into a wheel's metadata.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub fn add(&self, wheel: &Path, name: &str, file: &Path) -> Result<(), PrepareError> {
        self.runtime.block_on(self.packages.add_to_wheel(wheel, name, file, Arc::clone(&self.observer)))
    }

    /// Packs an installed agent's package into a wheel in `to` and gives its path.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub fn pack(&self, directory: &Path, to: &Path) -> Result<PathBuf, PrepareError> {
        self.runtime.block_on(self.packages.pack_wheel(directory, to, Arc::clone(&self.observer)))
    }
}
