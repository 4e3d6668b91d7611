//! `vcfg`: set-up of a platform. Installs and configures built-in agents, asking what it needs; answers may come from standard input, and
//! a question without an answer takes its default. If the platform does not run, it is started for the time of the work.

mod agents;
mod questions;
mod running;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use vt_config::Environment;

use crate::client::Client;
use crate::output::{clap_exit, complain, line};

/// Set up a VOLTTRON platform.
#[derive(Debug, Parser)]
#[command(name = "vcfg", version)]
struct Options {
    /// Directory of the platform's files [default: $VOLTTRON_HOME, else ~/.volttron]
    #[arg(long, value_name = "PATH")]
    vhome: Option<PathBuf>,
    /// Say more
    #[arg(short, long)]
    verbose: bool,
    /// Name of this platform, written to its configuration
    #[arg(long, value_name = "NAME")]
    instance_name: Option<String>,
    /// Agents that can be set up
    #[arg(long)]
    list_agents: bool,
    /// Agents to set up
    #[arg(long, value_name = "NAME", num_args = 1..)]
    agent: Vec<String>,
}

pub fn main(args: Vec<OsString>) -> u8 {
    let options = match Options::try_parse_from(args) {
        Ok(options) => options,
        Err(error) => return clap_exit(&error),
    };
    if options.list_agents {
        line("Agents available to configure:");
        agents::NAMES.iter().for_each(|name| line(&format!("\t{name}")));
        return 0;
    }
    match set_up(&options) {
        Ok(()) => 0,
        Err(text) => {
            complain(&format!("vcfg: error: {text}"));
            10
        }
    }
}

fn set_up(options: &Options) -> Result<(), String> {
    if let Some(unknown) = options.agent.iter().find(|name| !agents::NAMES.contains(&agents::current_name(name))) {
        return Err(format!("{unknown:?} not configurable with this tool"));
    }
    if options.agent.is_empty() && options.instance_name.is_none() {
        return Err("nothing to do; give --agent NAME or --instance-name NAME (see --help)".to_owned());
    }
    let home = Environment::of_process().volttron_home(options.vhome.clone()).map_err(|error| error.to_string())?;
    if options.verbose {
        line(&format!("Your VOLTTRON_HOME currently set to: {}", home.display()));
    }
    if let Some(name) = &options.instance_name {
        running::set_instance_name(&home, name)?;
    }
    if !options.agent.is_empty() {
        let client = Client::new(&home, Duration::from_secs(60)).map_err(|error| error.to_string())?;
        let platform = running::Platform::ensure(&home, &client)?;
        let done = options.agent.iter().try_for_each(|name| agents::set_up(&client, agents::current_name(name)));
        platform.release(&client)?;
        done?;
    }
    line("Finished configuration!");
    Ok(())
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
    fn several_agents_may_follow_one_option() {
        let options = Options::try_parse_from(["vcfg", "--agent", "listener", "platform_driver"]).unwrap();
        assert_eq!(options.agent, ["listener", "platform_driver"]);
    }
}
