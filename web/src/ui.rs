//! Small pieces of HTML that templates share: icons, states, names, values, ages, links. The only place that makes HTML outside templates;
//! everything that came from people or devices is escaped here.

use std::borrow::Borrow;
use std::fmt::{self, Write as _};

use askama::filters::HtmlSafe;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use vt_types::timestamp::{self, Timestamp};
use vt_types::topic::is_control;

use crate::assets;

/// Characters of a name shown before it is cut; the full name (up to [`TITLE_CHARS_MAX`]) is its title.
const NAME_CHARS_MAX: usize = 160;
const TITLE_CHARS_MAX: usize = 1024;
/// What may stand unencoded in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Finished HTML; made only in this module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Html(String);

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Html {}

/// How something is, as pages show it: always a word and a shape, never a colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tone {
    /// Needs attention.
    Bad,
    /// Shown value is old.
    Stale,
    /// Not ready yet.
    Starting,
    /// Nothing is known.
    Unknown,
    /// All is well.
    Good,
    /// Switched off on purpose.
    Off,
}

impl Tone {
    /// Its CSS class and its icon.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Stale => "stale",
            Self::Starting => "starting",
            Self::Unknown => "unknown",
            Self::Good => "good",
            Self::Off => "off",
        }
    }
}

impl From<vt_types::StatusWord> for Tone {
    fn from(word: vt_types::StatusWord) -> Self {
        match word {
            vt_types::StatusWord::Good => Self::Good,
            vt_types::StatusWord::Bad => Self::Bad,
            vt_types::StatusWord::Unknown => Self::Unknown,
            vt_types::StatusWord::Starting => Self::Starting,
        }
    }
}

/// An icon of `static/icons/icons.svg`; decorative, words stand beside it or in a label.
pub fn icon(name: &'static str) -> Html {
    Html(format!(r#"<svg class="icon" aria-hidden="true"><use href="{}/icons/icons.svg#{name}"></use></svg>"#, assets::base()))
}

/// The product's mark.
pub fn mark() -> Html {
    Html(format!(
        r#"<svg class="mark" viewBox="0 0 24 24" aria-hidden="true"><use href="{}/icons/icons.svg#mark"></use></svg>"#,
        assets::base()
    ))
}

// Templates hand over fields by reference and literals by value; these functions take both.

/// A state with shape and word.
pub fn state(tone: impl Borrow<Tone>, word: impl AsRef<str>) -> Html {
    state_with(*tone.borrow(), word.as_ref(), "state")
}

/// The same on a tinted ground.
pub fn pill(tone: impl Borrow<Tone>, word: impl AsRef<str>) -> Html {
    state_with(*tone.borrow(), word.as_ref(), "state pill")
}

fn state_with(tone: Tone, word: &str, class: &str) -> Html {
    let tone = tone.class();
    Html(format!(
        r#"<span class="{class} {tone}"><svg class="icon" aria-hidden="true"><use href="{}/icons/icons.svg#{tone}"></use></svg>{}</span>"#,
        assets::base(),
        Escaped(&cut(word, NAME_CHARS_MAX))
    ))
}

/// A name that people or devices chose: isolated from surrounding text direction, cut when long, in full as title.
pub fn name(text: &str) -> Html {
    name_with(text, "name")
}

/// The same in the fixed-width face, for identities, topics and paths.
pub fn code_name(text: &str) -> Html {
    name_with(text, "name mono")
}

fn name_with(text: &str, class: &str) -> Html {
    let shown = cut(text, NAME_CHARS_MAX);
    Html(format!(r#"<bdi class="{class}" title="{}">{}</bdi>"#, Escaped(&cut(text, TITLE_CHARS_MAX)), Breakable(&shown)))
}

/// Escaped text that may be broken after its separators and before a capital inside a word, so that long names wrap where people read a joint.
struct Breakable<'a>(&'a str);

impl fmt::Display for Breakable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut from = 0;
        let mut before = ' ';
        for (at, c) in self.0.char_indices() {
            if matches!(before, '/' | '_' | '.' | '-' | ':') || (before.is_lowercase() && c.is_uppercase()) {
                write!(f, "{}<wbr>", Escaped(&self.0[from..at]))?;
                from = at;
            }
            before = c;
        }
        write!(f, "{}", Escaped(&self.0[from..]))
    }
}

/// Text from elsewhere inside a sentence.
pub fn text(text: &str) -> Html {
    Html(format!("<bdi>{}</bdi>", Escaped(&cut(text, TITLE_CHARS_MAX))))
}

/// Plain text for attributes and titles, cut and with control characters made visible; the template escapes it.
pub fn plain(text: &str) -> String {
    cut(text, NAME_CHARS_MAX)
}

/// A whole line of text with control characters spelled out; the template escapes it.
pub fn visible(text: &str) -> String {
    cut(text, usize::MAX)
}

/// A `<time>` whose age counts on in the browser.
pub fn age(at: impl Borrow<Timestamp>, now: impl Borrow<Timestamp>) -> Html {
    let (at, now) = (*at.borrow(), *now.borrow());
    Html(format!(
        r#"<time class="age" data-age datetime="{}">{}</time>"#,
        at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        age_words(at, now)
    ))
}

/// A `<time>` that the browser shows in the viewer's zone; without scripts in UTC.
pub fn moment(at: impl Borrow<Timestamp>) -> Html {
    let at = *at.borrow();
    Html(format!(
        r#"<time data-local datetime="{}">{}</time>"#,
        at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        at.format("%Y-%m-%d %H:%M:%S UTC")
    ))
}

/// `just now`, `4 s ago`, `3 min ago`, `2 h 5 min ago`, `9 d ago`.
pub fn age_words(at: Timestamp, now: Timestamp) -> String {
    let seconds = (now - at).num_seconds();
    if seconds < 1 { "just now".to_owned() } else { format!("{} ago", span(seconds)) }
}

/// `4 s`, `3 min`, `2 h 5 min`, `9 d`; the same words as static/js/time.js.
pub fn span(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..=59 => format!("{s} s"),
        s @ 60..=3599 => format!("{} min", s / 60),
        s @ 3600..=86_399 if s % 3600 >= 60 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        s @ 3600..=86_399 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

/// A reading as text: seven significant digits, as a 32-bit reading has; the same as static/js/values.js.
pub fn value(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => cut(text, TITLE_CHARS_MAX),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => decimal(float),
            _ => number.to_string(),
        },
        other => cut(&other.to_string(), TITLE_CHARS_MAX),
    }
}

