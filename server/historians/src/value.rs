//! A reading's value, small enough to keep many in memory, and its JSON text. Not a general JSON type: whatever is no number is kept as text.

use serde_json::Value;

/// A number, or the JSON text of anything else. The text form is what `data.value_string` shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A JSON number with a fraction or an exponent.
    Float(f64),
    /// A JSON number without them, within 64 bits.
    Integer(i64),
    /// JSON text of null, a boolean, a string, an array, an object, or a larger integer.
    Json(Box<str>),
}

impl Cell {
    /// The cell of `value`.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        if let Value::Number(number) = value {
            if let Some(integer) = number.as_i64() {
                return Self::Integer(integer);
            }
            if let Some(float) = number.as_f64().filter(|_| number.is_f64()) {
                return Self::Float(float);
            }
        }
        Self::Json(value.to_string().into_boxed_str())
    }

    /// The cell of stored text. Text that is no JSON (`NaN` of Python's encoder) becomes a JSON string, so that nothing stored is lost.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        match RawCell::number(text) {
            Some(raw) => raw.to_cell(),
            None => match serde_json::from_str::<Value>(text) {
                Ok(value) => Self::of(&value),
                Err(_) => Self::Json(Value::from(text).to_string().into_boxed_str()),
            },
        }
    }

    /// The value for a caller.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Float(float) => Value::from(*float),
            Self::Integer(integer) => Value::from(*integer),
            Self::Json(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        }
    }

    /// Appends the JSON text.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let written = match self {
            Self::Float(float) => serde_json::to_writer(&mut *out, float),
            Self::Integer(integer) => serde_json::to_writer(&mut *out, integer),
            Self::Json(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(())
            }
        };
        if written.is_err() {
            // Writing a number into memory has no way to fail; keep the text valid if it ever had.
            out.extend_from_slice(b"null");
        }
    }

    /// The JSON text.
    #[must_use]
    pub fn json(&self) -> String {
        let mut out = Vec::with_capacity(20);
        self.write_json(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    /// The value as a number for charts: booleans are 1 and 0, text and null are none.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        self.as_raw().as_number()
    }

    /// The same, borrowed.
    #[must_use]
    pub fn as_raw(&self) -> RawCell<'_> {
        match self {
            Self::Float(float) => RawCell::Float(*float),
            Self::Integer(integer) => RawCell::Integer(*integer),
            Self::Json(text) => RawCell::Json(text),
        }
    }

    /// Bytes in memory beyond the cell itself.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Json(text) => text.len(),
            Self::Float(_) | Self::Integer(_) => 0,
        }
    }
}

/// A cell that borrows its text; what decoding a chunk yields, without allocating.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RawCell<'a> {
    /// As in [`Cell`].
    Float(f64),
    /// As in [`Cell`].
    Integer(i64),
    /// As in [`Cell`].
    Json(&'a str),
}

impl<'a> RawCell<'a> {
    /// The number that `text` is, if it is a JSON number that [`Cell`] keeps as one.
    #[must_use]
    pub fn number(text: &'a str) -> Option<Self> {
        let first = *text.as_bytes().first()?;
        if !(first == b'-' || first.is_ascii_digit()) {
            return None;
        }
        if text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            return text.parse().ok().filter(|float: &f64| float.is_finite()).map(Self::Float);
        }
        text.parse().ok().map(Self::Integer)
    }

    /// An owned cell.
    #[must_use]
    pub fn to_cell(self) -> Cell {
        match self {
            Self::Float(float) => Cell::Float(float),
            Self::Integer(integer) => Cell::Integer(integer),
            Self::Json(text) => Cell::Json(text.into()),
        }
    }

    /// As [`Cell::number`].
    #[must_use]
    pub fn as_number(self) -> Option<f64> {
        match self {
            Self::Float(float) => Some(float),
            #[expect(clippy::cast_precision_loss, reason = "a chart shows fewer than 53 bits")]
            Self::Integer(integer) => Some(integer as f64),
            Self::Json("true") => Some(1.0),
            Self::Json("false") => Some(0.0),
            Self::Json(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_json_value_survives() {
        for value in [
            json!(50.0),
            json!(-0.1),
            json!(1e300),
            json!(5),
            json!(u64::MAX),
            json!(null),
            json!(true),
            json!("a\"]b"),
            json!({"a": [1, 2.5]}),
        ] {
            let cell = Cell::of(&value);
            assert_eq!(cell.to_value(), value);
            assert_eq!(cell.json(), value.to_string());
            assert_eq!(Cell::of_text(&cell.json()), cell);
        }
    }

    #[test]
    fn text_that_is_no_json_is_kept_as_a_string() {
        assert_eq!(Cell::of_text("NaN").to_value(), json!("NaN"));
        assert_eq!(Cell::of_text("-").to_value(), json!("-"));
    }

    #[test]
    fn charts_see_booleans_as_numbers_and_no_text() {
        assert_eq!(Cell::of(&json!(true)).number(), Some(1.0));
        assert_eq!(Cell::of(&json!("5")).number(), None);
        assert_eq!(Cell::of(&json!(null)).number(), None);
    }
}
