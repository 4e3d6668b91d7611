//! The connecting side: a dealer socket that connects to one router, and again whenever the connection is lost. For links to other
//! platforms, and for tests and measurements as a peer that is not Python.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use omq_proto::proto::{ConnectionConfig, Role, SocketType};
use omq_proto::{CurvePublicKey, MechanismSetup};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use vt_types::{Identity, PublicKey};
use vt_vip::Message;

use crate::address::{AddressError, Listen};
use crate::config::KeyPair;
use crate::wire::{Wire, WireError};

/// Of the random part of an identity.
const RANDOM_CHARACTERS: usize = 12;

/// How a dealer connects.
#[derive(Debug, Clone)]
pub struct DealerConfig {
    /// The router's VIP address.
    pub address: String,
    /// The router's key; `None` for a router without keys.
    pub server_key: Option<PublicKey>,
    /// Our key pair; used with a server key only.
    pub keys: KeyPair,
    /// The identity that is asked for.
    pub identity: Identity,
    /// Asks for the identity with a point and a random part that is another one for each connection. For who is not called by its name: a
    /// router of libzmq does not serve a second connection of a name before it has noticed the end of the first, which takes a quarter of an
    /// hour when the line was cut.
    pub is_renamed: bool,
    /// Messages that may wait in either direction. When full, [`Dealer::send`] waits, and the router is not read from.
    pub queue_max: usize,
    /// Wait before the first new attempt; doubled up to `retry_max`.
    pub retry_min: Duration,
    /// Longest wait between attempts.
    pub retry_max: Duration,
    /// How long a handshake may take; a router that has to approve our key first does not answer.
    pub handshake_limit: Duration,
    /// Largest message, bytes.
    pub message_bytes_max: usize,
}

impl DealerConfig {
    /// With VOLTTRON's high-water mark, and an attempt within a second.
    #[must_use]
    pub fn new(address: impl Into<String>, server_key: Option<PublicKey>, keys: KeyPair, identity: Identity) -> Self {
        Self {
            address: address.into(),
            server_key,
            keys,
            identity,
            is_renamed: false,
            queue_max: 6000,
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(1),
            handshake_limit: Duration::from_secs(30),
            message_bytes_max: 64 << 20,
        }
    }
}

/// Why a dealer cannot work.
#[derive(Debug, thiserror::Error)]
pub enum DealerError {
    /// The address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The dealer has ended.
    #[error("the connection was closed on this side")]
    Closed,
}

/// What reaches a dealer.
#[derive(Debug)]
pub enum DealerEvent {
    /// The handshake has succeeded. A router does not know us before we say something.
    Connected,
    /// The connection is lost or could not be made; the next attempt follows by itself.
    Disconnected(String),
    /// A message.
    Message(Message),
}

/// A connection that is made again whenever it is lost. What was sent into a lost connection may be lost with it. Dropping the dealer ends
/// it.
#[derive(Debug)]
pub struct Dealer {
    outgoing: mpsc::Sender<Message>,
    events: mpsc::Receiver<DealerEvent>,
    unanswered: Arc<AtomicBool>,
    _stop: DropGuard,
}

