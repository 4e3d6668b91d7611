//! A test bench: one agent on a bus of its own, with a small configuration store, so that a test can send it messages and look at what it
//! publishes. For tests of agents; not used by the product.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vt_bus::{Bus, Config, Mailbox, PeerHandle, PeerKind};
use vt_types::identity::known;
use vt_types::{Clock, Headers, Identity, Params, Publication, RpcError, SystemClock, Topic, TopicPrefix};

use crate::context::call_within;
use crate::{Agent, AgentContext, AgentError, AgentSettings, Call, MethodTable};

/// How long the bench waits for anything.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The bench.
pub struct TestBench {
    /// The bus, for what the bench has no word for.
    pub bus: Bus,
    /// A peer named `test.bench` that publishes and calls for the test.
    pub peer: PeerHandle,
    mailbox: Mailbox,
    store: AgentContext,
    entries: Entries,
    settings: AgentSettings,
    running: Option<(AgentContext, JoinHandle<Result<(), AgentError>>)>,
}

type Entries = Arc<Mutex<BTreeMap<String, Value>>>;

impl TestBench {
    /// A bench for an agent under `identity` that keeps its files in `data_dir`. Call inside a tokio runtime.
    ///
    /// # Panics
    /// If the bench cannot be set up; it is a test's own bench.
    #[must_use]
    pub fn new(identity: &str, data_dir: &Path) -> Self {
        Self::with_clock(identity, data_dir, Arc::new(SystemClock))
    }

    /// As [`TestBench::new`] with a clock of the test's choice.
    ///
    /// # Panics
    /// If the bench cannot be set up.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test bench fails its test by panicking")]
    pub fn with_clock(identity: &str, data_dir: &Path, clock: Arc<dyn Clock>) -> Self {
        let bus = Bus::new(Config::default(), Arc::clone(&clock));
        let (peer, mailbox) = bus.connect(Identity::known("test.bench"), PeerKind::Agent).expect("a fresh bus has room");
        let settings = AgentSettings {
            identity: Identity::parse(identity).expect("a valid identity"),
            kind: PeerKind::Agent,
            class_name: "TestedAgent".to_owned(),
            version: "1.0".to_owned(),
            instance_name: "bench".to_owned(),
            data_dir: data_dir.to_owned(),
            heartbeat: None,
            publications_max: 0,
            clock,
        };
        let store_settings = AgentSettings { identity: Identity::known(known::CONFIG_STORE), ..settings.clone() };
        let (store, _) = AgentContext::connect(&bus, store_settings, CancellationToken::new()).expect("a fresh bus has room");
        let entries = Entries::default();
        store.serve(store_methods(&store, &entries));
        Self { bus, peer, mailbox, store, entries, settings, running: None }
    }

    /// Puts an entry into the configuration store; a running agent is told.
    ///
    /// # Panics
    /// If the agent refuses the push.
    #[expect(clippy::expect_used, reason = "a test bench fails its test by panicking")]
    pub async fn set_config(&self, name: &str, contents: Value) {
        let known = self.entries.lock().insert(name.to_owned(), contents.clone()).is_some();
        if self.running.is_some() {
            let action = if known { "UPDATE" } else { "NEW" };
            self.push(vec![json!(action), json!(name), contents, json!(true)]).await.expect("the agent takes the push");
        }
    }

    /// Deletes an entry; a running agent is told.
    ///
    /// # Panics
    /// If the agent refuses the push.
    #[expect(clippy::expect_used, reason = "a test bench fails its test by panicking")]
    pub async fn delete_config(&self, name: &str) {
        self.entries.lock().remove(name);
        if self.running.is_some() {
            self.push(vec![json!("DELETE"), json!(name), Value::Null, json!(true)]).await.expect("the agent takes the push");
        }
    }

    /// What the store holds under `name`; JSON entries parsed, raw ones as text.
    #[must_use]
    pub fn stored_config(&self, name: &str) -> Option<Value> {
        self.entries.lock().get(name).cloned()
    }

