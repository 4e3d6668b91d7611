//! The outbox of the forwarder at its limits: a day of network loss by its volume, across kills of either side; and a disk that is full.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use vt_testkit::{Client, TestServer, eventually_async};

use crate::platform::Platform;
use crate::python::PATIENCE;

/// Tens of thousands of messages through a build without optimisation.
const VOLUME_PATIENCE: Duration = Duration::from_secs(300);
const DEVICES: u64 = 20;
const POINTS: u64 = 10;
const MINUTES: u64 = 1440;
const FORWARDER: &str = "forward.historian";
const RUNNING: &str = "/vui/platforms/left/agents/forward.historian/running";

/// A sending platform whose forwarder is let in at a receiving one.
struct Pair {
    left: Platform,
    right: Platform,
    on_left: Client,
    on_right: Client,
}

impl Pair {
    async fn start(more: &Value) -> Self {
        let named = |name: &str| TestServer::builder().argument("--instance-name").argument(name);
        let (left, right) = (Platform::with(named("left")).await, Platform::with(named("right")).await);
        right.server.vctl(&["install", "platform_historian", "--enable", "--start"]).await.ok();
        let mut config = json!({"destination-vip": right.address(), "destination-serverkey": right.server_key(), "retry_period": 2});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let file = left.home().join("forwarder.json");
        std::fs::write(&file, config.to_string()).unwrap();
        left.server.vctl(&["install", "forwarder", "--agent-config", &file.to_string_lossy(), "--enable", "--start"]).await.ok();
        let (on_left, on_right) = (left.server.administrator().await, right.server.administrator().await);
        let pair = Self { left, right, on_left, on_right };
        let waiting = eventually_async("its key waits", PATIENCE, async || {
            let waiting = pair.on_right.get("/vui/platforms/right/auths/pending").await.expect(200).json();
            waiting.as_array()?.first()?["user_id"].as_str().map(str::to_owned)
        });
        let approved = format!("/vui/platforms/right/auths/approved/{}", waiting.await);
        pair.on_right.put(&approved, &json!({})).await.expect(204);
        pair.figures("sending", |figures| figures["state"] == "publishing").await;
        pair
    }

    async fn figures(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let wanted = eventually_async(what, VOLUME_PATIENCE * 2, async || {
            let answer = self.on_left.post(&format!("/vui/platforms/left/agents/{FORWARDER}/rpc/statistics"), &json!([])).await;
            last = if answer.status == 200 { answer.json() } else { json!(answer.text) };
            fits(&last).then(|| last.clone())
        });
        let found = tokio::time::timeout(VOLUME_PATIENCE, wanted).await;
        found.unwrap_or_else(|_| panic!("not in time: {what}; last: {last}"))
    }

    /// Publishes a reading a minute of every point, so many minutes long, and gives how many messages those were.
    async fn publish(&self, minutes: u64, begin: &str) -> u64 {
        let identity = format!("driver.{minutes}");
        let mut driver = self.left.peer(&identity, 9).await;
        let command = json!({"do": "day", "devices": DEVICES, "points": POINTS, "minutes": minutes, "begin": begin});
        let number = driver.python.send(&command).await;
        let answer = driver.python.line("the end of the day", VOLUME_PATIENCE, |line| line["answer"] == number).await;
        answer["result"].as_u64().unwrap_or_else(|| panic!("{answer}"))
    }

    async fn kill_left(&mut self) {
        self.left.server.kill().await;
        self.left.server.start_again().await;
        self.on_left = self.on_left.clone().at(self.left.server.url());
    }

    async fn start_right(&mut self) {
        self.right.server.start_again().await;
        self.on_right = self.on_right.clone().at(self.right.server.url());
    }

