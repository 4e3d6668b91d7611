//! The repositories on SQLite pass the suites of their traits; and what is special to files.
#![expect(clippy::unwrap_used, reason = "a failure in test support is a failed test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use vt_backends::repositories::alerts::ALERTS_MAX;
use vt_backends::{AlertRepository, AuditFilter, AuditRepository, contract};
use vt_storage_sql::{SqlStore, StoreError};

macro_rules! passes {
    ($name:ident, $suite:path, $part:ident) => {
        #[tokio::test]
        async fn $name() {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("platform.sqlite");
            $suite(async || SqlStore::open_sqlite(&path).await.unwrap().$part()).await;
        }
    };
}

passes!(alerts_pass_their_suite, contract::alerts, alerts);
passes!(audit_passes_its_suite, contract::audit, audit);
passes!(revocations_pass_their_suite, contract::revocations, revocations);

async fn raw(path: &std::path::Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap()
}

#[tokio::test]
async fn the_file_is_private_and_closing_leaves_only_it() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("platform.sqlite");
    let store = SqlStore::open_sqlite(&path).await.unwrap();
    store.check().await.unwrap();
    store.alerts().append(contract::alert(1)).await.unwrap();
    assert_eq!(store.alerts().newest(1).await.unwrap().len(), 1);
    for entry in fs::read_dir(home.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    store.close().await;
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    assert!(store.check().await.is_err(), "closed is closed");
    assert_eq!(SqlStore::open_sqlite(&path).await.unwrap().alerts().newest(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_the_newest_alerts_are_kept() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("platform.sqlite");
    let store = SqlStore::open_sqlite(&path).await.unwrap();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10003) \
                INSERT INTO alert (at_us, topic, identity, alert_key, status, context) SELECT i, 't', 'i', 'k', 'BAD', 'null' FROM n";
    sqlx::query(fill).execute(&mut raw(&path).await).await.unwrap();
    store.alerts().append(contract::alert(7)).await.unwrap();
    let kept = store.alerts().newest(usize::MAX).await.unwrap();
    assert_eq!((kept.len(), kept[0].clone()), (ALERTS_MAX, contract::alert(7)));
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_not_touched() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("platform.sqlite");
    SqlStore::open_sqlite(&path).await.unwrap().close().await;
    let newer =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99991231000000, 'x', 1, x'00', 0)";
    sqlx::query(newer).execute(&mut raw(&path).await).await.unwrap();
    let error = SqlStore::open_sqlite(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { version: 99_991_231_000_000, .. }), "{error}");
    assert!(error.to_string().contains("a newer version of this program"));
}

#[tokio::test]
async fn what_is_no_database_is_named_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("platform.sqlite");
    let text = "this is not a database, but long enough to look like one".repeat(100);
    fs::write(&path, &text).unwrap();
    let error = SqlStore::open_sqlite(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Connect { .. }) && error.to_string().contains("platform.sqlite"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    let nowhere = SqlStore::open_sqlite(&home.path().join("missing/x.sqlite")).await.unwrap_err();
    assert!(matches!(nowhere, StoreError::File { .. }), "{nowhere}");
}

#[tokio::test]
async fn many_writers_at_once_all_get_through() {
    let home = tempfile::tempdir().unwrap();
    let store = SqlStore::open_sqlite(&home.path().join("platform.sqlite")).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..50 {
        let alerts = store.alerts();
        tasks.spawn(async move { alerts.append(contract::alert(writer)).await });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap().unwrap();
    }
    assert_eq!(store.alerts().newest(100).await.unwrap().len(), 50);
}

#[tokio::test]
async fn a_write_waits_for_somebody_elses_lock() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("platform.sqlite");
    let store = SqlStore::open_sqlite(&path).await.unwrap();
    let mut other = raw(&path).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let alerts = store.alerts();
    let write = tokio::spawn(async move { alerts.append(contract::alert(1)).await });
    assert!(store.audit().list(AuditFilter::default()).await.unwrap().is_empty(), "readers do not wait");
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    write.await.unwrap().unwrap();
}
