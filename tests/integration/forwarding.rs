//! Two platforms: what the demonstration building of one publishes arrives in the history of the other, through the forwarder and through the
//! data mover, whoever of the two is killed meanwhile. Nothing is missing and nothing is there twice.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use vt_testkit::{Client, TestServer, eventually_async};

use crate::demonstration::platform;

const PATIENCE: Duration = Duration::from_secs(60);
/// What is read this close to a kill or a restart of the sending platform may be in one history and not yet in the outbox.
const MARGIN_S: i64 = 2;

/// The meter of the demonstration building: a reading each second.
const TOPIC: &str = "demo/main-building/meter";

struct Two {
    a: TestServer,
    b: TestServer,
    on_a: Client,
    on_b: Client,
    platform_a: String,
    platform_b: String,
}

impl Two {
    /// A sending platform with devices, and a receiving one with a historian at an address that survives its restarts.
    async fn start() -> Self {
        let address = {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            format!("tcp://{}", free.local_addr().unwrap())
        };
        let named = |name: &str| TestServer::builder().argument("--instance-name").argument(name.to_owned());
        let b = named("receiving").argument("--vip-address").argument(&address).start().await;
        let a = named("sending").argument("--demo").start().await;
        b.vctl(&["install", "platform_historian", "--enable", "--start"]).await.ok();
        let (on_a, on_b) = (a.administrator().await, b.administrator().await);
        let (platform_a, platform_b) = (platform(&on_a).await, platform(&on_b).await);
        let two = Self { a, b, on_a, on_b, platform_a, platform_b };
        std::fs::write(two.a.home().join("destination"), address).unwrap();
        two
    }

    /// Installs a sending agent with the settings of VOLTTRON's walk-through.
    async fn install(&self, kind: &str, more: &Value) {
        let keys: Value = serde_json::from_str(&std::fs::read_to_string(self.b.home().join("keystore")).unwrap()).unwrap();
        let address = std::fs::read_to_string(self.a.home().join("destination")).unwrap();
        let mut config = json!({"destination-vip": address, "destination-serverkey": keys["public"], "retry_period": 2});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let file = self.a.home().join(format!("{kind}.json"));
        std::fs::write(&file, config.to_string()).unwrap();
        self.a.vctl(&["install", kind, "--agent-config", &file.to_string_lossy(), "--enable", "--start"]).await.ok();
    }

    /// Lets the waiting peer in on the receiving platform, as its page does.
    async fn approve(&self, identity: &str) {
        let pending = format!("/vui/platforms/{}/auths/pending", self.platform_b);
        let user = eventually_async("the key waits for approval", PATIENCE, async || {
            let waiting = self.on_b.get(&pending).await.expect(200).json();
            waiting.as_array()?.iter().find(|peer| peer["identity"] == identity)?["user_id"].as_str().map(str::to_owned)
        })
        .await;
        let approved = format!("/vui/platforms/{}/auths/approved/{user}", self.platform_b);
        let answer = self.on_b.put(&approved, &json!({})).await;
        assert!(answer.status < 300, "{answer:?}");
    }

    /// The figures of a sending agent once they are as wanted.
    async fn figures(&self, agent: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let path = format!("/vui/platforms/{}/agents/{agent}/rpc/statistics", self.platform_a);
        let found = tokio::time::timeout(
            PATIENCE,
            eventually_async(what, PATIENCE * 2, async || {
                let answer = self.on_a.post(&path, &json!([])).await;
                last = if answer.status == 200 { answer.json() } else { json!(answer.text) };
                wanted(&last).then(|| last.clone())
            }),
        )
        .await;
        found.unwrap_or_else(|_| panic!("not in time: {what}; last: {last}"))
    }

    async fn history_of_a(&self) -> Vec<(String, Value)> {
        history(&self.on_a, &self.platform_a).await
    }

    async fn history_of_b(&self) -> Vec<(String, Value)> {
        history(&self.on_b, &self.platform_b).await
    }
}

/// All readings of one point, oldest first: time and value.
async fn history(client: &Client, platform: &str) -> Vec<(String, Value)> {
    let path = format!("/vui/platforms/{platform}/historians/platform.historian/topics/{TOPIC}/ActivePower?count=100000");
    let answer = client.get(&path).await;
    let series = if answer.status == 200 { answer.json() } else { return Vec::new() };
    let rows = series.as_object().and_then(|topics| topics.values().next()).and_then(|topic| topic["value"].as_array()).cloned();
    rows.unwrap_or_default().iter().map(|row| (row[0].as_str().unwrap().to_owned(), row[1].clone())).collect()
}

fn seconds(time: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(time).unwrap().timestamp()
}

