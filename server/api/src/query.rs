//! Query strings, forms and paths as VOLTTRON reads them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::ApiError;

/// What stays as it is in a path: unreserved characters and slashes.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Percent-encodes a name for a link. Slashes stay: names may span several segments.
pub fn encode(name: &str) -> String {
    utf8_percent_encode(name, PATH).to_string()
}

/// Decodes a path; `%2F` becomes an ordinary slash.
pub fn decode_path(path: &str) -> Result<String, ApiError> {
    match percent_decode_str(path).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(ApiError::invalid("The path is not UTF-8 text.")),
    }
}

/// Name and value pairs in their order, decoded.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c=d`; plus signs are blanks, bytes that are no UTF-8 are replaced.
    pub fn parse(text: &str) -> Self {
        let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name), decode(value))
        };
        Self(text.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of `name`; empty, `null` and `none` in any case count as absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty() && !value.eq_ignore_ascii_case("null") && !value.eq_ignore_ascii_case("none"))
    }

    /// `true`, `t` and `1` in any case are true, everything else is false; `default` when absent.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, |value| matches!(value.to_ascii_lowercase().as_str(), "true" | "t" | "1"))
    }

    /// A whole number, 0 or more.
    ///
    /// # Errors
    /// 400 naming the parameter.
    pub fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.trim().parse().map(Some).map_err(|_| ApiError::invalid(format!("'{name}' must be a whole number, 0 or more.")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_encoded_and_decoded_alike() {
        for name in ["a/b c", "100%#?", "ümläut", "%2e%2e", "<img>"] {
            assert_eq!(decode_path(&encode(name)).unwrap(), name);
        }
        assert_eq!(encode("registry configs/ä.csv"), "registry%20configs/%C3%A4.csv");
        assert_eq!(decode_path("a%2Fb").unwrap(), "a/b");
        assert!(decode_path("%ff").is_err());
    }

    #[test]
    fn parameters_are_read_as_volttron_reads_them() {
        let query = Query::parse("a=T&b=yes&c=&tag=None&regex=a%2Bb+c&n=x&n=2");
        assert!(query.flag("a", false) && !query.flag("b", true) && query.flag("absent", true));
        assert_eq!((query.text("tag"), query.text("c"), query.text("regex")), (None, None, Some("a+b c")));
        assert_eq!(query.number("n").unwrap_err().status(), 400);
        assert_eq!(query.number("absent").unwrap(), None);
    }
}
