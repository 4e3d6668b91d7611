//! The listener on the bench, its log lines caught.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span;
use vt_agent::bench::TestBench;
use vt_types::Headers;

use super::*;

/// Keeps the lines of the listener's logger.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(tracing::Level, String)>>>);

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").unwrap();
        }
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "listener.agent"
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().push((*event.metadata().level(), message.0));
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Lines {
    async fn wait_for(&self, part: &str) -> (tracing::Level, String) {
        let end = Instant::now() + vt_agent::bench::DEADLINE;
        loop {
            if let Some(line) = self.0.lock().iter().find(|(_, line)| line.contains(part)) {
                return line.clone();
            }
            assert!(Instant::now() < end, "no line with {part:?}: {:?}", self.0.lock());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn each_publication_becomes_one_line_in_the_known_form() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let mut bench = TestBench::new("listeneragent-3.3_1", Path::new("."));
    bench.start(build(json!({"message": "hello", "log-level": "WARN"})).unwrap());
    lines.wait_for("run until manually stopped").await;
    assert_eq!(lines.0.lock()[0], (tracing::Level::INFO, "hello".to_owned()));

    let headers = Headers::new().with("TimeStamp", "2018-12-19T20:38:00.001684+00:00").with("max_compatible_version", "");
    bench.publish("devices/c/b/u/all", headers, json!([{"b": 1.0, "a": null}, {}]));
    let (level, line) = lines.wait_for("devices/c/b/u/all").await;
    assert_eq!(level, tracing::Level::WARN);
    assert_eq!(
        line,
        "Peer: pubsub, Sender: test.bench:, Bus: , Topic: devices/c/b/u/all, \
         Headers: {'TimeStamp': '2018-12-19T20:38:00.001684+00:00', 'max_compatible_version': ''}, Message: \n[{'a': None, 'b': 1.0}, {}]"
    );
    assert_eq!(bench.call("health.get_status", vec![]).await.unwrap()["context"], json!("hello"));
    bench.stop().await.unwrap();
}

#[tokio::test]
async fn a_flood_is_survived_and_what_is_missing_is_told() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let mut bench = TestBench::new("listener", Path::new("."));
    let context = bench.start(build(json!({"heartbeat_period": 0})).unwrap());
    lines.wait_for("run until manually stopped").await;
    // More than its queue holds, without letting it run.
    for _ in 0..10_000 {
        bench.publish("flood", Headers::new(), json!(1));
    }
    assert!(context.peer().lost() > 0);
    lines.wait_for(&format!("{} messages are missing here", context.peer().lost())).await;
    assert_eq!(bench.call("agent.version", vec![]).await, Ok(json!("1.0")));
    bench.stop().await.unwrap();
}

#[tokio::test]
async fn it_ends_by_itself_after_its_runtime_limit() {
    let mut bench = TestBench::new("listener", Path::new("."));
    bench.start(build(json!({"runtime_limit": 0.1})).unwrap());
    bench.ended().await.unwrap();
}
