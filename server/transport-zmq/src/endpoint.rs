//! The listening side: binds, accepts, and gives each connection a task of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vt_backends::Authenticator;
use vt_bus::Bus;

use crate::address::{AddressError, Listen, Listener, Stream};
use crate::handshake;
use crate::holders::Holders;
use crate::session::Session;
use crate::wire::Wire;
use crate::{Config, Facts, Platforms, ZmqChannels};

/// After a failed accept (normally: too many open files), so that the loop does not spin until one is closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connections may take to end once the endpoint is told to.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Why the endpoint could not be set up.
pub type EndpointError = AddressError;

/// Bound sockets that do not serve yet.
pub struct Endpoint {
    listeners: Vec<Listener>,
    addresses: Vec<String>,
    local_address: String,
}

/// What the endpoint works with.
pub struct Parts {
    /// The bus that peers join.
    pub bus: Bus,
    /// Bounds and keys.
    pub config: Config,
    /// What the router tells of itself; addresses and key are filled in.
    pub facts: Facts,
    /// Who may connect.
    pub authenticator: Arc<dyn Authenticator>,
    /// Links to other platforms.
    pub platforms: Arc<Platforms>,
    /// Byte pipes between services and peers.
    pub channels: ZmqChannels,
    /// Counters, for whoever shows them.
    pub statistics: Arc<Statistics>,
}

/// What happened at the endpoint so far, and how things stand.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Streams accepted.
    pub accepted: AtomicU64,
    /// Handshakes that ended with an admitted peer.
    pub admitted: AtomicU64,
    /// Handshakes that came to nothing.
    pub failed: AtomicU64,
    /// Connections that have not proven a key, closed to make room for newer ones.
    pub evicted: AtomicU64,
    /// Connections in a handshake now.
    pub unproven: AtomicU64,
    /// Connected peers now.
    pub connected: AtomicU64,
    /// Messages from peers.
    pub incoming: AtomicU64,
    /// Messages to peers.
    pub outgoing: AtomicU64,
    /// Messages that were answered with an error because nobody has the identity, or its queue is full.
    pub unroutable: AtomicU64,
    /// Frames that were no VIP message.
    pub malformed: AtomicU64,
}

/// What all connections share.
pub(crate) struct Shared {
    pub bus: Bus,
    pub config: Config,
    pub facts: Facts,
    pub authenticator: Arc<dyn Authenticator>,
    pub holders: Holders,
    pub platforms: Arc<Platforms>,
    pub channels: ZmqChannels,
    pub statistics: Arc<Statistics>,
    /// Counts what the authenticator says may have changed.
    pub generation: watch::Receiver<u64>,
    pub stop: CancellationToken,
    next_connection: AtomicU64,
    unproven: Mutex<BTreeMap<u64, CancellationToken>>,
    computing: Semaphore,
}

impl Endpoint {
    /// Binds every place; the first one in the abstract namespace or file system is the local address.
    ///
    /// # Errors
    /// [`EndpointError`] names the address; nothing stays bound then.
    pub fn bind(places: &[Listen]) -> Result<Self, EndpointError> {
        let mut endpoint = Self { listeners: Vec::new(), addresses: Vec::new(), local_address: String::new() };
        for place in places {
            let (listener, address) = place.bind()?;
            match &listener {
                Listener::Tcp(_) => endpoint.addresses.push(address),
                Listener::Unix(_) if endpoint.local_address.is_empty() => endpoint.local_address = address,
                Listener::Unix(_) => {}
            }
            endpoint.listeners.push(listener);
        }
        Ok(endpoint)
    }

