//! The tasks behind a context: answering calls and sending the heartbeat.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::RwLock;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use vt_bus::{IncomingCall, Queue};
use vt_types::identity::known;
use vt_types::{RpcError, StatusWord};

use crate::MethodTable;
use crate::context::Inner;
use crate::health::Health;
use crate::methods::{Call, Caller};

/// Calls of one agent that run at the same time; further ones wait in the bounded queue of the bus.
const CALLS_RUNNING_MAX: usize = 64;

pub fn add_methods(inner: &Arc<Inner>, methods: MethodTable, calls: Option<Queue<IncomingCall>>) {
    if let Some(calls) = calls {
        let mut table = standard_methods(inner);
        table.extend(methods);
        *inner.methods.write() = table;
        inner.spawn(answer_calls(Arc::downgrade(inner), calls));
    } else {
        inner.methods.write().extend(methods);
    }
}

/// Methods by name; shared between the dispatcher and whoever adds some.
pub type Methods = RwLock<MethodTable>;

async fn answer_calls(inner: Weak<Inner>, mut calls: Queue<IncomingCall>) {
    let running = Arc::new(Semaphore::new(CALLS_RUNNING_MAX));
    while let Some(call) = calls.recv().await {
        let Ok(permit) = Arc::clone(&running).acquire_owned().await else { return };
        let Some(inner) = inner.upgrade() else { return };
        let IncomingCall { from, user_id, user, request, reply } = call;
        let by = Caller { from, user_id, user };
        let method = inner.methods.read().find(&request.method).cloned();
        let answer = match method {
            Some(method) => method.bind(by, request.params).map(|call| (method.handler)(call)),
            None => match inspected(&inner, &request.method) {
                Some(answer) => Ok(async { Ok(answer) }.boxed()),
                None => Err(RpcError::MethodNotFound(request.method.clone())),
            },
        };
        match answer {
            Err(error) => {
                if let Some(reply) = reply {
                    reply.send(Err(error));
                }
            }
            Ok(handler) => inner.spawn(async move {
                let _permit = permit;
                let result = AssertUnwindSafe(handler).catch_unwind().await.unwrap_or_else(|_| {
                    tracing::error!(method = request.method, "a method panicked; its caller got an error");
                    Err(RpcError::runtime_error(format!("{} failed by a fault in the agent; see its log", request.method)))
                });
                match reply {
                    Some(reply) => reply.send(result),
                    None => {
                        if let Err(error) = result {
                            tracing::debug!(method = request.method, %error, "a notification failed");
                        }
                    }
                }
            }),
        }
    }
}

/// Answers of `inspect` and `<method>.inspect`.
fn inspected(inner: &Inner, name: &str) -> Option<Value> {
    let methods = inner.methods.read();
    if name == "inspect" {
        return Some(json!({"methods": methods.names()}));
    }
    methods.find(name.strip_suffix(".inspect")?).map(|method| method.inspect())
}

/// Sends the heartbeat: at start, each period, and at once when the status changes. Never more often than ten times a second.
pub async fn heartbeat(inner: Weak<Inner>, health: Arc<Health>) {
    loop {
        let period = health.period();
        match inner.upgrade() {
            Some(inner) if period.is_some() => inner.heartbeat(),
            Some(_) => {}
            None => return,
        }
        match period {
            Some(period) => drop(tokio::time::timeout(period, health.beat.notified()).await),
            None => health.beat.notified().await,
        }
        // Bounds how often a flapping status is told.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn standard_methods(inner: &Arc<Inner>) -> MethodTable {
    let mut table = MethodTable::new();
    let weak = Arc::downgrade(inner);
    let mut add = |name: &str, params: &[(&str, Option<Value>)], run: fn(&Inner, &Call) -> Result<Value, RpcError>| {
        let weak = Weak::clone(&weak);
        let mut method = table.method(name);
        for (param, default) in params {
            method = match default {
                Some(default) => method.optional(param, default.clone()),
                None => method.param(param),
            };
        }
        method.to(move |call| {
            let result = weak.upgrade().ok_or_else(|| RpcError::runtime_error("the agent has ended")).and_then(|inner| run(&inner, &call));
            async move { result }
        });
    };
    add("agent.version", &[], |inner, _| Ok(json!(inner.settings.version)));
    add("health.get_status", &[], |inner, _| Ok(inner.health.status().to_json()));
    add("health.get_status_json", &[], |inner, _| Ok(inner.health.status().to_json()));
    add("health.set_status", &[("status", None), ("context", Some(Value::Null))], |inner, call| {
        let word: String = call.arg("status")?;
        let word =
            StatusWord::parse(&word).ok_or_else(|| RpcError::value_error(format!("{word:?} is not GOOD, BAD, UNKNOWN or STARTING")))?;
        inner.health.set(word, call.value("context").clone(), inner.settings.clock.now());
        Ok(Value::Null)
    });
    for name in ["heartbeat.start", "heartbeat.restart"] {
        add(name, &[], |inner, _| {
            inner.health.set_period(Some(inner.health.period().or(inner.settings.heartbeat).unwrap_or(DEFAULT_PERIOD)));
            Ok(Value::Null)
        });
    }
    add("heartbeat.stop", &[], |inner, _| {
        inner.health.set_period(None);
        Ok(Value::Null)
    });
    add("heartbeat.set_period", &[("period", None)], set_period);
    add("heartbeat.start_with_period", &[("period", None)], set_period);
    add("config.initial_update", &[("configs", None)], |inner, call| {
        only_config_store(call)?;
        let configs: serde_json::Map<String, Value> = call.arg("configs")?;
        inner.configs.replace_all(configs);
        Ok(Value::Null)
    });
    add(
        "config.update",
        &[("action", None), ("config_name", None), ("contents", Some(Value::Null)), ("trigger_callback", Some(json!(false)))],
        |inner, call| {
            only_config_store(call)?;
            let (action, trigger): (String, bool) = (call.arg("action")?, call.arg("trigger_callback")?);
            if action == "DELETE_ALL" {
                inner.configs.clear(trigger);
                return Ok(Value::Null);
            }
            let name: String = call.arg("config_name")?;
            let contents = (action != "DELETE").then(|| call.value("contents").clone());
            inner.configs.update(&name, contents, trigger);
            Ok(Value::Null)
        },
    );
    table
}

const DEFAULT_PERIOD: Duration = Duration::from_secs(crate::health::HEARTBEAT_PERIOD_S);

fn set_period(inner: &Inner, call: &Call) -> Result<Value, RpcError> {
    let period: f64 = call.arg("period")?;
    let period = Duration::try_from_secs_f64(period)
        .ok()
        .filter(|period| *period >= Duration::from_millis(100))
        .ok_or_else(|| RpcError::value_error("the heartbeat period must be at least 0.1 seconds"))?;
    inner.health.set_period(Some(period));
    Ok(Value::Null)
}

fn only_config_store(call: &Call) -> Result<(), RpcError> {
    if call.from.as_str() == known::CONFIG_STORE {
        return Ok(());
    }
    Err(RpcError::Refused(format!("only {} may push configuration, not {}", known::CONFIG_STORE, call.from)))
}
