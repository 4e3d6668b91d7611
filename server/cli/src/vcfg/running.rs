//! A platform that runs while vcfg works: the one that runs anyway, or one that is started for it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use vt_config::{Environment, Flags};

use crate::client::{Client, ClientError};
use crate::output::line;

const START_WAIT: Duration = Duration::from_secs(30);

/// The platform.
pub struct Platform {
    ours: Option<Child>,
}

impl Platform {
    /// Finds the running platform, or starts one without its agents.
    pub fn ensure(home: &Path, client: &Client) -> Result<Self, String> {
        match client.call("control", "peerlist", vec![]) {
            Ok(_) => return Ok(Self { ours: None }),
            Err(ClientError::NotRunning) => {}
            Err(error) => return Err(error.to_string()),
        }
        line("Starting platform...");
        std::fs::create_dir_all(home).map_err(|error| format!("{} cannot be made: {error}", home.display()))?;
        let log = home.join("volttron.cfg.log");
        let child = Command::new(server()?)
            .args(["-vv", "--no-autostart", "--vhome"])
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
    pub fn release(mut self, client: &Client) -> Result<(), String> {
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

/// The server's executable: beside this one, else on the path.
fn server() -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = this.with_file_name("volttron");
    Ok(if beside.is_file() { beside } else { PathBuf::from("volttron") })
}

/// Writes the name into the platform's configuration, unless it has another.
pub fn set_instance_name(home: &Path, name: &str) -> Result<(), String> {
    let flags = Flags { home: Some(home.to_owned()), instance_name: Some(name.to_owned()), ..Flags::default() };
    let loaded = vt_config::load(&flags, &Environment::of_process()).map_err(|error| error.to_string())?;
    std::fs::create_dir_all(home).map_err(|error| format!("{} cannot be made: {error}", home.display()))?;
    if !loaded.missing.iter().any(|(key, _)| *key == "instance-name") {
        return Err(format!("{} has an instance-name already; change it there", loaded.settings.config_file.display()));
    }
    vt_config::add_missing_keys(&loaded.settings.config_file, &loaded.missing).map_err(|error| error.to_string())
}
