//! Installing packages in Python takes minutes; whoever wants can follow it, from the beginning and after the end.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use vt_backends::{PrepareObserver, PrepareStep};
use vt_types::timestamp::Timestamp;

use super::AgentView;
use crate::ServiceError;

/// Installations that are remembered; the oldest that has ended is forgotten first.
const REMEMBERED_MAX: usize = 32;
/// Installations that may go on or wait at the same time.
const UNFINISHED_MAX: usize = 8;
/// Lines kept of one installation; of more, the oldest are forgotten.
const LINES_MAX: usize = 500;

/// One installation, going on or ended.
pub struct Install {
    /// Number since the platform's start.
    pub id: u64,
    /// What is installed, for people.
    pub what: String,
    /// Who began it.
    pub user: String,
    /// When it began.
    pub began_at: Timestamp,
    progress: Mutex<Progress>,
    version: watch::Sender<u64>,
}

struct Progress {
    step: &'static str,
    lines: VecDeque<String>,
    forgotten: usize,
    outcome: Option<Result<InstallOutcome, ServiceError>>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct InstallOutcome {
    /// The installed agent.
    pub agent: AgentView,
    /// Why it could not be started, if that was wanted.
    pub start_error: Option<String>,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct InstallNews {
    /// `waiting`, `checking`, `environment`, `building`, `dependencies`, `unpacking`, `installing`, `starting`, `done` or `failed`.
    pub step: &'static str,
    /// Rough part of the work that is done, percent.
    pub percent: u8,
    /// Lines of the tools from the one that was asked for on.
    pub lines: Vec<String>,
    /// Number of the line after these; where to go on.
    pub next_line: usize,
    /// The end.
    pub outcome: Option<Result<InstallOutcome, ServiceError>>,
}

impl Install {
    fn new(id: u64, what: String, user: String, began_at: Timestamp) -> Self {
        let progress = Progress { step: "waiting", lines: VecDeque::new(), forgotten: 0, outcome: None };
        Self { id, what, user, began_at, progress: Mutex::new(progress), version: watch::Sender::new(0) }
    }

    /// How far it is, with the lines from number `from` on that are still kept.
    #[must_use]
    pub fn news(&self, from: usize) -> InstallNews {
        let progress = self.progress.lock();
        let skip = from.saturating_sub(progress.forgotten);
        InstallNews {
            step: progress.step,
            percent: percent(progress.step),
            lines: progress.lines.iter().skip(skip).cloned().collect(),
            next_line: progress.forgotten + progress.lines.len(),
            outcome: progress.outcome.clone(),
        }
    }

    /// Tells of every change from now on; the value means nothing.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// As the installation.
    pub async fn outcome(&self) -> Result<InstallOutcome, ServiceError> {
        let mut changes = self.changes();
        loop {
            if let Some(outcome) = self.progress.lock().outcome.clone() {
                return outcome;
            }
            // The sender lives as long as this.
            if changes.changed().await.is_err() {
                return Err(ServiceError::Unavailable("the platform is stopping".to_owned()));
            }
        }
    }

    pub(super) fn begin(&self, step: &'static str) {
        self.change(|progress| progress.step = step);
    }

    pub(super) fn end(&self, outcome: Result<InstallOutcome, ServiceError>) {
        self.change(|progress| {
            progress.step = if outcome.is_ok() { "done" } else { "failed" };
            progress.outcome = Some(outcome);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock());
        self.version.send_modify(|version| *version += 1);
    }
}

impl PrepareObserver for Install {
    fn on_step(&self, step: PrepareStep) {
        self.begin(step.as_str());
    }

    fn on_line(&self, line: &str) {
        self.change(|progress| {
            if progress.lines.len() == LINES_MAX {
                progress.lines.pop_front();
                progress.forgotten += 1;
            }
            progress.lines.push_back(line.to_owned());
        });
    }
}

/// Where each step begins; how long they take depends on the network more than on anything that is known here.
fn percent(step: &str) -> u8 {
    match step {
        "checking" => 2,
        "environment" => 5,
        "building" => 15,
        "dependencies" => 30,
        "unpacking" => 85,
        "installing" => 90,
        "starting" => 95,
        "done" | "failed" => 100,
        _ => 0,
    }
}

/// The installations since the platform's start.
#[derive(Default)]
pub(super) struct Installs {
    kept: Mutex<(u64, VecDeque<Arc<Install>>)>,
}

impl Installs {
    pub fn add(&self, what: &str, user: &str, now: Timestamp) -> Result<Arc<Install>, ServiceError> {
        let mut kept = self.kept.lock();
        let (last, installs) = &mut *kept;
        let is_unfinished = |install: &&Arc<Install>| install.progress.lock().outcome.is_none();
        if installs.iter().filter(is_unfinished).count() >= UNFINISHED_MAX {
            let text = format!("{UNFINISHED_MAX} agents are being installed already; try again when one of them is done");
            return Err(ServiceError::Unavailable(text));
        }
        if installs.len() >= REMEMBERED_MAX
            && let Some(at) = installs.iter().position(|install| !is_unfinished(&install))
        {
            installs.remove(at);
        }
        *last += 1;
        let install = Arc::new(Install::new(*last, what.to_owned(), user.to_owned(), now));
        installs.push_back(Arc::clone(&install));
        Ok(install)
    }

    pub fn by_id(&self, id: u64) -> Option<Arc<Install>> {
        self.kept.lock().1.iter().find(|install| install.id == id).cloned()
    }

    /// The newest first.
    pub fn all(&self) -> Vec<Arc<Install>> {
        self.kept.lock().1.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_numbers_go_on() {
        let installs = Installs::default();
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let add = || installs.add("x", "dana", now);
        let first = add().unwrap();
        for number in 0..LINES_MAX + 10 {
            first.on_line(&number.to_string());
        }
        let news = first.news(0);
        assert_eq!((news.lines.len(), news.lines[0].as_str(), news.next_line), (LINES_MAX, "10", LINES_MAX + 10));
        first.on_line("more");
        assert_eq!(first.news(news.next_line).lines, ["more"]);
        for _ in 1..UNFINISHED_MAX {
            add().unwrap();
        }
        assert!(matches!(add(), Err(ServiceError::Unavailable(_))));
        for _ in 0..2 * REMEMBERED_MAX {
            for install in installs.all() {
                install.end(Err(ServiceError::Conflict("x".to_owned())));
            }
            add().unwrap();
        }
        assert_eq!(installs.all().len(), REMEMBERED_MAX);
        assert!(installs.by_id(first.id).is_none() && installs.by_id(2 * 32 + 8).is_some());
    }
}
