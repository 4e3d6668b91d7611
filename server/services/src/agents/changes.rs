//! Install, remove, start, stop, restart, tag, enable.

use std::sync::Arc;

use tokio::sync::oneshot;
use vt_backends::{AgentSource, InstalledAgent, LaunchError, NewInstallation};
use vt_types::{Identity, Priority, Tag};

use super::{AgentView, Agents, Inner, InstallRequest, KeyEntry, identities};
use crate::{Caller, ServiceError};

impl Agents {
    /// Installs an agent of the catalogue; it is not started.
    ///
    /// # Errors
    /// `Forbidden`, `Invalid` for kind or identity, `AlreadyExists` for an identity in use without `force`, `Unavailable`.
    pub async fn install(&self, caller: &Caller, request: InstallRequest) -> Result<AgentView, ServiceError> {
        let target = request.identity.clone().unwrap_or_else(|| request.kind.clone());
        let rights = caller.require_admin();
        self.begin(caller, "agent.install", target, rights, |inner| async move {
            let agent = inner.install(request).await?;
            let detail = format!("{} as {}, {}", agent.name, agent.identity, agent.uuid);
            Ok((inner.view_alone(agent), detail))
        })
        .await
    }

    /// Stops and removes an agent with its data; its entries in the configuration store stay.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Timeout` if it does not stop, `Unavailable`.
    pub async fn remove(&self, caller: &Caller, identity: &Identity) -> Result<(), ServiceError> {
        self.remove_with(caller, identity, KeyEntry::Remove).await
    }

    /// As [`Agents::remove`], with a say in what becomes of its right to connect.
    ///
    /// # Errors
    /// As [`Agents::remove`].
    pub async fn remove_with(&self, caller: &Caller, identity: &Identity, key: KeyEntry) -> Result<(), ServiceError> {
        let rights = caller.require_admin();
        self.begin_with(caller, "agent.remove", identity, rights, move |inner, agent| async move {
            inner.deps.installed.launcher().stop(agent.uuid).await?;
            inner.deps.records.remove(agent.uuid).await?;
            if key == KeyEntry::Remove && matches!(agent.source, AgentSource::Python(_)) {
                let pair = inner.deps.peer_auth.pair_of(&agent.identity).await?;
                inner.withdraw_access(&agent.identity, pair.public).await;
            }
            inner.forget(&agent);
            inner.tell(&agent.identity, "removed");
            Ok(String::new())
        })
        .await
    }

    /// Starts an agent; returns when it is connected to the bus.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Conflict` if it runs, `Invalid` for its configuration.
    pub async fn start(&self, caller: &Caller, identity: &Identity) -> Result<(), ServiceError> {
        self.begin_with(caller, "agent.start", identity, caller.require_vui(), |inner, agent| async move {
            inner.start(&agent).await.map(|()| String::new())
        })
        .await
    }

    /// Stops an agent; fine if it does not run.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Timeout` if it does not stop.
    pub async fn stop(&self, caller: &Caller, identity: &Identity) -> Result<(), ServiceError> {
        self.begin_with(caller, "agent.stop", identity, caller.require_vui(), |inner, agent| async move {
            inner.deps.installed.launcher().stop(agent.uuid).await?;
            Ok(String::new())
        })
        .await
    }

    /// Stops an agent if it runs, then starts it.
    ///
    /// # Errors
    /// As [`Agents::start`] and [`Agents::stop`].
    pub async fn restart(&self, caller: &Caller, identity: &Identity) -> Result<(), ServiceError> {
        self.begin_with(caller, "agent.restart", identity, caller.require_vui(), |inner, agent| async move {
            inner.deps.installed.launcher().stop(agent.uuid).await?;
            inner.start(&agent).await.map(|()| String::new())
        })
        .await
    }

    /// Sets or clears the tag.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Unavailable`.
    pub async fn set_tag(&self, caller: &Caller, identity: &Identity, tag: Option<Tag>) -> Result<(), ServiceError> {
        self.begin_with(caller, "agent.tag", identity, caller.require_vui(), move |inner, agent| async move {
            inner.deps.records.set_tag(agent.uuid, tag.clone()).await?;
            let detail = tag.as_ref().map(|tag| tag.as_str().to_owned()).unwrap_or_default();
            inner.deps.installed.set_tag(agent.uuid, tag);
            inner.tell(&agent.identity, "changed");
            Ok(detail)
        })
        .await
    }

    /// Enables an agent with this start order, or disables it with `None`.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Unavailable`.
    pub async fn set_priority(&self, caller: &Caller, identity: &Identity, priority: Option<Priority>) -> Result<(), ServiceError> {
        let action = if priority.is_some() { "agent.enable" } else { "agent.disable" };
        self.begin_with(caller, action, identity, caller.require_vui(), move |inner, agent| async move {
            inner.deps.records.set_priority(agent.uuid, priority.clone()).await?;
            let detail = priority.as_ref().map(|priority| priority.as_str().to_owned()).unwrap_or_default();
            inner.deps.installed.set_priority(agent.uuid, priority);
            inner.tell(&agent.identity, "changed");
            Ok(detail)
        })
        .await
    }

