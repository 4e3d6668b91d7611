//! Back-off after wrong attempts, per address and per user. A few wrong ones are free; from then on each makes the next wait longer.
//! A user's wait is kept short, so that a stranger cannot lock somebody out for long.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use chrono::Duration;
use parking_lot::Mutex;
use vt_types::timestamp::Timestamp;

/// Wrong attempts in a row that are free.
pub const ATTEMPTS_FREE: u32 = 10;
/// First wait.
const WAIT_FIRST_S: i64 = 30;
/// Longest wait of an address.
const WAIT_ADDRESS_MAX_S: i64 = 15 * 60;
/// Longest wait of a user, and of the setup code.
const WAIT_NAME_MAX_S: i64 = 60;
/// Attempts are forgotten after so long without one.
const FORGOTTEN_S: i64 = 30 * 60;
/// Addresses and names remembered; beyond, the one that was quiet for longest is forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// What attempts are counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A network address; of IPv6 the /64, which one customer owns as a whole.
    Address(IpAddr),
    /// A user name, known or not.
    User(String),
    /// The setup code.
    SetupCode,
}

impl Key {
    pub fn address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            v4 => v4,
        })
    }
}

/// Remembers wrong attempts.
#[derive(Debug, Default)]
pub struct Limiter(Mutex<HashMap<Key, Attempts>>);

#[derive(Debug)]
struct Attempts {
    wrong: u32,
    last: Timestamp,
    blocked_until: Timestamp,
}

impl Limiter {
    /// How many seconds to wait before the next attempt, if at all.
    pub fn wait_s(&self, keys: &[Key], now: Timestamp) -> Option<u64> {
        let remembered = self.0.lock();
        let waits = keys.iter().filter_map(|key| remembered.get(key)).map(|attempts| (attempts.blocked_until - now).num_milliseconds());
        waits.max().filter(|wait_ms| *wait_ms > 0).map(|wait_ms| u64::try_from(wait_ms.div_euclid(1000) + 1).unwrap_or(1))
    }

    /// Counts a wrong attempt.
    pub fn wrong(&self, keys: &[Key], now: Timestamp) {
        let mut remembered = self.0.lock();
        for key in keys {
            make_room(&mut remembered, key, now);
            let attempts = remembered.entry(key.clone()).or_insert(Attempts { wrong: 0, last: now, blocked_until: now });
            if is_forgotten(attempts, now) {
                attempts.wrong = 0;
            }
            attempts.wrong = attempts.wrong.saturating_add(1);
            attempts.last = now;
            if attempts.wrong >= ATTEMPTS_FREE {
                let longest = if matches!(key, Key::Address(_)) { WAIT_ADDRESS_MAX_S } else { WAIT_NAME_MAX_S };
                let doublings = (attempts.wrong - ATTEMPTS_FREE).min(10);
                attempts.blocked_until = now + Duration::seconds((WAIT_FIRST_S << doublings).min(longest));
            }
        }
    }

    /// A right attempt: the count starts anew.
    pub fn right(&self, keys: &[Key]) {
        let mut remembered = self.0.lock();
        for key in keys {
            remembered.remove(key);
        }
    }

    /// Forgets what is old.
    pub fn prune(&self, now: Timestamp) {
        self.0.lock().retain(|_, attempts| !is_forgotten(attempts, now));
    }
}

fn is_forgotten(attempts: &Attempts, now: Timestamp) -> bool {
    now - attempts.last > Duration::seconds(FORGOTTEN_S)
}

fn make_room(remembered: &mut HashMap<Key, Attempts>, key: &Key, now: Timestamp) {
    if remembered.len() < REMEMBERED_MAX || remembered.contains_key(key) {
        return;
    }
    remembered.retain(|_, attempts| !is_forgotten(attempts, now));
    if remembered.len() >= REMEMBERED_MAX
        && let Some(quietest) = remembered.iter().min_by_key(|(_, attempts)| attempts.last).map(|(key, _)| key.clone())
    {
        remembered.remove(&quietest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::default() + Duration::seconds(seconds)
    }

    fn user(name: &str) -> Vec<Key> {
        vec![Key::User(name.to_owned())]
    }

    #[test]
    fn ten_wrong_ones_in_a_row_make_the_next_wait_and_the_wait_grows() {
        let limiter = Limiter::default();
        let keys = [Key::address("10.0.0.1".parse().unwrap())];
        for _ in 0..9 {
            limiter.wrong(&keys, at(0));
        }
        assert_eq!(limiter.wait_s(&keys, at(0)), None);
        limiter.wrong(&keys, at(0));
        assert_eq!(limiter.wait_s(&keys, at(0)), Some(31));
        assert_eq!(limiter.wait_s(&keys, at(30)), None);
        limiter.wrong(&keys, at(30));
        assert_eq!(limiter.wait_s(&keys, at(30)), Some(61));
        assert_eq!(limiter.wait_s(&[Key::address("10.0.0.2".parse().unwrap())], at(30)), None);
    }

    #[test]
    fn a_right_one_starts_anew_and_a_user_is_never_locked_out_for_long() {
        let limiter = Limiter::default();
        for _ in 0..100 {
            limiter.wrong(&user("dana"), at(0));
        }
        assert_eq!(limiter.wait_s(&user("dana"), at(0)), Some(61));
        limiter.right(&user("dana"));
        assert_eq!(limiter.wait_s(&user("dana"), at(0)), None);
    }

    #[test]
    fn an_ipv6_customer_is_one_address() {
        let (a, b) = (Key::address("2001:db8::1".parse().unwrap()), Key::address("2001:db8::ffff:2".parse().unwrap()));
        assert_eq!(a, b);
        assert_eq!(Key::address("::ffff:10.0.0.1".parse().unwrap()), Key::address("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn memory_is_bounded_and_old_attempts_are_forgotten() {
        let limiter = Limiter::default();
        for n in 0..REMEMBERED_MAX + 100 {
            limiter.wrong(&user(&n.to_string()), at(0));
        }
        assert!(limiter.0.lock().len() <= REMEMBERED_MAX);
        limiter.prune(at(FORGOTTEN_S + 1));
        assert!(limiter.0.lock().is_empty());
    }
}
