//! JSON objects from files that people edit: every problem has a line, and a key that stands twice is noticed instead of silently lost.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;
use vt_backends::RepositoryError;

/// The members of an object in their order.
pub(crate) struct Members(pub Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object in braces")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Value)> = Vec::new();
                let mut seen = std::collections::HashSet::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom(format!("{} stands twice", excerpt(&key))));
                    }
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// The text with comments (`//` and `#` to the end of the line, `/* */`) made blank; lines and columns stay. What stands in quotes stays.
pub(crate) fn without_comments(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < out.len() {
        let rest = &out[at..];
        let (length, is_comment) = match rest {
            [b'"', ..] => (quoted(rest), false),
            [b'#', ..] | [b'/', b'/', ..] => (rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()), true),
            // One that nobody closed is left to the parser, which tells its line.
            [b'/', b'*', ..] => match rest.windows(2).skip(2).position(|two| two == b"*/") {
                Some(end) => (end + 4, true),
                None => (rest.len(), false),
            },
            _ => (1, false),
        };
        if is_comment {
            for byte in &mut out[at..at + length] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at += length;
    }
    out
}

/// Length of the quoted text at the start of `bytes`.
fn quoted(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Reads the object in `bytes`; `path` is for messages. A byte order mark is skipped.
pub(crate) fn object(path: &Path, bytes: &[u8]) -> Result<Members, RepositoryError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|error| {
        let problem = if error.is_eof() { "the file ends too early; it may be half-written".to_owned() } else { reason(&error) };
        corrupt(path, Some(error.line()), problem)
    })
}

/// serde_json adds the position to its text; the place already has it.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    format!("this is not valid JSON: {}", reason.chars().take(200).collect::<String>())
}

/// The line on which `key` first stands, counted from 1.
pub(crate) fn line_of(bytes: &[u8], key: &str) -> Option<usize> {
    let wanted = serde_json::to_string(key).ok()?;
    let at = bytes.windows(wanted.len()).position(|window| window == wanted.as_bytes())?;
    Some(1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count())
}

/// An error with file and line.
pub(crate) fn corrupt(path: &Path, line: Option<usize>, problem: impl Into<String>) -> RepositoryError {
    let place = match line {
        Some(line) => format!("{} (line {})", path.display(), line.max(1)),
        None => path.display().to_string(),
    };
    RepositoryError::Corrupt { place, problem: problem.into() }
}

/// The start of a text for messages, quoted and escaped.
pub(crate) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let short: String = text.chars().take(CHARS_MAX).collect();
    if short.len() < text.len() { format!("{short:?}...") } else { format!("{short:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_have_a_line() {
        for (text, expected) in [
            ("", "f (line 1): the file ends too early; it may be half-written"),
            ("{\n\"a\": 1,\n", "f (line 3): the file ends too early; it may be half-written"),
            ("{\n\"a\": 1\n\"b\": 2}", "f (line 3): this is not valid JSON: expected `,` or `}`"),
            ("[1]", "f (line 1): this is not valid JSON: invalid type: sequence, expected an object in braces"),
            ("{\"a\": 1,\n\"a\": 2}", "\"a\" stands twice"),
            ("{} x", "f (line 1): this is not valid JSON: trailing characters"),
        ] {
            let error = object(Path::new("f"), text.as_bytes()).err().unwrap().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let deep = "{\"a\":".repeat(100_000);
        assert!(object(Path::new("f"), deep.as_bytes()).is_err());
        assert!(object(Path::new("f"), b"{\"a\":\"\xff\"}").is_err());
        assert_eq!(object(Path::new("f"), b"\xef\xbb\xbf{\"a\":1}").unwrap().0.len(), 1);
    }

    #[test]
    fn comments_become_blanks_and_texts_stay() {
        for (text, expected) in [
            ("{\"a\": 1} // x", "{\"a\": 1}     "),
            ("# x\n{}", "   \n{}"),
            ("{/* a\nb */}", "{    \n    }"),
            ("{/*/ x */}", "{        }"),
            (r##"{"//": "\"# /* \\"} # x"##, r##"{"//": "\"# /* \\"}    "##),
            ("{} /* open", "{} /* open"),
            ("\"open // ", "\"open // "),
            ("\"a\\", "\"a\\"),
        ] {
            assert_eq!(String::from_utf8(without_comments(text.as_bytes())).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn keys_are_found() {
        assert_eq!(line_of(b"{\n\n\"a\": {}}", "a"), Some(3));
        assert_eq!(line_of(b"{}", "a"), None);
    }
}
