//! One installation as the server does it: which code is meant, the call, what it tells until its end. The server goes on with it whether or
//! not anybody listens.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;
use vt_api::local_install::{InstallCall, InstallLine, InstallSource, Installed};

use super::failure::Failure;
use super::global::Context;
use crate::client::ClientError;
use crate::output::printable;

/// What is said when nobody waits for the end any more.
const GOES_ON: &str = "The platform goes on with the installation; `vctl list` shows the agent when it is installed.";

/// The code that `text` means: a wheel, a directory, an agent that comes with the platform, or the name of a package.
///
/// # Errors
/// For a file that is neither, in VOLTTRON's words.
pub fn source(context: &Context, text: &str) -> Result<InstallSource, Failure> {
    let path = Path::new(text);
    // Asked first: without a platform nothing else is worth saying.
    let kinds = context.control("agent_kinds", vec![])?;
    if is_wheel(path) {
        return wheel(text).map(InstallSource::Wheel);
    }
    if kinds.as_array().into_iter().flatten().any(|kind| kind["kind"] == *text) {
        return Ok(InstallSource::Kind(text.to_owned()));
    }
    if path.is_dir() {
        if !["setup.py", "pyproject.toml"].iter().any(|file| path.join(file).is_file()) {
            crate::output::complain("Agent source must contain a setup.py file.");
            return Err(Failure::new(20, "-10"));
        }
        return absolute(text).map(InstallSource::Directory);
    }
    if text.contains('/') || path.exists() {
        return Err(invalid(text));
    }
    Ok(InstallSource::Package(text.to_owned()))
}

/// The absolute path of a wheel.
///
/// # Errors
/// If it is none.
pub fn wheel(text: &str) -> Result<PathBuf, Failure> {
    if is_wheel(Path::new(text)) && Path::new(text).is_file() { absolute(text) } else { Err(invalid(text)) }
}

/// The absolute path of a wheel or of a directory.
///
/// # Errors
/// If it is neither.
pub fn file_or_directory(text: &str) -> Result<PathBuf, Failure> {
    if Path::new(text).is_dir() { absolute(text) } else { wheel(text) }
}

fn is_wheel(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "whl")
}

fn invalid(text: &str) -> Failure {
    Failure::plain(1, format!("Invalid file {text}"))
}

/// The server stands elsewhere.
fn absolute(text: &str) -> Result<PathBuf, Failure> {
    std::path::absolute(text).map_err(|error| Failure::plain(1, format!("{text}: {error}")))
}

/// A call for code with nothing special about it.
pub fn call(source: InstallSource) -> InstallCall {
    InstallCall {
        source,
        identity: None,
        tag: None,
        priority: None,
        config: None,
        force: false,
        upgrade: false,
        start: false,
        interpreter: None,
        allow_prerelease: false,
        skip_requirements: false,
    }
}

/// Installs, telling how it goes on, and waits for the end: as long as it takes, unless a time limit was asked for.
///
/// # Errors
/// As the installation, and if nobody waits for its end.
pub fn run(context: &Context, call: &InstallCall) -> Result<Installed, Failure> {
    let (mut end, mut is_told) = (None, false);
    let until = context.asked_limit.map(|limit| Instant::now() + limit);
    let followed = context.client.follow_answer("/install", call, until, |line| {
        is_told = true;
        end = take(context, line);
        if end.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match (followed, end) {
        (_, Some(Ok(installed))) => Ok(installed),
        (_, Some(Err(message))) => Err(Failure::plain(1, message)),
        (Err(ClientError::Interrupted), None) => Err(Failure::plain(1, GOES_ON)),
        (Err(error), None) if !is_told => Err(error.into()),
        (Ok(()), None) if until.is_some_and(|until| Instant::now() >= until) => {
            crate::output::complain(GOES_ON);
            Err(ClientError::TimedOut.into())
        }
        (_, None) => Err(Failure::plain(1, "The platform ended before the agent was installed.")),
    }
}

/// Tells a line; gives the last one's meaning.
fn take(context: &Context, line: Value) -> Option<Result<Installed, String>> {
    let trace = context.client.trace();
    match serde_json::from_value(line) {
        Ok(InstallLine::Step { name, percent }) => trace.progress(&format!("{percent:3}% {name}")),
        Ok(InstallLine::Output(text)) => trace.progress(&format!("     {}", printable(&text))),
        Ok(InstallLine::Installed(installed)) => return Some(Ok(installed)),
        Ok(InstallLine::Error { kind, .. }) if kind == "already_exists" => {
            return Some(Err("Identity already exists.  Pass --force option to re-install.".to_owned()));
        }
        Ok(InstallLine::Error { message, .. }) => return Some(Err(message)),
        Err(error) => trace.debug(&format!("a line of the installation is not understood: {error}")),
    }
    None
}