    /// Addresses for other machines, with real ports.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Serves until `stop`, then closes all connections.
    pub async fn serve(self, parts: Parts, stop: CancellationToken) {
        let Parts { config, facts, .. } = parts;
        let (changed, generation) = watch::channel(0);
        let facts = Facts {
            addresses: self.addresses,
            local_address: self.local_address,
            server_key: config.keys.as_ref().map(|keys| keys.public),
            ..facts
        };
        let shared = Arc::new(Shared {
            bus: parts.bus,
            config,
            facts,
            authenticator: parts.authenticator,
            holders: Holders::default(),
            platforms: parts.platforms,
            channels: parts.channels,
            statistics: parts.statistics,
            generation,
            stop,
            next_connection: AtomicU64::new(1),
            unproven: Mutex::default(),
            computing: Semaphore::new(1),
        });
        let tasks = TaskTracker::new();
        for listener in self.listeners {
            tasks.spawn(accept(listener, Arc::clone(&shared), tasks.clone()));
        }
        tasks.spawn(follow(Arc::clone(&shared), changed));
        shared.stop.cancelled().await;
        tasks.close();
        if tokio::time::timeout(CLOSE_LIMIT, tasks.wait()).await.is_err() {
            tracing::warn!(connections = tasks.len(), "some connections did not close in time");
        }
    }
}

/// Passes on that verdicts may have changed.
async fn follow(shared: Arc<Shared>, changed: watch::Sender<u64>) {
    let mut seen = 0;
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            generation = shared.authenticator.changed(seen) => {
                seen = generation;
                changed.send_replace(generation);
            }
        }
    }
}

async fn accept(listener: Listener, shared: Arc<Shared>, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                shared.statistics.accepted.fetch_add(1, Relaxed);
                tasks.spawn(connection(stream, address, Arc::clone(&shared)));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: Stream, address: String, shared: Arc<Shared>) {
    let id = shared.next_connection.fetch_add(1, Relaxed);
    let mut wire = Wire::new(stream, handshake::connection(&shared.config));
    let admitted = {
        let place = Unproven::enter(&shared, id);
        let handshake = handshake::admit(&mut wire, &shared.config, &address, shared.authenticator.as_ref(), &shared.computing);
        tokio::select! {
            () = place.evicted.cancelled() => return,
            () = shared.stop.cancelled() => return,
            outcome = tokio::time::timeout(shared.config.handshake_limit, handshake) => outcome,
        }
    };
    let admitted = match admitted {
        Ok(Ok(admitted)) => admitted,
        Ok(Err(error)) => {
            shared.statistics.failed.fetch_add(1, Relaxed);
            tracing::debug!(%error, address, "a handshake failed");
            return;
        }
        Err(_) => {
            shared.statistics.failed.fetch_add(1, Relaxed);
            return;
        }
    };
    if shared.statistics.connected.fetch_add(1, Relaxed) >= shared.config.connections_max as u64 {
        tracing::warn!(address, "a peer was turned away: the endpoint has its maximum of connections");
    } else {
        shared.statistics.admitted.fetch_add(1, Relaxed);
        let identity = admitted.attempt.identity.clone();
        let error = Session::new(Arc::clone(&shared), id, admitted).run(wire).await;
        tracing::debug!(%identity, %error, "a connection ended");
    }
    shared.statistics.connected.fetch_sub(1, Relaxed);
}

/// A place among the connections that have proven nothing.
struct Unproven {
    shared: Arc<Shared>,
    id: u64,
    evicted: CancellationToken,
}

impl Unproven {
    fn enter(shared: &Arc<Shared>, id: u64) -> Self {
        let evicted = CancellationToken::new();
        let mut places = shared.unproven.lock();
        if places.len() >= shared.config.unproven_max
            && let Some((_, oldest)) = places.pop_first()
        {
            oldest.cancel();
            shared.statistics.evicted.fetch_add(1, Relaxed);
        }
        places.insert(id, evicted.clone());
        shared.statistics.unproven.store(places.len() as u64, Relaxed);
        drop(places);
        Self { shared: Arc::clone(shared), id, evicted }
    }
}

impl Drop for Unproven {
    fn drop(&mut self) {
        let mut places = self.shared.unproven.lock();
        places.remove(&self.id);
        self.shared.statistics.unproven.store(places.len() as u64, Relaxed);
    }
}
