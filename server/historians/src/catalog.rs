//! The back-ends: from settings to a store.

use std::{path::Path, sync::Arc};

use crate::{
    backends::{postgres::PostgresHistory, sqlite::SqliteHistory},
    config::{Connection, TableNames},
    store::HistoryStore,
};

/// The store that `connection` names. Opens nothing yet; a relative SQLite file lies in `data_directory`.
#[must_use]
pub fn build(connection: &Connection, tables: &TableNames, data_directory: &Path) -> Arc<dyn HistoryStore> {
    match connection {
        Connection::Postgres(params) => Arc::new(PostgresHistory::new(params, tables.clone())),
        Connection::Sqlite { database } => Arc::new(SqliteHistory::new(data_directory.join(database), tables.clone())),
    }
}
