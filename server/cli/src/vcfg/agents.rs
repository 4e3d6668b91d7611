//! What `vcfg --agent` does for each agent.

use serde_json::{Map, Value, json};

use super::questions::yes_or_no;
use crate::client::Client;
use crate::output::line;

/// Agents that can be set up, by the names of VOLTTRON 9.
pub const NAMES: &[&str] = &["actuator", "listener", "platform_driver", "platform_historian"];

/// The name of today for a name of VOLTTRON 6.
pub fn current_name(name: &str) -> &str {
    if name == "master_driver" { "platform_driver" } else { name }
}

pub fn set_up(client: &Client, name: &str) -> Result<(), String> {
    line(&format!("Configuring {name}."));
    if name == "platform_driver" && yes_or_no("Would you like to install a fake device on the platform driver?", false) {
        for (entry, text, kind) in vt_app::demo::fake_device_entries() {
            let args = vec![json!("platform.driver"), json!(entry), json!(text), json!(kind)];
            client.call("config.store", "set_config", args).map_err(|error| error.to_string())?;
        }
    }
    let priority = yes_or_no("Should the agent autostart?", false).then_some("50");
    let kwargs = Map::from_iter([
        ("kind".to_owned(), json!(name)),
        ("tag".to_owned(), json!(name)),
        ("priority".to_owned(), json!(priority)),
        ("config".to_owned(), Value::Null),
        ("force".to_owned(), json!(true)),
    ]);
    client.call_with("control", "install_builtin", vec![], kwargs).map_err(|error| error.to_string())?;
    Ok(())
}
