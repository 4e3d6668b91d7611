//! Opening a database, bringing it up to date, and handing out its repositories.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use chrono::DateTime;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};
use vt_backends::RepositoryError;
use vt_types::timestamp::Timestamp;

use crate::alerts::SqlAlerts;
use crate::audit::SqlAudit;
use crate::revocations::SqlRevocations;

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// How long a statement waits for a lock or a connection before it fails.
const WAIT: Duration = Duration::from_secs(5);
/// Connections that read from SQLite at the same time.
const SQLITE_READERS_MAX: u32 = 4;
/// Connections to PostgreSQL.
const POSTGRES_CONNECTIONS_MAX: u32 = 8;

/// Why a database could not be opened; the sentence is for the person who started the server.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL of a PostgreSQL database is wrong. It is not repeated, it may hold a password.
    #[error("the database URL cannot be used: {0}; write postgres://USER:PASSWORD@HOST/DATABASE")]
    Url(#[source] sqlx::Error),
    /// The file cannot be made or opened.
    #[error("the database {place} cannot be opened: {source}")]
    File {
        /// The path.
        place: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The database cannot be reached, or is no database.
    #[error("the database {place} cannot be used: {source}")]
    Connect {
        /// Path, or host and database.
        place: String,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// A newer version of the program has changed the tables.
    #[error("the database {place} was used by a newer version of this program (change {version}); start that version")]
    Newer {
        /// Path, or host and database.
        place: String,
        /// The unknown migration.
        version: i64,
    },
    /// Bringing the tables up to date failed; they are as before.
    #[error("the tables of the database {place} cannot be brought up to date: {source}")]
    Migrate {
        /// Path, or host and database.
        place: String,
        /// The cause.
        #[source]
        source: MigrateError,
    },
}

/// An open database with current tables. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SqlStore {
    pub(crate) pool: Pool,
    place: String,
}

/// The connections; every statement runs on either kind.
#[derive(Debug, Clone)]
pub(crate) enum Pool {
    Sqlite { writer: SqlitePool, readers: SqlitePool },
    Postgres(PgPool),
}

/// Runs the same code on the reading connections of either kind of database.
macro_rules! reading {
    ($store:expr, |$pool:ident| $body:expr) => {
        match &$store.pool {
            $crate::store::Pool::Sqlite { readers: $pool, .. } => $body,
            $crate::store::Pool::Postgres($pool) => $body,
        }
    };
}

/// Runs the same code on the writing connections of either kind of database.
macro_rules! writing {
    ($store:expr, |$pool:ident| $body:expr) => {
        match &$store.pool {
            $crate::store::Pool::Sqlite { writer: $pool, .. } => $body,
            $crate::store::Pool::Postgres($pool) => $body,
        }
    };
}

pub(crate) use {reading, writing};

impl SqlStore {
    /// Opens the SQLite file at `path`; a missing one is made with mode 0600, its directory must exist.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_sqlite(path: &Path) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        make_private(path).await.map_err(|source| StoreError::File { place: place.clone(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(WAIT)
            .foreign_keys(true);
        let connect = |source| StoreError::Connect { place: place.clone(), source };
        let one = SqlitePoolOptions::new().max_connections(1).acquire_timeout(WAIT).idle_timeout(None).max_lifetime(None);
        let writer = one.connect_with(options.clone()).await.map_err(connect)?;
        SQLITE_MIGRATIONS.run(&writer).await.map_err(|source| migrate_error(&place, source))?;
        let readers = SqlitePoolOptions::new().max_connections(SQLITE_READERS_MAX).acquire_timeout(WAIT);
        let readers = readers.connect_lazy_with(options.pragma("query_only", "ON"));
        Ok(Self { pool: Pool::Sqlite { writer, readers }, place })
    }

    /// Opens the PostgreSQL database of `url`, which must exist.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_postgres(url: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url).map_err(StoreError::Url)?.application_name("volttron");
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let place = format!("postgres://{}:{}/{database}", options.get_host(), options.get_port());
        let pool = PgPoolOptions::new().max_connections(POSTGRES_CONNECTIONS_MAX).acquire_timeout(WAIT);
        let pool = pool.connect_with(options).await.map_err(|source| StoreError::Connect { place: place.clone(), source })?;
        POSTGRES_MIGRATIONS.run(&pool).await.map_err(|source| migrate_error(&place, source))?;
        Ok(Self { pool: Pool::Postgres(pool), place })
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> SqlAudit {
        SqlAudit::new(self.clone())
    }

    /// Alerts.
    #[must_use]
    pub fn alerts(&self) -> SqlAlerts {
        SqlAlerts::new(self.clone())
    }

    /// Ended sessions.
    #[must_use]
    pub fn revocations(&self) -> SqlRevocations {
        SqlRevocations::new(self.clone())
    }

    /// Where the database is: a path, or host and name, without password.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether the database answers; for readiness.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`].
    pub async fn check(&self) -> Result<(), RepositoryError> {
        let result = writing!(self, |pool| sqlx::query("SELECT 1").execute(pool).await.map(drop));
        result.map_err(|source| self.unavailable(source))
    }

    /// Ends all connections after what is under way; SQLite's write-ahead log is folded into the file.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pool::Postgres(pool) => pool.close().await,
        }
    }

    pub(crate) fn unavailable(&self, source: sqlx::Error) -> RepositoryError {
        RepositoryError::Unavailable { what: format!("the database {}", self.place), source: Box::new(source) }
    }

    pub(crate) fn corrupt(&self, table: &str, problem: &str) -> RepositoryError {
        RepositoryError::Corrupt { place: format!("{}, table {table}", self.place), problem: problem.to_owned() }
    }

    /// A stored moment.
    pub(crate) fn moment(&self, table: &str, micros: i64) -> Result<Timestamp, RepositoryError> {
        DateTime::from_timestamp_micros(micros).ok_or_else(|| self.corrupt(table, &format!("{micros} is no time; delete the row")))
    }
}

/// PostgreSQL refuses NUL in texts, and SQLite's functions stop at it.
pub(crate) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A bound for `LIMIT`.
pub(crate) fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn migrate_error(place: &str, source: MigrateError) -> StoreError {
    let place = place.to_owned();
    match source {
        MigrateError::VersionMissing(version) => StoreError::Newer { place, version },
        MigrateError::Execute(source) => StoreError::Connect { place, source },
        source => StoreError::Migrate { place, source },
    }
}

/// SQLite gives the files of its write-ahead log the mode of the database.
async fn make_private(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    let make = move || OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop);
    tokio::task::spawn_blocking(make).await.map_err(io::Error::other)?
}