/// A number in seven significant digits without trailing zeros.
pub fn decimal(number: f64) -> String {
    let rounded: f64 = format!("{number:.6e}").parse().unwrap_or(number);
    let size = rounded.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) { format!("{rounded:e}") } else { format!("{rounded}") }
}

/// Counts with thin spaces between thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// One path segment, percent-encoded. `.` and `..` would be eaten by browsers and are refused by the types behind every route.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A slash-separated path, each segment percent-encoded.
pub fn path(text: &str) -> String {
    text.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// An HTML id out of any text: hexadecimal, so that it is unique and harmless.
pub fn id(prefix: &str, text: &str) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{prefix}-{hash:016x}")
}

/// The moment as the platform writes it.
pub fn stamp(at: Timestamp) -> String {
    timestamp::format(at)
}

/// At most `chars` characters; control characters and those that reorder text are spelled out.
fn cut(text: &str, chars: usize) -> String {
    let mut shown = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == chars {
            shown.push('…');
            break;
        }
        if is_control(c) && !matches!(c, '\n' | '\t') {
            // Writing to a String cannot fail.
            let _written = write!(shown, "⟨U+{:04X}⟩", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hostile_names_become_harmless_text() {
        let shown = name("<img src=x onerror=alert(1)>\"'&").to_string();
        assert!(!shown.contains("<img") && shown.contains("&lt;img"), "{shown}");
        assert!(name("a\u{202e}b\u{7}").to_string().contains("a⟨U+202E⟩b⟨U+0007⟩"));
        let long = name(&"x".repeat(65_536)).to_string();
        assert!(long.len() < 1400, "{}", long.len());
        assert!(state(Tone::Bad, "<b>").to_string().contains("&lt;b&gt;"));
    }

    #[test]
    fn long_names_may_break_at_their_joints_and_keep_a_whole_title() {
        let shown = name("a/SupplyAir_b<").to_string();
        assert_eq!(shown, r#"<bdi class="name" title="a/SupplyAir_b&lt;">a/<wbr>Supply<wbr>Air_<wbr>b&lt;</bdi>"#);
    }

    #[test]
    fn paths_are_encoded_segment_by_segment() {
        assert_eq!(path("campus/b uilding/a?b#c%\"<x>"), "campus/b%20uilding/a%3Fb%23c%25%22%3Cx%3E");
        assert_eq!(segment("a/b"), "a%2Fb");
        assert_eq!(segment("é"), "%C3%A9");
    }

    #[test]
    fn values_are_written_as_the_browser_writes_them() {
        assert_eq!(value(&json!(55.099_998_474_121_094)), "55.1");
        assert_eq!(value(&json!(20.0)), "20");
        assert_eq!(value(&json!(1_234_567.891)), "1234568");
        assert_eq!(value(&json!(-0.000_123)), "-0.000123");
        assert_eq!(value(&json!(3)), "3");
        assert_eq!(value(&json!(true)), "true");
        assert_eq!(value(&json!(null)), "null");
        assert_eq!(value(&json!("on")), "on");
    }

    #[test]
    fn ages_use_the_largest_fitting_unit() {
        assert_eq!(span(0), "0 s");
        assert_eq!(span(59), "59 s");
        assert_eq!(span(61), "1 min");
        assert_eq!(span(7500), "2 h 5 min");
        assert_eq!(span(7200), "2 h");
        assert_eq!(span(200_000), "2 d");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
    }
}
