//! Agents that vcfg sets up. Built-in ones; they are installed through the running platform.

use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::output::line;
use crate::prompt::Prompt;

/// Agents that can be set up, by the names of VOLTTRON 9.
pub const NAMES: &[&str] = &["actuator", "listener", "platform_driver", "platform_historian"];

/// The name of today for a name of VOLTTRON 6.
pub fn current_name(name: &str) -> &str {
    if name == "master_driver" { "platform_driver" } else { name }
}

/// What is to be done for one agent.
pub struct Plan {
    name: String,
    /// Its tag: the name that was asked for.
    tag: String,
    with_fake_device: bool,
    autostart: bool,
}

/// Asks about one agent; none if an installed one is to stay. `installed` are the tags of installed agents.
pub fn ask(prompt: &Prompt, asked: &str, installed: &[String]) -> Result<Option<Plan>, String> {
    let name = current_name(asked);
    let key = name.replace('_', "-");
    line(&format!("Configuring {asked}."));
    let failed = |error: crate::prompt::PromptError| error.to_string();
    let with_fake_device = name == "platform_driver"
        && prompt.yes_or_no("fake-device", "Would you like to install a fake device on the platform driver?", false).map_err(failed)?;
    if installed.iter().any(|tag| tag == asked || tag == name) {
        let question = format!("Agent {asked} is already installed. Would you like to overwrite it?");
        // It keeps its data and its configuration entries, so a set-up that is run again does the same again.
        if !prompt.yes_or_no(&format!("{key}-overwrite"), &question, true).map_err(failed)? {
            return Ok(None);
        }
    }
    let autostart = prompt.yes_or_no(&format!("{key}-autostart"), "Should the agent autostart?", false).map_err(failed)?;
    Ok(Some(Plan { name: name.to_owned(), tag: asked.to_owned(), with_fake_device, autostart }))
}

/// Installs it; it is not started.
pub fn install(client: &Client, plan: &Plan) -> Result<(), String> {
    if plan.with_fake_device {
        for (entry, text, kind) in vt_app::demo::fake_device_entries() {
            let args = vec![json!("platform.driver"), json!(entry), json!(text), json!(kind)];
            client.call("config.store", "set_config", args).map_err(|error| error.to_string())?;
        }
    }
    let kwargs = Map::from_iter([
        ("kind".to_owned(), json!(plan.name)),
        ("tag".to_owned(), json!(plan.tag)),
        ("priority".to_owned(), json!(plan.autostart.then_some("50"))),
        ("config".to_owned(), Value::Null),
        ("force".to_owned(), json!(true)),
    ]);
    client.call_with("control", "install_builtin", vec![], kwargs).map_err(|error| error.to_string())?;
    Ok(())
}

/// Tags of installed agents of a platform that runs.
pub fn installed_tags(client: &Client) -> Result<Vec<String>, String> {
    let answer = client.call("control", "list_agents", vec![]).map_err(|error| error.to_string())?;
    Ok(answer.as_array().into_iter().flatten().filter_map(|agent| agent["tag"].as_str()).map(str::to_owned).collect())
}