    /// Every reading is in the history of the other platform, and none twice.
    async fn is_whole(&self, minutes: u64) {
        for device in 0..DEVICES {
            for point in [0, POINTS - 1] {
                let topic = format!("day/unit{device}/p{point}");
                let path = format!("/vui/platforms/right/historians/platform.historian/topics/{topic}?count=100000");
                let rows = eventually_async(&format!("all readings of {topic}"), VOLUME_PATIENCE, async || {
                    let answer = self.on_right.get(&path).await;
                    let rows = if answer.status == 200 { answer.json()[&topic]["value"].as_array()?.clone() } else { return None };
                    (rows.len() as u64 >= minutes).then_some(rows)
                })
                .await;
                let values: Vec<_> = rows.iter().map(|row| row[1].as_f64().unwrap() as u64).collect();
                assert_eq!(values, (0..minutes).map(|minute| minute * 1000 + point).collect::<Vec<_>>(), "{topic}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_one_minute_data_waits_for_the_other_platform_across_kills_of_either_and_arrives_once() {
    let mut pair = Pair::start(&json!({"required_target_agents": ["platform.historian"]})).await;
    pair.right.server.kill().await;
    let count = pair.publish(MINUTES, "2026-11-25T00:00:00+00:00").await;
    assert_eq!(count, DEVICES * MINUTES);
    let figures = pair.figures("all of the day is in the outbox", |figures| figures["backlog"] == count).await;
    assert_eq!((&figures["lost"], &figures["publishing"]), (&json!(0), &json!(false)), "{figures}");
    pair.kill_left().await;
    pair.figures("all of it survived", |figures| figures["backlog"] == count).await;
    eventually_async("metrics say that nothing is lost", PATIENCE, async || {
        let metrics = pair.left.server.client().get("/metrics").await.expect(200).text;
        metrics.contains(&format!(r#"volttron_agent_lost_total{{identity="{FORWARDER}"}} 0"#)).then_some(())
    })
    .await;

    pair.start_right().await;
    let some = |least: u64| move |figures: &Value| figures["sent"].as_u64() > Some(least);
    pair.figures("a part has been sent", some(2000)).await;
    pair.right.server.kill().await;
    pair.figures("noticed", |figures| figures["publishing"] == false).await;
    pair.start_right().await;
    pair.figures("more has been sent", some(4000)).await;
    pair.kill_left().await;
    let figures = pair.figures("drained", |figures| figures["backlog"] == 0 && figures["state"] == "publishing").await;
    assert_eq!(figures["lost"], 0, "{figures}");
    pair.is_whole(MINUTES).await;
}

/// A small file system over a folder; taken away when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn over(folder: &Path, size: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "tests with a file system of their own need root");
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", &folder.to_string_lossy()]);
        Self(folder.to_owned())
    }

    fn grow(&self, size: &str) {
        run("mount", &["-o", &format!("remount,size={size}"), &self.0.to_string_lossy()]);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").args(["--lazy", &self.0.to_string_lossy()]).output());
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// The folder in which the forwarder keeps its outbox.
fn outbox_folder(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    entries.map(|entry| entry.path()).find_map(|path| match path.file_name()?.to_str()? {
        "backup.sqlite" => Some(folder.to_owned()),
        _ if path.is_dir() => outbox_folder(&path),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_loses_nothing_that_was_taken_and_is_over_when_there_is_room() {
    const MINUTES: u64 = 120;
    let mut pair = Pair::start(&json!({})).await;
    pair.right.server.kill().await;
    pair.on_left.delete(RUNNING).await.expect(204);
    let folder = outbox_folder(&pair.left.home().join("agents")).unwrap();
    let disk = SmallDisk::over(&folder, "512k");
    pair.on_left.put(RUNNING, &json!(null)).await.expect(204);
    pair.figures("started over the small disk", |figures| figures["backlog"] == 0 && figures["state"] != "publishing").await;

    let count = pair.publish(MINUTES, "2026-11-25T00:00:00+00:00").await;
    let figures = pair.figures("the full disk is told", |figures| figures["state"] == "outbox failed").await;
    assert!(figures["reason"].as_str().unwrap().contains("full"), "{figures}");
    let figures = pair.figures("the rest waits in memory", |figures| figures["backlog"] == count).await;
    assert_eq!(figures["lost"], 0, "{figures}");
    let health = pair.on_left.get(&format!("/vui/platforms/left/agents/{FORWARDER}/health")).await.expect(200).json();
    assert_eq!(health["status"], "BAD", "{health}");
    let page = pair.on_left.get(&format!("/agents/{FORWARDER}")).await;
    assert!(page.status < 500, "{page:?}");

    disk.grow("64m");
    let figures = pair.figures("it resumes by itself", |figures| figures["state"] == "not connected").await;
    assert_eq!((&figures["lost"], &figures["backlog"]), (&json!(0), &json!(count)), "{figures}");
    // All of it is on the disk now.
    pair.kill_left().await;
    pair.figures("it survived", |figures| figures["backlog"] == count).await;
    pair.start_right().await;
    pair.figures("drained", |figures| figures["backlog"] == 0).await;
    pair.is_whole(MINUTES).await;
}
