//! Agents as real child processes: what they are given, what becomes of their output, how they are stopped, and that nothing is left.
//! The numbers in the names are those of the conformance checklist of the hosting of agents (agents.md §9).

#![cfg(test)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use vt_backends::{
    AgentLauncher, AgentSource, EntryPoint, Generation, InstalledAgent, LaunchError, LaunchObserver, PythonSource, RunState,
};
use vt_bus::{Bus, Config, PeerKind};
use vt_host::{Host, HostConfig, Limits, ProcessConfig, StopLadder};
use vt_types::{AgentUuid, Identity, SystemClock, Tag};

const DEADLINE: Duration = Duration::from_secs(60);
const NAME: &str = "mockagent-1.0";

/// Does what the file of its configuration says; without one it writes down what it was given and waits.
const MOCK: &str = r#"
import json, logging, os, signal, subprocess, sys, time
config = os.environ.get("AGENT_CONFIG")
mode = open(config).read().strip() if config else ""
def note(name, text):
    path = os.path.join(os.environ["VOLTTRON_HOME"], name)
    with open(path + ".part", "w") as file:
        file.write(text)
    os.rename(path + ".part", path)
def wait():
    while True:
        time.sleep(3600)
def main():
    runs = os.path.join(os.environ["VOLTTRON_HOME"], "runs")
    with open(runs, "a") as file:
        file.write("x")
    if mode == "fail":
        sys.exit("out of luck")
    if mode == "talk":
        print("to stdout", flush=True)
        sys.stderr.write("to stderr\n")
        for level in (10, 20, 30, 40):
            record = {"name": "mock.deep", "levelno": level, "msg": "record %d" % level}
            sys.stderr.write(json.dumps(record) + "\n")
        sys.stderr.write("y" * 100000 + "\n")
        sys.stderr.flush()
    if mode == "flood":
        for n in range(20000):
            print("line", n)
        sys.stdout.flush()
    if mode == "child":
        child = subprocess.Popen(["sleep", "1000"])
        note("child", str(child.pid))
    if mode == "memory":
        try:
            big = bytearray(1 << 30)
            note("memory", "given")
        except MemoryError:
            note("memory", "refused")
    if mode == "files":
        import resource
        note("files", str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    heard = []
    if mode in ("stubborn", "deaf"):
        for name in ("SIGINT", "SIGTERM"):
            def hear(number, frame, name=name):
                heard.append(name)
                note("heard", " ".join(heard))
                if name == "SIGTERM" and mode == "stubborn":
                    sys.exit(0)
            signal.signal(getattr(signal, name), hear)
    stdin = os.readlink("/proc/self/fd/0")
    note("seen", json.dumps({"environment": dict(os.environ), "directory": os.getcwd(), "stdin": stdin, "group": os.getpgid(0)}))
    try:
        wait()
    except KeyboardInterrupt:
        sys.exit(0)
if __name__ == "__main__":
    main()
"#;

#[derive(Debug, Clone, Default)]
struct Line {
    level: String,
    logger: String,
    text: String,
}

/// Log lines by the agent in whose span they were written. One for the process, since the subscriber is.
static LINES: Mutex<Option<HashMap<String, Vec<Line>>>> = Mutex::new(None);

struct Capture;

#[derive(Default)]
struct Fields(HashMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

struct InAgent(String);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Capture {
    fn on_new_span(&self, attributes: &tracing::span::Attributes<'_>, id: &tracing::Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(agent), Some(span)) = (fields.0.remove("agent"), context.span(id)) {
            assert!(fields.0["agent_name"] == NAME && fields.0["pid"].parse::<u32>().unwrap() > 1, "log lines need name and pid");
            span.extensions_mut().insert(InAgent(agent));
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let Some(agent) = context.event_span(event).and_then(|span| span.extensions().get::<InAgent>().map(|agent| agent.0.clone())) else {
            return;
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let take = |fields: &mut Fields, name| fields.0.remove(name).unwrap_or_default();
        let (logger, text) = (take(&mut fields, "logger"), take(&mut fields, "message"));
        let line = Line { level: event.metadata().level().to_string(), logger, text };
        LINES.lock().get_or_insert_default().entry(agent).or_default().push(line);
    }
}

fn lines(agent: &str) -> Vec<Line> {
    LINES.lock().get_or_insert_default().get(agent).cloned().unwrap_or_default()
}

/// The interpreter itself, and not a script in front of it.
fn python() -> String {
    static FOUND: OnceLock<String> = OnceLock::new();
    let look = || {
        let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().expect("python3 is needed");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    FOUND.get_or_init(look).clone()
}

#[derive(Default)]
struct Seen(Mutex<Vec<RunState>>);

impl LaunchObserver for Seen {
    fn on_state(&self, _agent: &InstalledAgent, state: &RunState) {
        self.0.lock().push(state.clone());
    }
}

struct Bench {
    home: tempfile::TempDir,
    bus: Bus,
    host: Host,
    seen: Arc<Seen>,
}

impl Bench {
    async fn new(change: impl FnOnce(&mut ProcessConfig)) -> Self {
        static LOGGING: OnceLock<()> = OnceLock::new();
        LOGGING.get_or_init(|| tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Capture)).unwrap());
        let home = tempfile::tempdir().unwrap();
        let ms = Duration::from_millis;
        let mut config = ProcessConfig {
            interpreter: python(),
            environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned()), ("MESSAGEBUS".to_owned(), "zmq".to_owned())],
            stop_all: StopLadder { interrupt: ms(5000), terminate: ms(300), kill: ms(5000) },
            ..ProcessConfig::new(home.path().to_owned())
        };
        change(&mut config);
        let clock = Arc::new(SystemClock);
        let bus = Bus::new(Config::default(), clock.clone());
        let host = Host::new(bus.clone(), Vec::new(), HostConfig::default(), clock).with_processes(config).await.unwrap();
        let seen = Arc::new(Seen::default());
        host.observe(seen.clone());
        Self { home, bus, host, seen }
    }

    /// An agent as if it had been installed, with this file of configuration.
    fn agent(&self, identity: &'static str, mode: Option<&str>) -> InstalledAgent {
        let number = identity.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let uuid = AgentUuid::parse(&format!("00000000-0000-4000-8000-{:012x}", number & 0xffff_ffff_ffff)).unwrap();
        let directory = self.home.path().join("agents").join(uuid.as_str());
        let entry = EntryPoint::parse("mockagent:main").unwrap();
        let python = PythonSource { directory, generation: Generation::Monolithic9, entry };
        let data_dir = python.data_dir(NAME);
        fs::create_dir_all(&data_dir).unwrap();
        fs::create_dir_all(python.information(NAME)).unwrap();
        fs::write(python.directory.join(NAME).join("mockagent.py"), MOCK).unwrap();
        if let Some(mode) = mode {
            fs::write(python.config_file(NAME), mode).unwrap();
        }
        let source = AgentSource::Python(python);
        let tag = Some(Tag::parse("mine").unwrap());
        InstalledAgent {
            uuid,
            identity: Identity::known(identity),
            name: NAME.to_owned(),
            tag,
            priority: None,
            source,
            config: None,
            data_dir,
        }
    }

    async fn started(&self, identity: &'static str, mode: Option<&str>) -> InstalledAgent {
        let agent = self.agent(identity, mode);
        self.host.start(&agent).await.unwrap();
        self.note("seen").await;
        agent
    }

    /// What the mock agent wrote into the home.
    async fn note(&self, name: &str) -> String {
        let path = self.home.path().join(name);
        until(name, || fs::read_to_string(&path).ok()).await
    }

    fn pid(&self, agent: &InstalledAgent) -> u32 {
        self.host.state(agent.uuid).pid_and_exit_code().0.unwrap()
    }
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
}