/// Every reading of `all` from `first` on is in `found`, but for those close to one of `breaks`; and none is there twice.
fn assert_whole(all: &[(String, Value)], found: &[(String, Value)], first: i64, last: i64, breaks: &[i64]) {
    let times: BTreeSet<&str> = found.iter().map(|(time, _)| time.as_str()).collect();
    assert_eq!(times.len(), found.len(), "twice");
    let is_safe = |time: &str| {
        let at = seconds(time);
        at > first && at < last && breaks.iter().all(|broken| (at - broken).abs() > MARGIN_S)
    };
    let safe: Vec<_> = all.iter().filter(|(time, _)| is_safe(time)).collect();
    assert!(safe.len() >= 5, "too few readings to say anything: {all:?}");
    let missing: Vec<_> = safe.iter().filter(|reading| !found.contains(reading)).collect();
    assert!(missing.is_empty(), "{} of {} are missing: {missing:?}", missing.len(), safe.len());
}

fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_reach_the_other_platforms_history_once_its_operator_has_approved_the_key() {
    let two = Two::start().await;
    two.install("forwarder", &json!({"required_target_agents": ["platform.historian"]})).await;
    let waiting = two.figures("forward.historian", "told to be unknown there", |figures| {
        figures["reason"].as_str().is_some_and(|reason| reason.contains("approve its key")) && figures["backlog"].as_u64() > Some(0)
    });
    let figures = waiting.await;
    assert_eq!(figures["lost"], 0, "{figures}");
    let metrics = two.a.client().get("/metrics").await.expect(200).text;
    assert!(metrics.contains(r#"volttron_agent_backlog{identity="forward.historian"}"#), "{metrics}");
    two.approve("sending.forward.historian").await;
    two.figures("forward.historian", "drained", |figures| figures["state"] == "publishing" && figures["sent"].as_u64() > Some(20)).await;
    let first = eventually_async("a reading in the other history", PATIENCE, async || two.history_of_b().await.first().cloned()).await;
    assert!(two.history_of_a().await.contains(&first), "{first:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_forwarder_loses_and_doubles_nothing_when_either_side_is_killed() {
    killed("forwarder", "forward.historian", &json!({"required_target_agents": ["platform.historian"]})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_mover_loses_and_doubles_nothing_when_either_side_is_killed() {
    killed("data_mover", "data.mover", &json!({})).await;
}

async fn killed(kind: &str, agent: &str, more: &Value) {
    let mut two = Two::start().await;
    two.install(kind, more).await;
    two.approve(&format!("sending.{agent}")).await;
    two.figures(agent, "sending", |figures| figures["state"] == "publishing" && figures["sent"].as_u64() > Some(5)).await;
    let first = now() + MARGIN_S;
    let mut breaks = Vec::new();

    // The receiving side is gone for a while, twice.
    for _ in 0..2 {
        let before = two.figures(agent, "sending", |figures| figures["state"] == "publishing").await;
        two.b.kill().await;
        let figures = two.figures(agent, "a backlog", |figures| figures["backlog"].as_u64() > Some(20)).await;
        assert_eq!((&figures["publishing"], &figures["lost"]), (&json!(false), &json!(0)), "{figures}, before {before}");
        two.b.start_again().await;
        two.on_b = two.on_b.at(two.b.url());
        two.figures(agent, "drained", |figures| figures["state"] == "publishing" && figures["backlog"].as_u64() < Some(5)).await;
    }
    // The sending side is killed while the other is away, and while it sends.
    two.b.kill().await;
    two.figures(agent, "a backlog", |figures| figures["backlog"].as_u64() > Some(20)).await;
    breaks.push(now());
    two.a.kill().await;
    two.a.start_again().await;
    breaks.push(now());
    two.on_a = two.on_a.at(two.a.url());
    two.figures(agent, "the backlog is still there", |figures| figures["backlog"].as_u64() > Some(20)).await;
    two.b.start_again().await;
    two.on_b = two.on_b.at(two.b.url());
    two.figures(agent, "drained", |figures| figures["backlog"].as_u64() < Some(5)).await;
    breaks.push(now());
    two.a.kill().await;
    two.a.start_again().await;
    breaks.push(now());
    two.on_a = two.on_a.at(two.a.url());
    let figures = two.figures(agent, "sending again", |figures| figures["sent"].as_u64() > Some(30)).await;
    assert_eq!(figures["lost"], 0, "{figures}");

    let last = now() - MARGIN_S;
    let all = two.history_of_a().await;
    let found = eventually_async("the newest reading is there", PATIENCE, async || {
        let found = two.history_of_b().await;
        found.last().is_some_and(|(time, _)| seconds(time) >= last).then_some(found)
    })
    .await;
    assert_whole(&all, &found, first, last, &breaks);
}
