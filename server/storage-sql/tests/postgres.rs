//! The repositories on PostgreSQL pass the suites of their traits. Needs a server: `VT_TEST_POSTGRES_URL` is the URL of a superuser on this
//! machine, such as `postgres://postgres@127.0.0.1:5432/postgres`. Every test makes a database of its own and drops it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure in test support is a failed test")]

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};
use vt_backends::repositories::alerts::ALERTS_MAX;
use vt_backends::{AlertRepository, contract};
use vt_storage_sql::{SqlStore, StoreError};

struct Database {
    server: PgConnectOptions,
    name: String,
    url: String,
}

impl Database {
    async fn make() -> Self {
        let url = std::env::var("VT_TEST_POSTGRES_URL")
            .expect("set VT_TEST_POSTGRES_URL to the URL of a PostgreSQL superuser on this machine, such as postgres://postgres@127.0.0.1:5432/postgres");
        let server: PgConnectOptions = url.parse().expect("VT_TEST_POSTGRES_URL is no URL of PostgreSQL");
        let name = format!("vt_{}", uuid::Uuid::new_v4().simple());
        run(&server, format!("CREATE DATABASE {name}")).await;
        let url = server.clone().database(&name).to_url_lossy().to_string();
        Self { server, name, url }
    }

    async fn connect(&self) -> PgConnection {
        self.server.clone().database(&self.name).connect().await.unwrap()
    }

    async fn drop(self) {
        run(&self.server, format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

async fn run(server: &PgConnectOptions, statement: String) {
    let mut connection = server.connect().await.expect("the server of VT_TEST_POSTGRES_URL does not answer");
    sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
}

macro_rules! passes {
    ($name:ident, $suite:path, $part:ident) => {
        #[tokio::test]
        async fn $name() {
            let database = Database::make().await;
            $suite(async || SqlStore::open_postgres(&database.url).await.unwrap().$part()).await;
            database.drop().await;
        }
    };
}

passes!(alerts_pass_their_suite, contract::alerts, alerts);
passes!(audit_passes_its_suite, contract::audit, audit);
passes!(revocations_pass_their_suite, contract::revocations, revocations);

#[tokio::test]
async fn only_the_newest_alerts_are_kept() {
    let database = Database::make().await;
    let store = SqlStore::open_postgres(&database.url).await.unwrap();
    let fill = "INSERT INTO alert (at_us, topic, identity, alert_key, status, context) \
                SELECT i, 't', 'i', 'k', 'BAD', 'null' FROM generate_series(1, 10003) AS i";
    sqlx::query(fill).execute(&mut database.connect().await).await.unwrap();
    store.alerts().append(contract::alert(7)).await.unwrap();
    let kept = store.alerts().newest(usize::MAX).await.unwrap();
    assert_eq!((kept.len(), kept[0].clone()), (ALERTS_MAX, contract::alert(7)));
    database.drop().await;
}

#[tokio::test]
async fn a_lost_connection_is_an_error_and_then_made_anew() {
    let database = Database::make().await;
    let store = SqlStore::open_postgres(&database.url).await.unwrap();
    store.check().await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'volttron'";
    sqlx::query(end).execute(&mut database.connect().await).await.unwrap();
    // One call may meet the dead connection; the pool then opens another.
    let mut answered = false;
    for _ in 0..10 {
        answered = answered || store.check().await.is_ok();
    }
    assert!(answered);
    store.alerts().append(contract::alert(1)).await.unwrap();
    database.drop().await;
}

#[tokio::test]
async fn refusals_name_the_place_and_never_the_password() {
    let database = Database::make().await;
    let port = database.server.get_port();
    let missing = format!("postgres://vt:hush@127.0.0.1:{port}/vt_no_such_database");
    let error = SqlStore::open_postgres(&missing).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(matches!(error, StoreError::Connect { .. }), "{text}");
    assert!(text.contains("vt_no_such_database") && !text.contains("hush"), "{text}");
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99991231000000, 'x', true, '\\x00', 0)";
    SqlStore::open_postgres(&database.url).await.unwrap().close().await;
    sqlx::query(newer).execute(&mut database.connect().await).await.unwrap();
    assert!(matches!(SqlStore::open_postgres(&database.url).await, Err(StoreError::Newer { .. })));
    assert!(matches!(SqlStore::open_postgres("postgres://[").await, Err(StoreError::Url(_))));
    database.drop().await;
}
