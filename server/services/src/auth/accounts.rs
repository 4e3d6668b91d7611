//! Making and changing users. All changes need `admin`, but for the first user, which needs the code on the console.

use std::collections::btree_map::Entry;
use std::net::IpAddr;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use vt_backends::{UserRecord, Users};

use super::limiter::Key;
use super::{Auth, TokenPair, names, users};
use crate::caller::{ADMIN_GROUP, VUI_GROUP};
use crate::{Caller, ServiceError};

impl Auth {
    /// Makes the first administrator and logs it in. Of two at the same time one wins.
    ///
    /// # Errors
    /// `AlreadyExists` once there is a user, `Forbidden` for a wrong code, `RateLimited`, `Invalid` for name or password.
    pub async fn create_first_administrator(
        &self,
        code: &str,
        username: &str,
        password: &str,
        address: Option<IpAddr>,
    ) -> Result<TokenPair, ServiceError> {
        let groups = vec![ADMIN_GROUP.to_owned(), VUI_GROUP.to_owned()];
        let result = self.try_create_first(code, username, password, &groups, address).await;
        let caller = Caller { user: "(first run)".to_owned(), groups: Vec::new(), session: None, address };
        match &result {
            Ok(()) => self.audit.record(&caller, "user.create_first", username, Ok("")).await,
            Err(ServiceError::RateLimited { .. }) => {}
            Err(error) => self.audit.record(&caller, "user.create_first", "", Err(error)).await,
        }
        result?;
        self.new_session(username, &groups).map(|(_, pair)| pair)
    }

    async fn try_create_first(
        &self,
        code: &str,
        username: &str,
        password: &str,
        groups: &[String],
        address: Option<IpAddr>,
    ) -> Result<(), ServiceError> {
        let exists = || ServiceError::AlreadyExists("there is a user already; log in instead".to_owned());
        if self.has_users() {
            return Err(exists());
        }
        let mut keys = vec![Key::SetupCode];
        keys.extend(address.map(Key::address));
        self.check_attempts(&keys)?;
        let is_right = self.setup_code.lock().as_deref().is_some_and(|expected| is_same_code(expected, code));
        if !is_right {
            self.limiter.wrong(&keys, self.clock.now());
            return Err(ServiceError::Forbidden("the code is wrong; it stands on the console where the platform was started".to_owned()));
        }
        names::check_new_user_name(username)?;
        names::check_password(password)?;
        let record = self.new_record(password, groups.to_vec()).await?;
        self.users
            .change(|users| {
                if !users.is_empty() {
                    return Err(exists());
                }
                users.insert(username.to_owned(), record);
                Ok(())
            })
            .await?;
        *self.setup_code.lock() = None;
        self.limiter.right(&keys);
        Ok(())
    }

    /// Adds a user.
    ///
    /// # Errors
    /// `Forbidden`, `Invalid`, `AlreadyExists`, `Conflict` while the users file is broken.
    pub async fn add_user(&self, caller: &Caller, name: &str, password: &str, groups: Vec<String>) -> Result<(), ServiceError> {
        let added = async {
            caller.require_admin()?;
            names::check_new_user_name(name)?;
            names::check_password(password)?;
            let record = self.new_record(password, names::checked_groups(groups)?).await?;
            self.users
                .change(|users| match users.entry(name.to_owned()) {
                    Entry::Occupied(_) => Err(ServiceError::AlreadyExists(format!("there is a user {name:?} already"))),
                    Entry::Vacant(vacant) => {
                        vacant.insert(record);
                        Ok(())
                    }
                })
                .await
        };
        self.finish(caller, "user.add", name, added.await).await
    }

    /// Sets a user's password and ends the user's sessions.
    ///
    /// # Errors
    /// `Forbidden`, `Invalid`, `NotFound`, `Conflict` while the users file is broken.
    pub async fn set_password(&self, caller: &Caller, name: &str, password: &str) -> Result<(), ServiceError> {
        let set = async {
            caller.require_admin()?;
            names::check_password(password)?;
            let new = self.new_record(password, Vec::new()).await?;
            self.users
                .change(|users| {
                    let record = users.get_mut(name).ok_or_else(|| no_user(name))?;
                    record.hashed_password = new.hashed_password;
                    users::set_changed(record, self.clock.now().timestamp());
                    Ok(())
                })
                .await
        };
        self.finish(caller, "user.set_password", name, set.await).await
    }

    /// Sets a user's groups; they count at once.
    ///
    /// # Errors
    /// `Forbidden`, `Invalid`, `NotFound`, `Conflict` for the last administrator or while the users file is broken.
    pub async fn set_groups(&self, caller: &Caller, name: &str, groups: Vec<String>) -> Result<(), ServiceError> {
        let set = async {
            caller.require_admin()?;
            let groups = names::checked_groups(groups)?;
            self.users
                .change(|users| {
                    users.get_mut(name).ok_or_else(|| no_user(name))?.groups = groups;
                    keep_an_administrator(users)
                })
                .await
        };
        self.finish(caller, "user.set_groups", name, set.await).await
    }

    /// Removes a user and ends its sessions.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Conflict` for the last administrator or while the users file is broken.
    pub async fn remove_user(&self, caller: &Caller, name: &str) -> Result<(), ServiceError> {
        let removed = async {
            caller.require_admin()?;
            self.users
                .change(|users| {
                    users.remove(name).ok_or_else(|| no_user(name))?;
                    keep_an_administrator(users)
                })
                .await
        };
        self.finish(caller, "user.remove", name, removed.await).await
    }

    async fn finish(&self, caller: &Caller, action: &str, name: &str, result: Result<(), ServiceError>) -> Result<(), ServiceError> {
        self.end_bad_sessions();
        self.audit.record(caller, action, name, result.as_ref().map(|()| "")).await;
        result
    }

    async fn new_record(&self, password: &str, groups: Vec<String>) -> Result<UserRecord, ServiceError> {
        let hashed_password = self.passwords.hash(self.passwords.turn().await?, password).await?;
        let mut record = UserRecord { hashed_password, groups, extra: serde_json::Map::new() };
        // Tokens of an earlier user of the same name are not this one's.
        users::set_changed(&mut record, self.clock.now().timestamp());
        Ok(record)
    }
}

fn no_user(name: &str) -> ServiceError {
    ServiceError::NotFound(format!("there is no user {name:?}"))
}

fn keep_an_administrator(users: &Users) -> Result<(), ServiceError> {
    if users.values().any(users::is_admin) {
        return Ok(());
    }
    Err(ServiceError::Conflict("the last administrator stays; make another one first".to_owned()))
}

/// Compares in a time that tells nothing. Letter case, blanks and hyphens do not count: people copy the code by hand.
fn is_same_code(expected: &str, given: &str) -> bool {
    let digest = |code: &str| {
        let plain: String = code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
        Sha256::digest(plain.as_bytes())
    };
    let is_empty = expected.chars().all(|c| !c.is_ascii_alphanumeric());
    !is_empty && bool::from(digest(expected).ct_eq(&digest(given)))
}
