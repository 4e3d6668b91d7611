//! `vctl rpc`: methods of peers. Source: VOLTTRON `volttron/platform/control/control_rpc.py` for what is printed.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::failure::{Failure, Outcome};
use super::global::Context;
use super::platform::peers;
use crate::client::ClientError;
use crate::output::{line, printable};

/// How long one peer may take to tell its methods; one that hangs must not keep the others from being shown.
const ASKED_LIMIT: Duration = Duration::from_secs(4);

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lines of Python that call each method
    Code(Methods),
    /// Peers and their methods
    List(Methods),
}

/// Which methods.
#[derive(Debug, Args)]
pub struct Methods {
    /// Identity of a peer, and methods of it
    pattern: Vec<String>,
    /// The pattern is a list of identities
    #[arg(short = 'i', long = "vip")]
    by_vip: bool,
    /// Methods of subsystems too; of a method, what it is for
    #[arg(short, long)]
    verbose: bool,
}

/// Methods by peer, each with its description if that was asked for.
type Found = Vec<(String, Vec<(String, Option<Value>)>)>;

pub fn run(context: &Context, command: &Command) -> Outcome {
    let (Command::Code(methods) | Command::List(methods)) = command;
    let is_code = matches!(command, Command::Code(_));
    let found = match methods.pattern.as_slice() {
        [peer, names @ ..] if !names.is_empty() && !methods.by_vip => {
            let described =
                names.iter().filter_map(|name| describe(context, peer, name).transpose().map(|found| Ok((name.clone(), Some(found?)))));
            vec![(peer.clone(), described.collect::<Result<_, Failure>>()?)]
        }
        wanted => of_peers(context, methods, wanted, is_code)?,
    };
    if context.json {
        let entry = |(peer, methods): (String, Vec<(String, Option<Value>)>)| {
            let methods = methods.into_iter().map(|(name, description)| (name, description.unwrap_or(Value::Null)));
            (peer, Value::Object(methods.collect()))
        };
        return Context::print_json(&Value::Object(found.into_iter().map(entry).collect::<Map<_, _>>()));
    }
    for (peer, list) in &found {
        if !is_code {
            line(&printable(peer));
        }
        for (name, description) in list {
            match description {
                _ if is_code => line(&printable(&code(peer, name, description.as_ref()))),
                Some(description) => show(name, description, methods.verbose),
                None => line(&format!("\t{}", printable(name))),
            }
        }
    }
    Ok(())
}

fn of_peers(context: &Context, options: &Methods, wanted: &[String], described: bool) -> Result<Found, Failure> {
    let mut found = Vec::new();
    for peer in peers(context)?.into_iter().filter(|peer| wanted.is_empty() || wanted.contains(peer)) {
        let Some(answer) = ask(context, &peer, "inspect")? else { continue };
        let names = answer["methods"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut methods = Vec::new();
        for name in names.filter(|name| options.verbose || !name.contains('.')) {
            methods.push((name.to_owned(), if described { describe(context, &peer, name)? } else { None }));
        }
        found.push((peer, methods));
    }
    Ok(found)
}

fn describe(context: &Context, peer: &str, method: &str) -> Result<Option<Value>, Failure> {
    ask(context, peer, &format!("{method}.inspect"))
}

/// What a peer tells; one without methods, or one that left meanwhile, is told on standard error and left out.
fn ask(context: &Context, peer: &str, method: &str) -> Result<Option<Value>, Failure> {
    let limit = ASKED_LIMIT.min(context.client.timeout());
    match context.client.call_within(limit, peer, method, vec![], Map::new()) {
        Ok(answer) => Ok(Some(answer)),
        Err(ClientError::TimedOut) => {
            context.complain(&format!("{} has timed out", printable(peer)));
            Ok(None)
        }
        Err(ClientError::Remote { kind, message, .. }) => {
            // Tools have no methods, and that is nothing to tell of.
            if kind != "method_not_found" || method != "inspect" {
                context.complain(&printable(&message));
            }
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn show(method: &str, description: &Value, verbose: bool) {
    line(&format!("\t{}", printable(method)));
    if verbose {
        let doc = description["doc"].as_str().filter(|doc| !doc.is_empty()).unwrap_or("No documentation for this method.");
        line("\tDocumentation:");
        doc.lines().for_each(|text| line(&format!("\t\t{}", printable(text.trim()))));
        line("");
    }
    line("\tParameters:");
    match description["params"].as_object().filter(|params| !params.is_empty()) {
        Some(params) => {
            params.iter().for_each(|(name, about)| line(&format!("\t\t{}:\n\t\t\t{}", printable(name), printable(&about.to_string()))));
        }
        None => line("\t\tNo parameters for this method."),
    }
}

fn code(peer: &str, method: &str, description: Option<&Value>) -> String {
    let params = description.and_then(|description| description["params"].as_object()).filter(|params| !params.is_empty());
    match params {
        Some(params) => {
            let names: Vec<_> = params.keys().map(|name| format!("'{name}'")).collect();
            format!("self.vip.rpc.call({peer}, {method}, [{}]).get()", names.join(", "))
        }
        None => format!("self.vip.rpc.call({peer}, {method}).get()"),
    }
}
