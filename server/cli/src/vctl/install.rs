//! `vctl install` and `vctl kinds`. Texts and exit codes: VOLTTRON `volttron/platform/control/install_agents.py`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};
use vt_api::local_install::{InstallCall, InstallSource, Installed};

use super::failure::{Failure, Outcome};
use super::global::Context;
use super::installation;
use crate::output::{complain, line, pretty, printable};
use crate::python;

/// How long a started package has to stay up before it counts as started, unless something else is asked for.
const START_TIME_S: f64 = 5.0;

/// What to install.
#[derive(Debug, Args)]
pub struct Install {
    /// Directory with setup.py or pyproject.toml, wheel, built-in agent (`vctl kinds` lists them), or name of a package
    #[arg(required_unless_present = "skip_requirements")]
    install_path: Option<String>,
    /// Identity on the bus [default: the agent's own]
    #[arg(long, value_name = "IDENTITY")]
    vip_identity: Option<String>,
    /// Nickname
    #[arg(long)]
    tag: Option<String>,
    /// Configuration, YAML or JSON
    #[arg(long, value_name = "FILE")]
    agent_config: Option<PathBuf>,
    /// Replace an agent of the same identity, keeping its data, its key and its configuration store
    #[arg(short, long)]
    force: bool,
    /// Start order, 0 to 99 (means --enable)
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<String>,
    /// Start with the platform
    #[arg(long)]
    enable: bool,
    /// Start now
    #[arg(long)]
    start: bool,
    /// Seconds after which a started agent must still run; -st as well [default: 5]
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    agent_start_time: Option<f64>,
    /// Print the result as a header line and a line of values as well
    #[arg(long)]
    csv: bool,
    /// Do not install what a directory's requirements.txt names
    #[arg(long, value_name = "VALUE", num_args = 0..=1)]
    skip_requirements: Option<Option<String>>,
    /// Take versions that are not final as well
    #[arg(long, visible_alias = "pre-release")]
    allow_prerelease: bool,
    /// Refused: packages are not signed here
    #[arg(long, hide = true, overrides_with = "no_verify")]
    verify: bool,
    /// Accepted for VOLTTRON's scripts: packages are not signed here
    #[arg(long, hide = true)]
    no_verify: bool,
}

impl Install {
    /// In two digits, because it is compared as text.
    fn start_order(&self) -> Option<String> {
        let given = self.priority.as_ref().map(|text| text.parse::<u8>().map_or_else(|_| text.clone(), |number| format!("{number:02}")));
        given.or_else(|| self.enable.then(|| "50".to_owned()))
    }

    /// VOLTTRON's `--skip-requirements` wants a value and its own scripts give none: then what follows is the path.
    fn path_and_skipping(&self) -> Result<(&str, bool), Failure> {
        match (&self.install_path, &self.skip_requirements) {
            (Some(path), None) => Ok((path, false)),
            (Some(path), Some(None)) => Ok((path, true)),
            (Some(path), Some(Some(value))) => Ok((path, !matches!(&*value.to_lowercase(), "" | "0" | "false" | "no"))),
            (None, Some(Some(path))) => Ok((path, true)),
            (None, _) => Err(Failure::new(2, "say what to install")),
        }
    }
}

pub fn install(context: &Context, install: &Install) -> Outcome {
    let (path, skip_requirements) = install.path_and_skipping()?;
    if install.verify {
        return Err(Failure::plain(1, "Packages are not signed here, so none can be verified; leave --verify out."));
    }
    let config = install.agent_config.as_deref().map(config_of).transpose()?;
    let source = installation::source(context, path)?;
    let is_kind = matches!(source, InstallSource::Kind(_));
    let call = InstallCall {
        identity: install.vip_identity.clone(),
        tag: install.tag.clone(),
        priority: install.start_order(),
        config: config.map(|config| if is_kind { config.value.to_string() } else { config.text }),
        force: install.force,
        start: install.start,
        allow_prerelease: install.allow_prerelease,
        skip_requirements,
        ..installation::call(source)
    };
    let installed = installation::run(context, &call)?;
    // Built-in agents are up when their start is over.
    let usual = if is_kind { 0.0 } else { START_TIME_S };
    let start_time = Duration::from_secs_f64(install.agent_start_time.unwrap_or(usual));
    let pid = if call.start { pid_after(context, &installed, start_time)? } else { None };
    report(context, install, &call, &installed, pid.as_ref())
}

/// An agent's configuration file.
struct Config {
    text: String,
    value: Value,
}

fn config_of(path: &Path) -> Result<Config, Failure> {
    let bytes = std::fs::read(path).map_err(|_| Failure::plain(1, format!("Config file {} does not exist!", path.display())))?;
    // The first line says it; the others draw the place.
    let first_line = |text: String| text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let wrong =
        |error: &dyn std::fmt::Display| Failure::plain(1, format!("Config file {}: {}", path.display(), first_line(error.to_string())));
    let text = String::from_utf8(bytes).map_err(|_| wrong(&"it is not UTF-8 text"))?;
    let value = serde_json::from_str(&text).or_else(|_| serde_saphyr::from_str::<Value>(&text)).map_err(|error| wrong(&error))?;
    Ok(Config { text, value })
}

/// The process id if the agent was started and still runs after `time`.
fn pid_after(context: &Context, installed: &Installed, time: Duration) -> Result<Option<Value>, Failure> {
    if let Some(error) = &installed.start_error {
        complain(&format!("The agent was not started: {}", printable(error)));
        return Ok(None);
    }
    context.client.wait_or_interrupt(time)?;
    let state = context.control("agent_status", vec![json!(installed.uuid)])?;
    let runs = !state[0].is_null() && state[1].is_null();
    if !runs {
        complain("The agent was started and does not run any more; the platform's log says why.");
    }
    Ok(runs.then(|| state[0].clone()))
}

fn report(context: &Context, install: &Install, call: &InstallCall, installed: &Installed, pid: Option<&Value>) -> Outcome {
    let mut answer = Map::from_iter([("agent_uuid".to_owned(), json!(installed.uuid))]);
    if let Some(tag) = &call.tag {
        answer.insert("tag".to_owned(), json!(tag));
    }
    if let Some(priority) = &call.priority {
        answer.insert("enabling".to_owned(), json!(true));
        answer.insert("priority".to_owned(), json!(priority));
    }
    if call.start {
        answer.insert("starting".to_owned(), json!(true));
        answer.insert("started".to_owned(), json!(pid.is_some()));
    }
    if let Some(pid) = pid {
        answer.insert("pid".to_owned(), pid.clone());
    }
    match pid {
        _ if context.json => line(&pretty(&Value::Object(answer.clone()), 4)),
        Some(pid) => line(&format!("Agent {} installed and started [{pid}]", installed.uuid)),
        None => line(&format!("Agent {} installed", installed.uuid)),
    }
    if install.csv {
        line(&answer.keys().map(String::as_str).collect::<Vec<_>>().join(","));
        let values = answer.values().map(|value| value.as_str().map_or_else(|| python::repr(value), printable));
        line(&values.collect::<Vec<_>>().join(","));
    }
    Ok(())
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

/// A time that a person may wait.
pub fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=3600.0).contains(&value) => Ok(value),
        _ => Err("give a number of seconds from 0 to 3600".to_owned()),
    }
}
