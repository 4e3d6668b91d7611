//! Where the built binaries are, and one run of a command to its end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The path of a built binary: `VT_TEST_PROGRAMS` names the folder, else it is the one above the running test's.
pub fn program(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(path.is_file(), "{} is not built; run: cargo build -p vt-cli", path.display());
    path
}

fn folder() -> PathBuf {
    std::env::var_os("VT_TEST_PROGRAMS").map_or_else(built_beside_this_test, PathBuf::from)
}

fn built_beside_this_test() -> PathBuf {
    let this = std::env::current_exe().expect("the running program has a path");
    let folder = this.parent().expect("a program lies in a folder");
    if folder.ends_with("deps") { folder.parent().expect("deps lies in the profile's folder").to_owned() } else { folder.to_owned() }
}

/// How a command ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit status, absent when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Panics unless the command ended with status 0.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

/// Runs a program on a home with an otherwise empty VOLTTRON environment and waits for its end.
pub async fn run(name: &str, home: &Path, arguments: &[&str], deadline: Duration) -> Finished {
    run_with_input(name, home, arguments, "", deadline).await
}

/// The same, with what stands on its standard input.
pub async fn run_with_input(name: &str, home: &Path, arguments: &[&str], input: &str, deadline: Duration) -> Finished {
    let mut command = bare(name, home);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A program that reads no further has ended or does not ask.
    drop(stdin.write_all(input.as_bytes()).await);
    drop(stdin);
    let output = tokio::time::timeout(deadline, child.wait_with_output())
        .await
        .unwrap_or_else(|_| panic!("{name} {arguments:?} did not end within {deadline:?}"))
        .expect("the output of an ended program is readable");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A command that sees this home and no setting of whoever runs the tests; killed when dropped.
pub(crate) fn bare(name: &str, home: &Path) -> Command {
    cleaned(Command::new(program(name)), home)
}

/// The same, begun with at most `open_files` open files; it may allow itself more.
pub(crate) fn bare_with_open_files(name: &str, home: &Path, open_files: u32) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"ulimit -Sn "$0" && exec "$@""#, &open_files.to_string()]).arg(program(name));
    cleaned(shell, home)
}

/// The same, begun by another command that becomes the program, such as `ip netns exec NAME`.
pub(crate) fn bare_begun_by(wrapper: &[String], name: &str, home: &Path) -> Command {
    let (first, rest) = wrapper.split_first().expect("a command");
    let mut command = Command::new(first);
    command.args(rest).arg(program(name));
    cleaned(command, home)
}

fn cleaned(mut command: Command, home: &Path) -> Command {
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("VOLTTRON")) {
        command.env_remove(key);
    }
    command.env_remove("RUST_LOG").env("VOLTTRON_HOME", home).kill_on_drop(true);
    command
}
