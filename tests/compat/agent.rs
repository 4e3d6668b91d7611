//! A real agent of an installed VOLTTRON (`python/agent.py`).

use std::path::Path;

use serde_json::{Value, json};

use crate::platform::Keys;
use crate::python::{Installed, Python};

pub struct Agent {
    pub python: Python,
}

impl Agent {
    pub fn start(
        installed: Installed,
        home: &Path,
        identity: &str,
        address: &str,
        keys: &Keys,
        server_key: &str,
        arguments: &[&str],
    ) -> Self {
        let mut all = vec![identity, "--address", address, "--public", &keys.public, "--secret", &keys.secret, "--serverkey", server_key];
        all.extend(arguments);
        Self { python: Python::start(identity, installed, "agent.py", home, &all) }
    }

    /// Waits until its start is over.
    pub async fn started(&self) {
        self.python.event("started", |_| true).await;
    }

    /// Waits until it is configured: the platform has given it its configuration, and its callbacks ran.
    pub async fn configured(&self, name: &str, action: &str) -> Value {
        self.python.event("config", |event| event["name"] == name && event["action"] == action).await["contents"].clone()
    }

    pub async fn call(&mut self, peer: &str, method: &str, args: Value) -> Result<Value, Value> {
        self.python.ask(&json!({"do": "call", "peer": peer, "method": method, "args": args})).await
    }

    pub async fn call_with(&mut self, peer: &str, method: &str, kwargs: Value) -> Result<Value, Value> {
        self.python.ask(&json!({"do": "call", "peer": peer, "method": method, "kwargs": kwargs})).await
    }

    pub async fn publish(&mut self, topic: &str, headers: Value, message: Value) -> Value {
        let command = json!({"do": "publish", "topic": topic, "headers": headers, "message": message});
        self.python.ask(&command).await.unwrap()
    }

    pub async fn subscribe(&mut self, prefix: &str) {
        self.python.ask(&json!({"do": "subscribe", "prefix": prefix})).await.unwrap();
    }

    /// Waits for a delivery.
    pub async fn hears(&self, topic: &str) -> Value {
        self.python.event("message", |event| event["topic"] == topic).await
    }
}
