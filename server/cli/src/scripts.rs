//! What VOLTTRON's shell scripts do, under their names: `start-volttron` and `stop-volttron`. Texts and exit codes are those that other
//! scripts wait for. Source: VOLTTRON `start-volttron`, `stop-volttron`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use vt_config::Environment;

use crate::client::Client;
use crate::output::{clap_exit, complain, line};
use crate::trace::Trace;

/// How long the server may take until it is ready.
const START_WAIT: Duration = Duration::from_secs(60);
/// Exit code of a start that failed.
const FAILED: u8 = 2;

/// Start VOLTTRON in the background, logging to volttron.log in the current directory.
#[derive(Debug, Parser)]
#[command(name = "start-volttron", version)]
struct Start {
    /// Accepted for VOLTTRON's scripts: the log file is opened anew whenever something rotates it
    #[arg(long)]
    rotating: bool,
    /// Further options of volttron
    #[arg(last = true)]
    options: Vec<OsString>,
}

/// Starts the server and waits until it is ready.
pub fn start(args: Vec<OsString>) -> u8 {
    let options = match Start::try_parse_from(args) {
        Ok(options) => options,
        Err(error) => return clap_exit(&error),
    };
    let home = match Environment::of_process().volttron_home(None) {
        Ok(home) => home,
        Err(error) => {
            complain(&format!("start-volttron: error: {error}"));
            return FAILED;
        }
    };
    if let Some(pid) = running(&home) {
        line(&format!("VOLTTRON with process id {pid} is already running"));
        return 1;
    }
    match begin(&home, &options.options) {
        Ok(true) => {
            line("VOLTTRON startup complete");
            0
        }
        Ok(false) => {
            line("VOLTTRON startup failed/timed out. Please check volttron.log for details");
            FAILED
        }
        Err(error) => {
            complain(&format!("start-volttron: error: {error}"));
            FAILED
        }
    }
}

/// Whether it became ready.
fn begin(home: &Path, options: &[OsString]) -> Result<bool, String> {
    let client = Client::new(home, Duration::from_secs(1), Trace::quiet()).map_err(|error| error.to_string())?;
    let mut server = Command::new(beside("volttron")?)
        .args(["-vv", "-l", "volttron.log"])
        .args(options)
        // A group of its own: Ctrl-C at this terminal is not for it.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("the server could not be started: {error}"))?;
    line("Waiting for VOLTTRON to startup..");
    let end = Instant::now() + START_WAIT;
    while running(home) != Some(server.id()) {
        if server.try_wait().map_err(|error| error.to_string())?.is_some() || Instant::now() > end {
            return Ok(false);
        }
        client.pause();
    }
    Ok(true)
}

/// The process in `VOLTTRON_PID`, if it lives.
fn running(home: &Path) -> Option<u32> {
    let pid: u32 = std::fs::read_to_string(home.join("VOLTTRON_PID")).ok()?.trim().parse().ok()?;
    Path::new("/proc").join(pid.to_string()).is_dir().then_some(pid)
}

/// An executable of this one's directory, else of the path.
pub fn beside(name: &str) -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = this.with_file_name(name);
    Ok(if beside.is_file() { beside } else { PathBuf::from(name) })
}

/// Ends the server; the exit code is that of `vctl shutdown --platform`.
pub fn stop() -> u8 {
    line("Shutting down VOLTTRON");
    crate::vctl::main(["vctl", "shutdown", "--platform"].map(OsString::from).to_vec())
}
