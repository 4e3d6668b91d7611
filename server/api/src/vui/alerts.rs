//! `GET /vui/alerts?limit=100`: the newest alerts, newest first.
//! `{"alerts": [{"at", "topic", "identity", "key", "status", "context"}, ...]}`.

use serde_json::{Value, json};
use vt_services::AlertRecord;
use vt_types::timestamp;

use super::{Answer, Cx, ok_long};

const ALERTS: u64 = 100;

/// The alerts.
pub async fn serve(cx: &Cx) -> Answer {
    cx.only_get()?;
    let limit = cx.query.number("limit")?.unwrap_or(ALERTS);
    let alerts = cx.services().alerts.newest(usize::try_from(limit).unwrap_or(usize::MAX)).await?;
    Ok(ok_long(&json!({"alerts": alerts.iter().map(alert).collect::<Vec<Value>>()})))
}

/// One alert.
pub fn alert(record: &AlertRecord) -> Value {
    json!({
        "at": timestamp::format(record.at),
        "topic": record.topic,
        "identity": record.identity,
        "key": record.key,
        "status": record.status,
        "context": record.context,
    })
}
