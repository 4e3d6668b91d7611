//! A bare peer on pyzmq (`python/vip_client.py`), and what it sees frame by frame.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::platform::Keys;
use crate::python::{Installed, PATIENCE, Python};

pub struct Peer {
    pub python: Python,
}

impl Peer {
    pub fn start(home: &Path, identity: &str, address: &str, generation: u32, keys: Option<(&Keys, &str)>) -> Self {
        let generation = generation.to_string();
        let mut arguments = vec![identity, address, "--generation", &generation];
        if let Some((keys, server_key)) = keys {
            arguments.extend(["--serverkey", server_key, "--public", &keys.public, "--secret", &keys.secret]);
        }
        Self { python: Python::start(identity, Installed::Eleven, "vip_client.py", home, &arguments) }
    }

    /// Waits for a completed handshake.
    pub async fn connected(&self) {
        self.connected_within(PATIENCE).await;
    }

    pub async fn connected_within(&self, deadline: Duration) {
        let fits = |line: &Value| line["event"] == "socket" && line["name"] == "HANDSHAKE_SUCCEEDED";
        self.python.line("a completed handshake", deadline, fits).await;
    }

    /// What happened to its socket so far.
    pub fn socket_events(&self) -> Vec<String> {
        let events = self.python.told(|line| line["event"] == "socket");
        events.iter().map(|event| event["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Runs a command that has to succeed.
    pub async fn run(&mut self, command: Value) -> Value {
        self.python.ask(&command).await.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Sends frames as they are.
    pub async fn send(&mut self, frames: Value) {
        self.run(json!({"do": "send", "frames": frames})).await;
    }

    /// Waits for a message, given as its frames.
    pub async fn receives(&self, what: &str, fits: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let line = self
            .python
            .line(what, PATIENCE, |line| line["event"] == "frames" && line["frames"].as_array().is_some_and(|frames| fits(frames)))
            .await;
        line["frames"].as_array().unwrap().clone()
    }

    /// Waits for the message with this id.
    pub async fn receives_id(&self, id: &str) -> Vec<Value> {
        self.receives(&format!("a message with id {id}"), |frames| frames.get(3) == Some(&json!(id))).await
    }

    /// Asks the router something under an id, and gives the frames of the answer after the id.
    pub async fn asks_router(&mut self, id: &str, subsystem: &str, args: Value) -> Vec<Value> {
        self.run(json!({"do": "router", "subsystem": subsystem, "args": args, "id": id})).await;
        self.receives_id(id).await.split_off(4)
    }

    /// A sign of life of the router: everything that it sent before has arrived afterwards.
    pub async fn settle(&mut self) {
        assert_eq!(self.asks_router("settle", "ping", json!(["ping", "settle"])).await, [json!("ping"), json!("pong"), json!("settle")]);
    }

    /// Calls a method and gives the response.
    pub async fn call(&mut self, peer: &str, method: &str, args: Value) -> Value {
        let id = self.run(json!({"do": "call", "peer": peer, "method": method, "args": args})).await;
        self.response(&id).await
    }

    /// The response to the request with this JSON id.
    pub async fn response(&self, id: &Value) -> Value {
        let of = |frame: &Value| serde_json::from_str::<Value>(frame.as_str()?).ok().filter(|document| document["id"] == *id);
        let frames = self
            .receives(&format!("the response to {id}"), |frames| {
                frames.get(4) == Some(&json!("RPC")) && frames[5..].iter().any(|frame| of(frame).is_some())
            })
            .await;
        frames[5..].iter().find_map(of).unwrap()
    }

    /// Subscribes and waits until it is so.
    pub async fn subscribe(&mut self, prefix: &str) {
        self.run(json!({"do": "subscribe", "prefix": prefix})).await;
        let answer = self.receives("the answer to a subscribe", |frames| frames.get(5) == Some(&json!("request_response"))).await;
        assert_eq!(answer[4..], [json!("pubsub"), json!("request_response"), json!("true")], "{answer:?}");
    }

    /// Publishes and gives the number of subscribers that the router answers.
    pub async fn publish(&mut self, topic: &str, message: Value) -> Value {
        self.run(json!({"do": "publish", "topic": topic, "message": message})).await;
        let answer = self.receives("the answer to a publish", |frames| frames.get(5) == Some(&json!("request_response"))).await;
        assert_eq!(answer[0], "", "{answer:?}");
        answer[6].clone()
    }

    /// Waits for a delivery of a topic: its frames.
    pub async fn hears(&self, topic: &str) -> Vec<Value> {
        self.receives(&format!("a message on {topic}"), |frames| {
            frames.get(5) == Some(&json!("publish")) && frames.get(6) == Some(&json!(topic))
        })
        .await
    }
}
