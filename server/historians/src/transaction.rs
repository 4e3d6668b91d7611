//! Transactions of SQLite by their statements. SQLite itself ends a transaction when the disk is full; sqlx's own transactions do not notice
//! that, and every later one would be refused.

use sqlx::sqlite::SqliteConnection;

use crate::error::HistoryError;

/// Begins one that writes. One that a cancelled caller left open is undone first.
pub async fn begin(connection: &mut SqliteConnection) -> Result<(), HistoryError> {
    const BEGIN: &str = "BEGIN IMMEDIATE";
    if sqlx::query(BEGIN).execute(&mut *connection).await.is_err() {
        undo(connection).await;
        sqlx::query(BEGIN).execute(connection).await?;
    }
    Ok(())
}

/// Ends it: keeps what was done, or undoes it if something failed.
pub async fn end<T>(connection: &mut SqliteConnection, done: Result<T, HistoryError>) -> Result<T, HistoryError> {
    let done = match done {
        Ok(value) => sqlx::query("COMMIT").execute(&mut *connection).await.map(|_| value).map_err(HistoryError::from),
        failed @ Err(_) => failed,
    };
    if done.is_err() {
        undo(connection).await;
    }
    done
}

/// Fails when SQLite has undone it already, which is as well.
async fn undo(connection: &mut SqliteConnection) {
    drop(sqlx::query("ROLLBACK").execute(connection).await);
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection as _, sqlite::SqliteConnectOptions};

    use super::*;

    async fn run(connection: &mut SqliteConnection, sql: &str) -> Result<(), HistoryError> {
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(connection).await.map(drop).map_err(HistoryError::from)
    }

    async fn rows(connection: &mut SqliteConnection) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(connection).await.unwrap()
    }

    #[tokio::test]
    async fn after_a_full_disk_and_after_a_cancelled_caller_the_next_one_goes_through() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(folder.path().join("t.sqlite")).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        run(&mut connection, "CREATE TABLE t(x)").await.unwrap();
        // A bound of pages is SQLITE_FULL as a full disk is.
        run(&mut connection, "PRAGMA max_page_count = 10").await.unwrap();
        begin(&mut connection).await.unwrap();
        let small = run(&mut connection, "INSERT INTO t VALUES (1)").await;
        assert!(small.is_ok());
        let large = run(&mut connection, "INSERT INTO t VALUES (zeroblob(1000000))").await;
        assert!(large.as_ref().unwrap_err().to_string().contains("full"), "{large:?}");
        assert!(end(&mut connection, large).await.is_err());
        assert_eq!(rows(&mut connection).await, 0, "all of it was undone");

        run(&mut connection, "PRAGMA max_page_count = 100000").await.unwrap();
        begin(&mut connection).await.unwrap();
        // Whoever began this one went away.
        run(&mut connection, "INSERT INTO t VALUES (2)").await.unwrap();
        begin(&mut connection).await.unwrap();
        let done = run(&mut connection, "INSERT INTO t VALUES (zeroblob(1000000))").await;
        end(&mut connection, done).await.unwrap();
        assert_eq!(rows(&mut connection).await, 1);
    }
}
