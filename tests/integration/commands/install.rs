//! `vctl install`, `upgrade` and `send` with real wheels and sources: what they print, with which exit code, and what becomes of the agent.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use vt_testkit::program::{Finished, program};
use vt_testkit::{TestServer, eventually_async};

use crate::mock_agent::{gone, pids, runs, sources, wheel};

/// Making an environment takes a while on a busy machine.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);
const DEADLINE: Duration = Duration::from_secs(60);

/// A platform that takes packages from a folder only.
pub struct House {
    pub server: TestServer,
    pub wheelhouse: tempfile::TempDir,
}

impl Deref for House {
    type Target = TestServer;

    fn deref(&self) -> &TestServer {
        &self.server
    }
}

impl DerefMut for House {
    fn deref_mut(&mut self) -> &mut TestServer {
        &mut self.server
    }
}

/// It finds `uv` where the tests have it, which makes environments quickly.
pub async fn platform() -> House {
    let test_python = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/test-venv/bin");
    let path = format!("{test_python}:{}", std::env::var("PATH").unwrap());
    let wheelhouse = tempfile::tempdir().unwrap();
    let builder = TestServer::builder().environment("PATH", &path).argument("--python-wheelhouse");
    let server = builder.argument(wheelhouse.path().to_string_lossy()).start().await;
    House { server, wheelhouse }
}