fn records(home: &Path) -> usize {
    fs::read_dir(home.join("run/agents")).map_or(0, Iterator::count)
}

fn seen(text: &str) -> (HashMap<String, String>, Value) {
    let seen: Value = serde_json::from_str(text).unwrap();
    (serde_json::from_value(seen["environment"].clone()).unwrap(), seen)
}

#[tokio::test]
async fn checklist_8_and_9_an_agent_is_given_its_own_environment_and_no_configuration_that_is_not_there() {
    let bench = Bench::new(|_| {}).await;
    let agent = bench.started("given", None).await;
    let (environment, all) = seen(&bench.note("seen").await);
    assert!(!environment.contains_key("AGENT_CONFIG"));
    assert_eq!(environment["AGENT_UUID"], agent.uuid.as_str());
    assert_eq!(environment["AGENT_VIP_IDENTITY"], "given");
    assert_eq!(environment["AGENT_TAG"], "mine");
    assert_eq!(environment["_LAUNCHED_BY_PLATFORM"], "1");
    assert_eq!(environment["VOLTTRON_HOME"], bench.home.path().to_str().unwrap());
    assert!(Path::new(&environment["VOLTTRON_HOME"]).is_absolute());
    assert_eq!(environment["MESSAGEBUS"], "zmq");
    // Cargo gives this process dozens of variables; none of them may reach the agent. The locale is set by Python itself.
    let mut names: Vec<_> = environment.keys().map(String::as_str).filter(|name| *name != "LC_CTYPE").collect();
    names.sort_unstable();
    let expected = [
        "AGENT_PUB_ADDR",
        "AGENT_SUB_ADDR",
        "AGENT_TAG",
        "AGENT_UUID",
        "AGENT_VIP_IDENTITY",
        "MESSAGEBUS",
        "PATH",
        "PYTHONPATH",
        "VOLTTRON_HOME",
        "_LAUNCHED_BY_PLATFORM",
    ];
    assert_eq!(names, expected);
    assert_eq!(all["stdin"], "/dev/null");
    assert_eq!(all["group"], bench.pid(&agent), "it leads a process group");
    let directory = PathBuf::from(all["directory"].as_str().unwrap());
    let base = directory.file_name().unwrap().to_str().unwrap();
    assert!(directory.join(format!("{base}.dist-info")).is_dir(), "checklist 10: {}", directory.display());
    bench.host.stop(agent.uuid).await.unwrap();

    let configured = bench.started("given.config", Some("")).await;
    until("the second agent", || fs::read_to_string(bench.home.path().join("seen")).ok().filter(|text| text.contains("given.config")))
        .await;
    let (environment, _) = seen(&bench.note("seen").await);
    assert!(environment["AGENT_CONFIG"].ends_with("mockagent-1.0.dist-info/config"), "{environment:?}");
    bench.host.stop(configured.uuid).await.unwrap();
}

