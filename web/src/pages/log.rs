//! An agent's log: the newest lines in its page, all kept lines as text, and new lines as a stream of events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use vt_services::{LogLine, Services};
use vt_types::Identity;

use super::agent::identity;
use crate::cx::Viewer;
use crate::error::PageError;
use crate::routes::Web;
use crate::ui;

/// Lines shown in a page, and sent to a stream that fell behind.
const TAIL_LINES: usize = 300;
/// Lines in a download.
const DOWNLOAD_LINES: usize = 10_000;
/// How often a stream looks whether its viewer's session still holds.
const SESSION_CHECK: Duration = Duration::from_secs(15);

/// A line in the page.
#[derive(Debug, Clone)]
pub struct LogRow {
    /// `error` and so on.
    pub class: String,
    /// `ERROR` and so on.
    pub level: &'static str,
    /// When, for scripts.
    pub at_iso: String,
    /// When, UTC.
    pub at_short: String,
    /// Logger and text.
    pub text: String,
}

impl LogRow {
    /// A line as it is shown.
    #[must_use]
    pub fn of(line: &LogLine) -> Self {
        Self {
            class: line.level.as_str().to_ascii_lowercase(),
            level: line.level.as_str(),
            at_iso: ui::stamp(line.at),
            at_short: line.at.format("%H:%M:%S").to_string(),
            text: ui::visible(&line.text),
        }
    }
}

/// The newest lines of an agent, oldest first.
pub fn tail(services: &Services, identity: &Identity) -> Vec<LogLine> {
    services.logs.tail(Some(identity.as_str()), TAIL_LINES, None)
}

/// `GET /agents/{identity}/log.txt`
pub async fn download(viewer: Viewer, Path(name): Path<String>) -> Result<Response, PageError> {
    let identity = identity(&name)?;
    let lines = viewer.cx.web.services.logs.tail(Some(identity.as_str()), DOWNLOAD_LINES, None);
    let text: String =
        lines.iter().map(|line| format!("{} {} {}: {}\n", ui::stamp(line.at), line.level.as_str(), line.logger, line.text)).collect();
    let disposition = format!("attachment; filename=\"{identity}.log\"");
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, disposition)], text).into_response())
}

/// Where a stream goes on: after this place.
#[derive(Debug, Deserialize)]
pub struct After {
    #[serde(default)]
    after: String,
}

/// A place in the log that no other run of the server has: numbers of lines begin anew with every start.
pub fn place(services: &Services, seq: u64) -> String {
    format!("{}-{seq}", services.instance.started_at.timestamp_millis())
}

/// The number at a place of this run; a place of another run is before everything.
fn number_at(services: &Services, text: &str) -> u64 {
    let seq = text.rsplit_once('-').and_then(|(_, seq)| seq.parse().ok()).unwrap_or(0);
    if place(services, seq) == text { seq } else { 0 }
}

/// `GET /agents/{identity}/log/stream`: events `line` with `{at, level, text}` and id, `lagged` with a count.
pub async fn stream(
    viewer: Viewer,
    Path(name): Path<String>,
    Query(query): Query<After>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let identity = identity(&name)?;
    // A browser that reconnects says which line it had.
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let after = number_at(&viewer.cx.web.services, resumed.unwrap_or(&query.after));
    let logs = &viewer.cx.web.services.logs;
    let news = logs.follow();
    let waiting = logs.tail(Some(identity.as_str()), TAIL_LINES, Some(after));
    let follower = Follower { web: viewer.cx.web, session: viewer.session.id, identity, after, waiting: waiting.into_iter(), news };
    Ok(Sse::new(follower.events()).keep_alive(KeepAlive::new().interval(SESSION_CHECK)).into_response())
}

struct Follower {
    web: Arc<Web>,
    session: String,
    identity: Identity,
    after: u64,
    waiting: std::vec::IntoIter<LogLine>,
    news: Receiver<Arc<LogLine>>,
}

impl Follower {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut follower| async move {
            let event = follower.next().await?;
            Some((Ok(event), follower))
        })
    }

    /// The next event; `None` when the session or the platform ended.
    async fn next(&mut self) -> Option<Event> {
        if let Some(line) = self.waiting.next() {
            return Some(self.event(&line));
        }
        let mut check = tokio::time::interval(SESSION_CHECK);
        loop {
            tokio::select! {
                _ = check.tick() => {
                    if !self.web.services.auth.is_active(&self.session) {
                        return None;
                    }
                }
                line = self.news.recv() => match line {
                    Ok(line) if line.seq > self.after && line.identity.as_deref() == Some(self.identity.as_str()) => return Some(self.event(&line)),
                    Ok(_) => {}
                    Err(RecvError::Lagged(missed)) => return Some(Event::default().event("lagged").data(missed.to_string())),
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    fn event(&mut self, line: &LogLine) -> Event {
        self.after = line.seq;
        let record = json!({"at": ui::stamp(line.at), "level": line.level.as_str(), "text": ui::visible(&line.text)});
        Event::default().event("line").id(place(&self.web.services, line.seq)).data(record.to_string())
    }
}
