//! The task that owns store and cache: takes batches, submits what is cached, drops what is too old, tells how it is going.
//! It ends when nobody can send to it any more, with everything it was given on disk.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use vt_agent::AgentContext;
use vt_historians::{
    HistorianConfig, HistoryError, HistoryStore,
    cache::Cache,
    ingest::{Ingest, IngestHealth, Submitted},
    store::Retention,
};
use vt_types::StatusWord;

use super::capture::Captured;

/// Batches that wait for the store; then the agent takes in no more, and its publications wait in its queue.
const QUEUE_BATCHES: usize = 4;
/// How often old readings are dropped.
const RETENTION_PERIOD: Duration = Duration::from_secs(600);
/// Pause when neither store nor cache take a batch.
const BLOCKED_RETRY: Duration = Duration::from_secs(1);
/// How often the status is looked at when nothing happens.
const STATUS_PERIOD: Duration = Duration::from_secs(10);

/// VOLTTRON's alert for records whose time is out of tolerance.
const TIME_ERROR_ALERT: &str = "Historian received records with invalid timestamp. Please check records in time_error table.";

type Reply = oneshot::Sender<Result<(), HistoryError>>;

/// A batch on its way to the store; with a reply for an insert call.
struct Job {
    captured: Captured,
    reply: Option<Reply>,
}

/// Where insert calls send their records. Weak: it does not keep the task alive.
#[derive(Clone)]
pub struct Inserts(mpsc::WeakSender<Job>);

impl Inserts {
    /// Stores records; they are on disk when it returns.
    pub async fn insert(&self, captured: Captured) -> Result<(), HistoryError> {
        let sender = self.0.upgrade().ok_or(HistoryError::Closed)?;
        let (reply, answer) = oneshot::channel();
        sender.send(Job { captured, reply: Some(reply) }).await.map_err(|_| HistoryError::Closed)?;
        drop(sender);
        answer.await.map_err(|_| HistoryError::Closed)?
    }
}

/// The task's handle. Dropping it without `end` aborts the task.
pub struct Pipeline {
    jobs: Option<mpsc::Sender<Job>>,
    readonly: bool,
    attempted: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pipeline {
    /// Starts the task. A historian that only answers sets its store up and has no cache.
    ///
    /// # Errors
    /// The cache cannot be opened.
    pub async fn start(context: &AgentContext, config: &HistorianConfig, store: &Arc<dyn HistoryStore>) -> Result<Self, HistoryError> {
        let (jobs, queue) = mpsc::channel(QUEUE_BATCHES);
        let report = Report::new(context.clone(), config);
        let (attempt, attempted) = watch::channel(false);
        let task = if config.readonly {
            tokio::spawn(set_up_only(Arc::clone(store), queue, report, config.retry_period, attempt))
        } else {
            let cache = Cache::open(&context.data_dir().join("backup.sqlite")).await?;
            let worker = Worker {
                ingest: Ingest::new(Arc::clone(store), cache, config),
                store: Arc::clone(store),
                retention: config.retention,
                report,
                attempt,
                submission: None,
                pruning: None,
                pruned_at: None,
            };
            tokio::spawn(worker.run(queue))
        };
        Ok(Self { jobs: Some(jobs), readonly: config.readonly, attempted, task })
    }

    /// Turns true when the first attempt to set the store up has ended.
    pub fn attempted(&self) -> watch::Receiver<bool> {
        self.attempted.clone()
    }

    /// Where insert calls go.
    pub fn inserts(&self) -> Option<Inserts> {
        self.jobs.as_ref().filter(|_| !self.readonly).map(|jobs| Inserts(jobs.downgrade()))
    }

    /// Hands a batch over; waits while the queue is full.
    pub async fn store(&self, captured: Captured) {
        if captured.is_empty() {
            return;
        }
        if let Some(jobs) = &self.jobs
            && jobs.send(Job { captured, reply: None }).await.is_err()
        {
            tracing::error!("the historian's writer has ended; records are lost until the agent is restarted");
        }
    }

    /// Ends the task after it has stored what it was given.
    pub async fn end(mut self) {
        self.jobs = None;
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the historian's writer did not end well");
        }
    }
}

type Work<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

struct Worker {
    ingest: Ingest,
    store: Arc<dyn HistoryStore>,
    retention: Retention,
    report: Report,
    attempt: watch::Sender<bool>,
    submission: Work<Submitted>,
    pruning: Work<Result<(), HistoryError>>,
    pruned_at: Option<Instant>,
}

