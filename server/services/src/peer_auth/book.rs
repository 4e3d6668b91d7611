//! The records in memory, in step with the store that people and tools edit beside us. What cannot be read never replaces what we have,
//! and is never overwritten. Changes take turns.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use vt_backends::repositories::Stamp;
use vt_backends::{PeerAuthRecords, PeerAuthRepository, RepositoryError};

use super::rules::Rules;
use crate::ServiceError;

/// The records and the rules made of them.
pub struct Book {
    store: Arc<dyn PeerAuthRepository>,
    current: ArcSwap<Current>,
    problem: Mutex<Option<String>>,
    /// Held while the store is read or written.
    stored: tokio::sync::Mutex<Stored>,
}

/// Records with their rules.
#[derive(Default)]
pub struct Current {
    pub records: PeerAuthRecords,
    pub rules: Rules,
}

#[derive(Default)]
struct Stored {
    stamp: Option<Stamp>,
    /// What is stored could not be understood; it is not to be overwritten.
    is_broken: bool,
}

impl Book {
    /// Reads the records. A store that cannot be understood gives none, and a problem: then nobody is admitted.
    pub async fn open(store: Arc<dyn PeerAuthRepository>) -> Result<Self, RepositoryError> {
        let book = Self { store, current: ArcSwap::default(), problem: Mutex::default(), stored: tokio::sync::Mutex::default() };
        book.refresh().await?;
        Ok(book)
    }

    pub fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Checks that the stored records could be understood.
    ///
    /// # Errors
    /// `Conflict` with what is wrong.
    pub async fn check(&self) -> Result<(), ServiceError> {
        if self.stored.lock().await.is_broken { Err(self.broken()) } else { Ok(()) }
    }

    fn broken(&self) -> ServiceError {
        let problem = self.problem().unwrap_or_default();
        ServiceError::Conflict(format!("peers cannot be changed until auth.json is repaired: {problem}"))
    }

    /// What is wrong with the stored records, if anything.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    /// Reads the store again if it changed; says whether the records may be others now.
    ///
    /// # Errors
    /// If the store cannot be looked at.
    pub async fn refresh(&self) -> Result<bool, RepositoryError> {
        let mut stored = self.stored.lock().await;
        self.refresh_locked(&mut stored).await
    }

    /// Changes the records: reads what people changed meanwhile, applies `change`, stores unless nothing changed, and only then uses the
    /// result.
    pub async fn change<T>(&self, change: impl FnOnce(&mut PeerAuthRecords) -> Result<T, ServiceError>) -> Result<T, ServiceError> {
        let mut stored = self.stored.lock().await;
        self.refresh_locked(&mut stored).await?;
        if stored.is_broken {
            return Err(self.broken());
        }
        let before = self.current();
        let mut records = before.records.clone();
        let result = change(&mut records)?;
        if records != before.records {
            self.save(&mut stored, &records).await?;
            self.replace(records, Vec::new());
        }
        Ok(result)
    }

    async fn save(&self, stored: &mut Stored, records: &PeerAuthRecords) -> Result<(), RepositoryError> {
        self.store.save(records).await?;
        stored.stamp = self.store.stamp().await?;
        Ok(())
    }

    async fn refresh_locked(&self, stored: &mut Stored) -> Result<bool, RepositoryError> {
        let stamp = self.store.stamp().await?;
        if stamp == stored.stamp {
            return Ok(false);
        }
        if stamp.is_none() {
            // Editors replace files; and a file that is gone must not shut every peer out in the middle of the day.
            self.report("auth.json is gone; peers are as they were, and the next change writes it again".to_owned());
            *stored = Stored::default();
            return Ok(false);
        }
        match self.store.load().await {
            Ok(loaded) => {
                *stored = Stored { stamp, is_broken: false };
                tracing::info!(allowed = loaded.records.allow.len(), denied = loaded.records.deny.len(), "auth.json was read");
                if loaded.needs_saving {
                    if let Some(version) = &loaded.migrated_from {
                        tracing::info!(version, "auth.json is of an older version; it is brought up to 1.4 and a copy is kept");
                    }
                    self.save(stored, &loaded.records).await?;
                }
                self.replace(loaded.records, loaded.warnings);
                Ok(true)
            }
            Err(error @ RepositoryError::Corrupt { .. }) => {
                *stored = Stored { stamp, is_broken: true };
                self.report(format!("{error}; peers are as they were"));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn replace(&self, records: PeerAuthRecords, mut warnings: Vec<String>) {
        let (rules, unusable) = Rules::of(&records);
        warnings.extend(unusable);
        *self.problem.lock() = None;
        if !warnings.is_empty() {
            self.report(warnings.join("; "));
        }
        self.current.store(Arc::new(Current { records, rules }));
    }

    fn report(&self, problem: String) {
        let mut current = self.problem.lock();
        if current.as_ref() != Some(&problem) {
            tracing::warn!(problem, "something is wrong with auth.json");
            *current = Some(problem);
        }
    }
}
