//! The server with a VIP address, and its book of who may connect, written by hand as an operator would.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use vt_testkit::program::Finished;
use vt_testkit::socket::tls;
use vt_testkit::{Client, Socket, TestServer, TestServerBuilder, eventually_async};

use crate::agent::Agent;
use crate::peer::Peer;
use crate::python::{Installed, PATIENCE, Python};

/// A CURVE key pair as VOLTTRON writes it.
#[derive(Debug, Clone)]
pub struct Keys {
    pub public: String,
    pub secret: String,
}

pub struct Platform {
    pub server: TestServer,
    address: String,
}

impl Platform {
    pub async fn start() -> Self {
        Self::with(TestServer::builder()).await
    }

    pub async fn demo() -> Self {
        Self::with(TestServer::builder().demo()).await
    }

    /// Starts with an address that stays the same over restarts.
    pub async fn with(builder: TestServerBuilder) -> Self {
        Self::at(builder, format!("tcp://127.0.0.1:{}", free_port())).await
    }

    /// Starts with this address, after those that the builder has.
    pub async fn at(builder: TestServerBuilder, address: String) -> Self {
        let server = builder.argument("--vip-address").argument(&address).start().await;
        Self { server, address }
    }

    /// Lets another platform in by its key.
    pub fn admit_platform(&self, name: &str, key: &str) {
        let mut entry = entry(&format!("platform {name}"), key, &json!({}));
        // It connects under a name with a random end.
        entry["identity"] = Value::Null;
        self.edit_book(|book| book["allow"].as_array_mut().unwrap().push(entry));
    }

