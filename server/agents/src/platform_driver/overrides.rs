//! Overrides: patterns of device paths that hold devices against writers, for a time or until cleared.
//! Pure state; times come in as arguments. Patterns match without regard to case (VOLTTRON 6 lowers both sides, 9 lowers new devices).
//! Source: VOLTTRON `platform_driver/agent.py`, `_set_override_on` and what follows.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Map, Value};
use vt_types::{Timestamp, timestamp};

/// Most patterns at once.
pub const PATTERNS_MAX: usize = 1000;
/// Longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;
/// Longest override, in seconds: a hundred years. Longer ones are meant to be without end.
const DURATION_MAX_S: f64 = 3.2e9;

/// Why an override is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverrideRefusal {
    /// The text is contract.
    #[error("Pattern {0} does not exist in list of override patterns")]
    UnknownPattern(String),
    /// Out of bounds.
    #[error("{0}")]
    Invalid(String),
}

/// Patterns with their ends; `None` for those without.
#[derive(Debug, Default)]
pub struct Overrides(BTreeMap<String, Option<Timestamp>>);

impl Overrides {
    /// Whether `path` is held.
    pub fn holds(&self, path: &str) -> bool {
        self.0.keys().any(|pattern| matches(pattern, path))
    }

    /// Adds or extends an override; returns whether the patterns or ends changed. A shorter end than there is changes nothing.
    ///
    /// # Errors
    /// [`OverrideRefusal::Invalid`].
    pub fn set(&mut self, pattern: &str, duration_s: f64, now: Timestamp) -> Result<bool, OverrideRefusal> {
        if pattern.is_empty() || pattern.len() > PATTERN_BYTES_MAX {
            return Err(OverrideRefusal::Invalid(format!("an override pattern has 1 to {PATTERN_BYTES_MAX} bytes")));
        }
        if duration_s.is_nan() {
            return Err(OverrideRefusal::Invalid("duration: a number of seconds is expected".into()));
        }
        if !self.0.contains_key(pattern) && self.0.len() >= PATTERNS_MAX {
            return Err(OverrideRefusal::Invalid(format!("there are {PATTERNS_MAX} override patterns already; remove some first")));
        }
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        let duration = (0.0 < duration_s && duration_s < DURATION_MAX_S).then(|| TimeDelta::microseconds((duration_s * 1e6) as i64));
        let end = duration.map(|duration| now + duration);
        match (self.0.get(pattern), end) {
            (Some(None), _) => return Ok(false),
            (Some(Some(old)), Some(new)) if new < *old => return Ok(false),
            _ => {}
        }
        self.0.insert(pattern.to_owned(), end);
        Ok(true)
    }

    /// Ends an override.
    ///
    /// # Errors
    /// [`OverrideRefusal::UnknownPattern`].
    pub fn remove(&mut self, pattern: &str) -> Result<(), OverrideRefusal> {
        self.0.remove(pattern).map(drop).ok_or_else(|| OverrideRefusal::UnknownPattern(pattern.to_owned()))
    }

    /// Ends all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Ends those whose time is over; returns them.
    pub fn expire(&mut self, now: Timestamp) -> Vec<String> {
        let over: Vec<String> = self.0.iter().filter(|(_, end)| end.is_some_and(|end| end <= now)).map(|(name, _)| name.clone()).collect();
        for pattern in &over {
            self.0.remove(pattern);
        }
        over
    }

    /// The earliest end.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.0.values().flatten().min().copied()
    }

    /// The patterns, sorted.
    pub fn patterns(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// As stored: `{pattern: end timestamp or "0.0"}`, as text.
    pub fn to_text(&self) -> String {
        let end = |end: &Option<Timestamp>| Value::String(end.map_or_else(|| "0.0".to_owned(), timestamp::format));
        Value::Object(self.0.iter().map(|(pattern, time)| (pattern.clone(), end(time))).collect::<Map<_, _>>()).to_string()
    }

    /// Reads what was stored, as text or already parsed; overrides that ended meanwhile are left out.
    ///
    /// # Errors
    /// A sentence on what is wrong.
    pub fn parse(stored: &Value, now: Timestamp) -> Result<Self, String> {
        let parsed: Value = match stored {
            Value::String(text) if text.trim().is_empty() => Value::Object(Map::new()),
            Value::String(text) => serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?,
            other => other.clone(),
        };
        let Value::Object(entries) = parsed else { return Err("an object of patterns and end times is expected".into()) };
        let mut overrides = Self::default();
        for (pattern, end) in entries {
            match end {
                Value::String(text) if text == "0.0" => {
                    overrides.0.insert(pattern, None);
                }
                Value::String(text) => {
                    let end = timestamp::parse(&text).map_err(|error| format!("pattern {pattern:?}: {error}"))?.assume_utc();
                    if end > now {
                        overrides.0.insert(pattern, Some(end));
                    }
                }
                _ => return Err(format!("pattern {pattern:?}: an end time or \"0.0\" is expected")),
            }
        }
        Ok(overrides)
    }
}

