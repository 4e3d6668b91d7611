//! What `platform.auth` answers: who holds which capability. Only questions; nothing here changes anything.
//! Source: vip-zmq.md §8.3, VOLTTRON `volttron/platform/auth/auth.py`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use vt_agent::MethodTable;
use vt_types::identity::known;

use crate::agents::Installed;

/// Capabilities by user id; on the embedded bus a peer's user id is its identity.
type Capabilities = BTreeMap<String, Map<String, Value>>;

/// The methods of `platform.auth`.
pub(crate) fn export(installed: &Arc<Installed>) -> MethodTable {
    let mut table = MethodTable::new();
    let all = Arc::clone(installed);
    table
        .method("get_user_to_capabilities")
        .doc("All user ids with their capabilities.")
        .to(move |_| std::future::ready(Ok(json!(capabilities(&all)))));
    let one = Arc::clone(installed);
    table.method("get_capabilities").doc("Capabilities of a user id.").param("user_id").to(move |call| {
        let result = call.arg::<String>("user_id").map(|user| match capabilities(&one).remove(&user) {
            Some(capabilities) => Value::Object(capabilities),
            None => json!([]),
        });
        std::future::ready(result)
    });
    let authorizations = Arc::clone(installed);
    table.method("get_authorizations").doc("Capabilities, groups and roles of a user id, or null.").param("user_id").to(move |call| {
        let result = call.arg::<String>("user_id").map(|user| match capabilities(&authorizations).remove(&user) {
            Some(capabilities) => json!([capabilities, [], []]),
            None => Value::Null,
        });
        std::future::ready(result)
    });
    for name in ["get_groups", "get_roles"] {
        table.method(name).param("user_id").to(|call| std::future::ready(call.arg::<String>("user_id").map(|_| json!([]))));
    }
    table
}

/// What the platform grants: its own services what they need, each installed agent the right to change its own configuration.
fn capabilities(installed: &Installed) -> Capabilities {
    let object = |value: Value| match value {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let edit = |identity: &str| json!({"edit_config_store": {"identity": identity}});
    let mut all = Capabilities::new();
    for identity in ["platform", known::CONTROL, known::CONTROL_CONNECTION, known::PLATFORM_WEB] {
        all.insert(identity.to_owned(), object(edit("/.*/")));
    }
    all.insert(known::CONFIG_STORE.to_owned(), object(json!({"sync_agent_config": null})));
    all.insert(known::PLATFORM_AUTH.to_owned(), object(json!({"modify_rpc_method_allowance": null})));
    for identity in installed.identities() {
        all.insert(identity.to_string(), object(edit(identity.as_str())));
    }
    all
}
