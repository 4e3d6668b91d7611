//! Options of all commands, what `$VOLTTRON_HOME/config` says to `vctl`, and what a command works with.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use serde_json::{Value, json};
use vt_config::{ControlFile, Environment};

use super::failure::{Failure, Outcome};
use crate::client::Client;
use crate::output::{complain, line, pretty};
use crate::python;
use crate::trace::Trace;

/// Seconds to wait for an answer unless something says otherwise.
const TIMEOUT_S: f64 = 60.0;
/// Level from which on is told what is done; Python's WARNING.
const LEVEL: i64 = 30;

#[derive(Debug, Args)]
pub struct Global {
    /// Directory of the platform's files [default: $VOLTTRON_HOME, else ~/.volttron]
    #[arg(long, value_name = "PATH", global = true)]
    pub vhome: Option<PathBuf>,
    /// Read options from this file [default: config in the platform's directory]
    #[arg(short, long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Seconds to wait for an answer [default: 60]
    #[arg(short, long, value_name = "SECS", value_parser = seconds, global = true, allow_negative_numbers = true)]
    pub timeout: Option<f64>,
    /// Output as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more about an error
    #[arg(long, global = true)]
    pub debug: bool,
    /// Accepted for VOLTTRON's scripts; the local socket is used
    #[arg(long, value_name = "ADDRESS", global = true, hide = true)]
    pub vip_address: Option<String>,
    /// Accepted for VOLTTRON's scripts
    #[arg(long, global = true, hide = true)]
    pub msgdebug: bool,
    /// Tell what is done to this file; '-' is standard output [default: standard error]
    #[arg(short, long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Accepted for VOLTTRON's scripts; Python logging set-ups have no meaning here
    #[arg(short = 'L', long, value_name = "FILE", hide = true)]
    pub log_config: Option<PathBuf>,
    /// Tell more; twice for every call
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
    /// Tell less
    #[arg(short, long, action = ArgAction::Count)]
    pub quiet: u8,
    /// Lowest level told: 10 every call, 30 nothing but errors
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i64).range(0..=100))]
    pub verboseness: Option<i64>,
    #[arg(long, hide = true)]
    pub show_config: bool,
}

/// What a command works with.
pub struct Context {
    /// The platform's local socket.
    pub client: Client,
    /// Directory of the platform's files.
    pub home: PathBuf,
    /// Whether output is JSON.
    pub json: bool,
    /// The time limit, if one was asked for.
    pub asked_limit: Option<Duration>,
    /// The command's name, for messages.
    pub command: &'static str,
}

impl Context {
    /// Reads the file and makes a client; nothing is connected yet.
    pub fn open(global: &Global, command: &'static str) -> Result<Self, Failure> {
        let settings = global.settings()?;
        let trace = Trace::new(settings.level, settings.log.as_deref())
            .map_err(|error| Failure::new(1, format!("the log file cannot be written: {error}")))?;
        let limit = Duration::from_secs_f64(settings.timeout_s.unwrap_or(TIMEOUT_S));
        let client = Client::new(&settings.home, limit, trace).map_err(|error| Failure::new(1, error.to_string()))?;
        Ok(Self { client, home: settings.home, json: global.json, asked_limit: settings.timeout_s.map(|_| limit), command })
    }

    /// Calls a method of `control`.
    pub fn control(&self, method: &str, args: Vec<Value>) -> Result<Value, Failure> {
        Ok(self.client.call("control", method, args)?)
    }

    /// Prints a value as JSON.
    pub fn print_json(value: &Value) -> Outcome {
        line(&pretty(value, 2));
        Ok(())
    }

    /// `<command>: error: <text>` on standard error, without ending.
    pub fn complain(&self, text: &str) {
        complain(&format!("{}: error: {text}", self.command));
    }
}

struct Settings {
    home: PathBuf,
    timeout_s: Option<f64>,
    level: i64,
    log: Option<PathBuf>,
}

impl Global {
    /// The command line over the file over defaults.
    fn settings(&self) -> Result<Settings, Failure> {
        let environment = Environment::of_process();
        let home = environment.volttron_home(self.vhome.clone()).map_err(|error| Failure::new(1, error.to_string()))?;
        let file = ControlFile::read(&home, self.config.as_deref(), &environment).map_err(|error| Failure::new(1, error.to_string()))?;
        let wrong = |key: &str, text: String| Failure::new(2, format!("{}: {key}: {text}", file.path().display()));
        let timeout_s = match (self.timeout, file.get("timeout")) {
            (Some(given), _) => Some(given),
            (None, Some(text)) => Some(seconds(text).map_err(|error| wrong("timeout", error))?),
            (None, None) => None,
        };
        let base = match (self.verboseness, file.get("verboseness")) {
            (Some(given), _) => given,
            (None, Some(text)) => text.parse().map_err(|_| wrong("verboseness", "give a number such as 30".to_owned()))?,
            (None, None) => LEVEL,
        };
        let level = base - 10 * i64::from(self.verbose) + 10 * i64::from(self.quiet);
        let log = self.log.clone().or_else(|| file.get("log").map(PathBuf::from));
        Ok(Settings { home, timeout_s, level: level.max(1), log })
    }

    /// `--show-config`: every option with its value, sorted.
    pub fn show(&self) -> u8 {
        let settings = match self.settings() {
            Ok(settings) => settings,
            Err(failure) => {
                failure.told("vctl", self.debug).iter().for_each(|line| complain(line));
                return failure.code();
            }
        };
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        for (name, value) in [
            ("config", json!(path(&self.config))),
            ("debug", json!(self.debug)),
            ("json", json!(self.json)),
            ("log", json!(path(&settings.log))),
            ("timeout", json!(settings.timeout_s.unwrap_or(TIMEOUT_S))),
            ("verboseness", json!(settings.level)),
            ("volttron_home", json!(settings.home.display().to_string())),
        ] {
            line(&format!("{name} {}", python::repr(&value)));
        }
        0
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 86_400.0 => Ok(value),
        _ => Err("give a number of seconds above 0 and up to 86400".to_owned()),
    }
}
