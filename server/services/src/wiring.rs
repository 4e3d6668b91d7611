//! Builds all services and connects them to the bus. Pure wiring: no decisions here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vt_agent::{AgentContext, AgentSettings, Events, MethodTable};
use vt_backends::{
    AgentLauncher, AlertRepository, AuditRepository, Channels, ConfigRepository, InstallationRepository, KeyRepository, LogFiles,
    PeerAuthRepository, PolicyRepository, PythonPackages, RepositoryError, RevocationRepository, UserRepository,
};
use vt_bus::{Bus, BusStatistics, ConnectError, Interceptor, PeerInfo, PeerKind, SubscribeError};
use vt_types::identity::known;
use vt_types::timestamp::Timestamp;
use vt_types::{Clock, Identity, TopicPrefix};

use crate::agents::{AgentsDeps, Installed};
use crate::live::LiveFeeds;
use crate::peer_auth::PeerAuthDeps;
use crate::policy::Policy;
use crate::{
    Agents, Alerts, Audit, Auth, AuthConfig, ConfigStore, Devices, History, Instances, Live, LogBook, PeerAuth, PeerAuthConfig,
    PlatformHealth, ServiceError, Tools, agents, config_store, health, live, peer_auth,
};

/// Period of the heartbeat of services.
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(60);

/// All services. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// What this platform is.
    pub instance: Arc<InstanceInfo>,
    /// Users, sessions, tokens.
    pub auth: Arc<Auth>,
    /// Peers from outside: who may connect, what they may do. Transports take it as their `Authenticator`.
    pub peer_auth: Arc<PeerAuth>,
    /// Life cycle of agents.
    pub agents: Arc<Agents>,
    /// The configuration store.
    pub configs: Arc<ConfigStore>,
    /// Devices and their points.
    pub devices: Arc<Devices>,
    /// What historians keep.
    pub history: Arc<History>,
    /// Other platforms.
    pub instances: Arc<Instances>,
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
    /// Time.
    pub clock: Arc<dyn Clock>,
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
    /// Who may connect from outside.
    pub peer_auth: Arc<dyn PeerAuthRepository>,
    /// CURVE keys.
    pub keys: Arc<dyn KeyRepository>,
    /// How strict the platform is about peers from outside.
    pub peer_auth_config: PeerAuthConfig,
    /// Starts agents.
    pub launcher: Arc<dyn AgentLauncher>,
    /// Makes packages in Python ready to be installed.
    pub packages: Arc<dyn PythonPackages>,
    /// Byte pipes to remote peers, over which they send wheels.
    pub channels: Arc<dyn Channels>,
    /// What the platform has logged.
    pub log_files: Arc<dyn LogFiles>,
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
    /// A service could not subscribe.
    #[error("a service could not subscribe: {0}")]
    Subscribe(#[from] SubscribeError),
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
    /// `agent`, `service`, `tool`, or `link` to another platform.
    pub kind: &'static str,
    /// Whether it is in another process.
    pub is_remote: bool,
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

/// What every service needs to become a peer of the bus, and the peers made so far.
struct Peers<'a> {
    bus: &'a Bus,
    clock: &'a Arc<dyn Clock>,
    instance: &'a InstanceInfo,
    stop: &'a CancellationToken,
    /// Closes what was connected if a later step fails.
    tasks: ServicesTasks,
}

impl Peers<'_> {
    /// Connects a peer under one of the fixed identities.
    fn connect(&mut self, identity: &'static str, class_name: &str) -> Result<(AgentContext, Events), ConnectError> {
        self.connect_as(PeerKind::Service, identity, class_name, Some(HEARTBEAT_PERIOD), 0)
    }

    fn connect_as(
        &mut self,
        kind: PeerKind,
        identity: &'static str,
        class_name: &str,
        heartbeat: Option<Duration>,
        publications_max: usize,
    ) -> Result<(AgentContext, Events), ConnectError> {
        let settings = AgentSettings {
            identity: Identity::known(identity),
            kind,
            class_name: class_name.to_owned(),
            version: self.instance.version.clone(),
            instance_name: self.instance.name.clone(),
            data_dir: PathBuf::new(),
            heartbeat,
            publications_max,
            clock: Arc::clone(self.clock),
        };
        let (context, events) = AgentContext::connect(self.bus, settings, self.stop.child_token())?;
        self.tasks.contexts.push(context.clone());
        Ok((context, events))
    }
}

