//! The historian on PostgreSQL, one configuration key away from SQLite: the same data, the same answers; and what happens when the database
//! goes away, falls silent and returns. Needs `VT_TEST_POSTGRES_URL`. The historian reaches it through a relay of the test's own, because a
//! database that others use cannot be stopped; every test has tables of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use vt_testkit::eventually_async;

use crate::modbus::Building;

/// Longest wait for what has to happen. A connection to a database that is gone is given up after 10 s.
const PATIENCE: Duration = Duration::from_secs(60);
const HISTORIAN: &str = "platform.historian";
const OTHER: &str = "sqlite.historian";
const DEVICE: &str = "harbor/pier4/meter";

#[tokio::test]
async fn postgresql_keeps_the_same_data_and_gives_the_same_answers_as_sqlite() {
    let relay = Relay::start().await;
    let building = Building::start().await;
    building.install(HISTORIAN, &relay.settings()).await;
    building.install(OTHER, &json!({})).await;
    let values = [
        json!(1),
        json!(-2.5),
        json!(true),
        json!("Dämpfer <b> 'auf'; --"),
        json!(null),
        json!(9_007_199_254_740_993_i64),
        json!(1.0e-300),
        json!([1, "two", {"three": 3.5}]),
        json!({"a": null}),
    ];
    for (second, value) in values.iter().enumerate() {
        building.publish(u32::try_from(second).unwrap(), value).await;
    }
    let topics = ["reading", "number"].map(|point| format!("{DEVICE}/{point}"));
    for topic in &topics {
        for historian in [HISTORIAN, OTHER] {
            building.stored(historian, topic, values.len()).await;
        }
    }

    let reading = building.series(HISTORIAN, &topics[0], "").await;
    let found: Vec<&Value> = reading.iter().map(|pair| &pair[1]).collect();
    assert_eq!(found, values.iter().collect::<Vec<_>>());
    assert_eq!(reading[1][0], "2026-01-31T12:00:01.000000+00:00");
    let questions = [
        "order=LAST_TO_FIRST&count=3",
        "skip=2&count=2",
        "start=2026-01-31T12:00:02Z&end=2026-01-31T12:00:05Z",
        "start=2026-01-31T13:00:02%2B01:00&end=2026-01-31T12:00:05.000001Z&order=LAST_TO_FIRST",
        "start=2027-01-01T00:00:00Z",
        "max-points=3&start=2026-01-31T12:00:00Z&end=2026-01-31T12:00:09Z",
    ];
    for topic in &topics {
        for question in questions {
            let answers = [building.answer(HISTORIAN, topic, question).await, building.answer(OTHER, topic, question).await];
            assert_eq!(answers[0], answers[1], "{topic}?{question}");
        }
    }
    for method in ["get_topic_list", "get_aggregate_topics"] {
        assert_eq!(sorted(building.call(HISTORIAN, method, &json!([])).await), sorted(building.call(OTHER, method, &json!([])).await));
    }
    let metadata = building.call(HISTORIAN, "get_topics_metadata", &json!([topics])).await;
    assert_eq!(metadata[&topics[1]], json!({"units": "kW", "tz": "UTC", "type": "float"}), "{metadata}");
    assert_eq!(metadata, building.call(OTHER, "get_topics_metadata", &json!([topics])).await);
}

#[tokio::test]
async fn while_postgresql_is_gone_the_cache_grows_and_afterwards_everything_is_there_once_and_in_order() {
    let mut relay = Relay::start().await;
    let mut building = Building::start().await;
    building.install(HISTORIAN, &relay.settings()).await;
    let topic = format!("{DEVICE}/number");
    for second in 0..5 {
        building.publish(second, &json!(second)).await;
    }
    building.stored(HISTORIAN, &topic, 5).await;
    assert_eq!(building.health(HISTORIAN).await["status"], "GOOD");

    relay.cut();
    for second in 5..15 {
        building.publish(second, &json!(second)).await;
    }
    // Two points each.
    let health = building.cached(20).await;
    assert_eq!((&health["status"], &health["context"]["publishing"]), (&json!("BAD"), &json!(false)), "{health}");
    let alerts = building.client.get("/vui/alerts").await.expect(200).json();
    let told = |alert: &Value| alert["key"] == "historian_not_publishing" && alert["identity"] == HISTORIAN && alert["status"] == "BAD";
    assert!(alerts["alerts"].as_array().unwrap().iter().any(told), "{alerts}");
    for second in 15..20 {
        building.publish(second, &json!(second)).await;
    }
    building.cached(30).await;

    // What waits is durable.
    building.server.kill().await;
    building.server.start_again().await;
    building.client = building.client.at(building.server.url());
    building.cached(30).await;
    for second in 20..25 {
        building.publish(second, &json!(second)).await;
    }
    building.cached(40).await;

    relay.restore().await;
    building.stored(HISTORIAN, &topic, 25).await;
    let found: Vec<Value> = building.series(HISTORIAN, &topic, "").await.into_iter().map(|pair| pair[1].clone()).collect();
    assert_eq!(found, (0..25).map(|second| json!(second)).collect::<Vec<_>>());
    building.recovered().await;
}

