//! Peers from outside: who may connect, and what they may do. Transports ask it through [`Authenticator`]; the interceptor of the bus asks
//! it about capabilities.
//!
//! Map: `config`; `rules` (the records made ready for deciding, pure), `powers` (the same of what the modular generation says), `rights`
//! (capabilities against a call, pure), `questions` (what the policy and peers ask); `attempts` (who waits for a decision), `book` (the
//! records in step with `auth.json`), `own` (the platform's keys and entries), `agents` (entries of installed agents); `edits` (changes by
//! people and peers), `named` (groups and roles one by one), `authz` (roles, groups and agents of the modular generation), `methods` (who may
//! call which method of an agent), `hosts` (server keys of platforms); `push` (telling peers of changes), `rpc` (what `platform.auth`
//! answers), `resting` (the same with the server down).
//! Source: vip-zmq.md §1.4 to §1.6 and §8.3 to §8.6; VOLTTRON `volttron/platform/auth/`.
//!
//! Invariants: an unknown key is never answered, it waits; a broken file admits nobody new and is not overwritten; the identities of the
//! platform's services are for nobody outside, but `control.connection` for the platform's own keys; everything kept in memory for
//! strangers is bounded.
//!
//! Differs from VOLTTRON: a denied or disabled key is refused even if a pattern would let it in; an entry's identity is enforced, and an
//! identity that an entry claims is for that entry alone.

mod agents;
mod attempts;
mod authz;
#[cfg(test)]
mod authz_tests;
mod book;
mod config;
mod edits;
mod hosts;
mod methods;
mod named;
mod own;
mod powers;
mod push;
mod questions;
mod resting;
pub(crate) mod rights;
mod rpc;
pub(crate) mod rules;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;
use vt_backends::{AuthEntry, Authenticator, ConnectAttempt, KeyOwner, KeyRepository, PeerAuthRecords, PeerAuthRepository, Proof, Verdict};
use vt_types::identity::known;
use vt_types::{Clock, Identity, PublicKey};

use self::attempts::Attempts;
use self::book::Book;
use self::rules::{DOMAIN, Decision};
use crate::{Audit, Caller, ServiceError, StartError};

pub use attempts::{ATTEMPTS_MAX, PendingAttempt, Seen};
pub use config::{Admission, PeerAuthConfig};
pub use edits::Rights;
pub use named::Change;
pub(crate) use push::tell_peers;
pub use resting::RestingAuth;
pub(crate) use rpc::export;

/// How often the stored records are looked at.
const POLL_PERIOD: Duration = Duration::from_secs(1);
/// Entries that setup mode makes per start; further unknown keys wait for a decision.
const SETUP_ENTRIES_MAX: u64 = 1000;
/// What VOLTTRON writes into entries that came from an attempt.
const SETUP_COMMENT: &str = "Auth entry added in setup mode";
/// Lets an agent install, start, stop and remove agents and end the platform. Ours: VOLTTRON 6 and 9 let every peer do that, the modular
/// generation none but those it names.
pub const CONTROL_CAPABILITY: &str = "control_agents";
/// Lets an agent change who may connect and what they may do, as in VOLTTRON.
pub const AUTH_CAPABILITY: &str = "allow_auth_modifications";

/// The peers.
pub struct PeerAuth {
    config: PeerAuthConfig,
    book: Book,
    keys: Arc<dyn KeyRepository>,
    /// The platform's own keys by their holder; written once at the start.
    own: HashMap<PublicKey, Identity>,
    installed: Arc<dyn InstalledAgents>,
    attempts: Mutex<Attempts>,
    setup_entries: std::sync::atomic::AtomicU64,
    generation: watch::Sender<u64>,
    audit: Arc<Audit>,
    clock: Arc<dyn Clock>,
}

/// Which agents are installed on this machine; each may change its own configuration.
pub(crate) trait InstalledAgents: Send + Sync {
    /// All of them.
    fn identities(&self) -> Vec<Identity>;
    /// Whether one has this identity.
    fn has(&self, identity: &str) -> bool;
}

/// What [`PeerAuth`] is built from.
pub(crate) struct PeerAuthDeps {
    pub config: PeerAuthConfig,
    pub records: Arc<dyn PeerAuthRepository>,
    pub keys: Arc<dyn KeyRepository>,
    pub installed: Arc<dyn InstalledAgents>,
    pub audit: Arc<Audit>,
    pub clock: Arc<dyn Clock>,
}

impl PeerAuth {
    /// Reads the records, makes the keys and entries that the platform needs itself, and writes the files in which agents look for them.
    pub(crate) async fn open(deps: PeerAuthDeps) -> Result<Self, StartError> {
        let book = Book::open(Arc::clone(&deps.records)).await?;
        let own = own::prepare(&book, deps.keys.as_ref(), &deps.config.hosts).await?;
        Ok(Self::of(deps, book, own))
    }

