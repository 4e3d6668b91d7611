//! The registry: the table of a device's points, from CSV text or from the rows the config store keeps.
//! Reads everything at the edge: a [`Registry`] has unique columns, unique point names, bounded fields and no control characters.
//! What columns mean is the interfaces' business. Source: VOLTTRON documentation, "Registry configuration".

use std::collections::HashMap;
use std::fmt;

use serde_json::{Map, Value};
use vt_types::{Lines, topic::is_control};

/// The column with the topic name of a point, in every registry.
pub const POINT_NAME: &str = "Volttron Point Name";

/// Longest registry, in bytes of CSV text.
pub const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most rows of one registry.
pub const ROWS_MAX: usize = 20_000;
/// Most columns of one registry.
pub const COLUMNS_MAX: usize = 64;
/// Longest field, in bytes.
pub const FIELD_BYTES_MAX: usize = 4096;
/// Longest point name, in bytes; with a device path it must fit into a topic.
pub const POINT_NAME_BYTES_MAX: usize = 255;

/// Where a row stood: CSV text knows lines, parsed rows know their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Line of the CSV text, from 1; the header is line 1.
    Line(u64),
    /// Number of the row, from 1; the header does not count.
    Row(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// What is wrong with a registry, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RegistryError {
    /// Not text, not a list of rows, too large.
    #[error("{0}")]
    Shape(String),
    /// The header.
    #[error("header, column {column}: {reason}")]
    Header {
        /// Name of the column, or its number.
        column: String,
        /// What is wrong.
        reason: String,
    },
    /// A row has more or fewer fields than the header.
    #[error("{place}: {found} fields, but the header has {expected}")]
    Ragged {
        /// Which row.
        place: Place,
        /// Fields of the row.
        found: usize,
        /// Fields of the header.
        expected: usize,
    },
    /// Two rows name the same point.
    #[error("{second}, column {POINT_NAME}: the point {name:?} is already defined in {first}")]
    Duplicate {
        /// The name.
        name: String,
        /// Where it stood first.
        first: Place,
        /// Where it stood again.
        second: Place,
    },
    /// One field of one row.
    #[error("{place}, column {column}: {reason}")]
    Field {
        /// Which row.
        place: Place,
        /// Which column.
        column: String,
        /// What is wrong.
        reason: String,
    },
    /// The interface needs a column that is not there.
    #[error("the column {0:?} is missing")]
    MissingColumn(&'static str),
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    place: Place,
    fields: Map<String, Value>,
}

impl Row {
    /// Where it stood.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// Its fields as stored, keyed by column.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// The text of a column, blanks at the ends removed; empty if absent. Column names match without regard to case.
    /// Numbers and booleans of JSON registries are given as text.
    #[must_use]
    pub fn text(&self, column: &str) -> std::borrow::Cow<'_, str> {
        match self.value(column) {
            Some(Value::String(text)) => text.trim().into(),
            None | Some(Value::Null) => "".into(),
            Some(other) => other.to_string().into(),
        }
    }

    /// Whether the row has the column at all (its field may be empty).
    #[must_use]
    pub fn has(&self, column: &str) -> bool {
        self.value(column).is_some()
    }

    /// An error about `column` of this row.
    #[must_use]
    pub fn error(&self, column: &str, reason: impl Into<String>) -> RegistryError {
        RegistryError::Field { place: self.place, column: column.to_owned(), reason: reason.into() }
    }

    /// This row with the non-empty fields of `other` laid over it, at the place of `other`.
    #[must_use]
    pub fn overlaid(&self, other: &Self) -> Self {
        let mut fields = self.fields.clone();
        for (column, value) in &other.fields {
            if !other.text(column).is_empty() {
                fields.retain(|name, _| !name.trim().eq_ignore_ascii_case(column.trim()));
                fields.insert(column.clone(), value.clone());
            }
        }
        Self { place: other.place, fields }
    }

    fn value(&self, column: &str) -> Option<&Value> {
        self.fields
            .get(column)
            .or_else(|| self.fields.iter().find(|(name, _)| name.trim().eq_ignore_ascii_case(column)).map(|(_, value)| value))
    }
}

/// A registry that was read without error.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registry {
    columns: Vec<String>,
    rows: Vec<Row>,
    warnings: Vec<String>,
}

