//! Reading the text of an entry: JSON with comments, CSV with a header row, or any text. Errors name line and column. What columns mean is
//! not known here, except that a registry defines no point twice.
//! Source: VOLTTRON `volttron/platform/store.py` (`process_raw_config`), `volttron/platform/agent/utils.py` (`strip_comments`).

use std::collections::HashMap;

use serde_json::{Map, Value};
use vt_backends::ConfigType;
use vt_types::{Lines, topic::is_control};

use crate::ServiceError;

/// Starts a text value that stands for another entry.
const LINK: &str = "config://";
/// Longest name of an entry, in bytes.
const NAME_BYTES_MAX: usize = 512;
/// Column of a registry with the name of a point.
const POINT_NAME: &str = "Volttron Point Name";
/// Byte order mark that some editors put in front.
const BOM: char = '\u{feff}';

/// What to do with CSV rows that have too few or too many values, or define a point of a registry again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ragged {
    /// Somebody stores them now and can mend them.
    Refuse,
    /// They were stored long ago: missing values are null, surplus ones are dropped, as Python's `csv` does; the driver
    /// tells which points are defined twice.
    Accept,
}

/// The value of an entry's text.
///
/// # Errors
/// One sentence with line and column.
pub fn parse(kind: ConfigType, data: &str, ragged: Ragged) -> Result<Value, String> {
    match kind {
        ConfigType::Json => json(data),
        ConfigType::Csv => csv(data, ragged),
        ConfigType::Raw => Ok(Value::String(data.to_owned())),
    }
}

/// A name without blanks and slashes at its ends.
///
/// # Errors
/// `Invalid` tells what is wrong with it.
pub fn entry_name(name: &str) -> Result<String, ServiceError> {
    let trimmed = trim(name);
    if trimmed.is_empty() {
        return Err(ServiceError::Invalid("a configuration entry needs a name".to_owned()));
    }
    if trimmed.len() > NAME_BYTES_MAX {
        return Err(ServiceError::Invalid(format!(
            "the name of a configuration entry may have at most {NAME_BYTES_MAX} bytes, this one has {}",
            trimmed.len()
        )));
    }
    if trimmed.chars().any(is_control) {
        return Err(ServiceError::Invalid("the name of a configuration entry may not contain control characters".to_owned()));
    }
    Ok(trimmed.to_owned())
}

/// What names are compared by.
pub fn key(name: &str) -> String {
    trim(name).to_lowercase()
}

fn trim(name: &str) -> &str {
    name.trim_matches(|c: char| c.is_whitespace() || matches!(c, '/' | '\\'))
}

