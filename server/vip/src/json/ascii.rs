//! Writing JSON in pure ASCII: VOLTTRON 9 and later take every frame for latin-1, so that only escapes arrive as they were meant.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

use crate::text;

/// A value as compact JSON in pure ASCII; characters beyond the basic plane as surrogate pairs.
#[must_use]
pub fn to_ascii(value: &Value) -> String {
    let mut out = String::new();
    push_value(&mut out, value);
    out
}

/// Escapes what is not ASCII in a JSON text (UTF-8, else latin-1); an ASCII text comes back as it is. What is not JSON does not become it.
#[must_use]
pub fn asciify(json_text: &[u8]) -> Cow<'_, str> {
    match text::decode(json_text) {
        Cow::Borrowed(text) if text.is_ascii() => Cow::Borrowed(text),
        text => Cow::Owned(escaped(&text)),
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut after_backslash = false;
    for character in text.chars() {
        match character {
            '\0'..='\x7f' => out.push(character),
            // No escape, and not to be made one by the backslash that is there.
            _ if after_backslash => out.push('x'),
            _ => push_escape(&mut out, character),
        }
        after_backslash = character == '\\' && !after_backslash;
    }
    out
}

/// [`asciify`] for shared bytes; an ASCII text is shared, not copied.
#[must_use]
pub fn asciify_bytes(json_text: &Bytes) -> Bytes {
    if json_text.is_ascii() { json_text.clone() } else { Bytes::from(asciify(json_text).into_owned()) }
}

/// Appends a value as [`to_ascii`] writes it.
pub fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => push_text(out, text),
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_value(out, element);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_text(out, name);
                out.push(':');
                push_value(out, member);
            }
            out.push('}');
        }
    }
}

/// Appends a text as a JSON string in pure ASCII, with its quotes.
pub fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(character),
            _ => push_escape(out, character),
        }
    }
    out.push('"');
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn push_escape(out: &mut String, character: char) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        out.push_str("\\u");
        for shift in [12, 8, 4, 0] {
            out.push(char::from(HEX[usize::from(*unit >> shift & 15)]));
        }
    }
}