impl Registry {
    /// Reads CSV text: comma separated, header in line 1, an optional byte order mark, LF or CRLF, quoted fields. Blank lines are skipped.
    ///
    /// # Errors
    /// [`RegistryError`] naming the line and the column.
    pub fn from_csv(bytes: &[u8]) -> Result<Self, RegistryError> {
        if bytes.len() > TEXT_BYTES_MAX {
            return Err(RegistryError::Shape(format!("{} bytes are more than the {TEXT_BYTES_MAX} allowed", bytes.len())));
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = 1 + bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count();
            RegistryError::Shape(format!("line {line}: not UTF-8 text; save the file as UTF-8"))
        })?;
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let mut records = reader.records();
        let columns = match records.next() {
            None => return Err(RegistryError::Shape("line 1: the header with the column names is missing".into())),
            Some(header) => header_columns(&header.map_err(shape)?)?,
        };
        let mut lines = Lines::new(text);
        let mut rows = Vec::new();
        for record in records {
            let record = record.map_err(shape)?;
            let offset = record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or_default();
            let place = Place::Line(lines.at(offset));
            if record.iter().all(|field| field.trim().is_empty()) {
                continue;
            }
            if record.len() != columns.len() {
                return Err(RegistryError::Ragged { place, found: record.len(), expected: columns.len() });
            }
            let fields = columns.iter().cloned().zip(record.iter().map(|field| Value::String(field.to_owned()))).collect();
            push(&mut rows, Row { place, fields })?;
        }
        Self::checked(columns, rows)
    }

    /// Takes the rows as the config store gives them: a list of objects keyed by column; null means no registry.
    ///
    /// # Errors
    /// [`RegistryError`] naming the row and the column.
    pub fn from_json(value: &Value) -> Result<Self, RegistryError> {
        let list = match value {
            Value::Null => return Ok(Self::default()),
            Value::Array(list) => list,
            Value::String(text) if text.starts_with("config://") => {
                return Err(RegistryError::Shape(format!("the registry {text} is not in the config store")));
            }
            _ => return Err(RegistryError::Shape("a list of rows is expected, or config:// and the name of a stored CSV".into())),
        };
        let mut columns: Vec<String> = Vec::new();
        let mut rows = Vec::with_capacity(list.len().min(ROWS_MAX));
        for (index, item) in list.iter().enumerate() {
            let place = Place::Row(index + 1);
            let Value::Object(fields) = item else {
                return Err(RegistryError::Shape(format!("{place}: an object keyed by column is expected")));
            };
            for column in fields.keys() {
                if !columns.contains(column) {
                    check_column(&columns, column)?;
                    columns.push(column.clone());
                }
            }
            push(&mut rows, Row { place, fields: fields.clone() })?;
        }
        Self::checked(columns, rows)
    }

    fn checked(columns: Vec<String>, rows: Vec<Row>) -> Result<Self, RegistryError> {
        let mut registry = Self { columns, rows, warnings: Vec::new() };
        registry.check_fields()?;
        registry.check_names()?;
        Ok(registry)
    }

    fn check_fields(&self) -> Result<(), RegistryError> {
        for row in &self.rows {
            for (column, value) in &row.fields {
                match value {
                    Value::String(text) if text.len() > FIELD_BYTES_MAX => {
                        return Err(row.error(column, format!("{} bytes are more than the {FIELD_BYTES_MAX} allowed", text.len())));
                    }
                    Value::String(text) => {
                        // Notes may have several lines; nothing else about control characters is harmless.
                        if let Some(c) = text.chars().find(|c| is_control(*c) && !matches!(c, '\n' | '\r' | '\t')) {
                            return Err(row.error(column, format!("the control character {c:?} is not allowed")));
                        }
                    }
                    Value::Array(_) | Value::Object(_) => return Err(row.error(column, "text, a number or a boolean is expected")),
                    Value::Null | Value::Bool(_) | Value::Number(_) => {}
                }
            }
        }
        Ok(())
    }

    fn check_names(&mut self) -> Result<(), RegistryError> {
        let mut seen: HashMap<String, Place> = HashMap::new();
        let mut folded: HashMap<String, Place> = HashMap::new();
        for row in &self.rows {
            let name = row.text(POINT_NAME).into_owned();
            if name.is_empty() {
                continue;
            }
            if name.len() > POINT_NAME_BYTES_MAX {
                return Err(row.error(POINT_NAME, format!("{} bytes are more than the {POINT_NAME_BYTES_MAX} allowed", name.len())));
            }
            if let Some(c) = name.chars().find(|c| is_control(*c)) {
                return Err(row.error(POINT_NAME, format!("the control character {c:?} is not allowed in a point name")));
            }
            if name.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
                return Err(row.error(POINT_NAME, format!("{name:?} has an empty or relative part between slashes")));
            }
            if let Some(first) = seen.insert(name.clone(), row.place) {
                return Err(RegistryError::Duplicate { name, first, second: row.place });
            }
            if let Some(first) = folded.insert(name.to_lowercase(), row.place) {
                let place = row.place;
                self.warnings
                    .push(format!("{place}: the point {name:?} differs only by case from that of {first}; historians see one topic"));
            }
        }
        Ok(())
    }

    /// Checks the columns against what an interface knows; unknown ones become warnings.
    ///
    /// # Errors
    /// [`RegistryError::MissingColumn`] when the registry has rows but lacks a column that the interface needs.
    pub fn check_columns(&self, known: &[&str], required: &[&'static str]) -> Result<Vec<String>, RegistryError> {
        let has = |wanted: &str| self.columns.iter().any(|column| column.trim().eq_ignore_ascii_case(wanted));
        if let Some(missing) = required.iter().find(|column| !self.rows.is_empty() && !has(column)) {
            return Err(RegistryError::MissingColumn(missing));
        }
        let unknown = self.columns.iter().filter(|column| !known.iter().any(|name| name.eq_ignore_ascii_case(column.trim())));
        Ok(unknown.map(|column| format!("the column {column:?} is unknown to this driver and is not used")).collect())
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The column names, in order.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// What was odd without being wrong.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The rows as the config store keeps them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Array(self.rows.iter().map(|row| Value::Object(row.fields.clone())).collect())
    }
}

