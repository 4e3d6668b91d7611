//! Builds all services and connects them to the bus. Pure wiring: no decisions here.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use vt_agent::{AgentContext, AgentSettings, Events};
use vt_backends::{
    AgentLauncher, AlertRepository, AuditRepository, ConfigRepository, InstallationRepository, PolicyRepository, RepositoryError,
    RevocationRepository, UserRepository,
};
use vt_bus::{Bus, ConnectError, PeerKind};
use vt_types::identity::known;
use vt_types::timestamp::Timestamp;
use vt_types::{Clock, Identity, TopicPrefix};

use crate::{Agents, Alerts, Audit, Auth, AuthConfig, ConfigStore, Devices, History, Live, LogBook, PlatformHealth, ServiceError, Tools};

/// All services. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// What this platform is.
    pub instance: Arc<InstanceInfo>,
    /// Users, sessions, tokens.
    pub auth: Arc<Auth>,
    /// Life cycle of agents.
    pub agents: Arc<Agents>,
    /// The configuration store.
    pub configs: Arc<ConfigStore>,
    /// Devices and their points.
    pub devices: Arc<Devices>,
    /// What historians keep.
    pub history: Arc<History>,
    /// What happens now, for people who watch.
    pub live: Arc<Live>,
    /// Health of everything that is connected.
    pub health: Arc<PlatformHealth>,
    /// Alerts that agents raised.
    pub alerts: Arc<Alerts>,
    /// Who did what.
    pub audit: Arc<Audit>,
    /// Speaks for command line tools.
    pub tools: Arc<Tools>,
    /// The newest log lines.
    pub logs: Arc<LogBook>,
    /// The bus, for statistics inside services only.
    pub bus: Bus,
}

/// What this platform is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceInfo {
    /// Instance name.
    pub name: String,
    /// Version of the software.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// `zmq` or `rmq`, as clients expect it.
    pub message_bus: String,
    /// Bus addresses.
    pub vip_addresses: Vec<String>,
    /// Where the web service listens.
    pub web_address: String,
    /// Names of other platforms that it knows.
    pub other_platforms: Vec<String>,
}

/// What services need from outside.
pub struct ServicesDeps {
    /// The bus.
    pub bus: Bus,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What this platform is.
    pub instance: InstanceInfo,
    /// Web users.
    pub users: Arc<dyn UserRepository>,
    /// Configuration entries.
    pub configs: Arc<dyn ConfigRepository>,
    /// Installed agents.
    pub installations: Arc<dyn InstallationRepository>,
    /// The audit log.
    pub audit: Arc<dyn AuditRepository>,
    /// Alerts.
    pub alerts: Arc<dyn AlertRepository>,
    /// Ended sessions.
    pub revocations: Arc<dyn RevocationRepository>,
    /// Protected topics.
    pub policy: Arc<dyn PolicyRepository>,
    /// Starts agents.
    pub launcher: Arc<dyn AgentLauncher>,
    /// Keys and lifetimes.
    pub auth: AuthConfig,
    /// The newest log lines.
    pub logs: Arc<LogBook>,
    /// Cancelled when somebody asks the platform to end.
    pub platform_stop: CancellationToken,
}

/// Why services could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something stored could not be read.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A service could not connect to the bus.
    #[error("a service could not connect to the bus: {0}")]
    Connect(#[from] ConnectError),
    /// The signing key cannot be used.
    #[error("the key that signs tokens cannot be used: {0}")]
    SigningKey(String),
    /// A service could not start.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// Owns everything that runs inside services; ends it when dropped.
pub struct ServicesTasks {
    contexts: Vec<AgentContext>,
}

impl ServicesTasks {
    /// Ends all services: their peers leave the bus, their tasks end.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for ServicesTasks {
    fn drop(&mut self) {
        for context in &self.contexts {
            context.close();
        }
    }
}

/// Counters of the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusView {
    /// Publications accepted.
    pub published: u64,
    /// Copies handed to subscribers.
    pub delivered: u64,
    /// Copies lost because a subscriber's queue was full.
    pub lost: u64,
    /// Calls handed to callees.
    pub calls: u64,
    /// Calls not handed over.
    pub calls_failed: u64,
    /// Peers connected now.
    pub peers: u64,
    /// How long the platform has run, seconds.
    pub uptime_s: u64,
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerView {
    /// Its identity.
    pub identity: Identity,
    /// `agent`, `service` or `tool`.
    pub kind: &'static str,
    /// When it connected.
    pub connected_at: Timestamp,
    /// Publications it sent.
    pub published: u64,
    /// Publications handed to it.
    pub delivered: u64,
    /// Publications it lost because its queue was full.
    pub lost: u64,
    /// Publications waiting for it now.
    pub queued: usize,
    /// Bound of that queue.
    pub queue_max: usize,
    /// What it is subscribed to.
    pub subscriptions: Vec<TopicPrefix>,
}

/// What every service needs to become a peer of the bus.
pub(crate) struct Peers<'a> {
    pub bus: &'a Bus,
    pub clock: &'a Arc<dyn Clock>,
    pub instance: &'a InstanceInfo,
    pub stop: &'a CancellationToken,
}

impl Peers<'_> {
    /// Connects a service under one of the fixed identities.
    pub fn connect(&self, identity: &'static str, class_name: &str) -> Result<(AgentContext, Events), ConnectError> {
        let settings = AgentSettings {
            identity: Identity::known(identity),
            kind: PeerKind::Service,
            class_name: class_name.to_owned(),
            version: self.instance.version.clone(),
            instance_name: self.instance.name.clone(),
            data_dir: PathBuf::new(),
            heartbeat: None,
            publications_max: 0,
            clock: Arc::clone(self.clock),
        };
        AgentContext::connect(self.bus, settings, self.stop.child_token())
    }
}

impl Services {
    /// Connects all services to the bus and starts their tasks; they end when `stop` is cancelled or the tasks are dropped.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(deps: ServicesDeps, stop: CancellationToken) -> Result<(Self, ServicesTasks), StartError> {
        let peers = Peers { bus: &deps.bus, clock: &deps.clock, instance: &deps.instance, stop: &stop };
        // One peer speaks for people on the web: RPC calls and writes go out under it, and live data comes in.
        let (_web, _web_events) = peers.connect(known::PLATFORM_WEB, "PlatformWebService")?;
        unimplemented!()
    }

    /// Counters of the bus.
    #[must_use]
    pub fn bus_statistics(&self) -> BusView {
        unimplemented!()
    }

    /// All connected peers, sorted by identity.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerView> {
        unimplemented!()
    }
}
