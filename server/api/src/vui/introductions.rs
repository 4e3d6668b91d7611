//! `GET /vui/introductions` (admin): how finding other platforms goes in setup mode, and what is wrong with the files that name them.
//! `{"setup_mode", "introductions": [{"web_address", "tried", "platform", "problem"}], "problems": [text]}`.

use serde_json::{Value, json};
use vt_services::Admission;
use vt_types::timestamp;

use super::{Answer, Cx, ok};

/// The answer.
pub fn serve(cx: &Cx) -> Answer {
    cx.only_admin()?;
    cx.only_get()?;
    let services = cx.services();
    let introductions: Vec<Value> = services
        .instances
        .introductions()
        .iter()
        .map(|introduction| {
            let outcome = introduction.outcome.as_ref();
            json!({
                "web_address": introduction.web_address,
                "tried": introduction.tried_at.map(timestamp::format),
                "platform": outcome.and_then(|outcome| outcome.as_ref().ok()),
                "problem": outcome.and_then(|outcome| outcome.as_ref().err()),
            })
        })
        .collect();
    let setup_mode = services.peer_auth.admission() == Admission::Setup;
    Ok(ok(&json!({"setup_mode": setup_mode, "introductions": introductions, "problems": services.instances.problems()})))
}
