//! Tables of installed agents, and their health. Outputs as VOLTTRON prints them: the header on standard error, rows on standard output.

use clap::Args;
use serde_json::{Map, Value, json};

use super::failure::Outcome;
use super::global::Context;
use super::installed::{Agent, either, installed, on_disk};
use super::patterns::Patterns;
use crate::output::{complain, line, pretty, printable, unique_prefix};

/// Which agents to show.
#[derive(Debug, Args)]
pub struct Listing {
    #[command(flatten)]
    pub patterns: Patterns,
    /// Show at least N characters of the UUID; 0 for all
    #[arg(short = 'n', value_name = "N", default_value_t = 1)]
    pub length: usize,
}

pub fn list(context: &Context, listing: &Listing) -> Outcome {
    let all = either(context, || installed(context), on_disk)?;
    let shown = listing.patterns.shown(&all, "list")?;
    if context.json {
        return Context::print_json(&Value::Object(shown.iter().map(|agent| (agent.identity.clone(), agent.json())).collect()));
    }
    let rows = shown.iter().map(|agent| (agent.clone(), format!("{:>6}", agent.priority.as_deref().unwrap_or_default()))).collect();
    print_table(rows, listing.length, &shown, "", &format!("{:>6}", "PRI"));
    Ok(())
}

pub fn status(context: &Context, listing: &Listing) -> Outcome {
    let all = installed(context)?;
    let shown = listing.patterns.shown(&all, "status")?;
    let states = context.control("status_agents", vec![json!(true)])?;
    let healths = context.client.call("platform.health", "get_platform_health", vec![])?;
    let row_of = |agent: &Agent| states.as_array().into_iter().flatten().find(|row| row[0] == json!(agent.uuid));
    // Where agents have users of their own, a row has a fifth value: the user, before the state.
    let has_user = |row: &Value| row.as_array().is_some_and(|row| row.len() == 5);
    let user_of = |agent: &Agent| {
        let row = row_of(agent).filter(|row| has_user(row))?;
        Some(printable(row[2].as_str().unwrap_or_default()))
    };
    let state_of = |agent: &Agent| {
        let state = row_of(agent).map_or(&Value::Null, |row| &row[if has_user(row) { 3 } else { 2 }]);
        match (state[0].clone(), state[1].clone()) {
            (Value::Null, _) => String::new(),
            (pid, Value::Null) => format!("running [{pid}]"),
            (_, code) => code.to_string(),
        }
    };
    if context.json {
        let entry = |agent: &Agent| {
            let mut entry = agent.json();
            entry["status"] = json!(state_of(agent));
            if let Some(user) = user_of(agent) {
                entry["agent_user"] = json!(user);
            }
            entry["health"] = healths.get(&agent.identity).cloned().unwrap_or(Value::Null);
            (agent.identity.clone(), entry)
        };
        return Context::print_json(&Value::Object(shown.iter().map(entry).collect::<Map<_, _>>()));
    }
    let is_isolated = states.as_array().into_iter().flatten().any(has_user);
    let width = shown.iter().filter_map(&user_of).map(|user| user.chars().count()).max().unwrap_or(0).max("AGENT_USER".len());
    let with_user = |user: &str, rest: String| if is_isolated { format!("{user:width$} {rest}") } else { rest };
    let row = |agent: &Agent| {
        let state = state_of(agent);
        // A health word of an agent that has ended would be an old one.
        let health = if state.starts_with("running") { healths[&agent.identity]["message"].as_str().unwrap_or_default() } else { "" };
        let rest = format!("{state:<15} {}", printable(health)).trim_end().to_owned();
        (agent.clone(), with_user(&user_of(agent).unwrap_or_default(), rest))
    };
    let rows = shown.iter().map(row).collect();
    print_table(rows, listing.length, &all, "UUID", &with_user("AGENT_USER", format!("{:>6} {:>15}", "STATUS", "HEALTH")));
    Ok(())
}

pub fn health(context: &Context, patterns: &Patterns) -> Outcome {
    let all = installed(context)?;
    let healths = context.client.call("platform.health", "get_platform_health", vec![])?;
    let wanted = patterns.wanted(&all, "health")?;
    if context.json && wanted.len() != 1 {
        let entry = |agent: &Agent| (agent.identity.clone(), healths.get(&agent.identity).cloned().unwrap_or(Value::Null));
        return Context::print_json(&Value::Object(wanted.iter().map(entry).collect()));
    }
    for agent in wanted {
        match healths.get(&agent.identity) {
            Some(health) => line(&pretty(health, 4)),
            None if context.json => line("null"),
            None => line(&format!("No health associated with {}", agent.identity)),
        }
    }
    Ok(())
}

/// Prints the header to standard error and one row per agent to standard output. `unique_in` are the agents among which the shown start of
/// the UUID is unique.
pub fn print_table(rows: Vec<(Agent, String)>, length: usize, unique_in: &[Agent], uuid_header: &str, last_header: &str) {
    if rows.is_empty() {
        complain("No installed Agents found");
        return;
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
}
