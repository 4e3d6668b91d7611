//! An agent's part of the configuration store: the entries as last pushed by the store, changes not yet seen, links between entries.
//! Source: VOLTTRON `vip/agent/subsystems/configstore.py`.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigAction {
    /// It is new, or the agent just started.
    New,
    /// Its contents changed, or those of an entry that it links to.
    Update,
    /// It is gone.
    Delete,
}

/// A change of one entry. Several changes of one entry that the agent did not take in yet become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// What happened.
    pub action: ConfigAction,
    /// Which entry, as it is spelled in the store.
    pub name: String,
}

/// Why an entry could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no such entry.
    #[error("there is no configuration entry {0:?}")]
    Missing(String),
    /// An entry links to one that does not exist.
    #[error("configuration entry {entry:?} links to config://{link}, which does not exist")]
    BrokenLink {
        /// The entry with the link.
        entry: String,
        /// The missing entry.
        link: String,
    },
    /// Links go round in a circle.
    #[error("Recursive configuration references detected.")]
    Recursive,
}

const LINK: &str = "config://";
/// Longer chains of links than this count as a circle.
const LINK_DEPTH_MAX: usize = 32;

/// Entries by lower-case name.
#[derive(Debug, Default)]
pub(crate) struct Configs {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<String, (String, Value)>,
    /// Lower-case name to change, `config` first because it sorts by `order`.
    pending: BTreeMap<(u8, String), ConfigChange>,
}