    fn of(deps: PeerAuthDeps, book: Book, own: HashMap<PublicKey, Identity>) -> Self {
        let PeerAuthDeps { config, records: _, keys, installed, audit, clock } = deps;
        let (generation, _) = watch::channel(1);
        let (attempts, setup_entries) = (Mutex::default(), std::sync::atomic::AtomicU64::new(0));
        Self { config, book, keys, own, installed, attempts, setup_entries, generation, audit, clock }
    }

    /// Keeps step with the stored records, until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(POLL_PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.refresh().await;
        }
    }

    /// Reads the stored records again if they changed.
    async fn refresh(&self) {
        match self.book.refresh().await {
            Ok(true) => {
                self.forget_decided();
                self.announce();
            }
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "auth.json cannot be looked at"),
        }
    }

    /// Who gets in.
    #[must_use]
    pub fn admission(&self) -> Admission {
        self.config.admission
    }

    /// The platform's public key, with which its endpoints prove themselves.
    #[must_use]
    pub fn server_key(&self) -> Option<PublicKey> {
        self.own.iter().find(|(_, holder)| holder.as_str() == known::PLATFORM).map(|(key, _)| *key)
    }

    /// All records.
    #[must_use]
    pub fn records(&self) -> PeerAuthRecords {
        self.book.current().records.clone()
    }

    /// What is wrong with `auth.json`, if anything; the records are as they were before.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.book.problem()
    }

    /// Who waits for a decision, newest sign of life first.
    #[must_use]
    pub fn pending(&self) -> Vec<PendingAttempt> {
        self.attempts.lock().pending().iter().rev().cloned().collect()
    }

    /// Attempts that were forgotten because more than [`ATTEMPTS_MAX`] waited.
    #[must_use]
    pub fn dropped_attempts(&self) -> u64 {
        self.attempts.lock().dropped()
    }

    /// How often somebody on the deny list tried since the platform started.
    #[must_use]
    pub fn denied_retries(&self, user_id: &str) -> u64 {
        self.attempts.lock().denied_retries(user_id)
    }

    /// When a user of the allow list connected since the platform started.
    #[must_use]
    pub fn seen(&self, user_id: &str) -> Option<Seen> {
        self.attempts.lock().seen(user_id)
    }

    /// Reads the stored records now if they changed.
    pub(crate) async fn reload(&self) {
        self.refresh().await;
    }

    /// The user id of an identity: that of its entry, else the identity itself, which is right for peers of this process and where user
    /// ids are asked for anyway.
    pub(crate) fn user_of(&self, identity: &str) -> String {
        let current = self.book.current();
        if current.rules.users().contains_key(identity) {
            return identity.to_owned();
        }
        let bound =
            current.records.allow.iter().find(|entry| entry.enabled && entry.identity.as_ref().is_some_and(|own| own.as_str() == identity));
        bound.map_or_else(|| identity.to_owned(), |entry| entry.user_id.clone())
    }

    /// The public key of a peer: that of its stored pair, else that of its allow entry.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn public_key(&self, identity: &str) -> Result<Option<PublicKey>, ServiceError> {
        let owner = match Identity::parse(identity) {
            Ok(_) if identity == known::PLATFORM => Some(KeyOwner::Platform),
            // Names of dots alone have no place for keys.
            Ok(name) if !identity.bytes().all(|byte| byte == b'.') => Some(KeyOwner::Peer(name)),
            _ => None,
        };
        if let Some(owner) = owner
            && let Some(pair) = self.keys.load(&owner).await?
        {
            return Ok(Some(pair.public));
        }
        let user = self.user_of(identity);
        let current = self.book.current();
        let entry = current.records.allow.iter().find(|entry| entry.user_id == user);
        Ok(entry.and_then(|entry| entry.credentials.texts().iter().find_map(|text| PublicKey::parse(text).ok())))
    }

    fn is_installed(&self, identity: &str) -> bool {
        self.installed.has(identity)
    }

    /// A verdict may have changed.
    fn announce(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Attempts about which the records say something now need nobody's decision any more.
    fn forget_decided(&self) {
        let current = self.book.current();
        self.attempts.lock().retain(|pending| {
            let proof = pending.key.map_or(Proof::Null, Proof::Curve);
            // Patterns for local addresses see a process id, which is not kept.
            let address =
                if pending.address.starts_with("localhost:") { format!("{}:0", pending.address) } else { pending.address.clone() };
            let attempt = ConnectAttempt { proof, address, identity: pending.identity.clone() };
            current.rules.decide(&attempt) == Decision::Unknown
        });
    }

    fn decide(&self, attempt: &ConnectAttempt) -> Decision {
        let wanted = attempt.identity.as_str();
        let holder = match attempt.proof {
            Proof::Null => None,
            Proof::Curve(key) => self.own.get(&key),
        };
        let is_tool = holder.is_some_and(|holder| matches!(holder.as_str(), known::CONTROL_CONNECTION | known::PLATFORM));
        if is_tool && wanted == known::CONTROL_CONNECTION {
            // Command line tools of VOLTTRON 6 connect with the platform's key, those of 9 with one of their own.
            return Decision::Admit(Arc::from(wanted));
        }
        if self.config.admission == Admission::Open {
            let is_free = wanted == known::CONTROL_CONNECTION || !known::is_reserved(wanted);
            return if is_free { Decision::Admit(Arc::from(wanted)) } else { Decision::Refuse(belongs_to_service(&attempt.identity)) };
        }
        if known::is_reserved(wanted) {
            return Decision::Refuse(belongs_to_service(&attempt.identity));
        }
        let current = self.book.current();
        match current.rules.decide(attempt) {
            Decision::Unknown if self.is_own_process(attempt) && !current.rules.is_bound(&attempt.identity) => {
                Decision::Admit(Arc::from(local_user(&attempt.address)))
            }
            decision => decision,
        }
    }

    /// Processes of the server's own user need no key at the local socket.
    fn is_own_process(&self, attempt: &ConnectAttempt) -> bool {
        let uid = attempt.address.strip_prefix("localhost:").and_then(|rest| rest.split(':').next());
        attempt.proof == Proof::Null && uid.is_some_and(|uid| uid.parse() == Ok(self.config.own_uid))
    }

    /// Lets an unknown key in and writes that down.
    async fn admit_new(&self, key: PublicKey, attempt: &ConnectAttempt) -> Result<Arc<str>, ServiceError> {
        let mut entry = AuthEntry::for_key(key, &uuid::Uuid::new_v4().to_string());
        entry.comments = Some(SETUP_COMMENT.to_owned());
        let user_id: Arc<str> = Arc::from(entry.user_id.as_str());
        let added = self.book.change(|records| {
            // Two connections of one new key at the same time.
            if let Some(known) = records.allow.iter().find(|known| known.names_key(key)) {
                return Ok(Arc::from(known.user_id.as_str()));
            }
            records.allow.push(entry);
            Ok(Arc::clone(&user_id))
        });
        let added = added.await;
        if added.is_ok() {
            self.announce();
        }
        let detail = format!("key {key} of {} from {}", attempt.identity, attempt.address);
        self.audit.record(&Caller::setup_mode(), "peer.add", &user_id, added.as_ref().map(|_| detail.as_str())).await;
        added
    }
}

