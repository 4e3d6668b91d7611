//! `vcfg`: set-up of a platform. Asks VOLTTRON's questions, or takes the answers from options or a file; writes the configuration file, and
//! installs and configures built-in agents. If the platform does not run, it is started for the time of the work.
//!
//! Map: `answers` (all questions by name), `wizard` (those about the platform), `agents`, `store` (`update-config-store`), `running`.

mod agents;
mod answers;
mod running;
mod store;
mod wizard;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use vt_config::{Environment, Flags};

use crate::client::Client;
use crate::output::{clap_exit, complain, line};
use crate::prompt::Prompt;
use crate::trace::Trace;

/// Exit code of a set-up that failed.
const FAILED: u8 = 10;

/// Set up a VOLTTRON platform.
#[derive(Debug, Parser)]
#[command(name = "vcfg", version, disable_help_subcommand = true)]
struct Options {
    /// Directory of the platform's files [default: $VOLTTRON_HOME, else ~/.volttron]
    #[arg(long, value_name = "PATH", global = true)]
    vhome: Option<PathBuf>,
    /// Say more
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Agents that can be set up
    #[arg(long)]
    list_agents: bool,
    /// Set up these agents and ask about nothing else
    #[arg(long, value_name = "NAME", num_args = 1..)]
    agent: Vec<String>,
    /// Answers in a YAML or JSON file, by the names of the options below; unanswered questions take their default
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Ask nothing: questions that are not answered by an option take their default
    #[arg(long)]
    defaults: bool,
    /// Run each agent in Python as a Unix user of its own; the platform has to run as root then
    #[arg(long)]
    agent_isolation_mode: bool,
    /// Not available
    #[arg(long, value_name = "TYPE", num_args = 1..=2, hide = true)]
    rabbitmq: Vec<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Not available
    #[command(hide = true)]
    Rabbitmq {
        /// Whatever VOLTTRON takes
        #[arg(num_args = 0.., allow_hyphen_values = true, trailing_var_arg = true)]
        rest: Vec<String>,
    },
    /// Load entries of the configuration store from metadata files
    UpdateConfigStore {
        /// Metadata files, or directories of them
        #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
        metadata_file: Vec<PathBuf>,
    },
}

pub fn main(args: Vec<OsString>) -> u8 {
    let parsed = command().try_get_matches_from(args).and_then(|matches| Ok((Options::from_arg_matches(&matches)?, given(&matches))));
    let (options, given) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return clap_exit(&error),
    };
    if options.list_agents {
        line("Agents available to configure:");
        agents::NAMES.iter().for_each(|name| line(&format!("\t{name}")));
        return 0;
    }
    match set_up(&options, given) {
        Ok(()) => 0,
        Err(text) => {
            complain(&format!("vcfg: error: {text}"));
            FAILED
        }
    }
}

/// Every question is an option, too.
fn command() -> clap::Command {
    answers::QUESTIONS.iter().fold(Options::command(), |command, question| {
        command.arg(Arg::new(question.key).long(question.key).value_name("ANSWER").help(question.help).help_heading("Answers"))
    })
}

fn given(matches: &ArgMatches) -> BTreeMap<String, String> {
    let answer = |question: &answers::Question| Some((question.key.to_owned(), matches.get_one::<String>(question.key)?.clone()));
    answers::QUESTIONS.iter().filter_map(answer).collect()
}

fn set_up(options: &Options, given: BTreeMap<String, String>) -> Result<(), String> {
    if !options.rabbitmq.is_empty() || matches!(options.command, Some(Command::Rabbitmq { .. })) {
        return Err("RabbitMQ is not available in this version; the embedded bus serves all agents".to_owned());
    }
    let home = Environment::of_process().volttron_home(options.vhome.clone()).map_err(|error| error.to_string())?;
    let client = Client::new(&home, Duration::from_secs(60), Trace::quiet()).map_err(|error| error.to_string())?;
    if options.agent_isolation_mode {
        write(&home, &[("agent-isolation-mode", Some("True".to_owned()))])?;
        line("Agents in Python run as users of their own from the platform's next start on; it has to run as root.");
        return Ok(());
    }
    if let Some(Command::UpdateConfigStore { metadata_file }) = &options.command {
        let entries = store::read(metadata_file)?;
        return running::while_running(&home, &client, || store::store(&client, &entries));
    }
    let only_name = options.agent.is_empty() && options.answers.is_none() && !options.defaults && given.len() == 1;
    let instance_name = given.get("instance-name").cloned();
    let mut known = options.answers.as_deref().map(answers::read).transpose()?.unwrap_or_default();
    known.extend(given);
    let prompt = Prompt::new(known, options.answers.is_some() || options.defaults);
    if !options.agent.is_empty() {
        if let Some(unknown) = options.agent.iter().find(|name| !agents::NAMES.contains(&agents::current_name(name))) {
            return Err(unknown_agent(unknown));
        }
        if options.verbose {
            line(&format!("Your VOLTTRON_HOME currently set to: {}", home.display()));
        }
        if let Some(name) = instance_name {
            write(&home, &[("instance-name", Some(name))])?;
        }
        let installed = installed_tags(&home, &client)?;
        let mut plans = Vec::new();
        for name in &options.agent {
            plans.extend(agents::ask(&prompt, name, &installed)?);
        }
        install(&home, &client, &plans)?;
        line("Finished configuration!");
        return Ok(());
    }
    if let (true, Some(name)) = (only_name, instance_name) {
        write(&home, &[("instance-name", Some(name))])?;
        line("Finished configuration!");
        return Ok(());
    }
    interview(options, &prompt, &home, &client)
}

