//! Web users, their sessions and tokens. Who may do what is decided by [`Caller`] and `policy`, not here.
//!
//! Map: `accounts` (making and changing users), `config`, `names` (what a name and a password may be), `passwords` (argon2id), `tokens` (JWT), `limiter` (back-off), `sessions`
//! (which are alive), `users` (the users file in memory).
//! Source: web.md §1, VOLTTRON `volttron/platform/web/authenticate_endpoint.py`.
//!
//! Invariants: no password, hash, token, key or code is logged or shown by `Debug`; a token names a session, and a session that has ended
//! stays ended; a user that is gone or lost a group loses what it gave at once, whatever its tokens say.

mod accounts;
mod config;
mod limiter;
mod names;
mod passwords;
mod sessions;
#[cfg(test)]
mod tests;
mod tokens;
mod users;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::broadcast;
use vt_backends::{RevocationRepository, UserRecord, UserRepository};
use vt_types::Clock;
use vt_types::timestamp::Timestamp;

use self::limiter::{Key, Limiter};
use self::passwords::Passwords;
use self::sessions::Sessions;
use self::tokens::{Claims, Grant, TokenError, Tokens};
use self::users::UserBook;
use crate::caller::{ADMIN_GROUP, is_local_user};
use crate::{Audit, Caller, ServiceError, StartError};

pub use config::{AuthConfig, PasswordPolicy, SigningKey};

/// How often the users file is looked at.
const POLL_PERIOD: Duration = Duration::from_secs(1);
/// Looks at the users file between two clean-ups of what has expired.
const POLLS_PER_PRUNE: u32 = 60;

/// An access token and the refresh token that renews it.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenPair {
    /// For requests.
    pub access_token: String,
    /// For a new access token.
    pub refresh_token: String,
    /// When the access token expires.
    pub access_expires_at: Timestamp,
    /// When the refresh token expires.
    pub refresh_expires_at: Timestamp,
}

impl std::fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenPair").field("access_expires_at", &self.access_expires_at).finish_non_exhaustive()
    }
}

/// Who a valid token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The same for all tokens of one log-in.
    pub id: String,
    /// User name.
    pub user: String,
    /// Groups of the user.
    pub groups: Vec<String>,
    /// When the token expires.
    pub access_expires_at: Timestamp,
}

impl Session {
    /// The caller of a request that came from `address`.
    #[must_use]
    pub fn caller(&self, address: Option<IpAddr>) -> Caller {
        Caller { user: self.user.clone(), groups: self.groups.clone(), session: Some(self.id.clone()), address }
    }
}

/// A user as others may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserView {
    /// Name.
    pub name: String,
    /// Groups.
    pub groups: Vec<String>,
}

/// Users, sessions and tokens.
pub struct Auth {
    access_lifetime: chrono::Duration,
    refresh_lifetime: chrono::Duration,
    tokens: Tokens,
    passwords: Passwords,
    limiter: Limiter,
    sessions: Sessions,
    users: UserBook,
    setup_code: Mutex<Option<String>>,
    audit: Arc<Audit>,
    clock: Arc<dyn Clock>,
}

impl Auth {
    pub(crate) async fn open(
        config: AuthConfig,
        issuer: &str,
        users: Arc<dyn UserRepository>,
        revocations: Arc<dyn RevocationRepository>,
        audit: Arc<Audit>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let lifetime = |lifetime| chrono::Duration::from_std(lifetime).map_err(|error| StartError::SigningKey(error.to_string()));
        Ok(Self {
            access_lifetime: lifetime(config.access_lifetime)?,
            refresh_lifetime: lifetime(config.refresh_lifetime)?,
            tokens: Tokens::new(&config.signing, issuer).map_err(StartError::SigningKey)?,
            passwords: Passwords::new(config.password_hashing)?,
            limiter: Limiter::default(),
            sessions: Sessions::open(revocations, clock.now()).await?,
            users: UserBook::open(users).await?,
            setup_code: Mutex::new(config.setup_code),
            audit,
            clock,
        })
    }

