//! Peers that asked to connect: who waits, who is let in, who is kept out. Those that wait are known while the server runs.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::failure::{Failure, Outcome};
use super::super::global::Context;
use super::{ask, change};
use crate::output::{complain, line, printable};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Let a peer in
    Approve(UserId),
    /// Forget a peer; if it tries again, it waits again
    Delete(UserId),
    /// Keep a peer out
    Deny(UserId),
    /// Peers that are let in, kept out or wait
    List(List),
}

#[derive(Debug, Args)]
pub struct UserId {
    /// As `list` shows it
    user_id: String,
}

#[derive(Debug, Args)]
pub struct List {
    /// approved, denied or pending only
    #[arg(long)]
    status: Option<String>,
}

/// Statuses with the methods that tell who has them, in VOLTTRON's order.
const STATUSES: [(&str, &str); 3] =
    [("APPROVED", "get_approved_authorizations"), ("DENIED", "get_denied_authorizations"), ("PENDING", "get_pending_authorizations")];

pub fn run(context: &Context, command: &Command) -> Outcome {
    match command {
        Command::Approve(user) => decide(context, "approve", "approved", &user.user_id),
        Command::Delete(user) => decide(context, "delete", "deleted", &user.user_id),
        Command::Deny(user) => decide(context, "deny", "denied", &user.user_id),
        Command::List(list) => show(context, list.status.as_deref()),
    }
}

fn decide(context: &Context, verb: &str, action: &str, user_id: &str) -> Outcome {
    change(context, &format!("{verb}_authorization"), &[json!(user_id)])?;
    if context.json { Context::print_json(&json!({"action": action, "user_id": user_id})) } else { Ok(()) }
}

fn show(context: &Context, status: Option<&str>) -> Outcome {
    let rows = rows(context)?;
    if rows.is_empty() && !context.json {
        line("No remote certificates or credentials");
        return Ok(());
    }
    if status.is_some_and(|status| !STATUSES.iter().any(|(known, _)| known.to_lowercase() == status)) {
        const WRONG: &str = "Invalid parameter. Please use 'approved', 'denied', 'pending', or leave blank to list all.";
        if context.json {
            complain(WRONG);
        } else {
            line(WRONG);
        }
        return Ok(());
    }
    let rows: Vec<_> = rows.into_iter().filter(|row| status.is_none_or(|status| row[2].to_lowercase() == status)).collect();
    if context.json {
        let entry = |[user_id, address, status]: &[String; 3]| json!({"user_id": user_id, "address": address, "status": status});
        return Context::print_json(&rows.iter().map(entry).collect());
    }
    if rows.is_empty() {
        line(&format!("No {} remote certificates or credentials", status.unwrap_or_default()));
        return Ok(());
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(5);
    let (first, second) = (width(0), width(1));
    complain(&format!("{:first$} {:second$} STATUS", "USER_ID", "ADDRESS"));
    rows.iter().for_each(|[user_id, address, status]| line(&format!("{user_id:first$} {address:second$} {status}")));
    Ok(())
}

/// User id, address and status of everybody.
fn rows(context: &Context) -> Result<Vec<[String; 3]>, Failure> {
    let mut rows = Vec::new();
    for (status, method) in STATUSES {
        let entries = ask(context, method, &[])?;
        let text = |value: &Value| match value {
            Value::String(text) if !text.is_empty() => printable(text),
            Value::Array(several) => several.iter().filter_map(Value::as_str).map(printable).collect::<Vec<_>>().join(","),
            _ => "-".to_owned(),
        };
        rows.extend(
            entries.as_array().into_iter().flatten().map(|entry| [text(&entry["user_id"]), text(&entry["address"]), status.to_owned()]),
        );
    }
    Ok(rows)
}
