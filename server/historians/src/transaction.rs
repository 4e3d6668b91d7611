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
