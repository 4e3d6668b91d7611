//! Web users, their sessions and tokens.

mod config;

use std::net::IpAddr;

use tokio::sync::broadcast;
use vt_types::timestamp::Timestamp;

use crate::{Caller, ServiceError};

pub use config::{AuthConfig, PasswordPolicy, SigningKey};

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
pub struct Auth {}

impl Auth {
    pub async fn login(&self, username: &str, password: &str, address: Option<IpAddr>) -> Result<TokenPair, ServiceError> {
        let _ = (username, password, address);
        unimplemented!()
    }
    pub async fn refresh(&self, refresh_token: &str) -> Result<TokenPair, ServiceError> {
        let _ = refresh_token;
        unimplemented!()
    }
    pub fn verify(&self, access_token: &str) -> Result<Session, ServiceError> {
        let _ = access_token;
        unimplemented!()
    }
    pub async fn logout(&self, session: &Session) -> Result<(), ServiceError> {
        let _ = session;
        unimplemented!()
    }
    pub fn session_of_refresh(&self, refresh_token: &str) -> Result<Session, ServiceError> {
        let _ = refresh_token;
        unimplemented!()
    }
    pub fn ended_sessions(&self) -> broadcast::Receiver<String> {
        unimplemented!()
    }
    pub fn is_active(&self, session_id: &str) -> bool {
        let _ = session_id;
        unimplemented!()
    }
    pub fn has_users(&self) -> bool {
        unimplemented!()
    }
    pub async fn create_first_administrator(
        &self,
        code: &str,
        username: &str,
        password: &str,
        address: Option<IpAddr>,
    ) -> Result<TokenPair, ServiceError> {
        let _ = (code, username, password, address);
        unimplemented!()
    }
    pub fn users(&self) -> Vec<UserView> {
        unimplemented!()
    }
    pub async fn add_user(&self, caller: &Caller, name: &str, password: &str, groups: Vec<String>) -> Result<(), ServiceError> {
        let _ = (caller, name, password, groups);
        unimplemented!()
    }
    pub async fn set_password(&self, caller: &Caller, name: &str, password: &str) -> Result<(), ServiceError> {
        let _ = (caller, name, password);
        unimplemented!()
    }
    pub async fn set_groups(&self, caller: &Caller, name: &str, groups: Vec<String>) -> Result<(), ServiceError> {
        let _ = (caller, name, groups);
        unimplemented!()
    }
    pub async fn remove_user(&self, caller: &Caller, name: &str) -> Result<(), ServiceError> {
        let _ = (caller, name);
        unimplemented!()
    }
    pub fn users_problem(&self) -> Option<String> {
        unimplemented!()
    }
}
