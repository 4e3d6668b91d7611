//! The users in memory, in step with the store that people and scripts edit beside us. What cannot be read never replaces what we have.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use vt_backends::repositories::Stamp;
use vt_backends::{RepositoryError, UserRecord, UserRepository, Users};

use super::{PasswordPolicy, names, passwords};
use crate::ServiceError;
use crate::caller::ADMIN_GROUP;

/// Key in a user's record: UTC seconds of the last change of password; older tokens are void.
const CHANGED_KEY: &str = "password_changed";

/// The users.
pub struct UserBook {
    store: Arc<dyn UserRepository>,
    users: ArcSwap<Users>,
    problem: Mutex<Option<String>>,
    /// Held while the store is read or written, so that changes take turns.
    stored: tokio::sync::Mutex<Stored>,
}

/// What is known of the store.
#[derive(Default)]
struct Stored {
    /// Mark of what was last read or written.
    stamp: Option<Stamp>,
    /// What it holds could not be understood; it is not to be overwritten.
    is_broken: bool,
}

impl UserBook {
    /// Reads the users. A store that cannot be understood gives no users and a problem.
    pub async fn open(store: Arc<dyn UserRepository>) -> Result<Self, RepositoryError> {
        let book = Self { users: ArcSwap::default(), problem: Mutex::default(), stored: tokio::sync::Mutex::default(), store };
        let mut stored = book.stored.lock().await;
        stored.stamp = book.store.stamp().await?;
        match book.store.load().await {
            Ok(users) => book.replace(users),
            Err(error @ RepositoryError::Corrupt { .. }) => {
                stored.is_broken = true;
                book.report(&error.to_string());
            }
            Err(error) => return Err(error),
        }
        drop(stored);
        Ok(book)
    }

    pub fn all(&self) -> Arc<Users> {
        self.users.load_full()
    }

    /// What is wrong with the stored users, if anything.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    /// Whether `user` exists and its tokens of `since_s` are good.
    pub fn is_good(&self, user: &str, since_s: i64) -> bool {
        self.users.load().get(user).is_some_and(|record| since_s >= changed_s(record))
    }

    /// Whether `user` is still in all these groups.
    pub fn is_in(&self, user: &str, groups: &[String]) -> bool {
        self.users.load().get(user).is_some_and(|record| groups.iter().all(|group| record.groups.contains(group)))
    }

    /// What checking the dearest of all stored passwords costs, so that an unknown user can be made to cost the same.
    pub fn cost_alike(&self, policy: PasswordPolicy) -> PasswordPolicy {
        let costs = self.users.load().values().filter_map(|record| passwords::cost(&record.hashed_password)).collect::<Vec<_>>();
        costs.into_iter().max_by_key(|cost| u64::from(cost.memory_kib) * u64::from(cost.passes)).unwrap_or(policy)
    }

    /// Reads the store again if it changed; says whether the users may be others now.
    pub async fn refresh(&self) -> bool {
        let mut stored = self.stored.lock().await;
        self.refresh_locked(&mut stored).await
    }

    /// Changes the users: reads what people changed meanwhile, applies `change`, stores, and only then uses the result.
    pub async fn change<T>(&self, change: impl FnOnce(&mut Users) -> Result<T, ServiceError>) -> Result<T, ServiceError> {
        let mut stored = self.stored.lock().await;
        self.refresh_locked(&mut stored).await;
        if stored.is_broken {
            let problem = self.problem().unwrap_or_default();
            return Err(ServiceError::Conflict(format!("the users cannot be changed until their file is repaired: {problem}")));
        }
        let mut users = Users::clone(&self.users.load());
        let result = change(&mut users)?;
        self.store.save(&users).await?;
        match self.store.stamp().await {
            Ok(stamp) => stored.stamp = stamp,
            Err(error) => tracing::warn!(%error, "the users file cannot be looked at"),
        }
        self.replace(users);
        Ok(result)
    }

    async fn refresh_locked(&self, stored: &mut Stored) -> bool {
        let stamp = match self.store.stamp().await {
            Ok(stamp) => stamp,
            Err(error) => {
                self.report(&error.to_string());
                return false;
            }
        };
        if stamp == stored.stamp {
            return false;
        }
        if stamp.is_none() {
            // Editors replace files; and no users at all would open the first-run page to whoever comes first.
            if !self.users.load().is_empty() {
                self.report("the users file is gone; the users are as they were");
            }
            *stored = Stored::default();
            return false;
        }
        match self.store.load().await {
            Ok(users) => {
                self.replace(users);
                tracing::info!(users = self.users.load().len(), "the users were read again");
                *stored = Stored { stamp, is_broken: false };
                true
            }
            Err(error) => {
                if matches!(error, RepositoryError::Corrupt { .. }) {
                    *stored = Stored { stamp, is_broken: true };
                }
                self.report(&format!("{error}; the users are as they were"));
                false
            }
        }
    }

    fn replace(&self, users: Users) {
        let unusable: Vec<&str> = users
            .iter()
            .filter(|(name, record)| names::check_user_name(name).is_err() || passwords::cost(&record.hashed_password).is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        let problem = (!unusable.is_empty()).then(|| {
            let names = unusable.iter().take(5).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            format!("these users cannot log in because their name or hashed_password (an argon2 hash) cannot be used: {names}")
        });
        match problem {
            Some(problem) => self.report(&problem),
            None => *self.problem.lock() = None,
        }
        self.users.store(Arc::new(users));
    }

    fn report(&self, problem: &str) {
        let mut current = self.problem.lock();
        if current.as_deref() != Some(problem) {
            tracing::warn!(problem, "something is wrong with the web users");
            *current = Some(problem.to_owned());
        }
    }
}

pub fn is_admin(record: &UserRecord) -> bool {
    record.groups.iter().any(|group| group == ADMIN_GROUP)
}

/// Makes tokens from before `now_s` void.
pub fn set_changed(record: &mut UserRecord, now_s: i64) {
    record.extra.insert(CHANGED_KEY.to_owned(), now_s.into());
}

fn changed_s(record: &UserRecord) -> i64 {
    record.extra.get(CHANGED_KEY).and_then(serde_json::Value::as_i64).unwrap_or(i64::MIN)
}
