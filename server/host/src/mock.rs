//! A mock agent for the tests of this crate: it ends, crashes, panics, hangs, floods or ignores stopping, as its configuration says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use vt_agent::{Agent, AgentContext, AgentError, AgentKind, BuildError, Event, Events, MethodTable};
use vt_types::{Headers, Topic};

/// What tests and mock agents share, by the `key` of the configuration; `build` is a plain function and can be handed nothing else.
static SIGNS: Mutex<BTreeMap<String, Arc<Signs>>> = Mutex::new(BTreeMap::new());

/// Signs between a test and its mock agents.
#[derive(Debug, Default)]
pub struct Signs {
    /// Set by the test: hanging threads go on.
    release: AtomicBool,
    /// Runs so far.
    pub runs: AtomicU32,
}

/// The signs of `key`.
pub fn signs(key: &str) -> Arc<Signs> {
    Arc::clone(SIGNS.lock().entry(key.to_owned()).or_default())
}

/// Lets hanging threads go on when the test ends, however it ends.
pub struct Release(pub Arc<Signs>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.release.store(true, Relaxed);
    }
}

/// The catalogue entry.
pub fn mock() -> AgentKind {
    AgentKind {
        kind: "mock",
        distribution: "mockagent",
        version: "1.0",
        class_name: "MockAgent",
        default_identity: "mock.{n}",
        summary: "Misbehaves on request.",
        publications_max: 0,
        build: Arc::new(|config| {
            let mode = config["mode"].as_str().unwrap_or("good").to_owned();
            match mode.as_str() {
                "bad_config" => Err(BuildError("mode: must not be bad_config".to_owned())),
                "panic_in_build" => panic!("no such luck"),
                _ => Ok(Box::new(Mock { mode, signs: signs(config["key"].as_str().unwrap_or_default()) })),
            }
        }),
    }
}

struct Mock {
    mode: String,
    signs: Arc<Signs>,
}

#[async_trait]
impl Agent for Mock {
    async fn run(self: Box<Self>, context: AgentContext, mut events: Events) -> Result<(), AgentError> {
        let run = self.signs.runs.fetch_add(1, Relaxed) + 1;
        let mut methods = MethodTable::new();
        methods.method("ping").to(|_| async { Ok(json!("pong")) });
        context.serve(methods);
        match self.mode.as_str() {
            "error" => return Err(AgentError::new("on purpose")),
            "error_once" if run == 1 => return Err(AgentError::new("the first time only")),
            "exit" => return Ok(()),
            "panic" => panic!("on purpose"),
            "hang" => self.hang(),
            "busy" => std::future::pending().await,
            "flood" => flood(&context).await?,
            "ignore_stop" => ignore_stop(&mut events).await,
            "hang_on_stop" => {
                while !matches!(events.next().await, Event::Stop) {}
                self.hang();
            }
            _ => {}
        }
        while !matches!(events.next().await, Event::Stop) {}
        Ok(())
    }
}

impl Mock {
    /// Blocks its thread until the test lets go.
    fn hang(&self) {
        while !self.signs.release.load(Relaxed) {
            std::hint::spin_loop();
            std::thread::yield_now();
        }
    }
}

async fn flood(context: &AgentContext) -> Result<(), AgentError> {
    let topic = Topic::parse("flood").map_err(AgentError::new)?;
    let message = Arc::new(Value::Null);
    while !context.stop_token().is_cancelled() {
        context.publish(&topic, Headers::new(), Arc::clone(&message)).map_err(AgentError::new)?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn ignore_stop(events: &mut Events) {
    loop {
        drop(events.next().await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
