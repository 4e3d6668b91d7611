//! The topics table in memory: names to rows, without regard to case. Only the writer changes it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::{Map, Value};

use crate::store::{TopicEntry, TopicId};

/// What has to be written for a record's topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A row to insert.
    New,
    /// A row whose name or metadata changed.
    Changed,
}

/// All topics.
#[derive(Debug, Default)]
pub struct TopicIndex {
    by_name: HashMap<Arc<str>, TopicId>,
    by_lower: HashMap<String, TopicId>,
    entries: BTreeMap<TopicId, TopicEntry>,
}

impl TopicIndex {
    /// Adds a row as read from the table.
    pub fn load(&mut self, entry: TopicEntry) {
        self.by_name.insert(Arc::clone(&entry.name), entry.id);
        // Files of VOLTTRON may hold two spellings as two rows; the older one answers for other spellings.
        self.by_lower.entry(entry.name.to_lowercase()).or_insert(entry.id);
        self.entries.insert(entry.id, entry);
    }

    /// The row of a topic.
    pub fn find(&self, name: &str) -> Option<&TopicEntry> {
        let id = self.by_name.get(name).or_else(|| self.by_lower.get(&name.to_lowercase()))?;
        self.entries.get(id)
    }

    /// All rows by name.
    pub fn by_name(&self) -> Vec<TopicEntry> {
        let mut entries: Vec<_> = self.entries.values().cloned().collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        entries
    }

    /// All row numbers after `id`, ascending.
    pub fn ids_after(&self, id: TopicId) -> impl Iterator<Item = TopicId> + '_ {
        self.entries.range((std::ops::Bound::Excluded(id), std::ops::Bound::Unbounded)).map(|(id, _)| *id)
    }

    /// A row by number.
    pub fn entry(&self, id: TopicId) -> Option<&TopicEntry> {
        self.entries.get(&id)
    }

    /// The row for a record, made or brought up to date, and what of it has to be written.
    pub fn resolve(&mut self, name: &Arc<str>, metadata: &Arc<Map<String, Value>>) -> (TopicId, Option<Change>) {
        let known = self.by_name.get(name).copied();
        if let Some(entry) = known.and_then(|id| self.entries.get_mut(&id)) {
            if metadata.is_empty() || Arc::ptr_eq(&entry.metadata, metadata) {
                return (entry.id, None);
            }
            let change = (entry.metadata != *metadata).then_some(Change::Changed);
            entry.metadata = Arc::clone(metadata);
            return (entry.id, change);
        }
        let lower = name.to_lowercase();
        if let Some(entry) = self.by_lower.get(&lower).and_then(|id| self.entries.get_mut(id)) {
            self.by_name.remove(&entry.name);
            entry.name = Arc::clone(name);
            if !metadata.is_empty() {
                entry.metadata = Arc::clone(metadata);
            }
            self.by_name.insert(Arc::clone(name), entry.id);
            return (entry.id, Some(Change::Changed));
        }
        let id = self.entries.last_key_value().map_or(1, |(id, _)| id + 1);
        self.load(TopicEntry { id, name: Arc::clone(name), metadata: Arc::clone(metadata) });
        (id, Some(Change::New))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_changed_spelling_keeps_the_row() {
        let mut index = TopicIndex::default();
        let meta = Arc::new(json!({"units": "F"}).as_object().unwrap().clone());
        assert_eq!(index.resolve(&"a/B".into(), &meta), (1, Some(Change::New)));
        assert_eq!(index.resolve(&"a/B".into(), &Arc::default()), (1, None));
        assert_eq!(index.resolve(&"A/b".into(), &Arc::default()), (1, Some(Change::Changed)));
        assert_eq!(index.resolve(&"A/b".into(), &Arc::new((*meta).clone())), (1, None));
        assert_eq!(index.find("A/B").unwrap().name.as_ref(), "A/b");
        assert_eq!(index.find("a/B").unwrap().metadata, meta);
        assert_eq!(index.by_name().len(), 1);
    }
}
