//! One repository trait per kind of record. Look-ups return `Option`; absence is no error.

pub mod alerts;
pub mod audit;
pub mod configs;
pub mod installations;
pub mod keys;
pub mod peer_auth;
pub mod policy;
pub mod revocations;
pub mod users;

/// Changes whenever the stored content may have changed; only equality means anything.
pub type Stamp = String;

/// Why a repository could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The store cannot be reached or written.
    #[error("{what} could not be stored or read: {source}")]
    Unavailable {
        /// Which store, with its place if it has one.
        what: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What is stored cannot be understood; `place` names file and line or table and key.
    #[error("{place}: {problem}")]
    Corrupt {
        /// Where.
        place: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The record to be made exists.
    #[error("{0} already exists")]
    AlreadyExists(String),
    /// The record to be changed does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
}

/// What a load gives: the good records, and one sentence for each thing that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded<T> {
    /// The records.
    pub records: T,
    /// What was left out and why.
    pub warnings: Vec<String>,
}
