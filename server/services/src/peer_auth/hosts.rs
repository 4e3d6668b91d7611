//! Server keys of platforms, by the place where they are reached.

use vt_backends::KnownHost;
use vt_types::PublicKey;

use super::PeerAuth;
use crate::{Caller, ServiceError};

/// Longest name of a host with its port, in bytes.
const HOST_BYTES_MAX: usize = 262;

impl PeerAuth {
    /// The server keys that agents of this machine know.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn known_hosts(&self) -> Result<Vec<KnownHost>, ServiceError> {
        let loaded = self.keys.known_hosts().await?;
        for warning in &loaded.warnings {
            tracing::warn!(warning, "a known host was left out");
        }
        Ok(loaded.records)
    }

    /// Remembers a server key, in place of another of the same host.
    ///
    /// # Errors
    /// `Forbidden`, `Invalid`, `Unavailable`.
    pub async fn add_known_host(&self, caller: &Caller, host: &str, key: PublicKey) -> Result<(), ServiceError> {
        let add = async {
            caller.require_admin()?;
            check_host(host)?;
            Ok(self.keys.add_known_hosts(&[KnownHost { host: host.to_owned(), key }]).await?)
        };
        let result = add.await;
        self.audit.record(caller, "peer.known_host", host, result.as_ref().map(|()| "added")).await;
        result
    }

    /// Forgets a host.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Unavailable`.
    pub async fn remove_known_host(&self, caller: &Caller, host: &str) -> Result<(), ServiceError> {
        let remove = async {
            caller.require_admin()?;
            if self.keys.remove_known_host(host).await? {
                Ok(())
            } else {
                Err(ServiceError::NotFound(format!("no key of {host:?} is known")))
            }
        };
        let result = remove.await;
        self.audit.record(caller, "peer.known_host", host, result.as_ref().map(|()| "removed")).await;
        result
    }
}

fn check_host(host: &str) -> Result<(), ServiceError> {
    let port = host.rsplit_once(':').and_then(|(name, port)| (!name.is_empty()).then_some(port)).and_then(|port| port.parse::<u16>().ok());
    let is_clean = host.len() <= HOST_BYTES_MAX && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'\\/<>@?#".contains(&byte));
    if host == "@" || (is_clean && port.is_some_and(|port| port > 0)) {
        return Ok(());
    }
    Err(ServiceError::Invalid("a host is written as host:port".to_owned()))
}
