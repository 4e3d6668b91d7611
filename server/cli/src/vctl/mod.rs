//! `vctl`: control of a platform. It is an RPC client of the platform's services, as VOLTTRON's is: no rules live here. What can be done
//! while the server is down (`list`, `tag`, `auth`, `certs`) is done on its files instead.
//!
//! Map: `global` (options of all commands), `failure` (exit codes), `patterns` (which agents), `installed` (agents of a running or resting
//! platform), `agents` (tables and health), `auth`, `certificates`, `lifecycle`, `install`, `installation` (following one), `upgrade`,
//! `libraries`, `cgroups`, `configs`, `platform`, `pubsub`, `rpc`, `stats`, `top`.

mod agents;
mod auth;
mod certificates;
mod cgroups;
mod configs;
mod failure;
mod global;
mod install;
mod installation;
mod installed;
mod libraries;
mod lifecycle;
mod patterns;
mod platform;
mod pubsub;
mod rpc;
mod stats;
mod top;
mod upgrade;

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::output::{clap_exit, complain};
use failure::Outcome;
use global::{Context, Global};

/// Control a VOLTTRON platform.
#[derive(Debug, Parser)]
#[command(name = "vctl", version, disable_help_subcommand = true, args_override_self = true)]
struct Options {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Who may connect and what they may do
    #[command(subcommand)]
    Auth(auth::Command),
    /// Certificates signed by this platform, as modular VOLTTRON makes them
    #[command(subcommand)]
    Cert(certificates::Cert),
    /// Certificates of agents
    #[command(subcommand)]
    Certs(certificates::Certs),
    /// Forget agents that have ended
    Clear(platform::Clear),
    /// The configuration store
    #[command(subcommand)]
    Config(configs::Command),
    /// Control groups for agents
    CreateCgroups(cgroups::CreateCgroups),
    /// Do not start agents with the platform
    Disable(patterns::Patterns),
    /// Start agents with the platform
    Enable(lifecycle::Enable),
    /// Health of an agent
    Health(patterns::Patterns),
    /// Install an agent: a directory, a wheel, a built-in agent or a package by name
    Install(install::Install),
    /// Install a library for all agents in Python
    InstallLib(libraries::InstallLib),
    /// Kinds of agents that can be installed by name
    Kinds,
    /// Installed agents
    List(agents::Listing),
    /// Libraries that all agents in Python have
    ListLibs,
    /// Identities of all peers of the bus
    Peerlist,
    /// Publish a message
    Publish(pubsub::Publish),
    /// Remove agents
    Remove(lifecycle::Remove),
    /// Remove a library from all agents in Python
    RemoveLib(libraries::RemoveLib),
    /// Stop agents, then start them
    Restart(patterns::Patterns),
    /// Methods of peers
    #[command(subcommand)]
    Rpc(rpc::Command),
    /// Install agents from wheels and start them
    Send(upgrade::Send),
    /// Stop all agents, or the platform too
    Shutdown(platform::Shutdown),
    /// Start agents
    Start(patterns::Patterns),
    /// Counters of the router
    Stats(stats::Stats),
    /// Installed agents and what they do
    Status(agents::Listing),
    /// Stop agents
    Stop(patterns::Patterns),
    /// Print messages as they are published
    Subscribe(pubsub::Subscribe),
    /// Show, set or remove an agent's tag
    Tag(lifecycle::TagOptions),
    /// Watch peers and agents: messages, losses, queues, memory and processor time
    Top(top::Top),
    /// Put a new wheel in an agent's place, keeping its data and what is configured
    Upgrade(upgrade::Upgrade),
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Auth(_) => "auth",
            Self::Cert(_) => "cert",
            Self::Certs(_) => "certs",
            Self::Clear(_) => "clear",
            Self::Config(_) => "config",
            Self::CreateCgroups(_) => "create-cgroups",
            Self::Disable(_) => "disable",
            Self::Enable(_) => "enable",
            Self::Health(_) => "health",
            Self::Install(_) => "install",
            Self::InstallLib(_) => "install-lib",
            Self::Kinds => "kinds",
            Self::List(_) => "list",
            Self::ListLibs => "list-libs",
            Self::Peerlist => "peerlist",
            Self::Publish(_) => "publish",
            Self::Remove(_) => "remove",
            Self::RemoveLib(_) => "remove-lib",
            Self::Restart(_) => "restart",
            Self::Rpc(_) => "rpc",
            Self::Send(_) => "send",
            Self::Shutdown(_) => "shutdown",
            Self::Start(_) => "start",
            Self::Stats(_) => "stats",
            Self::Status(_) => "status",
            Self::Stop(_) => "stop",
            Self::Subscribe(_) => "subscribe",
            Self::Tag(_) => "tag",
            Self::Top(_) => "top",
            Self::Upgrade(_) => "upgrade",
        }
    }

    fn run(self, context: &Context) -> Outcome {
        match self {
            Self::Auth(command) => auth::run(context, command),
            Self::Cert(command) => certificates::cert(context, command),
            Self::Certs(command) => certificates::certs(context, &command),
            Self::Clear(options) => platform::clear(context, &options),
            Self::Config(command) => configs::run(context, command),
            Self::CreateCgroups(options) => cgroups::create(&options),
            Self::Disable(patterns) => lifecycle::disable(context, &patterns),
            Self::Enable(enable) => lifecycle::enable(context, &enable),
            Self::Health(patterns) => agents::health(context, &patterns),
            Self::Install(install) => install::install(context, &install),
            Self::InstallLib(install) => libraries::install(context, &install),
            Self::Kinds => install::kinds(context),
            Self::List(listing) => agents::list(context, &listing),
            Self::ListLibs => libraries::list(context),
            Self::Peerlist => platform::peerlist(context),
            Self::Publish(publish) => pubsub::publish(context, publish),
            Self::Remove(remove) => lifecycle::remove(context, &remove),
            Self::RemoveLib(remove) => libraries::remove(context, &remove),
            Self::Restart(patterns) => lifecycle::restart(context, &patterns),
            Self::Rpc(command) => rpc::run(context, &command),
            Self::Send(send) => upgrade::send(context, &send),
            Self::Shutdown(shutdown) => platform::shutdown(context, &shutdown),
            Self::Start(patterns) => lifecycle::start(context, &patterns),
            Self::Stats(stats) => stats::run(context, &stats),
            Self::Status(listing) => agents::status(context, &listing),
            Self::Stop(patterns) => lifecycle::stop(context, &patterns),
            Self::Subscribe(subscribe) => pubsub::subscribe(context, &subscribe),
            Self::Tag(options) => lifecycle::tag(context, &options),
            Self::Top(top) => top::run(context, &top),
            Self::Upgrade(upgrade) => upgrade::upgrade(context, &upgrade),
        }
    }
}

