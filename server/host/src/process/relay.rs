//! Output of an agent becomes log lines, in the agent's name. Source: agents.md §1.8: a line on standard error that is a JSON object is a
//! record of Python's logging and keeps level and logger; `<N>text` has the syslog level N; any other line there is an error of
//! `<stderr>`; a line on standard output is a note of `<stdout>`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader};
use tracing::{Level, Span};

use super::config::ProcessConfig;

/// One of the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub level: Level,
    pub logger: String,
    pub text: String,
}

/// The newest line of an agent that was an error; what it said before it failed.
pub type LastWords = Arc<Mutex<String>>;

/// Relays a stream to its end.
pub async fn relay(stream: Stream, source: impl AsyncRead + Unpin, config: ProcessConfig, span: Span, last: LastWords) {
    let mut source = BufReader::new(source);
    let mut quota = Quota { since: Instant::now(), lines: 0, dropped: 0 };
    let mut line = Vec::new();
    loop {
        match read_line(&mut source, &mut line, config.line_bytes_max).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                span.in_scope(|| tracing::warn!(%error, "the agent's output cannot be read any further"));
                break;
            }
        }
        let said = parse(stream, &String::from_utf8_lossy(&line));
        if said.level == Level::ERROR && !said.text.trim().is_empty() {
            said.text.clone_into(&mut last.lock());
        }
        if let Some(dropped) = quota.begin_second() {
            span.in_scope(|| tracing::warn!(dropped, "lines of the agent were dropped because they came faster than is allowed"));
        }
        if quota.take(config.lines_per_s_max) {
            write(&span, &said);
        }
    }
    if quota.dropped > 0 {
        span.in_scope(|| {
            tracing::warn!(dropped = quota.dropped, "lines of the agent were dropped because they came faster than is allowed");
        });
    }
}

fn write(span: &Span, said: &Said) {
    let Said { level, logger, text } = said;
    span.in_scope(|| match *level {
        Level::ERROR => tracing::error!(target: "agents", logger, "{text}"),
        Level::WARN => tracing::warn!(target: "agents", logger, "{text}"),
        Level::INFO => tracing::info!(target: "agents", logger, "{text}"),
        _ => tracing::debug!(target: "agents", logger, "{text}"),
    });
}

/// Lines in this second.
struct Quota {
    since: Instant,
    lines: u32,
    dropped: u64,
}

impl Quota {
    /// When a second has passed: how many lines were dropped in it, if any.
    fn begin_second(&mut self) -> Option<u64> {
        if self.since.elapsed() < Duration::from_secs(1) {
            return None;
        }
        self.since = Instant::now();
        self.lines = 0;
        Some(std::mem::take(&mut self.dropped)).filter(|dropped| *dropped > 0)
    }

    fn take(&mut self, lines_max: u32) -> bool {
        if self.lines < lines_max {
            self.lines += 1;
            return true;
        }
        self.dropped += 1;
        false
    }
}

/// Reads the next line without its end into `line`, of which at most `bytes_max` are kept. `false` at the end of the stream.
pub async fn read_line(source: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>, bytes_max: usize) -> std::io::Result<bool> {
    line.clear();
    let mut began = false;
    loop {
        let buffer = source.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(began);
        }
        began = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        line.extend_from_slice(&part[..part.len().min(bytes_max - line.len())]);
        let used = end.map_or(buffer.len(), |end| end + 1);
        source.consume(used);
        if end.is_some() {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(true);
        }
    }
}

fn parse(stream: Stream, line: &str) -> Said {
    let plain = |level, logger: &str, text: &str| Said { level, logger: logger.to_owned(), text: text.to_owned() };
    if stream == Stream::Out {
        return plain(Level::INFO, "<stdout>", line);
    }
    if line.starts_with('{')
        && line.ends_with('}')
        && let Ok(Value::Object(record)) = serde_json::from_str(line)
    {
        return of_record(&record);
    }
    match line.as_bytes() {
        [b'<', digit @ b'0'..=b'7', b'>', ..] => plain(syslog(*digit), "<stderr>", &line[3..]),
        _ => plain(Level::ERROR, "<stderr>", line),
    }
}

/// A record of Python's logging, its message already put together.
fn of_record(record: &serde_json::Map<String, Value>) -> Said {
    let level = match record.get("levelno").and_then(Value::as_f64) {
        Some(level) if level >= 40.0 => Level::ERROR,
        Some(level) if level >= 30.0 => Level::WARN,
        Some(level) if level >= 20.0 => Level::INFO,
        Some(_) => Level::DEBUG,
        None => Level::ERROR,
    };
    let logger = record.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()).unwrap_or("<stderr>");
    let mut text = match record.get("msg") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => Value::Object(record.clone()).to_string(),
    };
    if let Some(trace) = record.get("exc_text").and_then(Value::as_str) {
        text.push('\n');
        text.push_str(trace);
    }
    // The name stands between blanks in the log line.
    let logger = logger.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).take(200).collect();
    Said { level, logger, text }
}

fn syslog(digit: u8) -> Level {
    match digit {
        b'0'..=b'3' => Level::ERROR,
        b'4' => Level::WARN,
        b'5' | b'6' => Level::INFO,
        _ => Level::DEBUG,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(level: Level, logger: &str, text: &str) -> Said {
        Said { level, logger: logger.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn lines_have_the_level_and_logger_that_they_say() {
        for (stream, line, expected) in [
            (Stream::Out, "{\"levelno\": 40}", said(Level::INFO, "<stdout>", "{\"levelno\": 40}")),
            (Stream::Err, "Traceback", said(Level::ERROR, "<stderr>", "Traceback")),
            (Stream::Err, "<4>careful", said(Level::WARN, "<stderr>", "careful")),
            (Stream::Err, "<9>x", said(Level::ERROR, "<stderr>", "<9>x")),
            (Stream::Err, r#"{"name": "a.b", "levelno": 20, "msg": "hi"}"#, said(Level::INFO, "a.b", "hi")),
            (Stream::Err, r#"{"name": "a b", "levelno": 10, "msg": 5}"#, said(Level::DEBUG, "a_b", "5")),
            (Stream::Err, r#"{"name": "x", "levelno": 50, "msg": "no", "exc_text": "Trace"}"#, said(Level::ERROR, "x", "no\nTrace")),
            (Stream::Err, "{broken}", said(Level::ERROR, "<stderr>", "{broken}")),
            (Stream::Err, "", said(Level::ERROR, "<stderr>", "")),
        ] {
            assert_eq!(parse(stream, line), expected, "{line}");
        }
    }

    #[tokio::test]
    async fn long_lines_are_cut_and_the_next_line_is_whole() {
        let text = format!("{}\r\nshort\n\nlast", "x".repeat(100_000));
        let mut source = BufReader::with_capacity(1000, text.as_bytes());
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        while read_line(&mut source, &mut line, 50).await.unwrap() {
            lines.push(String::from_utf8(line.clone()).unwrap());
        }
        assert_eq!(lines, [&"x".repeat(50), "short", "", "last"]);
    }

    #[test]
    fn a_flood_is_held_back_and_counted() {
        let mut quota = Quota { since: Instant::now(), lines: 0, dropped: 0 };
        assert_eq!((0..10).filter(|_| quota.take(3)).count(), 3);
        quota.since -= Duration::from_secs(2);
        assert_eq!(quota.begin_second(), Some(7));
        assert!(quota.take(3));
    }
}
