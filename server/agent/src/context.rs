//! What an agent can do: publish, call, subscribe, offer methods, read and write its configuration, tell its health.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vt_bus::{Bus, ConnectError, IncomingCall, PeerHandle, PeerKind, PublishError, Queue, SubscribeError};
use vt_types::identity::known;
use vt_types::timestamp::{self, Timestamp};
use vt_types::{Clock, Headers, Identity, Params, RpcError, RpcRequest, Status, StatusWord, Topic, TopicPrefix, headers};

use crate::config::{ConfigError, Configs};
use crate::health::{Health, alert_topic};
use crate::{Events, Liveness, MethodTable, serving};

/// Time limit of a call unless told otherwise.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Who an agent is and where it lives.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// Identity on the bus.
    pub identity: Identity,
    /// Agent or service.
    pub kind: PeerKind,
    /// Class name in alert topics.
    pub class_name: String,
    /// Answer of `agent.version`.
    pub version: String,
    /// Name of the instance.
    pub instance_name: String,
    /// The agent's own directory, for back-ends that need files.
    pub data_dir: PathBuf,
    /// Period of the heartbeat; `None` for no heartbeat.
    pub heartbeat: Option<Duration>,
    /// Publications that may wait; 0 for the bus's default.
    pub publications_max: usize,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Why an agent could not connect.
pub type ConnectFailure = ConnectError;

/// An agent's connection to the world. Cheap to clone; all clones are the same agent. Whoever connected it closes it: exported methods
/// usually hold clones, so that it does not end by itself.
#[derive(Debug, Clone)]
pub struct AgentContext {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub settings: AgentSettings,
    pub peer: PeerHandle,
    pub configs: Arc<Configs>,
    pub health: Arc<Health>,
    pub methods: serving::Methods,
    stop: CancellationToken,
    liveness: Liveness,
    /// Calls wait here until the agent serves.
    calls: Mutex<Option<Queue<IncomingCall>>>,
    tasks: Mutex<JoinSet<()>>,
}

impl AgentContext {
    /// Connects an agent to the bus and starts its heartbeat. Must be called inside the runtime on which the agent is to run.
    ///
    /// # Errors
    /// [`ConnectError`] if the identity is in use, the bus is full, or policy refuses.
    pub fn connect(bus: &Bus, settings: AgentSettings, stop: CancellationToken) -> Result<(Self, Events), ConnectFailure> {
        let (peer, mailbox) = match settings.publications_max {
            0 => bus.connect(settings.identity.clone(), settings.kind)?,
            max => bus.connect_with_queue(settings.identity.clone(), settings.kind, max)?,
        };
        let (publications, calls, connection) = mailbox.into_parts();
        let configs = Arc::new(Configs::default());
        let liveness = Liveness::new();
        let events = Events { publications, configs: Arc::clone(&configs), stop: stop.clone(), liveness: liveness.clone() };
        let health = Arc::new(Health::new(settings.clock.now(), settings.heartbeat));
        let inner = Arc::new(Inner {
            settings,
            peer,
            configs,
            health,
            methods: serving::Methods::default(),
            stop,
            liveness: liveness.clone(),
            calls: Mutex::new(Some(calls)),
            tasks: Mutex::new(JoinSet::new()),
        });
        let context = Self { inner: Arc::clone(&inner) };
        let mut tasks = inner.tasks.lock();
        tasks.spawn(serving::heartbeat(Arc::downgrade(&inner), Arc::clone(&inner.health)));
        tasks.spawn(async move {
            // Held by a task of the context so that the peer is connected for as long as the context lives.
            let _connection = connection;
            loop {
                liveness.tick();
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        drop(tasks);
        Ok((context, events))
    }

    /// Offers `methods`, besides those that every agent has, and starts to answer calls; calls made before wait. Calling it again adds
    /// methods.
    pub fn serve(&self, methods: MethodTable) {
        let calls = self.inner.calls.lock().take();
        serving::add_methods(&self.inner, methods, calls);
    }

    /// The agent's identity.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.inner.settings.identity
    }

    /// Name of the instance.
    #[must_use]
    pub fn instance_name(&self) -> &str {
        &self.inner.settings.instance_name
    }

    /// The agent's own directory; exists.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.inner.settings.data_dir
    }

    /// Time.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.inner.settings.clock)
    }

