//! Packages in memory: whatever is asked for is ready at once, or fails as its name says.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::packages::{
    AgentEnvironment, Library, LibraryRequest, PackageRequest, PackageSource, PrepareError, PrepareObserver, PrepareStep, PreparedPackage,
    PythonPackages,
};
use crate::{EntryPoint, Generation, PythonSource};

/// Prepares nothing but the words for it. A source with `broken` in its name fails, one with `modular` is a modular agent. Clones share
/// what they were asked.
#[derive(Debug, Clone, Default)]
pub struct MemoryPackages {
    requests: Arc<Mutex<Vec<PackageRequest>>>,
    discarded: Arc<Mutex<Vec<String>>>,
    libraries: Arc<Mutex<Vec<Library>>>,
    environments: Arc<Mutex<Vec<AgentEnvironment>>>,
}

impl MemoryPackages {
    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<PackageRequest> {
        self.requests.lock().clone()
    }

    /// The environments that the last change of libraries was for.
    #[must_use]
    pub fn environments(&self) -> Vec<AgentEnvironment> {
        self.environments.lock().clone()
    }

    /// Names of the packages that were discarded.
    #[must_use]
    pub fn discarded(&self) -> Vec<String> {
        self.discarded.lock().clone()
    }
}

/// `listeneragent-3.3` of `.../listeneragent-3.3-py3-none-any.whl`, of `listeneragent==3.3`, or with version 1.0 of `.../listeneragent`.
fn name_of(source: &PackageSource) -> String {
    let text = match source {
        PackageSource::Directory(path) | PackageSource::File(path) => path.to_string_lossy().into_owned(),
        PackageSource::Wheel { file_name, .. } => file_name.clone(),
        PackageSource::Requirement(text) => text.replace("==", "-"),
    };
    let last = text.rsplit('/').next().unwrap_or_default();
    let name: Vec<&str> = last.trim_end_matches(".whl").split('-').take(2).collect();
    if name.len() == 2 { name.join("-") } else { format!("{last}-1.0") }
}

#[async_trait]
impl PythonPackages for MemoryPackages {
    async fn prepare(&self, request: PackageRequest, observer: Arc<dyn PrepareObserver>) -> Result<PreparedPackage, PrepareError> {
        let name = name_of(&request.source);
        self.requests.lock().push(request);
        observer.on_step(PrepareStep::Environment);
        observer.on_line(&format!("preparing {name}"));
        if name.contains("broken") {
            return Err(PrepareError::Tool { tool: "pip".to_owned(), reason: "told to fail".to_owned() });
        }
        let generation = if name.contains("modular") { Generation::Modular } else { Generation::Monolithic9 };
        let entry = EntryPoint { module: "listener.agent".to_owned(), function: Some("main".to_owned()) };
        let source = PythonSource { directory: PathBuf::from("/nonexistent/prepared"), generation, entry };
        Ok(PreparedPackage { source, name, identity_template: None })
    }

    async fn discard(&self, package: PreparedPackage) {
        self.discarded.lock().push(package.name);
    }

    async fn install_library(
        &self,
        request: LibraryRequest,
        agents: Vec<AgentEnvironment>,
        observer: Arc<dyn PrepareObserver>,
    ) -> Result<Library, PrepareError> {
        let name = name_of(&request.source);
        observer.on_line(&format!("putting {name} everywhere"));
        if name.contains("broken") {
            return Err(PrepareError::Tool { tool: "pip".to_owned(), reason: "told to fail".to_owned() });
        }
        let (name, version) = name.split_once('-').unwrap_or((&name, "1.0"));
        let library = Library { name: name.to_owned(), version: version.to_owned() };
        let mut libraries = self.libraries.lock();
        libraries.retain(|other| other.name != library.name);
        libraries.push(library.clone());
        libraries.sort_by(|a, b| a.name.cmp(&b.name));
        *self.environments.lock() = agents;
        Ok(library)
    }

    async fn remove_library(&self, name: &str, agents: Vec<AgentEnvironment>, _: Arc<dyn PrepareObserver>) -> Result<(), PrepareError> {
        let mut libraries = self.libraries.lock();
        let at = libraries.iter().position(|library| library.name == name);
        libraries.remove(at.ok_or_else(|| PrepareError::Invalid(format!("there is no library {name} for all agents")))?);
        *self.environments.lock() = agents;
        Ok(())
    }

    async fn libraries(&self) -> Result<Vec<Library>, PrepareError> {
        Ok(self.libraries.lock().clone())
    }
}
