//! Attempts that nobody decided on yet, in memory and bounded, and when admitted peers were seen.

use std::collections::HashMap;

use vt_backends::{ConnectAttempt, Proof};
use vt_types::timestamp::Timestamp;
use vt_types::{Identity, PublicKey};

/// Attempts kept; the one that was silent for longest makes room for a new one.
pub const ATTEMPTS_MAX: usize = 1000;
/// Users whose first and last connection is remembered; further ones are not.
const SEEN_MAX: usize = 10_000;

/// A peer that waits for a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingAttempt {
    /// Made up; names the attempt until it is decided, and the entry afterwards.
    pub user_id: String,
    /// From where, without a process id.
    pub address: String,
    /// Its key; `None` if it shows none.
    pub key: Option<PublicKey>,
    /// The identity that it asked for last.
    pub identity: Identity,
    /// How often it tried.
    pub retries: u64,
    /// When it tried first.
    pub first_seen: Timestamp,
    /// When it tried last.
    pub last_seen: Timestamp,
}

/// When an admitted user connected, since the platform started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// For the first time.
    pub first: Timestamp,
    /// For the last time.
    pub last: Timestamp,
    /// From where, the last time.
    pub address: String,
}

/// See the module.
#[derive(Default)]
pub struct Attempts {
    /// Oldest sign of life first.
    pending: Vec<PendingAttempt>,
    denied: HashMap<String, u64>,
    seen: HashMap<String, Seen>,
    /// Attempts that were dropped to make room.
    dropped: u64,
}

impl Attempts {
    /// Notes an attempt; says whether it is a new one.
    pub fn note(&mut self, attempt: &ConnectAttempt, now: Timestamp) -> bool {
        let (address, key) = (place(&attempt.address), key_of(attempt));
        let known = self.pending.iter().position(|pending| pending.key == key && pending.address == address);
        if let Some(index) = known {
            let mut pending = self.pending.remove(index);
            pending.retries += 1;
            (pending.last_seen, pending.identity) = (now, attempt.identity.clone());
            self.pending.push(pending);
            return false;
        }
        if self.pending.len() >= ATTEMPTS_MAX {
            self.pending.remove(0);
            self.dropped += 1;
        }
        let user_id = uuid::Uuid::new_v4().to_string();
        let identity = attempt.identity.clone();
        self.pending.push(PendingAttempt { user_id, address, key, identity, retries: 1, first_seen: now, last_seen: now });
        true
    }

    /// Counts an attempt of somebody who is denied.
    pub fn note_denied(&mut self, user_id: &str) {
        // Only user ids of entries come here, so there are no more of them than entries.
        *self.denied.entry(user_id.to_owned()).or_default() += 1;
    }

    /// How often somebody who is denied tried since the platform started.
    pub fn denied_retries(&self, user_id: &str) -> u64 {
        self.denied.get(user_id).copied().unwrap_or(0)
    }

    /// Notes a connection.
    pub fn note_admitted(&mut self, user_id: &str, address: &str, now: Timestamp) {
        if let Some(seen) = self.seen.get_mut(user_id) {
            (seen.last, seen.address) = (now, place(address));
        } else if self.seen.len() < SEEN_MAX {
            self.seen.insert(user_id.to_owned(), Seen { first: now, last: now, address: place(address) });
        }
    }

    /// When a user connected.
    pub fn seen(&self, user_id: &str) -> Option<Seen> {
        self.seen.get(user_id).cloned()
    }

    /// All that wait, oldest sign of life first.
    pub fn pending(&self) -> &[PendingAttempt] {
        &self.pending
    }

    /// Attempts that were dropped to make room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes an attempt out.
    pub fn take(&mut self, user_id: &str) -> Option<PendingAttempt> {
        let index = self.pending.iter().position(|pending| pending.user_id == user_id)?;
        Some(self.pending.remove(index))
    }

    /// Forgets attempts that have been decided by other means.
    pub fn retain(&mut self, is_pending: impl FnMut(&PendingAttempt) -> bool) {
        self.pending.retain(is_pending);
    }
}

/// A local peer's address without its process id: the next process of the same user is the same peer.
fn place(address: &str) -> String {
    match address.strip_prefix("localhost:").and_then(|rest| rest.rsplit_once(':')) {
        Some((user, _pid)) if user.contains(':') => format!("localhost:{user}"),
        _ => address.to_owned(),
    }
}

fn key_of(attempt: &ConnectAttempt) -> Option<PublicKey> {
    match attempt.proof {
        Proof::Null => None,
        Proof::Curve(key) => Some(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(n: u32, address: &str) -> ConnectAttempt {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let proof = Proof::Curve(PublicKey::new(bytes));
        ConnectAttempt { proof, address: address.to_owned(), identity: Identity::known("x") }
    }

    fn at(n: i64) -> Timestamp {
        Timestamp::from_timestamp(n, 0).unwrap()
    }

    #[test]
    fn repeated_attempts_are_one_whatever_process_makes_them() {
        let mut attempts = Attempts::default();
        assert!(attempts.note(&attempt(1, "localhost:1000:1000:77"), at(1)));
        assert!(!attempts.note(&attempt(1, "localhost:1000:1000:78"), at(5)));
        assert!(attempts.note(&attempt(1, "127.0.0.1"), at(6)));
        let first = &attempts.pending()[0];
        assert_eq!((first.retries, first.first_seen, first.last_seen), (2, at(1), at(5)));
        assert_eq!(first.address, "localhost:1000:1000");
        let id = first.user_id.clone();
        assert!(attempts.take(&id).is_some() && attempts.take(&id).is_none());
    }

    #[test]
    fn a_flood_of_keys_is_bounded_and_the_quietest_go() {
        let mut attempts = Attempts::default();
        for n in 0..10_000 {
            attempts.note(&attempt(n, "192.0.2.1"), at(i64::from(n)));
            attempts.note(&attempt(0, "192.0.2.1"), at(i64::from(n)));
        }
        assert_eq!((attempts.pending().len(), attempts.dropped()), (ATTEMPTS_MAX, 9_000));
        assert_eq!(attempts.pending().last().unwrap().retries, 10_001, "who keeps trying stays");
    }
}
