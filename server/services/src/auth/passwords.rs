//! Hashing and checking passwords with argon2id. Costly on purpose: runs on blocking threads, a few at a time, with a bounded queue.
//! Source: RFC 9106; VOLTTRON's users file has PHC strings with `m=102400,t=2,p=8`.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::PasswordPolicy;
use crate::ServiceError;

/// Hashings at the same time; each needs its memory and a core.
const RUNNING_MAX: usize = 2;
/// Log-ins that wait for their turn; further ones are told to come back.
const WAITING_MAX: usize = 64;
/// Most memory that a stored hash may demand, KiB; one that wants more is not usable.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// Most passes and lanes that a stored hash may demand.
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 64;

/// Hashes passwords and checks them.
pub struct Passwords {
    policy: PasswordPolicy,
    queue: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

/// A turn to hash. Held while hashing.
pub struct Turn {
    _place: OwnedSemaphorePermit,
    _running: OwnedSemaphorePermit,
}

impl Passwords {
    pub fn new(policy: PasswordPolicy) -> Result<Self, ServiceError> {
        params(policy)?;
        let queue = Arc::new(Semaphore::new(RUNNING_MAX + WAITING_MAX));
        Ok(Self { policy, queue, running: Arc::new(Semaphore::new(RUNNING_MAX)) })
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// `RateLimited` when too many wait.
    pub async fn turn(&self) -> Result<Turn, ServiceError> {
        let place = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| ServiceError::RateLimited { retry_after_s: 1 })?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|error| ServiceError::Internal(error.to_string()))?;
        Ok(Turn { _place: place, _running: running })
    }

    /// The PHC string of a new password.
    pub async fn hash(&self, turn: Turn, password: &str) -> Result<String, ServiceError> {
        let (params, password) = (params(self.policy)?, password.to_owned());
        blocking(turn, move || {
            let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password(password.as_bytes());
            hash.map(|hash| hash.to_string()).map_err(|error| ServiceError::Internal(format!("hashing a password: {error}")))
        })
        .await?
    }

    /// Whether `password` is that of `hash`. Without a hash it takes as long as with one of cost `alike`, and the answer is no.
    pub async fn verify(&self, turn: Turn, password: &str, hash: Option<&str>, alike: PasswordPolicy) -> Result<bool, ServiceError> {
        let (password, hash) = (password.to_owned(), hash.map(str::to_owned));
        let dummy = params(alike)?;
        blocking(turn, move || match hash {
            Some(hash) => Argon2::default().verify_password(password.as_bytes(), hash.as_str()).is_ok(),
            None => {
                let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
                let work = Argon2::new(Algorithm::Argon2id, Version::V0x13, dummy);
                // Only the time that it takes matters.
                let worked = work.hash_password_into(password.as_bytes(), b"no such user here", &mut out).is_ok();
                std::hint::black_box((worked, out));
                false
            }
        })
        .await
    }

    /// Whether a stored hash is cheaper to guess than policy wants.
    pub fn is_below_policy(&self, hash: &str) -> bool {
        match cost(hash) {
            Some(cost) => !hash.starts_with("$argon2id$") || cost.memory_kib < self.policy.memory_kib || cost.passes < self.policy.passes,
            None => false,
        }
    }

    pub fn policy(&self) -> PasswordPolicy {
        self.policy
    }
}

async fn blocking<T: Send + 'static>(turn: Turn, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ServiceError> {
    let task = tokio::task::spawn_blocking(move || {
        let result = work();
        drop(turn);
        result
    });
    task.await.map_err(|error| ServiceError::Internal(format!("hashing a password: {error}")))
}

fn params(policy: PasswordPolicy) -> Result<Params, ServiceError> {
    Params::new(policy.memory_kib, policy.passes, policy.lanes, None)
        .map_err(|error| ServiceError::Internal(format!("the cost of password hashing cannot be used: {error}")))
}

/// What checking against a stored hash costs; `None` if it is no argon2 hash or costs more than we are ready to pay.
pub fn cost(hash: &str) -> Option<PasswordPolicy> {
    let parsed = PasswordHash::new(hash).ok()?;
    if !hash.starts_with("$argon2") || parsed.hash.is_none() || parsed.salt.is_none() {
        return None;
    }
    let params = Params::try_from(&parsed).ok()?;
    let cost = PasswordPolicy { memory_kib: params.m_cost(), passes: params.t_cost(), lanes: params.p_cost() };
    (cost.memory_kib <= MEMORY_KIB_MAX && cost.passes <= PASSES_MAX && cost.lanes <= LANES_MAX).then_some(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: PasswordPolicy = PasswordPolicy { memory_kib: 64, passes: 1, lanes: 1 };

    #[tokio::test]
    async fn a_hash_of_volttrons_cost_verifies() {
        let cost = PasswordPolicy { memory_kib: 102_400, passes: 2, lanes: 8 };
        let passwords = Passwords::new(cost).unwrap();
        let hash = passwords.hash(passwords.turn().await.unwrap(), "s3cret-harbor").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=102400,t=2,p=8$"), "{hash}");
        let ours = Passwords::new(CHEAP).unwrap();
        assert!(ours.verify(ours.turn().await.unwrap(), "s3cret-harbor", Some(&hash), CHEAP).await.unwrap());
        assert!(!ours.verify(ours.turn().await.unwrap(), "s3cret-harbour", Some(&hash), CHEAP).await.unwrap());
        assert!(!ours.is_below_policy(&hash));
        assert!(Passwords::new(PasswordPolicy { passes: 3, ..cost }).unwrap().is_below_policy(&hash));
    }

    #[test]
    fn hashes_that_are_none_or_cost_too_much_are_not_usable() {
        for bad in [
            "",
            "password",
            "$2b$12$abcdefghijklmnopqrstuv",
            "$argon2id$v=19$m=102400,t=2,p=8",
            "$argon2id$v=19$m=4000000,t=2,p=8$c2FsdHNhbHQ$UGFzc3dvcmRQYXNzd29yZA",
        ] {
            assert_eq!(cost(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn too_many_waiting_log_ins_are_told_to_come_back() {
        let passwords = Passwords::new(CHEAP).unwrap();
        let mut turns = Vec::new();
        for _ in 0..RUNNING_MAX {
            turns.push(passwords.turn().await.unwrap());
        }
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(passwords.turn())).collect();
        for turn in &mut waiting {
            assert!(futures_util::poll!(turn.as_mut()).is_pending());
        }
        assert_eq!(passwords.turn().await.err(), Some(ServiceError::RateLimited { retry_after_s: 1 }));
    }
}
