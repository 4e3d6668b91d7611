//! The configuration file, line by line: `[section]` headers, `key = value` or `key: value`, comment lines that start with `#` or `;`.
//! Values are literal to the end of the line (no inline comments, no `%`), without a pair of quotes around them. Only `[volttron]` is read;
//! every other line is kept as it is when keys are added.
//!
//! A scanner of our own, because the messages need line numbers, `vip-address` may stand several times, and writing must keep comments.
//! Source: VOLTTRON `volttron/platform/config.py`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use vt_types::topic::is_control;

use crate::error::{ConfigError, Origin, Problem, Warning, excerpt};
use crate::options;

/// The section of the server's options.
const SECTION: &str = "volttron";
/// Largest file, in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Longest value, in bytes; as long as the longest path.
const VALUE_BYTES_MAX: usize = 4096;

/// One `key = value` of `[volttron]`, with a key of [`options::OPTIONS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub line: usize,
    pub key: &'static str,
    pub value: String,
}

/// What the file says.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub entries: Vec<Entry>,
    pub warnings: Vec<Warning>,
}

/// Reads `path`. A missing file is an empty one, unless `required`.
pub(crate) fn read(path: &Path, required: bool) -> Result<Parsed, ConfigError> {
    match fs::read(path) {
        Ok(bytes) => parse(path, &bytes).map_err(ConfigError::Problems),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => Ok(Parsed::default()),
        Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
    }
}

/// Reads the text of a file; `path` is for messages.
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Parsed, Vec<Problem>> {
    let problem = |line: usize, text: String| Problem { origin: Origin::File { path: path.to_owned(), line }, text };
    if bytes.len() > FILE_BYTES_MAX {
        return Err(vec![problem(1, format!("the file has {} bytes; a configuration file has at most {FILE_BYTES_MAX}", bytes.len()))]);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        vec![problem(line, "the line is not UTF-8 text; save the file as UTF-8".to_owned())]
    })?;
    let mut scan = Scan { path, section: None, parsed: Parsed::default(), problems: Vec::new() };
    for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).split('\n').enumerate() {
        scan.line(index + 1, line.strip_suffix('\r').unwrap_or(line));
    }
    if scan.problems.is_empty() { Ok(scan.parsed) } else { Err(scan.problems) }
}

struct Scan<'a> {
    path: &'a Path,
    section: Option<&'a str>,
    parsed: Parsed,
    problems: Vec<Problem>,
}

impl<'a> Scan<'a> {
    fn line(&mut self, number: usize, raw: &'a str) {
        let line = raw.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            return;
        }
        if let Some(c) = line.chars().find(|c| c.is_control() && *c != '\t') {
            return self.problem(number, format!("the line contains the control character {c:?}; remove it"));
        }
        if let Some(rest) = line.strip_prefix('[') {
            return self.header(number, rest);
        }
        match self.section {
            Some(SECTION) => self.entry(number, line),
            Some(_) => {}
            None => self.stray(number, line),
        }
    }

    fn header(&mut self, number: usize, rest: &'a str) {
        let Some((name, after)) = rest.split_once(']') else {
            return self.problem(number, "a section header needs a closing bracket; write [volttron]".to_owned());
        };
        let after = after.trim();
        if !after.is_empty() && !after.starts_with(['#', ';']) {
            return self.problem(number, format!("{} follows the section header; put it on a line of its own", excerpt(after)));
        }
        let name = name.trim();
        if name != SECTION && name.eq_ignore_ascii_case(SECTION) {
            self.warning(number, &format!("the section [{name}] is not read; write [volttron]"));
        }
        self.section = Some(name);
    }

    fn entry(&mut self, number: usize, line: &str) {
        let (key, value) = match line.find(['=', ':']) {
            Some(at) => (line[..at].trim_end(), Some(unquoted(line[at + 1..].trim()))),
            None => (line, None),
        };
        let Some((option, negated)) = options::find(key).map(|option| (option, false)).or_else(|| Some((options::negated(key)?, true)))
        else {
            return self.problem(number, unknown(key));
        };
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return self.problem(number, format!("{key} needs a value; write {key} = VALUE, or put # in front of the line"));
        };
        if value.len() > VALUE_BYTES_MAX {
            let text = format!("the value of {key} has {} bytes; at most {VALUE_BYTES_MAX} are accepted", value.len());
            return self.problem(number, text);
        }
        if let Some(c) = value.chars().find(|c| is_control(*c)) {
            return self.problem(number, format!("the value of {key} contains the invisible character {c:?}; remove it"));
        }
        let value = if negated { crate::values::negate(value) } else { value.to_owned() };
        self.parsed.entries.push(Entry { line: number, key: option.key, value });
    }

    /// Before the first section stands what is meant for `vctl`; a forgotten `[volttron]` must not be overlooked all the same.
    fn stray(&mut self, number: usize, line: &str) {
        let key = line.split(['=', ':']).next().unwrap_or(line).trim();
        if options::find(key).is_some() && !matches!(key, "vip-address" | "msgdebug" | "log" | "log-config" | "verboseness") {
            self.problem(number, format!("{key} stands before the first section; put a line [volttron] above it"));
        } else {
            self.warning(number, &format!("{} stands before the first section and is not read by the server", excerpt(key)));
        }
    }

    fn problem(&mut self, line: usize, text: String) {
        self.problems.push(Problem { origin: Origin::File { path: self.path.to_owned(), line }, text });
    }

    fn warning(&mut self, line: usize, text: &str) {
        let origin = Origin::File { path: self.path.to_owned(), line };
        self.parsed.warnings.push(Warning(format!("{origin}: {text}")));
    }
}

