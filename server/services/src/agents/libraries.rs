//! Libraries that all agents in Python have in their environments. Source: modular `volttron/server/aip.py` (`install_library`), where there is
//! one environment for all.

use std::sync::Arc;

use serde_json::{Value, json};
use vt_agent::MethodTable;
use vt_backends::{AgentEnvironment, AgentSource, Library, LibraryRequest, PrepareObserver, PrepareStep};

use super::rpc::{Exported, text_or_null};
use super::{Agents, Inner, rpc_install};
use crate::{Caller, ServiceError};

/// Nobody follows; what the tools say goes to the log.
struct Logged;

impl PrepareObserver for Logged {
    fn on_step(&self, step: PrepareStep) {
        tracing::debug!(step = step.as_str(), "a library is being installed");
    }

    fn on_line(&self, line: &str) {
        tracing::debug!(line, "a library is being installed");
    }
}

impl Agents {
    /// Puts a library into the environments of all agents in Python, of today and of later. Running ones see it after their next start.
    ///
    /// # Errors
    /// `Forbidden`, `Invalid` if it cannot be had or an agent cannot have it, `Unavailable`; nothing is changed then.
    pub async fn install_library(&self, caller: &Caller, request: LibraryRequest) -> Result<Library, ServiceError> {
        let what = super::packages::what(&request.source);
        self.begin(caller, "library.install", what, caller.require_admin(), |inner| async move {
            let _alone = inner.environments.write().await;
            let library = inner.deps.packages.install_library(request, inner.agent_environments(), Arc::new(Logged)).await?;
            let detail = format!("{} {}", library.name, library.version);
            Ok((library, detail))
        })
        .await
    }

    /// Takes a library out again. Agents that have it by themselves keep it.
    ///
    /// # Errors
    /// `Forbidden`, `Invalid` if there is none of this name or an agent still has it, `Unavailable`.
    pub async fn remove_library(&self, caller: &Caller, name: &str) -> Result<(), ServiceError> {
        let wanted = name.to_owned();
        let what = name.chars().take(200).collect();
        self.begin(caller, "library.remove", what, caller.require_admin(), |inner| async move {
            let _alone = inner.environments.write().await;
            inner.deps.packages.remove_library(&wanted, inner.agent_environments(), Arc::new(Logged)).await?;
            Ok(((), String::new()))
        })
        .await
    }

    /// The libraries that all agents in Python have, by name.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn libraries(&self) -> Result<Vec<Library>, ServiceError> {
        Ok(self.inner.deps.packages.libraries().await?)
    }
}

impl Inner {
    fn agent_environments(&self) -> Vec<AgentEnvironment> {
        let agents = self.deps.installed.all().into_iter().filter_map(|agent| match agent.source {
            AgentSource::Python(source) => Some(AgentEnvironment { identity: agent.identity, source }),
            AgentSource::BuiltIn { .. } => None,
        });
        agents.collect()
    }
}

/// What `vctl` of the modular generation calls, and `list_libraries`, which is ours.
pub(super) fn export(table: &mut MethodTable, exported: &Exported) {
    let install =
        table.method("install_library").doc("Puts a library into the environments of all agents in Python; gives name and version.");
    let install = install.param("source").optional("data", Value::Null).optional("force", false);
    exported.add(install.optional("allow_prerelease", false), |this, call| async move {
        let (source, data): (String, _) = (call.arg("source")?, text_or_null(&call, "data")?);
        let request = LibraryRequest {
            source: rpc_install::source(&source, data.as_deref())?,
            force: call.arg("force")?,
            allow_prerelease: call.arg("allow_prerelease")?,
        };
        let library = this.agents.install_library(&this.caller(&call), request).await.map_err(ServiceError::into_rpc)?;
        Ok(json!(format!("{}-{}", library.name, library.version)))
    });
    let remove = table.method("remove_library").doc("Takes a library out of the environments of all agents in Python.").param("library");
    exported.add(remove, |this, call| async move {
        let name: String = call.arg("library")?;
        this.agents.remove_library(&this.caller(&call), &name).await.map(|()| Value::Null).map_err(ServiceError::into_rpc)
    });
    let list = table.method("list_libraries").doc("The libraries that all agents in Python have, by name.");
    exported.add(list, |this, _| async move {
        let libraries = this.agents.libraries().await.map_err(ServiceError::into_rpc)?;
        Ok(libraries.iter().map(|library| json!({"name": library.name, "version": library.version})).collect())
    });
}

#[cfg(test)]
mod tests {
    use vt_backends::PackageSource;
    use vt_types::identity::known;
    use vt_types::{Params, RpcError};

    use super::super::PackageInstall;
    use super::*;
    use crate::bench::{Bench, DEADLINE, Running, admin, id, vui};

    async fn control(running: &Running, method: &str, args: Vec<Value>) -> Result<Value, RpcError> {
        running.tools.call(&Caller::local("root"), &id(known::CONTROL), method, Params::positional(args), DEADLINE).await
    }

    #[tokio::test]
    async fn a_library_goes_to_every_agent_in_python_and_is_told_in_volttrons_form() {
        let bench = Bench::default();
        let running = bench.start().await;
        for name in ["listeneragent==3.3", "modular==1.0"] {
            let package = PackageInstall::of(PackageSource::Requirement(name.to_owned()));
            running.agents.install_package(&admin(), package).await.unwrap();
        }
        let installed = control(&running, "install_library", vec![json!("lib==2.0"), Value::Null, json!(false), json!(true)]).await;
        assert_eq!(installed, Ok(json!("lib-2.0")));
        let mut identities: Vec<_> = bench.packages.environments().into_iter().map(|agent| agent.identity.to_string()).collect();
        identities.sort();
        assert_eq!(identities, ["listeneragent-3.3_1", "modular-1.0_1"]);
        let wheel = vec![json!("other-1.5-py3-none-any.whl"), json!("d2hlZWw="), json!(true), json!(false)];
        assert_eq!(control(&running, "install_library", wheel).await, Ok(json!("other-1.5")));
        let listed = json!([{"name": "lib", "version": "2.0"}, {"name": "other", "version": "1.5"}]);
        assert_eq!(control(&running, "list_libraries", vec![]).await, Ok(listed));
        assert_eq!(control(&running, "remove_library", vec![json!("lib")]).await, Ok(Value::Null));
        let missing = control(&running, "remove_library", vec![json!("lib")]).await.unwrap_err();
        assert!(missing.to_string().contains("there is no library lib"), "{missing}");
        let broken = control(&running, "install_library", vec![json!("broken")]).await.unwrap_err();
        assert!(broken.to_string().contains("told to fail"), "{broken}");
        let bad = control(&running, "install_library", vec![json!("x-1-py3-none-any.whl"), json!("?")]).await.unwrap_err();
        assert!(bad.to_string().contains("base64"), "{bad}");
    }

    #[tokio::test]
    async fn only_administrators_change_libraries() {
        let bench = Bench::default();
        let running = bench.start().await;
        let request = LibraryRequest { source: PackageSource::Requirement("lib".to_owned()), force: false, allow_prerelease: false };
        assert!(matches!(running.agents.install_library(&vui(), request).await, Err(ServiceError::Forbidden(_))));
        assert!(matches!(running.agents.remove_library(&vui(), "lib").await, Err(ServiceError::Forbidden(_))));
        assert_eq!(running.agents.libraries().await, Ok(vec![]));
        let audited = bench.audited().await;
        assert_eq!((audited[0].action.as_str(), audited[0].target.as_str()), ("library.install", "lib"));
    }
}
