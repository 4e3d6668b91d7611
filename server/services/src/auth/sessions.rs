//! Which sessions are alive. Ended ones are kept until their last token has expired, in memory for speed and stored for restarts.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::broadcast;
use vt_backends::{RepositoryError, Revocation, RevocationRepository};
use vt_types::timestamp::Timestamp;

/// Ended sessions held for a slow follower; one that falls behind asks `is_active`.
const FOLLOWED_MAX: usize = 1024;
/// Sessions remembered so that they can be ended when their user changes; further ones end with their tokens.
const SEEN_MAX: usize = 100_000;

/// Which sessions are alive.
pub struct Sessions {
    records: Arc<dyn RevocationRepository>,
    revoked: DashMap<String, Timestamp>,
    seen: DashMap<String, Seen>,
    ended: broadcast::Sender<String>,
}

/// A session that somebody used.
#[derive(Debug, Clone)]
pub struct Seen {
    pub user: String,
    /// Groups that it was given.
    pub groups: Vec<String>,
    /// When its oldest token was made, UTC seconds.
    pub since_s: i64,
    expires_at: Timestamp,
}

impl Sessions {
    pub async fn open(records: Arc<dyn RevocationRepository>, now: Timestamp) -> Result<Self, RepositoryError> {
        let revoked = records.current(now).await?.into_iter().map(|revocation| (revocation.session, revocation.expires_at)).collect();
        Ok(Self { records, revoked, seen: DashMap::new(), ended: broadcast::channel(FOLLOWED_MAX).0 })
    }

    pub fn is_active(&self, session: &str) -> bool {
        !self.revoked.contains_key(session)
    }

    pub fn ended(&self) -> broadcast::Receiver<String> {
        self.ended.subscribe()
    }

    /// Remembers a session that is in use; `expires_at` is when its last token expires.
    pub fn remember(&self, session: &str, user: &str, groups: &[String], since_s: i64, expires_at: Timestamp) {
        if let Some(seen) = self.seen.get(session)
            && seen.expires_at >= expires_at
        {
            return;
        }
        if self.seen.len() < SEEN_MAX {
            let since_s = self.seen.get(session).map_or(since_s, |seen| seen.since_s.min(since_s));
            self.seen.insert(session.to_owned(), Seen { user: user.to_owned(), groups: groups.to_vec(), since_s, expires_at });
        }
    }

    /// Ends a session for good; it is over for everybody even if storing that fails.
    pub async fn end(&self, session: &str, expires_at: Timestamp) -> Result<(), RepositoryError> {
        self.end_here(session, expires_at);
        self.records.add(Revocation { session: session.to_owned(), expires_at }).await
    }

    /// Ends those sessions in use that are not `good` any more. Not stored: what made them bad is.
    pub fn end_unless(&self, good: impl Fn(&Seen) -> bool) {
        let bad: Vec<_> =
            self.seen.iter().filter(|entry| !good(entry.value())).map(|entry| (entry.key().clone(), entry.expires_at)).collect();
        for (session, expires_at) in bad {
            self.end_here(&session, expires_at);
        }
    }

    fn end_here(&self, session: &str, expires_at: Timestamp) {
        self.seen.remove(session);
        if self.revoked.insert(session.to_owned(), expires_at).is_none() {
            // An error means that nobody follows.
            drop(self.ended.send(session.to_owned()));
        }
    }

    /// Forgets what has expired, here and in the store.
    pub async fn prune(&self, now: Timestamp) -> Result<(), RepositoryError> {
        self.revoked.retain(|_, expires_at| *expires_at > now);
        self.seen.retain(|_, seen| seen.expires_at > now);
        self.records.current(now).await.map(drop)
    }
}
