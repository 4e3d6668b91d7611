//! Many readings folded into few buckets, for charts: each bucket keeps what a line with a band of minimum and maximum needs.

use std::{ops::Range, sync::Arc};

use chrono::DateTime;
use serde_json::{Map, Value};
use vt_types::Timestamp;

/// Most buckets that a caller may ask for. A screen has fewer columns; more is cut to this.
pub const BUCKETS_MAX: usize = 100_000;

/// The readings of one stretch of time. Booleans count as 1 and 0; text and null are left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Time of its first reading.
    pub first_at: Timestamp,
    /// Time of its last reading.
    pub last_at: Timestamp,
    /// How many readings.
    pub count: u64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Mean value.
    pub avg: f64,
    /// First value.
    pub first: f64,
    /// Last value.
    pub last: f64,
}

/// Answer to a downsampled query: buckets in time order, empty ones left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Downsampled {
    /// At most as many as asked for.
    pub buckets: Vec<Bucket>,
    /// `{units, type, tz}` or empty.
    pub metadata: Arc<Map<String, Value>>,
}

/// Numbers that stand for all readings of a stretch, all of them numeric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Time of the first reading, microseconds since 1970.
    pub first_us: i64,
    /// Time of the last reading.
    pub last_us: i64,
    /// How many.
    pub count: u64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Their sum.
    pub sum: f64,
    /// First value.
    pub first: f64,
    /// Last value.
    pub last: f64,
}

impl Summary {
    /// The summary of one reading.
    #[must_use]
    pub fn one(at_us: i64, value: f64) -> Self {
        Self { first_us: at_us, last_us: at_us, count: 1, min: value, max: value, sum: value, first: value, last: value }
    }

    /// Adds a later stretch.
    pub fn add(&mut self, later: &Self) {
        self.last_us = later.last_us;
        self.count += later.count;
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.sum += later.sum;
        self.last = later.last;
    }

    fn bucket(&self) -> Option<Bucket> {
        #[expect(clippy::cast_precision_loss, reason = "a count of readings is far below 53 bits")]
        let avg = self.sum / self.count as f64;
        Some(Bucket {
            first_at: DateTime::from_timestamp_micros(self.first_us)?,
            last_at: DateTime::from_timestamp_micros(self.last_us)?,
            count: self.count,
            min: self.min,
            max: self.max,
            avg,
            first: self.first,
            last: self.last,
        })
    }
}

/// Takes readings in time order and makes buckets of equal width from them.
#[derive(Debug)]
pub struct Folder {
    origin_us: i64,
    width_us: i64,
    open: Option<(i64, Summary)>,
    buckets: Vec<Bucket>,
}

impl Folder {
    /// A folder for readings within `range` (microseconds, end exclusive) into at most `buckets_max` buckets.
    #[must_use]
    pub fn new(range: &Range<i64>, buckets_max: usize) -> Self {
        let wanted = i64::try_from(buckets_max.clamp(1, BUCKETS_MAX)).unwrap_or(1);
        let length = range.end.saturating_sub(range.start).max(1);
        Self { origin_us: range.start, width_us: length / wanted + i64::from(length % wanted != 0), open: None, buckets: Vec::new() }
    }

    /// Width of a bucket, microseconds.
    #[must_use]
    pub fn width_us(&self) -> i64 {
        self.width_us
    }

    /// Adds one reading, later than all before.
    pub fn push(&mut self, at_us: i64, value: f64) {
        self.push_summary(&Summary::one(at_us, value));
    }

    /// Adds a stretch that lies within one bucket, later than all before.
    pub fn push_summary(&mut self, summary: &Summary) {
        let index = self.index(summary.first_us);
        match &mut self.open {
            Some((open, total)) if *open == index => total.add(summary),
            _ => {
                self.close();
                self.open = Some((index, *summary));
            }
        }
    }

    /// The buckets.
    #[must_use]
    pub fn finish(mut self) -> Vec<Bucket> {
        self.close();
        self.buckets
    }

    fn close(&mut self) {
        self.buckets.extend(self.open.take().and_then(|(_, total)| total.bucket()));
    }

    fn index(&self, at_us: i64) -> i64 {
        at_us.saturating_sub(self.origin_us).div_euclid(self.width_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_as_many_buckets_as_asked_for() {
        for (length, wanted) in [(525_600, 2000), (10, 10), (11, 10), (1, 5), (7, 3)] {
            let mut folder = Folder::new(&(0..length), wanted);
            (0..length).for_each(|at| folder.push(at, 1.0));
            let buckets = folder.finish();
            assert!(buckets.len() <= wanted, "{} of {wanted}", buckets.len());
            assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), u64::try_from(length).unwrap());
        }
    }

    #[test]
    fn a_bucket_keeps_first_last_and_extremes() {
        let mut folder = Folder::new(&(0..10), 1);
        for (at, value) in [(1, 5.0), (2, -1.0), (3, 9.0), (4, 3.0)] {
            folder.push(at, value);
        }
        let bucket = folder.finish()[0];
        assert_eq!((bucket.first, bucket.last, bucket.min, bucket.max, bucket.avg, bucket.count), (5.0, 3.0, -1.0, 9.0, 4.0, 4));
        assert_eq!((bucket.first_at.timestamp_micros(), bucket.last_at.timestamp_micros()), (1, 4));
    }
}