    /// Now, UTC.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.settings.clock.now()
    }

    /// The peer on the bus, for what this context has no word for.
    #[must_use]
    pub fn peer(&self) -> &PeerHandle {
        &self.inner.peer
    }

    /// Signs of life, for the supervisor.
    #[must_use]
    pub fn liveness(&self) -> Liveness {
        self.inner.liveness.clone()
    }

    /// Cancelled when the agent is to stop.
    #[must_use]
    pub fn stop_token(&self) -> &CancellationToken {
        &self.inner.stop
    }

    /// Publishes with VOLTTRON's version headers added; returns the number of subscribers. Never waits.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn publish(&self, topic: &Topic, headers: Headers, message: impl Into<Arc<Value>>) -> Result<usize, PublishError> {
        self.inner.publish(topic, headers, message.into())
    }

    /// Subscribes; messages arrive as [`crate::Event::Publication`].
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn subscribe(&self, prefix: &TopicPrefix) -> Result<(), SubscribeError> {
        self.inner.peer.subscribe(prefix)
    }

    /// Ends a subscription; says whether there was one.
    #[must_use = "tells whether there was such a subscription"]
    pub fn unsubscribe(&self, prefix: &TopicPrefix) -> bool {
        self.inner.peer.unsubscribe(prefix)
    }

    /// Calls a method of a peer and waits up to [`CALL_TIMEOUT`].
    ///
    /// # Errors
    /// [`RpcError`], each cause its own variant.
    pub async fn call(&self, peer: &Identity, method: &str, params: Params) -> Result<Value, RpcError> {
        self.call_within(CALL_TIMEOUT, peer, method, params).await
    }

    /// Calls a method of a peer and waits up to `limit`.
    ///
    /// # Errors
    /// [`RpcError`], each cause its own variant.
    pub async fn call_within(&self, limit: Duration, peer: &Identity, method: &str, params: Params) -> Result<Value, RpcError> {
        call_within(&self.inner.peer, limit, peer, method, params).await
    }

    /// Loads the agent's entries from the configuration store; afterwards each comes as a `New` event, `config` first, and later changes
    /// come by themselves. Without a configuration store there are no entries, which the log tells.
    pub async fn load_configs(&self) {
        let store = Identity::known(known::CONFIG_STORE);
        let params = Params::positional(vec![json!(self.identity())]);
        if let Err(error) = self.call(&store, "initialize_configs", params).await {
            tracing::warn!(%error, "the configuration store did not give this agent its entries");
        }
    }

    /// Names of the agent's entries, sorted.
    #[must_use]
    pub fn config_names(&self) -> Vec<String> {
        self.inner.configs.names()
    }

    /// Contents of an entry with all `config://` links expanded.
    ///
    /// # Errors
    /// [`ConfigError`] for a missing entry, a broken link, or a circle.
    pub fn config(&self, name: &str) -> Result<Value, ConfigError> {
        self.inner.configs.get(name)
    }

    /// Stores an entry of the agent's own; the agent is not told of this change by an event.
    ///
    /// # Errors
    /// [`RpcError`] of the configuration store; then nothing changed.
    pub async fn set_config(&self, name: &str, contents: &Value) -> Result<(), RpcError> {
        let (text, kind) = match contents {
            Value::String(text) => (text.clone(), "raw"),
            other => (other.to_string(), "json"),
        };
        let params = Params {
            args: vec![json!(self.identity()), json!(name), json!(text), json!(kind)],
            kwargs: Map::from_iter([("trigger_callback".to_owned(), json!(false))]),
        };
        self.call(&Identity::known(known::CONFIG_STORE), "set_config", params).await.map(drop)
    }

    /// The agent's status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.inner.health.status()
    }

    /// Sets the agent's status. A changed word or reason sends a heartbeat at once.
    pub fn set_status(&self, word: StatusWord, context: impl Into<Value>) {
        self.inner.health.set(word, context.into(), self.now());
    }

    /// Changes the period of the heartbeat; `None` stops it.
    pub fn set_heartbeat(&self, period: Option<Duration>) {
        self.inner.health.set_period(period);
    }

    /// Raises an alert under `key` with the given word and context; does not change the agent's own status.
    pub fn send_alert(&self, key: &str, word: StatusWord, context: impl Into<Value>) {
        let status = Status { word, context: context.into(), last_updated: self.now() };
        let settings = &self.inner.settings;
        let text = alert_topic(&settings.class_name, &settings.instance_name, &settings.identity);
        let headers = Headers::new().with(headers::ALERT_KEY, key);
        let sent = Topic::parse(&text).map_err(|error| error.to_string()).and_then(|topic| {
            self.publish(&topic, headers, Value::String(status.to_json().to_string())).map_err(|error| error.to_string())
        });
        if let Err(error) = sent {
            tracing::warn!(alert_key = key, error, "an alert could not be published");
        }
    }

    /// Runs `task` for as long as the agent lives; it is aborted when the context closes.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.spawn(task);
    }

    /// Ends all tasks of the agent and takes it off the bus, whoever still holds a clone.
    pub fn close(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.lock().abort_all();
        self.inner.calls.lock().take();
        // Methods usually hold a clone of the context.
        *self.inner.methods.write() = MethodTable::new();
        self.inner.peer.bus().disconnect(self.identity());
    }
}

impl Inner {
    pub fn publish(&self, topic: &Topic, mut headers: Headers, message: Arc<Value>) -> Result<usize, PublishError> {
        headers.set(headers::MIN_COMPATIBLE_VERSION, "3.0");
        headers.set(headers::MAX_COMPATIBLE_VERSION, "");
        self.peer.publish(topic, headers, message)
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        // Take out what has ended, so that the set holds living tasks only.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    pub fn heartbeat(&self) {
        let headers = Headers::new().with(headers::TIMESTAMP, timestamp::format(self.settings.clock.now()));
        let word = self.health.status().word.as_str();
        let sent = Topic::parse(&format!("heartbeat/{}", self.settings.identity))
            .map_err(|error| error.to_string())
            .and_then(|topic| self.publish(&topic, headers, Arc::new(json!(word))).map_err(|error| error.to_string()));
        if let Err(error) = sent {
            tracing::debug!(error, "a heartbeat could not be published");
        }
    }
}

/// Calls a method of `callee` as `peer` and waits up to `limit`.
///
/// # Errors
/// [`RpcError`]; [`RpcError::Timeout`] when the limit is reached.
pub async fn call_within(peer: &PeerHandle, limit: Duration, callee: &Identity, method: &str, params: Params) -> Result<Value, RpcError> {
    let pending = peer.call(callee, RpcRequest::new(method, params))?;
    match tokio::time::timeout(limit, pending).await {
        Ok(result) => result,
        Err(_) => Err(RpcError::Timeout {
            peer: callee.clone(),
            method: method.to_owned(),
            timeout_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        }),
    }
}
