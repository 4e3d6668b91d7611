//! Capabilities that callers of an agent's methods need.

use clap::{Args, Subcommand};
use serde_json::json;

use super::super::failure::{Failure, Outcome};
use super::super::global::Context;
use super::change;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Callers of a method need further capabilities
    Add(Method),
    /// Callers of a method need certain capabilities no more
    Remove(Method),
}

#[derive(Debug, Args)]
pub struct Method {
    /// Identity of the agent, a dot, and its method
    #[arg(value_name = "IDENTITY.METHOD")]
    method: String,
    /// Capabilities
    #[arg(value_name = "CAPABILITY", required = true)]
    capabilities: Vec<String>,
}

pub fn run(context: &Context, command: &Command) -> Outcome {
    let (given, call, action) = match command {
        Command::Add(method) => (method, "add_rpc_authorizations", "added"),
        Command::Remove(method) => (method, "delete_rpc_authorizations", "removed"),
    };
    let wrong = || Failure::new(2, "the format is IDENTITY.METHOD CAPABILITY...");
    let (identity, method) =
        given.method.rsplit_once('.').filter(|(identity, method)| !identity.is_empty() && !method.is_empty()).ok_or_else(wrong)?;
    change(context, call, &[json!(identity), json!(method), json!(given.capabilities)])?;
    if !context.json {
        return Ok(());
    }
    Context::print_json(&json!({"action": action, "identity": identity, "method": method, "capabilities": given.capabilities}))
}
