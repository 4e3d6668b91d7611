//! Commands while the server is down, hangs, or starts at the same moment.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vt_testkit::program::{Finished, run};
use vt_testkit::{TestServer, eventually};

const DEADLINE: Duration = Duration::from_secs(20);
const NOT_RUNNING: &str = "VOLTTRON is not running. This command requires VOLTTRON platform to be running\n";

async fn resting() -> TestServer {
    let mut server = TestServer::demo().await;
    server.end(Signal::SIGTERM, DEADLINE).await;
    server
}

async fn vctl(server: &TestServer, arguments: &[&str]) -> Finished {
    run("vctl", server.home(), arguments, DEADLINE).await
}

#[tokio::test]
async fn list_and_tag_work_on_the_files_of_a_resting_platform() {
    let mut server = resting().await;
    let list = vctl(&server, &["-v", "list", "-n", "0"]).await.ok();
    assert!(list.stderr.contains("IDENTITY") && list.stdout.lines().count() == 4, "{list:?}");
    let uuid = list.stdout.lines().find(|line| line.contains("platform.actuator")).unwrap().split(' ').next().unwrap().to_owned();
    let tagged = vctl(&server, &["tag", &uuid, "locks"]).await.ok();
    assert_eq!(tagged.stdout, format!("Tagging {uuid} actuatoragent-1.0\n"));
    assert_eq!(vctl(&server, &["tag", "--tag", "locks"]).await.ok().stdout, "locks\n");
    server.start_again().await;
    assert_eq!(vctl(&server, &["tag", &uuid]).await.ok().stdout, "locks\n", "the server finds it");
    server.end(Signal::SIGTERM, DEADLINE).await;
    assert_eq!(vctl(&server, &["tag", &uuid, "-r"]).await.ok().stdout, format!("Removing tag for {uuid} actuatoragent-1.0\n"));
    assert_eq!(vctl(&server, &["tag", &uuid]).await.ok().stdout, "");
    let missing = vctl(&server, &["tag", "nobody", "x"]).await;
    assert_eq!((missing.code, missing.stderr.as_str()), (Some(10), "tag: error: agent not found: nobody\n"));
}

#[tokio::test]
async fn tags_of_many_tools_at_once_are_all_there_also_while_the_server_starts() {
    let mut server = resting().await;
    let home = server.home().to_owned();
    let list = vctl(&server, &["--json", "list"]).await.ok();
    let agents: serde_json::Value = serde_json::from_str(&list.stdout).unwrap();
    let uuids: Vec<String> = agents.as_object().unwrap().values().map(|agent| agent["agent_uuid"].as_str().unwrap().to_owned()).collect();
    let tools = uuids.iter().map(|uuid| {
        let (home, uuid) = (home.clone(), uuid.clone());
        async move { run("vctl", &home, &["tag", &uuid, &format!("tag-{}", &uuid[..8])], DEADLINE).await.ok() }
    });
    let (_, _) = tokio::join!(futures_util::future::join_all(tools), server.start_again());
    let list = vctl(&server, &["list"]).await.ok();
    for uuid in uuids {
        assert!(list.stdout.contains(&format!("tag-{}", &uuid[..8])), "{uuid}: {list:?}");
    }
}

#[tokio::test]
async fn a_home_without_platform_has_no_agents_and_is_not_made() {
    let parent = tempfile::tempdir().unwrap();
    let home = parent.path().join("none");
    let list = run("vctl", &home, &["list"], DEADLINE).await.ok();
    assert_eq!((list.stdout.as_str(), list.stderr.as_str()), ("", "No installed Agents found\n"));
    assert_eq!(run("vctl", &home, &["list", "--json"], DEADLINE).await.ok().stdout, "{}\n");
    assert!(!home.exists());
}

#[tokio::test]
async fn commands_that_need_the_server_say_so() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [
        &["status"][..],
        &["start", "x"],
        &["enable", "x"],
        &["remove", "x"],
        &["health", "x"],
        &["clear"],
        &["peerlist"],
        &["config", "list"],
        &["rpc", "list"],
        &["stats"],
        &["publish", "a", "b"],
        &["subscribe", "a"],
        &["top", "--once"],
        &["install", "listener"],
        &["install", "missing.whl"],
        &["install", "./missing"],
        &["upgrade", "x", "missing.whl"],
        &["send", "missing.whl"],
        &["install-lib", "x"],
        &["remove-lib", "x"],
        &["list-libs"],
        &["kinds"],
        &["shutdown"],
        &["shutdown", "--platform"],
    ] {
        let finished = run("vctl", home.path(), arguments, DEADLINE).await;
        assert_eq!((finished.code, finished.stdout.as_str(), finished.stderr.as_str()), (Some(10), "", NOT_RUNNING), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_waited_for_no_longer_than_asked() {
    let server = TestServer::start().await;
    server.signal(Signal::SIGSTOP);
    for arguments in [&["-t", "0.3", "status"][..], &["status", "-t", "0.3"], &["list", "-t", "0.3"], &["subscribe", "x", "-t", "0.3"]] {
        let began = Instant::now();
        let finished = vctl(&server, arguments).await;
        let command = arguments.iter().find(|word| word.len() > 3).unwrap();
        assert_eq!((finished.code, finished.stderr), (Some(75), format!("{command}: operation timed out\n")));
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    std::fs::write(server.home().join("config.vctl"), "[volttron-ctl]\ntimeout = 0.3\n").unwrap();
    let file = server.home().join("config.vctl");
    let finished = vctl(&server, &["-c", &file.to_string_lossy(), "peerlist"]).await;
    assert_eq!(finished.code, Some(75), "the file sets the time: {finished:?}");
    server.signal(Signal::SIGCONT);
}

#[tokio::test]
async fn ctrl_c_ends_a_waiting_command_with_1() {
    let server = TestServer::start().await;
    let mut command = tokio::process::Command::new(vt_testkit::program("vctl"));
    command.args(["subscribe", "nothing/is/published/here"]).env("VOLTTRON_HOME", server.home()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    let peers =
        || std::process::Command::new(vt_testkit::program("vctl")).arg("peerlist").env("VOLTTRON_HOME", server.home()).output().unwrap();
    let listens = || String::from_utf8_lossy(&peers().stdout).lines().any(|line| line.starts_with("control.local."));
    eventually("it listens", DEADLINE, listens).await;
    nix::sys::signal::kill(pid, Signal::SIGINT).unwrap();
    let status = tokio::time::timeout(DEADLINE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(1));
    eventually("its peer is gone", DEADLINE, || !listens()).await;
}

#[tokio::test]
async fn wrong_arguments_are_told_with_2() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [
        &["fly"][..],
        &["status", "--no-such-option"],
        &["-t", "soon", "status"],
        &["enable", "x", "-p", "100"],
        &["stats", "sing"],
        &["config", "store", "a", "b", "--raw", "--csv"],
        &["tag", "a", "b", "-r"],
        &["publish", "only-a-topic"],
    ] {
        let finished = run("vctl", home.path(), arguments, DEADLINE).await;
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(2), ""), "{arguments:?} {finished:?}");
        assert!(finished.stderr.contains("Usage") || finished.stderr.contains("--help"), "{finished:?}");
    }
    assert!(run("vctl", home.path(), &[], DEADLINE).await.ok().stdout.contains("Commands:"), "without a command it helps");
}
