//! A whole platform of VOLTTRON 10 in a process of its own: its unmodified `volttron` with router, services and `auth.json`.
//!
//! What it is like, as found: of the generations that PyPI has, it is the one whose router speaks the link protocol of 9 (`hello`, `external_list`,
//! `external_publish`, `external_rpc`). It never answers `hello`; it takes `welcome`. The agent that read `external_platform_discovery.json` in 9 was
//! left out of it (`KeyDiscoveryAgent` is commented out in its `__main__`), so a test says to its router what that agent said,
//! `normalmode_platform_connection`, which it takes from every peer. Its router ends with an exception (`'bytes' object has no attribute 'bytes'`)
//! when one of its own agents calls a peer of another platform, because the message id of a call reads like a number; what passes is a call under
//! another id, and the answer to a call from outside. It refuses to run as root, so root runs it in a user namespace.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use vt_testkit::eventually_async;

use crate::agent::Agent;
use crate::peer::Peer;
use crate::platform::{Keys, entry};
use crate::python::{Installed, PATIENCE};

/// Lines of its log that a failure shows.
const SHOWN_MAX: usize = 60;

pub struct PythonPlatform {
    home: TempDir,
    name: String,
    /// Where peers and platforms reach it.
    addresses: Vec<String>,
    wrapper: Vec<String>,
    child: Option<Child>,
}

impl PythonPlatform {
    /// Starts it at these addresses, by a command such as `ip netns exec NAME`, or by none. It lets every key in.
    pub async fn start(name: &str, addresses: &[String], wrapper: &[&str]) -> Self {
        let home = tempfile::Builder::new().prefix("vt-test.").tempdir().unwrap();
        std::fs::write(home.path().join("config"), format!("[volttron]\ninstance-name = {name}\nmessage-bus = zmq\n")).unwrap();
        let mut everybody = entry("everybody", "/.*/", &json!({"edit_config_store": {"identity": "/.*/"}}));
        everybody.as_object_mut().unwrap().remove("identity");
        let book = json!({"allow": [everybody], "deny": [], "groups": {}, "roles": {}, "version": {"major": 1, "minor": 3}});
        std::fs::write(home.path().join("auth.json"), book.to_string()).unwrap();
        let wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        let mut platform = Self { home, name: name.to_owned(), addresses: addresses.to_vec(), wrapper, child: None };
        platform.start_again().await;
        platform
    }

    /// Starts it on the same home and waits until it is ready.
    pub async fn start_again(&mut self) {
        let mut words = self.wrapper.clone();
        if nix::unistd::geteuid().is_root() {
            words.extend(["unshare", "--user", "--map-user=1000", "--map-group=1000"].map(str::to_owned));
        }
        words.push(Installed::Ten.python().with_file_name("volttron").display().to_string());
        let (first, rest) = words.split_first().unwrap();
        let mut command = Command::new(first);
        let log = self.home().join("volttron.log");
        command.args(rest).args(["-v", "-l"]).arg(&log).current_dir(self.home());
        for address in &self.addresses {
            command.args(["--vip-address", address]);
        }
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("VOLTTRON")) {
            command.env_remove(key);
        }
        command.env("VOLTTRON_HOME", self.home()).env("HOME", self.home()).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let ready = self.home().join("VOLTTRON_PID");
        eventually_async("VOLTTRON 10 is ready", PATIENCE, async || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("VOLTTRON 10 ended with {status}: {}", self.log());
            }
            ready.exists().then_some(())
        })
        .await;
        self.child = Some(child);
    }

    /// Ends it as `kill -9` does.
    pub async fn kill(&mut self) {
        self.child.take().unwrap().kill().await.unwrap();
        std::fs::remove_file(self.home().join("VOLTTRON_PID")).unwrap();
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn server_key(&self) -> String {
        let keys: Value = serde_json::from_slice(&std::fs::read(self.home().join("keystore")).unwrap()).unwrap();
        keys["public"].as_str().unwrap().to_owned()
    }

    /// Its entry in `external_platform_discovery.json`; other platforms reach it at its first address.
    pub fn discovered(&self) -> Value {
        json!({"instance-name": self.name, "vip-address": self.addresses[0], "serverkey": self.server_key()})
    }

    /// Tells it of another platform, as a peer of that identity.
    pub async fn introduce(&self, identity: &str, keys: &Keys, other: &Value) -> Peer {
        let mut peer = Peer::start(self.home(), identity, self.addresses.last().unwrap(), 9, Some((keys, &self.server_key())));
        peer.connected().await;
        let args = json!(["normalmode_platform_connection", {"json": other}]);
        peer.run(json!({"do": "router", "subsystem": "routing_table", "args": args})).await;
        peer
    }

    /// A real agent of it, started.
    pub async fn agent(&self, identity: &str, keys: &Keys, arguments: &[&str]) -> Agent {
        let (address, server_key) = (self.addresses.last().unwrap(), self.server_key());
        let agent = Agent::start(Installed::Ten, self.home(), identity, address, keys, &server_key, arguments);
        agent.started().await;
        agent
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.home().join("volttron.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_MAX)..].join("\n")
    }
}
