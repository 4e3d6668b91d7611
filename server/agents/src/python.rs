//! JSON values as Python writes them: `repr()`, and `pprint.pformat()` at width 80. Log lines and error texts are read by people and
//! scripts that know them from Python, so the text is the same to the character.
//! Source: CPython 3 `Lib/pprint.py`, `Objects/unicodeobject.c` (`unicode_repr`), `Objects/floatobject.c`.

use serde_json::{Map, Number, Value};

/// Line width that `pprint` keeps to where it can.
const WIDTH: usize = 80;

/// `repr(value)`; objects keep their order.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(&mut out, value, Order::AsIs);
    out
}

/// `repr()` of a dictionary.
pub fn repr_map(map: &Map<String, Value>) -> String {
    let mut out = String::new();
    write_map(&mut out, map, Order::AsIs);
    out
}

/// `pprint.pformat(value)`; keys are sorted.
pub fn pformat(value: &Value) -> String {
    let mut out = String::new();
    format(&mut out, value, 0, 0, 1);
    out
}

#[derive(Clone, Copy)]
enum Order {
    AsIs,
    Sorted,
}

fn write_repr(out: &mut String, value: &Value, order: Order) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                write_repr(out, item, order);
            }
            out.push(']');
        }
        Value::Object(map) => write_map(out, map, order),
    }
}

fn write_map(out: &mut String, map: &Map<String, Value>, order: Order) {
    out.push('{');
    for (i, (key, value)) in entries(map, order).into_iter().enumerate() {
        out.push_str(if i == 0 { "" } else { ", " });
        write_text(out, key);
        out.push_str(": ");
        write_repr(out, value, order);
    }
    out.push('}');
}

fn entries(map: &Map<String, Value>, order: Order) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    if matches!(order, Order::Sorted) {
        // Order of bytes in UTF-8 is order of code points, which is Python's.
        entries.sort_unstable_by_key(|(key, _)| *key);
    }
    entries
}

fn write_number(out: &mut String, number: &Number) {
    match number.as_f64() {
        Some(float) if number.is_f64() => write_float(out, float),
        _ => push(out, format_args!("{number}")),
    }
}

