//! The SQLite store keeps the contract, also while it compacts all the time, and its file is what VOLTTRON's tools read.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;

use std::sync::Arc;

use contract::{ask, asking, at, insert, record, tables, with_meta};
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;
use vt_historians::{
    HistoryStore,
    backends::sqlite::{Limits, SqliteHistory},
};

fn path(home: &TempDir) -> std::path::PathBuf {
    home.path().join("history.sqlite")
}

async fn make() -> (TempDir, contract::Store) {
    let home = tempfile::tempdir().unwrap();
    let store = SqliteHistory::new(path(&home), tables());
    store.set_up().await.unwrap();
    (home, Arc::new(store))
}

contract::suite!(make);

/// The same promises with limits so small that every few inserts are sealed and compacted.
mod compacting {
    use super::*;

    async fn make() -> (TempDir, contract::Store) {
        let home = tempfile::tempdir().unwrap();
        let limits = Limits { hot_rows: 7, hot_rows_max: 20, hot_bytes: 1 << 20, group_rows: 50, step_rows: 5 };
        let store = SqliteHistory::with_limits(path(&home), tables(), limits);
        store.set_up().await.unwrap();
        (home, Arc::new(store))
    }

    contract::suite!(make);
}

#[tokio::test]
async fn insert_before_set_up_says_not_ready() {
    let home = tempfile::tempdir().unwrap();
    contract::insert_and_query_before_set_up_say_not_ready(Arc::new(SqliteHistory::new(path(&home), tables()))).await;
}

/// What a tool that knows VOLTTRON's tables sees.
async fn as_tool(home: &TempDir) -> Vec<(String, String, String)> {
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path(home).display())).await.unwrap();
    let sql = "SELECT t.topic_name, d.ts, d.value_string FROM data d JOIN topics t ON t.topic_id = d.topic_id ORDER BY t.topic_name, d.ts";
    sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap()
}

#[tokio::test]
async fn sqlite_file_has_volttrons_tables_and_ts_text_before_and_after_compaction() {
    let home = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteHistory::new(path(&home), tables()));
    store.set_up().await.unwrap();
    let any: contract::Store = store.clone();
    let precise = 0.123_456_789_012_345_68;
    insert(
        &any,
        vec![
            with_meta(record("a", at(0), json!(50.0)), json!({"units": "F"})),
            record("a", at(1), json!("x\"y")),
            record("b", at(0), json!(precise)),
            record("b", chrono::DateTime::from_timestamp_micros(-1).unwrap(), json!(null)),
        ],
    )
    .await;
    let row = |topic: &str, ts: &str, value: &str| (topic.to_owned(), ts.to_owned(), value.to_owned());
    let wanted = [
        row("a", "2026-01-01T00:00:00.000000+00:00", "50.0"),
        row("a", "2026-01-01T00:00:01.000000+00:00", r#""x\"y""#),
        row("b", "1969-12-31T23:59:59.999999+00:00", "null"),
        row("b", "2026-01-01T00:00:00.000000+00:00", &precise.to_string()),
    ];
    assert_eq!(as_tool(&home).await, wanted);
    store.compact().await.unwrap();
    assert_eq!(as_tool(&home).await, wanted);
    insert(&any, vec![record("a", at(0), json!(51.0))]).await;
    assert_eq!(as_tool(&home).await[0].2, "51.0");
    assert_eq!(as_tool(&home).await.len(), 4);

    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path(&home).display())).await.unwrap();
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT m.name, group_concat(c.name) FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.name IN ('data', 'topics') GROUP BY m.name ORDER BY m.name",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(columns, [("data".into(), "ts,topic_id,value_string".into()), ("topics".into(), "topic_id,topic_name,metadata".into())]);
    let metadata: String =
        sqlx::query_scalar("SELECT metadata FROM topics WHERE topic_name = 'a'").fetch_one(&mut connection).await.unwrap();
    assert_eq!(metadata, r#"{"units":"F"}"#);
}

#[tokio::test]
async fn everything_is_there_after_reopening_in_the_middle_of_a_compaction() {
    let home = tempfile::tempdir().unwrap();
    let limits = Limits { hot_rows: 100, hot_rows_max: 100, hot_bytes: 1 << 20, group_rows: 50, step_rows: 1 };
    for round in 0..5 {
        let store: contract::Store = Arc::new(SqliteHistory::with_limits(path(&home), tables(), limits));
        store.set_up().await.unwrap();
        for part in 0..4 {
            insert(&store, (0..50).map(|i| record(&format!("t{}", i % 10), at(round * 1000 + part * 50 + i), json!(round))).collect())
                .await;
        }
        // Closed with most of the compaction still to do.
        store.close().await;
    }
    let store: contract::Store = Arc::new(SqliteHistory::new(path(&home), tables()));
    store.set_up().await.unwrap();
    let mut total = 0;
    for topic in 0..10 {
        let rows = ask(&store, &asking(&format!("t{topic}"))).await;
        assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0));
        total += rows.len();
    }
    assert_eq!(total, 5 * 200);
    assert_eq!(as_tool(&home).await.len(), 5 * 200);
}

#[tokio::test]
async fn a_file_of_a_later_layout_and_a_file_that_is_none_are_refused_and_kept() {
    let home = tempfile::tempdir().unwrap();
    let store = SqliteHistory::new(path(&home), tables());
    store.set_up().await.unwrap();
    store.close().await;
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path(&home).display())).await.unwrap();
    sqlx::query("UPDATE data_state SET layout = 99").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let error = SqliteHistory::new(path(&home), tables()).set_up().await.unwrap_err();
    assert!(error.to_string().contains("layout 99"), "{error}");

    let other = home.path().join("notes.txt");
    std::fs::write(&other, "these are notes, and long enough not to be taken for an empty database file").unwrap();
    assert!(SqliteHistory::new(other.clone(), tables()).set_up().await.is_err());
    assert!(std::fs::read_to_string(other).unwrap().starts_with("these are notes"));
}