fn unknown(key: &str) -> String {
    let shown = if key.len() <= 60 && key.chars().all(|c| c.is_ascii_graphic()) { key.to_owned() } else { excerpt(key) };
    let meant = key.to_ascii_lowercase().replace('_', "-");
    match options::find(&meant) {
        Some(option) => format!("unknown option: {shown}; it is written {}", option.key),
        None => format!("unknown option: {shown}"),
    }
}

fn unquoted(value: &str) -> &str {
    ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(value)
}

/// Adds those of `keys` to `[volttron]` that are missing there, keeping everything else of the file byte for byte: comments, order, unknown
/// sections, line ends. Replaces the file at once (temporary file, fsync, rename); a new file gets mode 0600, and so does an old one that
/// receives a secret. Does nothing when no key is missing.
///
/// # Errors
/// [`ConfigError::Problems`] when the file cannot be understood; [`ConfigError::Read`]; [`ConfigError::Write`], for example when the file
/// is mounted read-only: then it is unchanged, and a caller may go on with a warning.
pub fn add_missing_keys(path: &Path, keys: &[(&'static str, String)]) -> Result<(), ConfigError> {
    // A link to the file is followed, so that the file itself is replaced and not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let old = match fs::read(&target) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
    };
    let bytes = old.as_deref().unwrap_or_default();
    let present = parse(path, bytes).map_err(ConfigError::Problems)?.entries;
    let missing: Vec<_> = keys.iter().filter(|(key, _)| present.iter().all(|entry| entry.key != *key)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let secret = missing.iter().any(|(key, _)| options::find(key).is_some_and(|option| option.kind == options::OptionKind::Secret));
    let text = String::from_utf8_lossy(bytes);
    let new = inserted(&text, &missing.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>());
    let mode = match fs::metadata(&target) {
        Ok(metadata) if secret => metadata.permissions().mode() & 0o700,
        Ok(metadata) => metadata.permissions().mode() & 0o777,
        Err(_) => 0o600,
    };
    replace(&target, new.as_bytes(), mode).map_err(|source| ConfigError::Write { path: path.to_owned(), source })
}

pub(crate) fn inserted(text: &str, lines: &[String]) -> String {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let block: String = lines.iter().map(|line| format!("{line}{end}")).collect();
    match end_of_section(text) {
        Some(at) => {
            let gap = if text[..at].ends_with('\n') { "" } else { end };
            format!("{}{gap}{block}{}", &text[..at], &text[at..])
        }
        None => {
            let gap = if text.trim_start_matches('\u{feff}').is_empty() || text.ends_with('\n') { "" } else { end };
            format!("{text}{gap}[{SECTION}]{end}{block}")
        }
    }
}

/// Behind the last line of the first `[volttron]` that is not empty.
fn end_of_section(text: &str) -> Option<usize> {
    let mut end = None;
    let mut at = 0;
    for raw in text.split_inclusive('\n') {
        at += raw.len();
        let line = raw.trim_start_matches('\u{feff}').trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            if end.is_some() {
                break;
            }
            end = (name.trim() == SECTION).then_some(at);
        } else if end.is_some() && !line.is_empty() {
            end = Some(at);
        }
    }
    end
}

pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned);
    let mut file = tempfile::Builder::new().prefix(".config.").suffix(".tmp").tempfile_in(&directory)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests;
