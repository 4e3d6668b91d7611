//! JSON as VOLTTRON's Python peers write and read it.
//!
//! They write `NaN` and `Infinity`, integers of any size, lone surrogates and, in version 6, bytes that are not UTF-8; they read pure ASCII
//! safely and nothing else. What they wrote is relayed as it is ([`members`] takes a document apart without parsing it); what is needed as
//! values is repaired ([`parse_lenient`]); what we write is ASCII ([`to_ascii`], [`asciify`]).

mod ascii;
mod scan;
mod value;

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

use scan::{Repair, Scan};

use crate::text;

pub use ascii::{asciify, asciify_bytes, push_text, push_value, to_ascii};

/// How deep arrays and objects may nest, the outermost one counted; deeper documents are refused.
pub const DEPTH_MAX: usize = 127;

/// Why a text is not JSON, not even as Python writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// A character that cannot stand there.
    #[error("unexpected character at byte {at}")]
    Unexpected {
        /// Offset in bytes.
        at: usize,
    },
    /// The text ends too early.
    #[error("the document is not complete")]
    Incomplete,
    /// Something follows the document.
    #[error("there is more after the document, from byte {at} on")]
    Trailing {
        /// Offset in bytes.
        at: usize,
    },
    /// Deeper than [`DEPTH_MAX`].
    #[error("the document nests deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// Repairing did not help.
    #[error("the document cannot be read as JSON")]
    Unreadable,
}

/// Parses JSON as Python writes it: UTF-8, else latin-1; `NaN`, the infinities and numbers beyond a double become `null`; lone surrogates
/// become U+FFFD. Of members with the same name the last one counts.
///
/// # Errors
/// [`JsonError`] for what Python could not read either, and for nesting deeper than [`DEPTH_MAX`].
pub fn parse_lenient(text: &[u8]) -> Result<Value, JsonError> {
    if let Some(value) = value::parse_strict(text) {
        return Ok(value);
    }
    let text = text::decode(text);
    let mut repairs: Vec<(Range<usize>, Repair)> = Vec::new();
    let mut scan = Scan::new(text.as_bytes());
    scan.value(DEPTH_MAX, &mut |range, repair| repairs.push((range, repair)))?;
    scan.end()?;
    value::parse_strict(&repaired(text.as_bytes(), &repairs)).ok_or(JsonError::Unreadable)
}

/// A member of an object: its name, and the raw text of its value.
pub type Member<'a> = (Cow<'a, str>, &'a str);

/// The members of an object in their order, repetitions included.
///
/// The whole text is checked (brackets, strings, numbers, Python's `NaN` and infinities), so that a raw value can be put into another
/// document. A text that came as bytes goes through [`asciify`] first, which also settles what its bytes mean.
///
/// # Errors
/// [`JsonError`] when the text is not one object.
pub fn members(object: &str) -> Result<Vec<Member<'_>>, JsonError> {
    let mut found = Vec::new();
    each_member(object, |name, value| found.push((name, value)))?;
    Ok(found)
}

/// Like [`members`], without collecting them.
///
/// # Errors
/// [`JsonError`] when the text is not one object; members before the fault were visited.
pub fn each_member<'a>(object: &'a str, mut visit: impl FnMut(Cow<'a, str>, &'a str)) -> Result<(), JsonError> {
    let mut scan = Scan::new(object.as_bytes());
    scan.open(b'{')?;
    if !scan.close(b'}') {
        loop {
            let name = scan.string()?;
            scan.colon()?;
            let value = scan.value(DEPTH_MAX - 1, &mut |_, _| ())?;
            visit(name_text(&object[name]), &object[value]);
            if !scan.comma_or(b'}')? {
                break;
            }
        }
    }
    scan.end()
}

/// The raw texts of an array's elements, checked like those of [`members`].
///
/// # Errors
/// [`JsonError`] when the text is not one array.
pub fn elements(array: &str) -> Result<Vec<&str>, JsonError> {
    let mut found = Vec::new();
    let mut scan = Scan::new(array.as_bytes());
    scan.open(b'[')?;
    if !scan.close(b']') {
        loop {
            let value = scan.value(DEPTH_MAX - 1, &mut |_, _| ())?;
            found.push(&array[value]);
            if !scan.comma_or(b']')? {
                break;
            }
        }
    }
    scan.end()?;
    Ok(found)
}

/// Whether the text is a number, as Python reads numbers: `NaN` and the infinities included.
#[must_use]
pub fn is_number(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'-' | b'0'..=b'9' | b'N' | b'I'))
        && Scan::new(text).value(0, &mut |_, _| ()).is_ok_and(|place| place == (0..text.len()))
}

/// The text of a string token, which stands in quotes.
fn name_text(token: &str) -> Cow<'_, str> {
    if !token.contains('\\') {
        return Cow::Borrowed(&token[1..token.len() - 1]);
    }
    match parse_lenient(token.as_bytes()) {
        Ok(Value::String(name)) => Cow::Owned(name),
        _ => Cow::Borrowed(token),
    }
}

fn repaired(text: &[u8], repairs: &[(Range<usize>, Repair)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut copied = 0;
    for (range, repair) in repairs {
        let substitute: &[u8] = match repair {
            Repair::NotFinite => b"null",
            Repair::Surrogate => br"\ufffd",
        };
        out.extend_from_slice(&text[copied..range.start]);
        out.extend_from_slice(substitute);
        copied = range.end;
    }
    out.extend_from_slice(&text[copied..]);
    out
}