#[tokio::test]
async fn a_database_that_falls_silent_after_a_commit_is_noticed_and_has_nothing_twice() {
    let relay = Relay::start().await;
    let building = Building::start().await;
    building.install(HISTORIAN, &relay.settings()).await;
    let topic = format!("{DEVICE}/number");
    for second in 0..5 {
        building.publish(second, &json!(second)).await;
    }
    building.stored(HISTORIAN, &topic, 5).await;
    // The worst moment: the database has committed, and nobody hears of it.
    relay.set(Mode::SilentAtCommit);
    for second in 5..15 {
        building.publish(second, &json!(second)).await;
    }
    let health = building.cached(20).await;
    assert_eq!((&health["status"], &health["context"]["publishing"]), (&json!("BAD"), &json!(false)), "{health}");
    assert_eq!(*relay.mode.borrow(), Mode::Silent, "there was no commit");
    relay.set(Mode::Open);
    building.stored(HISTORIAN, &topic, 15).await;
    let found: Vec<Value> = building.series(HISTORIAN, &topic, "").await.into_iter().map(|pair| pair[1].clone()).collect();
    assert_eq!(found, (0..15).map(|second| json!(second)).collect::<Vec<_>>());
    building.recovered().await;
}

impl Building {
    /// Installs a historian that starts with the platform.
    async fn install(&self, identity: &str, config: &Value) {
        let agent = json!({"kind": "platform_historian", "identity": identity, "config": config, "start": true, "enable": true});
        let made = self.client.post(&format!("/vui/platforms/{}/agents", self.platform), &agent).await.expect(201).json();
        assert!(made["start_error"].is_null(), "{made}");
        eventually_async("the historian subscribes", PATIENCE, async || (self.health(identity).await["status"] == "GOOD").then_some(()))
            .await;
    }

    /// Publishes a reading with the given value and a number, at a second of its own.
    async fn publish(&self, second: u32, value: &Value) {
        let time = format!("2026-01-31T12:{:02}:{:02}.000000+00:00", second / 60, second % 60);
        let number = json!({"units": "kW", "tz": "UTC", "type": "float"});
        let message =
            json!([{"reading": value, "number": second}, {"reading": {"units": "", "tz": "UTC", "type": "string"}, "number": number}]);
        let body = json!({"headers": {"Date": time, "TimeStamp": time}, "message": message});
        self.client.put(&format!("/vui/platforms/{}/pubsub/devices/{DEVICE}/all", self.platform), &body).await.expect(200);
    }

    /// Waits until a topic has so many values.
    async fn stored(&self, historian: &str, topic: &str, count: usize) {
        eventually_async(&format!("{count} values of {topic} in {historian}"), PATIENCE, async || {
            let answer = self.client.get(&self.history_path(historian, topic, "")).await;
            let found = if answer.status == 200 { answer.json()[topic]["value"].as_array()?.len() } else { return None };
            assert!(found <= count, "{topic} has {found} values, not {count}");
            (found == count).then_some(())
        })
        .await;
    }

    fn history_path(&self, historian: &str, topic: &str, question: &str) -> String {
        format!("/vui/platforms/{}/historians/{historian}/topics/{topic}?routes=false&{question}", self.platform)
    }

    async fn answer(&self, historian: &str, topic: &str, question: &str) -> Value {
        self.client.get(&self.history_path(historian, topic, question)).await.expect(200).json()
    }

    async fn series(&self, historian: &str, topic: &str, question: &str) -> Vec<Value> {
        self.answer(historian, topic, question).await[topic]["value"].as_array().unwrap().clone()
    }

    /// Waits until the historian tells that so many records wait in its cache and that it cannot get rid of them; gives its health.
    async fn cached(&self, count: usize) -> Value {
        eventually_async(&format!("{count} records wait"), PATIENCE, async || {
            let answer = self.client.get(&format!("/vui/platforms/{}/agents/{HISTORIAN}/health", self.platform)).await;
            // After a start it is not connected yet.
            let health = if answer.status == 200 { answer.json() } else { return None };
            (health["context"]["cache_count"] == count && health["status"] == "BAD").then_some(health)
        })
        .await
    }

