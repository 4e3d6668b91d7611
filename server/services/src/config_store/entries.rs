//! The entries of one identity and how they change: pure, all or nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use vt_backends::{ConfigEntry, ConfigType};
use vt_types::Identity;
use vt_types::timestamp::Timestamp;

use super::parse::{self, Ragged};
use crate::ServiceError;

/// Largest entry, in bytes.
pub const DATA_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most entries of one identity.
pub const ENTRIES_MAX: usize = 20_000;

/// The entries of one identity by the key of their name.
pub type Entries = BTreeMap<String, Arc<Entry>>;

/// One entry, read once.
#[derive(Debug)]
pub struct Entry {
    pub stored: ConfigEntry,
    /// Its value, or why it has none; only entries stored by others than us have none.
    pub parsed: Result<Value, String>,
    links: Vec<String>,
}

impl Entry {
    /// A new entry.
    ///
    /// # Errors
    /// `Invalid` names what is wrong, with line and column.
    pub fn new(name: &str, kind: ConfigType, data: &str, now: Timestamp) -> Result<Self, ServiceError> {
        let name = parse::entry_name(name)?;
        if data.len() > DATA_BYTES_MAX {
            return Err(ServiceError::Invalid(format!(
                "a configuration entry may have at most {DATA_BYTES_MAX} bytes, {name:?} has {}",
                data.len()
            )));
        }
        let value = parse::parse(kind, data, Ragged::Refuse).map_err(|problem| ServiceError::Invalid(format!("{name}: {problem}")))?;
        let stored = ConfigEntry { name, config_type: kind, modified: Some(now), data: data.to_owned() };
        Ok(Self { stored, links: links(kind, &value), parsed: Ok(value) })
    }

    /// An entry as it was stored, whatever it is worth.
    pub fn loaded(stored: ConfigEntry) -> Self {
        let parsed = parse::parse(stored.config_type, &stored.data, Ragged::Accept);
        let links = parsed.as_ref().map(|value| links(stored.config_type, value)).unwrap_or_default();
        Self { stored, parsed, links }
    }

    pub fn key(&self) -> String {
        parse::key(&self.stored.name)
    }
}

fn links(kind: ConfigType, value: &Value) -> Vec<String> {
    if kind == ConfigType::Json { parse::links(value) } else { Vec::new() }
}

/// A wish to change entries.
pub enum Change {
    /// Store these, new or in place of others.
    Set(Vec<Arc<Entry>>),
    /// Delete the one of this name.
    Delete(String),
    /// Delete all.
    DeleteAll,
}

/// What an agent is to be told of a change.
#[derive(Debug, Clone)]
pub enum Told {
    /// Everything, at its start.
    Initial,
    /// An entry that was not there.
    New(Arc<Entry>),
    /// An entry that was.
    Update(Arc<Entry>),
    /// The entry of this name is gone.
    Delete(String),
    /// All are gone.
    DeleteAll,
}

/// Applies `change`; on an error nothing changed.
pub fn apply(entries: &mut Entries, change: &Change, identity: &Identity) -> Result<Vec<Told>, ServiceError> {
    match change {
        Change::Set(new) => set(entries, new),
        Change::Delete(name) => match entries.remove(&parse::key(name)) {
            Some(entry) => Ok(vec![Told::Delete(entry.stored.name.clone())]),
            None => Err(no_entry(identity, name)),
        },
        Change::DeleteAll => {
            let had_some = !entries.is_empty();
            entries.clear();
            Ok(if had_some { vec![Told::DeleteAll] } else { Vec::new() })
        }
    }
}

fn set(entries: &mut Entries, new: &[Arc<Entry>]) -> Result<Vec<Told>, ServiceError> {
    let mut told = Vec::with_capacity(new.len());
    let mut before = Vec::with_capacity(new.len());
    for entry in new {
        let old = entries.insert(entry.key(), Arc::clone(entry));
        told.push(if old.is_some() { Told::Update(Arc::clone(entry)) } else { Told::New(Arc::clone(entry)) });
        before.push((entry.key(), old));
    }
    let problem = if entries.len() > ENTRIES_MAX {
        Some(ServiceError::Invalid(format!("one agent may have at most {ENTRIES_MAX} configuration entries")))
    } else if has_circle(entries, new) {
        // VOLTTRON's words.
        Some(ServiceError::Invalid("Recursive configuration references detected.".to_owned()))
    } else {
        None
    };
    let Some(problem) = problem else { return Ok(told) };
    for (key, old) in before.into_iter().rev() {
        match old {
            Some(old) => entries.insert(key, old),
            None => entries.remove(&key),
        };
    }
    Err(problem)
}