    /// Starts the agent on the current runtime.
    ///
    /// # Panics
    /// If the agent's identity is in use.
    #[expect(clippy::expect_used, reason = "a test bench fails its test by panicking")]
    pub fn start(&mut self, agent: Box<dyn Agent>) -> AgentContext {
        let (context, events) =
            AgentContext::connect(&self.bus, self.settings.clone(), CancellationToken::new()).expect("the identity is free");
        let task = tokio::spawn(agent.run(context.clone(), events));
        self.running = Some((context.clone(), task));
        context
    }

    /// Asks the agent to stop and returns how it ended.
    ///
    /// # Panics
    /// If it does not end within [`DEADLINE`], or if it panicked.
    #[expect(clippy::expect_used, reason = "a test bench fails its test by panicking")]
    pub async fn stop(&mut self) -> Result<(), AgentError> {
        let (context, task) = self.running.take().expect("the agent was started");
        context.stop_token().cancel();
        let result = tokio::time::timeout(DEADLINE, task).await.expect("the agent ends in time").expect("the agent does not panic");
        context.close();
        result
    }

    /// Waits until the agent ends by itself and returns how it ended.
    ///
    /// # Panics
    /// If it does not end within [`DEADLINE`], or if it panicked.
    #[expect(clippy::expect_used, reason = "a test bench fails its test by panicking")]
    pub async fn ended(&mut self) -> Result<(), AgentError> {
        let (context, task) = self.running.take().expect("the agent was started");
        let result = tokio::time::timeout(DEADLINE, task).await.expect("the agent ends in time").expect("the agent does not panic");
        context.close();
        result
    }

    /// Subscribes the bench to `prefix`; see [`TestBench::next`].
    ///
    /// # Panics
    /// If `prefix` is not valid.
    #[expect(clippy::expect_used, reason = "a test bench fails its test by panicking")]
    pub fn subscribe(&self, prefix: &str) {
        self.peer.subscribe(&TopicPrefix::parse(prefix).expect("a valid prefix")).expect("the bench is connected");
    }

    /// The next message that the bench is subscribed to.
    ///
    /// # Panics
    /// If none comes within [`DEADLINE`].
    #[expect(clippy::expect_used, reason = "a test bench fails its test by panicking")]
    pub async fn next(&mut self) -> Arc<Publication> {
        tokio::time::timeout(DEADLINE, self.mailbox.publications().recv()).await.expect("a message in time").expect("the bus lives")
    }

    /// The next message on a topic that starts with `prefix`; others are skipped.
    ///
    /// # Panics
    /// If none comes within [`DEADLINE`].
    pub async fn next_on(&mut self, prefix: &str) -> Arc<Publication> {
        loop {
            let publication = self.next().await;
            if publication.topic.as_str().starts_with(prefix) {
                return publication;
            }
        }
    }

    /// The messages that wait now.
    pub fn drain(&mut self) -> Vec<Arc<Publication>> {
        std::iter::from_fn(|| self.mailbox.publications().try_recv().ok()).collect()
    }

    /// Publishes as `test.bench`.
    ///
    /// # Panics
    /// If `topic` is not valid.
    #[expect(clippy::expect_used, reason = "a test bench fails its test by panicking")]
    pub fn publish(&self, topic: &str, headers: Headers, message: Value) -> usize {
        self.peer.publish(&Topic::parse(topic).expect("a valid topic"), headers, message).expect("the bench may publish")
    }

    /// Calls a method of the agent as `test.bench`.
    ///
    /// # Errors
    /// What the agent answers.
    pub async fn call(&self, method: &str, args: Vec<Value>) -> Result<Value, RpcError> {
        call_within(&self.peer, DEADLINE, &self.settings.identity, method, Params::positional(args)).await
    }

