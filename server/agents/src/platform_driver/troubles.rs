//! What is wrong now: devices that cannot be read, points that cannot be read, entries that cannot be used. Told as the agent's status
//! and, when something begins or ends, as alerts. Clears itself.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use vt_agent::AgentContext;
use vt_types::StatusWord;

/// Troubles named in the status and told by alerts of their own; beyond that only their number is told.
const NAMED_MAX: usize = 25;
/// How long news are gathered before they are told, so that many at once become one.
const GATHER: Duration = Duration::from_millis(100);

/// What is wrong, by place: `devices/<path>` or the name of an entry.
#[derive(Debug, Default)]
pub struct Troubles {
    current: Mutex<BTreeMap<String, Trouble>>,
    changed: Notify,
}

/// One trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// An entry of the configuration cannot be used.
    Configuration(String),
    /// A device cannot be read at all.
    Device(String),
    /// Some points of a device cannot be read.
    Points(String),
}

impl Trouble {
    /// What is wrong.
    pub fn text(&self) -> &str {
        match self {
            Self::Configuration(text) | Self::Device(text) | Self::Points(text) => text,
        }
    }

    fn part(&self) -> &'static str {
        match self {
            Self::Configuration(_) => "configuration",
            Self::Device(_) => "devices",
            Self::Points(_) => "points",
        }
    }
}

impl Troubles {
    /// Sets or clears the trouble at `place`.
    pub fn set(&self, place: &str, trouble: Option<Trouble>) {
        let mut current = self.current.lock();
        let news = match trouble {
            Some(trouble) => {
                current.get(place) != Some(&trouble) && {
                    current.insert(place.to_owned(), trouble);
                    true
                }
            }
            None => current.remove(place).is_some(),
        };
        drop(current);
        if news {
            self.changed.notify_one();
        }
    }

    /// Entries that cannot be used, by name.
    pub fn configurations(&self) -> Vec<(String, String)> {
        let current = self.current.lock();
        let unusable = current.iter().filter(|(_, trouble)| matches!(trouble, Trouble::Configuration(_)));
        unusable.map(|(place, trouble)| (place.clone(), trouble.text().to_owned())).collect()
    }

    /// Tells status and alerts for as long as the agent lives.
    pub async fn tell(&self, context: &AgentContext) {
        let mut told = BTreeMap::new();
        loop {
            self.changed.notified().await;
            tokio::time::sleep(GATHER).await;
            let current = self.current.lock().clone();
            let word = if current.is_empty() { StatusWord::Good } else { StatusWord::Bad };
            context.set_status(word, if current.is_empty() { Value::Null } else { summary(&current) });
            for (key, word, text) in alerts(&told, &current) {
                context.send_alert(&key, word, text);
            }
            told = current;
        }
    }
}

/// `{"devices": {place: text}, "points": ..., "configuration": ..., "more": n}`.
fn summary(current: &BTreeMap<String, Trouble>) -> Value {
    let mut parts = Map::new();
    for (place, trouble) in current.iter().take(NAMED_MAX) {
        let part = parts.entry(trouble.part()).or_insert_with(|| json!({}));
        if let Value::Object(part) = part {
            part.insert(place.clone(), trouble.text().into());
        }
    }
    if current.len() > NAMED_MAX {
        parts.insert("more".to_owned(), json!(current.len() - NAMED_MAX));
    }
    Value::Object(parts)
}

/// Alerts for what began and what ended between `before` and `now`: key, word, text.
fn alerts(before: &BTreeMap<String, Trouble>, now: &BTreeMap<String, Trouble>) -> Vec<(String, StatusWord, String)> {
    let began: Vec<_> = now.iter().filter(|(place, _)| !before.contains_key(*place)).collect();
    let ended: Vec<_> = before.keys().filter(|place| !now.contains_key(*place)).collect();
    if began.len() + ended.len() > NAMED_MAX {
        let word = if now.is_empty() { StatusWord::Good } else { StatusWord::Bad };
        let text = format!("{} troubles began and {} ended; {} are open", began.len(), ended.len(), now.len());
        return vec![("devices".to_owned(), word, text)];
    }
    let began = began.into_iter().map(|(place, trouble)| (place.clone(), StatusWord::Bad, format!("{place}: {}", trouble.text())));
    let ended = ended.into_iter().map(|place| (place.clone(), StatusWord::Good, format!("{place}: all is well again")));
    began.chain(ended).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn troubles(places: &[&str]) -> BTreeMap<String, Trouble> {
        places.iter().map(|place| ((*place).to_owned(), Trouble::Device("no answer".into()))).collect()
    }

    #[test]
    fn alerts_tell_what_began_and_what_ended() {
        let told = alerts(&troubles(&["devices/a", "devices/b"]), &troubles(&["devices/b", "devices/c"]));
        assert_eq!(
            told,
            [
                ("devices/c".to_owned(), StatusWord::Bad, "devices/c: no answer".to_owned()),
                ("devices/a".to_owned(), StatusWord::Good, "devices/a: all is well again".to_owned()),
            ]
        );
    }

    #[test]
    fn many_at_once_become_one() {
        let names: Vec<String> = (0..1000).map(|n| format!("devices/{n:04}")).collect();
        let many = troubles(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(alerts(&BTreeMap::new(), &many).len(), 1);
        let summary = summary(&many);
        assert_eq!(summary["devices"].as_object().unwrap().len(), NAMED_MAX);
        assert_eq!(summary["more"], 975);
    }
}