#[tokio::test]
async fn checklist_11_and_13_a_running_agent_is_not_started_twice_and_a_wanted_end_is_no_failure() {
    let bench = Bench::new(|_| {}).await;
    let agent = bench.started("twice", None).await;
    let again = bench.host.start(&agent).await.unwrap_err();
    assert!(matches!(again, LaunchError::AlreadyRunning));
    assert_eq!(again.to_string(), "agent is already running");
    let pid = bench.pid(&agent);
    bench.host.stop(agent.uuid).await.unwrap();
    assert_eq!(bench.host.state(agent.uuid).pid_and_exit_code(), (Some(pid), Some(0)), "SIGINT, exit code 0");
    assert!(!runs(pid));
    assert_eq!(bench.note("runs").await, "x");
    bench.host.start(&agent).await.unwrap();
    assert_ne!(bench.pid(&agent), pid);
    bench.host.stop(agent.uuid).await.unwrap();
    bench.host.stop(agent.uuid).await.unwrap();
    let words: Vec<_> = bench.seen.0.lock().iter().map(RunState::is_running).collect();
    assert_eq!(words, [true, false, true, false]);
    bench.host.forget(agent.uuid);
    assert_eq!(bench.host.state(agent.uuid), RunState::NeverStarted);
}

#[tokio::test]
async fn checklist_12_an_agent_that_ignores_being_interrupted_is_told_and_then_killed() {
    let home = PathBuf::from("/vh");
    let s = Duration::from_secs;
    assert_eq!(ProcessConfig::new(home).stop, StopLadder { interrupt: s(60), terminate: s(30), kill: s(30) });
    let quick = |config: &mut ProcessConfig| {
        let ms = Duration::from_millis;
        config.stop = StopLadder { interrupt: ms(400), terminate: ms(400), kill: ms(20_000) };
    };
    for (identity, mode, code) in [("stubborn", "stubborn", 0), ("deaf", "deaf", -9)] {
        let bench = Bench::new(quick).await;
        let agent = bench.started(identity, Some(mode)).await;
        let began = Instant::now();
        bench.host.stop(agent.uuid).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(400));
        assert_eq!(bench.note("heard").await, "SIGINT SIGTERM");
        assert_eq!(bench.host.state(agent.uuid).pid_and_exit_code().1, Some(code), "{mode}");
    }
}

