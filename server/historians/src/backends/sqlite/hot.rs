//! The readings of the hot tables once more in memory, by topic, so that a question about one topic does not scan a table that is
//! ordered by time, and compaction need not sort. Bounded by compaction: see [`Limits`](super::Limits).

use std::{collections::HashMap, ops::Range};

use super::chunk::Point;
use crate::{store::TopicId, value::Cell};

/// Readings of one topic. Kept in the order of arrival and sorted when read, because arrival is nearly always in time order.
#[derive(Debug, Default)]
pub struct Tail {
    points: Vec<Point>,
    unsorted: bool,
}

impl Tail {
    fn push(&mut self, point: Point) {
        self.unsorted |= self.points.last().is_some_and(|last| last.0 >= point.0);
        self.points.push(point);
    }

    /// The readings in time order, one per time, the last to arrive.
    pub fn points(&mut self) -> &[Point] {
        if self.unsorted {
            self.points.sort_by_key(|point| point.0);
            self.points.dedup_by(|later, earlier| {
                let same = later.0 == earlier.0;
                if same {
                    std::mem::swap(later, earlier);
                }
                same
            });
            self.unsorted = false;
        }
        &self.points
    }
}

/// Both hot tables: the active one takes inserts, the sealed one is being compacted.
#[derive(Debug, Default)]
pub struct Tails {
    active: HashMap<TopicId, Tail>,
    sealed: HashMap<TopicId, Tail>,
    /// Rows written to the active table since it became that; replaced ones count again.
    pub active_rows: usize,
    /// Bytes of text among them.
    pub active_bytes: usize,
}

impl Tails {
    /// Adds a committed reading of the active table.
    pub fn push(&mut self, topic: TopicId, at_us: i64, cell: Cell) {
        self.active_rows += 1;
        self.active_bytes += cell.heap_bytes();
        self.active.entry(topic).or_default().push((at_us, cell));
    }

    /// Adds a reading of the sealed table, when both are loaded at the start.
    pub fn push_sealed(&mut self, topic: TopicId, at_us: i64, cell: Cell) {
        self.sealed.entry(topic).or_default().push((at_us, cell));
    }

    /// Topics in the active table.
    pub fn active_topics(&self) -> usize {
        self.active.len()
    }

    /// The active table becomes the sealed one.
    pub fn seal(&mut self) {
        self.sealed = std::mem::take(&mut self.active);
        (self.active_rows, self.active_bytes) = (0, 0);
    }

    /// Topics of the sealed table, ascending.
    pub fn sealed_topics(&self) -> Vec<TopicId> {
        let mut topics: Vec<_> = self.sealed.keys().copied().collect();
        topics.sort_unstable();
        topics
    }

    /// A copy of a topic's sealed readings, in time order.
    pub fn sealed_points(&mut self, topic: TopicId) -> Vec<Point> {
        self.sealed.get_mut(&topic).map(|tail| tail.points().to_vec()).unwrap_or_default()
    }

    /// The sealed table was emptied.
    pub fn drop_sealed(&mut self) {
        self.sealed = HashMap::new();
    }

    /// A copy of a topic's readings within `range`, in time order; an active reading hides a sealed one of the same time.
    pub fn collect(&mut self, topic: TopicId, range: &Range<i64>) -> Vec<Point> {
        let sealed = self.sealed.get_mut(&topic).map_or(&[][..], |tail| within(tail.points(), range));
        let active = self.active.get_mut(&topic).map_or(&[][..], |tail| within(tail.points(), range));
        merge(sealed, active)
    }

    /// The newest reading of a topic.
    pub fn latest(&mut self, topic: TopicId) -> Option<Point> {
        let sealed = self.sealed.get_mut(&topic).and_then(|tail| tail.points().last());
        let active = self.active.get_mut(&topic).and_then(|tail| tail.points().last());
        match (sealed, active) {
            (Some(sealed), Some(active)) if sealed.0 > active.0 => Some(sealed.clone()),
            (sealed, active) => active.or(sealed).cloned(),
        }
    }

    /// Time of the newest reading of all.
    pub fn newest_us(&mut self) -> Option<i64> {
        self.active.values_mut().chain(self.sealed.values_mut()).filter_map(|tail| tail.points().last().map(|point| point.0)).max()
    }

    /// The time before which the oldest `count` rows (or somewhat more) lie.
    pub fn oldest_us(&self, count: usize) -> Option<i64> {
        let mut times: Vec<_> =
            self.active.values().chain(self.sealed.values()).flat_map(|tail| tail.points.iter().map(|point| point.0)).collect();
        times.sort_unstable();
        times.get(count).copied().or_else(|| times.last().map(|last| last + 1))
    }

    /// Readings before `cutoff_us` were deleted.
    pub fn drop_before(&mut self, cutoff_us: i64) {
        for tails in [&mut self.active, &mut self.sealed] {
            tails.retain(|_, tail| {
                tail.points.retain(|point| point.0 >= cutoff_us);
                !tail.points.is_empty()
            });
        }
        self.active_rows = self.active.values().map(|tail| tail.points.len()).sum();
        self.active_bytes = self.active.values().flat_map(|tail| &tail.points).map(|(_, cell)| cell.heap_bytes()).sum();
    }
}

/// The part of sorted readings that lies within `range`.
pub fn within<'a>(points: &'a [Point], range: &Range<i64>) -> &'a [Point] {
    let begin = points.partition_point(|point| point.0 < range.start);
    let end = points.partition_point(|point| point.0 < range.end);
    &points[begin..end.max(begin)]
}

/// Two sorted lists as one; where both have a time, `newer` wins.
pub fn merge(older: &[Point], newer: &[Point]) -> Vec<Point> {
    let mut merged = Vec::with_capacity(older.len() + newer.len());
    let mut older = older.iter().peekable();
    for point in newer {
        while let Some(earlier) = older.next_if(|earlier| earlier.0 < point.0) {
            merged.push(earlier.clone());
        }
        older.next_if(|same| same.0 == point.0);
        merged.push(point.clone());
    }
    merged.extend(older.cloned());
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_and_repeated_readings_are_sorted_and_the_last_wins() {
        let mut tails = Tails::default();
        for (at, value) in [(5, 1), (3, 2), (5, 3), (4, 4), (5, 5)] {
            tails.push(1, at, Cell::Integer(value));
        }
        assert_eq!(tails.collect(1, &(i64::MIN..i64::MAX)), [(3, Cell::Integer(2)), (4, Cell::Integer(4)), (5, Cell::Integer(5))]);
        assert_eq!(tails.collect(1, &(4..5)), [(4, Cell::Integer(4))]);
    }

    #[test]
    fn an_active_reading_hides_a_sealed_one() {
        let mut tails = Tails::default();
        tails.push(1, 5, Cell::Integer(1));
        tails.push(1, 9, Cell::Integer(2));
        tails.seal();
        tails.push(1, 5, Cell::Integer(3));
        assert_eq!(tails.collect(1, &(0..10)), [(5, Cell::Integer(3)), (9, Cell::Integer(2))]);
        assert_eq!(tails.latest(1), Some((9, Cell::Integer(2))));
        tails.drop_before(6);
        assert_eq!(tails.collect(1, &(0..10)), [(9, Cell::Integer(2))]);
        assert_eq!(tails.active_rows, 0);
    }
}