impl Dealer {
    /// Starts to connect. Must be called inside a runtime.
    ///
    /// # Errors
    /// [`DealerError::Address`].
    pub fn connect(config: DealerConfig) -> Result<Self, DealerError> {
        let place = Listen::parse(&config.address)?;
        let (outgoing, messages) = mpsc::channel(config.queue_max.max(1));
        let (sender, events) = mpsc::channel(config.queue_max.max(1));
        let stop = CancellationToken::new();
        let unanswered = Arc::new(AtomicBool::new(false));
        let task = Task { place, config, messages, events: sender, unanswered: Arc::clone(&unanswered) };
        let ended = stop.clone();
        // Owned by the dealer: it ends when the dealer is dropped.
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = task.run() => {}
            }
        });
        Ok(Self { outgoing, events, unanswered, _stop: stop.drop_guard() })
    }

    /// Queues a message; waits while the queue is full. While there is no connection, messages wait for the next one.
    ///
    /// # Errors
    /// [`DealerError::Closed`].
    pub async fn send(&self, message: Message) -> Result<(), DealerError> {
        self.outgoing.send(message).await.map_err(|_| DealerError::Closed)
    }

    /// What happens next. `None` once the dealer has ended.
    pub async fn next(&mut self) -> Option<DealerEvent> {
        self.events.recv().await
    }

    /// Whether somebody accepted the last connection and has not answered the handshake: our key is to be approved there, or the server's
    /// key is another one.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        self.unanswered.load(Relaxed)
    }

    /// A sender that outlives borrowing of the dealer.
    #[must_use]
    pub fn sender(&self) -> mpsc::Sender<Message> {
        self.outgoing.clone()
    }
}

struct Task {
    place: Listen,
    config: DealerConfig,
    messages: mpsc::Receiver<Message>,
    events: mpsc::Sender<DealerEvent>,
    unanswered: Arc<AtomicBool>,
}

impl Task {
    async fn run(mut self) {
        let mut wait = self.config.retry_min;
        loop {
            let error = match self.open().await {
                Ok(mut wire) => {
                    wait = self.config.retry_min;
                    if self.events.send(DealerEvent::Connected).await.is_err() {
                        return;
                    }
                    match self.exchange(&mut wire).await {
                        Ok(()) => return,
                        Err(error) => error.to_string(),
                    }
                }
                Err(error) => error,
            };
            if self.events.send(DealerEvent::Disconnected(error)).await.is_err() {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(self.config.retry_max);
        }
    }

    async fn open(&self) -> Result<Wire, String> {
        let mechanism = match self.config.server_key {
            Some(key) => MechanismSetup::CurveClient {
                our_keypair: self.config.keys.curve(),
                server_public: CurvePublicKey::from_bytes(*key.as_bytes()),
            },
            None => MechanismSetup::Null,
        };
        let mut identity = self.config.identity.to_string();
        if self.config.is_renamed {
            let random = KeyPair::throw_away().public.to_string().replace(['-', '_'], "0");
            identity = format!("{identity}.{}", &random[..RANDOM_CHARACTERS]);
        }
        let connection = ConnectionConfig::new(Role::Client, SocketType::Dealer)
            .identity(identity.into())
            .max_message_size(self.config.message_bytes_max)
            .mechanism(mechanism);
        self.unanswered.store(false, Relaxed);
        let shake = async {
            let mut wire = Wire::new(self.place.connect().await.map_err(WireError::from)?, connection);
            self.unanswered.store(true, Relaxed);
            while !wire.zmtp.is_ready() {
                wire.step(true).await?;
            }
            self.unanswered.store(false, Relaxed);
            Ok::<_, WireError>(wire)
        };
        match tokio::time::timeout(self.config.handshake_limit, shake).await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err("the router did not answer; it may have to approve our key".into()),
        }
    }

    /// Passes messages in both directions until the connection ends; `Ok` when nobody wants it any more.
    async fn exchange(&mut self, wire: &mut Wire) -> Result<(), WireError> {
        let mut batch = Vec::with_capacity(64);
        loop {
            while let Some(frames) = wire.next() {
                let Ok(message) = Message::decode(frames) else { continue };
                if self.events.send(DealerEvent::Message(message)).await.is_err() {
                    return Ok(());
                }
            }
            let has_room = wire.backlog() < 1 << 20;
            tokio::select! {
                result = wire.step(true) => result?,
                count = self.messages.recv_many(&mut batch, 64), if has_room => {
                    if count == 0 {
                        wire.flush().await?;
                        return Ok(());
                    }
                    for message in batch.drain(..) {
                        wire.send(message.into_frames())?;
                    }
                }
            }
        }
    }
}
