//! Where history is kept: one trait, its back-ends (SQLite, PostgreSQL, an in-memory fake) and the durable cache in front of them.
//!
//! Map: `store` (the trait, its questions and answers), `query` (VOLTTRON's query parameters), `downsample` (many readings to few
//! buckets), `value` (a reading's value, compact), `config` (settings with VOLTTRON's names), `backends/` (one folder per store),
//! `catalog` (settings to store), `cache` (`backup.sqlite`), `ingest` (the process loop between a historian and its store),
//! `outbox` (the same cache in front of another platform), `fake` (a store in memory).
//!
//! Invariant: what `insert` or the cache has accepted is on disk and is found exactly once per (topic, timestamp), also after `kill -9`.
//! This crate knows neither the bus nor HTTP, and reads no clock: time is an argument.

pub mod backends;
pub mod cache;
pub mod catalog;
pub mod config;
pub mod downsample;
pub mod error;
pub mod fake;
pub mod ingest;
pub mod outbox;
pub mod query;
pub mod store;
mod transaction;
pub mod value;

pub use config::HistorianConfig;
pub use downsample::{Bucket, Downsampled};
pub use error::HistoryError;
pub use store::{HistoryQuery, HistoryStore, Order, Series, TimeSpan};
