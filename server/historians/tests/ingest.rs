//! The cache in front of a store: nothing accepted is lost or doubled, whatever the store does.
#![expect(clippy::unwrap_used, clippy::needless_pass_by_value, reason = "a test fails by panicking")]

mod contract;

use std::{sync::Arc, time::Instant};

use contract::{ask, asking, at, record, with_meta};
use serde_json::{Map, Value, json};
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;
use vt_historians::{HistorianConfig, cache::Cache, fake::FakeHistory, ingest::Ingest};

fn config(settings: Value) -> HistorianConfig {
    HistorianConfig::parse(settings.as_object().unwrap_or(&Map::new())).unwrap()
}

async fn cache(home: &TempDir) -> Cache {
    Cache::open(&home.path().join("backup.sqlite")).await.unwrap()
}

/// Submits until nothing is due.
async fn drain(ingest: &mut Ingest) {
    while ingest.is_due(Instant::now()) {
        let submitted = ingest.begin().await.unwrap().run().await;
        ingest.finish(submitted, Instant::now()).await.unwrap();
    }
}

#[tokio::test]
async fn a_failing_store_makes_health_bad_and_its_return_drains_the_cache() {
    let home = tempfile::tempdir().unwrap();
    let fake = Arc::new(FakeHistory::remote());
    let mut ingest = Ingest::new(fake.clone(), cache(&home).await, &config(json!({"retry_period": 0.001, "submit_size_limit": 3})));
    fake.set_failing(true);
    drain_once(&mut ingest).await;
    for i in 0..10 {
        ingest.take(Arc::new(vec![record("a", at(i), json!(i))]), &[], Instant::now()).await.unwrap();
    }
    let health = ingest.health();
    assert!(!health.publishing && health.backlogged && !health.is_good());
    assert_eq!(health.cache_count, 10);
    assert_eq!(health.context()["cache_count"], json!(10));
    fake.set_failing(false);
    let deadline = Instant::now() + std::time::Duration::from_secs(10);
    while ingest.health().cache_count > 0 && Instant::now() < deadline {
        drain(&mut ingest).await;
        tokio::task::yield_now().await;
    }
    assert!(ingest.health().is_good(), "{:?}", ingest.health());
    let store: contract::Store = fake;
    assert_eq!(ask(&store, &asking("a")).await.len(), 10);
}

#[tokio::test]
async fn a_remote_store_that_falls_silent_counts_as_failed_and_gets_the_batch_again() {
    let home = tempfile::tempdir().unwrap();
    let fake = Arc::new(FakeHistory::remote());
    let settings = config(json!({"retry_period": 0.001, "max_time_publishing": 0.05}));
    let mut ingest = Ingest::new(fake.clone(), cache(&home).await, &settings);
    drain_once(&mut ingest).await;
    fake.set_silent(true);
    for i in 0..3 {
        ingest.take(Arc::new(vec![record("a", at(i), json!(i))]), &[], Instant::now()).await.unwrap();
    }
    drain_once(&mut ingest).await;
    let health = ingest.health();
    assert!(!health.publishing && health.cache_count == 3, "{health:?}");
    fake.set_silent(false);
    drain_once(&mut ingest).await;
    assert!(ingest.health().is_good(), "{:?}", ingest.health());
    let store: contract::Store = fake;
    assert_eq!(ask(&store, &asking("a")).await.len(), 3);
}

async fn drain_once(ingest: &mut Ingest) {
    let submitted = ingest.begin().await.unwrap().run().await;
    ingest.finish(submitted, Instant::now()).await.unwrap();
}

#[tokio::test]
async fn records_cached_before_a_crash_are_stored_after_restart() {
    let home = tempfile::tempdir().unwrap();
    let fake = Arc::new(FakeHistory::remote());
    let mut ingest = Ingest::new(fake.clone(), cache(&home).await, &config(json!({})));
    let records =
        vec![with_meta(record("a", at(0), json!({"x": 1})), json!({"units": "F", "n": 5, "text5": "5"})), record("b", at(1), json!(null))];
    ingest.take(Arc::new(records.clone()), &[], Instant::now()).await.unwrap();
    // Submitted, but gone before the cache was told.
    ingest.begin().await.unwrap().run().await;
    drop(ingest);
    let mut ingest = Ingest::new(fake.clone(), cache(&home).await, &config(json!({})));
    assert_eq!(ingest.health().cache_count, 2);
    drain(&mut ingest).await;
    assert_eq!(ingest.health().cache_count, 0);
    let store: contract::Store = fake;
    assert_eq!(ask(&store, &asking("a")).await, [(at(0), json!({"x": 1}))]);
    assert_eq!(store.topics().await.unwrap()[0].metadata, records[0].meta);
}

