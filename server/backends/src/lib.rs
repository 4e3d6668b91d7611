//! Every trait through which the platform reaches outside: repositories (what must survive), the launcher of agents, what makes packages
//! ready, channels to peers, log files, who may connect, other platforms and links to them. Each has an in-memory fake in `memory` and a suite in
//! `contract` that the fake and every real implementation pass.
//!
//! Deliberately no I/O here, and no opinion on where things are kept: `storage-files`, `storage-sql` and `host` decide that.
//!
//! Invariant: when a method that changes something returns `Ok`, the change survives `kill -9`.

pub mod authenticator;
pub mod channels;
pub mod contract;
pub mod launcher;
pub mod log_files;
pub mod memory;
pub mod packages;
pub mod platforms;
pub mod remote_bus;
pub mod repositories;

pub use authenticator::{Authenticator, ConnectAttempt, Proof, Verdict};
pub use channels::{Channel, ChannelError, Channels};
pub use launcher::{AgentKindInfo, AgentLauncher, LaunchError, LaunchObserver, RunState};
pub use log_files::{LogFile, LogFiles};
pub use packages::{
    AgentEnvironment, Library, LibraryRequest, PackageRequest, PackageSource, PrepareError, PrepareObserver, PrepareStep, PreparedPackage,
    PythonPackages,
};
pub use platforms::{Discovery, DiscoveryError, Platform, PlatformLinks, PlatformState};
pub use remote_bus::{LinkError, LinkRequest, LinkState, Outgoing, RemoteBus, RemoteLink};
pub use repositories::RepositoryError;
pub use repositories::alerts::{AlertRecord, AlertRepository};
pub use repositories::audit::{AuditFilter, AuditRecord, AuditRepository};
pub use repositories::configs::{ConfigEntry, ConfigRepository, ConfigType};
pub use repositories::installations::{
    AgentSource, EntryPoint, Generation, InstallationRepository, InstalledAgent, NewInstallation, PythonSource,
};
pub use repositories::keys::{KeyOwner, KeyRepository, KnownHost};
pub use repositories::peer_auth::authz::{Access, AgentAuthz, AgentGroup, Authz, AuthzError, HeldRole, Powers, RpcPower};
pub use repositories::peer_auth::capabilities::{Capabilities, Grant};
pub use repositories::peer_auth::entry::{AuthEntry, EntryError, Field, Mechanism};
pub use repositories::peer_auth::named::Named;
pub use repositories::peer_auth::{AuthList, LoadedPeerAuth, PeerAuthRecords, PeerAuthRepository, UnusableEntry};
pub use repositories::policy::{PolicyRepository, ProtectedTopic};
pub use repositories::revocations::{Revocation, RevocationRepository};
pub use repositories::users::{UserRecord, UserRepository, Users};
