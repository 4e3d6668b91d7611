//! Keys: of hosts that are known, of this platform, of its agents, and new ones.

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::agents::{Listing, print_table};
use super::super::failure::{Failure, Outcome};
use super::super::global::Context;
use super::super::installed::{Agent, either, installed, on_disk};
use super::{ask, change, done, file, two_columns};
use crate::output::{hint, line, pretty, printable};

const KNOWN_HOSTS: &str = "known_hosts";

#[derive(Debug, Args)]
pub struct AddKnownHost {
    /// Name or address of the host, with its port
    #[arg(long)]
    pub host: String,
    /// Its server key
    #[arg(long, allow_hyphen_values = true)]
    pub serverkey: String,
}

#[derive(Debug, Args)]
pub struct Host {
    /// Name or address of the host, with its port
    pub host: String,
}

pub fn add_known_host(context: &Context, host: &str, key: &str) -> Outcome {
    change(context, "known_hosts.add", &[json!(host), json!(key)])?;
    let path = file(context, KNOWN_HOSTS);
    done(context, &format!("server key written to {path}"), "added", json!({"host": host, "file": path}))
}

/// The same on the way to something else, of which the JSON tells.
pub fn remember(context: &Context, host: &str, key: &str) -> Outcome {
    change(context, "known_hosts.add", &[json!(host), json!(key)])?;
    let text = format!("server key written to {}\n", file(context, KNOWN_HOSTS));
    if context.json {
        hint(&text);
    } else {
        crate::output::print(&text);
    }
    Ok(())
}

pub fn remove_known_host(context: &Context, host: &str) -> Outcome {
    change(context, "known_hosts.remove", &[json!(host)])?;
    let path = file(context, KNOWN_HOSTS);
    done(context, &format!("host \"{host}\" removed from {path}"), "removed", json!({"host": host, "file": path}))
}

pub fn list_known_hosts(context: &Context) -> Outcome {
    let hosts = ask(context, "known_hosts.read", &[])?;
    if context.json {
        return Context::print_json(&hosts);
    }
    let row = |(host, key): (&String, &Value)| (printable(host), printable(key.as_str().unwrap_or_default()));
    let rows: Vec<_> = hosts.as_object().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        line(&format!("No entries in {}", file(context, KNOWN_HOSTS)));
    } else {
        two_columns("HOST", "CURVE KEY", rows);
    }
    Ok(())
}

pub fn keypair() -> Outcome {
    line(&pretty(&vt_app::offline::new_key_pair()?, 2));
    Ok(())
}

pub fn serverkey(context: &Context) -> Outcome {
    let keys = public_keys(context, &["platform"])?;
    match keys.get("platform").and_then(Value::as_str) {
        Some(key) if context.json => Context::print_json(&json!({"serverkey": key})),
        Some(key) => {
            line(key);
            Ok(())
        }
        None => Err(Failure::new(1, "the platform has no key yet; it makes one when it starts for the first time")),
    }
}

pub fn publickey(context: &Context, listing: &Listing) -> Outcome {
    let all = either(context, || installed(context), on_disk)?;
    let shown = listing.patterns.shown(&all, context.command)?;
    let identities: Vec<_> = shown.iter().map(|agent| agent.identity.as_str()).collect();
    let keys = if identities.is_empty() { Map::new() } else { public_keys(context, &identities)? };
    let key = |agent: &Agent| keys.get(&agent.identity).and_then(Value::as_str).unwrap_or_default().to_owned();
    if context.json {
        let entry = |agent: &Agent| {
            let entry = json!({
                "agent_uuid": agent.uuid,
                "name": agent.name,
                "identity": agent.identity,
                "agent_tag": agent.tag.clone().unwrap_or_default(),
                "PUBLICKEY": key(agent),
            });
            (agent.identity.clone(), entry)
        };
        return Context::print_json(&Value::Object(shown.iter().map(entry).collect()));
    }
    let rows = shown.iter().map(|agent| (agent.clone(), printable(&key(agent)))).collect();
    print_table(rows, listing.length, &shown, "", "PUBLICKEY");
    Ok(())
}

/// Public keys by identity, of those that have one.
fn public_keys(context: &Context, identities: &[&str]) -> Result<Map<String, Value>, Failure> {
    let answer = ask(context, "get_public_credentials", &[json!(identities)])?;
    Ok(answer["results"].as_object().cloned().unwrap_or_default())
}
