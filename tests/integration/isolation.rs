//! Agents that run as Unix users of their own (`agent-isolation-mode`), judged by what an agent itself can read and write. Users can only be
//! made by root; elsewhere these tests say that they are skipped.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use vt_testkit::{TestServer, eventually_async};

use crate::mock_agent;
use crate::python_agents::{DEADLINE, install};

/// An interpreter that every user may run.
const PYTHON: &str = "/usr/bin/python3";

/// Tells who it is, what it can read, write and start; then waits.
const AGENT: &str = r#"
import glob, json, os, resource, subprocess, time
def may(path, mode="r"):
    try:
        open(path, mode).close()
        return True
    except OSError:
        return False
def lists(path):
    try:
        os.listdir(path)
        return True
    except OSError:
        return False
def main():
    home = os.environ["VOLTTRON_VIP_ADDR"][len("ipc://@"):-len("/run/vip.socket")]
    own = os.environ["HOME"]
    old = os.umask(0o077)
    os.umask(old)
    children, refused = [], 0
    try:
        while len(children) < 60:
            children.append(subprocess.Popen(["sleep", "1000"]))
    except OSError as error:
        refused = error.errno
    for child in children:
        child.kill()
    report = {
        "ids": [os.getuid(), os.geteuid(), os.getgid()],
        "groups": sorted(os.getgroups()),
        "umask": old,
        "keystores": [path for path in glob.glob(home + "/agents/*/*/*.dist-info/keystore.json") if may(path)],
        "credentials": [path for path in glob.glob(home + "/agents/*/home/credentials_store/*.json") if may(path)],
        "secrets": [name for name in ("config", "keystore", "auth.json", "web-users.json", "platform.sqlite") if may(os.path.join(home, name))],
        "lists": [path for path in (home, home + "/configuration_store", home + "/credentials_store", home + "/keystores", home + "/run") if lists(path)],
        "writes": [path for path in ("agent.py", "mocked/agent.py", os.environ["VOLTTRON_HOME"] + "/config") if may(path, "a")],
        "config": open(os.environ["VOLTTRON_HOME"] + "/config").read(),
        "known": may(os.environ["VOLTTRON_HOME"] + "/known_hosts"),
        "user": os.environ["USER"],
        "isolated": os.environ["AGENT_ISOLATION_MODE"],
        "children": [len(children), refused],
        "before": os.path.exists(own + "/report"),
    }
    with open(own + "/report.part", "w") as file:
        json.dump(report, file)
    os.rename(own + "/report.part", own + "/report")
    try:
        while True:
            time.sleep(1000)
    except KeyboardInterrupt:
        pass
if __name__ == "__main__":
    main()
"#;

/// Deletes what a failed test would leave on the machine.
struct Group(String);

impl Group {
    /// The names of its users.
    fn users(&self) -> Vec<String> {
        let text = fs::read_to_string("/etc/group").unwrap();
        let line = text.lines().find(|line| line.split(':').next() == Some(&self.0)).unwrap_or_default();
        let members = line.rsplit(':').next().unwrap_or_default();
        members.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for user in self.users() {
            drop(Command::new("userdel").arg(user).output());
        }
        drop(Command::new("groupdel").arg(&self.0).output());
    }
}

