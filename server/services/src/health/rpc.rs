//! What `platform.health` answers. Source: vip-zmq.md §6.

use std::sync::Arc;

use chrono::Local;
use serde_json::{Map, Value, json};
use vt_agent::MethodTable;
use vt_types::identity::known;
use vt_types::timestamp::Timestamp;

use super::PlatformHealth;

/// The methods of `platform.health`.
pub(crate) fn export(health: &Arc<PlatformHealth>) -> MethodTable {
    let mut table = MethodTable::new();
    let health = Arc::clone(health);
    table
        .method("get_platform_health")
        .doc("Health of every connected peer by identity.")
        .to(move |_| std::future::ready(Ok(platform_health(&health))));
    table
}

fn platform_health(health: &PlatformHealth) -> Value {
    let services = health.services();
    let mut answer = Map::new();
    for (identity, view) in health.all() {
        if matches!(identity.as_str(), known::CONTROL_CONNECTION | known::CONTROL_LOCAL) {
            continue;
        }
        let mut entry = Map::new();
        entry.insert("peer".to_owned(), json!(identity));
        entry.insert("service_agent".to_owned(), json!(services.contains(&identity)));
        entry.insert("connected".to_owned(), json!(view.connected.map(naive_local)));
        if let Some(heartbeat) = view.last_heartbeat {
            entry.insert("last_heartbeat".to_owned(), json!(naive_local(heartbeat)));
            entry.insert("message".to_owned(), json!(view.status.as_str()));
        }
        answer.insert(identity.to_string(), Value::Object(entry));
    }
    Value::Object(answer)
}

/// Local time without an offset, as VOLTTRON gives it.
fn naive_local(time: Timestamp) -> String {
    time.with_timezone(&Local).format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}
