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
            let host = place(host).to_owned();
            check_host(&host)?;
            Ok(self.keys.add_known_hosts(&[KnownHost { host, key }]).await?)
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
            if self.keys.remove_known_host(host).await? || self.keys.remove_known_host(place(host)).await? {
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

/// The part of an address by which agents look for its key: `host:port` of `tcp://host:port`.
fn place(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

fn check_host(host: &str) -> Result<(), ServiceError> {
    let (name, port) = match host.rsplit_once(':') {
        // The last group of an IPv6 address is no port.
        Some((name, _)) if name.contains(':') && !name.ends_with(']') => (host, None),
        Some((name, port)) => (name, Some(port.parse::<u16>().unwrap_or(0))),
        None => (host, None),
    };
    let is_clean = host.len() <= HOST_BYTES_MAX && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'\\/<>@?#".contains(&byte));
    if host == "@" || (is_clean && !name.is_empty() && port != Some(0)) {
        return Ok(());
    }
    Err(ServiceError::Invalid("a host is written as host or host:port".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_taken_out_of_addresses_and_checked() {
        for (given, host) in [
            ("tcp://192.0.2.1:22916", "192.0.2.1:22916"),
            ("example.org", "example.org"),
            ("ipc://@/home/v/run/vip.socket", "@"),
            ("tcp://[::1]:22916/", "[::1]:22916"),
            ("@", "@"),
        ] {
            assert_eq!(place(given), host);
            assert!(check_host(host).is_ok(), "{host}");
        }
        for wrong in ["", ":22916", "a b", "a:0", "a:99999", "a:port", "<x>", "a@b:1"] {
            assert!(check_host(wrong).is_err(), "{wrong}");
        }
    }
}