#[tokio::test]
async fn checklist_14_a_failing_agent_is_started_six_times_and_then_given_up() {
    let bench = Bench::new(|config| config.restart_step = Duration::from_millis(30)).await;
    let agent = bench.agent("fails", Some("fail"));
    bench.host.start(&agent).await.unwrap();
    until("given up", || matches!(bench.host.state(agent.uuid), RunState::Failed { .. }).then_some(())).await;
    assert_eq!(bench.note("runs").await, "xxxxxx", "one start and five restarts");
    let states = bench.seen.0.lock().clone();
    let failures: Vec<_> =
        states.iter().filter_map(|state| if let RunState::BackingOff { failures, .. } = state { Some(*failures) } else { None }).collect();
    assert_eq!(failures, [1, 2, 3, 4, 5]);
    assert_eq!(states.iter().filter(|state| matches!(state, RunState::Failed { .. })).count(), 1, "one alert is raised by this");
    let RunState::Failed { exit_code, reason, .. } = bench.host.state(agent.uuid) else { unreachable!() };
    assert_eq!((exit_code, reason.as_str()), (1, "exit code 1: out of luck"));
    assert_eq!(records(bench.home.path()), 0);
}

#[tokio::test]
async fn a_start_on_request_ends_a_pause_and_a_stop_ends_supervision() {
    let bench = Bench::new(|_| {}).await;
    let agent = bench.agent("pause", Some("fail"));
    let waits = |state: RunState| matches!(state, RunState::BackingOff { failures: 2, .. }).then_some(());
    bench.host.start(&agent).await.unwrap();
    until("the second failure", || waits(bench.host.state(agent.uuid))).await;
    bench.host.start(&agent).await.unwrap();
    until("the same again", || waits(bench.host.state(agent.uuid))).await;
    bench.host.stop(agent.uuid).await.unwrap();
    assert_eq!(bench.host.state(agent.uuid).pid_and_exit_code().1, Some(1));
    assert_eq!(bench.note("runs").await, "xxxx");
}

