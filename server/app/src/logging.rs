//! Log lines: for people in VOLTTRON's layout or as JSON, and for the pages in the log book. Writing never holds up whoever logs: lines go
//! through a bounded queue to a thread; when it is full, lines are lost and the loss is told.
//!
//! Layout: `<date> <time>,<ms> (<agent> <pid>) <logger> <LEVEL>: <text>`; empty brackets for the platform itself. Source: VOLTTRON
//! `volttron/platform/agent/utils.py`; scripts look for this form.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::Local;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, span};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context as LayerContext, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};
use vt_config::{LogFormat, LogSettings, LogTarget};
use vt_services::{LogBook, LogLevel, NewLogLine};
use vt_types::Clock;

/// Lines that may wait for the writer. When full, further lines are lost and counted.
const LINES_MAX: usize = 8192;
/// Libraries whose lower levels tell about themselves, not about the platform. `log-level` may still ask for them.
const LIBRARIES: &[&str] = &["h2", "hyper", "hyper_util", "rustls", "sqlx", "tokio", "tokio_modbus", "tungstenite"];
/// How often the writer looks whether its file was moved away.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Ends logging in order when dropped: what was logged is written.
pub struct Logging {
    lines: Option<SyncSender<String>>,
    writer: Option<JoinHandle<()>>,
}

/// Starts logging for the whole process.
///
/// # Errors
/// If the log file cannot be opened.
pub fn start(settings: &LogSettings, book: Arc<LogBook>, clock: Arc<dyn Clock>) -> anyhow::Result<Logging> {
    let output = Output::open(&settings.target)?;
    let (sender, receiver) = sync_channel(LINES_MAX);
    let lost = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&lost);
    let writer = std::thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(output, &receiver, &counter))?;
    let level = |level: vt_config::LogLevel| level.as_str().parse::<LevelFilter>().unwrap_or(LevelFilter::WARN);
    let quiet = LIBRARIES.iter().fold(Targets::new().with_default(level(settings.level)), |targets, library| {
        targets.with_target(*library, level(settings.level).min(LevelFilter::WARN))
    });
    let targets = settings.modules.iter().fold(quiet, |targets, (module, of)| targets.with_target(module.clone(), level(*of)));
    let lines = Lines { format: settings.format, queue: sender.clone(), lost };
    Registry::default()
        .with(lines.with_filter(targets))
        .with(
            Book { book, clock }.with_filter(
                LIBRARIES.iter().fold(Targets::new().with_default(LevelFilter::INFO), |targets, library| {
                    targets.with_target(*library, LevelFilter::WARN)
                }),
            ),
        )
        .try_init()
        .context("logging was started twice")?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(Logging { lines: Some(sender), writer: Some(writer) })
}

/// A panic ends one task or one agent, not the platform; where it was belongs into the log like any other fault.
fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("no text");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, thread = std::thread::current().name(), "panic: {message}");
}

impl Logging {
    /// Writes what waits and ends the writer. The queue's other end stays with the process-wide subscriber, so an empty line is the sign.
    fn end(&mut self) {
        if let Some(lines) = self.lines.take() {
            // The writer has ended already if nobody receives.
            drop(lines.send(String::new()));
        }
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.end();
    }
}

/// Lines for people or machines that read a stream.
struct Lines {
    format: LogFormat,
    queue: SyncSender<String>,
    lost: Arc<AtomicU64>,
}

/// Lines for the pages.
struct Book {
    book: Arc<LogBook>,
    clock: Arc<dyn Clock>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: LayerContext<'_, S>) {
        remember_agent(attributes, id, &context);
    }

    fn on_event(&self, event: &Event<'_>, context: LayerContext<'_, S>) {
        let said = Said::of(event);
        let agent = agent_of(event, &context);
        let line = match self.format {
            LogFormat::Text => text_line(event, &said, agent.as_ref()),
            LogFormat::Json => json_line(event, said, agent),
        };
        if self.queue.try_send(line).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Book {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: LayerContext<'_, S>) {
        remember_agent(attributes, id, &context);
    }

    fn on_event(&self, event: &Event<'_>, context: LayerContext<'_, S>) {
        let said = Said::of(event);
        self.book.push(NewLogLine {
            at: self.clock.now(),
            identity: agent_of(event, &context).map(|agent| agent.identity),
            level: match *event.metadata().level() {
                Level::ERROR => LogLevel::Error,
                Level::WARN => LogLevel::Warning,
                Level::INFO => LogLevel::Info,
                _ => LogLevel::Debug,
            },
            logger: said.logger(event),
            text: said.text(),
        });
    }
}

