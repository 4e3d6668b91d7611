//! Peers from outside over ZeroMQ: which addresses are served, with which key, and what the router tells of itself.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vt_bus::Bus;
use vt_config::Settings;
use vt_services::Services;
use vt_transport_zmq::{Config, Endpoint, Facts, KeyPair, Listen, Parts, Platforms, Statistics, ZmqChannels};
use vt_types::Clock;

/// The generation of VOLTTRON whose protocol the router speaks; what clients compare.
const PLATFORM_VERSION: &str = "9.0.4";

/// Bound sockets that do not serve yet.
pub struct Peers {
    endpoint: Endpoint,
    facts: Facts,
    is_keyed: bool,
    statistics: Arc<Statistics>,
    channels: ZmqChannels,
}

/// What serves.
pub struct Serving {
    /// Ends when all connections are closed.
    pub task: JoinHandle<()>,
    /// Links to other platforms.
    pub platforms: Arc<Platforms>,
}

impl Peers {
    /// Binds the local socket of the home and every VIP address.
    ///
    /// # Errors
    /// With the address and what to do.
    pub fn bind(settings: &Settings, web_address: &str) -> anyhow::Result<Self> {
        let mut places = local_places(&settings.home);
        for address in &settings.vip_addresses {
            let place = Listen::parse(&address.to_string())?;
            if !places.contains(&place) {
                places.push(place);
            }
        }
        let endpoint = Endpoint::bind(&places).context("vip-address: choose another address or end the program that listens there")?;
        let central = &settings.volttron_central;
        let facts = Facts {
            router_id: Uuid::new_v4().to_string(),
            instance_name: settings.instance_name.clone(),
            platform_version: PLATFORM_VERSION.to_owned(),
            bind_web_address: Some(web_address.trim_end_matches('/').to_owned()),
            volttron_central_address: central.address.clone(),
            volttron_central_serverkey: central.server_key.clone(),
            agent_monitor_frequency_s: settings.agent_monitor_frequency_s,
            ..Facts::default()
        };
        Ok(Self { endpoint, facts, is_keyed: settings.allow_auth, statistics: Arc::default(), channels: ZmqChannels::default() })
    }

    /// Addresses for other machines, with real ports.
    pub fn addresses(&self) -> &[String] {
        self.endpoint.addresses()
    }

    /// What happens at the endpoint, for whoever shows it.
    pub fn statistics(&self) -> Arc<Statistics> {
        Arc::clone(&self.statistics)
    }

    /// Byte pipes between services and peers.
    pub fn channels(&self) -> ZmqChannels {
        self.channels.clone()
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    /// If the platform's key cannot be read.
    pub async fn serve(self, bus: Bus, services: &Services, clock: Arc<dyn Clock>, stop: CancellationToken) -> anyhow::Result<Serving> {
        let pair = services.peer_auth.server_pair().await.context("the platform's key cannot be read")?;
        let keys = KeyPair { public: pair.public, secret: *pair.secret.expose() };
        let platforms = Arc::new(Platforms::new(bus.clone(), self.facts.instance_name.clone(), keys.clone(), clock));
        let parts = Parts {
            bus,
            config: Config { keys: self.is_keyed.then_some(keys), ..Config::default() },
            facts: self.facts,
            authenticator: Arc::clone(&services.peer_auth) as _,
            platforms: Arc::clone(&platforms),
            channels: self.channels,
            statistics: self.statistics,
        };
        let task = tokio::spawn(self.endpoint.serve(parts, stop));
        Ok(Serving { task, platforms })
    }
}

/// The abstract socket of the home, under the name without symbolic links that most clients use, and under the name as it was given.
fn local_places(home: &Path) -> Vec<Listen> {
    let resolved = std::fs::canonicalize(home).unwrap_or_else(|_| home.to_owned());
    let mut places = Vec::new();
    for home in [resolved.as_path(), home] {
        let place = Listen::Abstract(home.join("run/vip.socket").display().to_string());
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// The endpoint's counters as metrics.
pub fn readings(statistics: &Statistics) -> Vec<vt_api::Reading> {
    let counter = |name, help, value: &AtomicU64| vt_api::Reading { name, kind: "counter", help, value: value.load(Relaxed) };
    let gauge = |name, help, value: &AtomicU64| vt_api::Reading { name, kind: "gauge", help, value: value.load(Relaxed) };
    vec![
        gauge("volttron_zmq_connections", "Peers connected over ZeroMQ.", &statistics.connected),
        gauge("volttron_zmq_unproven", "ZeroMQ connections whose key is not decided on.", &statistics.unproven),
        counter("volttron_zmq_accepted_total", "ZeroMQ connections accepted.", &statistics.accepted),
        counter("volttron_zmq_admitted_total", "ZeroMQ handshakes that ended with an admitted peer.", &statistics.admitted),
        counter("volttron_zmq_failed_total", "ZeroMQ handshakes that came to nothing.", &statistics.failed),
        counter("volttron_zmq_evicted_total", "Undecided ZeroMQ connections closed to make room for newer ones.", &statistics.evicted),
        counter("volttron_zmq_incoming_total", "Messages from peers over ZeroMQ.", &statistics.incoming),
        counter("volttron_zmq_outgoing_total", "Messages to peers over ZeroMQ.", &statistics.outgoing),
        counter("volttron_zmq_unroutable_total", "Messages that could not be passed on.", &statistics.unroutable),
        counter("volttron_zmq_malformed_total", "ZeroMQ messages that were no VIP message.", &statistics.malformed),
    ]
}