impl Worker {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        loop {
            self.start_what_is_due().await;
            self.report.tell(&self.ingest);
            let wake = self.wake_at();
            tokio::select! {
                job = queue.recv() => match job {
                    Some(job) => self.take(job, &mut queue).await,
                    None => break,
                },
                submitted = pending_or(&mut self.submission) => {
                    self.submission = None;
                    if let Err(error) = self.ingest.finish(submitted, Instant::now()).await {
                        tracing::error!(%error, "the historian's cache failed");
                    }
                    self.attempt.send_replace(true);
                }
                pruned = pending_or(&mut self.pruning) => {
                    self.pruning = None;
                    self.ingest.set_size_error(pruned.is_err());
                    if let Err(error) = pruned {
                        tracing::error!(%error, "old history could not be dropped");
                    }
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
        // A submission under way may be committed; letting it finish spares doing it again.
        if let Some(submission) = self.submission.take() {
            let submitted = submission.await;
            if let Err(error) = self.ingest.finish(submitted, Instant::now()).await {
                tracing::error!(%error, "the historian's cache failed");
            }
        }
        self.ingest.close().await;
    }

    async fn start_what_is_due(&mut self) {
        let now = Instant::now();
        if self.submission.is_none() && self.ingest.is_due(now) {
            match self.ingest.begin().await {
                Ok(submission) => self.submission = Some(Box::pin(submission.run())),
                Err(error) => {
                    tracing::error!(%error, "the historian's cache cannot be read");
                    tokio::time::sleep(BLOCKED_RETRY).await;
                }
            }
        }
        let due = self.pruned_at.is_none_or(|at| now.duration_since(at) >= RETENTION_PERIOD);
        if due && self.pruning.is_none() && self.ingest.is_ready() && self.retention != Retention::default() {
            self.pruned_at = Some(now);
            let (store, retention) = (Arc::clone(&self.store), self.retention);
            self.pruning = Some(Box::pin(async move { store.apply_retention(retention).await }));
        }
    }

    fn wake_at(&self) -> Instant {
        let status = Instant::now() + STATUS_PERIOD;
        self.ingest.retry_at().map_or(status, |retry| retry.min(status))
    }

    /// Stores a batch. One that was published waits until it can be; one of a call is refused when it cannot.
    async fn take(&mut self, job: Job, queue: &mut mpsc::Receiver<Job>) {
        let Job { captured: Captured { records, invalid }, mut reply } = job;
        let records = Arc::new(records);
        loop {
            let taken = self.ingest.take(Arc::clone(&records), &invalid, Instant::now()).await;
            if let Some(reply) = reply.take() {
                // A caller that gave up has no use for the answer.
                reply.send(taken).unwrap_or_default();
                return;
            }
            let Err(error) = taken else { return };
            tracing::error!(%error, "neither the history store nor the cache takes records; publications wait");
            self.report.blocked(self.ingest.health());
            tokio::time::sleep(BLOCKED_RETRY).await;
            if queue.is_closed() {
                tracing::error!(records = records.len(), "records are lost because the historian stops");
                return;
            }
        }
    }
}

/// A future that may be absent; absent ones never complete.
async fn pending_or<T>(future: &mut Work<T>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn set_up_only(
    store: Arc<dyn HistoryStore>,
    mut queue: mpsc::Receiver<Job>,
    report: Report,
    retry_period: Duration,
    attempt: watch::Sender<bool>,
) {
    let mut wait = BLOCKED_RETRY;
    loop {
        let attempted = store.set_up().await;
        attempt.send_replace(true);
        match attempted {
            Ok(()) => break,
            Err(error) => {
                tracing::warn!(%error, retry_s = wait.as_secs(), "the history store cannot be set up");
                report.context.set_status(StatusWord::Bad, error.to_string());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = wait.saturating_mul(2).min(retry_period.max(BLOCKED_RETRY)),
            _ = queue.recv() => return,
        }
    }
    report.context.set_status(StatusWord::Good, "readonly");
    // Nothing is sent to it; this is the wish to end.
    while queue.recv().await.is_some() {}
}

/// Status and alerts.
pub struct Report {
    context: AgentContext,
    publish_count: u64,
    /// Health, lost publications and whether the store is set up, as last told.
    told: Option<(IngestHealth, u64, bool)>,
    logged_records: u64,
}

impl Report {
    /// Tells as `context`.
    pub fn new(context: AgentContext, config: &HistorianConfig) -> Self {
        Self { context, publish_count: config.message_publish_count, told: None, logged_records: 0 }
    }

    /// Tells what is new.
    pub fn tell(&mut self, ingest: &Ingest) {
        let (health, stored, ready) = (ingest.health(), ingest.stored_count(), ingest.is_ready());
        if self.publish_count > 0 && stored / self.publish_count > self.logged_records / self.publish_count {
            tracing::info!("Historian processed {stored} total records.");
            self.logged_records = stored;
        }
        let lost = self.context.peer().lost();
        if self.told == Some((health, lost, ready)) {
            return;
        }
        let before = self.told.replace((health, lost, ready));
        let lost_before = before.map_or(0, |(_, lost, _)| lost);
        if lost > lost_before {
            let missed = lost - lost_before;
            tracing::warn!(missed, lost, "more was published than can be stored; {missed} messages are missing in history");
        }
        let mut context = health.context();
        context.insert("publications_lost".to_owned(), lost.into());
        let word = match (health.is_good(), ready) {
            (false, _) => StatusWord::Bad,
            (true, false) => StatusWord::Starting,
            (true, true) => StatusWord::Good,
        };
        self.context.set_status(word, context.clone());
        let before = before.map(|(health, ..)| health);
        for (key, now, was) in [
            ("historian_not_publishing", !health.publishing && !health.cache_only_enabled, before.is_some_and(|before| !before.publishing)),
            ("historian_cache_full", health.cache_full, before.is_some_and(|before| before.cache_full)),
            ("error_managing_db_size", health.error_managing_db_size, before.is_some_and(|before| before.error_managing_db_size)),
            (TIME_ERROR_ALERT, health.records_with_invalid_timestamp, before.is_some_and(|before| before.records_with_invalid_timestamp)),
        ] {
            if now && !was {
                self.context.send_alert(key, StatusWord::Bad, context.clone());
            }
        }
    }

    /// Neither store nor cache take anything.
    pub fn blocked(&mut self, health: IngestHealth) {
        let mut context = health.context();
        context.insert("publishing".to_owned(), false.into());
        context.insert("publications_lost".to_owned(), self.context.peer().lost().into());
        self.context.set_status(StatusWord::Bad, context.clone());
        if self.told.take().is_some() {
            self.context.send_alert("process_loop_failed", StatusWord::Bad, context);
        }
    }
}