impl Services {
    /// Connects all services to the bus, sets its policy and starts their tasks. The tasks end when [`ServicesTasks`] is dropped; a
    /// cancelled `stop` asks those that can to end by themselves.
    ///
    /// # Errors
    /// [`StartError`]; then nothing is left connected.
    pub async fn start(deps: ServicesDeps, stop: CancellationToken) -> Result<(Self, ServicesTasks), StartError> {
        let (bus, clock, instance, platform_stop) = (deps.bus, deps.clock, Arc::new(deps.instance), deps.platform_stop);
        let mut peers = Peers { bus: &bus, clock: &clock, instance: &instance, stop: &stop, tasks: ServicesTasks { contexts: Vec::new() } };

        let loaded = deps.installations.load_all().await?;
        for warning in &loaded.warnings {
            tracing::warn!(warning, "an installed agent was left out");
        }
        let installed = Arc::new(Installed::new(loaded.records, deps.launcher));
        let audit = Arc::new(Audit::new(deps.audit, Arc::clone(&clock)));
        let alerts = Arc::new(Alerts::new(deps.alerts, Arc::clone(&clock)));

        // The first peer, so that it hears the others' first heartbeats; its own begins when it is subscribed.
        let (health_peer, health_events) = peers.connect_as(PeerKind::Service, known::PLATFORM_HEALTH, "HealthService", None, 0)?;
        let health = Arc::new(PlatformHealth::new(health_peer.clone(), Arc::clone(&installed))?);
        health_peer.set_heartbeat(Some(HEARTBEAT_PERIOD));
        health_peer.serve(health::export(&health));
        health_peer.spawn(Arc::clone(&health).run(health_events, Arc::clone(&alerts)));
        health_peer.spawn(Arc::clone(&alerts).run());

        let peer_auth = PeerAuth::open(PeerAuthDeps {
            config: deps.peer_auth_config,
            records: deps.peer_auth,
            keys: deps.keys,
            installed: Arc::clone(&installed) as _,
            audit: Arc::clone(&audit),
            clock: Arc::clone(&clock),
        });
        let peer_auth = Arc::new(peer_auth.await?);
        let (auth_peer, _) = peers.connect(known::PLATFORM_AUTH, "AuthService")?;
        let auth = Auth::open(deps.auth, &instance.name, deps.users, deps.revocations, Arc::clone(&audit), Arc::clone(&clock));
        let auth = Arc::new(auth.await?);
        auth_peer.spawn(Arc::clone(&auth).run());
        let policy = Arc::new(Policy::open(deps.policy, Arc::clone(&auth), Arc::clone(&peer_auth)).await?);
        bus.set_interceptors(vec![Arc::clone(&policy) as Arc<dyn Interceptor>]);
        auth_peer.serve(peer_auth::export(&peer_auth, &auth, &policy));
        auth_peer.spawn(Arc::clone(&peer_auth).run());
        auth_peer.spawn(peer_auth::tell_peers(Arc::clone(&peer_auth), auth_peer.clone()));
        auth_peer.spawn(policy.run());

        let (store_peer, _) = peers.connect(known::CONFIG_STORE, "ConfigStoreService")?;
        let configs = ConfigStore::open(deps.configs, store_peer.clone(), Arc::clone(&audit), Arc::clone(&clock)).await?;
        let configs = Arc::new(configs);
        store_peer.serve(config_store::export(&configs, &auth));

        // One peer speaks for people on the web: RPC calls and writes go out under it, and live data comes in.
        let (web_peer, web_events) = peers.connect_as(
            PeerKind::Service,
            known::PLATFORM_WEB,
            "PlatformWebService",
            Some(HEARTBEAT_PERIOD),
            live::PUBLICATIONS_MAX,
        )?;
        web_peer.serve(MethodTable::new());
        let web = web_peer.peer().clone();

        let (control_peer, _) = peers.connect(known::CONTROL, "ControlService")?;
        let agents = Arc::new(Agents::new(AgentsDeps {
            control: control_peer.clone(),
            web: web.clone(),
            installed,
            records: deps.installations,
            health: Arc::clone(&health),
            audit: Arc::clone(&audit),
            peer_auth: Arc::clone(&peer_auth),
            packages: deps.packages,
            channels: deps.channels,
            log_files: deps.log_files,
            clock: Arc::clone(&clock),
            platform_stop: platform_stop.clone(),
        }));
        control_peer.serve(agents::export(&agents, &auth));

        let devices = Arc::new(Devices::new(web.clone(), Arc::clone(&configs), Arc::clone(&audit)));
        let history = Arc::new(History::new(web.clone(), Arc::clone(&clock)));
        let instances = Arc::new(Instances::new(&instance.name, Arc::clone(&audit), Arc::clone(&clock)));
        web_peer.spawn(Arc::clone(&instances).run());
        let feeds = LiveFeeds {
            agents: agents.events(),
            alerts: alerts.follow(),
            ended_sessions: auth.ended_sessions(),
            is_active: {
                let auth = Arc::clone(&auth);
                Box::new(move |session| auth.is_active(session))
            },
        };
        let (live, live_task) = Live::new(web, web_events, &instance.name, Arc::clone(&clock), feeds, stop.child_token())?;
        web_peer.spawn(live_task);
        let (tools_peer, _) = peers.connect_as(PeerKind::Tool, known::CONTROL_LOCAL, "ControlConnection", None, 0)?;
        tools_peer.serve(MethodTable::new());

        let Peers { tasks, .. } = peers;
        let services = Self {
            auth,
            peer_auth,
            agents,
            configs,
            devices,
            history,
            instances,
            live: Arc::new(live),
            health,
            alerts,
            audit,
            tools: Arc::new(Tools::new(tools_peer, platform_stop)),
            logs: deps.logs,
            bus: bus.clone(),
            clock: Arc::clone(&clock),
            instance: Arc::clone(&instance),
        };
        Ok((services, tasks))
    }

