//! `vctl stats`: counters of the router, as far as they are counted.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::failure::Outcome;
use super::global::Context;
use crate::output::{line, pretty};
use crate::python;

/// What to do with the counters.
#[derive(Debug, Args)]
pub struct Stats {
    /// What to do
    #[arg(value_enum, default_value_t = Operation::Status)]
    operation: Operation,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Operation {
    /// Whether messages are counted
    Status,
    /// Count messages, from zero
    Enable,
    /// End counting
    Disable,
    /// What was counted, in one line
    Dump,
    /// What was counted, in many lines
    Pprint,
}

pub fn run(context: &Context, stats: &Stats) -> Outcome {
    match stats.operation {
        Operation::Status => status(context),
        Operation::Enable => {
            context.control("stats.enable", vec![])?;
            told_if_json(context, true)
        }
        Operation::Disable => {
            context.control("stats.disable", vec![])?;
            told_if_json(context, false)
        }
        Operation::Dump | Operation::Pprint => {
            let counted = context.control("stats.get", vec![])?;
            match stats.operation {
                _ if context.json => return Context::print_json(&counted),
                Operation::Pprint => line(&pretty(&counted, 1)),
                _ => line(&python::repr(&counted)),
            }
            Ok(())
        }
    }
}

fn status(context: &Context) -> Outcome {
    let enabled = context.control("stats.enabled", vec![])?;
    if context.json {
        return told_if_json(context, enabled == Value::Bool(true));
    }
    line(if enabled == Value::Bool(true) { "enabled" } else { "disabled" });
    Ok(())
}

fn told_if_json(context: &Context, enabled: bool) -> Outcome {
    if context.json { Context::print_json(&json!({"enabled": enabled})) } else { Ok(()) }
}
