//! Two figures of the SQLite store: readings stored durably per second, and the time to bring a year of one-minute readings of one topic to
//! 2,000 buckets. Prints one JSON object per line: `{"row", "value", "unit", "target", "limited_by"}`.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a measurement prints its figures, or fails")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::DateTime;
use serde_json::{Map, Value, json};
use vt_historians::{HistorianConfig, HistoryStore, TimeSpan, backends::sqlite::SqliteHistory};
use vt_types::{HistoryRecord, history::Source};

/// The one of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Topics, as of 1,000 devices with 10 points each.
const TOPICS: usize = 10_000;
/// Readings per insert, as of 20 publications of 10 points.
const BATCH: usize = 200;
/// Inserts waiting at the same time.
const WRITERS: usize = 32;
const YEAR_MINUTES: i64 = 525_600;
const START_US: i64 = 1_767_225_600_000_000;

fn store(path: std::path::PathBuf) -> Arc<SqliteHistory> {
    let tables = HistorianConfig::parse(&Map::new()).map(|config| config.tables);
    Arc::new(SqliteHistory::new(path, tables.expect("it works")))
}

fn record(topic: &Arc<str>, at_us: i64, value: Value) -> HistoryRecord {
    let timestamp = DateTime::from_timestamp_micros(at_us).unwrap_or_default();
    HistoryRecord { timestamp, topic: Arc::clone(topic), source: Source::Scrape, value, meta: Arc::default() }
}

fn report(row: &str, value: f64, unit: &str, target: f64, limited_by: &str) {
    println!("{}", json!({"row": row, "value": (value * 100.0).round() / 100.0, "unit": unit, "target": target, "limited_by": limited_by}));
}

/// `seconds` of inserts from many tasks; also while compaction runs, which it does many times.
async fn ingest(store: &Arc<SqliteHistory>, seconds: u64) -> f64 {
    let topics: Arc<Vec<Arc<str>>> =
        Arc::new((0..TOPICS).map(|i| format!("campus/building/device{}/point{}", i / 10, i % 10).into()).collect());
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (store, topics) = (Arc::clone(store), Arc::clone(&topics));
        tasks.spawn(async move {
            let per_writer = TOPICS / WRITERS;
            let (mut stored, mut at_us, mut next) = (0, START_US, 0);
            while started.elapsed() < Duration::from_secs(seconds) {
                let mut records = Vec::with_capacity(BATCH);
                for _ in 0..BATCH {
                    let topic = &topics[writer * per_writer + next];
                    #[expect(clippy::cast_precision_loss, reason = "made up values")]
                    let value = 20.0 + (at_us / 1_000_000 % 100) as f64 / 10.0;
                    records.push(record(topic, at_us, json!(value)));
                    next += 1;
                    if next == per_writer {
                        (next, at_us) = (0, at_us + 1_000_000);
                    }
                }
                store.insert(Arc::new(records)).await.expect("stored");
                stored += BATCH;
            }
            stored
        });
    }
    let mut stored = 0;
    while let Some(done) = tasks.join_next().await {
        stored += done.expect("it works");
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = stored as f64 / started.elapsed().as_secs_f64();
    rate
}

async fn year(store: &Arc<SqliteHistory>) -> Vec<f64> {
    let topic: Arc<str> = "campus/building/unit/year".into();
    for minutes in (0..YEAR_MINUTES).collect::<Vec<_>>().chunks(50_000) {
        let records = minutes.iter().map(|minute| {
            #[expect(clippy::cast_precision_loss, reason = "made up values")]
            let value = 20.0 + (*minute as f64 / 229.0).sin() * 5.0;
            record(&topic, START_US + minute * 60_000_000, json!((value * 100.0).round() / 100.0))
        });
        store.insert(Arc::new(records.collect())).await.expect("it works");
    }
    store.compact().await.expect("it works");
    let mut times = Vec::new();
    for _ in 0..21 {
        let started = Instant::now();
        let answer = store.query_downsampled(&topic, TimeSpan::default(), 2000).await.expect("it works");
        times.push(started.elapsed().as_secs_f64() * 1000.0);
        assert_eq!(answer.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), YEAR_MINUTES.unsigned_abs());
        assert!(answer.buckets.len() <= 2000);
    }
    times.sort_by(f64::total_cmp);
    times
}

fn main() {
    // `cargo test --benches` runs this once, quickly.
    let seconds = if std::env::args().any(|argument| argument == "--bench") { 10 } else { 1 };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("it works");
    // Below the target directory: a real disk, where a temporary directory may be memory.
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("it works");
    runtime.block_on(async {
        let store = store(home.path().join("history.sqlite"));
        store.set_up().await.expect("it works");
        let rate = ingest(&store, seconds).await;
        report(
            "historian durable ingest, SQLite",
            rate,
            "points/s",
            200_000.0,
            "one writer: SQLite inserts, compaction; an fsync per commit",
        );
        let times = year(&store).await;
        report("year of one-minute data to 2000 buckets, median", times[times.len() / 2], "ms", 50.0, "reading and parsing chunks");
        report("year of one-minute data to 2000 buckets, slowest of 21", times[times.len() - 1], "ms", 50.0, "reading and parsing chunks");
        store.close().await;
    });
}
