//! Files that VOLTTRON wrote are taken over without losing a row: the SQLite layouts of versions 6 and 9.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;

use std::sync::Arc;

use contract::{ask, asking, at, insert, record, tables};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;
use vt_historians::backends::sqlite::SqliteHistory;

async fn write(home: &TempDir, statements: &[&'static str]) -> std::path::PathBuf {
    let path = home.path().join("platform.historian.sqlite");
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display())).await.unwrap();
    for statement in statements {
        sqlx::query(*statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    path
}

const DATA: &str = "CREATE TABLE data (ts timestamp NOT NULL, topic_id INTEGER NOT NULL, value_string TEXT NOT NULL, UNIQUE(topic_id, ts))";

#[tokio::test]
async fn a_file_of_version_9_is_taken_over() {
    let home = tempfile::tempdir().unwrap();
    let path = write(&home, &[
        DATA,
        "CREATE INDEX data_idx ON data (ts ASC)",
        "CREATE TABLE topics (topic_id INTEGER PRIMARY KEY, topic_name TEXT NOT NULL, metadata TEXT, UNIQUE(topic_name))",
        r#"INSERT INTO topics VALUES (1, 'campus/unit/T', '{"units": "F"}'), (7, 'campus/unit/S', '{}')"#,
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 24999)
         INSERT INTO data SELECT strftime('%Y-%m-%dT%H:%M:%S', 1767225600 + i, 'unixepoch') || '.000000+00:00', 1, CAST(i AS TEXT) FROM n",
        r#"INSERT INTO data VALUES ('2026-01-01 00:00:00.500000+00:00', 7, '"on"'), ('2026-01-01T00:00:01.250000', 7, 'NaN'), ('whenever', 7, '3')"#,
    ])
    .await;
    for _ in 0..2 {
        let store: contract::Store = Arc::new(SqliteHistory::new(path.clone(), tables()));
        store.set_up().await.unwrap();
        let rows = ask(&store, &asking("campus/unit/t")).await;
        assert_eq!(rows.len(), 25_000);
        assert_eq!((rows[0].clone(), rows[24_999].clone()), ((at(0), json!(0)), (at(24_999), json!(24_999))));
        let values: Vec<Value> = ask(&store, &asking("campus/unit/S")).await.into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [json!("on"), json!("NaN")]);
        assert_eq!(Value::Object((*store.topics().await.unwrap()[1].metadata).clone()), json!({"units": "F"}));
        insert(&store, vec![record("campus/unit/new", at(0), json!(1))]).await;
        assert_eq!(store.topics().await.unwrap().iter().find(|topic| &*topic.name == "campus/unit/new").unwrap().id, 8);
        store.close().await;
    }
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM data").fetch_one(&mut connection).await.unwrap();
    assert_eq!(count, 25_003);
    let kept: (String, i64, String) =
        sqlx::query_as("SELECT ts, topic_id, value_string FROM data_unreadable").fetch_one(&mut connection).await.unwrap();
    assert_eq!(kept, ("whenever".into(), 7, "3".into()));
}

#[tokio::test]
async fn a_file_of_version_6_is_taken_over_with_its_metadata_table() {
    let home = tempfile::tempdir().unwrap();
    let path = write(
        &home,
        &[
            DATA,
            "CREATE TABLE topics (topic_id INTEGER PRIMARY KEY, topic_name TEXT NOT NULL, UNIQUE(topic_name))",
            "CREATE TABLE meta (topic_id INTEGER PRIMARY KEY, metadata TEXT NOT NULL)",
            "CREATE TABLE volttron_table_definitions (table_id TEXT PRIMARY KEY, table_name TEXT NOT NULL, table_prefix TEXT)",
            "INSERT INTO topics VALUES (1, 'a')",
            r#"INSERT INTO meta VALUES (1, '{"units": "C"}')"#,
            "INSERT INTO data VALUES ('2026-01-01T00:00:00.000000+00:00', 1, '5')",
        ],
    )
    .await;
    let store: contract::Store = Arc::new(SqliteHistory::new(path.clone(), tables()));
    store.set_up().await.unwrap();
    let series = store.query(&asking("a")).await.unwrap().remove(0);
    assert_eq!((series.values, Value::Object((*series.metadata).clone())), (vec![(at(0), json!(5))], json!({"units": "C"})));
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let meta: String = sqlx::query_scalar("SELECT metadata FROM meta WHERE topic_id = 1").fetch_one(&mut connection).await.unwrap();
    assert_eq!(meta, r#"{"units": "C"}"#);
}

#[tokio::test]
async fn rows_of_an_aggregate_historian_are_answered() {
    let home = tempfile::tempdir().unwrap();
    let path = write(&home, &[
        "CREATE TABLE aggregate_topics (agg_topic_id INTEGER PRIMARY KEY, agg_topic_name TEXT NOT NULL, agg_type TEXT NOT NULL, agg_time_period TEXT NOT NULL)",
        "CREATE TABLE aggregate_meta (agg_topic_id INTEGER PRIMARY KEY, metadata TEXT NOT NULL)",
        "CREATE TABLE avg_1h (ts timestamp NOT NULL, topic_id INTEGER NOT NULL, agg_value REAL NOT NULL, topics TEXT, UNIQUE(topic_id, ts))",
        "INSERT INTO aggregate_topics VALUES (3, 'All/T', 'avg', '1h')",
        r#"INSERT INTO aggregate_meta VALUES (3, '{"configured_topics": ["a", "b"]}')"#,
        "INSERT INTO avg_1h VALUES ('2026-01-01T00:00:00.000000+00:00', 3, 20.5, '[]'), ('2026-01-01T01:00:00.000000+00:00', 3, 21.5, '[]')",
    ])
    .await;
    let store: contract::Store = Arc::new(SqliteHistory::new(path, tables()));
    store.set_up().await.unwrap();
    let topics = store.aggregate_topics().await.unwrap();
    assert_eq!((topics[0].name.as_str(), topics[0].period.as_str(), &topics[0].configured), ("All/T", "1h", &json!(["a", "b"])));
    let mut query = asking("all/t");
    query.aggregate = Some(vt_historians::store::Aggregate { kind: "avg".into(), period: "1h".into() });
    query.order = vt_historians::Order::LastToFirst;
    assert_eq!(ask(&store, &query).await, [(at(3600), json!(21.5)), (at(0), json!(20.5))]);
    query.aggregate = Some(vt_historians::store::Aggregate { kind: "max".into(), period: "1h".into() });
    assert!(ask(&store, &query).await.is_empty());
}
