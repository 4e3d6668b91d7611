//! `GET /vui/audit?user=&action=&target=&limit=` (admin): the audit log, newest first; `action` is the start of the action's name.
//! `{"entries": [{"at", "user", "address", "action", "target", "success", "detail"}, ...]}`.

use serde_json::{Value, json};
use vt_services::AuditFilter;
use vt_types::timestamp;

use super::{Answer, Cx, ok_long};

/// The log.
pub async fn serve(cx: &Cx) -> Answer {
    cx.only_get()?;
    cx.only_admin()?;
    let text = |name: &str| cx.query.text(name).map(str::to_owned);
    let limit = cx.query.number("limit")?.unwrap_or(0);
    let filter = AuditFilter {
        user: text("user"),
        action_prefix: text("action"),
        target: text("target"),
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let entries: Vec<Value> = cx
        .services()
        .audit
        .list(filter)
        .await?
        .iter()
        .map(|record| {
            json!({
                "at": timestamp::format(record.at),
                "user": record.user,
                "address": record.address,
                "action": record.action,
                "target": record.target,
                "success": record.success,
                "detail": record.detail,
            })
        })
        .collect();
    Ok(ok_long(&json!({"entries": entries})))
}
