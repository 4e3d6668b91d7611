//! Peers from outside over ZeroMQ: which addresses are served, with which key, and what the router tells of itself.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vt_bus::Bus;
use vt_config::Settings;
use vt_services::Services;
use vt_transport_zmq::{Config, Endpoint, Facts, KeyPair, Listen, Parts, Platforms, Statistics};
use vt_types::Clock;

/// The generation of VOLTTRON whose protocol the router speaks; what clients compare.
const PLATFORM_VERSION: &str = "9.0.4";

/// Bound sockets that do not serve yet.
pub struct Peers {
    endpoint: Endpoint,
    facts: Facts,
    is_keyed: bool,
}

/// What serves.
pub struct Serving {
    /// Ends when all connections are closed.
    pub task: JoinHandle<()>,
    /// Links to other platforms.
    pub platforms: Arc<Platforms>,
    /// Counters.
    pub statistics: Arc<Statistics>,
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
        Ok(Self { endpoint, facts, is_keyed: settings.allow_auth })
    }

    /// Addresses for other machines, with real ports.
    pub fn addresses(&self) -> &[String] {
        self.endpoint.addresses()
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    /// If the platform's key cannot be read.
    pub async fn serve(self, bus: Bus, services: &Services, clock: Arc<dyn Clock>, stop: CancellationToken) -> anyhow::Result<Serving> {
        let pair = services.peer_auth.server_pair().await.context("the platform's key cannot be read")?;
        let keys = KeyPair { public: pair.public, secret: *pair.secret.expose() };
        let platforms = Arc::new(Platforms::new(bus.clone(), self.facts.instance_name.clone(), keys.clone(), clock));
        let statistics = Arc::new(Statistics::default());
        let parts = Parts {
            bus,
            config: Config { keys: self.is_keyed.then_some(keys), ..Config::default() },
            facts: self.facts,
            authenticator: Arc::clone(&services.peer_auth) as _,
            platforms: Arc::clone(&platforms),
            statistics: Arc::clone(&statistics),
        };
        let task = tokio::spawn(self.endpoint.serve(parts, stop));
        Ok(Serving { task, platforms, statistics })
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
