//! A test bench: all services on a bus of their own, on the fakes of `backends`, with agents that do nothing but be there. For tests of
//! services and of the edges above them; not used by the product.
//!
//! `Bench::default().start().await` gives running services; starting again is a restart on what the first stored.
#![expect(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test bench fails its test by panicking")]

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use vt_agent::{AgentSettings, Events};
// Edges may not name the crate of agents; their tests build agents from these.
pub use vt_agent::{AgentContext, MethodTable};
use vt_backends::memory::peers::{MemoryKeys, MemoryPeerAuth};
// Nor those of back-ends; their tests link platforms with these.
use vt_backends::memory::{
    MemoryAlerts, MemoryAudit, MemoryChannels, MemoryConfigs, MemoryInstallations, MemoryLogFiles, MemoryPackages, MemoryPolicy,
    MemoryRevocations, MemoryUsers,
};
pub use vt_backends::platforms::fake::FakeLinks;
use vt_backends::{
    AgentKindInfo, AgentLauncher, AuditFilter, AuditRecord, AuditRepository, Authenticator, ConfigRepository, ConnectAttempt,
    InstalledAgent, LaunchError, LaunchObserver, Proof, ProtectedTopic, RunState, UserRepository, Verdict,
};
pub use vt_backends::{Platform, PlatformState};
use vt_bus::{Bus, PeerHandle, PeerKind};
use vt_types::{AgentUuid, Clock, Identity, ManualClock, Params, PublicKey, RpcError, RpcRequest};

use crate::{
    Admission, AuthConfig, Caller, InstanceInfo, LogBook, PasswordPolicy, PeerAuthConfig, Services, ServicesDeps, ServicesTasks,
    SigningKey, StartError, TokenPair,
};

/// How long a test waits for anything.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Password of users made by [`Running::log_in`].
pub const PASSWORD: &str = "s3cret-harbor";
/// Hashing for tests.
pub const CHEAP: PasswordPolicy = PasswordPolicy { memory_kib: 64, passes: 1, lanes: 1 };

/// What survives a restart of the services, and what they run on.
pub struct Bench {
    pub clock: Arc<ManualClock>,
    pub users: Arc<dyn UserRepository>,
    pub configs: Arc<dyn ConfigRepository>,
    pub installations: MemoryInstallations,
    pub audit: MemoryAudit,
    pub alerts: MemoryAlerts,
    pub revocations: MemoryRevocations,
    pub policy: MemoryPolicy,
    pub packages: MemoryPackages,
    pub channels: MemoryChannels,
    pub log_files: MemoryLogFiles,
    pub peer_auth: MemoryPeerAuth,
    pub keys: MemoryKeys,
    pub peer_auth_config: PeerAuthConfig,
    pub signing: SigningKey,
    pub setup_code: Option<String>,
    pub vip_addresses: Vec<String>,
    pub kinds: Vec<AgentKindInfo>,
}

/// Running services.
pub struct Running {
    pub services: Services,
    pub bus: Bus,
    pub launcher: Arc<FakeLauncher>,
    pub platform_stop: CancellationToken,
    _tasks: ServicesTasks,
}

impl std::ops::Deref for Running {
    type Target = Services;
    fn deref(&self) -> &Services {
        &self.services
    }
}

