//! What the platform does. Each capability is one method of one service; RPC on the bus and REST both call that method.
//!
//! Map: `caller` (who asks) and `error`; `auth` (users, sessions, tokens), `agents` (life cycle, the control service), `config_store`,
//! `health`, `alerts`, `audit`, `logs`, `peer_auth` (who may connect from outside), `policy` (the bus's interceptor), `devices`, `history`, `instances` (other platforms), `live`, `tools` (command line tools as a
//! peer), `wiring` (building all of them), `bench` (all of them for tests).
//!
//! Deliberately no HTTP, no SQL, no files and no processes here: those are edges and adapters.
//!
//! Invariants: every state change takes a [`Caller`], checks its rights and is in the audit log; what was answered OK is durable before
//! anybody is told of it; no lock is held while a peer is asked.

pub mod agents;
pub mod alerts;
pub mod audit;
pub mod auth;
pub mod bench;
pub mod caller;
pub mod config_store;
pub mod devices;
pub mod error;
pub mod health;
pub mod history;
pub mod instances;
pub mod live;
pub mod logs;
pub mod peer_auth;
mod policy;
pub mod tools;
mod wiring;

pub use agents::{AgentEvent, AgentView, Agents, Install, InstallNews, InstallOutcome, InstallRequest, KeyEntry, PackageInstall};
pub use alerts::Alerts;
pub use audit::Audit;
pub use auth::{Auth, AuthConfig, PasswordPolicy, Session, SigningKey, TokenPair, UserView};
pub use caller::Caller;
pub use config_store::{ConfigStore, ConfigView};
pub use devices::{DeviceNode, DeviceStatus, DeviceTree, Devices, PointInfo, PointRef, SelectedPoint, Selection};
pub use error::ServiceError;
pub use health::{HealthView, PlatformHealth, RollUp};
pub use history::{ChartSeries, History, HistoryQuery, Series};
pub use instances::{InstanceView, Instances, Introduction};
pub use live::{Live, LiveEvent, LiveFrame, LiveSession, LiveStream};
pub use logs::{LogBook, LogLevel, LogLine, NewLogLine};
pub use peer_auth::{Admission, PeerAuth, PeerAuthConfig, PendingAttempt, RestingAuth};
// Edges know only this crate and `types`; these words of `backends` are part of what services say.
pub use tools::{Listening, Tools};
pub use vt_backends::packages::PACKAGE_BYTES_MAX;
pub use vt_backends::{
    AgentKindInfo, AlertRecord, AuditFilter, AuditRecord, AuthEntry, AuthList, Capabilities, ConfigType, Field, KnownHost, Mechanism,
    Named, PackageSource, PeerAuthRecords, RunState,
};
pub use wiring::{BusView, InstanceInfo, PeerView, Services, ServicesDeps, ServicesTasks, StartError};
