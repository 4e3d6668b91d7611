//! `vctl`: control of a running platform. It is an RPC client of the platform's services, as VOLTTRON's is: no rules live here.

mod agents;
mod configs;
mod install;
mod platform;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use vt_config::Environment;

use crate::client::{Client, ClientError};
use crate::output::{clap_exit, complain};

/// Control a running VOLTTRON platform.
#[derive(Debug, Parser)]
#[command(name = "vctl", version, disable_help_subcommand = true, args_override_self = true)]
struct Options {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
pub struct Global {
    /// Directory of the platform's files [default: $VOLTTRON_HOME, else ~/.volttron]
    #[arg(long, value_name = "PATH", global = true)]
    pub vhome: Option<PathBuf>,
    /// Seconds to wait for an answer
    #[arg(short, long, value_name = "SECS", default_value_t = 60.0, value_parser = seconds, global = true, allow_negative_numbers = true)]
    pub timeout: f64,
    /// Output as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Accepted for VOLTTRON's scripts; there is nothing more to show
    #[arg(long, global = true, hide = true)]
    pub debug: bool,
    /// Accepted for VOLTTRON's scripts; the local socket is used
    #[arg(long, value_name = "ADDRESS", global = true, hide = true)]
    pub vip_address: Option<String>,
    /// Accepted for VOLTTRON's scripts
    #[arg(short, long, value_name = "FILE", global = true, hide = true)]
    pub config: Option<PathBuf>,
    /// Accepted for VOLTTRON's scripts
    #[arg(short, long, action = clap::ArgAction::Count, hide = true)]
    pub verbose: u8,
    /// Accepted for VOLTTRON's scripts
    #[arg(short, long, action = clap::ArgAction::Count, hide = true)]
    pub quiet: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Forget agents that have ended
    Clear(platform::Clear),
    /// The configuration store
    #[command(subcommand)]
    Config(configs::Command),
    /// Do not start agents with the platform
    Disable(agents::Patterns),
    /// Start agents with the platform
    Enable(agents::Enable),
    /// Health of an agent
    Health(agents::Patterns),
    /// Install a built-in agent
    Install(install::Install),
    /// Kinds of agents that can be installed by name
    Kinds,
    /// Installed agents
    List(agents::Listing),
    /// Identities of all peers of the bus
    Peerlist,
    /// Remove agents
    Remove(agents::Remove),
    /// Stop agents, then start them
    Restart(agents::Patterns),
    /// Methods of peers
    #[command(subcommand)]
    Rpc(platform::Rpc),
    /// Stop all agents, or the platform too
    Shutdown(platform::Shutdown),
    /// Start agents
    Start(agents::Patterns),
    /// Installed agents and what they do
    Status(agents::Listing),
    /// Stop agents
    Stop(agents::Patterns),
    /// Show, set or remove an agent's tag
    Tag(agents::TagOptions),
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Clear(_) => "clear",
            Self::Config(_) => "config",
            Self::Disable(_) => "disable",
            Self::Enable(_) => "enable",
            Self::Health(_) => "health",
            Self::Install(_) => "install",
            Self::Kinds => "kinds",
            Self::List(_) => "list",
            Self::Peerlist => "peerlist",
            Self::Remove(_) => "remove",
            Self::Restart(_) => "restart",
            Self::Rpc(_) => "rpc",
            Self::Shutdown(_) => "shutdown",
            Self::Start(_) => "start",
            Self::Status(_) => "status",
            Self::Stop(_) => "stop",
            Self::Tag(_) => "tag",
        }
    }
}

/// How a command fails: with its exit code and what it says on standard error.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    pub fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self { code: error.exit_code(), text: error.to_string() }
    }
}

pub type Outcome = Result<(), Failure>;

pub fn main(args: Vec<OsString>) -> u8 {
    let options = match Options::try_parse_from(args) {
        Ok(options) => options,
        Err(error) => return clap_exit(&error),
    };
    let Some(command) = options.command else {
        crate::output::print(&format!("{}", <Options as clap::CommandFactory>::command().render_help()));
        return 0;
    };
    let name = command.name();
    let connected = Environment::of_process()
        .volttron_home(options.global.vhome.clone())
        .map_err(|error| Failure::new(1, error.to_string()))
        .and_then(|home| {
            let client =
                Client::new(&home, Duration::from_secs_f64(options.global.timeout)).map_err(|error| Failure::new(1, error.to_string()))?;
            Ok((home, client))
        });
    let outcome = connected.and_then(|(home, client)| match command {
        Command::Clear(options) => platform::clear(&client, &options),
        Command::Config(command) => configs::run(&client, command),
        Command::Disable(patterns) => agents::disable(&client, &patterns),
        Command::Enable(enable) => agents::enable(&client, &enable),
        Command::Health(patterns) => agents::health(&client, &patterns),
        Command::Install(install) => install::install(&client, &install, options.global.json),
        Command::Kinds => install::kinds(&client, options.global.json),
        Command::List(listing) => agents::list(&client, &listing, options.global.json),
        Command::Peerlist => platform::peerlist(&client, options.global.json),
        Command::Remove(remove) => agents::remove(&client, &remove),
        Command::Restart(patterns) => agents::restart(&client, &patterns),
        Command::Rpc(command) => platform::rpc(&client, &command, options.global.json),
        Command::Shutdown(shutdown) => platform::shutdown(&client, &home, &shutdown),
        Command::Start(patterns) => agents::start(&client, &patterns),
        Command::Status(listing) => agents::status(&client, &listing, options.global.json),
        Command::Stop(patterns) => agents::stop(&client, &patterns),
        Command::Tag(options) => agents::tag(&client, &options),
    });
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            // VOLTTRON's scripts look for these two forms.
            match failure.code {
                75 => complain(&format!("{name}: {}", failure.text)),
                10 if failure.text.starts_with("VOLTTRON is not running") => complain(&failure.text),
                _ => complain(&format!("{name}: error: {}", failure.text)),
            }
            failure.code
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 86_400.0 => Ok(value),
        _ => Err("give a number of seconds above 0 and up to 86400".to_owned()),
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
            assert!(options.global.json && (options.global.timeout - 5.0).abs() < f64::EPSILON);
        }
        assert!(Options::try_parse_from(["vctl", "-t", "-1", "status"]).is_err());
        assert!(Options::try_parse_from(["vctl", "frobnicate"]).is_err());
    }
}
