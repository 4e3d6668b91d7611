//! The data mover on the bench, with real outbox files and another platform in memory.

use parking_lot::Mutex;
use vt_agent::bench::TestBench;
use vt_backends::{LinkError, remote_bus::fake::FakePlatform};
use vt_types::{Headers, Identity, RpcError, StatusWord};

use super::*;

/// A historian there that stores one value per topic and time, as ours does.
#[derive(Clone, Default)]
struct Stored(Arc<Mutex<std::collections::BTreeMap<(String, String), Value>>>);

impl Stored {
    fn at(platform: &FakePlatform, identity: &'static str) -> Self {
        let stored = Self::default();
        let kept = stored.clone();
        platform.add_peer(Identity::known(identity), move |request| {
            assert_eq!(request.method, "insert");
            for record in request.params.args[0].as_array().unwrap() {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                kept.0.lock().insert((text(&record["topic"]), text(&record["headers"]["Date"])), record["message"].clone());
            }
            Ok(Value::Null)
        });
        stored
    }

    fn count(&self) -> usize {
        self.0.lock().len()
    }
}

fn settings(more: &Value) -> Value {
    let mut settings = json!({"destination-vip": "tcp://127.0.0.1:1", "retry_period": 0.02, "submit_size_limit": 4});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

async fn statistics(bench: &TestBench, wanted: impl Fn(&Value) -> bool) -> Value {
    bench.call_until("statistics", vec![], wanted).await
}

/// Publishes ten messages once somebody is subscribed.
fn publish(bench: &TestBench) {
    for n in 0..10 {
        let headers = Headers::new().with("Date", format!("2026-01-01T00:00:{n:02}"));
        assert_eq!(bench.publish("devices/a/b/all", headers, json!([{"n": n}, {}])), 1);
    }
}

#[tokio::test]
async fn item_69_a_batch_whose_answer_did_not_come_is_kept_sent_again_and_stored_once() {
    let (home, platform) = (tempfile::tempdir().unwrap(), FakePlatform::new());
    let stored = Stored::at(&platform, "platform.historian");
    let mut bench = TestBench::new("data.mover", home.path());
    bench.subscribe("alerts/");
    let context = bench.start(build(Arc::new(platform.clone()), settings(&json!({}))).unwrap());
    statistics(&bench, |figures| figures["state"] == "publishing").await;
    platform.set_silent(true);
    publish(&bench);
    let figures = statistics(&bench, |figures| figures["state"] == "not taken" && platform.reconnects() > 0).await;
    assert_eq!((&figures["backlog"], &figures["sent"]), (&json!(10), &json!(0)), "stored there, but nobody knows: {figures}");
    assert!(stored.count() > 0);
    assert_eq!(context.status().word, StatusWord::Bad);
    assert_eq!(bench.next_on("alerts/").await.headers.text("alert_key"), Some("DATAMOVER_TIMEOUT_KEY"));
    platform.set_silent(false);
    statistics(&bench, |figures| figures["backlog"] == 0 && figures["sent"] == 10).await;
    assert_eq!(stored.count(), 10);
    assert_eq!(stored.0.lock()[&("devices/a/b/all".to_owned(), "2026-01-01T00:00:09".to_owned())], json!([{"n": 9}, {}]));
    let largest = platform.calls().iter().map(|call| call.params.args[0].as_array().unwrap().len()).max();
    assert!(largest <= Some(4), "{largest:?}");
    bench.stop().await.unwrap();
}

#[tokio::test]
async fn a_historian_that_is_missing_or_raises_gets_its_messages_later() {
    let (home, platform) = (tempfile::tempdir().unwrap(), FakePlatform::new());
    let mut bench = TestBench::new("data.mover", home.path());
    let more = json!({"destination-historian-identity": "other.historian", "remote-identity": "mover.of.here"});
    bench.start(build(Arc::new(platform.clone()), settings(&more)).unwrap());
    statistics(&bench, |figures| figures["state"] == "publishing").await;
    assert_eq!(platform.opened()[0].identity.as_str(), "mover.of.here");
    publish(&bench);
    statistics(&bench, |figures| figures["reason"].as_str().is_some_and(|reason| reason.contains("no peer"))).await;
    platform.add_peer(Identity::known("other.historian"), |_| Err(RpcError::runtime_error("no room")));
    statistics(&bench, |figures| figures["reason"].as_str().is_some_and(|reason| reason.contains("no room"))).await;
    let stored = Stored::at(&platform, "other.historian");
    statistics(&bench, |figures| figures["backlog"] == 0).await;
    assert_eq!(stored.count(), 10);
    platform.lose(LinkError::Unreachable("gone".to_owned()));
    statistics(&bench, |figures| figures["state"] == "not connected").await;
    bench.stop().await.unwrap();
}

#[tokio::test]
async fn one_message_that_the_historian_cannot_make_sense_of_is_set_aside_and_the_others_are_stored() {
    let (home, platform) = (tempfile::tempdir().unwrap(), FakePlatform::new());
    let stored = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&stored);
    platform.add_peer(Identity::known("platform.historian"), move |request| {
        let records = request.params.args[0].as_array().unwrap();
        if records.iter().any(|record| record["message"][0]["n"] == 5) {
            return Err(RpcError::value_error("n may not be 5"));
        }
        kept.lock().extend(records.iter().map(|record| record["message"][0]["n"].as_u64().unwrap()));
        Ok(Value::Null)
    });
    let mut bench = TestBench::new("data.mover", home.path());
    bench.start(build(Arc::new(platform.clone()), settings(&json!({"retry_period": 3600}))).unwrap());
    statistics(&bench, |figures| figures["state"] == "publishing").await;
    publish(&bench);
    let figures = statistics(&bench, |figures| figures["sent"] == 9 && figures["refused"] == 1).await;
    assert_eq!((&figures["backlog"], &figures["lost"]), (&json!(1), &json!(0)), "{figures}");
    assert!(figures["reason"].as_str().unwrap().contains("n may not be 5"), "{figures}");
    assert_eq!(*stored.lock(), [0, 1, 2, 3, 4, 6, 7, 8, 9], "each once and in order");
    bench.stop().await.unwrap();
}

#[test]
fn topics_that_no_historian_inserts_are_refused() {
    let Err(error) = build(Arc::new(FakePlatform::new()), settings(&json!({"custom_topic_list": ["mine"]}))) else { panic!("refused") };
    assert!(error.to_string().contains("mine"), "{error}");
    assert!(build(Arc::new(FakePlatform::new()), settings(&json!({"custom_topic_list": ["devices/a"]}))).is_ok());
}
