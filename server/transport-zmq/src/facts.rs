//! What the router tells of itself to whoever asks (subsystem `query`). Source: vip-zmq.md §3.2, VOLTTRON `volttron/platform/vip/router.py`.

use serde_json::{Value, json};
use vt_types::PublicKey;

/// What does not change while the platform runs.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Name of this run of the router: random, in the welcome of every peer.
    pub router_id: String,
    /// Instance name.
    pub instance_name: String,
    /// Version that clients compare; VOLTTRON's own numbering.
    pub platform_version: String,
    /// Where the web service is.
    pub bind_web_address: Option<String>,
    /// A central server above this platform.
    pub volttron_central_address: Option<String>,
    /// Its key.
    pub volttron_central_serverkey: Option<String>,
    /// Seconds between two looks for crashed agents.
    pub agent_monitor_frequency_s: u32,
    /// Our public key.
    pub server_key: Option<PublicKey>,
    /// Bound addresses for other machines.
    pub addresses: Vec<String>,
    /// Bound address for this machine.
    pub local_address: String,
}

impl Facts {
    /// The value under `key`; null for an unknown one.
    #[must_use]
    pub fn value(&self, key: &str) -> Value {
        match key {
            "addresses" if self.addresses.is_empty() => json!([self.local_address]),
            "addresses" => json!(self.addresses),
            "local_address" => json!(self.local_address),
            "serverkey" => json!(self.server_key.map(|key| key.to_string())),
            "instance-name" => json!(self.instance_name),
            "platform-version" => json!(self.platform_version),
            // Whatever else serves besides: who asks here has come over ZeroMQ.
            "message-bus" => json!("zmq"),
            "bind-web-address" => json!(self.bind_web_address),
            "volttron-central-address" => json!(self.volttron_central_address),
            "volttron-central-serverkey" => json!(self.volttron_central_serverkey),
            "agent-monitor-frequency" => json!(self.agent_monitor_frequency_s),
            _ => Value::Null,
        }
    }
}
