//! Commands on the platform itself: peers, methods of peers, forgetting ended agents, shutting down.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Failure, Outcome};
use crate::client::{Client, ClientError};
use crate::output::{line, printable};

const CONTROL: &str = "control";
/// How long `shutdown --platform` waits for the server to end.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct Clear {
    /// All agents that do not run, not only removed ones
    #[arg(short, long = "all")]
    all: bool,
}

#[derive(Debug, Args)]
pub struct Shutdown {
    /// End the server too
    #[arg(long)]
    platform: bool,
}

#[derive(Debug, Subcommand)]
pub enum Rpc {
    /// Peers and their methods
    List {
        /// Only peers whose identity starts so
        pattern: Option<String>,
    },
    /// Lines of Python that call each method
    Code {
        /// Only peers whose identity starts so
        pattern: Option<String>,
    },
}

pub fn clear(client: &Client, options: &Clear) -> Outcome {
    client.call(CONTROL, "clear_status", vec![json!(options.all)])?;
    Ok(())
}

pub fn peerlist(client: &Client, as_json: bool) -> Outcome {
    let peers = peers(client)?;
    if as_json {
        line(&super::agents::pretty(&json!(peers), 2));
    } else {
        peers.iter().for_each(|peer| line(&printable(peer)));
    }
    Ok(())
}

pub fn rpc(client: &Client, command: &Rpc, as_json: bool) -> Outcome {
    let (Rpc::List { pattern } | Rpc::Code { pattern }) = command;
    let mut all = serde_json::Map::new();
    for peer in peers(client)?.into_iter().filter(|peer| pattern.as_deref().is_none_or(|pattern| peer.starts_with(pattern))) {
        let methods = match client.call(&peer, "inspect", vec![]) {
            Ok(answer) => answer["methods"].clone(),
            // A peer without methods, or one that left meanwhile, is no reason to end.
            Err(ClientError::Remote { .. } | ClientError::TimedOut) => continue,
            Err(error) => return Err(error.into()),
        };
        all.insert(peer, methods);
    }
    if as_json {
        line(&super::agents::pretty(&Value::Object(all), 2));
        return Ok(());
    }
    for (peer, methods) in &all {
        let methods = methods.as_array().into_iter().flatten().filter_map(Value::as_str);
        match command {
            Rpc::List { .. } => {
                line(&printable(peer));
                methods.for_each(|method| line(&format!("\t{}", printable(method))));
            }
            Rpc::Code { .. } => methods.for_each(|method| line(&format!("self.vip.rpc.call({peer:?}, {method:?}).get()"))),
        }
    }
    Ok(())
}

pub fn shutdown(client: &Client, home: &Path, options: &Shutdown) -> Outcome {
    if !options.platform {
        client.call(CONTROL, "shutdown", vec![])?;
        return Ok(());
    }
    let pid_file = home.join("VOLTTRON_PID");
    client.call(CONTROL, "stop_platform", vec![])?;
    let end = Instant::now() + SHUTDOWN_WAIT;
    while pid_file.exists() {
        if Instant::now() > end {
            return Err(Failure::new(75, "operation timed out"));
        }
        client.pause();
    }
    Ok(())
}

fn peers(client: &Client) -> Result<Vec<String>, Failure> {
    let answer = client.call(CONTROL, "peerlist", vec![])?;
    let mut peers: Vec<String> = answer.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    peers.sort_unstable();
    Ok(peers)
}
