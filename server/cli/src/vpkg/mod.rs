//! `vpkg`: wheels of agents. Texts that scripts read: VOLTTRON 9.0.4 `volttron/platform/packaging.py`. Building and changing is done by the
//! tools and settings by which the server installs; the server need not run.
//!
//! Differs from VOLTTRON: what fails gives exit code 1 and one sentence on standard error; packages are not signed.

mod skeleton;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Parser, Subcommand};
use vt_app::packaging::Packaging;
use vt_config::{Environment, Flags, Settings};

use crate::output::{clap_exit, complain, line, printable};

/// Package agents.
#[derive(Debug, Parser)]
#[command(name = "vpkg", version, disable_help_subcommand = true, args_override_self = true)]
struct Options {
    /// Directory of the platform's files [default: $VOLTTRON_HOME, else ~/.volttron]
    #[arg(long, value_name = "PATH", global = true)]
    vhome: Option<PathBuf>,
    /// Accepted for VOLTTRON's scripts; what the tools say goes to standard error
    #[arg(short, long, value_name = "FILE", hide = true)]
    log: Option<PathBuf>,
    /// Accepted for VOLTTRON's scripts
    #[arg(short = 'L', long, value_name = "FILE", hide = true)]
    log_config: Option<PathBuf>,
    /// Tell what the tools say
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// Tell less
    #[arg(short, long, action = ArgAction::Count)]
    quiet: u8,
    /// Lowest level told: 20 what the tools say, 30 nothing but errors
    #[arg(long, value_name = "LEVEL", default_value_t = 30)]
    verboseness: i64,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put a configuration into a wheel
    Configure {
        /// The wheel
        package: PathBuf,
        /// The configuration
        #[arg(value_name = "CONFIG")]
        config_file: PathBuf,
    },
    /// Packages are not signed here
    #[command(name = "create_ca", hide = true)]
    CreateCa(Unsigned),
    /// Packages are not signed here
    #[command(name = "create_cert", hide = true)]
    CreateCert(Unsigned),
    /// Make the sources of a new agent
    Init(skeleton::Init),
    /// Build the wheel of an agent
    Package {
        /// Directory of the sources, with setup.py or pyproject.toml
        agent_directory: PathBuf,
        /// Where the wheel is put [default: packaged in the platform's directory]
        #[arg(long, value_name = "DIRECTORY")]
        dest: Option<PathBuf>,
        /// Identity that the wheel asks for [default: what stands in the directory's file IDENTITY]
        #[arg(long, value_name = "IDENTITY")]
        vip_identity: Option<String>,
    },
    /// Make a wheel of an installed agent
    Repackage {
        /// Directory in which it is installed
        directory: PathBuf,
        /// Where the wheel is put [default: packaged in the platform's directory]
        #[arg(long, value_name = "DIRECTORY")]
        dest: Option<PathBuf>,
    },
    /// Packages are not signed here
    #[command(hide = true)]
    Sign(Unsigned),
    /// Packages are not signed here
    #[command(hide = true)]
    Verify(Unsigned),
}

/// Anything.
#[derive(Debug, clap::Args)]
struct Unsigned {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<OsString>,
}

pub fn main(args: Vec<OsString>) -> u8 {
    let options = match Options::try_parse_from(args) {
        Ok(options) => options,
        Err(error) => return clap_exit(&error),
    };
    match run(&options) {
        Ok(()) => 0,
        Err(text) => {
            complain(&format!("vpkg: error: {}", printable(&text)));
            1
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    match &options.command {
        Command::Configure { package, config_file } => {
            let tools = Tools::new(options)?;
            tools.add(&file(package)?, "config", &file(config_file)?)
        }
        Command::Init(init) => skeleton::run(init),
        Command::Package { agent_directory, dest, vip_identity } => {
            let tools = Tools::new(options)?;
            if !agent_directory.is_dir() {
                return Err("Invalid agent package directory specified".to_owned());
            }
            let identity = identity_file(agent_directory, vip_identity.as_deref(), tools.work.path())?;
            let dest = tools.dest(dest.as_deref())?;
            let wheel = tools.packaging.build(&absolute(agent_directory)?, &dest).map_err(|error| error.to_string())?;
            if let Some(identity) = identity {
                tools.add(&wheel, "IDENTITY_TEMPLATE", &identity)?;
            }
            created(&wheel);
            Ok(())
        }
        Command::Repackage { directory, dest } => {
            let tools = Tools::new(options)?;
            if !directory.is_dir() {
                return Err(format!("Agent directory {} does not exist", directory.display()));
            }
            let dest = tools.dest(dest.as_deref())?;
            created(&tools.packaging.pack(&absolute(directory)?, &dest).map_err(|error| error.to_string())?);
            Ok(())
        }
        Command::CreateCa(_) | Command::CreateCert(_) | Command::Sign(_) | Command::Verify(_) => {
            Err("packages are not signed here; who may install agents is decided by the platform's rights".to_owned())
        }
    }
}

/// Scripts split on this text.
fn created(wheel: &Path) {
    line(&format!("Package created at: {}", wheel.display()));
}

/// A file with the identity that a wheel is to ask for: the one given, else the directory's own.
fn identity_file(directory: &Path, given: Option<&str>, work: &Path) -> Result<Option<PathBuf>, String> {
    let own = directory.join("IDENTITY");
    match given {
        None => Ok(own.is_file().then_some(absolute(&own)?)),
        Some(identity) => {
            let path = work.join("IDENTITY_TEMPLATE");
            std::fs::write(&path, identity).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(Some(path))
        }
    }
}

/// The tools with a directory to work in.
struct Tools {
    packaging: Packaging,
    settings: Settings,
    work: tempfile::TempDir,
}

impl Tools {
    fn new(options: &Options) -> Result<Self, String> {
        let environment = Environment::of_process();
        let flags = Flags { home: options.vhome.clone(), ..Flags::default() };
        let settings = vt_config::load(&flags, &environment).map_err(|error| error.to_string())?.settings;
        let work = tempfile::tempdir().map_err(|error| format!("no directory to work in: {error}"))?;
        let level = options.verboseness - 10 * i64::from(options.verbose) + 10 * i64::from(options.quiet);
        let say = move |text: &str| {
            if level <= 20 {
                complain(&format!("vpkg INFO: {}", printable(text)));
            }
        };
        let packaging = Packaging::new(&settings, &environment, work.path(), say).map_err(|error| error.to_string())?;
        Ok(Self { packaging, settings, work })
    }

    fn dest(&self, given: Option<&Path>) -> Result<PathBuf, String> {
        given.map_or_else(|| Ok(self.settings.home.join("packaged")), absolute)
    }

    fn add(&self, wheel: &Path, name: &str, file: &Path) -> Result<(), String> {
        self.packaging.add(wheel, name, file).map_err(|error| error.to_string())
    }
}

/// The absolute path of a file that is there.
fn file(path: &Path) -> Result<PathBuf, String> {
    if path.is_file() { absolute(path) } else { Err(format!("Invalid file {}", path.display())) }
}

/// The tools stand elsewhere.
fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))
}