#[tokio::test]
async fn a_healthy_local_store_is_written_directly_and_an_older_value_never_overtakes() {
    let home = tempfile::tempdir().unwrap();
    let fake = Arc::new(FakeHistory::new());
    let mut ingest = Ingest::new(fake.clone(), cache(&home).await, &config(json!({"retry_period": 0.001})));
    drain(&mut ingest).await;
    ingest.take(Arc::new(vec![record("a", at(0), json!(1))]), &[], Instant::now()).await.unwrap();
    assert_eq!((ingest.health().cache_count, fake.insert_count()), (0, 1));
    fake.set_failing(true);
    ingest.take(Arc::new(vec![record("a", at(1), json!(1))]), &[], Instant::now()).await.unwrap();
    fake.set_failing(false);
    ingest.take(Arc::new(vec![record("a", at(1), json!(2)), record("a", at(1), json!(3))]), &[], Instant::now()).await.unwrap();
    assert_eq!(ingest.health().cache_count, 3);
    let deadline = Instant::now() + std::time::Duration::from_secs(10);
    while ingest.health().cache_count > 0 && Instant::now() < deadline {
        drain(&mut ingest).await;
        tokio::task::yield_now().await;
    }
    let store: contract::Store = fake;
    assert_eq!(ask(&store, &asking("a")).await, [(at(0), json!(1)), (at(1), json!(3))]);
}

#[tokio::test]
async fn invalid_timestamps_are_kept_aside_and_dropped_first() {
    let home = tempfile::tempdir().unwrap();
    let fake = Arc::new(FakeHistory::remote());
    let settings = json!({"backup_storage_limit_gb": 0.0001, "backup_storage_report": 0.5});
    let mut ingest = Ingest::new(fake, cache(&home).await, &config(settings));
    let invalid: Vec<_> = (0..100).map(|i| record("late", at(i), json!(i))).collect();
    ingest.take(Arc::new(vec![]), &invalid, Instant::now()).await.unwrap();
    assert!(ingest.health().records_with_invalid_timestamp);
    for part in 0..20 {
        let records = (0..100).map(|i| record("a", at(part * 100 + i), json!("0123456789"))).collect();
        ingest.take(Arc::new(records), &[], Instant::now()).await.unwrap();
    }
    let health = ingest.health();
    assert!(health.cache_full && !health.records_with_invalid_timestamp, "{health:?}");
    assert!(health.cache_count < 2000 && health.cache_count > 100, "{health:?}");
    assert_eq!(ingest.dropped_count(), 2100 - health.cache_count);
}

#[tokio::test]
async fn a_cache_that_volttron_left_behind_is_sent_on() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("backup.sqlite");
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display())).await.unwrap();
    for sql in [
        "CREATE TABLE outstanding(id INTEGER PRIMARY KEY, ts timestamp NOT NULL, source TEXT NOT NULL, topic_id INTEGER NOT NULL, value_string TEXT NOT NULL, header_string TEXT)",
        "CREATE TABLE metadata(source TEXT NOT NULL, topic_id INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, UNIQUE(topic_id, source, name))",
        "CREATE TABLE topics(topic_id INTEGER PRIMARY KEY, topic_name TEXT NOT NULL, UNIQUE(topic_name))",
        "INSERT INTO topics VALUES (5, 'campus/unit/T')",
        "INSERT INTO metadata VALUES ('scrape', 5, 'units', 'F')",
        "INSERT INTO outstanding VALUES (1, '2026-01-01 00:00:00.000000+00:00', 'scrape', 5, '50.0', '{}'), (2, '2026-01-01T00:00:01.000000+00:00', 'scrape', 5, '51.0', NULL)",
    ] {
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let fake = Arc::new(FakeHistory::new());
    let mut ingest = Ingest::new(fake.clone(), cache(&home).await, &config(json!({})));
    drain(&mut ingest).await;
    let store: contract::Store = fake;
    let series = store.query(&asking("campus/unit/T")).await.unwrap().remove(0);
    assert_eq!((series.values, series.metadata["units"].clone()), (vec![(at(0), json!(50.0)), (at(1), json!(51.0))], json!("F")));
}
