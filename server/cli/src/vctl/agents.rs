//! Commands on installed agents: list, status, health, start, stop, restart, enable, disable, tag, remove. Outputs as VOLTTRON prints them.

use clap::Args;
use regex::Regex;
use serde_json::{Map, Value, json};

use super::{Failure, Outcome};
use crate::client::Client;
use crate::output::{complain, line, printable, unique_prefix};

const CONTROL: &str = "control";

/// Which agents a command is about.
#[derive(Debug, Args)]
pub struct Patterns {
    /// Start of a UUID or of an agent's name
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Debug, Args)]
struct Filters {
    /// Patterns are names; * and ? stand for any text and any character
    #[arg(long = "name")]
    by_name: bool,
    /// Patterns are tags
    #[arg(long = "tag")]
    by_tag: bool,
    /// Patterns are UUIDs
    #[arg(long = "uuid")]
    by_uuid: bool,
    /// All agents that have a tag
    #[arg(long)]
    all_tagged: bool,
}

/// Which agents to show.
#[derive(Debug, Args)]
pub struct Listing {
    #[command(flatten)]
    patterns: Patterns,
    /// Show at least N characters of the UUID; 0 for all
    #[arg(short = 'n', value_name = "N", default_value_t = 1)]
    length: usize,
}

/// Which agents to enable, and how early they start.
#[derive(Debug, Args)]
pub struct Enable {
    #[command(flatten)]
    patterns: Patterns,
    /// Start order, 0 to 99
    #[arg(short, long, default_value = "50", value_parser = priority, allow_negative_numbers = true)]
    priority: String,
}

/// Which agents to remove.
#[derive(Debug, Args)]
pub struct Remove {
    #[command(flatten)]
    patterns: Patterns,
    /// Remove several agents at once
    #[arg(short, long)]
    force: bool,
}

/// Whose tag.
#[derive(Debug, Args)]
pub struct TagOptions {
    /// Start of a UUID or of an agent's name
    agent: String,
    /// The new tag; without, the tag is shown
    tag: Option<String>,
    /// Remove the tag
    #[arg(short, long, conflicts_with = "tag")]
    remove: bool,
    #[arg(long = "name", hide = true)]
    by_name: bool,
    #[arg(long = "uuid", hide = true)]
    by_uuid: bool,
}

#[derive(Debug, Clone)]
struct Agent {
    uuid: String,
    name: String,
    identity: String,
    tag: Option<String>,
    priority: Option<String>,
}

impl Agent {
    fn line(&self, verb: &str) {
        line(&format!("{verb} {} {}", self.uuid, printable(&self.name)));
    }
}

pub fn list(client: &Client, listing: &Listing, as_json: bool) -> Outcome {
    let all = installed(client)?;
    let shown = shown(&all, &listing.patterns, "list")?;
    if as_json {
        let entries = shown.iter().map(|agent| (agent.identity.clone(), agent_json(agent))).collect::<Map<_, _>>();
        return print_json(&Value::Object(entries));
    }
    let rows = shown.iter().map(|agent| (agent.clone(), format!("{:>6}", agent.priority.as_deref().unwrap_or_default()))).collect();
    print_table(rows, listing.length, &shown, "", &format!("{:>6}", "PRI"))
}

pub fn status(client: &Client, listing: &Listing, as_json: bool) -> Outcome {
    let all = installed(client)?;
    let shown = shown(&all, &listing.patterns, "status")?;
    let states = client.call(CONTROL, "status_agents", vec![])?;
    let healths = client.call("platform.health", "get_platform_health", vec![])?;
    let state_of = |agent: &Agent| {
        let row = states.as_array().into_iter().flatten().find(|row| row[0] == json!(agent.uuid));
        let (pid, code) = row.map_or((Value::Null, Value::Null), |row| (row[2][0].clone(), row[2][1].clone()));
        match (pid, code) {
            (Value::Null, _) => String::new(),
            (pid, Value::Null) => format!("running [{pid}]"),
            (_, code) => code.to_string(),
        }
    };
    if as_json {
        let entry = |agent: &Agent| {
            let mut entry = agent_json(agent);
            entry["status"] = json!(state_of(agent));
            entry["health"] = healths.get(&agent.identity).cloned().unwrap_or(Value::Null);
            (agent.identity.clone(), entry)
        };
        return print_json(&Value::Object(shown.iter().map(entry).collect()));
    }
    let row = |agent: &Agent| {
        let state = state_of(agent);
        // A health word of an agent that has ended would be an old one.
        let health = if state.starts_with("running") { healths[&agent.identity]["message"].as_str().unwrap_or_default() } else { "" };
        (agent.clone(), format!("{state:<15} {}", printable(health)).trim_end().to_owned())
    };
    let rows = shown.iter().map(row).collect();
    print_table(rows, listing.length, &all, "UUID", &format!("{:>6} {:>15}", "STATUS", "HEALTH"))
}

