//! Commands that change installed agents: start, stop, restart, enable, disable, tag, remove.

use clap::Args;
use serde_json::{Value, json};

use super::failure::{Failure, Outcome};
use super::global::Context;
use super::installed::{Agent, Report, either, installed, on_disk};
use super::patterns::{Filters, Patterns};
use crate::output::{complain, line, printable};

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
    #[command(flatten)]
    filters: Filters,
}

pub fn start(context: &Context, patterns: &Patterns) -> Outcome {
    let wanted = patterns.wanted(&installed(context)?, "start")?;
    let mut report = Report::new(context);
    start_all(context, &wanted, &mut report)?;
    report.finish()
}

pub fn stop(context: &Context, patterns: &Patterns) -> Outcome {
    let wanted = patterns.wanted(&installed(context)?, "stop")?;
    let mut report = Report::new(context);
    stop_all(context, &wanted, &mut report)?;
    report.finish()
}

pub fn restart(context: &Context, patterns: &Patterns) -> Outcome {
    let wanted = patterns.wanted(&installed(context)?, "restart")?;
    let mut report = Report::new(context);
    stop_all(context, &wanted, &mut report)?;
    start_all(context, &wanted, &mut report)?;
    report.finish()
}

fn start_all(context: &Context, agents: &[Agent], report: &mut Report) -> Outcome {
    for agent in agents {
        let state = context.control("agent_status", vec![json!(agent.uuid)])?;
        if state[0].is_null() || !state[1].is_null() {
            report.line("Starting", agent, "");
            context.control("start_agent", vec![json!(agent.uuid)])?;
        }
    }
    Ok(())
}

fn stop_all(context: &Context, agents: &[Agent], report: &mut Report) -> Outcome {
    for agent in agents {
        let state = context.control("agent_status", vec![json!(agent.uuid)])?;
        if !state[0].is_null() {
            report.line("Stopping", agent, "");
            context.control("stop_agent", vec![json!(agent.uuid)])?;
        }
    }
    Ok(())
}

pub fn enable(context: &Context, enable: &Enable) -> Outcome {
    let wanted = enable.patterns.wanted(&installed(context)?, "enable")?;
    let mut report = Report::new(context);
    for agent in &wanted {
        report.line("Enabling", agent, &format!(" with priority {}", enable.priority));
        context.control("prioritize_agent", vec![json!(agent.uuid), json!(enable.priority)])?;
    }
    report.finish()
}

pub fn disable(context: &Context, patterns: &Patterns) -> Outcome {
    let wanted = patterns.wanted(&installed(context)?, "disable")?;
    let mut report = Report::new(context);
    for agent in wanted.iter().filter(|agent| agent.priority.is_some()) {
        report.line("Disabling", agent, "");
        context.control("prioritize_agent", vec![json!(agent.uuid), Value::Null])?;
    }
    report.finish()
}

pub fn remove(context: &Context, remove: &Remove) -> Outcome {
    let all = installed(context)?;
    if remove.patterns.patterns.is_empty() {
        return Err(Failure::new(2, "Missing search pattern."));
    }
    let mut report = Report::new(context);
    for pattern in &remove.patterns.patterns {
        let found = remove.patterns.filters.matching(&all, pattern)?;
        if found.is_empty() {
            context.complain(&format!("agent not found: {}", printable(pattern)));
        } else if found.len() > 1 && !remove.force {
            context.complain(&format!("pattern returned multiple agents: {}", printable(pattern)));
            complain("Use -f or --force to force removal of multiple agents.");
            return Err(Failure::plain(10, ""));
        }
        for agent in &found {
            report.line("Removing", agent, "");
            context.control("remove_agent", vec![json!(agent.uuid)])?;
        }
    }
    report.finish()
}

pub fn tag(context: &Context, options: &TagOptions) -> Outcome {
    let online = || {
        let agent = the_one(&installed(context)?, options)?;
        tag_one(context, options, &agent, |tag| context.control("tag_agent", vec![json!(agent.uuid), json!(tag)]).map(drop))
    };
    either(context, online, |files| {
        let agent = the_one(&on_disk(files)?, options)?;
        tag_one(context, options, &agent, |tag| Ok(files.set_tag(&agent.uuid, tag)?))
    })
}

fn the_one(all: &[Agent], options: &TagOptions) -> Result<Agent, Failure> {
    let mut found = options.filters.matching(all, &options.agent)?;
    match (found.pop(), found.is_empty()) {
        (Some(agent), true) => Ok(agent),
        (None, _) => Err(Failure::new(10, format!("agent not found: {}", printable(&options.agent)))),
        (Some(_), false) => Err(Failure::new(10, format!("multiple agents selected: {}", printable(&options.agent)))),
    }
}

fn tag_one(context: &Context, options: &TagOptions, agent: &Agent, set: impl Fn(Option<&str>) -> Outcome) -> Outcome {
    let mut report = Report::new(context);
    match (&options.tag, options.remove, &agent.tag) {
        (Some(tag), ..) => {
            report.line("Tagging", agent, "");
            set(Some(tag))?;
            report.finish()
        }
        (None, true, had) => {
            if had.is_some() {
                report.line("Removing tag for", agent, "");
                set(None)?;
            }
            report.finish()
        }
        (None, false, tag) if context.json => Context::print_json(&json!(tag)),
        (None, false, Some(tag)) => {
            line(&printable(tag));
            Ok(())
        }
        (None, false, None) => Ok(()),
    }
}

/// Two digits, as VOLTTRON stores and prints it.
fn priority(text: &str) -> Result<String, String> {
    match text.parse::<u8>() {
        Ok(number) if number < 100 => Ok(format!("{number:02}")),
        _ => Err("give a whole number from 0 to 99".to_owned()),
    }
}
