//! The audit log: who did what, when, from where, with what outcome. Services write it themselves, edges only read it.
//!
//! An entry that cannot be written is logged and the operation stands: it has happened by then, and telling the caller otherwise would
//! be untrue. Refusals are written too.

use std::sync::Arc;

use vt_backends::{AuditFilter, AuditRecord, AuditRepository};
use vt_types::Clock;

use crate::{Caller, ServiceError};

/// Longest detail kept, in characters.
const DETAIL_CHARS_MAX: usize = 1000;
/// Entries listed unless the filter says otherwise, and at most.
const LISTED: usize = 100;
const LISTED_MAX: usize = 10_000;

/// The audit log.
pub struct Audit {
    records: Arc<dyn AuditRepository>,
    clock: Arc<dyn Clock>,
}

impl Audit {
    /// An audit log kept in `records`.
    #[must_use]
    pub fn new(records: Arc<dyn AuditRepository>, clock: Arc<dyn Clock>) -> Self {
        Self { records, clock }
    }

    /// Writes one entry: `Ok` with a detail, or the error that the caller got. Never put a secret into the detail.
    pub async fn record(&self, caller: &Caller, action: &str, target: &str, result: Result<&str, &ServiceError>) {
        let detail = match result {
            Ok(detail) => detail.to_owned(),
            Err(error) => error.to_string(),
        };
        let record = AuditRecord {
            at: self.clock.now(),
            user: caller.user.clone(),
            address: caller.address.map(|address| address.to_string()),
            action: action.to_owned(),
            target: target.chars().take(DETAIL_CHARS_MAX).collect(),
            success: result.is_ok(),
            detail: detail.chars().take(DETAIL_CHARS_MAX).collect(),
        };
        if let Err(error) = self.records.append(record).await {
            tracing::error!(%error, user = caller.user, action, target, "an audit entry could not be written");
        }
    }

    /// Lists entries, newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn list(&self, mut filter: AuditFilter) -> Result<Vec<AuditRecord>, ServiceError> {
        filter.limit = if filter.limit == 0 { LISTED } else { filter.limit.min(LISTED_MAX) };
        Ok(self.records.list(filter).await?)
    }
}