pub fn health(client: &Client, patterns: &Patterns) -> Outcome {
    let all = installed(client)?;
    let healths = client.call("platform.health", "get_platform_health", vec![])?;
    for agent in wanted(&all, patterns, "health")? {
        match healths.get(&agent.identity) {
            Some(health) => line(&pretty(health, 4)),
            None => line(&format!("No health associated with {}", agent.identity)),
        }
    }
    Ok(())
}

pub fn start(client: &Client, patterns: &Patterns) -> Outcome {
    start_all(client, &wanted(&installed(client)?, patterns, "start")?)
}

pub fn stop(client: &Client, patterns: &Patterns) -> Outcome {
    stop_all(client, &wanted(&installed(client)?, patterns, "stop")?)
}

pub fn restart(client: &Client, patterns: &Patterns) -> Outcome {
    let agents = wanted(&installed(client)?, patterns, "restart")?;
    stop_all(client, &agents)?;
    start_all(client, &agents)
}

fn start_all(client: &Client, agents: &[Agent]) -> Outcome {
    for agent in agents {
        let state = client.call(CONTROL, "agent_status", vec![json!(agent.uuid)])?;
        if state[0].is_null() || !state[1].is_null() {
            agent.line("Starting");
            client.call(CONTROL, "start_agent", vec![json!(agent.uuid)])?;
        }
    }
    Ok(())
}

fn stop_all(client: &Client, agents: &[Agent]) -> Outcome {
    for agent in agents {
        let state = client.call(CONTROL, "agent_status", vec![json!(agent.uuid)])?;
        if !state[0].is_null() {
            agent.line("Stopping");
            client.call(CONTROL, "stop_agent", vec![json!(agent.uuid)])?;
        }
    }
    Ok(())
}

pub fn enable(client: &Client, enable: &Enable) -> Outcome {
    let all = installed(client)?;
    for agent in wanted(&all, &enable.patterns, "enable")? {
        agent.line_with_priority(&enable.priority);
        client.call(CONTROL, "prioritize_agent", vec![json!(agent.uuid), json!(enable.priority)])?;
    }
    Ok(())
}

pub fn disable(client: &Client, patterns: &Patterns) -> Outcome {
    let all = installed(client)?;
    for agent in wanted(&all, patterns, "disable")?.into_iter().filter(|agent| agent.priority.is_some()) {
        agent.line("Disabling");
        client.call(CONTROL, "prioritize_agent", vec![json!(agent.uuid), Value::Null])?;
    }
    Ok(())
}

pub fn remove(client: &Client, remove: &Remove) -> Outcome {
    let all = installed(client)?;
    for pattern in &remove.patterns.patterns {
        let found = matching(&all, pattern, &remove.patterns.filters)?;
        if found.is_empty() {
            complain(&format!("remove: error: agent not found: {}", printable(pattern)));
        } else if found.len() > 1 && !remove.force {
            complain(&format!("remove: error: pattern returned multiple agents: {}", printable(pattern)));
            return Err(Failure::new(10, "Use -f or --force to force removal of multiple agents."));
        }
        for agent in found {
            agent.line("Removing");
            client.call(CONTROL, "remove_agent", vec![json!(agent.uuid)])?;
        }
    }
    if remove.patterns.patterns.is_empty() { Err(Failure::new(2, "give the agents to remove")) } else { Ok(()) }
}

