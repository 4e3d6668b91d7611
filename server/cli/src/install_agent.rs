//! `install-agent.py`, VOLTTRON's script of that name: other spellings of `vctl install`, which does the work, prints the result and gives the
//! exit code. Source: VOLTTRON 6.0 and 9.0.4 `scripts/install-agent.py`.
//!
//! Differs from VOLTTRON 6: text is printed unless `--json` or `--csv` is given, as in 9.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;
use vt_config::Environment;

use crate::output::{clap_exit, complain};

/// Exit code of what VOLTTRON's script refuses: -10.
const REFUSED: u8 = 246;
/// Short options of two letters, and what they stand for.
const TWO_LETTERS: [(&str, &str); 4] =
    [("-st", "--agent-start-time"), ("-vh", "--volttron-home"), ("-vr", "--volttron-root"), ("-wh", "--wheelhouse")];

/// Install an agent from the directory of its sources.
#[derive(Debug, Parser)]
#[command(name = "install-agent.py", version, args_override_self = true)]
struct Options {
    /// Directory of the agent's sources
    #[arg(short = 's', long, value_name = "DIRECTORY")]
    agent_source: PathBuf,
    /// Identity on the bus
    #[arg(short = 'i', long, value_name = "IDENTITY")]
    vip_identity: Option<String>,
    /// Configuration, YAML or JSON
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Nickname
    #[arg(short, long)]
    tag: Option<String>,
    /// Replace an agent of the same identity, keeping its data
    #[arg(short, long)]
    force: bool,
    /// Start order, 0 to 99 (means --enable)
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<i64>,
    /// Start with the platform
    #[arg(long)]
    enable: bool,
    /// Start now
    #[arg(long)]
    start: bool,
    /// Seconds after which a started agent must still run; -st as well [default: 5]
    #[arg(long, value_name = "SECS")]
    agent_start_time: Option<String>,
    /// Print the result as a header line and a line of values as well
    #[arg(long)]
    csv: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Do not install what the directory's requirements.txt names
    #[arg(long)]
    skip_requirements: bool,
    /// Directory of the platform's files; -vh as well [default: $VOLTTRON_HOME, else ~/.volttron]
    #[arg(long, value_name = "PATH")]
    volttron_home: Option<PathBuf>,
    /// Where a source directory is looked for that is not here; -vr as well [default: $VOLTTRON_ROOT]
    #[arg(long, value_name = "PATH")]
    volttron_root: Option<PathBuf>,
    /// Accepted for VOLTTRON's scripts; the local socket is used
    #[arg(short = 'a', long, value_name = "ADDRESS", hide = true)]
    vip_address: Option<String>,
    /// Accepted for VOLTTRON's scripts; wheels are not kept
    #[arg(long, value_name = "PATH", hide = true)]
    wheelhouse: Option<PathBuf>,
}

pub fn main(args: Vec<OsString>) -> u8 {
    let spelled_out = |arg: OsString| match TWO_LETTERS.iter().find(|(short, _)| arg == *short) {
        Some((_, long)) => (*long).into(),
        None => arg,
    };
    let options = match Options::try_parse_from(args.into_iter().map(spelled_out)) {
        Ok(options) => options,
        Err(error) => return clap_exit(&error),
    };
    match options.for_vctl() {
        Ok(args) => crate::vctl::main(args),
        Err(text) => {
            complain(text);
            REFUSED
        }
    }
}

impl Options {
    /// The same as arguments of `vctl`, or VOLTTRON's words for what cannot be done.
    fn for_vctl(self) -> Result<Vec<OsString>, &'static str> {
        let source = self.source().ok_or("Invalid agent source directory specified.")?;
        if !["setup.py", "pyproject.toml"].iter().any(|file| source.join(file).is_file()) {
            return Err("Agent source must contain a setup.py file.");
        }
        let priority = self.priority.filter(|priority| *priority != -1);
        if priority.is_some_and(|priority| !(0..100).contains(&priority)) {
            return Err("Invalid priority specified must be between 1, 100");
        }
        if self.force && self.vip_identity.is_none() && self.tag.is_none() {
            return Err("Force option specified without a target identity to force.");
        }
        let mut args: Vec<OsString> = ["vctl", "install"].map(OsString::from).to_vec();
        for (name, is_given) in [
            ("--force", self.force),
            ("--enable", self.enable),
            ("--start", self.start),
            ("--csv", self.csv && !self.json),
            ("--json", self.json),
        ] {
            args.extend(is_given.then(|| name.into()));
        }
        let priority = priority.map(|priority| OsString::from(priority.to_string()));
        for (name, value) in [
            ("--vhome", self.volttron_home.map(OsString::from)),
            ("--vip-identity", self.vip_identity.map(OsString::from)),
            ("--agent-config", self.config.map(OsString::from)),
            ("--tag", self.tag.map(OsString::from)),
            ("--priority", priority),
            ("--agent-start-time", self.agent_start_time.map(OsString::from)),
            ("--skip-requirements", self.skip_requirements.then(|| "true".into())),
        ] {
            // In one word, so that a value cannot be taken for an option.
            args.extend(value.map(|value| [OsString::from(name), value].join(&OsString::from("="))));
        }
        args.push(source.into());
        Ok(args)
    }

    /// A path, so that it is not taken for the name of a package.
    fn source(&self) -> Option<PathBuf> {
        let root = || match &self.volttron_root {
            Some(root) => Some(root.clone()),
            None => Environment::of_process().text("VOLTTRON_ROOT")?.ok().map(PathBuf::from),
        };
        let here = Path::new(".").join(&self.agent_source);
        if here.is_dir() { Some(here) } else { root().map(|root| root.join(&self.agent_source)).filter(|path| path.is_dir()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Vec<String>, &'static str> {
        let args = Options::try_parse_from([&["install-agent.py"], args].concat()).unwrap().for_vctl()?;
        Ok(args.into_iter().map(|arg| arg.into_string().unwrap()).collect())
    }

    #[test]
    fn options_become_those_of_vctl() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("setup.py"), "").unwrap();
        let path = folder.path().to_str().unwrap();
        let given = ["-s", path, "-i", "a", "-c", "c.yml", "-t", "x", "-f", "--start", "--priority", "7", "--json", "--csv", "-a", "y"];
        let expected = [
            "vctl",
            "install",
            "--force",
            "--start",
            "--json",
            "--vip-identity=a",
            "--agent-config=c.yml",
            "--tag=x",
            "--priority=7",
            path,
        ];
        assert_eq!(parsed(&given).unwrap(), expected);
        let plain = parsed(&["-s", path, "--priority", "-1", "--skip-requirements", "--volttron-home", "/h"]).unwrap();
        assert_eq!(plain, ["vctl", "install", "--vhome=/h", "--skip-requirements=true", path]);
        let root = folder.path().parent().unwrap().to_str().unwrap();
        let name = folder.path().file_name().unwrap().to_str().unwrap();
        assert_eq!(parsed(&["-s", name, "--volttron-root", root]).unwrap().last().unwrap(), path);
        for (bad, text) in [
            (&["-s", "/nonexistent"][..], "Invalid agent source directory specified."),
            (&["-s", root], "Agent source must contain a setup.py file."),
            (&["-s", path, "--priority", "100"], "Invalid priority specified must be between 1, 100"),
            (&["-s", path, "-f"], "Force option specified without a target identity to force."),
        ] {
            assert_eq!(parsed(bad).unwrap_err(), text);
        }
    }
}