    /// Counters of the bus.
    #[must_use]
    pub fn bus_statistics(&self) -> BusView {
        let BusStatistics { published, delivered, lost, calls, calls_failed, peers } = self.bus.statistics();
        let uptime = self.clock.now() - self.instance.started_at;
        let uptime_s = u64::try_from(uptime.num_seconds()).unwrap_or(0);
        BusView { published, delivered, lost, calls, calls_failed, peers, uptime_s }
    }

    /// All connected peers, sorted by identity.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerView> {
        self.bus.peer_infos().into_iter().map(peer_view).collect()
    }
}

fn peer_view(info: PeerInfo) -> PeerView {
    let PeerInfo { identity, kind, user_id: _, is_remote, connected_at, published, delivered, lost, queued, queue_max, subscriptions } =
        info;
    let mut subscriptions: Vec<_> = subscriptions.into_iter().map(|subscription| subscription.prefix).collect();
    subscriptions.dedup();
    let kind = match kind {
        PeerKind::Agent => "agent",
        PeerKind::Service => "service",
        PeerKind::Tool => "tool",
        PeerKind::Link => "link",
    };
    PeerView { identity, kind, is_remote, connected_at, published, delivered, lost, queued, queue_max, subscriptions }
}

#[cfg(test)]
mod tests;