pub fn main(args: Vec<OsString>) -> u8 {
    // VOLTTRON's spelling of a long option, which would be two short ones.
    let args = args.into_iter().map(|arg| if arg == "-st" { "--agent-start-time".into() } else { arg });
    let options = match Options::try_parse_from(args) {
        Ok(options) => options,
        Err(error) => return clap_exit(&error),
    };
    if options.global.show_config {
        return options.global.show();
    }
    let Some(command) = options.command else {
        crate::output::print(&<Options as clap::CommandFactory>::command().render_help().to_string());
        return 0;
    };
    let name = command.name();
    let debug = options.global.debug;
    match Context::open(&options.global, name).and_then(|context| command.run(&context)) {
        Ok(()) => 0,
        Err(failure) => {
            failure.told(name, debug).iter().for_each(|line| complain(line));
            failure.code()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for args in [["vctl", "--json", "-t", "5", "status"], ["vctl", "status", "--json", "-t", "5"]] {
            let options = Options::try_parse_from(args).unwrap();
            assert_eq!((options.global.json, options.global.timeout), (true, Some(5.0)));
        }
        for good in [
            &["vctl", "-vv", "-q", "-l", "f", "-L", "f", "--verboseness", "10", "list"][..],
            &["vctl", "list", "-c", "f", "--debug", "--msgdebug", "--vip-address", "tcp://127.0.0.1:22916"],
            &["vctl", "--debug", "-c", "f", "list"],
        ] {
            assert!(Options::try_parse_from(good).is_ok(), "{good:?}");
        }
        for bad in [&["vctl", "-t", "-1", "status"][..], &["vctl", "frobnicate"], &["vctl", "stats", "sing"]] {
            assert!(Options::try_parse_from(bad).is_err(), "{bad:?}");
        }
    }
}
