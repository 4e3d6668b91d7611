//! Linked platforms over a line that loses a tenth of its packets and is cut for shorter and longer than a connection survives: two of ours, and
//! ours with VOLTTRON 10. What is published for all platforms and what is called passes while there is a connection; after a cut the link is
//! there again by itself, with what each side wants; and what a forwarder has taken arrives whole and once.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use vt_testkit::{Client, TestServer, eventually_async};

use crate::agent::Agent;
use crate::network::{End, Network};
use crate::platform::Platform;
use crate::python::{Installed, PATIENCE};
use crate::python_platform::PythonPlatform;

/// A line that was cut for long is noticed after half a minute, and a lost packet repeated ever more slowly.
const LINE_PATIENCE: Duration = Duration::from_secs(150);
/// Percent of the packets that are lost in each direction.
const LOSS: u32 = 10;
/// Messages in each direction and phase.
const MESSAGES: u64 = 100;
/// The meter of the demonstration building: a reading each second.
const METER: &str = "demo/main-building/meter";

/// A server of ours at one end: reached by other platforms on the line, by the test and its agents on the quiet one.
async fn ours(end: &End, name: &str, demo: bool) -> Platform {
    let builder = TestServer::builder().begun_by(&end.exec(), &end.quiet).argument("--instance-name").argument(name);
    let builder = builder.argument("--vip-address").argument(on_line(end));
    Platform::at(if demo { builder.demo() } else { builder }, quiet(end)).await
}

fn on_line(end: &End) -> String {
    format!("tcp://{}:22916", end.on_line)
}

fn quiet(end: &End) -> String {
    format!("tcp://{}:22917", end.quiet)
}

fn discovered(platform: &Platform, end: &End, name: &str) -> Value {
    json!({"instance-name": name, "vip-address": on_line(end), "serverkey": platform.server_key()})
}

async fn agent(platform: &Platform, identity: &str) -> Agent {
    platform.agent(Installed::Ten, identity, &["--subscribe-all", "devices/"]).await
}

/// Publishes numbered messages until one has arrived at the other: both lists of what is wanted are there.
async fn flows(from: &mut Agent, to: &Agent, phase: &str) {
    let topic = format!("devices/{phase}/probe/all");
    eventually_async(&format!("messages flow in phase {phase}"), LINE_PATIENCE, async || {
        from.publish(&topic, json!({}), json!([{"n": 0}, {}])).await;
        to.python.told(|line| line["event"] == "message" && line["topic"] == *topic).pop()
    })
    .await;
}

async fn publish(from: &mut Agent, topic: &str) {
    for n in 0..MESSAGES {
        from.publish(topic, json!({}), json!([{"n": n}, {}])).await;
    }
}

