//! A platform that runs while vcfg works: the one that runs anyway, or one that is started for it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Client, ClientError};
use crate::output::line;

const START_WAIT: Duration = Duration::from_secs(30);

/// Does something while the platform runs.
pub fn while_running(home: &Path, client: &Client, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let platform = Platform::ensure(home, client)?;
    let done = work();
    platform.release(client)?;
    done
}

/// The platform.
struct Platform {
    ours: Option<Child>,
}

impl Platform {
    /// Finds the running platform, or starts one without its agents.
    fn ensure(home: &Path, client: &Client) -> Result<Self, String> {
        match client.call("control", "peerlist", vec![]) {
            Ok(_) => return Ok(Self { ours: None }),
            Err(ClientError::NotRunning) => {}
            Err(error) => return Err(error.to_string()),
        }
        line("Starting platform...");
        std::fs::create_dir_all(home).map_err(|error| format!("{} cannot be made: {error}", home.display()))?;
        let log = home.join("volttron.cfg.log");
        let child = Command::new(crate::scripts::beside("volttron")?)
            // Nobody looks at pages meanwhile, and the port of the configuration may still be another instance's.
            .args(["-vv", "--no-autostart", "--bind-web-address", "https://127.0.0.1:0", "--vhome"])
            .arg(home)
            .arg("-l")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("the server could not be started: {error}"))?;
        let mut platform = Self { ours: Some(child) };
        let end = Instant::now() + START_WAIT;
        while client.call("control", "peerlist", vec![]).is_err() {
            let ended = platform.ours.as_mut().is_none_or(|child| child.try_wait().ok().flatten().is_some());
            if ended || Instant::now() > end {
                return Err(format!("the server did not start; run 'volttron' to see why, or read {}", log.display()));
            }
            client.pause();
        }
        Ok(platform)
    }

    /// Ends the platform if vcfg started it.
    fn release(mut self, client: &Client) -> Result<(), String> {
        let Some(mut child) = self.ours.take() else { return Ok(()) };
        line("Shutting down platform...");
        client.call("control", "stop_platform", vec![]).map(|_: Value| ()).map_err(|error| error.to_string())?;
        child.wait().map(drop).map_err(|error| error.to_string())
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if let Some(mut child) = self.ours.take() {
            // Only after a failure; the error that led here is the one to tell.
            drop(child.kill().and_then(|()| child.wait()));
        }
    }
}
