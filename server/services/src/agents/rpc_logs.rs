//! Reading the platform's log files by call, in pieces: `list_logs` and `read_log` of modular platforms. Source: modular
//! `volttron/server/logs.py`, `volttron/services/control/control_service.py`.
//!
//! A piece is read backwards from the end (the last lines), forwards from `offset` (following), or backwards from `before` (looking at what
//! is older), and holds whole lines, unless one is longer than the piece.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use vt_agent::{Call, MethodTable};
use vt_backends::{LogFile, LogFiles};
use vt_types::RpcError;

use super::rpc::Exported;
use crate::ServiceError;

/// Most bytes that one answer is made of, whatever is asked for.
const PIECE_BYTES_MAX: i64 = 1 << 20;
/// Most lines of one answer.
const TAIL_LINES_MAX: i64 = 10_000;

pub(super) fn export(table: &mut MethodTable, exported: &Exported) {
    exported.add(table.method("list_logs").doc("The platform's log files, and how they are kept."), |this, _| async move {
        let files = this.agents.inner.deps.log_files.list().await.map_err(failed)?;
        // How long files are kept is up to whoever moves them away.
        Ok(json!({"logs": files.iter().map(described).collect::<Vec<_>>(), "retention": null}))
    });
    let read = table.method("read_log").doc("Lines of a log file: the last ones, or those from or before a byte.").param("log_id");
    let read = read.optional("tail", 200).optional("offset", Value::Null).optional("before", Value::Null);
    exported.add(read.optional("max_bytes", 65_536), |this, call| async move {
        let files = &this.agents.inner.deps.log_files;
        read_log(files, &Wanted::of(&call)?).await
    });
}

/// Which piece is asked for.
struct Wanted {
    log: String,
    tail: i64,
    offset: Option<i64>,
    before: Option<i64>,
    max_bytes: i64,
}

impl Wanted {
    fn of(call: &Call) -> Result<Self, RpcError> {
        Ok(Self {
            log: call.arg("log_id")?,
            tail: call.arg::<i64>("tail")?.clamp(1, TAIL_LINES_MAX),
            offset: call.arg("offset")?,
            before: call.arg("before")?,
            max_bytes: call.arg::<i64>("max_bytes")?.clamp(1, PIECE_BYTES_MAX),
        })
    }
}

/// A piece of a file: bytes from `start` to `end`.
struct Piece {
    start: u64,
    end: u64,
    bytes: Vec<u8>,
}

async fn read_log(files: &Arc<dyn LogFiles>, wanted: &Wanted) -> Result<Value, RpcError> {
    let listed = files.list().await.map_err(failed)?;
    let file = listed.iter().find(|file| file.name == wanted.log || log_id(file) == wanted.log);
    let file = file.ok_or_else(|| RpcError::raised("builtins.FileNotFoundError", format!("Log not found: {}", wanted.log)))?;
    let size = file.size_bytes;
    let within = |position: i64| u64::try_from(position).unwrap_or(0).min(size);
    let length = u64::try_from(wanted.max_bytes).unwrap_or(1);
    let (piece, tail) = match (wanted.before, wanted.offset) {
        (Some(before), _) => (backwards(files, file, within(before), length).await?, usize::MAX),
        (None, Some(offset)) => (forwards(files, file, within(offset), length).await?, usize::MAX),
        (None, None) => (backwards(files, file, size, length).await?, usize::try_from(wanted.tail).unwrap_or(1)),
    };
    let text = String::from_utf8_lossy(&piece.bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(json!({
        "lines": &lines[lines.len().saturating_sub(tail)..],
        "start_offset": piece.start,
        "end_offset": piece.end,
        "previous_offset": piece.start,
        "next_offset": piece.end,
        "total_bytes": size,
        "file_id": digest(&file.file),
        "log_id": log_id(file),
        "has_older": piece.start > 0,
        "has_newer": piece.end < size,
    }))
}

/// The piece that ends at `end`. It begins with a line, and ends with one unless the file does.
async fn backwards(files: &Arc<dyn LogFiles>, file: &LogFile, end: u64, length: u64) -> Result<Piece, RpcError> {
    let mut start = end.saturating_sub(length);
    // With the byte before it, which says whether a line begins here.
    let from = start.saturating_sub(1);
    let mut bytes = read(files, file, from, end - from).await?;
    if start > 0 {
        // Of a line that is longer than the piece, the piece holds a part.
        let begin = bytes.iter().position(|byte| *byte == b'\n').map_or(1, |newline| newline + 1);
        start = from + begin as u64;
        bytes.drain(..begin.min(bytes.len()));
    }
    let mut end = start + bytes.len() as u64;
    if end < file.size_bytes
        && let Some(newline) = bytes.iter().rposition(|byte| *byte == b'\n')
    {
        bytes.truncate(newline + 1);
        end = start + bytes.len() as u64;
    }
    Ok(Piece { start, end, bytes })
}

/// The piece that begins at `start`. A line that is still being written at the file's end is part of it.
async fn forwards(files: &Arc<dyn LogFiles>, file: &LogFile, start: u64, length: u64) -> Result<Piece, RpcError> {
    let length = length.min(file.size_bytes - start);
    let mut bytes = read(files, file, start, length).await?;
    let is_cut = start + (bytes.len() as u64) < file.size_bytes;
    if is_cut && let Some(newline) = bytes.iter().rposition(|byte| *byte == b'\n') {
        bytes.truncate(newline + 1);
    }
    Ok(Piece { start, end: start + bytes.len() as u64, bytes })
}

async fn read(files: &Arc<dyn LogFiles>, file: &LogFile, from: u64, length: u64) -> Result<Vec<u8>, RpcError> {
    let length = usize::try_from(length).unwrap_or(0);
    files.read(&file.name, from, length).await.map_err(failed)
}

fn described(file: &LogFile) -> Value {
    let is_moved = file.name.rsplit_once('.').is_some_and(|(_, end)| !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit()));
    json!({
        "id": log_id(file),
        "name": file.name,
        "file_id": digest(&file.file),
        "size_bytes": file.size_bytes,
        "modified": file.modified.timestamp_micros() as f64 / 1e6,
        "is_active": !is_moved,
    })
}

