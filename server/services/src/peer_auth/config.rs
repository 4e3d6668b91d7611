//! How strict the platform is about peers from outside.

/// Who gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Peers with an entry; others wait for somebody's decision.
    Listed,
    /// Everybody whose key nobody denied; each new key gets an entry (`setup-mode`).
    Setup,
    /// Everybody, under any name, with every right (`allow-auth = False`).
    Open,
}

/// What the service is told.
#[derive(Debug, Clone)]
pub struct PeerAuthConfig {
    /// Who gets in.
    pub admission: Admission,
    /// The user on this machine as whom the server runs; its processes may connect to the local socket without key.
    pub own_uid: u32,
    /// `host:port` of each address where peers reach the platform, for `known_hosts`.
    pub hosts: Vec<String>,
}
