//! The real `volttron` on a home of its own: started on a free port, waited for, signalled, killed, started again; killed when dropped.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;

use crate::client::Client;
use crate::program::{Finished, bare, bare_begun_by, bare_with_open_files, run};
use crate::wait::eventually_async;

/// Longest wait for the ready line. A start takes well below a second; a loaded machine with a debug build gets some patience.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// Longest wait for one `vctl` or `vcfg` command.
const COMMAND_DEADLINE: Duration = Duration::from_secs(30);
const READY: &str = "VOLTTRON is ready at ";

/// What a start needs; every field has a default.
#[derive(Debug, Default)]
pub struct TestServerBuilder {
    home: Option<Arc<TempDir>>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    open_files: Option<u32>,
    wrapper: Vec<String>,
    web_host: Option<String>,
}

impl TestServerBuilder {
    /// Adds a command line argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets up the demonstration building.
    #[must_use]
    pub fn demo(self) -> Self {
        self.argument("--demo")
    }

    /// Sets an environment variable of the server.
    #[must_use]
    pub fn environment(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server with a soft limit on open files.
    #[must_use]
    pub fn open_files(mut self, soft: u32) -> Self {
        self.open_files = Some(soft);
        self
    }

    /// Starts the server by another command that becomes the program, such as `ip netns exec NAME`, where its pages are at `host`.
    #[must_use]
    pub fn begun_by(mut self, wrapper: &[&str], host: &str) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self.web_host = Some(host.to_owned());
        self
    }

    /// Writes a file below the home before the start.
    #[must_use]
    pub fn file(mut self, name: &str, text: &str) -> Self {
        let home = self.home.get_or_insert_with(new_home);
        let path = home.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder below the home");
        std::fs::write(path, text).expect("a file below the home");
        self
    }

    /// Starts the server and waits until it says that it is ready.
    pub async fn start(self) -> TestServer {
        let mut server = TestServer {
            home: self.home.unwrap_or_else(new_home),
            arguments: self.arguments,
            environment: self.environment,
            open_files: self.open_files,
            wrapper: self.wrapper,
            web_host: self.web_host.unwrap_or_else(|| "127.0.0.1".to_owned()),
            running: None,
            url: String::new(),
        };
        server.start_again().await;
        server
    }

    /// Starts a server that is expected to refuse, and gives how it ended.
    pub async fn refused(self) -> Finished {
        let home = self.home.unwrap_or_else(new_home);
        let mut arguments = self.arguments;
        if !arguments.iter().any(|argument| argument == "--bind-web-address") {
            arguments.extend(["--bind-web-address".to_owned(), "https://127.0.0.1:0".to_owned()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run("volttron", home.path(), &arguments, START_DEADLINE).await
    }
}

fn new_home() -> Arc<TempDir> {
    Arc::new(tempfile::Builder::new().prefix("vt-test.").tempdir().expect("a temporary folder"))
}

/// A running server with its home; dropping it kills the server and removes the home.
#[derive(Debug)]
pub struct TestServer {
    home: Arc<TempDir>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    open_files: Option<u32>,
    wrapper: Vec<String>,
    web_host: String,
    running: Option<Running>,
    url: String,
}

#[derive(Debug)]
struct Running {
    child: Child,
    output: Arc<Mutex<String>>,
    readers: Vec<tokio::task::JoinHandle<()>>,
    began: Instant,
}

impl Drop for Running {
    fn drop(&mut self) {
        for reader in &self.readers {
            reader.abort();
        }
    }
}

impl TestServer {
    /// What to start with.
    #[must_use]
    pub fn builder() -> TestServerBuilder {
        TestServerBuilder::default()
    }

    /// Starts a server on a fresh home without devices.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Starts a server with the demonstration building.
    pub async fn demo() -> Self {
        Self::builder().demo().start().await
    }

    /// The address without a slash at its end, such as `https://127.0.0.1:43021`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The home's path.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The certificate that a client must trust.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        let folder = self.home().join("certificates/certs");
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let names: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        let ca = names.iter().find(|path| path.to_string_lossy().ends_with("-root-ca.crt"));
        ca.cloned().unwrap_or_else(|| panic!("no root CA among {names:?}"))
    }

    /// The one-time code of the first start, while there is no user.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        std::fs::read_to_string(self.home().join("first-run-code")).ok().map(|code| code.trim().to_owned())
    }

    /// A client that trusts this server and nobody else; over http there is nobody to trust.
    #[must_use]
    pub fn client(&self) -> Client {
        let trusted = if self.url.starts_with("http://") { Vec::new() } else { std::fs::read(self.ca_file()).expect("the CA is readable") };
        Client::new(&self.url, &trusted)
    }

    /// Everything it printed since its last start, both streams in order of arrival.
    #[must_use]
    pub fn output(&self) -> String {
        self.running.as_ref().map(|running| running.output.lock().clone()).unwrap_or_default()
    }

    /// The process id while it runs.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running
            .as_ref()
            .and_then(|running| running.child.id())
            .unwrap_or_else(|| panic!("the server does not run:\n{}", self.output()))
    }