fn log_id(file: &LogFile) -> String {
    digest(&file.name)
}

/// 16 hexadecimal digits.
fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn failed(error: vt_backends::RepositoryError) -> RpcError {
    ServiceError::from(error).into_rpc()
}

#[cfg(test)]
mod tests {
    use vt_backends::memory::MemoryLogFiles;

    use super::*;

    fn logs(content: &str) -> Arc<dyn LogFiles> {
        let files = MemoryLogFiles::default();
        files.write("volttron.log", "2026-11-24T12:00:00.5Z".parse().unwrap(), content.as_bytes());
        Arc::new(files)
    }

    async fn ask(files: &Arc<dyn LogFiles>, tail: i64, offset: Option<i64>, before: Option<i64>, max_bytes: i64) -> Value {
        read_log(files, &Wanted { log: "volttron.log".into(), tail, offset, before, max_bytes }).await.unwrap()
    }

    #[tokio::test]
    async fn the_last_lines_then_what_is_older_then_what_is_new() {
        let files = logs("one\ntwo\nthree\nfour\n");
        let last = ask(&files, 2, None, None, 100).await;
        assert_eq!(last["lines"], json!(["three", "four"]));
        assert_eq!((&last["total_bytes"], &last["has_older"], &last["has_newer"]), (&json!(19), &json!(false), &json!(false)));
        let last = ask(&files, 200, None, None, 8).await;
        assert_eq!((&last["lines"], &last["start_offset"], &last["next_offset"]), (&json!(["four"]), &json!(14), &json!(19)));
        let older = ask(&files, 200, None, Some(14), 8).await;
        assert_eq!((&older["lines"], &older["previous_offset"]), (&json!(["three"]), &json!(8)));
        let older = ask(&files, 200, None, Some(8), 8).await;
        assert_eq!((&older["lines"], &older["has_older"], &older["has_newer"]), (&json!(["one", "two"]), &json!(false), &json!(true)));
        let next = ask(&files, 200, Some(4), None, 7).await;
        assert_eq!((&next["lines"], &next["next_offset"], &next["has_newer"]), (&json!(["two"]), &json!(8), &json!(true)));
        let end = ask(&files, 200, Some(1000), None, 7).await;
        assert_eq!((&end["lines"], &end["next_offset"], &end["has_newer"]), (&json!([]), &json!(19), &json!(false)));
    }

    #[tokio::test]
    async fn walking_in_either_direction_gives_every_line_once() {
        let text: String = (0..500).map(|number| format!("line {number} {}\n", "é".repeat(number % 40))).collect();
        let files = logs(&text);
        let wanted: Vec<Value> = text.lines().map(|line| json!(line)).collect();
        let (mut forwards, mut at) = (Vec::new(), 0);
        loop {
            let piece = ask(&files, 1, Some(at), None, 300).await;
            forwards.extend(piece["lines"].as_array().unwrap().clone());
            at = piece["next_offset"].as_i64().unwrap();
            if piece["has_newer"] == false {
                break;
            }
        }
        assert_eq!(forwards, wanted);
        let (mut backwards, mut at) = (Vec::new(), text.len() as i64);
        while at > 0 {
            let piece = ask(&files, 1, None, Some(at), 300).await;
            backwards = [piece["lines"].as_array().unwrap().clone(), backwards].concat();
            at = piece["previous_offset"].as_i64().unwrap();
        }
        assert_eq!(backwards, wanted);
    }

    #[tokio::test]
    async fn a_line_longer_than_a_piece_ends_no_walk_and_odd_numbers_do_no_harm() {
        let files = logs(&format!("{}\nshort\n", "x".repeat(1000)));
        let piece = ask(&files, 1, Some(0), None, 100).await;
        assert_eq!((&piece["next_offset"], piece["lines"][0].as_str().unwrap().len()), (&json!(100), 100));
        let piece = ask(&files, 1, None, Some(900), 100).await;
        assert_eq!((&piece["previous_offset"], &piece["has_older"]), (&json!(800), &json!(true)));
        for (offset, before) in [(Some(-5), None), (None, Some(-5)), (None, Some(i64::MAX)), (Some(i64::MAX), None)] {
            ask(&files, 1, offset, before, 10).await;
        }
        let empty = logs("");
        assert_eq!(ask(&empty, 1, None, None, 100).await["lines"], json!([]));
    }

    #[tokio::test]
    async fn files_are_known_by_name_and_by_an_id_that_tells_nothing() {
        let files = logs("a\n");
        let listed = described(&files.list().await.unwrap()[0]);
        let id = listed["id"].as_str().unwrap();
        // sha256 of the name, as modular platforms make it.
        assert_eq!((id.len(), &listed["modified"], &listed["is_active"]), (16, &json!(1_795_521_600.5), &json!(true)));
        let wanted = Wanted { log: id.to_owned(), tail: 1, offset: None, before: None, max_bytes: 10 };
        assert_eq!(read_log(&files, &wanted).await.unwrap()["lines"], json!(["a"]));
        let wanted = Wanted { log: "../config".into(), ..wanted };
        let missing = read_log(&files, &wanted).await.unwrap_err();
        assert_eq!(missing, RpcError::raised("builtins.FileNotFoundError", "Log not found: ../config"));
    }
}