pub fn tag(client: &Client, options: &TagOptions) -> Outcome {
    let all = installed(client)?;
    let filters = Filters { by_name: options.by_name, by_tag: false, by_uuid: options.by_uuid, all_tagged: false };
    let found = matching(&all, &options.agent, &filters)?;
    let agent = match found.as_slice() {
        [] => return Err(Failure::new(10, format!("agent not found: {}", printable(&options.agent)))),
        [agent] => agent,
        _ => return Err(Failure::new(10, format!("multiple agents selected: {}", printable(&options.agent)))),
    };
    match (&options.tag, options.remove) {
        (Some(tag), _) => {
            agent.line("Tagging");
            client.call(CONTROL, "tag_agent", vec![json!(agent.uuid), json!(tag)])?;
        }
        (None, true) => {
            if agent.tag.is_some() {
                agent.line("Removing tag for");
                client.call(CONTROL, "tag_agent", vec![json!(agent.uuid), Value::Null])?;
            }
        }
        (None, false) => {
            if let Some(tag) = &agent.tag {
                line(&printable(tag));
            }
        }
    }
    Ok(())
}

impl Agent {
    fn line_with_priority(&self, priority: &str) {
        line(&format!("Enabling {} {} with priority {priority}", self.uuid, printable(&self.name)));
    }
}

/// Two digits, as VOLTTRON stores and prints it.
fn priority(text: &str) -> Result<String, String> {
    match text.parse::<u8>() {
        Ok(number) if number < 100 => Ok(format!("{number:02}")),
        _ => Err("give a whole number from 0 to 99".to_owned()),
    }
}

fn installed(client: &Client) -> Result<Vec<Agent>, Failure> {
    let answer = client.call(CONTROL, "list_agents", vec![])?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut agents: Vec<Agent> = answer
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| Agent {
            uuid: text(&entry["uuid"]).unwrap_or_default(),
            name: text(&entry["name"]).unwrap_or_default(),
            identity: text(&entry["identity"]).unwrap_or_default(),
            tag: text(&entry["tag"]),
            priority: text(&entry["priority"]),
        })
        .collect();
    agents.sort_by(|a, b| (&a.name, &a.identity).cmp(&(&b.name, &b.identity)));
    Ok(agents)
}

/// Agents that a command is about; patterns that find nothing are told on standard error.
fn wanted(all: &[Agent], patterns: &Patterns, command: &str) -> Result<Vec<Agent>, Failure> {
    if patterns.filters.all_tagged {
        return Ok(all.iter().filter(|agent| agent.tag.is_some()).cloned().collect());
    }
    if patterns.patterns.is_empty() {
        return Err(Failure::new(2, "Missing search pattern."));
    }
    let mut found: Vec<Agent> = Vec::new();
    for pattern in &patterns.patterns {
        let matches = matching(all, pattern, &patterns.filters)?;
        if matches.is_empty() {
            match command {
                "start" | "stop" | "restart" => {
                    complain(&format!("Agents NOT found using 'vctl {command}' on pattern: {}", printable(pattern)));
                }
                _ => complain(&format!("{command}: error: agent not found: {}", printable(pattern))),
            }
        }
        for agent in matches {
            if found.iter().all(|known| known.uuid != agent.uuid) {
                found.push(agent);
            }
        }
    }
    Ok(found)
}

/// Agents to show: all, or those that the patterns find.
fn shown(all: &[Agent], patterns: &Patterns, command: &str) -> Result<Vec<Agent>, Failure> {
    if patterns.patterns.is_empty() && !patterns.filters.all_tagged { Ok(all.to_vec()) } else { wanted(all, patterns, command) }
}