#[tokio::test]
async fn an_agent_that_cannot_be_started_says_why() {
    let bench = Bench::new(|config| config.interpreter = "/nonexistent/python".to_owned()).await;
    let agent = bench.agent("nothing", None);
    let error = bench.host.start(&agent).await.unwrap_err();
    assert!(error.to_string().contains("/nonexistent/python"), "{error}");
    assert_eq!(bench.host.state(agent.uuid), RunState::NeverStarted);
    let demanding = bench.agent("demanding", None);
    let AgentSource::Python(python) = &demanding.source else { unreachable!() };
    fs::write(python.information(NAME).join("execreqs.json"), r#"{"hard_requirements": {"kernel.name": "Plan9"}}"#).unwrap();
    let error = bench.host.start(&demanding).await.unwrap_err();
    assert!(error.to_string().contains("hard resource requirements not met"), "{error}");
}

#[tokio::test]
async fn checklist_17_and_18_output_becomes_log_lines_with_level_and_logger() {
    let bench = Bench::new(|config| config.line_bytes_max = 1000).await;
    let agent = bench.started("talks", Some("talk")).await;
    let found = until("all lines", || Some(lines("talks")).filter(|lines| lines.iter().any(|line| line.text.starts_with('y')))).await;
    let has = |level: &str, logger: &str, text: &str| {
        assert!(
            found.iter().any(|line| (line.level.as_str(), line.logger.as_str(), line.text.as_str()) == (level, logger, text)),
            "{text}: {found:?}"
        );
    };
    has("INFO", "<stdout>", "to stdout");
    has("ERROR", "<stderr>", "to stderr");
    for (number, level) in [(10, "DEBUG"), (20, "INFO"), (30, "WARN"), (40, "ERROR")] {
        has(level, "mock.deep", &format!("record {number}"));
    }
    has("ERROR", "<stderr>", &"y".repeat(1000));
    bench.host.stop(agent.uuid).await.unwrap();
}

#[tokio::test]
async fn a_flood_of_output_is_held_back() {
    let bench = Bench::new(|config| config.lines_per_s_max = 100).await;
    let agent = bench.started("floods", Some("flood")).await;
    bench.host.stop(agent.uuid).await.unwrap();
    let found = lines("floods");
    let kept = found.iter().filter(|line| line.logger == "<stdout>").count();
    assert!((100..10_000).contains(&kept), "{kept}");
    assert!(found.iter().any(|line| line.text.contains("dropped")), "the loss is told");
}

#[tokio::test]
async fn checklist_20_after_the_platforms_stop_no_child_is_left() {
    let bench = Bench::new(|_| {}).await;
    let one = bench.started("left.1", Some("child")).await;
    let grandchild: u32 = bench.note("child").await.parse().unwrap();
    let two = bench.started("left.2", Some("deaf")).await;
    let failing = bench.agent("left.3", Some("fail"));
    bench.host.start(&failing).await.unwrap();
    assert!(runs(grandchild));
    assert!(records(bench.home.path()) >= 2);
    let pids = [bench.pid(&one), bench.pid(&two)];
    bench.host.stop_all().await;
    for pid in pids.into_iter().chain([grandchild]) {
        assert!(!runs(pid), "{pid}");
    }
    assert_eq!(records(bench.home.path()), 0);
}

#[tokio::test]
async fn agents_end_with_the_host_however_it_ends() {
    let bench = Bench::new(|_| {}).await;
    let agent = bench.started("orphan", Some("deaf")).await;
    let pid = bench.pid(&agent);
    let Bench { host, .. } = bench;
    drop(host);
    until("the end of the process", || (!runs(pid)).then_some(())).await;
}

#[tokio::test]
async fn what_a_killed_server_left_is_ended_at_the_next_start() {
    let home = tempfile::tempdir().unwrap();
    let mut left = std::os::unix::process::CommandExt::process_group(Command::new("sleep").arg("1000"), 0).spawn().unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", left.id())).unwrap();
    let start = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_owned();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::create_dir_all(home.path().join("run/agents")).unwrap();
    fs::write(home.path().join("run/agents/x"), format!("{} {start} {boot}", left.id())).unwrap();
    let clock = Arc::new(SystemClock);
    let host = Host::new(Bus::new(Config::default(), clock.clone()), Vec::new(), HostConfig::default(), clock);
    let reaper = tokio::task::spawn_blocking(move || left.wait().unwrap());
    let _host = host.with_processes(ProcessConfig::new(home.path().to_owned())).await.unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&reaper.await.unwrap()), Some(9));
    assert_eq!(records(home.path()), 0);
}

#[tokio::test]
async fn limits_hold() {
    let limits = Limits { memory_bytes: Some(300 << 20), open_files: Some(77), ..Limits::default() };
    let bench = Bench::new(|config| config.limits = limits).await;
    let memory = bench.started("memory", Some("memory")).await;
    assert_eq!(bench.note("memory").await, "refused");
    let files = bench.started("files", Some("files")).await;
    assert_eq!(bench.note("files").await, "77");
    for agent in [memory, files] {
        bench.host.stop(agent.uuid).await.unwrap();
    }
}

#[tokio::test]
async fn the_peer_of_an_agent_that_ended_is_taken_off_the_bus() {
    let bench = Bench::new(|_| {}).await;
    let agent = bench.started("peer", None).await;
    let (_peer, _mailbox) = bench.bus.connect(agent.identity.clone(), PeerKind::Agent).unwrap();
    bench.host.stop(agent.uuid).await.unwrap();
    assert!(!bench.bus.is_connected(&agent.identity));
}