fn unknown_agent(name: &str) -> String {
    match name {
        "vc" | "vcp" => format!("{name} is not needed: this server is a central by itself"),
        _ => format!("{name:?} not configurable with this tool"),
    }
}

fn interview(options: &Options, prompt: &Prompt, home: &Path, client: &Client) -> Result<(), String> {
    let failed = |error: crate::prompt::PromptError| error.to_string();
    if options.vhome.is_none() {
        line(&format!("\nYour VOLTTRON_HOME currently set to: {}\n", home.display()));
        if !prompt.yes_or_no("is-home", "Is this the volttron you are attempting to setup?", true).map_err(failed)? {
            line("\nPlease execute with VOLTTRON_HOME=/your/path vcfg to modify VOLTTRON_HOME.\n");
            return Ok(());
        }
    }
    let is_running = client.call("control", "peerlist", vec![]).is_ok();
    if is_running {
        line("The current instance is running. Its configuration holds from its next start on.");
        if !prompt.yes_or_no("continue", "Would you like to continue?", false).map_err(failed)? {
            return Ok(());
        }
    }
    let environment = Environment::of_process();
    let flags = Flags { home: Some(home.to_owned()), ..Flags::default() };
    let loaded = vt_config::load(&flags, &environment).map_err(|error| error.to_string())?;
    let present = wizard::Present {
        settings: &loaded.settings,
        keys: &vt_config::file_keys(&loaded.settings.config_file).map_err(|error| error.to_string())?,
        host_name: environment.host_name().unwrap_or("localhost").to_lowercase(),
        is_running,
    };
    let keys = wizard::ask(prompt, &present).map_err(failed)?;
    write(home, &keys)?;
    let installed = installed_tags(home, client)?;
    let mut plans = Vec::new();
    for (key, name, question) in [
        ("platform-historian", "platform_historian", "Would you like to install a platform historian?"),
        ("platform-driver", "platform_driver", "Would you like to install a platform driver?"),
        ("listener", "listener", "Would you like to install a listener agent?"),
    ] {
        if prompt.yes_or_no(key, question, false).map_err(failed)? {
            plans.extend(agents::ask(prompt, name, &installed)?);
        }
    }
    install(home, client, &plans)?;
    line("Finished configuration!\n");
    line("You can now start the volttron instance.\n");
    line("If you need to change the instance configuration you can edit");
    line(&format!("the config file is at {}\n", home.join("config").display()));
    Ok(())
}

/// Installs agents in a platform that runs, or is started for it.
fn install(home: &Path, client: &Client, plans: &[agents::Plan]) -> Result<(), String> {
    if plans.is_empty() {
        return Ok(());
    }
    running::while_running(home, client, || plans.iter().try_for_each(|plan| agents::install(client, plan)))
}

/// Tags of installed agents, asked of a platform that runs or read from the files of one that rests.
fn installed_tags(home: &Path, client: &Client) -> Result<Vec<String>, String> {
    if client.call("control", "peerlist", vec![]).is_ok() {
        return agents::installed_tags(client);
    }
    let found = vt_app::offline::Offline::open(home).and_then(|files| files.agents());
    let (agents, _) = found.map_err(|error| error.to_string())?;
    Ok(agents.into_iter().filter_map(|agent| agent.tag).collect())
}

fn write(home: &Path, keys: &[wizard::Key]) -> Result<(), String> {
    std::fs::create_dir_all(home).map_err(|error| format!("{} cannot be made: {error}", home.display()))?;
    vt_config::set_keys(&home.join("config"), keys).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Options, clap::Error> {
        command().try_get_matches_from([&["vcfg"], args].concat()).and_then(|matches| Options::from_arg_matches(&matches))
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn several_agents_may_follow_one_option() {
        assert_eq!(parsed(&["--agent", "listener", "platform_driver"]).unwrap().agent, ["listener", "platform_driver"]);
    }

    #[test]
    fn both_spellings_of_rabbitmq_are_understood() {
        assert_eq!(parsed(&["--rabbitmq", "single", "f.yml"]).unwrap().rabbitmq, ["single", "f.yml"]);
        assert!(matches!(parsed(&["rabbitmq", "single", "--config", "f"]).unwrap().command, Some(Command::Rabbitmq { .. })));
    }
}
