//! Everything that keeps something: the home's files and the database.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use vt_backends::{
    AlertRepository, AuditRepository, ConfigRepository, InstallationRepository, KeyRepository, PeerAuthRepository, PolicyRepository,
    RevocationRepository, UserRepository,
};
use vt_config::Database;
use vt_storage_files::{FileConfigs, FileInstallations, FileKeys, FilePeerAuth, FilePolicy, FileUsers};
use vt_storage_sql::SqlStore;

/// The repositories.
pub struct Stores {
    pub users: Arc<dyn UserRepository>,
    pub configs: Arc<dyn ConfigRepository>,
    pub installations: Arc<dyn InstallationRepository>,
    pub policy: Arc<dyn PolicyRepository>,
    pub peer_auth: Arc<dyn PeerAuthRepository>,
    pub keys: Arc<dyn KeyRepository>,
    pub audit: Arc<dyn AuditRepository>,
    pub alerts: Arc<dyn AlertRepository>,
    pub revocations: Arc<dyn RevocationRepository>,
    sql: SqlStore,
}

impl Stores {
    /// Opens the database, brings its tables up to date, and takes up the home's files.
    ///
    /// # Errors
    /// If the database cannot be opened.
    pub async fn open(home: &Path, database: &Database) -> anyhow::Result<Self> {
        let sql = match database {
            Database::Sqlite(path) => SqlStore::open_sqlite(path).await,
            Database::Postgres(url) => SqlStore::open_postgres(url.expose()).await,
        }
        .with_context(|| format!("the database {database} cannot be used"))?;
        Ok(Self {
            users: Arc::new(FileUsers::new(home)),
            configs: Arc::new(FileConfigs::new(home)),
            installations: Arc::new(FileInstallations::new(home)),
            policy: Arc::new(FilePolicy::new(home)),
            peer_auth: Arc::new(FilePeerAuth::new(home)),
            keys: Arc::new(FileKeys::new(home)),
            audit: Arc::new(sql.audit()),
            alerts: Arc::new(sql.alerts()),
            revocations: Arc::new(sql.revocations()),
            sql,
        })
    }

    /// Closes the database in order.
    pub async fn close(self) {
        self.sql.close().await;
    }
}
