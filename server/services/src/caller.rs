//! Who asks. Every state change takes a [`Caller`], checks its rights and writes the audit log itself.
//!
//! Rights (web.md §1.4): reading, device writes, life cycle of agents and configurations need group `vui` or `admin`; users, the audit
//! log, installing and removing agents need `admin`.

use std::net::IpAddr;

use vt_types::Identity;

use crate::ServiceError;

/// Group whose members may do everything.
pub const ADMIN_GROUP: &str = "admin";
/// Group whose members may use the API, save for what needs `admin`.
pub const VUI_GROUP: &str = "vui";
/// Starts the user name of command line tools on this machine. Web users cannot have it: their names hold no `:`.
const LOCAL_PREFIX: &str = "local:";
/// Starts the user name of a peer that acts for itself.
const PEER_PREFIX: &str = "peer:";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Web user, `local:<unix user>` or `peer:<identity>`.
    pub user: String,
    /// Groups of the user.
    pub groups: Vec<String>,
    /// Session, if it asks over the web.
    pub session: Option<String>,
    /// Where from, if over the network.
    pub address: Option<IpAddr>,
}

impl Caller {
    /// A person at the command line of this machine: an administrator, for the socket's file permissions proved the right.
    #[must_use]
    pub fn local(unix_user: &str) -> Self {
        Self { user: format!("{LOCAL_PREFIX}{unix_user}"), groups: vec![ADMIN_GROUP.to_owned()], session: None, address: None }
    }

    /// The platform itself while it is set up: the person who started it that way proved the right.
    #[must_use]
    pub fn setup_mode() -> Self {
        Self { user: "setup-mode".to_owned(), groups: vec![ADMIN_GROUP.to_owned()], session: None, address: None }
    }

    /// A peer of the bus that acts for itself. Its rights were checked where its call came in.
    #[must_use]
    pub fn peer(identity: &Identity) -> Self {
        Self { user: format!("{PEER_PREFIX}{identity}"), groups: vec![ADMIN_GROUP.to_owned()], session: None, address: None }
    }

    /// Whether the caller is an administrator.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.groups.iter().any(|group| group == ADMIN_GROUP)
    }

    /// Whether the caller may use what group `vui` gives.
    #[must_use]
    pub fn may_use_vui(&self) -> bool {
        self.is_admin() || self.groups.iter().any(|group| group == VUI_GROUP)
    }

    /// # Errors
    /// `Forbidden` unless the caller is an administrator.
    pub fn require_admin(&self) -> Result<(), ServiceError> {
        if self.is_admin() { Ok(()) } else { Err(ServiceError::Forbidden("this needs the group admin".to_owned())) }
    }

    /// # Errors
    /// `Forbidden` unless the caller is in `vui` or `admin`.
    pub fn require_vui(&self) -> Result<(), ServiceError> {
        if self.may_use_vui() { Ok(()) } else { Err(ServiceError::Forbidden("this needs the group vui or admin".to_owned())) }
    }
}

/// Whether `user` is the name of a command line user of this machine.
pub(crate) fn is_local_user(user: &str) -> bool {
    user.starts_with(LOCAL_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_follow_groups() {
        let mut caller = Caller { user: "dana".to_owned(), groups: vec!["vui".to_owned()], session: None, address: None };
        assert!(caller.require_vui().is_ok());
        assert!(caller.require_admin().is_err());
        caller.groups = vec!["admin".to_owned()];
        assert!(caller.require_vui().is_ok() && caller.require_admin().is_ok());
        caller.groups = vec!["administrators".to_owned()];
        assert!(caller.require_vui().is_err());
        assert!(Caller::local("root").is_admin());
    }
}
