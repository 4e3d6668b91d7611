//! A Python program that takes JSON commands and prints JSON lines, in the environment of one VOLTTRON generation; killed when dropped.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;
use vt_testkit::eventually_async;

/// Longest wait for what has to happen at some time; Python on a loaded machine gets some patience.
pub const PATIENCE: Duration = Duration::from_secs(40);
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/compat/python");
pub const TARGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target");
/// Lines of a program that a failure shows.
const SHOWN_MAX: usize = 30;

/// An installed VOLTTRON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// Modular 11.
    Eleven,
    /// 10.
    Ten,
}

impl Installed {
    pub fn python(self) -> PathBuf {
        let (variable, folder) = match self {
            Self::Eleven => ("VT_TEST_VOLTTRON", "volttron-venv"),
            Self::Ten => ("VT_TEST_VOLTTRON10", "volttron10-venv"),
        };
        let environment = std::env::var_os(variable).map_or_else(|| Path::new(TARGET).join(folder), PathBuf::from);
        let python = environment.join("bin/python");
        assert!(python.is_file(), "{} is missing; run: tests/support/prepare.sh", python.display());
        python
    }

    /// A command that runs one of our programs on a home.
    pub fn command(self, script: &str, home: &Path, arguments: &[&str]) -> Command {
        let mut command = self.bare(home);
        command.arg(Path::new(SCRIPTS).join(script)).args(arguments);
        command
    }

    /// Its interpreter on a home, without any setting of whoever runs the tests.
    pub fn bare(self, home: &Path) -> Command {
        // Whoever runs the tests in the background may ignore interruptions, which children inherit.
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").arg(self.python());
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if name.starts_with("VOLTTRON") || name.starts_with("AGENT_") || name.starts_with("PYTHON") {
                command.env_remove(&key);
            }
        }
        // Modular `vctl` writes a log file where it stands.
        command
            .current_dir(home)
            .env("VOLTTRON_HOME", home)
            .env("HOME", home)
            .env("_LAUNCHED_BY_PLATFORM", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

/// One line that it printed, and whether somebody waited for it already.
struct Line {
    value: Value,
    taken: bool,
}

pub struct Python {
    name: String,
    child: Child,
    /// Absent once it was told to end.
    stdin: Option<ChildStdin>,
    lines: Arc<Mutex<Vec<Line>>>,
    errors: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    commands: u64,
}

impl Drop for Python {
    fn drop(&mut self) {
        for reader in &self.readers {
            reader.abort();
        }
    }
}

impl fmt::Debug for Python {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines.lock();
        writeln!(f, "{} told:", self.name)?;
        for line in lines.iter().skip(lines.len().saturating_sub(SHOWN_MAX)) {
            writeln!(f, "  {}", line.value)?;
        }
        let errors = self.errors.lock();
        let errors: Vec<&str> = errors.lines().filter(|line| !line.contains("DEBUG")).collect();
        writeln!(f, "and on standard error:")?;
        errors[errors.len().saturating_sub(SHOWN_MAX)..].iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl Python {
    pub fn start(name: &str, installed: Installed, script: &str, home: &Path, arguments: &[&str]) -> Self {
        Self::run(name, installed.command(script, home, arguments))
    }

    pub fn run(name: &str, mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let (lines, errors) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(String::new())));
        let told = Arc::clone(&lines);
        let keep = move |line: String| {
            let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
            told.lock().push(Line { value, taken: false });
        };
        let complained = Arc::clone(&errors);
        let complain = move |line: String| {
            let mut errors = complained.lock();
            errors.push_str(&line);
            errors.push('\n');
        };
        let readers = vec![
            tokio::spawn(each_line(child.stdout.take().unwrap(), keep)),
            tokio::spawn(each_line(child.stderr.take().unwrap(), complain)),
        ];
        Self { name: name.to_owned(), child, stdin, lines, errors, readers, commands: 0 }
    }

    /// Sends a command and gives its number.
    pub async fn send(&mut self, command: &Value) -> u64 {
        let written = self.stdin.as_mut().unwrap().write_all(format!("{command}\n").as_bytes()).await;
        written.unwrap_or_else(|error| panic!("{error}: {self:?}"));
        self.commands += 1;
        self.commands - 1
    }

    /// What a command gave, or its error.
    pub async fn answer(&self, number: u64) -> Result<Value, Value> {
        let line = self.line(&format!("the answer {number}"), PATIENCE, |line| line["answer"] == number).await;
        if line["error"].is_null() { Ok(line["result"].clone()) } else { Err(line["error"].clone()) }
    }

    /// Sends a command and waits for what it gives.
    pub async fn ask(&mut self, command: &Value) -> Result<Value, Value> {
        let number = self.send(command).await;
        self.answer(number).await
    }

    /// Waits for a line that nobody has waited for yet, and takes it.
    pub async fn line(&self, what: &str, deadline: Duration, fits: impl Fn(&Value) -> bool) -> Value {
        let found = eventually_within(deadline, || {
            let mut lines = self.lines.lock();
            let line = lines.iter_mut().find(|line| !line.taken && fits(&line.value))?;
            line.taken = true;
            Some(line.value.clone())
        });
        found.await.unwrap_or_else(|| panic!("not within {deadline:?}: {what}\n{self:?}"))
    }

    /// Waits for an event.
    pub async fn event(&self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.line(name, PATIENCE, |line| line["event"] == name && fits(line)).await
    }

    /// The lines so far that fit, taken or not.
    pub fn told(&self, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.lines.lock().iter().map(|line| &line.value).filter(|line| fits(line)).cloned().collect()
    }

    /// Forgets what nobody waited for.
    pub fn forget(&self) {
        self.lines.lock().iter_mut().for_each(|line| line.taken = true);
    }

    /// Waits for a log record on its standard error, as its platform reads them.
    pub async fn record(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let found = eventually_within(PATIENCE, || {
            let errors = self.errors.lock();
            errors.lines().filter_map(|line| serde_json::from_str(line).ok()).find(|record| fits(record))
        });
        found.await.unwrap_or_else(|| panic!("not within {PATIENCE:?}: {what}\n{self:?}"))
    }

    /// Interrupts it as its platform does to stop it, and gives its exit code.
    pub async fn interrupt(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(self.pid().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("it does not end: {self:?}")).unwrap().code()
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_else(|| panic!("it has ended: {self:?}"))
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it as `kill -9` does.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Closes its input and waits for its end.
    pub async fn end(mut self) {
        drop(self.stdin.take());
        self.line("its end", PATIENCE, |line| line["event"] == "ended").await;
    }
}

async fn eventually_within<T>(deadline: Duration, mut question: impl FnMut() -> Option<T>) -> Option<T> {
    let waiting = eventually_async("an answer", deadline * 2, async || question());
    tokio::time::timeout(deadline, waiting).await.ok()
}

async fn each_line(stream: impl AsyncRead + Unpin, mut keep: impl FnMut(String)) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        keep(line);
    }
}
