//! Installing packages in Python: prepared, given an identity and a key, put into place, entered among those who may connect. If a step
//! fails, what the earlier ones made is taken back.

use std::sync::Arc;

use vt_backends::{AgentSource, InstalledAgent, NewInstallation, PackageRequest, PackageSource, PrepareError, PreparedPackage};
use vt_types::{Identity, Priority, PublicKey, Tag};

use super::installs::{Install, InstallOutcome};
use super::{Agents, Inner, identities};
use crate::{Caller, ServiceError};

/// What is to be installed.
#[derive(Debug, Clone, PartialEq)]
pub struct PackageInstall {
    /// The code.
    pub source: PackageSource,
    /// Identity, may contain `{n}`; `None` for the one that the package asks for.
    pub identity: Option<String>,
    /// Nickname.
    pub tag: Option<Tag>,
    /// Start order.
    pub priority: Option<Priority>,
    /// Install-time configuration: the content of a file, kept as it is.
    pub config: Option<String>,
    /// Replaces an agent of the same identity; its data, its key and its entries in the configuration store stay.
    pub force: bool,
    /// As `force`, and what is not given here stays as well: tag, start order, configuration. It runs afterwards if it ran before.
    pub upgrade: bool,
    /// Starts it at once.
    pub start: bool,
    /// Name or path of the interpreter; `None` for the platform's usual one.
    pub interpreter: Option<String>,
    /// Whether versions that are not final may be chosen.
    pub allow_prerelease: bool,
    /// Whether a directory's `requirements.txt` is left alone.
    pub skip_requirements: bool,
}

impl PackageInstall {
    /// A package with nothing special about it.
    #[must_use]
    pub fn of(source: PackageSource) -> Self {
        Self {
            source,
            identity: None,
            tag: None,
            priority: None,
            config: None,
            force: false,
            upgrade: false,
            start: false,
            interpreter: None,
            allow_prerelease: false,
            skip_requirements: false,
        }
    }

    fn replaces(&self) -> bool {
        self.force || self.upgrade
    }

    fn what(&self) -> String {
        what(&self.source)
    }
}

/// A source, for people.
pub(super) fn what(source: &PackageSource) -> String {
    match source {
        PackageSource::Directory(path) | PackageSource::File(path) => path.display().to_string(),
        PackageSource::Wheel { file_name, .. } => file_name.chars().take(200).collect(),
        PackageSource::Requirement(text) => text.chars().take(200).collect(),
    }
}

/// What was put into place.
struct Put {
    agent: InstalledAgent,
    /// Whether the agent that it replaced ran.
    ran: bool,
}

impl Agents {
    /// Begins to install a package; it goes on whether or not anybody follows.
    ///
    /// # Errors
    /// `Forbidden`, `Unavailable` if too many are being installed. What happens later is the installation's outcome: `Invalid` for what
    /// is no agent, `AlreadyExists` for an identity in use without `force`, `Unavailable`.
    pub async fn begin_install(&self, caller: &Caller, request: PackageInstall) -> Result<Arc<Install>, ServiceError> {
        let what = request.what();
        let begun = caller.require_admin().and_then(|()| self.inner.installs.add(&what, &caller.user, self.inner.deps.clock.now()));
        let install = match begun {
            Ok(install) => install,
            Err(error) => {
                self.inner.deps.audit.record(caller, "agent.install", &what, Err(&error)).await;
                return Err(error);
            }
        };
        let (this, caller, following) = (Self { inner: Arc::clone(&self.inner) }, caller.clone(), Arc::clone(&install));
        self.inner.deps.control.spawn(async move {
            let for_work = Arc::clone(&following);
            let outcome = this.begin(&caller, "agent.install", what, Ok(()), |inner| async move {
                let Put { agent, ran } = inner.install_package(&request, &for_work).await?;
                let detail = format!("{} as {}, {}", agent.name, agent.identity, agent.uuid);
                let start = request.start || request.upgrade && ran;
                let start_error = if start { inner.start_installed(&agent, &for_work).await } else { None };
                Ok((InstallOutcome { agent: inner.view_alone(agent), start_error }, detail))
            });
            following.end(outcome.await);
        });
        Ok(install)
    }

    /// Installs a package and waits for it.
    ///
    /// # Errors
    /// As [`Agents::begin_install`] and its outcome.
    pub async fn install_package(&self, caller: &Caller, request: PackageInstall) -> Result<InstallOutcome, ServiceError> {
        self.begin_install(caller, request).await?.outcome().await
    }

    /// An installation that was begun since the platform's start.
    #[must_use]
    pub fn install_of(&self, id: u64) -> Option<Arc<Install>> {
        self.inner.installs.by_id(id)
    }

    /// The newest installations, newest first.
    #[must_use]
    pub fn installs(&self) -> Vec<Arc<Install>> {
        self.inner.installs.all()
    }

