//! `GET /vui/kinds`: what can be installed without bringing code.
//! `{"kinds": [{"kind", "name", "default_identity", "summary"}, ...]}`.

use serde_json::{Value, json};

use super::{Answer, Cx, ok_long};

/// The kinds.
pub fn serve(cx: &Cx) -> Answer {
    cx.only_get()?;
    let kinds: Vec<Value> = cx
        .services()
        .agents
        .kinds()
        .into_iter()
        .map(|info| json!({"kind": info.kind, "name": info.name, "default_identity": info.default_identity, "summary": info.summary}))
        .collect();
    Ok(ok_long(&json!({"kinds": kinds})))
}