    /// Starts the enabled agents: by priority as text, then UUID, both descending, as VOLTTRON does. One that fails does not keep the
    /// others from starting.
    pub async fn autostart(&self) {
        let inner = &self.inner;
        let mut enabled: Vec<_> = inner.deps.installed.all().into_iter().filter(|agent| agent.priority.is_some()).collect();
        enabled.sort_by(|a, b| (&b.priority, b.uuid).cmp(&(&a.priority, a.uuid)));
        for agent in enabled {
            let _turn = inner.turn(&agent.identity).await;
            if let Err(error) = inner.start(&agent).await {
                tracing::error!(identity = %agent.identity, %error, "an enabled agent could not be started");
            }
        }
        inner.deps.installed.set_autostarted();
    }

    /// As [`Agents::begin`] for one installed agent, when its turn has come.
    async fn begin_with<F, Fut>(
        &self,
        caller: &Caller,
        action: &'static str,
        identity: &Identity,
        rights: Result<(), ServiceError>,
        work: F,
    ) -> Result<(), ServiceError>
    where
        F: FnOnce(Arc<Inner>, InstalledAgent) -> Fut + Send + 'static,
        Fut: Future<Output = Result<String, ServiceError>> + Send + 'static,
    {
        let wanted = identity.clone();
        self.begin(caller, action, identity.to_string(), rights, move |inner: Arc<Inner>| async move {
            let _turn = inner.turn(&wanted).await;
            let agent = inner.deps.installed.by_identity(wanted.as_str());
            let agent = agent.ok_or_else(|| ServiceError::NotFound(format!("Agent {wanted} is not installed.")))?;
            work(Arc::clone(&inner), agent).await.map(|detail| ((), detail))
        })
        .await
    }

    /// Does a piece of work to its end, even if whoever asked goes away, and writes the audit log. `work` gives its result and a detail.
    pub(super) async fn begin<T, F, Fut>(
        &self,
        caller: &Caller,
        action: &'static str,
        target: String,
        rights: Result<(), ServiceError>,
        work: F,
    ) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Inner>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(T, String), ServiceError>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let (inner, caller) = (Arc::clone(&self.inner), caller.clone());
        self.inner.deps.control.spawn(async move {
            let result = match rights {
                Ok(()) => work(Arc::clone(&inner)).await,
                Err(error) => Err(error),
            };
            let outcome = result.as_ref().map(|(_, detail)| detail.as_str());
            inner.deps.audit.record(&caller, action, &target, outcome).await;
            // Whoever asked may have gone.
            drop(answer.send(result.map(|(value, _)| value)));
        });
        answered.await.unwrap_or_else(|_| Err(ServiceError::Unavailable("the platform is stopping".to_owned())))
    }
}

impl Inner {
    pub(super) async fn start(&self, agent: &InstalledAgent) -> Result<(), ServiceError> {
        self.deps.installed.launcher().start(agent).await.map_err(|error| match error {
            LaunchError::AlreadyRunning => ServiceError::Conflict(format!("Agent: {} is already running.", agent.identity)),
            other => other.into(),
        })
    }

    async fn install(&self, request: InstallRequest) -> Result<InstalledAgent, ServiceError> {
        let installed = &self.deps.installed;
        let InstallRequest { kind, identity, tag, priority, config, force } = request;
        let info = installed.launcher().kinds().into_iter().find(|info| info.kind == kind);
        let info = info.ok_or_else(|| ServiceError::from(LaunchError::UnknownKind(kind.chars().take(64).collect())))?;
        let _one = self.installing.lock().await;
        let bus = self.deps.web.bus();
        let identity = identities::choose(identity.as_deref().unwrap_or(&info.default_identity), |identity| {
            installed.by_identity(identity.as_str()).is_some() || bus.is_connected(identity)
        })?;
        let _turn = self.turn(&identity).await;
        let new = NewInstallation {
            identity: identity.clone(),
            name: info.name,
            tag,
            priority,
            source: AgentSource::BuiltIn { kind: info.kind },
            config,
            keys: None,
        };
        let agent = match installed.by_identity(identity.as_str()) {
            None => self.deps.records.install(new).await?,
            Some(_) if !force => {
                return Err(ServiceError::AlreadyExists(format!("Agent with VIP ID {identity} already installed on platform.")));
            }
            Some(old) => self.replace(&old, new).await?,
        };
        installed.insert(agent.clone());
        self.tell(&agent.identity, "installed");
        Ok(agent)
    }

    /// Stops an agent and puts `new` into its place. If that fails, the old one runs again as it did before.
    pub(super) async fn replace(&self, old: &InstalledAgent, new: NewInstallation) -> Result<InstalledAgent, ServiceError> {
        let launcher = self.deps.installed.launcher();
        let ran = launcher.state(old.uuid).is_meant_to_run();
        launcher.stop(old.uuid).await?;
        match self.deps.records.replace(old.uuid, new).await {
            Ok(agent) => {
                self.forget(old);
                Ok(agent)
            }
            Err(error) => {
                if ran && let Err(problem) = self.start(old).await {
                    tracing::error!(identity = %old.identity, %problem, "an agent that could not be replaced could not be started again");
                }
                Err(error.into())
            }
        }
    }

    fn forget(&self, agent: &InstalledAgent) {
        self.deps.installed.remove(agent.uuid);
        self.deps.installed.launcher().forget(agent.uuid);
    }
}