fn header_columns(header: &csv::StringRecord) -> Result<Vec<String>, RegistryError> {
    let mut columns = Vec::with_capacity(header.len().min(COLUMNS_MAX));
    for name in header {
        let name = name.trim();
        check_column(&columns, name)?;
        columns.push(name.to_owned());
    }
    Ok(columns)
}

fn check_column(columns: &[String], name: &str) -> Result<(), RegistryError> {
    let number = columns.len() + 1;
    let error = |reason: String| RegistryError::Header { column: number.to_string(), reason };
    if number > COLUMNS_MAX {
        return Err(error(format!("more than {COLUMNS_MAX} columns")));
    }
    if name.trim().is_empty() {
        return Err(error("the column has no name".into()));
    }
    if name.len() > POINT_NAME_BYTES_MAX {
        return Err(error(format!("the name has {} bytes, {POINT_NAME_BYTES_MAX} are allowed", name.len())));
    }
    if let Some(c) = name.chars().find(|c| is_control(*c)) {
        return Err(error(format!("the control character {c:?} is not allowed in a column name")));
    }
    match columns.iter().position(|other| other.trim().eq_ignore_ascii_case(name.trim())) {
        Some(first) => {
            Err(RegistryError::Header { column: name.to_owned(), reason: format!("named twice, in columns {} and {number}", first + 1) })
        }
        None => Ok(()),
    }
}