/// Shell-style matching as Python's `fnmatch`: `*` (slashes included), `?`, `[seq]`, `[!seq]`; an unclosed `[` is itself.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last star: the pattern behind it, and the text it has not swallowed yet.
    let mut retry: Option<(usize, usize)> = None;
    while let Some(&c) = text.get(t) {
        let step = match pattern.get(p) {
            Some('*') => {
                p += 1;
                retry = Some((p, t));
                continue;
            }
            Some('?') => Some(p + 1),
            Some('[') => match class(&pattern, p, c) {
                Some((true, next)) => Some(next),
                Some((false, _)) => None,
                None => (c == '[').then_some(p + 1),
            },
            Some(&literal) => (literal == c).then_some(p + 1),
            None => None,
        };
        match (step, retry) {
            (Some(next), _) => {
                p = next;
                t += 1;
            }
            (None, Some((after_star, from))) => {
                p = after_star;
                t = from + 1;
                retry = Some((after_star, t));
            }
            (None, None) => return false,
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
}

/// Whether `c` is in the class that opens at `open`, and where the pattern goes on; `None` if it never closes.
fn class(pattern: &[char], open: usize, c: char) -> Option<(bool, usize)> {
    let negated = pattern.get(open + 1) == Some(&'!');
    let start = open + 1 + usize::from(negated);
    // A bracket right at the start belongs to the class.
    let close = (start + 1..pattern.len()).find(|index| pattern.get(*index) == Some(&']'))?;
    let mut members = pattern.get(start..close)?;
    let mut found = false;
    while let [low, rest @ ..] = members {
        (found, members) = match rest {
            ['-', high, rest @ ..] => (found || (*low..=*high).contains(&c), rest),
            rest => (found || *low == c, rest),
        };
    }
    Some((found != negated, close + 1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        timestamp::parse("2026-01-31T12:00:00Z").unwrap().assume_utc()
    }

    #[test]
    fn patterns_match_as_fnmatch() {
        for (pattern, path, wanted) in [
            ("fake-*/*", "fake-campus/fake-building/fake-device", true),
            ("FAKE-*", "fake-campus/b", true),
            ("campus/*/u", "campus/a/b/u", true),
            ("campus/?/u", "campus/ab/u", false),
            ("c/b/unit[1-3]", "c/b/unit2", true),
            ("c/b/unit[!1-3]", "c/b/unit2", false),
            ("c/b/unit[]x]", "c/b/unit]", true),
            ("c/b/[", "c/b/[", true),
            ("*", "anything", true),
            ("", "x", false),
            ("a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("c/b", "c/b/u", false),
        ] {
            assert_eq!(matches(pattern, path), wanted, "{pattern} {path}");
        }
    }

    #[test]
    fn ends_only_move_forward() {
        let mut overrides = Overrides::default();
        assert_eq!(overrides.set("a*", 10.0, now()), Ok(true));
        assert_eq!(overrides.set("a*", 5.0, now()), Ok(false));
        assert_eq!(overrides.set("a*", 20.0, now()), Ok(true));
        assert_eq!(overrides.next_end(), Some(now() + TimeDelta::seconds(20)));
        assert_eq!(overrides.set("a*", 0.0, now()), Ok(true));
        assert_eq!(overrides.set("a*", 30.0, now()), Ok(false));
        assert_eq!(overrides.next_end(), None);
        assert!(overrides.set("", 1.0, now()).is_err() && overrides.set("b", f64::NAN, now()).is_err());
        assert_eq!(overrides.set("b", f64::INFINITY, now()), Ok(true));
    }

    #[test]
    fn expiry() {
        let mut overrides = Overrides::default();
        overrides.set("a", 2.0, now()).unwrap();
        overrides.set("b", -1.0, now()).unwrap();
        assert!(overrides.expire(now() + TimeDelta::seconds(1)).is_empty());
        assert_eq!(overrides.expire(now() + TimeDelta::seconds(2)), ["a"]);
        assert!(!overrides.holds("a") && overrides.holds("B"));
    }

    #[test]
    fn what_is_stored_is_read_again_without_what_ended() {
        let mut overrides = Overrides::default();
        overrides.set("a*", 100.0, now()).unwrap();
        overrides.set("b*", 1.0, now()).unwrap();
        overrides.set("c*", 0.0, now()).unwrap();
        let text = overrides.to_text();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["c*"], "0.0");
        let again = Overrides::parse(&json!(text), now() + TimeDelta::seconds(2)).unwrap();
        assert_eq!(again.patterns(), ["a*", "c*"]);
        assert_eq!(Overrides::default().to_text(), "{}");
        assert!(Overrides::parse(&json!("{}"), now()).unwrap().patterns().is_empty());
        assert!(Overrides::parse(&json!({}), now()).unwrap().patterns().is_empty());
        for broken in [json!("{"), json!([]), json!({"a": "soon"}), json!({"a": 0})] {
            assert!(Overrides::parse(&broken, now()).is_err(), "{broken}");
        }
    }
}