    /// Links this platform to another.
    pub fn link(&self, name: &str, entry: &Value) {
        let known = json!({name: entry});
        std::fs::write(self.home().join("external_platform_discovery.json"), known.to_string()).unwrap();
        self.admit_platform(name, entry["serverkey"].as_str().unwrap());
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn home(&self) -> &Path {
        self.server.home()
    }

    /// The platform's public key, as clients of 6 and 9 look it up.
    pub fn server_key(&self) -> String {
        let hosts = self.json("known_hosts");
        hosts["@"].as_str().unwrap_or_else(|| panic!("no @ in {hosts}")).to_owned()
    }

    /// The instance's name.
    pub async fn name(&self, client: &Client) -> String {
        let platforms = client.get("/vui/platforms").await.expect(200).json();
        platforms["links"].as_object().unwrap().keys().next().unwrap().clone()
    }

    /// The installation id of an installed agent.
    pub async fn uuid(&self, identity: &str) -> String {
        let agents: Value = serde_json::from_str(&self.server.vctl(&["--json", "list"]).await.ok().stdout).unwrap();
        agents[identity]["agent_uuid"].as_str().unwrap_or_else(|| panic!("{identity} is not in {agents}")).to_owned()
    }

    /// Stores a configuration entry with `vctl config store`.
    pub async fn store(&self, identity: &str, name: &str, kind: &str, contents: &str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), contents).unwrap();
        self.server.vctl(&["config", "store", identity, name, &file.path().to_string_lossy(), kind]).await.ok();
    }

    /// A JSON file of the home.
    pub fn json(&self, name: &str) -> Value {
        let path = self.home().join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error} in {text}", path.display()))
    }

    /// New keys that nobody knows.
    pub async fn keys(&self) -> Keys {
        let output = Installed::Eleven.command("keys.py", self.home(), &[]).output().await.unwrap();
        let keys: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let half = |name: &str| keys[name].as_str().unwrap().to_owned();
        Keys { public: half("public"), secret: half("secret") }
    }

    /// Changes `auth.json` as somebody with an editor does.
    pub fn edit_book(&self, change: impl FnOnce(&mut Value)) {
        let mut book = self.json("auth.json");
        change(&mut book);
        let (path, beside) = (self.home().join("auth.json"), self.home().join("auth.json.edited"));
        std::fs::write(&beside, serde_json::to_string_pretty(&book).unwrap()).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    /// New keys that `auth.json` lets in under an identity, with capabilities beside its own part of the configuration store.
    pub async fn allowed(&self, identity: &str, capabilities: &Value) -> Keys {
        let keys = self.keys().await;
        let mut all = json!({"edit_config_store": {"identity": identity}});
        all.as_object_mut().unwrap().extend(capabilities.as_object().unwrap().clone());
        self.edit_book(|book| book["allow"].as_array_mut().unwrap().push(entry(identity, &keys.public, &all)));
        keys
    }

    /// A bare peer of a generation that may connect, connected over TCP.
    pub async fn peer(&self, identity: &str, generation: u32) -> Peer {
        self.peer_with(identity, generation, &json!({})).await
    }

    /// The same with capabilities.
    pub async fn peer_with(&self, identity: &str, generation: u32, capabilities: &Value) -> Peer {
        let keys = self.allowed(identity, capabilities).await;
        let peer = self.knocking(identity, generation, &keys);
        peer.connected().await;
        peer
    }

    /// A bare peer that tries to connect.
    pub fn knocking(&self, identity: &str, generation: u32, keys: &Keys) -> Peer {
        Peer::start(self.home(), identity, self.address(), generation, Some((keys, &self.server_key())))
    }

    /// A real agent that may connect, started.
    pub async fn agent(&self, installed: Installed, identity: &str, arguments: &[&str]) -> Agent {
        let keys = self.allowed(identity, &json!({})).await;
        let agent = self.starting(installed, identity, &keys, arguments);
        agent.started().await;
        agent
    }

    /// A real agent that tries to start.
    pub fn starting(&self, installed: Installed, identity: &str, keys: &Keys, arguments: &[&str]) -> Agent {
        Agent::start(installed, self.home(), identity, self.address(), keys, &self.server_key(), arguments)
    }

    /// An installed agent, started as its platform starts it: by the function of its package, with everything in its environment.
    pub fn real_agent(&self, installed: Installed, module: &str, identity: &str, keys: &Keys, config: &str) -> Python {
        let path = self.home().join(format!("{identity}.config"));
        std::fs::write(&path, config).unwrap();
        let credential = json!({"identity": identity, "publickey": keys.public, "secretkey": keys.secret, "domain": "", "address": ""});
        Python::run(identity, {
            let mut command = installed.bare(self.home());
            command.arg("-c").arg(format!("from {module} import main; main()")).current_dir(self.home());
            command.env("AGENT_VIP_IDENTITY", identity).env("AGENT_CONFIG", path);
            command.env("AGENT_UUID", "5c2e9a7e-7c0f-4b6c-9d0d-6a3a3f1e2b11").env("MESSAGEBUS", "zmq");
            match installed {
                Installed::Eleven => command.env("AGENT_CREDENTIALS", credential.to_string()),
                Installed::Ten => command.env("AGENT_PUBLICKEY", &keys.public).env("AGENT_SECRETKEY", &keys.secret),
            };
            command
        })
    }

    /// Follows a topic prefix as the pages do.
    pub async fn listen(&self, client: &Client, prefix: &str) -> Socket {
        let ca = std::fs::read(self.server.ca_file()).unwrap();
        let authorization = format!("Bearer {}", client.token().unwrap());
        let headers = [("authorization", authorization.as_str()), ("sec-websocket-protocol", "volttron.v2")];
        let mut socket = Socket::open(&tls(&ca), &format!("{}/vui/ws", self.server.url()), &headers).await.unwrap();
        let name = self.name(client).await;
        socket.send(&json!({"op": "subscribe", "id": 1, "platform": name, "prefix": prefix})).await;
        let ok = socket.next_where("the answer to subscribe", PATIENCE, |frame| frame["id"] == 1).await;
        assert_eq!(ok["op"], "ok", "{ok}");
        socket
    }

    /// Runs modular 11's own `vctl`.
    pub async fn vctl11(&self, arguments: &[&str]) -> Finished {
        self.python_vctl(Installed::Eleven, arguments).await
    }

    pub async fn python_vctl(&self, installed: Installed, arguments: &[&str]) -> Finished {
        let mut command = installed.command("vctl.py", self.home(), arguments);
        command.stdin(std::process::Stdio::null());
        let limit = Duration::from_secs(120);
        let output = tokio::time::timeout(limit, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("vctl {arguments:?} did not end within {limit:?}")).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Finished { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Waits until `vctl peerlist` of ours shows an identity, or no longer does.
    pub async fn peer_is_listed(&self, identity: &str, listed: bool) {
        eventually_async(&format!("{identity} is listed: {listed}"), PATIENCE, async || {
            let peers = self.server.vctl(&["peerlist"]).await.ok().stdout;
            (peers.lines().any(|line| line == identity) == listed).then_some(())
        })
        .await;
    }
}

/// An entry of `auth.json`.
pub fn entry(identity: &str, key: &str, capabilities: &Value) -> Value {
    json!({
        "domain": null, "address": null, "mechanism": "CURVE", "credentials": key, "groups": [], "roles": [], "capabilities": capabilities,
        "rpc_method_authorizations": {}, "comments": null, "user_id": identity, "identity": identity, "enabled": true,
    })
}

/// A port that nobody uses now. Somebody may take it before the server does; then the start fails and says so.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
