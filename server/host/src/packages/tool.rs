//! Calls of `uv`, `pip` and the interpreter: in a process group of their own, with a time limit, their output told line by line.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, BufReader};
use vt_backends::{PrepareError, PrepareObserver};

use super::PackagesConfig;
use crate::process::relay::read_line;
use crate::process::spawn::{Harness, Spawner};

/// Longest line that is told, bytes.
const LINE_BYTES_MAX: usize = 2000;
/// Lines kept for the reason of a failure.
const LAST_LINES: usize = 12;
/// Largest answer of a script, bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Calls tools for one package.
pub struct Tools<'a> {
    pub config: &'a PackagesConfig,
    pub spawner: &'a Spawner,
    pub observer: Arc<dyn PrepareObserver>,
}

/// Ends what is left of a call, however it ends.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        if self.0.as_raw() > 1
            && let Err(error) = killpg(self.0, Signal::SIGKILL)
        {
            tracing::trace!(%error, "nothing is left of a call, as a rule");
        }
    }
}

impl Tools<'_> {
    /// Calls `program` in `directory`; what it says is told. `what` names the call in errors.
    pub async fn call(&self, what: &str, program: &Path, arguments: &[String], directory: &Path) -> Result<(), PrepareError> {
        self.run(what, program, arguments, directory, false).await.map(drop)
    }

    /// Calls `program`, whose standard output is the answer and is not told.
    pub async fn ask(&self, what: &str, program: &Path, arguments: &[String], directory: &Path) -> Result<String, PrepareError> {
        self.run(what, program, arguments, directory, true).await
    }

    async fn run(&self, what: &str, program: &Path, arguments: &[String], directory: &Path, ask: bool) -> Result<String, PrepareError> {
        let failed = |reason: String| PrepareError::Tool { tool: what.to_owned(), reason };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory).env_clear().envs(self.config.environment.iter().cloned());
        command.env("PIP_NO_INPUT", "1").env("PIP_DISABLE_PIP_VERSION_CHECK", "1").env("PYTHONUNBUFFERED", "1");
        command.env("UV_NO_PROGRESS", "1").env("UV_PYTHON_DOWNLOADS", "never").env("NO_COLOR", "1");
        let mut child =
            self.spawner.spawn(command, Harness::default()).await.map_err(|error| failed(format!("{}: {error}", program.display())))?;
        let group = Group(Pid::from_raw(child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or(0)));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (answer, last) = (Mutex::new(String::new()), Mutex::new(Vec::new()));
        let take_out = |line: &str| {
            let mut answer = answer.lock();
            if !ask {
                self.tell(line, &last);
            } else if answer.len() + line.len() < ANSWER_BYTES_MAX {
                answer.push_str(line);
                answer.push('\n');
            }
        };
        let work = async {
            let (status, (), ()) =
                tokio::join!(child.wait(), lines_of(out, take_out, ask), lines_of(err, |line| self.tell(line, &last), false));
            status
        };
        let status = match tokio::time::timeout(self.config.tool_limit, work).await {
            Ok(status) => status.map_err(|error| failed(error.to_string()))?,
            Err(_) => {
                let limit = self.config.tool_limit;
                return Err(failed(format!("it took longer than {} s", Duration::from_secs(limit.as_secs()).as_secs())));
            }
        };
        drop(group);
        if status.success() { Ok(answer.into_inner()) } else { Err(failed(last_words(&last.into_inner(), &status.to_string()))) }
    }

    fn tell(&self, line: &str, last: &Mutex<Vec<String>>) {
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        let mut last = last.lock();
        if last.len() == LAST_LINES {
            last.remove(0);
        }
        last.push(line.to_owned());
        drop(last);
        self.observer.on_line(line);
    }
}

async fn lines_of(source: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&str), whole: bool) {
    let Some(source) = source else { return };
    let bytes_max = if whole { ANSWER_BYTES_MAX } else { LINE_BYTES_MAX };
    let (mut source, mut line) = (BufReader::new(source), Vec::new());
    while let Ok(true) = read_line(&mut source, &mut line, bytes_max).await {
        take(&String::from_utf8_lossy(&line));
    }
}

/// What a person needs of a tool's last lines: from the first one that speaks of an error on.
fn last_words(lines: &[String], status: &str) -> String {
    let begin = lines.iter().position(|line| line.to_lowercase().contains("error")).unwrap_or(lines.len().saturating_sub(3));
    let words = lines[begin..].join(" | ");
    if words.is_empty() { status.to_owned() } else { words.chars().take(1000).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_begins_where_the_error_is_told() {
        let lines = |all: &[&str]| all.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let said = lines(&["Looking in links", "ERROR: No matching distribution", "hint"]);
        assert_eq!(last_words(&said, ""), "ERROR: No matching distribution | hint");
        assert_eq!(last_words(&lines(&["a", "b", "c", "d"]), ""), "b | c | d");
        assert_eq!(last_words(&[], "exit status: 2"), "exit status: 2");
    }
}