impl Default for Bench {
    fn default() -> Self {
        let kind = |kind: &str, name: &str, default_identity: &str| AgentKindInfo {
            kind: kind.to_owned(),
            name: name.to_owned(),
            default_identity: default_identity.to_owned(),
            summary: "Is there.".to_owned(),
        };
        Self {
            clock: Arc::new(ManualClock::new("2026-11-24T12:00:00Z".parse().unwrap())),
            users: Arc::new(MemoryUsers::default()),
            configs: Arc::new(MemoryConfigs::default()),
            installations: MemoryInstallations::default(),
            audit: MemoryAudit::default(),
            alerts: MemoryAlerts::default(),
            revocations: MemoryRevocations::default(),
            policy: MemoryPolicy::default(),
            packages: MemoryPackages::default(),
            channels: MemoryChannels::default(),
            log_files: MemoryLogFiles::default(),
            peer_auth: MemoryPeerAuth::default(),
            keys: MemoryKeys::default(),
            peer_auth_config: PeerAuthConfig { admission: Admission::Listed, own_uid: 1000, hosts: vec!["127.0.0.1:22916".to_owned()] },
            signing: SigningKey::Hs256(b"0123456789abcdef0123456789abcdef".to_vec()),
            setup_code: None,
            vip_addresses: Vec::new(),
            kinds: vec![
                kind("listener", "listeneragent-3.3", "listeneragent-3.3_{n}"),
                kind("platform_driver", "platform_driveragent-4.0", "platform.driver"),
            ],
        }
    }
}

impl Bench {
    pub async fn start(&self) -> Running {
        self.try_start(&Bus::new(vt_bus::Config::default(), self.clock.clone())).await.unwrap()
    }

    pub async fn try_start(&self, bus: &Bus) -> Result<Running, StartError> {
        let launcher = Arc::new(FakeLauncher {
            bus: bus.clone(),
            clock: self.clock.clone(),
            kinds: self.kinds.clone(),
            state: Mutex::default(),
            observers: Mutex::default(),
        });
        let platform_stop = CancellationToken::new();
        let deps = ServicesDeps {
            bus: bus.clone(),
            clock: self.clock.clone(),
            instance: InstanceInfo {
                name: "harbor1".to_owned(),
                version: "0.1.0".to_owned(),
                started_at: self.clock.now(),
                message_bus: "zmq".to_owned(),
                vip_addresses: self.vip_addresses.clone(),
                web_address: "https://127.0.0.1:8443".to_owned(),
            },
            users: Arc::clone(&self.users),
            configs: Arc::clone(&self.configs),
            installations: Arc::new(self.installations.clone()),
            audit: Arc::new(self.audit.clone()),
            alerts: Arc::new(self.alerts.clone()),
            revocations: Arc::new(self.revocations.clone()),
            policy: Arc::new(self.policy.clone()),
            peer_auth: Arc::new(self.peer_auth.clone()),
            keys: Arc::new(self.keys.clone()),
            peer_auth_config: self.peer_auth_config.clone(),
            launcher: launcher.clone(),
            packages: Arc::new(self.packages.clone()),
            channels: Arc::new(self.channels.clone()),
            log_files: Arc::new(self.log_files.clone()),
            auth: AuthConfig { password_hashing: CHEAP, ..AuthConfig::new(self.signing.clone(), self.setup_code.clone()) },
            logs: Arc::new(LogBook::new(100)),
            platform_stop: platform_stop.clone(),
        };
        let (services, tasks) = Services::start(deps, CancellationToken::new()).await?;
        Ok(Running { services, bus: bus.clone(), launcher, platform_stop, _tasks: tasks })
    }

    /// From the next start on, a topic needs these capabilities of those who publish on it.
    pub fn protect(&self, topic: &str, capabilities: &[&str]) {
        let capabilities = capabilities.iter().map(|capability| (*capability).to_owned()).collect();
        self.policy.set(vec![ProtectedTopic { topic: topic.to_owned(), capabilities }]).unwrap();
    }

    /// The audit log, oldest first.
    pub async fn audited(&self) -> Vec<AuditRecord> {
        let mut records = self.audit.list(AuditFilter { limit: 1000, ..AuditFilter::default() }).await.unwrap();
        records.reverse();
        records
    }
}

impl Running {
    /// An agent with these methods, connected to the bus.
    pub fn agent(&self, identity: &str, methods: MethodTable) -> (AgentContext, Events) {
        connect(&self.bus, &Identity::parse(identity).unwrap(), methods, self.services.clock.clone()).unwrap()
    }

