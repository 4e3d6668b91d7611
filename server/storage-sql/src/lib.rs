//! Repositories on SQLite and PostgreSQL: audit log, alerts, ended sessions.
//!
//! Map: `store` (opening, migrations, the two kinds of pool), then one file per record. The statements are the same for both databases:
//! SQLite reads `$1` too, times are integers, JSON is text. Where the databases differ stands in `migrations/`.
//!
//! Invariant: `Ok` of a change means that it is on the disk (SQLite: write-ahead log with full synchronisation; PostgreSQL: its default).
//! One connection writes to SQLite, several read. Not here: time series; historians keep those.

mod alerts;
mod audit;
mod revocations;
mod store;

pub use alerts::SqlAlerts;
pub use audit::SqlAudit;
pub use revocations::SqlRevocations;
pub use store::{SqlStore, StoreError};