    /// Starts it on the same home and waits until it is ready; gives how long that took.
    pub async fn start_again(&mut self) -> Duration {
        assert!(self.running.is_none(), "the server runs already");
        let mut command = match (self.open_files, self.wrapper.is_empty()) {
            (_, false) => bare_begun_by(&self.wrapper, "volttron", self.home()),
            (Some(open_files), _) => bare_with_open_files("volttron", self.home(), open_files),
            (None, _) => bare("volttron", self.home()),
        };
        command.arg("--bind-web-address").arg(format!("https://{}:0", self.web_host)).args(&self.arguments);
        command.envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let began = Instant::now();
        let mut child = command.spawn().expect("volttron starts");
        let output = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            tokio::spawn(keep(child.stdout.take().expect("stdout is piped"), Arc::clone(&output))),
            tokio::spawn(keep(child.stderr.take().expect("stderr is piped"), Arc::clone(&output))),
        ];
        let running = self.running.insert(Running { child, output, readers, began });
        self.url = running.ready().await;
        running.began.elapsed()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process id fits");
        kill(Pid::from_raw(pid), signal).expect("the server can be signalled");
    }

    /// Ends it as `kill -9` does and waits until the process is gone.
    pub async fn kill(&mut self) {
        let mut running = self.running.take().expect("the server runs");
        running.child.kill().await.expect("the server can be killed");
    }

    /// Ends it with a signal and gives its exit status and how long that took; panics after the deadline.
    pub async fn end(&mut self, signal: Signal, deadline: Duration) -> (Option<i32>, Duration) {
        self.signal(signal);
        self.ended(deadline).await
    }

    /// Waits until it has ended by itself; gives its exit status and how long the wait was.
    pub async fn ended(&mut self, deadline: Duration) -> (Option<i32>, Duration) {
        let began = Instant::now();
        let mut running = self.running.take().expect("the server runs");
        let status = tokio::time::timeout(deadline, running.child.wait())
            .await
            .unwrap_or_else(|_| panic!("the server did not end within {deadline:?}:\n{}", running.output.lock()))
            .expect("an ended process has a status");
        (status.code(), began.elapsed())
    }

    /// Runs `vctl` against this server.
    pub async fn vctl(&self, arguments: &[&str]) -> Finished {
        run("vctl", self.home(), arguments, COMMAND_DEADLINE).await
    }

    /// Makes the first administrator with the one-time code and gives a client that is logged in.
    pub async fn administrator(&self) -> Client {
        let code = self.code().unwrap_or_else(|| panic!("there is no one-time code:\n{}", self.output()));
        let mut client = self.client();
        let made = client.setup(&code, "admin", "correct horse battery").await;
        assert!(made.status < 400, "the first administrator was not made: {made:?}");
        client.log_in("admin", "correct horse battery").await;
        client
    }
}

impl Running {
    async fn ready(&mut self) -> String {
        let Self { child, output, .. } = self;
        eventually_async("the ready line", START_DEADLINE, async || {
            let text = output.lock().clone();
            if let Ok(Some(status)) = child.try_wait() {
                panic!("volttron ended with {status} instead of getting ready:\n{text}");
            }
            let line = text.lines().find_map(|line| line.split_once(READY))?;
            Some(line.1.split_whitespace().next()?.trim_end_matches('/').to_owned())
        })
        .await
    }
}

async fn keep(stream: impl AsyncRead + Unpin, into: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut output = into.lock();
        output.push_str(&line);
        output.push('\n');
    }
}