/// A command on the platform's home that has not ended yet; it stands in `place`.
fn begun(server: &TestServer, name: &Path, place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(place).env("VOLTTRON_HOME", server.home()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub async fn run_in(server: &TestServer, name: &Path, place: &Path, arguments: &[&str]) -> Finished {
    let output = tokio::time::timeout(INSTALL_LIMIT, begun(server, name, place, arguments).output()).await;
    let output = output.unwrap_or_else(|_| panic!("{arguments:?} did not end")).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Finished { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

async fn vctl(server: &TestServer, arguments: &[&str]) -> Finished {
    run_in(server, &program("vctl"), server.home(), arguments).await
}

/// As `vctl --json list` and `status` show the agent with this identity.
async fn shown(server: &TestServer, identity: &str) -> Value {
    let listed: Value = serde_json::from_str(&vctl(server, &["--json", "list"]).await.ok().stdout).unwrap();
    let status: Value = serde_json::from_str(&vctl(server, &["--json", "status"]).await.ok().stdout).unwrap();
    let mut agent = listed[identity].clone();
    agent["status"] = status[identity]["status"].clone();
    agent
}

/// Where an agent's package lies.
fn directory(server: &TestServer, uuid: &Value, version: &str) -> PathBuf {
    server.home().join("agents").join(uuid.as_str().unwrap()).join(format!("mockagent-{version}"))
}

fn config(server: &TestServer, uuid: &Value, version: &str) -> Option<String> {
    let information = directory(server, uuid, version).join(format!("mockagent-{version}.dist-info"));
    std::fs::read_to_string(information.join("config")).ok()
}

/// The UUID at the end of a text such as `Agent <uuid> installed`.
fn uuid_in(text: &str) -> String {
    let pattern = regex::Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap();
    pattern.find(text).unwrap_or_else(|| panic!("no UUID in {text:?}")).as_str().to_owned()
}

#[tokio::test]
async fn a_directory_a_wheel_and_a_name_are_installed_and_told_as_by_volttron() {
    let server = platform().await;
    sources(&server.home().join("sources"), "1.0");
    std::fs::write(server.home().join("c.yml"), "word: hush # kept\n").unwrap();
    // Relative to where the command stands, not to where the server does.
    let options = ["--vip-identity", "first", "--agent-config", "c.yml", "--tag", "one", "--enable", "--start", "-st", "1"];
    let first = vctl(&server, &[&["-v", "install", "sources"], &options[..]].concat()).await.ok();
    let agent = shown(&server, "first").await;
    let uuid = agent["agent_uuid"].as_str().unwrap();
    let processes = pids(&directory(&server, &agent["agent_uuid"], "1.0")).await;
    assert_eq!(first.stdout, format!("Agent {uuid} installed and started [{}]\n", processes[0]));
    assert_eq!((&agent["name"], &agent["agent_tag"], &agent["PRI"]), (&json!("mockagent-1.0"), &json!("one"), &json!("50")));
    assert_eq!(agent["status"], format!("running [{}]", processes[0]));
    assert_eq!(config(&server, &agent["agent_uuid"], "1.0").unwrap(), "word: hush # kept\n");
    for part in ["vctl INFO:  15% building\n", "vctl INFO:  95% starting\n"] {
        assert!(first.stderr.contains(part), "{part:?} is not in {first:?}");
    }
    // Which words the tool has depends on the tool; uv shows what the build prints, pip only that it builds.
    let is_of_tool = |line: &str| line.starts_with("vctl INFO:      ") && line.contains("mockagent");
    assert!(first.stderr.lines().any(is_of_tool), "{first:?}");

    let path = wheel(server.home(), "1.1");
    let name = path.file_name().unwrap().to_str().unwrap();
    let second = vctl(&server, &["install", name, "--json", "--csv", "--priority", "7", "--tag", "two"]).await.ok();
    let agent = shown(&server, "mockagent-1.1_1").await;
    let uuid = agent["agent_uuid"].as_str().unwrap();
    let expected = format!(
        "{{\n    \"agent_uuid\": \"{uuid}\",\n    \"tag\": \"two\",\n    \"enabling\": true,\n    \"priority\": \"07\"\n}}\n\
         agent_uuid,tag,enabling,priority\n{uuid},two,True,07\n"
    );
    assert_eq!((second.stdout, second.stderr.as_str()), (expected, ""), "without -v and a terminal nothing else is told");

    wheel(server.wheelhouse.path(), "1.2");
    let third = vctl(&server, &["install", "mockagent==1.2", "--vip-identity", "named{n}"]).await.ok();
    let agent = shown(&server, "named1").await;
    assert_eq!(third.stdout, format!("Agent {} installed\n", agent["agent_uuid"].as_str().unwrap()));
    assert_eq!(agent["name"], "mockagent-1.2");
    // The name of a built-in agent means that, whatever lies in the directory.
    std::fs::create_dir(server.home().join("listener")).unwrap();
    let kind = vctl(&server, &["install", "listener", "--vip-identity", "built-in", "--start", "--csv"]).await.ok();
    let lines: Vec<&str> = kind.stdout.lines().collect();
    assert!(lines[0].contains(" installed and started ["), "{kind:?}");
    assert_eq!(lines[1], "agent_uuid,starting,started,pid");
    assert!(lines[2].contains(",True,True,"), "{kind:?}");
}

#[tokio::test]
async fn what_cannot_be_installed_is_told_in_volttrons_words_and_with_its_exit_codes() {
    let server = platform().await;
    let home = server.home();
    std::fs::create_dir(home.join("empty")).unwrap();
    std::fs::write(home.join("file.txt"), "").unwrap();
    std::fs::write(home.join("bad.yml"), "a: [").unwrap();
    std::fs::write(home.join("no-1.0-py3-none-any.whl"), "no zip").unwrap();
    vctl(&server, &["install", "listener", "--vip-identity", "taken"]).await.ok();
    wheel(home, "1.0");
    let good = "mockagent-1.0-py3-none-any.whl";
    for (arguments, code, told) in [
        ("install missing.whl", 1, "Invalid file missing.whl\n"),
        ("install ./missing", 1, "Invalid file ./missing\n"),
        ("install file.txt", 1, "Invalid file file.txt\n"),
        ("install empty", 20, "Agent source must contain a setup.py file.\ninstall: error: -10\n"),
        ("install listener --vip-identity taken", 1, "Identity already exists.  Pass --force option to re-install.\n"),
        (
            "install mockagent-1.0-py3-none-any.whl --vip-identity taken",
            1,
            "Identity already exists.  Pass --force option to re-install.\n",
        ),
        ("install listener --agent-config none.yml", 1, "Config file none.yml does not exist!\n"),
        ("install listener --verify", 1, "Packages are not signed here, so none can be verified; leave --verify out.\n"),
        ("install listener --priority 100", 1, "Priority must be an integer from 0 - 99. Received: 100.\n"),
        ("upgrade taken missing.whl", 1, "Invalid file missing.whl\n"),
        ("send missing.whl", 1, "Invalid file missing.whl\n"),
    ] {
        let words: Vec<&str> = arguments.split(' ').collect();
        let finished = vctl(&server, &words).await;
        assert_eq!((finished.code, &*finished.stdout, &*finished.stderr), (Some(code), "", told), "vctl {arguments}");
    }
    for (arguments, part) in [
        (&["install", "listener", "--agent-config", "bad.yml"][..], "Config file bad.yml: "),
        (&["install", "no-1.0-py3-none-any.whl"], "install failed"),
        (&["install", "no-such-agent"], "no-such-agent"),
        (&["install", "x;y"], "nor the name of a package"),
        (&["upgrade", "control", good], "belongs to a service"),
    ] {
        let finished = vctl(&server, arguments).await;
        assert_eq!((finished.code, &*finished.stdout), (Some(1), ""), "{arguments:?} {finished:?}");
        assert!(finished.stderr.contains(part) && finished.stderr.lines().count() == 1, "{arguments:?} {finished:?}");
    }
    for arguments in [&["install"][..], &["upgrade", "taken"], &["send"], &["install", "listener", "-st", "-1"]] {
        assert_eq!(vctl(&server, arguments).await.code, Some(2), "{arguments:?}");
    }
    let listed: Value = serde_json::from_str(&vctl(&server, &["--json", "list"]).await.ok().stdout).unwrap();
    assert_eq!(listed.as_object().unwrap().len(), 1, "nothing else was installed: {listed}");
    let cgroups = vctl(&server, &["create-cgroups", "-u", "nobody-at-all"]).await;
    assert_eq!((cgroups.code, &*cgroups.stderr), (Some(67), "create-cgroups: error: there is no user nobody-at-all\n"));
    let cgroups = vctl(&server, &["create-cgroups", "-u", "root", "-g", "root"]).await.ok();
    assert!(cgroups.stderr.starts_with("Nothing is to be created: "), "{cgroups:?}");
}

#[tokio::test]
async fn force_keeps_the_data_and_an_upgrade_also_tag_order_configuration_and_running() {
    let server = platform().await;
    let home = server.home();
    std::fs::write(home.join("c.yml"), "word: kept\n").unwrap();
    let old = wheel(home, "1.0");
    let options = ["--vip-identity", "mock", "--tag", "mine", "--priority", "7", "--agent-config", "c.yml", "--start", "-st", "0"];
    vctl(&server, &[&["install", old.to_str().unwrap()], &options[..]].concat()).await.ok();
    let first = shown(&server, "mock").await;
    let place = directory(&server, &first["agent_uuid"], "1.0");
    let processes = pids(&place).await;
    std::fs::write(place.join("mockagent-1.0.agent-data/state"), b"\x00precious").unwrap();
    vctl(&server, &["config", "store", "mock", "entry", "c.yml", "--raw"]).await.ok();

    // What fails, by whichever command, leaves the running one alone.
    std::fs::write(home.join("broken-2.0-py3-none-any.whl"), "no zip").unwrap();
    for arguments in [
        &["install", "broken-2.0-py3-none-any.whl", "--vip-identity", "mock", "--force"][..],
        &["upgrade", "mock", "broken-2.0-py3-none-any.whl"],
    ] {
        let failed = vctl(&server, arguments).await;
        assert_eq!((failed.code, &*failed.stdout), (Some(1), ""), "{failed:?}");
        assert_eq!(shown(&server, "mock").await, first, "{arguments:?}");
        assert!(processes.iter().all(|pid| runs(pid)));
    }

    wheel(home, "1.1");
    let upgraded = vctl(&server, &["upgrade", "mock", "mockagent-1.1-py3-none-any.whl"]).await.ok();
    let second = shown(&server, "mock").await;
    let uuid = second["agent_uuid"].as_str().unwrap();
    let expected =
        format!("Removing previous version of agent \"mock\"\nInstalled mockagent-1.1-py3-none-any.whl as {uuid} mockagent-1.1\n");
    assert_eq!(upgraded.stdout, expected);
    gone(&processes).await;
    let place = directory(&server, &second["agent_uuid"], "1.1");
    let processes = pids(&place).await;
    assert_eq!((&second["agent_tag"], &second["PRI"], &second["name"]), (&json!("mine"), &json!("07"), &json!("mockagent-1.1")));
    assert_eq!(second["status"], format!("running [{}]", processes[0]));
    assert_eq!(config(&server, &second["agent_uuid"], "1.1").unwrap(), "word: kept\n");
    assert_eq!(std::fs::read(place.join("mockagent-1.1.agent-data/state")).unwrap(), b"\x00precious");
    assert_eq!(vctl(&server, &["config", "get", "mock", "entry", "--raw"]).await.ok().stdout, "word: kept\n");

    // Force is a new installation that gets the old one's data.
    wheel(home, "1.2");
    vctl(&server, &["install", "mockagent-1.2-py3-none-any.whl", "--vip-identity", "mock", "-f"]).await.ok();
    gone(&processes).await;
    let third = shown(&server, "mock").await;
    assert_eq!((&third["agent_tag"], &third["PRI"], &third["status"]), (&json!(""), &json!(""), &json!("")));
    let place = directory(&server, &third["agent_uuid"], "1.2");
    assert_eq!(std::fs::read(place.join("mockagent-1.2.agent-data/state")).unwrap(), b"\x00precious");

    let new = vctl(&server, &["upgrade", "other", "mockagent-1.2-py3-none-any.whl", "--tag", "o"]).await.ok();
    let other = shown(&server, "other").await;
    let uuid = other["agent_uuid"].as_str().unwrap();
    let expected = format!(
        "Could not find agent with VIP IDENTITY \"other\". Installing as new agent\nInstalled mockagent-1.2-py3-none-any.whl as {uuid} mockagent-1.2\n"
    );
    assert_eq!((new.stdout, &other["agent_tag"], &other["status"]), (expected, &json!("o"), &json!("")));

    let sent = vctl(&server, &["send", "mockagent-1.2-py3-none-any.whl"]).await.ok();
    let uuid = json!(uuid_in(&sent.stdout));
    assert_eq!(sent.stdout, format!("Agent mockagent-1.2-py3-none-any.whl started as {}\n", uuid.as_str().unwrap()));
    assert_eq!(pids(&directory(&server, &uuid, "1.2")).await.len(), 2);
}

#[tokio::test]
async fn ctrl_c_and_a_time_limit_end_the_waiting_and_not_the_installation() {
    let server = platform().await;
    let place = server.home().join("sources");
    sources(&place, "1.0");
    std::fs::write(place.join("wait"), "").unwrap();
    let goes_on = "The platform goes on with the installation; `vctl list` shows the agent when it is installed.\n";
    let limited = vctl(&server, &["-t", "0.5", "install", "sources", "--vip-identity", "limited"]).await;
    assert_eq!((limited.code, &*limited.stdout, limited.stderr), (Some(75), "", format!("{goes_on}install: operation timed out\n")));

    let arguments = ["-v", "install", "sources", "--vip-identity", "interrupted"];
    let mut child = begun(&server, &program("vctl"), server.home(), &arguments).spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    assert_eq!(told.next_line().await.unwrap().unwrap(), "vctl INFO:   0% waiting", "it waits for the other one");
    kill(pid, Signal::SIGINT).unwrap();
    let mut rest = String::new();
    while let Some(line) = told.next_line().await.unwrap() {
        rest += &format!("{line}\n");
    }
    assert_eq!((child.wait().await.unwrap().code(), rest.as_str()), (Some(1), goes_on));

    std::fs::remove_file(place.join("wait")).unwrap();
    for identity in ["limited", "interrupted"] {
        let installed = async || vctl(&server, &["list"]).await.ok().stdout.contains(identity).then_some(());
        eventually_async(&format!("{identity} is installed"), DEADLINE, installed).await;
    }
}

#[tokio::test]
async fn a_platform_that_ends_meanwhile_is_told() {
    let mut server = platform().await;
    let place = server.home().join("sources");
    sources(&place, "1.0");
    std::fs::write(place.join("wait"), "").unwrap();
    let mut child = begun(&server, &program("vctl"), server.home(), &["-v", "install", "sources"]).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    while told.next_line().await.unwrap().unwrap() != "vctl INFO:  15% building" {}
    server.kill().await;
    let mut last = String::new();
    while let Some(line) = told.next_line().await.unwrap() {
        last = line;
    }
    assert_eq!((child.wait().await.unwrap().code(), &*last), (Some(1), "The platform ended before the agent was installed."));
    server.start_again().await;
    assert_eq!(vctl(&server, &["list"]).await.ok().stdout, "", "nothing is left of it");
}
