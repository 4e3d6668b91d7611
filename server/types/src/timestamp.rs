//! VOLTTRON's timestamp text: `YYYY-MM-DDTHH:MM:SS.ffffff+HH:MM`, always six fraction digits.
//! Source: VOLTTRON `volttron/platform/agent/utils.py` (`format_timestamp`, `parse_timestamp_string`).

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

/// A moment, UTC. An alias, so that arithmetic is chrono's.
pub type Timestamp = DateTime<Utc>;

/// A text that is no timestamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time; write it as 2026-01-31T12:00:00+00:00")]
pub struct TimestampError(pub String);

/// Writes `time` in UTC with microseconds and `+00:00`.
#[must_use]
pub fn format(time: Timestamp) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

/// Either form of timestamp text: with an offset, or naive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The text carried an offset; converted to UTC.
    Utc(Timestamp),
    /// The text carried none. Historians take it as UTC, the actuator as local time.
    Naive(NaiveDateTime),
}

impl Parsed {
    /// Naive times taken as UTC.
    #[must_use]
    pub fn assume_utc(self) -> Timestamp {
        match self {
            Self::Utc(time) => time,
            Self::Naive(naive) => naive.and_utc(),
        }
    }
}

/// Reads ISO 8601 with `T` or a blank, with or without fraction (any number of digits) and offset (`Z`, `+HH:MM`, `+HHMM`), or a date alone.
///
/// # Errors
/// [`TimestampError`] with the text.
pub fn parse(text: &str) -> Result<Parsed, TimestampError> {
    let text = text.trim();
    for format in ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M%#z"] {
        if let Ok(time) = DateTime::parse_from_str(text, format) {
            return Ok(Parsed::Utc(time.to_utc()));
        }
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Ok(Parsed::Naive(time));
        }
    }
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .ok()
        .and_then(|date| date.and_hms_opt(0, 0, 0))
        .map(Parsed::Naive)
        .ok_or_else(|| TimestampError(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_fraction_digits_and_offset() {
        let time = parse("2018-12-19T20:38:00.001684+00:00").unwrap().assume_utc();
        assert_eq!(format(time), "2018-12-19T20:38:00.001684+00:00");
        assert_eq!(format(parse("2018-12-19T20:38:00Z").unwrap().assume_utc()), "2018-12-19T20:38:00.000000+00:00");
        assert_eq!(format(parse("2018-12-19T15:38:00-05:00").unwrap().assume_utc()), "2018-12-19T20:38:00.000000+00:00");
    }

    #[test]
    fn naive_times_are_told_apart() {
        assert!(matches!(parse("2018-12-19T20:38:00.5").unwrap(), Parsed::Naive(_)));
        assert!(matches!(parse("2018-12-19").unwrap(), Parsed::Naive(_)));
        assert!(parse("yesterday").is_err());
        assert!(parse("").is_err());
    }
}
