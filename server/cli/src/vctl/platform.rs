//! Commands on the platform itself: peers, forgetting ended agents, shutting down.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::failure::{Failure, Outcome};
use super::global::Context;
use crate::output::{line, printable};

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

pub fn clear(context: &Context, options: &Clear) -> Outcome {
    context.control("clear_status", vec![json!(options.all)])?;
    Ok(())
}

pub fn peerlist(context: &Context) -> Outcome {
    let peers = peers(context)?;
    if context.json {
        return Context::print_json(&json!(peers));
    }
    peers.iter().for_each(|peer| line(&printable(peer)));
    Ok(())
}

pub fn shutdown(context: &Context, options: &Shutdown) -> Outcome {
    if !options.platform {
        context.control("shutdown", vec![])?;
        return Ok(());
    }
    let pid_file = context.home.join("VOLTTRON_PID");
    context.control("stop_platform", vec![])?;
    let end = Instant::now() + SHUTDOWN_WAIT;
    while pid_file.exists() {
        if Instant::now() > end {
            return Err(Failure::new(75, "operation timed out"));
        }
        context.client.pause();
    }
    Ok(())
}

/// Identities of all peers, sorted.
pub fn peers(context: &Context) -> Result<Vec<String>, Failure> {
    let answer = context.control("peerlist", vec![])?;
    let mut peers: Vec<String> = answer.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    peers.sort_unstable();
    Ok(peers)
}