/// Every message arrived once, in order.
async fn arrived(to: &Agent, topic: &str) {
    let told = || to.python.told(|line| line["event"] == "message" && line["topic"] == *topic);
    eventually_async(&format!("all messages of {topic}"), LINE_PATIENCE, async || (told().len() as u64 >= MESSAGES).then_some(())).await;
    let numbers: Vec<_> = told().iter().map(|line| line["message"][0]["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..MESSAGES).collect::<Vec<_>>(), "{topic}");
}

async fn calls(from: &mut Agent, peer: &str, platform: &str) {
    for n in 0..10 {
        let command =
            json!({"do": "call", "peer": peer, "method": "echo", "args": [n], "kwargs": {"external_platform": platform}, "timeout": 60});
        assert_eq!(from.python.ask(&command).await.unwrap()["args"], json!([n]), "{platform}");
    }
}

async fn link(client: &Client, other: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/vui/platforms/{other}/link");
    eventually_async(what, LINE_PATIENCE, async || {
        let answer = client.get(&path).await;
        let link = if answer.status == 200 { answer.json() } else { return None };
        fits(&link).then_some(link)
    })
    .await
}

/// What a pair goes through: loss, a short cut, a long one.
struct Pair<'a> {
    network: &'a Network,
    /// An agent of the left platform, `left`, and one of the right, `right`.
    here: &'a mut Agent,
    there: &'a mut Agent,
    on_left: &'a Client,
    /// Whether agents of the right platform can call others: see `python_platform`.
    both_call: bool,
}

async fn goes_through(pair: Pair<'_>) {
    let Pair { network, here, there, on_left, both_call } = pair;
    flows(here, there, "whole").await;
    flows(there, here, "whole").await;

    network.lose(LOSS);
    for (from, topic) in [(&mut *here, "devices/lossy/here/all"), (&mut *there, "devices/lossy/there/all")] {
        publish(from, topic).await;
    }
    arrived(there, "devices/lossy/here/all").await;
    arrived(here, "devices/lossy/there/all").await;
    calls(here, "there", "right").await;
    if both_call {
        calls(there, "here", "left").await;
    }
    assert!(network.lost() > 0, "the line lost nothing");

    // Cut for less than a connection survives: what was published meanwhile comes late.
    network.cut();
    for (from, topic) in [(&mut *here, "devices/short/here/all"), (&mut *there, "devices/short/there/all")] {
        publish(from, topic).await;
    }
    eventually_async("the cut was felt", PATIENCE, async || (network.lost() >= 8).then_some(())).await;
    network.lose(LOSS);
    arrived(there, "devices/short/here/all").await;
    arrived(here, "devices/short/there/all").await;

    // Cut for longer: the link is told to be down, others are served all the same, and then it is there again.
    network.cut();
    publish(here, "devices/long/here/all").await;
    let down = link(on_left, "right", "the cut is noticed", |link| link["connected"] == false).await;
    assert!(down["problem"].is_string() && down["told"].is_string(), "{down}");
    on_left.get("/vui/platforms").await.expect(200);
    network.lose(LOSS);
    let up = link(on_left, "right", "the link is back", |link| link["connected"] == true).await;
    assert!(up["connects"].as_u64() >= Some(2), "{up}");
    flows(here, there, "again").await;
    flows(there, here, "again").await;
    calls(here, "there", "right").await;
    if both_call {
        calls(there, "here", "left").await;
    }
    network.mend();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_ours_exchange_data_and_calls_over_a_line_that_loses_packets_and_is_cut() {
    let network = Network::new();
    let (left, right) = (ours(&network.left, "left", false).await, ours(&network.right, "right", false).await);
    left.link("right", &discovered(&right, &network.right, "right"));
    right.link("left", &discovered(&left, &network.left, "left"));
    let on_left = left.server.administrator().await;
    let (mut here, mut there) = (agent(&left, "here").await, agent(&right, "there").await);
    goes_through(Pair { network: &network, here: &mut here, there: &mut there, on_left: &on_left, both_call: true }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_and_volttron_10_exchange_data_and_calls_over_a_line_that_loses_packets_and_is_cut() {
    let network = Network::new();
    let left = ours(&network.left, "left", false).await;
    let addresses = [on_line(&network.right), quiet(&network.right)];
    let right = PythonPlatform::start("right", &addresses, &network.right.exec()).await;
    left.link("right", &right.discovered());
    let keys = left.keys().await;
    let _keydiscovery = right.introduce("keydiscovery", &keys, &discovered(&left, &network.left, "left")).await;
    let on_left = left.server.administrator().await;
    let (mut here, mut there) = (agent(&left, "here").await, right.agent("there", &keys, &["--subscribe-all", "devices/"]).await);
    goes_through(Pair { network: &network, here: &mut here, there: &mut there, on_left: &on_left, both_call: false }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_forwarder_has_taken_arrives_whole_and_once_over_a_line_that_loses_packets_and_is_cut() {
    let network = Network::new();
    let (left, right) = (ours(&network.left, "left", true).await, ours(&network.right, "right", false).await);
    right.server.vctl(&["install", "platform_historian", "--enable", "--start"]).await.ok();
    let (on_left, on_right) = (left.server.administrator().await, right.server.administrator().await);
    let config = json!({"destination-vip": on_line(&network.right), "destination-serverkey": right.server_key(), "retry_period": 2,
        "required_target_agents": ["platform.historian"]});
    let file = left.home().join("forwarder.json");
    std::fs::write(&file, config.to_string()).unwrap();
    left.server.vctl(&["install", "forwarder", "--agent-config", &file.to_string_lossy(), "--enable", "--start"]).await.ok();
    let waiting = eventually_async("its key waits", PATIENCE, async || {
        let waiting = on_right.get("/vui/platforms/right/auths/pending").await.expect(200).json();
        waiting.as_array()?.first()?["user_id"].as_str().map(str::to_owned)
    });
    on_right.put(&format!("/vui/platforms/right/auths/approved/{}", waiting.await), &json!({})).await.expect(204);
    let figures = async |what: &str, fits: &(dyn Fn(&Value) -> bool + Sync)| {
        eventually_async(what, LINE_PATIENCE, async || {
            let answer = on_left.post("/vui/platforms/left/agents/forward.historian/rpc/statistics", &json!([])).await;
            let figures = if answer.status == 200 { answer.json() } else { return None };
            fits(&figures).then_some(figures)
        })
        .await
    };
    figures("sending", &|figures| figures["state"] == "publishing" && figures["sent"].as_u64() > Some(5)).await;
    let first = chrono::Utc::now().timestamp();
    network.lose(LOSS);
    let before = figures("sending over a bad line", &|figures| figures["sent"].as_u64() > Some(100)).await;
    // Until it is noticed, and for a while after.
    network.cut();
    figures("the cut is noticed", &|figures| figures["publishing"] == false && figures["backlog"].as_u64() > Some(100)).await;
    network.lose(LOSS);
    figures("drained", &|figures| figures["state"] == "publishing" && figures["backlog"].as_u64() < Some(20)).await;
    network.mend();
    let after = figures("all is well", &|figures| figures["sent"].as_u64() > before["sent"].as_u64().map(|sent| sent + 100)).await;
    assert_eq!(after["lost"], 0, "{after}");

    let last = chrono::Utc::now().timestamp();
    let found = eventually_async("the newest reading is there", PATIENCE, async || {
        let found = history(&on_right, "right").await;
        found.last().is_some_and(|(time, _)| seconds(time) >= last).then_some(found)
    })
    .await;
    let all = history(&on_left, "left").await;
    let times: BTreeSet<&str> = found.iter().map(|(time, _)| time.as_str()).collect();
    assert_eq!(times.len(), found.len(), "twice");
    let wanted: Vec<_> = all.iter().filter(|(time, _)| (first + 1..last).contains(&seconds(time))).collect();
    assert!(wanted.len() > 30, "too few readings to say anything: {}", wanted.len());
    let missing: Vec<_> = wanted.iter().filter(|reading| !found.contains(reading)).collect();
    assert!(missing.is_empty(), "{} of {} are missing: {missing:?}", missing.len(), wanted.len());
}

async fn history(client: &Client, platform: &str) -> Vec<(String, Value)> {
    let path = format!("/vui/platforms/{platform}/historians/platform.historian/topics/{METER}/ActivePower?count=100000");
    let answer = client.get(&path).await;
    let series = if answer.status == 200 { answer.json() } else { return Vec::new() };
    let rows = series.as_object().and_then(|topics| topics.values().next()).and_then(|topic| topic["value"].as_array()).cloned();
    rows.unwrap_or_default().iter().map(|row| (row[0].as_str().unwrap().to_owned(), row[1].clone())).collect()
}

fn seconds(time: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(time).unwrap().timestamp()
}
