//! Which program is meant, by the name under which the executable is called.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::{install_agent, scripts, serve, vcfg, vctl, vpkg};

/// The programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The server.
    Volttron,
    /// Control.
    Vctl,
    /// Set-up.
    Vcfg,
    /// Wheels of agents.
    Vpkg,
    /// Installs an agent from its sources.
    InstallAgent,
    /// Starts the server in the background.
    StartVolttron,
    /// Ends the server.
    StopVolttron,
}

impl Program {
    /// By file name; anything unknown is the server.
    #[must_use]
    pub fn of_name(path: &Path) -> Self {
        match path.file_stem().and_then(|name| name.to_str()) {
            Some("vctl" | "volttron-ctl") => Self::Vctl,
            Some("vcfg" | "volttron-cfg") => Self::Vcfg,
            Some("vpkg" | "volttron-pkg") => Self::Vpkg,
            Some("install-agent") => Self::InstallAgent,
            Some("start-volttron") => Self::StartVolttron,
            Some("stop-volttron") => Self::StopVolttron,
            _ => Self::Volttron,
        }
    }

    /// Runs with the arguments of this process and gives its exit code.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let args: Vec<OsString> = std::env::args_os().collect();
        ExitCode::from(match self {
            Self::Volttron => serve::main(args),
            Self::Vctl => vctl::main(args),
            Self::Vcfg => vcfg::main(args),
            Self::Vpkg => vpkg::main(args),
            Self::InstallAgent => install_agent::main(args),
            Self::StartVolttron => scripts::start(args),
            Self::StopVolttron => scripts::stop(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides() {
        for (name, program) in [
            ("/usr/bin/vctl", Program::Vctl),
            ("volttron-ctl", Program::Vctl),
            ("vcfg", Program::Vcfg),
            ("./volttron-cfg", Program::Vcfg),
            ("vpkg", Program::Vpkg),
            ("volttron-pkg", Program::Vpkg),
            ("scripts/install-agent.py", Program::InstallAgent),
            ("./start-volttron", Program::StartVolttron),
            ("./stop-volttron", Program::StopVolttron),
            ("volttron", Program::Volttron),
            ("anything", Program::Volttron),
        ] {
            assert_eq!(Program::of_name(Path::new(name)), program, "{name}");
        }
    }
}
