//! The historian from end to end: devices publish 10 points each on the bus, the agent makes records of them and stores them in SQLite.
//! Measured until the last reading of each burst is durable and answered. Prints one JSON line per row:
//! `{"row", "value", "unit", "target", "limited_by"}`. Run: `cargo bench -p vt-agents`.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a measurement prints its figures, or fails")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};
use vt_agent::bench::TestBench;
use vt_agents::historian;
use vt_types::{Headers, Timestamp, Topic, timestamp};

const DEVICES: usize = 1000;
/// Each burst fits the queue that the bench gives the historian.
const ROUNDS_PER_BURST: usize = 8;
const POINTS: usize = 10;

fn message() -> Value {
    let value = |n: usize| (format!("Point{n}"), json!(20.5));
    let meta = |n: usize| (format!("Point{n}"), json!({"units": "F", "type": "float", "tz": "US/Pacific"}));
    json!([(0..POINTS).map(value).collect::<Map<_, _>>(), (0..POINTS).map(meta).collect::<Map<_, _>>()])
}

async fn newest(bench: &TestBench, topic: &str) -> Option<String> {
    let params = vec![json!(topic), Value::Null, Value::Null, Value::Null, Value::Null, json!(0), json!(1), json!("LAST_TO_FIRST")];
    let answer = bench.call("query", params).await.ok()?;
    answer["values"][0][0].as_str().map(str::to_owned)
}

async fn burst(bench: &TestBench, topics: &[Topic], first: usize) -> Duration {
    let message = Arc::new(message());
    let started = Instant::now();
    let mut last = String::new();
    for round in first..first + ROUNDS_PER_BURST {
        let time = Timestamp::from_timestamp(1_767_225_600 + i64::try_from(round).expect("small"), 0).expect("a time");
        last = timestamp::format(time);
        let headers = Headers::new().with("TimeStamp", last.as_str()).with("Date", last.as_str());
        for topic in topics {
            bench.peer.publish(topic, headers.clone(), Arc::clone(&message)).expect("published");
        }
    }
    let point = format!("campus/building/device{}/Point{}", DEVICES - 1, POINTS - 1);
    while newest(bench, &point).await.as_ref() != Some(&last) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut bench = TestBench::new("platform.historian", home.path());
    let context = bench.start(historian::build(json!({})).expect("a historian"));
    bench.call_until("health.get_status", vec![], |status| status["status"] == "GOOD").await;
    let topics: Vec<_> =
        (0..DEVICES).map(|device| Topic::parse(&format!("devices/campus/building/device{device}/all")).expect("a topic")).collect();
    let bursts = if std::env::args().any(|argument| argument == "--bench") { 60 } else { 1 };
    let mut busy = Duration::ZERO;
    for number in 0..bursts {
        busy += burst(&bench, &topics, number * ROUNDS_PER_BURST).await;
    }
    let points = u32::try_from(bursts * ROUNDS_PER_BURST * DEVICES * POINTS).expect("small");
    let rate = f64::from(points) / busy.as_secs_f64();
    assert_eq!(context.peer().lost(), 0, "nothing may be lost");
    println!(
        "{}",
        json!({"row": "historian end to end: bus to durable in SQLite", "value": rate.round(), "unit": "points/s", "target": 200_000.0,
               "limited_by": "the historian's thread (capture, binding) and SQLite's"})
    );
    bench.stop().await.expect("it ends well");
}
