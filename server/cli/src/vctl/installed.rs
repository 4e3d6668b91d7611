//! Installed agents of a platform that runs, asked of `control`, or of one that rests, read from its files.

use std::time::Instant;

use serde_json::{Value, json};
use vt_app::offline::{Offline, OfflineError};

use super::failure::Failure;
use super::global::Context;
use crate::client::ClientError;
use crate::output::{complain, line, printable};

/// An installed agent.
#[derive(Debug, Clone)]
pub struct Agent {
    pub uuid: String,
    pub name: String,
    pub identity: String,
    pub tag: Option<String>,
    pub priority: Option<String>,
}

impl Agent {
    /// As `list --json` shows it.
    pub fn json(&self) -> Value {
        json!({
            "agent_uuid": self.uuid,
            "name": self.name,
            "identity": self.identity,
            "agent_tag": self.tag.clone().unwrap_or_default(),
            "PRI": self.priority.clone().unwrap_or_default(),
        })
    }
}

/// Agents of a running platform, by name.
pub fn installed(context: &Context) -> Result<Vec<Agent>, Failure> {
    let answer = context.control("list_agents", vec![])?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let agents = answer.as_array().into_iter().flatten().map(|entry| Agent {
        uuid: text(&entry["uuid"]).unwrap_or_default(),
        name: text(&entry["name"]).unwrap_or_default(),
        identity: text(&entry["identity"]).unwrap_or_default(),
        tag: text(&entry["tag"]),
        priority: text(&entry["priority"]),
    });
    Ok(sorted(agents.collect()))
}

fn sorted(mut agents: Vec<Agent>) -> Vec<Agent> {
    agents.sort_by(|a, b| (&a.name, &a.identity).cmp(&(&b.name, &b.identity)));
    agents
}

/// Does something through the running server, or on the files of one that is down. While the server starts or another tool works on the
/// files, neither is possible: then it tries again, as long as a call may take.
pub fn either<T>(
    context: &Context,
    online: impl Fn() -> Result<T, Failure>,
    offline: impl Fn(&Offline) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let end = Instant::now() + context.client.timeout();
    loop {
        // Asked first: who answers holds the files.
        match context.client.call("control", "peerlist", vec![]) {
            Ok(_) => return online(),
            Err(ClientError::NotRunning) => {}
            Err(error) => return Err(error.into()),
        }
        match Offline::open(&context.home) {
            Ok(files) => return offline(&files),
            Err(OfflineError::InUse) if Instant::now() < end => context.client.pause(),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Agents of a platform whose server is down, by name.
pub fn on_disk(files: &Offline) -> Result<Vec<Agent>, Failure> {
    let (agents, warnings) = files.agents()?;
    warnings.iter().for_each(|warning| complain(&printable(warning)));
    let agent = |agent: vt_app::offline::OfflineAgent| Agent {
        uuid: agent.uuid,
        name: agent.name,
        identity: agent.identity,
        tag: agent.tag,
        priority: agent.priority,
    };
    Ok(sorted(agents.into_iter().map(agent).collect()))
}

/// What a command did to agents: told line by line, or as JSON at the end.
pub struct Report {
    done: Option<Vec<Value>>,
}

impl Report {
    /// Tells in the form that is asked for.
    pub fn new(context: &Context) -> Self {
        Self { done: context.json.then(Vec::new) }
    }

    /// `<verb> <uuid> <name><more>`.
    pub fn line(&mut self, verb: &str, agent: &Agent, more: &str) {
        match &mut self.done {
            Some(done) => {
                done.push(json!({"action": verb.to_lowercase(), "agent_uuid": agent.uuid, "name": agent.name, "identity": agent.identity}));
            }
            None => line(&format!("{verb} {} {}{more}", agent.uuid, printable(&agent.name))),
        }
    }

    /// The JSON, if that is the form.
    pub fn finish(self) -> Result<(), Failure> {
        match self.done {
            Some(done) => Context::print_json(&Value::Array(done)),
            None => Ok(()),
        }
    }
}