fn matching(all: &[Agent], pattern: &str, filters: &Filters) -> Result<Vec<Agent>, Failure> {
    if !(filters.by_name || filters.by_tag || filters.by_uuid) {
        let by_uuid: Vec<_> = all.iter().filter(|agent| agent.uuid.starts_with(pattern)).cloned().collect();
        return Ok(if by_uuid.is_empty() {
            all.iter().filter(|agent| agent.name.starts_with(pattern)).cloned().collect()
        } else {
            by_uuid
        });
    }
    let text = regex::escape(pattern).replace(r"\*", ".*").replace(r"\?", ".");
    let regex = Regex::new(&format!("^(?s:{text})$")).map_err(|_| Failure::new(2, "the pattern is too long"))?;
    let fits = |agent: &Agent| {
        (filters.by_name && regex.is_match(&agent.name))
            || (filters.by_tag && agent.tag.as_deref().is_some_and(|tag| regex.is_match(tag)))
            || (filters.by_uuid && regex.is_match(&agent.uuid))
    };
    Ok(all.iter().filter(|agent| fits(agent)).cloned().collect())
}

/// Prints the header to standard error and one row per agent to standard output. `unique_in` are the agents among which the shown start of
/// the UUID is unique.
fn print_table(rows: Vec<(Agent, String)>, length: usize, unique_in: &[Agent], uuid_header: &str, last_header: &str) -> Outcome {
    if rows.is_empty() {
        complain("No installed Agents found");
        return Ok(());
    }
    let uuids: Vec<_> = unique_in.iter().map(|agent| agent.uuid.as_str()).collect();
    let length = if length == 0 { 36 } else { unique_prefix(&uuids, length) };
    let cells = |agent: &Agent| [printable(&agent.name), printable(&agent.identity), printable(agent.tag.as_deref().unwrap_or_default())];
    let mut widths = [5, 3, 3];
    for (agent, _) in &rows {
        for (width, cell) in widths.iter_mut().zip(cells(agent)) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let format = |first: &str, cells: [&str; 3], last: &str| {
        let [name, identity, tag] = widths;
        format!("{first:length$} {:name$} {:identity$} {:tag$} {last}", cells[0], cells[1], cells[2])
    };
    complain(&format(uuid_header, ["AGENT", "IDENTITY", "TAG"], last_header));
    for (agent, last) in rows {
        let [name, identity, tag] = cells(&agent);
        let start: String = agent.uuid.chars().take(length).collect();
        line(format(&start, [&name, &identity, &tag], &last).trim_end());
    }
    Ok(())
}

fn agent_json(agent: &Agent) -> Value {
    json!({
        "agent_uuid": agent.uuid,
        "name": agent.name,
        "identity": agent.identity,
        "agent_tag": agent.tag.clone().unwrap_or_default(),
        "PRI": agent.priority.clone().unwrap_or_default(),
    })
}

fn print_json(value: &Value) -> Outcome {
    line(&pretty(value, 2));
    Ok(())
}

/// JSON with an indent, as Python's `json.dumps(indent=...)`.
pub fn pretty(value: &Value, indent: usize) -> String {
    let spaces = vec![b' '; indent];
    let formatter = serde_json::ser::PrettyFormatter::with_indent(&spaces);
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        Err(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(uuid: &str, name: &str, tag: Option<&str>) -> Agent {
        Agent { uuid: uuid.into(), name: name.into(), identity: name.into(), tag: tag.map(Into::into), priority: None }
    }

    fn found(pattern: &str, by_name: bool, by_tag: bool) -> Vec<String> {
        let all = [agent("8b1e", "listeneragent-3.3", Some("listener")), agent("9c00", "platform_driveragent-4.0", None)];
        let filters = Filters { by_name, by_tag, by_uuid: false, all_tagged: false };
        matching(&all, pattern, &filters).unwrap().into_iter().map(|agent| agent.uuid).collect()
    }

    #[test]
    fn patterns_are_starts_of_uuids_then_of_names() {
        assert_eq!(found("8", false, false), ["8b1e"]);
        assert_eq!(found("platform", false, false), ["9c00"]);
        assert_eq!(found("x", false, false), Vec::<String>::new());
    }

    #[test]
    fn filters_match_whole_texts_with_wild_cards() {
        assert_eq!(found("*agent-?.?", true, false), ["8b1e", "9c00"]);
        assert_eq!(found("listener", false, true), ["8b1e"]);
        assert_eq!(found("listen", false, true), Vec::<String>::new());
        assert_eq!(found("a.*(", true, false), Vec::<String>::new(), "regex signs are plain text");
    }
}