/// Shortest digits that read back the same; an exponent below 1e-4 and from 1e16 on, with two digits at least.
fn write_float(out: &mut String, float: f64) {
    let scientific = format!("{float:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return out.push_str(&scientific);
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        return push(out, format_args!("{float:?}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    push(out, format_args!("{mantissa}e{sign}{:02}", exponent.abs()));
}

fn write_text(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) => out.push(c),
            c if u32::from(c) <= 0xff => push(out, format_args!("\\x{:02x}", u32::from(c))),
            c if u32::from(c) <= 0xffff => push(out, format_args!("\\u{:04x}", u32::from(c))),
            c => push(out, format_args!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push(quote);
}

/// Python's `str.isprintable` of one character. Rust's `escape_debug` knows the same classes; after a first letter it does not escape
/// combining marks, which Python takes as printable.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let mut buffer = [b'a'; 5];
    let len = 1 + c.encode_utf8(&mut buffer[1..]).len();
    std::str::from_utf8(&buffer[..len]).is_ok_and(|pair| pair.escape_debug().nth(1) == Some(c))
}

/// Appends `value`, whose first character stands at column `indent` and which is followed by `allowance` characters on its last line.
fn format(out: &mut String, value: &Value, indent: usize, allowance: usize, level: usize) {
    let start = out.len();
    write_repr(out, value, Order::Sorted);
    if fits(&out[start..], WIDTH.saturating_sub(indent + allowance)) {
        return;
    }
    match value {
        Value::Object(map) => {
            out.truncate(start);
            out.push('{');
            let (last, indent) = (map.len().saturating_sub(1), indent + 1);
            for (i, (key, value)) in entries(map, Order::Sorted).into_iter().enumerate() {
                let key_start = out.len();
                write_text(out, key);
                let key_chars = out[key_start..].chars().count();
                out.push_str(": ");
                format(out, value, indent + key_chars + 2, if i == last { allowance + 1 } else { 1 }, level + 1);
                if i != last {
                    break_line(out, ",", indent);
                }
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.truncate(start);
            out.push('[');
            let (last, indent) = (items.len().saturating_sub(1), indent + 1);
            for (i, item) in items.iter().enumerate() {
                format(out, item, indent, if i == last { allowance + 1 } else { 1 }, level + 1);
                if i != last {
                    break_line(out, ",", indent);
                }
            }
            out.push(']');
        }
        Value::String(text) if !text.is_empty() => {
            out.truncate(start);
            format_text(out, text, indent, allowance, level);
        }
        _ => {}
    }
}

/// A text too wide for its line becomes adjacent literals, broken at line ends and blanks; at the top they stand in parentheses.
fn format_text(out: &mut String, text: &str, indent: usize, allowance: usize, level: usize) {
    let top = usize::from(level == 1);
    let (indent, allowance) = (indent + top, allowance + top);
    let width = WIDTH.saturating_sub(indent);
    let last_width = width.saturating_sub(allowance);
    let lines = split(text, |before, after| ends_line(before) && !(before == '\r' && after == '\n'));
    let mut chunks: Vec<String> = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let last_line = i == lines.len() - 1;
        if fits(&text_repr(line), if last_line { last_width } else { width }) {
            chunks.push(text_repr(line));
            continue;
        }
        let parts = split(line, |before, after| is_blank(before) && !is_blank(after));
        let mut current = String::new();
        for (j, part) in parts.iter().enumerate() {
            let limit = if last_line && j == parts.len() - 1 { last_width } else { width };
            let candidate = format!("{current}{part}");
            if fits(&text_repr(&candidate), limit) {
                current = candidate;
                continue;
            }
            if !current.is_empty() {
                chunks.push(text_repr(&current));
            }
            current = (*part).to_owned();
        }
        if !current.is_empty() {
            chunks.push(text_repr(&current));
        }
    }
    if let [only] = &chunks[..] {
        return out.push_str(only);
    }
    out.push_str(if level == 1 { "(" } else { "" });
    for (i, chunk) in chunks.iter().enumerate() {
        if i > 0 {
            break_line(out, "", indent);
        }
        out.push_str(chunk);
    }
    out.push_str(if level == 1 { ")" } else { "" });
}

fn text_repr(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_text(&mut out, text);
    out
}

fn fits(text: &str, chars_max: usize) -> bool {
    // Bytes are at least as many as characters: most texts need no counting.
    text.len() <= chars_max || text.chars().count() <= chars_max
}

/// Cuts `text` between each two characters for which `cut` holds.
fn split(text: &str, cut: impl Fn(char, char) -> bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut before) = (0, None);
    for (at, c) in text.char_indices() {
        if before.is_some_and(|before| cut(before, c)) {
            parts.push(&text[start..at]);
            start = at;
        }
        before = Some(c);
    }
    parts.push(&text[start..]);
    parts
}

/// The ends of lines of Python's `str.splitlines`.
fn ends_line(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What `\s` of Python's `re` matches.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

fn break_line(out: &mut String, before: &str, indent: usize) {
    out.push_str(before);
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.push_str(&text.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Written by CPython 3.11: `[{"value": ..., "repr": repr(value), "pformat": pprint.pformat(value)}, ...]`.
    const GOLDEN: &str = include_str!("python_golden.json");

    #[test]
    fn every_text_is_what_python_writes() {
        let cases: Vec<Value> = serde_json::from_str(GOLDEN).unwrap();
        assert!(cases.len() > 100);
        for case in cases {
            assert_eq!(repr(&case["value"]), case["repr"].as_str().unwrap(), "repr of {}", case["value"]);
            assert_eq!(pformat(&case["value"]), case["pformat"].as_str().unwrap(), "pformat of {}", case["value"]);
        }
    }

    #[test]
    fn the_message_of_the_well_known_sample_is_laid_out_as_there() {
        let integer = |units: &str| json!({"type": "integer", "tz": "US/Pacific", "units": units});
        let message = json!([
            {"temperature": 50.0, "Heartbeat": true, "PowerState": 0, "ValveState": 0},
            {"temperature": integer("Fahrenheit"), "Heartbeat": integer("On/Off"), "PowerState": integer("1/0"), "ValveState": integer("1/0")}
        ]);
        let expected = "[{'Heartbeat': True, 'PowerState': 0, 'ValveState': 0, 'temperature': 50.0},
 {'Heartbeat': {'type': 'integer', 'tz': 'US/Pacific', 'units': 'On/Off'},
  'PowerState': {'type': 'integer', 'tz': 'US/Pacific', 'units': '1/0'},
  'ValveState': {'type': 'integer', 'tz': 'US/Pacific', 'units': '1/0'},
  'temperature': {'type': 'integer',
                  'tz': 'US/Pacific',
                  'units': 'Fahrenheit'}}]";
        assert_eq!(pformat(&message), expected);
    }
}