    /// Calls a method of the agent as a peer of another name, on behalf of a web user if one is given.
    ///
    /// # Errors
    /// What the agent answers.
    ///
    /// # Panics
    /// If `caller` is no identity, or one in use.
    #[expect(clippy::expect_used, reason = "a test bench fails its test by panicking")]
    pub async fn call_as(&self, caller: &str, user: Option<&str>, method: &str, args: Vec<Value>) -> Result<Value, RpcError> {
        let caller = Identity::parse(caller).expect("a valid identity");
        let (peer, _mailbox) = self.bus.connect(caller, PeerKind::Agent).expect("the identity is free");
        let peer = user.map_or_else(|| peer.clone(), |user| peer.on_behalf_of(user));
        call_within(&peer, DEADLINE, &self.settings.identity, method, Params::positional(args)).await
    }

    /// Another agent, which offers `methods` for the tested one to call, until the returned context is closed.
    ///
    /// # Panics
    /// If `identity` is no identity, or one in use.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test bench fails its test by panicking")]
    pub fn companion(&self, identity: &str, methods: MethodTable) -> AgentContext {
        let identity = Identity::parse(identity).expect("a valid identity");
        let settings = AgentSettings { identity, ..self.settings.clone() };
        let (context, _) = AgentContext::connect(&self.bus, settings, CancellationToken::new()).expect("the identity is free");
        context.serve(methods);
        context
    }

    /// Calls until `wanted` accepts the answer.
    ///
    /// # Panics
    /// With the last answer, if none is accepted within [`DEADLINE`].
    #[expect(clippy::panic, reason = "a test bench fails its test by panicking")]
    pub async fn call_until(&self, method: &str, args: Vec<Value>, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = tokio::time::Instant::now() + DEADLINE;
        loop {
            let answer = self.call(method, args.clone()).await;
            match answer {
                Ok(value) if wanted(&value) => return value,
                last if tokio::time::Instant::now() > end => panic!("{method} did not give what was wanted in time; last: {last:?}"),
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn push(&self, args: Vec<Value>) -> Result<Value, RpcError> {
        call_within(self.store.peer(), DEADLINE, &self.settings.identity, "config.update", Params::positional(args)).await
    }
}

impl Drop for TestBench {
    fn drop(&mut self) {
        if let Some((context, task)) = self.running.take() {
            context.close();
            task.abort();
        }
        self.store.close();
    }
}

fn store_methods(store: &AgentContext, entries: &Entries) -> MethodTable {
    let mut table = MethodTable::new();
    let (peer, kept) = (store.peer().clone(), Arc::clone(entries));
    table.method("initialize_configs").param("identity").to(move |call: Call| {
        let (peer, kept) = (peer.clone(), Arc::clone(&kept));
        async move {
            let configs: Value = kept.lock().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            call_within(&peer, DEADLINE, &call.from, "config.initial_update", Params::positional(vec![configs])).await
        }
    });
    let (peer, kept) = (store.peer().clone(), Arc::clone(entries));
    table
        .method("set_config")
        .param("identity")
        .param("config_name")
        .param("raw_contents")
        .optional("config_type", "raw")
        .optional("trigger_callback", true)
        .optional("send_update", true)
        .to(move |call: Call| {
            let (peer, kept) = (peer.clone(), Arc::clone(&kept));
            async move {
                let (name, raw): (String, String) = (call.arg("config_name")?, call.arg("raw_contents")?);
                let contents = match call.value("config_type").as_str() {
                    Some("json") => serde_json::from_str(&raw).map_err(|error| RpcError::value_error(error.to_string()))?,
                    _ => Value::String(raw),
                };
                let known = kept.lock().insert(name.clone(), contents.clone()).is_some();
                let action = if known { "UPDATE" } else { "NEW" };
                let args = vec![json!(action), json!(name), contents, call.value("trigger_callback").clone()];
                call_within(&peer, DEADLINE, &call.from, "config.update", Params::positional(args)).await
            }
        });
    table
}

#[cfg(test)]
#[path = "bench_tests.rs"]
mod tests;