    /// Public keys of the installed packages in Python.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn public_keys(&self) -> Result<Vec<(Identity, PublicKey)>, ServiceError> {
        let mut keys = Vec::new();
        for agent in self.inner.deps.installed.all() {
            if matches!(agent.source, AgentSource::Python(_)) {
                let pair = self.inner.deps.peer_auth.pair_of(&agent.identity).await?;
                keys.push((agent.identity, pair.public));
            }
        }
        Ok(keys)
    }
}

impl Inner {
    async fn install_package(&self, request: &PackageInstall, install: &Arc<Install>) -> Result<Put, ServiceError> {
        // What cannot succeed is refused before minutes are spent on it.
        if let Some(identity) = request.identity.as_deref().filter(|template| !template.contains('{')) {
            self.refuse_taken(&identities::choose(identity, |_| false)?, request.replaces())?;
        }
        let earlier = request.identity.as_deref().filter(|_| request.upgrade);
        let earlier = earlier.and_then(|identity| self.deps.installed.by_identity(identity));
        let wanted = PackageRequest {
            config: request.config.clone(),
            earlier_config: earlier.and_then(|agent| match &agent.source {
                AgentSource::Python(python) => Some(python.config_file(&agent.name)),
                AgentSource::BuiltIn { .. } => None,
            }),
            interpreter: request.interpreter.clone(),
            allow_prerelease: request.allow_prerelease,
            skip_requirements: request.skip_requirements,
            ..PackageRequest::of(request.source.clone())
        };
        let _together = self.environments.read().await;
        let package = self.deps.packages.prepare(wanted, Arc::<Install>::clone(install)).await?;
        install.begin("installing");
        let discard = package.clone();
        let result = self.put(request, package).await;
        if result.is_err() {
            self.deps.packages.discard(discard).await;
        }
        result
    }

    async fn put(&self, request: &PackageInstall, package: PreparedPackage) -> Result<Put, ServiceError> {
        let installed = &self.deps.installed;
        let _one = self.installing.lock().await;
        let bus = self.deps.web.bus();
        let usual = format!("{}_{{n}}", package.name.replace(|c: char| !(c.is_ascii_alphanumeric() || "_.-".contains(c)), "_"));
        let template = request.identity.clone().or(package.identity_template).unwrap_or(usual);
        let identity =
            identities::choose(&template, |identity| installed.by_identity(identity.as_str()).is_some() || bus.is_connected(identity))?;
        let _turn = self.turn(&identity).await;
        self.refuse_taken(&identity, request.replaces())?;
        let old = installed.by_identity(identity.as_str());
        let kept = old.as_ref().filter(|_| request.upgrade);
        let ran = old.as_ref().is_some_and(|old| installed.launcher().state(old.uuid).is_meant_to_run());
        let keys = self.deps.peer_auth.pair_of(&identity).await?;
        self.deps.peer_auth.add_for_agent(&identity, keys.public).await?;
        let public = keys.public;
        let new = NewInstallation {
            identity: identity.clone(),
            name: package.name,
            tag: request.tag.clone().or_else(|| kept?.tag.clone()),
            priority: request.priority.clone().or_else(|| kept?.priority.clone()),
            source: AgentSource::Python(package.source),
            config: None,
            keys: Some(keys),
        };
        let result = match &old {
            None => self.deps.records.install(new).await.map_err(ServiceError::from),
            Some(old) => self.replace(old, new).await,
        };
        if result.is_err() && old.is_none() {
            self.withdraw_access(&identity, public).await;
        }
        let agent = result?;
        installed.insert(agent.clone());
        self.tell(&agent.identity, "installed");
        Ok(Put { agent, ran })
    }

    fn refuse_taken(&self, identity: &Identity, replaces: bool) -> Result<(), ServiceError> {
        match self.deps.installed.by_identity(identity.as_str()) {
            Some(_) if !replaces => {
                Err(ServiceError::AlreadyExists(format!("Agent with VIP ID {identity} already installed on platform.")))
            }
            _ => Ok(()),
        }
    }

    async fn start_installed(&self, agent: &InstalledAgent, install: &Install) -> Option<String> {
        install.begin("starting");
        let _turn = self.turn(&agent.identity).await;
        self.start(agent).await.err().map(|error| error.to_string())
    }

    /// Takes back what lets an agent connect.
    pub(super) async fn withdraw_access(&self, identity: &Identity, key: PublicKey) {
        for result in [self.deps.peer_auth.remove_for_key(key).await, self.deps.peer_auth.forget_pair(identity).await] {
            if let Err(error) = result {
                tracing::error!(%identity, %error, "an agent that is gone may still connect; remove its entry by hand");
            }
        }
    }
}

impl From<PrepareError> for ServiceError {
    fn from(error: PrepareError) -> Self {
        let text = error.to_string();
        match error {
            PrepareError::Invalid(_) | PrepareError::Tool { .. } => Self::Invalid(text),
            PrepareError::System(_) => Self::Unavailable(text),
        }
    }
}
