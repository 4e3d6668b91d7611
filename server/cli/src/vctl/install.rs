//! `vctl install` and `vctl kinds`: built-in agents.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use super::failure::{Failure, Outcome};
use super::global::Context;
use crate::output::{line, pretty};

/// What to install.
#[derive(Debug, Args)]
pub struct Install {
    /// Kind of agent; `vctl kinds` lists them
    kind: String,
    /// Identity on the bus [default: the kind's own]
    #[arg(long, value_name = "IDENTITY")]
    vip_identity: Option<String>,
    /// Nickname
    #[arg(long)]
    tag: Option<String>,
    /// Configuration, YAML or JSON
    #[arg(long, value_name = "FILE")]
    agent_config: Option<PathBuf>,
    /// Start with the platform
    #[arg(long)]
    enable: bool,
    /// Start order, 0 to 99 (means --enable)
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<String>,
    /// Start now
    #[arg(long)]
    start: bool,
    /// Replace an agent of the same identity, keeping its data
    #[arg(short, long)]
    force: bool,
}

pub fn install(context: &Context, install: &Install) -> Outcome {
    let config = match &install.agent_config {
        None => Value::Null,
        Some(path) => {
            let text =
                std::fs::read_to_string(path).map_err(|_| Failure::new(1, format!("Config file {} does not exist!", path.display())))?;
            serde_saphyr::from_str::<Value>(&text).map_err(|error| Failure::new(1, format!("{}: {error}", path.display())))?
        }
    };
    let priority = install.priority.clone().or_else(|| install.enable.then(|| "50".to_owned()));
    let kwargs = Map::from_iter([
        ("kind".to_owned(), json!(install.kind)),
        ("identity".to_owned(), json!(install.vip_identity)),
        ("tag".to_owned(), json!(install.tag)),
        ("priority".to_owned(), json!(priority)),
        ("config".to_owned(), config),
        ("force".to_owned(), json!(install.force)),
    ]);
    let uuid = context.client.call_with("control", "install_builtin", vec![], kwargs)?;
    let mut answer = Map::from_iter([("agent_uuid".to_owned(), uuid.clone())]);
    if let Some(tag) = &install.tag {
        answer.insert("tag".to_owned(), json!(tag));
    }
    if let Some(priority) = priority {
        answer.insert("enabling".to_owned(), json!(true));
        answer.insert("priority".to_owned(), json!(priority));
    }
    let uuid_text = uuid.as_str().unwrap_or_default();
    if !install.start {
        return report(context.json, &answer, &format!("Agent {uuid_text} installed"));
    }
    context.control("start_agent", vec![uuid.clone()])?;
    let state = context.control("agent_status", vec![uuid.clone()])?;
    let running = !state[0].is_null() && state[1].is_null();
    answer.insert("starting".to_owned(), json!(true));
    answer.insert("started".to_owned(), json!(running));
    answer.insert("pid".to_owned(), state[0].clone());
    report(context.json, &answer, &format!("Agent {uuid_text} installed and started [{}]", state[0]))
}

pub fn kinds(context: &Context) -> Outcome {
    let kinds = context.control("agent_kinds", vec![])?;
    if context.json {
        return Context::print_json(&kinds);
    }
    for kind in kinds.as_array().into_iter().flatten() {
        let text = |key: &str| kind[key].as_str().unwrap_or_default();
        line(&format!("{:20} {}", text("kind"), text("summary")));
    }
    Ok(())
}

fn report(as_json: bool, answer: &Map<String, Value>, text: &str) -> Outcome {
    line(&if as_json { pretty(&Value::Object(answer.clone()), 4) } else { text.to_owned() });
    Ok(())
}
