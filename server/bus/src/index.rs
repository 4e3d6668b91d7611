//! Subscriptions to subscribers: a byte trie per named bus, walked once per publication, so that matching costs the length of the topic
//! and not the number of subscriptions.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use vt_types::TopicPrefix;

use crate::Subscription;
use crate::router::Slot;

const ROOT: usize = 0;

#[derive(Default)]
struct Node {
    /// Sorted by byte.
    children: Vec<(u8, usize)>,
    subscribers: Vec<Arc<Slot>>,
}

/// All subscriptions of the bus.
pub struct Index {
    default: Trie,
    named: HashMap<Arc<str>, Trie>,
    by_peer: HashMap<u64, BTreeSet<Subscription>>,
}

impl Index {
    pub fn new() -> Self {
        Self { default: Trie::new(), named: HashMap::new(), by_peer: HashMap::new() }
    }

    /// Number of subscriptions of the peer.
    pub fn count(&self, slot_id: u64) -> usize {
        self.by_peer.get(&slot_id).map_or(0, BTreeSet::len)
    }

    pub fn contains(&self, slot_id: u64, subscription: &Subscription) -> bool {
        self.by_peer.get(&slot_id).is_some_and(|of_peer| of_peer.contains(subscription))
    }

    pub fn subscriptions(&self, slot_id: u64) -> impl Iterator<Item = &Subscription> {
        self.by_peer.get(&slot_id).into_iter().flatten()
    }

    /// Subscriptions of all peers; one that several peers have comes several times.
    pub fn all(&self) -> impl Iterator<Item = &Subscription> {
        self.by_peer.values().flatten()
    }

    /// Whether the peer wants messages on `topic` from other platforms.
    pub fn wants_from_outside(&self, slot_id: u64, bus: Option<&str>, topic: &str) -> bool {
        self.subscriptions(slot_id).any(|held| held.all_platforms && held.bus.as_deref() == bus && topic.starts_with(held.prefix.as_str()))
    }

    /// Adds a subscription; a repeated one changes nothing.
    pub fn insert(&mut self, slot: &Arc<Slot>, subscription: &Subscription) {
        let of_peer = self.by_peer.entry(slot.id).or_default();
        let is_linked = of_peer.contains(&subscription.twin());
        if !of_peer.insert(subscription.clone()) || is_linked {
            return;
        }
        match &subscription.bus {
            None => self.default.link(slot, &subscription.prefix),
            Some(bus) => self.named.entry(Arc::clone(bus)).or_insert_with(Trie::new).link(slot, &subscription.prefix),
        }
    }

    /// Removes a subscription; says whether there was one.
    pub fn remove(&mut self, slot_id: u64, subscription: &Subscription) -> bool {
        let Some(set) = self.by_peer.get_mut(&slot_id) else { return false };
        if !set.remove(subscription) {
            return false;
        }
        let is_linked_still = set.contains(&subscription.twin());
        if set.is_empty() {
            self.by_peer.remove(&slot_id);
        }
        if !is_linked_still {
            self.unlink(slot_id, subscription);
        }
        true
    }

    /// Removes everything of a peer.
    pub fn remove_peer(&mut self, slot_id: u64) {
        for subscription in self.by_peer.remove(&slot_id).unwrap_or_default() {
            self.unlink(slot_id, &subscription);
        }
    }

    /// Calls `deliver` once for each subscriber of any prefix of `topic` on `bus`.
    pub fn for_each_match(&self, bus: Option<&str>, topic: &str, deliver: impl FnMut(&Arc<Slot>)) {
        match bus {
            None => self.default.for_each_match(topic, deliver),
            Some(bus) => {
                if let Some(trie) = self.named.get(bus) {
                    trie.for_each_match(topic, deliver);
                }
            }
        }
    }

    fn unlink(&mut self, slot_id: u64, subscription: &Subscription) {
        let Some(bus) = &subscription.bus else { return self.default.unlink(slot_id, &subscription.prefix) };
        if let Some(trie) = self.named.get_mut(bus) {
            trie.unlink(slot_id, &subscription.prefix);
            if trie.is_empty() {
                self.named.remove(bus);
            }
        }
    }
}

struct Trie {
    nodes: Vec<Node>,
    free: Vec<usize>,
}

