//! The PostgreSQL store keeps the contract. Needs `VT_TEST_POSTGRES_URL`, the address of a superuser; every test makes a database of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod contract;

use std::{
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use contract::{ask, asking, at, insert, record, tables};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};
use vt_historians::{HistoryStore, backends::postgres::PostgresHistory, config::PostgresParams};

static DATABASES: AtomicU64 = AtomicU64::new(0);

fn server() -> (String, PgConnectOptions) {
    let Ok(url) = std::env::var("VT_TEST_POSTGRES_URL") else {
        panic!("set VT_TEST_POSTGRES_URL to the address of a PostgreSQL superuser, such as postgres://postgres@127.0.0.1:5432/postgres");
    };
    let options = PgConnectOptions::from_str(&url).unwrap();
    (url, options)
}

async fn database() -> PostgresParams {
    let (url, options) = server();
    let name = format!("vt_history_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    for sql in [format!(r#"DROP DATABASE IF EXISTS "{name}""#), format!(r#"CREATE DATABASE "{name}""#)] {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
    let authority = url.split("://").nth(1).unwrap().split('/').next().unwrap();
    let password = authority.split_once('@').and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password.to_owned());
    PostgresParams {
        dbname: name,
        host: options.get_host().to_owned(),
        port: options.get_port(),
        user: Some(options.get_username().to_owned()),
        password,
    }
}

/// Removes the database at the end of its test.
struct Guard(String);

impl Drop for Guard {
    fn drop(&mut self) {
        let name = self.0.clone();
        let dropped = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async move {
                let mut connection = PgConnection::connect_with(&server().1).await.unwrap();
                let sql = format!(r#"DROP DATABASE IF EXISTS "{name}" WITH (FORCE)"#);
                sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
            });
        });
        assert!(dropped.join().is_ok() || std::thread::panicking());
    }
}

async fn make() -> (Guard, contract::Store) {
    let params = database().await;
    let store = PostgresHistory::new(&params, tables());
    store.set_up().await.unwrap();
    (Guard(params.dbname), Arc::new(store))
}

contract::suite!(make);

#[tokio::test]
async fn insert_before_set_up_says_not_ready() {
    let params = database().await;
    let _guard = Guard(params.dbname.clone());
    contract::insert_and_query_before_set_up_say_not_ready(Arc::new(PostgresHistory::new(&params, tables()))).await;
}

#[tokio::test]
async fn tables_are_volttrons_and_those_of_version_6_are_taken_over() {
    let params = database().await;
    let _guard = Guard(params.dbname.clone());
    let options = server().1.database(&params.dbname);
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    for sql in [
        "CREATE TABLE data (ts TIMESTAMP NOT NULL, topic_id INTEGER NOT NULL, value_string TEXT NOT NULL, UNIQUE (topic_id, ts))",
        "CREATE TABLE topics (topic_id SERIAL PRIMARY KEY NOT NULL, topic_name VARCHAR NOT NULL, UNIQUE (topic_name))",
        "CREATE TABLE meta (topic_id INTEGER PRIMARY KEY NOT NULL, metadata TEXT NOT NULL)",
        "INSERT INTO topics(topic_name) VALUES ('A/b')",
        r#"INSERT INTO meta VALUES (1, '{"units": "F"}')"#,
        "INSERT INTO data VALUES ('2026-01-01 00:00:00', 1, '50.0')",
    ] {
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
    let store: contract::Store = Arc::new(PostgresHistory::new(&params, tables()));
    store.set_up().await.unwrap();
    store.set_up().await.unwrap();
    insert(&store, vec![record("a/B", at(1), json!(51.5))]).await;
    assert_eq!(ask(&store, &asking("a/b")).await, [(at(0), json!(50.0)), (at(1), json!(51.5))]);
    let rows: Vec<(String, String, i32, String, String)> = sqlx::query_as(
        "SELECT topic_name::text, metadata, d.topic_id, ts::text, value_string FROM data d JOIN topics t ON t.topic_id = d.topic_id ORDER BY ts",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(rows[1], ("a/B".into(), r#"{"units": "F"}"#.into(), 1, "2026-01-01 00:00:01".into(), "51.5".into()));
    store.close().await;
}

#[tokio::test]
async fn a_database_that_is_not_there_is_an_error_and_can_be_tried_again() {
    let mut params = database().await;
    let _guard = Guard(params.dbname.clone());
    let right = params.dbname.clone();
    params.dbname = "no_such_database".into();
    let store = PostgresHistory::new(&params, tables());
    assert!(store.set_up().await.unwrap_err().to_string().contains("no_such_database"));
    assert!(store.set_up().await.is_err());
    params.dbname = right;
    PostgresHistory::new(&params, tables()).set_up().await.unwrap();
}