fn push(rows: &mut Vec<Row>, row: Row) -> Result<(), RegistryError> {
    if rows.len() == ROWS_MAX {
        return Err(RegistryError::Shape(format!("{}: more than {ROWS_MAX} rows", row.place)));
    }
    rows.push(row);
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn shape(error: csv::Error) -> RegistryError {
    let line = error.position().map_or(0, csv::Position::line);
    RegistryError::Shape(format!("line {line}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Point Name,Volttron Point Name,Units\n";

    fn csv(rows: &str) -> Result<Registry, RegistryError> {
        Registry::from_csv(format!("{HEADER}{rows}").as_bytes())
    }

    #[test]
    fn byte_order_mark_crlf_quotes_and_blank_lines() {
        let text = "\u{feff}Point Name,Volttron Point Name,Units\r\n\r\na,\"A, big\",\"deg\r\nF\"\r\n,,\r\nb,B,%\r\n";
        let registry = Registry::from_csv(text.as_bytes()).unwrap();
        assert_eq!(registry.columns()[0], "Point Name");
        assert_eq!(registry.rows().len(), 2);
        assert_eq!(registry.rows()[0].text("volttron point name"), "A, big");
        assert_eq!(registry.rows()[1].text("Units"), "%");
    }

    #[test]
    fn ragged_rows_name_the_line() {
        let error = csv("a,A,F\nb,B\n").unwrap_err();
        assert_eq!(error.to_string(), "line 3: 2 fields, but the header has 3");
        let error = Registry::from_csv("\u{feff}Point Name,Units\r\n\r\na,\"two\r\nlines\"\r\n\r\nb\r\n".as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "line 6: 1 fields, but the header has 2");
    }

    #[test]
    fn duplicates_name_both_lines() {
        let error = csv("a,A,F\n\nb,B,F\nc,A,F\n").unwrap_err();
        assert_eq!(error.to_string(), "line 5, column Volttron Point Name: the point \"A\" is already defined in line 2");
        let rows = serde_json::json!([{"Volttron Point Name": "A"}, {"Volttron Point Name": "A"}]);
        assert_eq!(
            Registry::from_json(&rows).unwrap_err().to_string(),
            "row 2, column Volttron Point Name: the point \"A\" is already defined in row 1"
        );
    }

    #[test]
    fn names_that_differ_by_case_are_a_warning() {
        let registry = csv("a,Temp,F\nb,temp,F\n").unwrap();
        assert_eq!(registry.warnings().len(), 1);
    }

    #[test]
    fn hostile_fields_are_refused_with_line_and_column() {
        for (rows, text) in [
            ("a,\u{202e}A,F\n", "line 2, column Volttron Point Name: the control character '\\u{202e}' is not allowed"),
            ("a,A,\u{0}\n", "line 2, column Units: the control character '\\0' is not allowed"),
            ("a,x/../y,F\n", "line 2, column Volttron Point Name: \"x/../y\" has an empty or relative part between slashes"),
            ("a,\"A\nB\",F\n", "line 2, column Volttron Point Name: the control character '\\n' is not allowed in a point name"),
        ] {
            assert_eq!(csv(rows).unwrap_err().to_string(), text);
        }
        let huge = csv(&format!("a,A,{}\n", "x".repeat(65_536))).unwrap_err();
        assert_eq!(huge.to_string(), "line 2, column Units: 65536 bytes are more than the 4096 allowed");
        assert!(csv("a,<img onerror=x>,F\nb,.*[a-z]+(,F\n").is_ok());
    }

    #[test]
    fn headers_are_checked() {
        assert!(Registry::from_csv(b"").is_err());
        assert_eq!(Registry::from_csv(b"a,,b\n").unwrap_err().to_string(), "header, column 2: the column has no name");
        assert_eq!(Registry::from_csv(b"Units,units\n").unwrap_err().to_string(), "header, column units: named twice, in columns 1 and 2");
        assert_eq!(Registry::from_csv(b"a\nok\n\xff\n").unwrap_err().to_string(), "line 3: not UTF-8 text; save the file as UTF-8");
    }

    #[test]
    fn unknown_columns_are_kept_and_shown() {
        let registry = Registry::from_csv(b"Volttron Point Name,Colour\nA,red\n").unwrap();
        let warnings = registry.check_columns(&[POINT_NAME], &[POINT_NAME]).unwrap();
        assert_eq!(warnings, ["the column \"Colour\" is unknown to this driver and is not used"]);
        assert_eq!(registry.rows()[0].fields()["Colour"], "red");
        assert_eq!(registry.check_columns(&[], &["Units"]), Err(RegistryError::MissingColumn("Units")));
    }

    #[test]
    fn json_rows_may_hold_numbers() {
        let rows = serde_json::json!([{"Volttron Point Name": "A", "Point Address": 7, "Writable": true, "Notes": null}]);
        let registry = Registry::from_json(&rows).unwrap();
        assert_eq!(registry.rows()[0].text("Point Address"), "7");
        assert_eq!(registry.rows()[0].text("Notes"), "");
        assert_eq!(registry.to_json(), rows);
        assert!(Registry::from_json(&serde_json::json!({"a": 1})).is_err());
        let missing = Registry::from_json(&"config://fake.csv".into()).unwrap_err();
        assert_eq!(missing.to_string(), "the registry config://fake.csv is not in the config store");
    }
}
