//! The last message on each `devices/.../all` topic, for whoever opens a page between two scrapes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use chrono::TimeDelta;
use parking_lot::RwLock;
use vt_types::timestamp::Timestamp;
use vt_types::{Publication, Topic};

use super::LiveEvent;

/// Topics kept. When full, topics that were silent for [`SILENT_S`] make room; if there are none, further topics are not kept.
pub const TOPICS_MAX: usize = 20_000;
/// A topic may be dropped after so many seconds without a message, if room is needed.
const SILENT_S: i64 = 3600;
/// The search for silent topics runs at most once in so many seconds.
const SWEEP_S: i64 = 60;

#[derive(Default)]
pub struct Latest {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    events: BTreeMap<Topic, Arc<LiveEvent>>,
    swept_at: Option<Timestamp>,
}

/// Whether messages on the topic are kept: depth-first messages with all points of a device.
pub fn is_kept(publication: &Publication) -> bool {
    let topic = publication.topic.as_str();
    topic.starts_with("devices/") && topic.ends_with("/all")
}

impl Latest {
    pub fn put(&self, event: &Arc<LiveEvent>) {
        let mut state = self.state.write();
        if let Some(old) = state.events.get_mut(&event.publication.topic) {
            *old = Arc::clone(event);
            return;
        }
        if state.events.len() < TOPICS_MAX || state.sweep(event.at) {
            state.events.insert(event.publication.topic.clone(), Arc::clone(event));
        }
    }

    pub fn get(&self, topic: &str) -> Option<Arc<LiveEvent>> {
        let topic = Topic::parse(topic).ok()?;
        self.state.read().events.get(&topic).cloned()
    }

    pub fn with_prefix(&self, prefix: &str) -> Vec<Arc<LiveEvent>> {
        let state = self.state.read();
        let Ok(start) = Topic::parse(prefix) else {
            return if prefix.is_empty() { state.events.values().cloned().collect() } else { Vec::new() };
        };
        state
            .events
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(|(topic, _)| topic.as_str().starts_with(prefix))
            .map(|(_, event)| Arc::clone(event))
            .collect()
    }
}

impl State {
    /// Makes room; says whether there is any now.
    fn sweep(&mut self, now: Timestamp) -> bool {
        if self.swept_at.is_some_and(|at| now - at < TimeDelta::seconds(SWEEP_S)) {
            return false;
        }
        self.swept_at = Some(now);
        self.events.retain(|_, event| now - event.at < TimeDelta::seconds(SILENT_S));
        let room = self.events.len() < TOPICS_MAX;
        if !room {
            tracing::warn!(topics_max = TOPICS_MAX, "more device topics than are kept; the latest values of some are not shown at once");
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vt_types::{Headers, Identity};

    use super::*;

    fn event(topic: &str, at_s: i64) -> Arc<LiveEvent> {
        let publication = Publication::new(Identity::known("x"), Topic::parse(topic).unwrap(), Headers::new(), json!(at_s));
        Arc::new(LiveEvent::new(Arc::new(publication), Timestamp::from_timestamp(at_s, 0).unwrap(), Arc::from("p")))
    }

    #[test]
    fn the_last_message_of_each_topic_is_found_by_topic_and_prefix() {
        let latest = Latest::default();
        for (topic, at_s) in [("devices/a/all", 1), ("devices/ab/all", 2), ("devices/a/all", 3), ("devices/b/all", 4)] {
            latest.put(&event(topic, at_s));
        }
        assert_eq!(*latest.get("devices/a/all").unwrap().publication.message, json!(3));
        assert!(latest.get("devices/a").is_none());
        let found: Vec<_> = latest.with_prefix("devices/a").iter().map(|event| event.publication.topic.to_string()).collect();
        assert_eq!(found, ["devices/a/all", "devices/ab/all"]);
        assert_eq!(latest.with_prefix("").len(), 3);
        assert!(!is_kept(&event("devices/a/T", 1).publication));
    }

    #[test]
    fn silent_topics_make_room_when_full() {
        let latest = Latest::default();
        for n in 0..TOPICS_MAX {
            latest.put(&event(&format!("devices/{n}/all"), if n == 0 { 0 } else { SILENT_S }));
        }
        latest.put(&event("devices/new/all", SILENT_S + 1));
        assert!(latest.get("devices/new/all").is_some());
        assert!(latest.get("devices/0/all").is_none());
        latest.put(&event("devices/newer/all", SILENT_S + 2));
        assert!(latest.get("devices/newer/all").is_none(), "full of topics that speak");
    }
}
