//! Options of the server. The list of options, their defaults and their help stand in `vt_config::OPTIONS`; here is only how they look on
//! the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};
use vt_app::RunOptions;
use vt_config::{ConfigError, Environment, Flags, OPTIONS, OptionKind, OptionSpec};

use crate::output::{complain, sentence};

/// Options without a value, although a file gives them one.
const SWITCHES: &[&str] = &["autostart", "monitor", "msgdebug", "resource-monitor", "restricted", "setup-mode", "verify"];

pub fn main(args: Vec<OsString>) -> u8 {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return crate::output::clap_exit(&error),
    };
    match vt_config::load(&flags(&matches), &Environment::of_process()) {
        Ok(loaded) if matches.get_flag("show-config") => {
            crate::output::print(&loaded.settings.show());
            0
        }
        Ok(loaded) => match vt_app::run(loaded, &RunOptions { demo: matches.get_flag("demo") }) {
            Ok(()) => 0,
            Err(error) => {
                complain(&format!("volttron: error: {}", sentence(error.chain())));
                1
            }
        },
        Err(error @ ConfigError::Problems(_)) => {
            complain(&format!("volttron: error: the configuration cannot be used:\n{error}"));
            2
        }
        Err(error) => {
            complain(&format!("volttron: error: {error}"));
            1
        }
    }
}

fn command() -> Command {
    let command = Command::new("volttron")
        .about("The VOLTTRON platform: bus, agents, history, pages and API in one process, in the foreground.")
        .version(env!("CARGO_PKG_VERSION"))
        // As in VOLTTRON: a script may append its own value to another's options.
        .args_override_self(true)
        .after_help("Every option is also a key in [volttron] of $VOLTTRON_HOME/config, and an environment variable VOLTTRON_<NAME>.")
        .arg(
            Arg::new("home")
                .long("vhome")
                .value_name("PATH")
                .value_parser(clap::value_parser!(PathBuf))
                .help("Directory of the platform's files [default: $VOLTTRON_HOME, else ~/.volttron]"),
        )
        .arg(
            Arg::new("config")
                .short('c')
                .long("config")
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help("Read this configuration file [default: config in the platform's directory]"),
        )
        .arg(Arg::new("demo").long("demo").action(ArgAction::SetTrue).help("Also set up a demonstration building with simulated devices"))
        .arg(Arg::new("verbose").short('v').long("verbose").action(ArgAction::Count).help("Log more; twice for debugging"))
        .arg(Arg::new("quiet").short('q').long("quiet").action(ArgAction::Count).help("Log less"))
        .arg(Arg::new("show-config").long("show-config").action(ArgAction::SetTrue).hide(true));
    OPTIONS.iter().fold(command, |command, option| {
        let command = command.arg(argument(option));
        match SWITCHES.contains(&option.key) && matches!(option.key, "autostart" | "resource-monitor" | "restricted" | "verify") {
            true => {
                command.arg(Arg::new(format!("no-{}", option.key)).long(format!("no-{}", option.key)).action(ArgAction::SetTrue).hide(true))
            }
            false => command,
        }
    })
}

fn argument(option: &'static OptionSpec) -> Arg {
    let help = match option.default {
        "" => option.help.to_owned(),
        default => format!("{} [default: {default}]", option.help),
    };
    let argument = Arg::new(option.key).long(option.key).help(help).hide(option.kind == OptionKind::Unused);
    let argument = match option.key {
        "log" => argument.short('l'),
        "log-config" => argument.short('L'),
        _ => argument,
    };
    if SWITCHES.contains(&option.key) {
        return argument.action(ArgAction::SetTrue);
    }
    let argument =
        argument.value_name("VALUE").allow_hyphen_values(matches!(option.key, "log" | "access-token-minutes" | "refresh-token-minutes"));
    match option.kind {
        OptionKind::List => argument.action(ArgAction::Append),
        OptionKind::Unused => argument.action(ArgAction::Set).num_args(0..=1),
        _ => argument.action(ArgAction::Set),
    }
}