    /// Keeps step with the users file and forgets what has expired, until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(POLL_PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut polls = 0_u32;
        loop {
            ticks.tick().await;
            self.poll_users().await;
            polls += 1;
            if polls.is_multiple_of(POLLS_PER_PRUNE) {
                self.prune().await;
            }
        }
    }

    /// Logs a user in.
    ///
    /// # Errors
    /// `Unauthenticated` for a wrong name or password, alike and in like time; `RateLimited`.
    pub async fn login(&self, username: &str, password: &str, address: Option<IpAddr>) -> Result<TokenPair, ServiceError> {
        let record = self.users.all().get(username).cloned();
        let caller = Caller { user: shown_user(username, record.is_some()), groups: Vec::new(), session: None, address };
        let result = self.try_login(username, password, record, address).await;
        match &result {
            Ok((session, _)) => {
                let caller = Caller { session: Some(session.clone()), ..caller };
                self.audit.record(&caller, "session.login", &caller.user, Ok("")).await;
            }
            // Refused before anything was tried: writing each would let a stranger fill the log.
            Err(ServiceError::RateLimited { .. }) => {}
            Err(error) => self.audit.record(&caller, "session.login", &caller.user, Err(error)).await,
        }
        result.map(|(_, pair)| pair)
    }

    async fn try_login(
        &self,
        username: &str,
        password: &str,
        record: Option<UserRecord>,
        address: Option<IpAddr>,
    ) -> Result<(String, TokenPair), ServiceError> {
        let mut keys = vec![Key::User(username.chars().take(names::NAME_CHARS_MAX + 1).collect())];
        keys.extend(address.map(Key::address));
        self.check_attempts(&keys)?;
        let turn = self.passwords.turn().await?;
        // Others of the same address or name may have failed while this one waited.
        self.check_attempts(&keys)?;
        let is_usable = names::check_user_name(username).is_ok() && password.len() <= names::PASSWORD_BYTES_MAX;
        let hash = record.as_ref().map(|record| record.hashed_password.as_str());
        let hash = hash.filter(|hash| is_usable && passwords::cost(hash).is_some());
        let password = if password.len() <= names::PASSWORD_BYTES_MAX { password } else { "" };
        let alike = self.users.cost_alike(self.passwords.policy());
        let is_right = self.passwords.verify(turn, password, hash, alike).await?;
        let (Some(record), true) = (record, is_right) else {
            self.limiter.wrong(&keys, self.clock.now());
            return Err(ServiceError::Unauthenticated("the user name or the password is wrong".to_owned()));
        };
        self.limiter.right(&keys);
        self.renew_hash(username, password, &record.hashed_password).await;
        self.new_session(username, &record.groups)
    }

    /// Replaces a hash that is cheaper than policy wants. The user is logged in even if this fails.
    async fn renew_hash(&self, username: &str, password: &str, old: &str) {
        if !self.passwords.is_below_policy(old) {
            return;
        }
        let renewed = async {
            let hash = self.passwords.hash(self.passwords.turn().await?, password).await?;
            self.users
                .change(|users| {
                    if let Some(record) = users.get_mut(username).filter(|record| record.hashed_password == old) {
                        record.hashed_password = hash;
                    }
                    Ok(())
                })
                .await
        };
        if let Err(error) = renewed.await {
            tracing::warn!(user = username, %error, "a password hash below policy could not be renewed");
        }
    }

    /// A new access token for a refresh token; the refresh token stays the same.
    ///
    /// # Errors
    /// `Unauthenticated` if it is no refresh token, has expired, was revoked, or its user is gone.
    pub async fn refresh(&self, refresh_token: &str) -> Result<TokenPair, ServiceError> {
        // A change of the users file counts from now on, not only from the next look at it.
        self.poll_users().await;
        let claims = self.read(refresh_token, Grant::RefreshToken)?;
        let groups = self.users.all().get(&claims.sub).map(|record| record.groups.clone()).ok_or_else(unauthorized)?;
        let now = self.clock.now();
        let access_expires_at = now + self.access_lifetime;
        let access_token = self.token(Grant::AccessToken, &claims.sub, &groups, &claims.sid, access_expires_at)?;
        self.sessions.remember(&claims.sid, &claims.sub, &groups, claims.iat, claims.expires_at().max(access_expires_at));
        let refresh_expires_at = claims.expires_at();
        Ok(TokenPair { access_token, refresh_token: refresh_token.to_owned(), access_expires_at, refresh_expires_at })
    }

    /// Who an access token stands for. Quick: no I/O, no waiting.
    ///
    /// # Errors
    /// `Unauthenticated` if it is no access token, forged, expired, revoked, or its user is gone.
    pub fn verify(&self, access_token: &str) -> Result<Session, ServiceError> {
        self.session(self.read(access_token, Grant::AccessToken)?)
    }

    /// Who a refresh token stands for; for ending its session.
    ///
    /// # Errors
    /// As [`Auth::verify`].
    pub fn session_of_refresh(&self, refresh_token: &str) -> Result<Session, ServiceError> {
        self.session(self.read(refresh_token, Grant::RefreshToken)?)
    }

    /// Ends a session: none of its tokens is good any more, here and after a restart.
    ///
    /// # Errors
    /// `Unavailable` if that could not be stored; the session is over all the same until a restart.
    pub async fn logout(&self, session: &Session) -> Result<(), ServiceError> {
        let ended = self.sessions.end(&session.id, self.clock.now() + self.refresh_lifetime).await.map_err(ServiceError::from);
        self.audit.record(&session.caller(None), "session.logout", &session.user, ended.as_ref().map(|()| "")).await;
        ended
    }

    /// Ids of sessions that end from now on.
    #[must_use]
    pub fn ended_sessions(&self) -> broadcast::Receiver<String> {
        self.sessions.ended()
    }

    /// Whether a session has not been ended. That its tokens expired is for whoever holds them to see.
    #[must_use]
    pub fn is_active(&self, session_id: &str) -> bool {
        self.sessions.is_active(session_id)
    }

    /// When a session ends at the latest unless it is renewed: its refresh token lives no longer. For connections that outlive a request.
    #[must_use]
    pub fn session_expires_at(&self, session: &Session) -> Timestamp {
        session.access_expires_at - self.access_lifetime + self.refresh_lifetime
    }

    /// Whether there are users, or a users file that cannot be read and may hold some.
    #[must_use]
    pub fn has_users(&self) -> bool {
        !self.users.all().is_empty() || self.users.problem().is_some()
    }

    /// All users by name.
    #[must_use]
    pub fn users(&self) -> Vec<UserView> {
        self.users.all().iter().map(|(name, record)| UserView { name: name.clone(), groups: record.groups.clone() }).collect()
    }

    /// What is wrong with the users file, if anything; the users are as they were before.
    #[must_use]
    pub fn users_problem(&self) -> Option<String> {
        self.users.problem()
    }

    /// The caller that the bus knows by the name of its user alone.
    pub(crate) fn caller_of(&self, user: &str) -> Caller {
        let groups = if is_local_user(user) {
            vec![ADMIN_GROUP.to_owned()]
        } else {
            self.users.all().get(user).map(|record| record.groups.clone()).unwrap_or_default()
        };
        Caller { user: user.to_owned(), groups, session: None, address: None }
    }

    async fn poll_users(&self) {
        if self.users.refresh().await {
            self.end_bad_sessions();
        }
    }

    /// Sessions whose user is gone, has a new password or lost a group: what they opened must close, too.
    fn end_bad_sessions(&self) {
        self.sessions.end_unless(|seen| self.users.is_good(&seen.user, seen.since_s) && self.users.is_in(&seen.user, &seen.groups));
    }

    async fn prune(&self) {
        let now = self.clock.now();
        self.limiter.prune(now);
        if let Err(error) = self.sessions.prune(now).await {
            tracing::warn!(%error, "expired sessions could not be cleaned up");
        }
    }

    fn check_attempts(&self, keys: &[Key]) -> Result<(), ServiceError> {
        match self.limiter.wait_s(keys, self.clock.now()) {
            Some(retry_after_s) => Err(ServiceError::RateLimited { retry_after_s }),
            None => Ok(()),
        }
    }

    fn new_session(&self, user: &str, groups: &[String]) -> Result<(String, TokenPair), ServiceError> {
        let (now, session) = (self.clock.now(), uuid::Uuid::new_v4().to_string());
        let (access_expires_at, refresh_expires_at) = (now + self.access_lifetime, now + self.refresh_lifetime);
        let pair = TokenPair {
            access_token: self.token(Grant::AccessToken, user, groups, &session, access_expires_at)?,
            refresh_token: self.token(Grant::RefreshToken, user, groups, &session, refresh_expires_at)?,
            access_expires_at,
            refresh_expires_at,
        };
        self.sessions.remember(&session, user, groups, now.timestamp(), refresh_expires_at);
        Ok((session, pair))
    }

    fn token(&self, grant_type: Grant, user: &str, groups: &[String], session: &str, expires: Timestamp) -> Result<String, ServiceError> {
        let now_s = self.clock.now().timestamp();
        let claims = Claims {
            groups: groups.to_vec(),
            grant_type,
            sub: user.to_owned(),
            sid: session.to_owned(),
            jti: uuid::Uuid::new_v4().to_string(),
            iss: self.tokens.issuer().to_owned(),
            iat: now_s,
            nbf: now_s,
            exp: expires.timestamp(),
        };
        self.tokens.sign(&claims).map_err(|error| ServiceError::Internal(format!("signing a token: {error}")))
    }

    fn read(&self, token: &str, grant: Grant) -> Result<Claims, ServiceError> {
        let claims = self.tokens.read(token, self.clock.now()).map_err(|error| match error {
            TokenError::Expired => ServiceError::Unauthenticated("the token has expired".to_owned()),
            TokenError::NotOurs => unauthorized(),
        })?;
        if claims.grant_type != grant {
            return Err(ServiceError::Unauthenticated(match grant {
                Grant::AccessToken => "this is not an access token".to_owned(),
                // VOLTTRON's words.
                Grant::RefreshToken => "Invalid refresh token.".to_owned(),
            }));
        }
        if !self.sessions.is_active(&claims.sid) || !self.users.is_good(&claims.sub, claims.iat) {
            return Err(unauthorized());
        }
        Ok(claims)
    }

    fn session(&self, claims: Claims) -> Result<Session, ServiceError> {
        let access_expires_at = claims.expires_at();
        // A group that was taken away counts no more, whatever the token says.
        let users = self.users.all();
        let current = &users.get(&claims.sub).ok_or_else(unauthorized)?.groups;
        let groups: Vec<_> = claims.groups.into_iter().filter(|group| current.contains(group)).collect();
        self.sessions.remember(&claims.sid, &claims.sub, &groups, claims.iat, access_expires_at);
        Ok(Session { id: claims.sid, user: claims.sub, groups, access_expires_at })
    }
}

/// VOLTTRON's words for a token that does not count.
fn unauthorized() -> ServiceError {
    ServiceError::Unauthenticated("Unauthorized User".to_owned())
}

/// People now and then type their password where the name belongs; what is no user's name is not written down.
fn shown_user(username: &str, is_known: bool) -> String {
    if is_known { username.to_owned() } else { "(unknown user)".to_owned() }
}