async fn report(home: &Path, uuid: &str) -> Value {
    let path = home.join("agents").join(uuid).join("mockagent-1.0/mockagent-1.0.agent-data/report");
    let text = eventually_async("the report", DEADLINE, async || fs::read_to_string(&path).ok()).await;
    fs::remove_file(path).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn each_agent_runs_as_a_user_that_reads_nothing_of_the_platform_and_of_others() {
    if !nix::unistd::geteuid().is_root() || !Path::new(PYTHON).exists() {
        eprintln!("skipped: users can only be made by root, and this needs {PYTHON}");
        return;
    }
    let instance = format!("it{}", std::process::id());
    let group = Group(format!("volttron_{instance}"));
    let config = format!(
        "[volttron]\nagent-isolation-mode = True\ninstance-name = {instance}\npython-interpreter = {PYTHON}\nagent-processes = 30\n\
         metrics-token = hush-hush-hush-hush\n"
    );
    let mut server = TestServer::builder().file("config", &config).start().await;
    let home = server.home().to_owned();
    let sources = home.join("sources");
    mock_agent::sources_with(&sources, AGENT);
    let mut uuids = Vec::new();
    for identity in ["one", "two"] {
        let call = json!({"source": {"directory": sources}, "identity": identity, "start": true, "config": "a: 1\n", "priority": "50"});
        let lines = install(&home, &call).await;
        let installed = &lines.last().unwrap()["installed"];
        assert_eq!(installed["start_error"], Value::Null, "{lines:?}");
        uuids.push(installed["uuid"].as_str().unwrap_or_else(|| panic!("{lines:?}")).to_owned());
    }
    let (one, two) = (report(&home, &uuids[0]).await, report(&home, &uuids[1]).await);
    for (report, uuid) in [(&one, &uuids[0]), (&two, &uuids[1])] {
        let own = |path: &str| json!([home.join("agents").join(uuid).join(path)]);
        let ids = report["ids"].as_array().unwrap();
        assert!(ids[0].as_i64().unwrap() > 0 && ids[0] == ids[1] && ids[2].as_i64().unwrap() > 0, "{report}");
        let groups = report["groups"].as_array().unwrap();
        assert!(groups.len() == 2 && groups.contains(&ids[2]) && !groups.contains(&json!(0)), "{report}");
        assert_eq!((&report["umask"], &report["isolated"]), (&json!(0o007), &json!("True")));
        assert_eq!(report["keystores"], own("mockagent-1.0/mockagent-1.0.dist-info/keystore.json"), "its own and no other");
        let credentials = report["credentials"].as_array().unwrap();
        assert!(credentials.iter().all(|path| path.as_str().unwrap().contains(uuid.as_str())), "{report}");
        for none in ["secrets", "lists", "writes"] {
            assert_eq!(report[none], json!([]), "{none}: {report}");
        }
        let told = report["config"].as_str().unwrap();
        assert!(told.contains(&format!("instance-name = {instance}")) && !told.contains("hush"), "{told}");
        assert_eq!((&report["known"], &report["before"]), (&json!(true), &json!(false)), "{report}");
        // EAGAIN, as the kernel counts the processes of a user.
        assert!(report["children"][0].as_i64().unwrap() < 30 && report["children"][1] == 11, "{report}");
    }
    assert_ne!(one["ids"], two["ids"]);
    let (user_one, user_two) = (one["user"].as_str().unwrap(), two["user"].as_str().unwrap());
    assert!(user_one.starts_with("volttron_") && user_one != user_two, "{user_one} {user_two}");
    assert_eq!(fs::read_to_string(home.join("agents").join(&uuids[0]).join("USER_ID")).unwrap(), user_one);
    assert_eq!(group.users().len(), 2);

    let status = server.vctl(&["status"]).await.ok();
    assert!(status.stderr.contains("TAG AGENT_USER"), "{status:?}");
    let line = status.stdout.lines().find(|line| line.contains(" one ")).unwrap();
    assert!(line.contains(&format!("{user_one} running [")), "{line}");
    let told: Value = serde_json::from_str(&server.vctl(&["--json", "status"]).await.ok().stdout).unwrap();
    assert_eq!((&told["one"]["agent_user"], &told["two"]["agent_user"]), (&json!(user_one), &json!(user_two)), "{told}");
    server.vctl(&["stop", &uuids[0]]).await.ok();
    let told: Value = serde_json::from_str(&server.vctl(&["--json", "status"]).await.ok().stdout).unwrap();
    assert_eq!((&told["one"]["agent_user"], &told["one"]["status"]), (&json!(""), &json!("0")), "{told}");

    // The next server gives the same user, and data stay the agent's.
    let kept = home.join("agents").join(&uuids[1]).join("mockagent-1.0/mockagent-1.0.agent-data/kept");
    fs::write(&kept, "x").unwrap();
    server.kill().await;
    server.start_again().await;
    let again = report(&home, &uuids[1]).await;
    assert_eq!((&again["user"], &again["ids"]), (&two["user"], &two["ids"]));
    assert!(kept.exists());

    // An agent that takes its place gets its data under a user of its own.
    let forced = json!({"source": {"directory": sources}, "identity": "two", "force": true, "start": true});
    let lines = install(&home, &forced).await;
    let new = lines.last().unwrap()["installed"]["uuid"].as_str().unwrap_or_else(|| panic!("{lines:?}")).to_owned();
    let successor = report(&home, &new).await;
    // The system may give the number of a user that is gone to the next one, so the names tell.
    assert_ne!(successor["user"], two["user"]);
    server.vctl(&["remove", &uuids[0]]).await.ok();
    let only = vec![successor["user"].as_str().unwrap().to_owned()];
    eventually_async("users of agents that are gone are gone", DEADLINE, async || (group.users() == only).then_some(())).await;
}