impl Trie {
    fn new() -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.nodes[ROOT].children.is_empty() && self.nodes[ROOT].subscribers.is_empty()
    }

    /// Makes the peer a subscriber of the prefix; linking one twice changes nothing.
    fn link(&mut self, slot: &Arc<Slot>, prefix: &TopicPrefix) {
        let mut at = ROOT;
        for byte in prefix.as_str().bytes() {
            at = match self.nodes[at].children.binary_search_by_key(&byte, |(b, _)| *b) {
                Ok(found) => self.nodes[at].children[found].1,
                Err(place) => {
                    let child = self.allocate();
                    self.nodes[at].children.insert(place, (byte, child));
                    child
                }
            };
        }
        let subscribers = &mut self.nodes[at].subscribers;
        if !subscribers.iter().any(|there| there.id == slot.id) {
            subscribers.push(Arc::clone(slot));
        }
    }

    fn for_each_match(&self, topic: &str, mut deliver: impl FnMut(&Arc<Slot>)) {
        let mut at = ROOT;
        let mut first: Option<&[Arc<Slot>]> = None;
        let mut several: Vec<&Arc<Slot>> = Vec::new();
        let mut bytes = topic.bytes();
        loop {
            let here = &self.nodes[at].subscribers;
            if !here.is_empty() {
                match first {
                    None => first = Some(here),
                    Some(earlier) => {
                        if several.is_empty() {
                            several.extend(earlier);
                        }
                        several.extend(here);
                    }
                }
            }
            let Some(byte) = bytes.next() else { break };
            match self.nodes[at].children.binary_search_by_key(&byte, |(b, _)| *b) {
                Ok(found) => at = self.nodes[at].children[found].1,
                Err(_) => break,
            }
        }
        if several.is_empty() {
            // One node holds a peer at most once, so there is nothing to make unique.
            first.unwrap_or_default().iter().for_each(deliver);
        } else {
            several.sort_unstable_by_key(|slot| slot.id);
            several.dedup_by_key(|slot| slot.id);
            several.into_iter().for_each(&mut deliver);
        }
    }

    fn allocate(&mut self) -> usize {
        if let Some(free) = self.free.pop() {
            return free;
        }
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    fn unlink(&mut self, slot_id: u64, prefix: &TopicPrefix) {
        let mut path = vec![ROOT];
        for byte in prefix.as_str().bytes() {
            let at = path[path.len() - 1];
            let Ok(found) = self.nodes[at].children.binary_search_by_key(&byte, |(b, _)| *b) else { return };
            path.push(self.nodes[at].children[found].1);
        }
        self.nodes[path[path.len() - 1]].subscribers.retain(|slot| slot.id != slot_id);
        // Give back the nodes that nothing hangs on any more, from the end of the prefix upwards.
        for pair in path.windows(2).rev() {
            let (parent, child) = (pair[0], pair[1]);
            if !self.nodes[child].children.is_empty() || !self.nodes[child].subscribers.is_empty() {
                break;
            }
            self.nodes[parent].children.retain(|(_, node)| *node != child);
            self.nodes[child] = Node::default();
            self.free.push(child);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::Slot;

    fn prefix(text: &str) -> Subscription {
        Subscription::local(TopicPrefix::parse(text).unwrap())
    }

    fn matches(index: &Index, topic: &str) -> Vec<u64> {
        let mut found = Vec::new();
        index.for_each_match(None, topic, |slot| found.push(slot.id));
        found.sort_unstable();
        found
    }

    #[test]
    fn agrees_with_starts_with_and_delivers_once() {
        let texts = ["", "a", "ab", "abc", "devices/a", "devices/ab", "devices/a/", "x"];
        let mut index = Index::new();
        let slots: Vec<_> = (0..texts.len() as u64).map(Slot::for_tests).collect();
        for (slot, text) in slots.iter().zip(texts) {
            index.insert(slot, &prefix(text));
            index.insert(slot, &prefix(text));
            index.insert(slot, &prefix("dev"));
        }
        for topic in ["a", "abcd", "devices/a/all", "devices/ab/all", "y", "xyz"] {
            let expected: Vec<u64> = (0..texts.len() as u64)
                .filter(|i| topic.starts_with(texts[usize::try_from(*i).unwrap()]) || topic.starts_with("dev"))
                .collect();
            assert_eq!(matches(&index, topic), expected, "{topic}");
        }
    }

    #[test]
    fn removal_gives_all_nodes_back() {
        let mut index = Index::new();
        let (one, two) = (Slot::for_tests(1), Slot::for_tests(2));
        index.insert(&one, &prefix("devices/a"));
        index.insert(&two, &prefix("devices/b"));
        let nodes = index.default.nodes.len();
        assert!(index.remove(1, &prefix("devices/a")));
        assert!(!index.remove(1, &prefix("devices/a")));
        assert_eq!(matches(&index, "devices/b/x"), [2]);
        index.remove_peer(2);
        assert_eq!(index.default.free.len(), nodes - 1, "all but the root");
        index.insert(&one, &prefix("devices/c"));
        assert_eq!(index.default.nodes.len(), nodes, "freed nodes are used again");
    }

    #[test]
    fn a_prefix_wanted_here_and_from_everywhere_is_delivered_once_until_both_are_gone() {
        let mut index = Index::new();
        let slot = Slot::for_tests(1);
        let (local, everywhere) = (prefix("a"), prefix("a").from_all_platforms());
        index.insert(&slot, &local);
        index.insert(&slot, &everywhere);
        assert_eq!(matches(&index, "ab"), [1]);
        assert!(index.remove(1, &local));
        assert_eq!(matches(&index, "ab"), [1]);
        assert!(index.remove(1, &everywhere));
        assert_eq!(matches(&index, "ab"), [0; 0]);
    }

    #[test]
    fn named_buses_are_apart() {
        let mut index = Index::new();
        index.insert(&Slot::for_tests(1), &prefix(""));
        index.insert(&Slot::for_tests(2), &prefix("").on_bus("other"));
        assert_eq!(matches(&index, "x"), [1]);
        let mut found = Vec::new();
        index.for_each_match(Some("other"), "x", |slot| found.push(slot.id));
        assert_eq!(found, [2]);
        index.remove_peer(2);
        assert!(index.named.is_empty());
    }
}