/// Which agent's span an event is in.
#[derive(Debug, Clone, Default)]
struct AgentFields {
    identity: String,
    name: String,
    pid: String,
}

impl Visit for AgentFields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.take(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.to_owned());
    }
}

impl AgentFields {
    fn take(&mut self, field: &Field, text: String) {
        match field.name() {
            "agent" => self.identity = text,
            "agent_name" => self.name = text,
            "pid" => self.pid = text,
            _ => {}
        }
    }
}

fn remember_agent<S: Subscriber + for<'a> LookupSpan<'a>>(attributes: &span::Attributes<'_>, id: &span::Id, context: &LayerContext<'_, S>) {
    if attributes.metadata().fields().field("agent").is_none() {
        return;
    }
    let mut fields = AgentFields::default();
    attributes.record(&mut fields);
    if let Some(span) = context.span(id) {
        span.extensions_mut().replace(fields);
    }
}

fn agent_of<S: Subscriber + for<'a> LookupSpan<'a>>(event: &Event<'_>, context: &LayerContext<'_, S>) -> Option<AgentFields> {
    context.event_scope(event)?.find_map(|span| span.extensions().get::<AgentFields>().cloned())
}

/// Message and fields of an event.
#[derive(Debug, Default)]
struct Said {
    logger: Option<String>,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Said {
    fn of(event: &Event<'_>) -> Self {
        let mut said = Self::default();
        event.record(&mut said);
        said
    }

    /// The name it says itself, as relayed lines of agents do, else that of the module.
    fn logger(&self, event: &Event<'_>) -> String {
        self.logger.clone().unwrap_or_else(|| logger(event.metadata().target()))
    }

    fn text(&self) -> String {
        let mut text = self.message.clone();
        for (name, value) in &self.fields {
            let blank = if text.is_empty() { "" } else { " " };
            match value {
                Value::String(value) => text.push_str(&format!("{blank}{name}={value:?}")),
                value => text.push_str(&format!("{blank}{name}={value}")),
            }
        }
        visible(&text)
    }

    fn take(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("message", value) => self.message = value.to_string(),
            ("logger", Value::String(name)) => self.logger = Some(name),
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.take(field, Value::String(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, value.into());
    }
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

/// `vt_agents::historian::actor` as `agents.historian.actor`; targets that are names already stay.
fn logger(target: &str) -> String {
    target.strip_prefix("vt_").unwrap_or(target).replace("::", ".")
}

fn text_line(event: &Event<'_>, said: &Said, agent: Option<&AgentFields>) -> String {
    let time = Local::now().format("%Y-%m-%d %H:%M:%S,%3f");
    let who = agent.map(|agent| format!("{} {}", agent.name, agent.pid)).unwrap_or_default();
    let metadata = event.metadata();
    format!("{time} ({who}) {} {}: {}\n", said.logger(event), level_word(*metadata.level()), said.text())
}

fn json_line(event: &Event<'_>, said: Said, agent: Option<AgentFields>) -> String {
    let metadata = event.metadata();
    let mut object = Map::new();
    object.insert("time".to_owned(), Local::now().to_rfc3339().into());
    object.insert("level".to_owned(), level_word(*metadata.level()).into());
    object.insert("logger".to_owned(), said.logger(event).into());
    if let Some(agent) = agent {
        object.insert("agent".to_owned(), agent.identity.into());
        object.insert("pid".to_owned(), agent.pid.into());
    }
    object.insert("message".to_owned(), said.message.into());
    for (name, value) in said.fields {
        object.insert(name.to_owned(), value);
    }
    format!("{}\n", Value::Object(object))
}

/// Control characters other than line ends and tabs made visible, so that a message cannot drive a terminal.
fn visible(text: &str) -> String {
    text.chars().map(|c| if vt_types::topic::is_control(c) && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

enum Output {
    Stderr,
    Stdout,
    File { path: PathBuf, file: File },
}

impl Output {
    fn open(target: &LogTarget) -> anyhow::Result<Self> {
        Ok(match target {
            LogTarget::Stderr => Self::Stderr,
            LogTarget::Stdout => Self::Stdout,
            LogTarget::File(path) => {
                let file = open(path).with_context(|| format!("the log file {} cannot be opened", path.display()))?;
                Self::File { path: path.clone(), file }
            }
        })
    }

    fn write(&mut self, text: &str) {
        // There is no other place to tell that the log cannot be written.
        drop(match self {
            Self::Stderr => std::io::stderr().lock().write_all(text.as_bytes()),
            Self::Stdout => std::io::stdout().lock().write_all(text.as_bytes()),
            Self::File { file, .. } => file.write_all(text.as_bytes()),
        });
    }

    /// Opens the file anew if it was moved away or removed.
    fn look(&mut self) {
        if let Self::File { path, file } = self {
            let place = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
            let here = std::fs::metadata(&*path).ok().map(place);
            if here != file.metadata().ok().map(place)
                && let Ok(fresh) = open(path)
            {
                *file = fresh;
            }
        }
    }
}

fn open(path: &PathBuf) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn write_lines(mut output: Output, lines: &Receiver<String>, lost: &AtomicU64) {
    let mut looked = Instant::now();
    loop {
        let line = lines.recv_timeout(LOOK_INTERVAL);
        // Also while lines come faster than that.
        if looked.elapsed() >= LOOK_INTERVAL {
            output.look();
            looked = Instant::now();
        }
        match line {
            Ok(line) if line.is_empty() => return,
            Ok(line) => output.write(&line),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
        }
        let count = lost.swap(0, Relaxed);
        if count > 0 {
            let time = Local::now().format("%Y-%m-%d %H:%M:%S,%3f");
            output.write(&format!(
                "{time} () app.logging WARNING: {count} log lines were lost because they came faster than they could be written\n"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vt_types::SystemClock;

    #[test]
    fn lines_have_volttrons_layout_and_reach_the_book() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("volttron.log");
        let settings = LogSettings {
            target: LogTarget::File(path.clone()),
            format: LogFormat::Text,
            level: vt_config::LogLevel::Info,
            modules: Vec::new(),
        };
        let book = Arc::new(LogBook::new(10));
        let logging = start(&settings, Arc::clone(&book), Arc::new(SystemClock)).unwrap();
        tracing::info!(count = 3, name = "a\u{1b}b", "platform line");
        let span = tracing::info_span!("agent", agent = "listener", agent_name = "listeneragent-3.3", pid = 13039);
        span.in_scope(|| tracing::info!(target: "listener.agent", "Peer: pubsub"));
        // As output of child processes is relayed.
        span.in_scope(|| tracing::error!(target: "agents", logger = "<stderr>", "Traceback"));
        tracing::debug!("too quiet");
        drop(logging);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].ends_with("() app.logging.tests INFO: platform line count=3 name=\"a\\u{1b}b\""), "{text}");
        assert!(lines[1].ends_with(" (listeneragent-3.3 13039) listener.agent INFO: Peer: pubsub"), "{text}");
        assert!(lines[2].ends_with(" (listeneragent-3.3 13039) <stderr> ERROR: Traceback"), "{text}");
        // Checklist 19 of the hosting of agents: `^\\S+ \\S+ \\(\\S+ \\d+( \\[\\d+\\])?\\) \\S+ [A-Z]+: `.
        assert_eq!(lines[1].as_bytes()[10], b' ');
        assert_eq!(lines[1].as_bytes()[19], b',');
        let kept = book.tail(Some("listener"), 10, None);
        assert_eq!((kept[0].text.as_str(), kept[1].logger.as_str(), kept[1].text.as_str()), ("Peer: pubsub", "<stderr>", "Traceback"));
        assert_eq!(book.tail(None, 10, None).len(), 3);
    }

    #[test]
    fn a_moved_file_is_opened_anew_even_without_a_quiet_second() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (sender, receiver) = std::sync::mpsc::sync_channel(16);
        let output = Output::open(&LogTarget::File(path.clone())).unwrap();
        let writing = std::thread::spawn(move || write_lines(output, &receiver, &AtomicU64::new(0)));
        sender.send("first\n".to_owned()).unwrap();
        std::fs::rename(&path, folder.path().join("log.1")).unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while !path.exists() {
            assert!(Instant::now() < end, "the file was not opened anew");
            sender.send("line\n".to_owned()).unwrap();
        }
        drop(sender);
        writing.join().unwrap();
        assert!(std::fs::read_to_string(folder.path().join("log.1")).unwrap().starts_with("first\n"));
    }
}