#[async_trait]
impl Authenticator for PeerAuth {
    async fn admit(&self, attempt: &ConnectAttempt) -> Verdict {
        match (self.decide(attempt), attempt.proof) {
            (Decision::Admit(user_id), _) => {
                self.attempts.lock().note_admitted(&user_id, &attempt.address, self.clock.now());
                Verdict::Admitted { user_id }
            }
            (Decision::Deny(user_id), _) => {
                self.attempts.lock().note_denied(&user_id);
                Verdict::Refused(format!("its key is on the deny list as {user_id}"))
            }
            (Decision::Refuse(reason), _) => Verdict::Refused(reason),
            (Decision::Unknown, Proof::Curve(key)) if self.may_set_up() => match self.admit_new(key, attempt).await {
                Ok(user_id) => Verdict::Admitted { user_id },
                Err(error) => {
                    tracing::warn!(%error, identity = %attempt.identity, "setup mode could not write an auth entry");
                    Verdict::Pending
                }
            },
            (Decision::Unknown, _) => {
                if self.attempts.lock().note(attempt, self.clock.now()) {
                    tracing::info!(identity = %attempt.identity, address = attempt.address, "a peer with an unknown key waits for approval");
                }
                Verdict::Pending
            }
        }
    }

    fn judge(&self, attempt: &ConnectAttempt) -> Verdict {
        match self.decide(attempt) {
            Decision::Admit(user_id) => Verdict::Admitted { user_id },
            Decision::Deny(user_id) => Verdict::Refused(format!("its key is on the deny list as {user_id}")),
            Decision::Refuse(reason) => Verdict::Refused(reason),
            Decision::Unknown => Verdict::Pending,
        }
    }

    async fn changed(&self, seen: u64) -> u64 {
        let mut generation = self.generation.subscribe();
        loop {
            let now = *generation.borrow_and_update();
            if now > seen {
                return now;
            }
            // The sender is part of this service and so outlives the wait.
            if generation.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl PeerAuth {
    fn may_set_up(&self) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        self.config.admission == Admission::Setup && self.setup_entries.fetch_add(1, Relaxed) < SETUP_ENTRIES_MAX
    }
}

fn belongs_to_service(identity: &Identity) -> String {
    format!("the identity {identity} belongs to a service of the platform")
}

/// The user id that VOLTTRON makes up for such peers: `domain,address,mechanism`, with `\` before what would separate.
fn local_user(address: &str) -> String {
    let escaped = address.replace('\\', "\\\\").replace(',', "\\,");
    format!("{DOMAIN},{escaped},NULL")
}