/// Keys of the entries that `value` links to.
pub fn links(value: &Value) -> Vec<String> {
    let (mut found, mut waiting) = (Vec::new(), vec![value]);
    while let Some(value) = waiting.pop() {
        match value {
            Value::String(text) => found.extend(text.strip_prefix(LINK).map(key)),
            Value::Array(items) => waiting.extend(items),
            Value::Object(map) => waiting.extend(map.values()),
            _ => {}
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn json(data: &str) -> Result<Value, String> {
    let plain = without_comments(data)?;
    let value: Value = serde_json::from_str(&plain).map_err(|error| format!("this is no valid JSON: {error}"))?;
    match value {
        Value::Object(_) | Value::Array(_) => Ok(value),
        other => {
            let what = match other {
                Value::String(_) => "a text",
                Value::Number(_) => "a number",
                Value::Bool(_) => "true or false",
                _ => "null",
            };
            Err(format!("a json entry must be an object or an array, this is {what}"))
        }
    }
}

/// Blanks in place of comments (`#`, `//` to the end of the line, `/* */`), so that lines and columns stay what they are.
fn without_comments(data: &str) -> Result<String, String> {
    let data = data.strip_prefix(BOM).unwrap_or(data);
    if !data.contains(['#', '/']) {
        return Ok(data.to_owned());
    }
    let bytes = data.as_bytes();
    let mut plain = bytes.to_vec();
    let mut at = 0;
    let mut in_text = false;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'\\', _) if in_text => at += 1,
            (b'"', _) => in_text = !in_text,
            // JSON has no line ends in texts: this one is not closed, which the parser will tell.
            (b'\n', _) if in_text => in_text = false,
            _ if in_text => {}
            (b'#', _) | (b'/', Some(b'/')) => {
                let end = bytes[at..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |length| at + length);
                plain[at..end].fill(b' ');
                at = end;
                continue;
            }
            (b'/', Some(b'*')) => {
                let Some(length) = data.get(at + 2..).and_then(|rest| rest.find("*/")) else {
                    let line = data[..at].matches('\n').count() + 1;
                    return Err(format!("the comment that begins in line {line} does not end"));
                };
                let end = at + length + 4;
                plain[at..end].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    String::from_utf8(plain).map_err(|error| format!("this is no valid JSON: {error}"))
}

fn csv(data: &str, ragged: Ragged) -> Result<Value, String> {
    let data = data.strip_prefix(BOM).unwrap_or(data);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(data.as_bytes());
    let mut record = csv::StringRecord::new();
    let mut next = |record: &mut csv::StringRecord| reader.read_record(record).map_err(|error| format!("this is no valid CSV: {error}"));
    let mut header: Option<Vec<String>> = None;
    let mut lines = Lines::new(data);
    let mut rows = Vec::new();
    let mut points = HashMap::new();
    while next(&mut record)? {
        if record.iter().all(|value| value.trim().is_empty()) {
            continue;
        }
        let line = lines.at(record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or_default());
        match &header {
            None => header = Some(columns(&record, line)?),
            Some(columns) => {
                rows.push(row(columns, &record, line, ragged)?);
                if ragged == Ragged::Refuse {
                    note_point(columns, &record, line, &mut points)?;
                }
            }
        }
    }
    if header.is_none() {
        return Err("a csv entry needs a first line with the names of its columns".to_owned());
    }
    Ok(Value::Array(rows))
}

fn columns(record: &csv::StringRecord, line: u64) -> Result<Vec<String>, String> {
    let mut columns: Vec<String> = record.iter().map(str::to_owned).collect();
    // Spreadsheets like to end lines with empty cells.
    while columns.last().is_some_and(|name| name.trim().is_empty()) {
        columns.pop();
    }
    for (at, name) in columns.iter().enumerate() {
        if name.trim().is_empty() {
            return Err(format!("line {line}: column {} has no name", at + 1));
        }
        if columns[..at].contains(name) {
            return Err(format!("line {line}: there are two columns named {name:?}"));
        }
    }
    Ok(columns)
}

fn row(columns: &[String], record: &csv::StringRecord, line: u64, ragged: Ragged) -> Result<Value, String> {
    if ragged == Ragged::Refuse {
        if let Some(missing) = columns.get(record.len()) {
            let (has, wants) = (record.len(), columns.len());
            return Err(format!("line {line} has {has} values but there are {wants} columns: column {missing:?} has no value"));
        }
        if let Some(surplus) = record.iter().skip(columns.len()).find(|value| !value.trim().is_empty()) {
            let shown: String = surplus.chars().take(40).collect();
            return Err(format!("line {line} has more values than there are columns ({}): {shown:?} belongs to none", columns.len()));
        }
    }
    let values = record.iter().map(Value::from).chain(std::iter::repeat(Value::Null));
    Ok(Value::Object(columns.iter().cloned().zip(values).collect::<Map<_, _>>()))
}

/// Refuses a point that an earlier line defines. `points` holds the lines of those seen.
fn note_point(columns: &[String], record: &csv::StringRecord, line: u64, points: &mut HashMap<String, u64>) -> Result<(), String> {
    let at = columns.iter().position(|column| column.trim().eq_ignore_ascii_case(POINT_NAME));
    let Some(name) = at.and_then(|at| record.get(at)).map(str::trim).filter(|name| !name.is_empty()) else { return Ok(()) };
    match points.insert(name.to_owned(), line) {
        Some(first) => Err(format!("line {line}, column {POINT_NAME}: the point {name:?} is already defined in line {first}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn strict(kind: ConfigType, data: &str) -> Result<Value, String> {
        parse(kind, data, Ragged::Refuse)
    }

    #[test]
    fn comments_are_stripped_but_texts_keep_their_content() {
        let text = "\u{feff}{ # one\n  \"url\": \"http://x#y /* z */\", // two é\n  /* three\n four */ \"a\": \"\\\"//\" }";
        assert_eq!(strict(ConfigType::Json, text), Ok(json!({"url": "http://x#y /* z */", "a": "\"//"})));
        assert_eq!(strict(ConfigType::Json, "# only\n[1]"), Ok(json!([1])));
    }

    #[test]
    fn json_errors_name_line_and_column_of_the_original() {
        let error = strict(ConfigType::Json, "{\n  /* a\n b */ \"a\": 1,\n  oops\n}").unwrap_err();
        assert!(error.contains("line 4 column 3"), "{error}");
        let error = strict(ConfigType::Json, "{}\n /* no end").unwrap_err();
        assert!(error.contains("line 2"), "{error}");
        assert!(strict(ConfigType::Json, "").is_err());
    }

    #[test]
    fn scalars_are_refused() {
        for scalar in ["1", "\"x\"", "true", "null", " 1.5 // x"] {
            assert!(strict(ConfigType::Json, scalar).unwrap_err().contains("object or an array"), "{scalar}");
        }
    }

    #[test]
    fn csv_becomes_rows_with_bom_crlf_and_quotes() {
        let text = "\u{feff}Point,Unit\r\nT,\"F, or \"\"C\"\"\"\r\n\r\n,,\r\nH,%\r\n";
        assert_eq!(strict(ConfigType::Csv, text), Ok(json!([{"Point": "T", "Unit": "F, or \"C\""}, {"Point": "H", "Unit": "%"}])));
        assert_eq!(strict(ConfigType::Csv, "a,b\n"), Ok(json!([])));
        assert_eq!(strict(ConfigType::Csv, "a,b,,\n1,2,,\n"), Ok(json!([{"a": "1", "b": "2"}])));
    }

    #[test]
    fn ragged_rows_and_bad_headers_are_refused_with_line_and_column() {
        let short = strict(ConfigType::Csv, "a,b,c\n1,2,3\n4\n").unwrap_err();
        assert!(short.contains("line 3") && short.contains("\"b\""), "{short}");
        let long = strict(ConfigType::Csv, "a,b\n1,2,oops\n").unwrap_err();
        assert!(long.contains("line 2") && long.contains("\"oops\""), "{long}");
        let double = strict(ConfigType::Csv, "a,b,a\n").unwrap_err();
        assert!(double.contains("line 1") && double.contains("\"a\""), "{double}");
        assert!(strict(ConfigType::Csv, "a,,b\n1,2,3\n").unwrap_err().contains("column 2"));
        let crlf = strict(ConfigType::Csv, "\u{feff}a,b\r\n\r\n1,\"two\r\nlines\"\r\n\r\n1\r\n").unwrap_err();
        assert!(crlf.starts_with("line 6 has 1 values"), "{crlf}");
        assert!(strict(ConfigType::Csv, "").is_err());
        assert_eq!(parse(ConfigType::Csv, "a,b\n1\n1,2,3\n", Ragged::Accept), Ok(json!([{"a": "1", "b": null}, {"a": "1", "b": "2"}])));
    }

    #[test]
    fn a_registry_that_defines_a_point_twice_is_refused_with_both_lines() {
        let text = "Reference,Volttron Point Name\na,T\n\nb,\nc,\nd, T\n";
        let error = strict(ConfigType::Csv, text).unwrap_err();
        assert_eq!(error, "line 6, column Volttron Point Name: the point \"T\" is already defined in line 2");
        assert!(parse(ConfigType::Csv, text, Ragged::Accept).is_ok());
        assert!(strict(ConfigType::Csv, "Name,Value\na,1\na,1\n").is_ok());
    }

    #[test]
    fn names_are_trimmed_compared_without_case_and_bounded() {
        assert_eq!(entry_name(" /devices/A b/ \\").unwrap(), "devices/A b");
        assert_eq!(key(" /Devices/É "), "devices/é");
        for bad in ["", " / ", "a\nb", "a\u{202e}", &"x".repeat(513)] {
            assert!(entry_name(bad).is_err(), "{bad:?}");
        }
        assert!(entry_name("../x <img> #").is_ok());
    }

    #[test]
    fn links_are_found_wherever_they_are() {
        let value = json!({"registry_config": "config://R.csv", "b": ["config:// a/", {"c": "config://r.csv"}], "d": "see config://x"});
        assert_eq!(links(&value), ["a", "r.csv"]);
    }
}
