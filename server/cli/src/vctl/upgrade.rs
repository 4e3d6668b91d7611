//! `vctl upgrade` and `vctl send`: wheels of agents. Texts: VOLTTRON 6.0 `volttron/platform/control.py`.
//!
//! Differs from VOLTTRON 6: the old agent runs until the new one is ready, and an agent that ran runs afterwards; tag, start order and
//! configuration stay unless something else is given.

use clap::Args;
use serde_json::json;
use vt_api::local_install::{InstallCall, InstallSource, Installed};

use super::failure::{Failure, Outcome};
use super::global::Context;
use super::{installation, installed};
use crate::output::{complain, line, printable};

/// Which agent gets which wheel.
#[derive(Debug, Args)]
pub struct Upgrade {
    /// Identity of the agent
    vip_identity: String,
    /// Its new wheel
    wheel: String,
    /// Nickname [default: the one it has]
    #[arg(long)]
    tag: Option<String>,
}

/// Which wheels.
#[derive(Debug, Args)]
pub struct Send {
    /// Wheels of agents
    #[arg(required = true)]
    wheel: Vec<String>,
}

pub fn upgrade(context: &Context, upgrade: &Upgrade) -> Outcome {
    let identity = &upgrade.vip_identity;
    let there = installed::installed(context)?.iter().any(|agent| agent.identity == *identity);
    let wheel = installation::wheel(&upgrade.wheel)?;
    let call = InstallCall {
        identity: Some(identity.clone()),
        tag: upgrade.tag.clone(),
        upgrade: true,
        ..installation::call(InstallSource::Wheel(wheel))
    };
    let installed = installation::run(context, &call)?;
    let Installed { uuid, name, pid, start_error, .. } = &installed;
    if let Some(error) = start_error {
        complain(&format!("The agent was not started: {}", printable(error)));
    }
    if context.json {
        let upgraded = json!({"agent_uuid": uuid, "name": name, "identity": identity, "upgraded": there, "pid": pid});
        return Context::print_json(&upgraded);
    }
    let shown = printable(identity);
    line(&if there {
        format!("Removing previous version of agent \"{shown}\"")
    } else {
        format!("Could not find agent with VIP IDENTITY \"{shown}\". Installing as new agent")
    });
    line(&format!("Installed {} as {uuid} {}", upgrade.wheel, printable(name)));
    Ok(())
}

pub fn send(context: &Context, send: &Send) -> Outcome {
    // Asked first: without a platform nothing else is worth saying.
    context.control("peerlist", vec![])?;
    let mut sent = Vec::new();
    for text in &send.wheel {
        let wheel = InstallSource::Wheel(installation::wheel(text)?);
        let installed = installation::run(context, &InstallCall { start: true, ..installation::call(wheel) })?;
        if let Some(error) = &installed.start_error {
            return Err(Failure::new(20, format!("{text} was installed as {} and not started: {error}", installed.uuid)));
        }
        if context.json {
            sent.push(json!({"wheel": text, "agent_uuid": installed.uuid, "identity": installed.identity, "pid": installed.pid}));
        } else {
            line(&format!("Agent {text} started as {}", installed.uuid));
        }
    }
    if context.json { Context::print_json(&json!(sent)) } else { Ok(()) }
}
