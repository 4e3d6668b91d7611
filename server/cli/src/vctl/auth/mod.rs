//! `vctl auth`: who may connect and what they may do. Everything is a method of `platform.auth`, of the running server over its local socket or,
//! while the server is down, on the same files by the same code. Source: VOLTTRON 9 `volttron/platform/control/control_auth.py` for
//! options, texts and exit codes.
//!
//! Map: `entries` (add, list, remove, update), `fields` (the wizard's questions), `named` (groups and roles), `keys` (known hosts and keys),
//! `remote` (who waits for a decision), `methods` (what callers of an agent's methods need).
//!
//! Differs from VOLTTRON: `--identity` is entered as it is given, and there is none without it, for it is enforced here; an update
//! keeps what the wizard does not ask for; what fails says so with its exit code.

mod entries;
mod fields;
mod keys;
mod methods;
mod named;
mod remote;

use clap::Subcommand;
use serde_json::{Value, json};

use super::agents::Listing;
use super::failure::{Failure, Outcome};
use super::global::Context;
use super::installed::either;
use crate::output::{complain, line, printable};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add an entry; without options, by answering questions
    Add(entries::Add),
    /// Make a group of roles
    AddGroup(named::Group),
    /// Remember the server key of another platform
    AddKnownHost(keys::AddKnownHost),
    /// Make a role of capabilities
    AddRole(named::Role),
    /// Make a new pair of keys and print it
    Keypair,
    /// Entries, with their indices
    List,
    /// Groups and their roles
    ListGroups,
    /// Hosts and their server keys
    ListKnownHosts,
    /// Roles and their capabilities
    ListRoles,
    /// Public keys of agents
    Publickey(Listing),
    /// Peers that wait for a decision, and decisions
    #[command(subcommand)]
    Remote(remote::Command),
    /// Remove entries by their indices
    Remove(entries::Remove),
    /// Remove a group
    RemoveGroup(named::Name),
    /// Forget a host
    RemoveKnownHost(keys::Host),
    /// Remove a role
    RemoveRole(named::Name),
    /// Capabilities that callers of an agent's methods need
    #[command(subcommand)]
    Rpc(methods::Command),
    /// Public key of the platform
    Serverkey,
    /// Change an entry by answering questions
    Update(entries::Update),
    /// Add roles to a group, or take them out
    UpdateGroup(named::UpdateGroup),
    /// Add capabilities to a role, or take them out
    UpdateRole(named::UpdateRole),
}

pub fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Add(add) => entries::add(context, add),
        Command::AddGroup(group) => named::add_group(context, &group),
        Command::AddKnownHost(host) => keys::add_known_host(context, &host.host, &host.serverkey),
        Command::AddRole(role) => named::add_role(context, &role),
        Command::Keypair => keys::keypair(),
        Command::List => entries::list(context),
        Command::ListGroups => named::list_groups(context),
        Command::ListKnownHosts => keys::list_known_hosts(context),
        Command::ListRoles => named::list_roles(context),
        Command::Publickey(listing) => keys::publickey(context, &listing),
        Command::Remote(command) => remote::run(context, &command),
        Command::Remove(remove) => entries::remove(context, &remove),
        Command::RemoveGroup(name) => named::remove_group(context, &name.name),
        Command::RemoveKnownHost(host) => keys::remove_known_host(context, &host.host),
        Command::RemoveRole(name) => named::remove_role(context, &name.name),
        Command::Rpc(command) => methods::run(context, &command),
        Command::Serverkey => keys::serverkey(context),
        Command::Update(update) => entries::update(context, &update),
        Command::UpdateGroup(update) => named::update_group(context, &update),
        Command::UpdateRole(update) => named::update_role(context, &update),
    }
}

/// Asks `platform.auth`.
fn ask(context: &Context, method: &str, args: &[Value]) -> Result<Value, Failure> {
    either(
        context,
        || Ok(context.client.call("platform.auth", method, args.to_vec())?),
        |files| {
            let (answer, problem) = files.call_auth(method, args.to_vec())?;
            if let Some(problem) = problem {
                complain(&printable(&problem));
            }
            Ok(answer)
        },
    )
}

/// Has `platform.auth` change something. Where there is no home yet, one is made.
fn change(context: &Context, method: &str, args: &[Value]) -> Outcome {
    if !context.home.exists() {
        vt_app::offline::make_home(&context.home)?;
    }
    ask(context, method, args).map(drop)
}

/// Tells what was done: the text, or `json` with `action`.
fn done(context: &Context, text: &str, action: &str, mut json: Value) -> Outcome {
    if context.json {
        json["action"] = json!(action);
        return Context::print_json(&json);
    }
    line(&printable(text));
    Ok(())
}

/// Tells why nothing was done where that is no failure: the text on standard error, and for `--json` an action that is none.
fn not_done(context: &Context, text: &str) -> Outcome {
    complain(&printable(text));
    if context.json { Context::print_json(&json!({"action": null, "problem": text})) } else { Ok(()) }
}

/// A file of the home, for messages.
fn file(context: &Context, name: &str) -> String {
    context.home.join(name).display().to_string()
}

/// Two columns with their headers underlined, sorted by the first.
fn two_columns(first: &str, second: &str, mut rows: Vec<(String, String)>) {
    rows.sort();
    let width = rows.iter().map(|(key, _)| key.chars().count()).chain([first.len()]).max().unwrap_or(0) + 2;
    line(&format!("{first:width$}{second}"));
    line(&format!("{:width$}{}", "-".repeat(first.len()), "-".repeat(second.len())));
    rows.iter().for_each(|(key, value)| line(&format!("{key:width$}{value}")));
}