    /// A peer from outside with a key of its own tries to connect; says whether it is admitted.
    pub async fn knock(&self, key: u8, address: &str, identity: &str) -> bool {
        let proof = Proof::Curve(PublicKey::new([key; 32]));
        let attempt = ConnectAttempt { proof, address: address.to_owned(), identity: Identity::parse(identity).unwrap() };
        matches!(self.services.peer_auth.admit(&attempt).await, Verdict::Admitted { .. })
    }

    /// A new user with these groups, logged in.
    pub async fn log_in(&self, name: &str, groups: &[&str]) -> TokenPair {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        self.services.auth.add_user(&Caller::local("root"), name, PASSWORD, groups).await.unwrap();
        self.services.auth.login(name, PASSWORD, None).await.unwrap()
    }

    /// A call by a connected peer.
    pub async fn call(&self, from: &PeerHandle, callee: &str, method: &str, args: Vec<Value>) -> Result<Value, RpcError> {
        call(from, callee, method, Params::positional(args)).await
    }
}

pub async fn call(from: &PeerHandle, callee: &str, method: &str, params: Params) -> Result<Value, RpcError> {
    let pending = from.call(&Identity::parse(callee).unwrap(), RpcRequest::new(method, params))?;
    tokio::time::timeout(DEADLINE, pending).await.expect("an answer in time")
}

fn connect(
    bus: &Bus,
    identity: &Identity,
    methods: MethodTable,
    clock: Arc<dyn Clock>,
) -> Result<(AgentContext, Events), vt_bus::ConnectError> {
    let settings = AgentSettings {
        identity: identity.clone(),
        kind: PeerKind::Agent,
        class_name: "TestAgent".to_owned(),
        version: "1.0".to_owned(),
        instance_name: "harbor1".to_owned(),
        data_dir: "/nonexistent".into(),
        heartbeat: Some(Duration::from_secs(60)),
        publications_max: 0,
        clock,
    };
    let (context, events) = AgentContext::connect(bus, settings, CancellationToken::new())?;
    context.serve(methods);
    Ok((context, events))
}

/// A link to another platform that was made `connects` times.
pub fn link(name: &str, is_connected: bool, connects: u64) -> PlatformState {
    PlatformState {
        platform: Platform { name: name.to_owned(), address: "tcp://h:22916".to_owned(), server_key: PublicKey::new([7; 32]) },
        is_connected,
        since: None,
        heard_at: None,
        problem: (!is_connected).then(|| "connection refused".to_owned()),
        connects,
        sent: 0,
        received: 0,
        lost: 0,
        wanted: Vec::new(),
    }
}

/// Another platform with two agents, `listener` which runs and is not well, and `idle`; its control service is there under `control`.
pub fn answering_platform(name: &str, control: &str) -> Arc<FakeLinks> {
    let links = Arc::new(FakeLinks::default());
    let health = json!({
        "listener": {"peer": "listener", "service_agent": false, "connected": "x", "message": "BAD"},
        "control": {"peer": "control", "service_agent": true, "connected": "x"},
    });
    links.answer(name, "platform.health", "get_platform_health", Ok(health));
    let list = json!([
        {"name": "listeneragent-3.3", "uuid": "u1", "tag": "l", "priority": "50", "identity": "listener"},
        {"name": "x", "uuid": "u2", "tag": "", "priority": null, "identity": "idle"},
        {"name": "no identity", "uuid": "u3"},
    ]);
    links.answer(name, control, "list_agents", Ok(list));
    links.answer(name, control, "status_agents", Ok(json!([["u1", "listeneragent-3.3", "", [42, null], "listener"], ["u2", "x", [7, 1]]])));
    links.answer(name, control, "stop_agent", Ok(json!(null)));
    links.set(link(name, true, 1));
    links
}

