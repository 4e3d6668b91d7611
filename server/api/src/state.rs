//! What handlers share: the services, counters, and what only the process itself can tell.

use std::sync::Arc;

use vt_services::Services;

use crate::metrics::HttpStatistics;
use crate::socket::OpenTopics;

/// What the operating system says about this process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessUse {
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Processor time since the start, user and system, seconds.
    pub cpu_s: f64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Threads.
    pub threads: u64,
}

/// One number that only an adapter knows, as a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Name of the metric.
    pub name: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Now.
    pub value: u64,
}

type Readings = Box<dyn Fn() -> Vec<Reading> + Send + Sync>;

/// What the interface is built from.
pub struct ApiState {
    pub(crate) services: Services,
    pub(crate) http: HttpStatistics,
    pub(crate) open_topics: Arc<OpenTopics>,
    pub(crate) process: Option<Box<dyn Fn() -> ProcessUse + Send + Sync>>,
    pub(crate) readings: Option<Readings>,
    pub(crate) metrics_token: Option<String>,
}

impl ApiState {
    /// An interface to `services`.
    #[must_use]
    pub fn new(services: Services) -> Self {
        Self { services, http: HttpStatistics::default(), open_topics: Arc::default(), process: None, readings: None, metrics_token: None }
    }

    /// Adds memory and processor time to `/metrics`.
    #[must_use]
    pub fn with_process(mut self, read: impl Fn() -> ProcessUse + Send + Sync + 'static) -> Self {
        self.process = Some(Box::new(read));
        self
    }

    /// Adds what adapters count to `/metrics`.
    #[must_use]
    pub fn with_readings(mut self, read: impl Fn() -> Vec<Reading> + Send + Sync + 'static) -> Self {
        self.readings = Some(Box::new(read));
        self
    }

    /// A fixed token with which a collector on another machine may read `/metrics`, as `Authorization: Bearer <token>`.
    #[must_use]
    pub fn with_metrics_token(mut self, token: String) -> Self {
        self.metrics_token = Some(token).filter(|token| !token.is_empty());
        self
    }
}