fn flags(matches: &ArgMatches) -> Flags {
    let text = |key: &str| matches.get_one::<String>(key).cloned();
    let list = |key: &str| matches.get_many::<String>(key).into_iter().flatten().cloned().collect::<Vec<_>>();
    let switch = |key: &str| matches.get_flag(key);
    let others = OPTIONS
        .iter()
        .filter(|option| option.kind != OptionKind::Unused && !SWITCHES.contains(&option.key))
        .flat_map(|option| list(option.key).into_iter().map(|text| (option.key, text)))
        .collect();
    let unused = OPTIONS
        .iter()
        .filter(|option| option.kind == OptionKind::Unused)
        .filter(|option| matches.value_source(option.key) == Some(clap::parser::ValueSource::CommandLine))
        .map(|option| option.key.to_owned())
        .collect();
    Flags {
        home: matches.get_one::<PathBuf>("home").cloned(),
        config: matches.get_one::<PathBuf>("config").cloned(),
        verbose: matches.get_count("verbose"),
        quiet: matches.get_count("quiet"),
        agent_monitor_frequency: text("agent-monitor-frequency"),
        access_token_minutes: text("access-token-minutes"),
        allow_auth: text("allow-auth"),
        autostart: if switch("no-autostart") { Some(false) } else { switch("autostart").then_some(true) },
        bind_web_address: text("bind-web-address"),
        database_url: text("database-url"),
        instance_name: text("instance-name"),
        log: text("log"),
        log_format: text("log-format"),
        log_level: list("log-level"),
        message_bus: text("message-bus"),
        metrics_token: text("metrics-token"),
        refresh_token_minutes: text("refresh-token-minutes"),
        setup_mode: switch("setup-mode").then_some(true),
        verboseness: text("verboseness"),
        vip_address: list("vip-address"),
        volttron_central_address: text("volttron-central-address"),
        volttron_central_rmq_address: text("volttron-central-rmq-address"),
        volttron_central_serverkey: text("volttron-central-serverkey"),
        web_ca_cert: text("web-ca-cert"),
        web_host_name: list("web-host-name"),
        web_secret_key: text("web-secret-key"),
        web_ssl_cert: text("web-ssl-cert"),
        web_ssl_key: text("web-ssl-key"),
        others,
        unused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Flags {
        flags(&command().try_get_matches_from([&["volttron"], args].concat()).unwrap())
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn options_reach_the_flags() {
        let flags = parsed(&[
            "-vv",
            "-l",
            "volttron.log",
            "--vip-address",
            "tcp://a:1",
            "--vip-address",
            "tcp://b:2",
            "--setup-mode",
            "--no-autostart",
            "--msgdebug",
        ]);
        assert_eq!((flags.verbose, flags.log.as_deref(), flags.vip_address.len()), (2, Some("volttron.log"), 2));
        assert_eq!((flags.setup_mode, flags.autostart, flags.unused.as_slice()), (Some(true), Some(false), &["msgdebug".to_owned()][..]));
        assert_eq!(parsed(&["-l", "-"]).log.as_deref(), Some("-"));
        assert!(parsed(&[]).unused.is_empty());
    }

    #[test]
    fn no_option_is_taken_and_forgotten() {
        for option in OPTIONS.iter().filter(|option| option.kind != OptionKind::Unused && !SWITCHES.contains(&option.key)) {
            let flags = parsed(&[&format!("--{}", option.key), "x"]);
            let entries: Vec<_> = flags.entries().into_iter().filter(|(_, text)| text == "x").collect();
            assert_eq!(entries, [(option.key, "x".to_owned())]);
        }
        let two =
            parsed(&["--python-wheelhouse", "a", "--python-wheelhouse", "b", "--python-interpreter", "a", "--python-interpreter", "b"]);
        let pair = |key, text: &str| (key, text.to_owned());
        let expected = [pair("python-interpreter", "b"), pair("python-wheelhouse", "a"), pair("python-wheelhouse", "b")];
        assert_eq!(two.entries(), expected);
    }

    #[test]
    fn of_two_values_the_last_holds() {
        let flags =
            parsed(&["--instance-name", "one", "--instance-name", "two", "--vip-address", "tcp://a:1", "--vip-address", "tcp://b:2"]);
        assert_eq!((flags.instance_name.as_deref(), flags.vip_address.len()), (Some("two"), 2));
    }

    #[test]
    fn an_unknown_option_is_an_argument_error() {
        assert!(command().try_get_matches_from(["volttron", "--no-such-option"]).is_err());
    }
}
