//! When devices are scraped: slots, offsets, booked times. Pure arithmetic; times come in as arguments.
//! Source: VOLTTRON `platform_driver/{agent,driver}.py` (`find_starting_datetime`, `update_scrape_schedule`, `periodic_read`).

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Timelike};
use vt_types::Timestamp;

/// Rhythm of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// Seconds from scrape to scrape.
    pub interval_s: u32,
    /// Microseconds behind each multiple of the interval; less than the interval.
    pub offset_us: u64,
}

impl Rhythm {
    /// The rhythm of a device in `slot` of `group`. An offset beyond the interval wraps, so that devices double up.
    pub fn new(interval_s: u32, slot: u32, group: u32, spacing: Spacing) -> Self {
        let offset = u128::from(slot) * u128::from(spacing.slot_us) + u128::from(group) * u128::from(spacing.group_us);
        let offset_us = u64::try_from(offset % (u128::from(interval_s.max(1)) * 1_000_000)).unwrap_or(0);
        Self { interval_s: interval_s.max(1), offset_us }
    }

    /// The first scrape at or after `now`: now if that is a whole multiple of the interval since midnight UTC, else the next multiple
    /// plus the offset.
    pub fn first(self, now: Timestamp) -> Timestamp {
        let since_midnight = i64::from(now.num_seconds_from_midnight());
        let micros = i64::from(now.nanosecond() / 1000);
        let past = since_midnight % i64::from(self.interval_s);
        if past == 0 && micros == 0 {
            return now;
        }
        now - TimeDelta::microseconds(past * 1_000_000 + micros) + self.interval() + self.offset()
    }

    /// The scrape after the one booked for `booked`: an interval later, without drift. After a clock jump (a suspended machine, a clock
    /// set back) it starts anew.
    pub fn next(self, booked: Timestamp, now: Timestamp) -> Timestamp {
        let next = booked + self.interval();
        let late = now - next > self.interval();
        let early = next - now > self.interval() * 2;
        if late || early { self.first(now) } else { next }
    }

    /// The whole multiple of the interval that a booked time stands for.
    pub fn synchronized(self, booked: Timestamp) -> Timestamp {
        let time = booked - self.offset();
        // A first scrape that fell on a multiple has no offset yet.
        if time.num_seconds_from_midnight().is_multiple_of(self.interval_s) { time } else { booked }
    }

    fn interval(self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.interval_s))
    }

    fn offset(self) -> TimeDelta {
        TimeDelta::microseconds(i64::try_from(self.offset_us).unwrap_or(0))
    }
}

/// How far apart devices are scraped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spacing {
    /// Between neighbouring slots, microseconds.
    pub slot_us: u64,
    /// Between neighbouring groups, microseconds.
    pub group_us: u64,
}

/// Which slots are taken.
#[derive(Debug, Default)]
pub struct Slots(HashMap<u32, Group>);

#[derive(Debug, Default)]
struct Group {
    never_used: u32,
    freed: BTreeSet<u32>,
}

impl Slots {
    /// Takes the lowest freed slot of `group`, else the first never used one.
    pub fn take(&mut self, group: u32) -> u32 {
        let group = self.0.entry(group).or_default();
        group.freed.pop_first().unwrap_or_else(|| {
            let slot = group.never_used;
            group.never_used = group.never_used.saturating_add(1);
            slot
        })
    }

    /// Gives a slot back.
    pub fn free(&mut self, group: u32, slot: u32) {
        self.0.entry(group).or_default().freed.insert(slot);
    }
}

/// How long until `due`, at most a few seconds: who waits asks again, so that a clock that is set is noticed.
pub fn wait(due: DateTime<chrono::Utc>, now: Timestamp) -> Option<std::time::Duration> {
    const LONGEST: std::time::Duration = std::time::Duration::from_secs(10);
    (due - now).to_std().ok().filter(|left| !left.is_zero()).map(|left| left.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use vt_types::timestamp;

    use super::*;

    const SPACING: Spacing = Spacing { slot_us: 20_000, group_us: 500_000 };

    fn at(text: &str) -> Timestamp {
        timestamp::parse(&format!("2026-01-31T{text}Z")).unwrap().assume_utc()
    }

    #[test]
    fn offsets_come_from_slot_and_group_and_wrap() {
        assert_eq!(Rhythm::new(5, 0, 0, SPACING).offset_us, 0);
        assert_eq!(Rhythm::new(5, 1, 0, SPACING).offset_us, 20_000);
        assert_eq!(Rhythm::new(5, 2, 3, SPACING).offset_us, 1_540_000);
        assert_eq!(Rhythm::new(1, 50, 0, SPACING).offset_us, 0);
        assert_eq!(Rhythm::new(1, 9_999, 0, SPACING).offset_us, 980_000);
    }

    #[test]
    fn the_first_scrape_is_on_the_grid() {
        let rhythm = Rhythm::new(5, 1, 0, SPACING);
        assert_eq!(rhythm.first(at("12:00:05")), at("12:00:05"));
        assert_eq!(rhythm.first(at("12:00:05.000001")), at("12:00:10.02"));
        assert_eq!(rhythm.first(at("12:00:09.9")), at("12:00:10.02"));
    }

    #[test]
    fn no_drift_and_a_new_start_after_a_jump() {
        let rhythm = Rhythm::new(5, 1, 0, SPACING);
        assert_eq!(rhythm.next(at("12:00:10.02"), at("12:00:10.5")), at("12:00:15.02"));
        assert_eq!(rhythm.next(at("12:00:10.02"), at("12:00:19.9")), at("12:00:15.02"));
        assert_eq!(rhythm.next(at("12:00:10.02"), at("12:30:01")), at("12:30:05.02"));
        assert_eq!(rhythm.next(at("12:00:10.02"), at("09:00:01")), at("09:00:05.02"));
    }

    #[test]
    fn the_synchronized_time_is_a_multiple() {
        let rhythm = Rhythm::new(5, 1, 0, SPACING);
        assert_eq!(rhythm.synchronized(at("12:00:10.02")), at("12:00:10"));
        assert_eq!(rhythm.synchronized(at("12:00:05")), at("12:00:05"));
    }

    #[test]
    fn freed_slots_are_taken_again_lowest_first() {
        let mut slots = Slots::default();
        assert_eq!((slots.take(0), slots.take(0), slots.take(0), slots.take(7)), (0, 1, 2, 0));
        slots.free(0, 2);
        slots.free(0, 0);
        assert_eq!((slots.take(0), slots.take(0), slots.take(0)), (0, 2, 3));
    }

    #[test]
    fn waiting_is_bounded() {
        assert_eq!(wait(at("12:00:00"), at("12:00:00")), None);
        assert_eq!(wait(at("12:00:01"), at("12:00:00")), Some(std::time::Duration::from_secs(1)));
        assert_eq!(wait(at("13:00:00"), at("12:00:00")), Some(std::time::Duration::from_secs(10)));
    }
}
