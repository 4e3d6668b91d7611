//! What was acknowledged survives `kill -9`: a child process writes and is killed, ten times over, and every acknowledged record is found
//! exactly once. The child is this test's own binary.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod contract;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use contract::{ask, asking, at, record, tables};
use serde_json::{Map, json};
use vt_historians::{
    HistorianConfig, HistoryStore,
    backends::sqlite::{Limits, SqliteHistory},
    cache::Cache,
    ingest::Ingest,
};

const CHILD: &str = "VT_TEST_HISTORY_CHILD";
const ROUNDS: u64 = 10;
const TOPICS: i64 = 7;
const BATCH: i64 = 20;

/// So small that nearly every moment falls into a compaction.
fn store(home: &Path) -> Arc<SqliteHistory> {
    let limits = Limits { hot_rows: 200, hot_rows_max: 400, hot_bytes: 1 << 20, group_rows: 100, step_rows: 20 };
    Arc::new(SqliteHistory::with_limits(home.join("history.sqlite"), tables(), limits))
}

fn batch(first: i64) -> Arc<Vec<vt_types::HistoryRecord>> {
    Arc::new((first..first + BATCH).map(|i| record(&format!("t{}", i % TOPICS), at(i), json!(i))).collect())
}

/// Starts the test `name` of this binary as a child, reads that many acknowledgements of batches, kills it, and returns the last one.
fn killed_after(name: &str, home: &Path, first: i64, acknowledgements: u64) -> i64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, format!("{first} {}", home.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = first;
    let mut seen = 0;
    while seen < acknowledgements {
        let line = lines.next().expect("the child writes on").unwrap();
        if let Some(until) = line.strip_prefix("acknowledged ") {
            last = until.parse().unwrap();
            seen += 1;
        }
    }
    // On Unix this is SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had said before it died counts as well.
    for line in lines.map_while(Result::ok) {
        if let Some(until) = line.strip_prefix("acknowledged ").and_then(|until| until.parse().ok()) {
            last = until;
        }
    }
    last
}

/// The child's part: where to begin and where to write, if this process is the child.
fn child() -> Option<(i64, PathBuf)> {
    let told = std::env::var(CHILD).ok()?;
    let (first, home) = told.split_once(' ')?;
    Some((first.parse().ok()?, home.into()))
}

fn acknowledge(until: i64) {
    // Straight to the file descriptor: the test harness does not see it.
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nacknowledged {until}").unwrap();
    out.flush().unwrap();
}

/// Every record below `until` exactly once, and what is beyond without a hole in a batch.
async fn check(home: &Path, until: i64) -> i64 {
    let store = store(home);
    store.set_up().await.unwrap();
    let any: contract::Store = store.clone();
    let mut found = Vec::new();
    for topic in 0..TOPICS {
        let rows = ask(&any, &asking(&format!("t{topic}"))).await;
        assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0), "each once and in order");
        for (time, value) in rows {
            let i = value.as_i64().unwrap();
            assert_eq!(time, at(i));
            found.push(i);
        }
    }
    found.sort_unstable();
    let stored = i64::try_from(found.len()).unwrap();
    assert_eq!(found, (0..stored).collect::<Vec<_>>());
    assert!(stored >= until, "{stored} of {until} acknowledged");
    assert_eq!(stored % BATCH, 0, "batches are stored whole");
    any.close().await;
    stored
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_inserts_survive_kill_9() {
    if let Some((first, home)) = child() {
        let store = store(&home);
        store.set_up().await.unwrap();
        for number in 0.. {
            store.insert(batch(first + number * BATCH)).await.unwrap();
            acknowledge(first + (number + 1) * BATCH);
        }
    }
    let home = tempfile::tempdir().unwrap();
    let mut stored = 0;
    for round in 0..ROUNDS {
        let last = killed_after("acknowledged_inserts_survive_kill_9", home.path(), stored, 1 + round * 17 % 60);
        stored = check(home.path(), last).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_in_the_cache_survive_kill_9_while_it_is_drained() {
    let config = HistorianConfig::parse(&Map::from_iter([("submit_size_limit".to_owned(), json!(33))])).unwrap();
    if let Some((first, home)) = child() {
        let cache = Cache::open(&home.join("backup.sqlite")).await.unwrap();
        let mut ingest = Ingest::new(store(&home), cache, &config);
        for number in 0.. {
            // A submission is always under way, so that every batch goes through the cache.
            let submission = ingest.begin().await.unwrap();
            ingest.take(batch(first + number * BATCH), &[], Instant::now()).await.unwrap();
            acknowledge(first + (number + 1) * BATCH);
            ingest.finish(submission.run().await, Instant::now()).await.unwrap();
        }
    }
    let home = tempfile::tempdir().unwrap();
    let mut stored = 0;
    for round in 0..ROUNDS {
        let name = "acknowledged_records_in_the_cache_survive_kill_9_while_it_is_drained";
        let last = killed_after(name, home.path(), stored, 1 + round * 17 % 60);
        let mut ingest = Ingest::new(store(home.path()), Cache::open(&home.path().join("backup.sqlite")).await.unwrap(), &config);
        while ingest.is_due(Instant::now()) {
            let submitted = ingest.begin().await.unwrap().run().await;
            ingest.finish(submitted, Instant::now()).await.unwrap();
        }
        ingest.close().await;
        stored = check(home.path(), last).await;
    }
}