    /// Waits until nothing waits any more and nothing was lost.
    async fn recovered(&self) {
        eventually_async("the historian is well again", PATIENCE, async || {
            let health = self.health(HISTORIAN).await;
            (health["status"] == "GOOD" && health["context"]["cache_count"] == 0 && health["context"]["publications_lost"] == 0)
                .then_some(())
        })
        .await;
    }
}

fn sorted(mut list: Value) -> Value {
    list.as_array_mut().unwrap().sort_by_key(Value::to_string);
    list
}

static TABLES: AtomicU32 = AtomicU32::new(0);

/// What a relay does with what arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    /// Passes everything on, up to and with the next commit.
    SilentAtCommit,
    /// Holds everything back, in both directions, with connections left open.
    Silent,
}

/// A way to PostgreSQL that can be cut, closed for a while, and fall silent.
struct Relay {
    port: u16,
    database: reqwest::Url,
    mode: Arc<watch::Sender<Mode>>,
    task: Option<JoinHandle<()>>,
}

impl Relay {
    async fn start() -> Self {
        let Ok(url) = std::env::var("VT_TEST_POSTGRES_URL") else {
            panic!(
                "set VT_TEST_POSTGRES_URL to the address of a PostgreSQL for tests, such as postgres://postgres:secret@127.0.0.1:5432/postgres"
            );
        };
        let database = reqwest::Url::parse(&url).unwrap_or_else(|error| panic!("VT_TEST_POSTGRES_URL: {error}"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut relay =
            Self { port: listener.local_addr().unwrap().port(), database, mode: Arc::new(watch::Sender::new(Mode::Open)), task: None };
        relay.listen(listener);
        relay
    }

    fn listen(&mut self, listener: TcpListener) {
        let upstream = (self.database.host_str().unwrap().to_owned(), self.database.port().unwrap_or(5432));
        self.task = Some(tokio::spawn(relay(listener, upstream, Arc::clone(&self.mode))));
    }

    /// Closes every connection and refuses new ones.
    fn cut(&mut self) {
        self.task.take().expect("it is not cut").abort();
    }

    /// Listens again. Somebody else's connection may hold the port for a moment.
    async fn restore(&mut self) {
        let listener =
            eventually_async("the relay's port is free", PATIENCE, async || TcpListener::bind(("127.0.0.1", self.port)).await.ok()).await;
        self.listen(listener);
    }

    fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// A historian's settings for the database behind this, with tables of its own.
    fn settings(&self) -> Value {
        let mut params = Map::new();
        params.insert("dbname".into(), json!(self.database.path().trim_start_matches('/')));
        params.insert("host".into(), json!("127.0.0.1"));
        params.insert("port".into(), json!(self.port));
        params.insert("user".into(), json!(self.database.username()));
        if let Some(password) = self.database.password() {
            params.insert("password".into(), json!(password));
        }
        let nanoseconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
        let prefix = format!("relay_{}_{}_{nanoseconds}", std::process::id(), TABLES.fetch_add(1, Ordering::Relaxed));
        json!({
            "connection": {"type": "postgresql", "params": params},
            "tables_def": {"table_prefix": prefix},
            "retry_period": 1,
            "max_time_publishing": 2,
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Serves until aborted; that ends its connections as well.
async fn relay(listener: TcpListener, upstream: (String, u16), mode: Arc<watch::Sender<Mode>>) {
    let mut pumps = JoinSet::new();
    loop {
        let Ok((near, _)) = listener.accept().await else { return };
        let Ok(far) = TcpStream::connect((upstream.0.as_str(), upstream.1)).await else { continue };
        let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
        pumps.spawn(pump(near_read, far_write, Arc::clone(&mode)));
        pumps.spawn(pump(far_read, near_write, Arc::clone(&mode)));
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mode: Arc<watch::Sender<Mode>>) {
    let (mut bytes, mut changes) = (vec![0; 64 * 1024], mode.subscribe());
    loop {
        let Ok(count @ 1..) = from.read(&mut bytes).await else { return };
        let chunk = &bytes[..count];
        if changes.wait_for(|mode| *mode != Mode::Silent).await.is_err() {
            return;
        }
        if *mode.borrow() == Mode::SilentAtCommit && chunk.windows(6).any(|word| word == b"COMMIT") {
            mode.send_replace(Mode::Silent);
        }
        if to.write_all(chunk).await.is_err() {
            return;
        }
    }
}