pub fn admin() -> Caller {
    Caller { user: "dana".to_owned(), groups: vec!["admin".to_owned(), "vui".to_owned()], session: None, address: None }
}

pub fn vui() -> Caller {
    Caller { user: "kiosk".to_owned(), groups: vec!["vui".to_owned()], session: None, address: None }
}

pub fn nobody() -> Caller {
    Caller { user: "guest".to_owned(), groups: Vec::new(), session: None, address: None }
}

pub fn id(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}

pub fn kwargs(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

/// Waits until `what` gives something.
pub async fn until<T, F: Future<Output = Option<T>>>(mut what: impl FnMut() -> F) -> T {
    let waited = tokio::time::timeout(DEADLINE, async {
        loop {
            if let Some(found) = what().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("it happens in time")
}

/// Waits until `holds`.
pub async fn until_true(mut holds: impl FnMut() -> bool) {
    until(|| std::future::ready(holds().then_some(()))).await;
}

/// Agents that are on the bus and do nothing.
pub struct FakeLauncher {
    bus: Bus,
    clock: Arc<dyn Clock>,
    kinds: Vec<AgentKindInfo>,
    state: Mutex<LauncherState>,
    observers: Mutex<Vec<Arc<dyn LaunchObserver>>>,
}

#[derive(Default)]
struct LauncherState {
    states: HashMap<AgentUuid, RunState>,
    running: HashMap<AgentUuid, (AgentContext, Events)>,
    started: Vec<Identity>,
    starts: u32,
}

impl FakeLauncher {
    /// Identities in the order in which they were started.
    pub fn started(&self) -> Vec<Identity> {
        self.state.lock().started.clone()
    }

    /// Puts an agent into a state, as a crash would.
    pub fn put(&self, agent: &InstalledAgent, state: &RunState) {
        self.state.lock().states.insert(agent.uuid, state.clone());
        for observer in self.observers.lock().iter() {
            observer.on_state(agent, state);
        }
    }
}

#[async_trait]
impl AgentLauncher for FakeLauncher {
    fn kinds(&self) -> Vec<AgentKindInfo> {
        self.kinds.clone()
    }

    async fn start(&self, agent: &InstalledAgent) -> Result<(), LaunchError> {
        if self.state(agent.uuid).is_running() {
            return Err(LaunchError::AlreadyRunning);
        }
        let connected = connect(&self.bus, &agent.identity, MethodTable::new(), self.clock.clone());
        let connected = connected.map_err(|_| LaunchError::IdentityInUse(agent.identity.clone()))?;
        let pid = {
            let mut state = self.state.lock();
            state.running.insert(agent.uuid, connected);
            state.started.push(agent.identity.clone());
            state.starts += 1;
            1000 + state.starts
        };
        self.put(agent, &RunState::Running { pid, since: self.clock.now(), restarts: 0 });
        Ok(())
    }

    async fn stop(&self, uuid: AgentUuid) -> Result<(), LaunchError> {
        let mut state = self.state.lock();
        if let Some((context, _)) = state.running.remove(&uuid) {
            context.close();
            let (pid, _) = state.states[&uuid].pid_and_exit_code();
            state.states.insert(uuid, RunState::Stopped { pid: pid.unwrap(), exit_code: 0, at: self.clock.now() });
        }
        Ok(())
    }

    async fn stop_all(&self) {
        let running: Vec<_> = self.state.lock().running.keys().copied().collect();
        for uuid in running {
            self.stop(uuid).await.unwrap();
        }
    }

    fn state(&self, uuid: AgentUuid) -> RunState {
        self.state.lock().states.get(&uuid).cloned().unwrap_or(RunState::NeverStarted)
    }

    fn forget(&self, uuid: AgentUuid) {
        self.state.lock().states.remove(&uuid);
    }

    fn observe(&self, observer: Arc<dyn LaunchObserver>) {
        self.observers.lock().push(observer);
    }
}