impl Configs {
    pub fn replace_all(&self, contents: impl IntoIterator<Item = (String, Value)>) {
        let mut state = self.state.lock();
        let old = std::mem::take(&mut state.entries);
        for (name, value) in contents {
            let key = name.to_lowercase();
            match old.get(&key) {
                Some((_, before)) if *before == value => {}
                Some(_) => state.note(&key, ConfigAction::Update, &name),
                None => state.note(&key, ConfigAction::New, &name),
            }
            state.entries.insert(key, (name, value));
        }
        for (key, (name, _)) in old {
            if !state.entries.contains_key(&key) {
                state.note(&key, ConfigAction::Delete, &name);
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Takes in one pushed change; tells the agent only if `trigger`.
    pub fn update(&self, name: &str, contents: Option<Value>, trigger: bool) {
        let key = name.to_lowercase();
        let mut state = self.state.lock();
        let action = match contents {
            None => {
                if state.entries.remove(&key).is_none() {
                    return;
                }
                ConfigAction::Delete
            }
            Some(value) => match state.entries.insert(key.clone(), (name.to_owned(), value)) {
                None => ConfigAction::New,
                Some(_) => ConfigAction::Update,
            },
        };
        if trigger {
            state.note(&key, action, name);
            for (key, name) in state.linking_to(&key) {
                state.note(&key, ConfigAction::Update, &name);
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    pub fn clear(&self, trigger: bool) {
        let mut state = self.state.lock();
        for (key, (name, _)) in std::mem::take(&mut state.entries) {
            if trigger {
                state.note(&key, ConfigAction::Delete, &name);
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for a change that the agent has not seen. Cancel safe.
    pub async fn next_change(&self) -> ConfigChange {
        loop {
            let notified = self.changed.notified();
            if let Some((_, change)) = self.state.lock().pending.pop_first() {
                return change;
            }
            notified.await;
        }
    }

    #[cfg(test)]
    pub fn try_next_change(&self) -> Option<ConfigChange> {
        self.state.lock().pending.pop_first().map(|(_, change)| change)
    }

    pub fn names(&self) -> Vec<String> {
        self.state.lock().entries.values().map(|(name, _)| name.clone()).collect()
    }

    pub fn get(&self, name: &str) -> Result<Value, ConfigError> {
        let state = self.state.lock();
        let (spelled, value) = state.entries.get(&name.trim().to_lowercase()).ok_or_else(|| ConfigError::Missing(name.to_owned()))?;
        state.expand(spelled, value, 0)
    }
}

impl State {
    fn note(&mut self, key: &str, action: ConfigAction, name: &str) {
        let place = (u8::from(key != "config"), key.to_owned());
        let action = match (self.pending.get(&place).map(|earlier| earlier.action), action) {
            (Some(ConfigAction::New), ConfigAction::Update) => ConfigAction::New,
            (Some(ConfigAction::Delete), ConfigAction::New) => ConfigAction::Update,
            (_, latest) => latest,
        };
        self.pending.insert(place, ConfigChange { action, name: name.to_owned() });
    }

    /// Entries that reach `key` by links, directly or through others.
    fn linking_to(&self, key: &str) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = Vec::new();
        let mut wanted = vec![key.to_owned()];
        while let Some(target) = wanted.pop() {
            for (candidate, (name, value)) in &self.entries {
                let known = candidate == key || found.iter().any(|(earlier, _)| earlier == candidate);
                if !known && links(value).contains(&target) {
                    found.push((candidate.clone(), name.clone()));
                    wanted.push(candidate.clone());
                }
            }
        }
        found
    }

    fn expand(&self, entry: &str, value: &Value, depth: usize) -> Result<Value, ConfigError> {
        if depth > LINK_DEPTH_MAX {
            return Err(ConfigError::Recursive);
        }
        match value {
            Value::String(text) => match text.strip_prefix(LINK) {
                Some(link) => match self.entries.get(&link.trim().to_lowercase()) {
                    Some((linked, contents)) => self.expand(linked, contents, depth + 1),
                    None => Err(ConfigError::BrokenLink { entry: entry.to_owned(), link: link.to_owned() }),
                },
                None => Ok(value.clone()),
            },
            Value::Array(items) => items.iter().map(|item| self.expand(entry, item, depth)).collect::<Result<_, _>>().map(Value::Array),
            Value::Object(map) => map
                .iter()
                .map(|(key, item)| Ok((key.clone(), self.expand(entry, item, depth)?)))
                .collect::<Result<_, _>>()
                .map(Value::Object),
            other => Ok(other.clone()),
        }
    }
}

/// Lower-case names that `value` links to.
fn links(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => text.strip_prefix(LINK).map(|link| link.trim().to_lowercase()).into_iter().collect(),
        Value::Array(items) => items.iter().flat_map(links).collect(),
        Value::Object(map) => map.values().flat_map(links).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn drain(configs: &Configs) -> Vec<(ConfigAction, String)> {
        std::iter::from_fn(|| configs.try_next_change()).map(|change| (change.action, change.name)).collect()
    }

    #[test]
    fn config_comes_first_and_links_are_expanded_without_regard_to_case() {
        let configs = Configs::default();
        configs.replace_all([
            ("devices/a".to_owned(), json!({"registry_config": "config://Fake.CSV"})),
            ("config".to_owned(), json!({})),
            ("fake.csv".to_owned(), json!([{"Point Name": "p"}])),
        ]);
        let names: Vec<_> = drain(&configs).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["config", "devices/a", "fake.csv"]);
        assert_eq!(configs.get("DEVICES/A").unwrap(), json!({"registry_config": [{"Point Name": "p"}]}));
        assert_eq!(configs.get("nope"), Err(ConfigError::Missing("nope".into())));
    }

    #[test]
    fn a_changed_entry_updates_those_that_link_to_it() {
        let configs = Configs::default();
        configs.replace_all([("devices/a".to_owned(), json!({"r": "config://x.csv"})), ("x.csv".to_owned(), json!([]))]);
        drain(&configs);
        configs.update("x.csv", Some(json!([1])), true);
        assert_eq!(drain(&configs), [(ConfigAction::Update, "devices/a".into()), (ConfigAction::Update, "x.csv".into())]);
        configs.update("x.csv", None, true);
        assert_eq!(drain(&configs), [(ConfigAction::Update, "devices/a".into()), (ConfigAction::Delete, "x.csv".into())]);
        assert!(matches!(configs.get("devices/a"), Err(ConfigError::BrokenLink { .. })));
    }

    #[test]
    fn circles_are_refused() {
        let configs = Configs::default();
        configs.replace_all([("a".to_owned(), json!(["config://b"])), ("b".to_owned(), json!(["config://a"]))]);
        assert_eq!(configs.get("a"), Err(ConfigError::Recursive));
    }

    #[test]
    fn unseen_changes_of_one_entry_become_one() {
        let configs = Configs::default();
        configs.update("a", Some(json!([])), true);
        configs.update("a", Some(json!([1])), true);
        assert_eq!(drain(&configs), [(ConfigAction::New, "a".into())]);
        configs.update("a", Some(json!([2])), false);
        assert_eq!(drain(&configs), []);
    }
}
