//! The protocols. Each offers `build(context, driver_config, registry)`; `catalog` lists them.

pub mod fake;
pub mod modbus;

use serde_json::Value;

use crate::error::DriverError;
use crate::registry::Row;

/// Longest piece of a refused value that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 60;

/// A refused value; the text shows no more than its start.
fn bad_value(point: String, expected: impl Into<String>, value: &Value) -> DriverError {
    let text = value.to_string();
    let mut got: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if got.len() < text.len() {
        got.push_str("...");
    }
    DriverError::BadValue { point, expected: expected.into(), got }
}

/// Column `Writable`: TRUE in any case; everything else means no, with a warning unless it says so.
fn writable(row: &Row, warnings: &mut Vec<String>) -> bool {
    let text = row.text("Writable");
    match text.to_ascii_lowercase().as_str() {
        "true" => return true,
        "false" | "" => {}
        _ => warnings.push(format!("{}, column Writable: {text:?} counts as FALSE; write TRUE for a writable point", row.place())),
    }
    false
}
