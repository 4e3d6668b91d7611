//! Log lines kept for the live log: a ring per source, so that a chatty agent never pushes out another's lines. Whoever logs never waits.
//! What survives a restart is the log file's business.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::broadcast;
use vt_types::timestamp::Timestamp;

/// Lines held for a slow follower; one that falls behind is told so.
const FOLLOWED_MAX: usize = 4096;
/// Sources kept; the one that was silent for longest goes when another comes.
const SOURCES_MAX: usize = 1024;
/// Longest text kept of a line, in bytes.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// How serious a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// For developers.
    Debug,
    /// Ordinary life.
    Info,
    /// Worth a look.
    Warning,
    /// Something failed.
    Error,
    /// The platform is in danger.
    Critical,
}

impl LogLevel {
    /// As in VOLTTRON's log: `DEBUG`, `INFO`, `WARNING`, `ERROR`, `CRITICAL`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }
}

/// A line to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLogLine {
    /// When it was written.
    pub at: Timestamp,
    /// Which agent wrote it; `None` for the platform.
    pub identity: Option<String>,
    /// How serious it is.
    pub level: LogLevel,
    /// Name of the logger.
    pub logger: String,
    /// The text, fields included.
    pub text: String,
}

/// A kept line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Rises with each line of any source.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// Which agent wrote it; `None` for the platform.
    pub identity: Option<String>,
    /// How serious it is.
    pub level: LogLevel,
    /// Name of the logger.
    pub logger: String,
    /// The text, fields included.
    pub text: String,
}

/// The newest log lines of each source.
#[derive(Debug)]
pub struct LogBook {
    lines_per_source_max: usize,
    state: Mutex<State>,
    news: broadcast::Sender<Arc<LogLine>>,
}

#[derive(Debug, Default)]
struct State {
    last_seq: u64,
    sources: HashMap<Option<String>, VecDeque<Arc<LogLine>>>,
}

impl LogBook {
    /// An empty book that keeps so many lines of each source.
    #[must_use]
    pub fn new(lines_per_source_max: usize) -> Self {
        Self { lines_per_source_max: lines_per_source_max.max(1), state: Mutex::default(), news: broadcast::channel(FOLLOWED_MAX).0 }
    }

    /// Keeps a line. Never waits; the oldest line of the source goes when its ring is full.
    pub fn push(&self, line: NewLogLine) {
        let mut text = line.text;
        if text.len() > TEXT_BYTES_MAX {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
            text.push_str(" …");
        }
        let mut state = self.state.lock();
        state.last_seq += 1;
        let source = line.identity.clone();
        let line =
            Arc::new(LogLine { seq: state.last_seq, at: line.at, identity: line.identity, level: line.level, logger: line.logger, text });
        state.make_room_for(&source);
        let ring = state.sources.entry(source).or_default();
        if ring.len() >= self.lines_per_source_max {
            ring.pop_front();
        }
        ring.push_back(Arc::clone(&line));
        // Sent under the lock so that followers get lines in order. An error means that nobody follows.
        drop(self.news.send(line));
    }

    /// The newest `limit` lines after `after_seq`, oldest first: of one source, or of all with `None`.
    #[must_use]
    pub fn tail(&self, identity: Option<&str>, limit: usize, after_seq: Option<u64>) -> Vec<LogLine> {
        let state = self.state.lock();
        let after = after_seq.unwrap_or(0);
        let newest = |ring: &VecDeque<Arc<LogLine>>| -> Vec<Arc<LogLine>> {
            ring.iter().rev().take_while(|line| line.seq > after).take(limit).cloned().collect()
        };
        let mut lines: Vec<Arc<LogLine>> = match identity {
            Some(identity) => state.sources.get(&Some(identity.to_owned())).map(newest).unwrap_or_default(),
            None => state.sources.values().flat_map(newest).collect(),
        };
        drop(state);
        lines.sort_unstable_by_key(|line| std::cmp::Reverse(line.seq));
        lines.truncate(limit);
        lines.iter().rev().map(|line| LogLine::clone(line)).collect()
    }

    /// Lines from now on.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Arc<LogLine>> {
        self.news.subscribe()
    }
}

impl State {
    fn make_room_for(&mut self, source: &Option<String>) {
        if self.sources.len() < SOURCES_MAX || self.sources.contains_key(source) {
            return;
        }
        let quietest = self
            .sources
            .iter()
            .filter(|(source, _)| source.is_some())
            .min_by_key(|(_, ring)| ring.back().map_or(0, |line| line.seq))
            .map(|(source, _)| source.clone());
        if let Some(quietest) = quietest {
            self.sources.remove(&quietest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(identity: Option<&str>, text: &str) -> NewLogLine {
        NewLogLine {
            at: Timestamp::default(),
            identity: identity.map(str::to_owned),
            level: LogLevel::Info,
            logger: "test".to_owned(),
            text: text.to_owned(),
        }
    }

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn a_chatty_agent_does_not_push_out_anothers_lines() {
        let book = LogBook::new(3);
        book.push(line(Some("quiet"), "once"));
        for n in 0..100 {
            book.push(line(Some("chatty"), &n.to_string()));
        }
        assert_eq!(texts(&book.tail(Some("quiet"), 10, None)), ["once"]);
        assert_eq!(texts(&book.tail(Some("chatty"), 10, None)), ["97", "98", "99"]);
        assert_eq!(texts(&book.tail(Some("chatty"), 2, None)), ["98", "99"]);
        assert_eq!(texts(&book.tail(None, 2, None)), ["98", "99"]);
    }

    #[test]
    fn lines_after_a_number_are_those_not_yet_seen() {
        let book = LogBook::new(10);
        book.push(line(None, "a"));
        let seen = book.tail(None, 10, None).last().unwrap().seq;
        assert!(book.tail(None, 10, Some(seen)).is_empty());
        book.push(line(Some("x"), "b"));
        assert_eq!(texts(&book.tail(None, 10, Some(seen))), ["b"]);
    }

    #[test]
    fn sources_and_texts_are_bounded() {
        let book = LogBook::new(1);
        book.push(line(None, "platform"));
        for n in 0..SOURCES_MAX + 10 {
            book.push(line(Some(&format!("agent.{n}")), "x"));
        }
        assert!(book.state.lock().sources.len() <= SOURCES_MAX);
        assert!(book.tail(Some("agent.0"), 1, None).is_empty(), "the quietest source went");
        assert_eq!(texts(&book.tail(None, 2000, None)).first(), Some(&"platform"), "the platform's own lines stay");
        book.push(line(Some("big"), &"é".repeat(TEXT_BYTES_MAX)));
        assert!(book.tail(Some("big"), 1, None)[0].text.len() < TEXT_BYTES_MAX + 8);
    }

    #[tokio::test]
    async fn followers_get_new_lines_in_order() {
        let book = LogBook::new(10);
        let mut follower = book.follow();
        book.push(line(None, "a"));
        book.push(line(None, "b"));
        assert_eq!(follower.recv().await.unwrap().text, "a");
        assert_eq!(follower.recv().await.unwrap().text, "b");
    }
}