/// Whether following links from any of `from` leads back to where one has been.
fn has_circle(entries: &Entries, from: &[Arc<Entry>]) -> bool {
    let (mut finished, mut on_way) = (HashSet::new(), HashSet::new());
    for start in from {
        // The way from `start` to here, with the next link to follow at each step.
        let mut way: Vec<(String, usize)> = vec![(start.key(), 0)];
        on_way.insert(start.key());
        while let Some((key, next)) = way.last_mut() {
            let link = entries.get(key).and_then(|entry| entry.links.get(*next)).cloned();
            *next += 1;
            match link {
                None => {
                    on_way.remove(key);
                    finished.insert(std::mem::take(key));
                    way.pop();
                }
                Some(link) if finished.contains(&link) => {}
                Some(link) if !on_way.insert(link.clone()) => return true,
                Some(link) => way.push((link, 0)),
            }
        }
    }
    false
}

/// VOLTTRON's words, spelled as there.
pub fn no_entry(identity: &Identity, name: &str) -> ServiceError {
    ServiceError::NotFound(format!("No configuration file \"{}\" for VIP IDENTIY {identity}", name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: ConfigType, data: &str) -> Arc<Entry> {
        Arc::new(Entry::new(name, kind, data, Timestamp::default()).unwrap())
    }

    fn json(name: &str, data: &str) -> Change {
        Change::Set(vec![entry(name, ConfigType::Json, data)])
    }

    #[test]
    fn circles_are_refused_and_leave_everything_as_it_was() {
        let (mut entries, identity) = (Entries::new(), Identity::known("a"));
        apply(&mut entries, &json("a", r#"{"x": "config://b"}"#), &identity).unwrap();
        apply(&mut entries, &json("b", r#"{"x": ["config://C"]}"#), &identity).unwrap();
        apply(&mut entries, &json("c", "{}"), &identity).unwrap();
        for circle in [json("c", r#"["config://A"]"#), json("d", r#"["config://d"]"#)] {
            let refused = apply(&mut entries, &circle, &identity).unwrap_err();
            assert_eq!(refused.to_string(), "Recursive configuration references detected.");
        }
        assert_eq!(entries.len(), 3);
        assert_eq!(entries["c"].stored.data, "{}");
        // Two ways to the same entry are no circle.
        apply(&mut entries, &json("d", r#"["config://a", "config://b", "config://c"]"#), &identity).unwrap();
    }

    #[test]
    fn a_long_chain_of_links_is_followed() {
        let mut entries = Entries::new();
        let chain = (0..5000).map(|n| entry(&n.to_string(), ConfigType::Json, &format!("[\"config://{}\"]", n + 1))).collect();
        apply(&mut entries, &Change::Set(chain), &Identity::known("a")).unwrap();
        assert!(apply(&mut entries, &json("5000", "[\"config://0\"]"), &Identity::known("a")).is_err());
    }

    #[test]
    fn storing_under_another_case_renames() {
        let (mut entries, identity) = (Entries::new(), Identity::known("a"));
        assert!(matches!(apply(&mut entries, &json("Name", "{}"), &identity).unwrap()[..], [Told::New(_)]));
        assert!(matches!(apply(&mut entries, &json("/name", "[]"), &identity).unwrap()[..], [Told::Update(_)]));
        assert_eq!(entries.len(), 1);
        assert_eq!(entries["name"].stored.name, "name");
        let unknown = apply(&mut entries, &Change::Delete("other".to_owned()), &identity).unwrap_err();
        assert_eq!(unknown.to_string(), "No configuration file \"other\" for VIP IDENTIY a");
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let mut entries = Entries::new();
        let many = (0..=ENTRIES_MAX).map(|n| entry(&n.to_string(), ConfigType::Raw, "")).collect();
        assert!(apply(&mut entries, &Change::Set(many), &Identity::known("a")).is_err());
        assert!(entries.is_empty());
    }
}
