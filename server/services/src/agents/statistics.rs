//! Counting messages between `stats.enable` and `stats.disable`. The bus counts all the time; counting here is the difference between two
//! looks. Shape of the answer: VOLTTRON `volttron/platform/vip/tracking.py` (`Tracker.stats`), with one counter per peer and subsystem.
//!
//! Differs from VOLTTRON: counters per user are empty, because the bus counts by peer.

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use vt_bus::{Bus, BusStatistics, PeerInfo};
use vt_types::timestamp::Timestamp;

/// One look at the counters.
#[derive(Clone)]
struct Look {
    at: Timestamp,
    bus: BusStatistics,
    peers: Vec<PeerInfo>,
}

impl Look {
    fn now(bus: &Bus, at: Timestamp) -> Self {
        Self { at, bus: bus.statistics(), peers: bus.peer_infos() }
    }

    /// The counters of the same connection of the same peer in an earlier look; zeros if it connected since.
    fn of<'a>(&'a self, peer: &PeerInfo) -> Option<&'a PeerInfo> {
        self.peers.iter().find(|known| known.identity == peer.identity && known.connected_at == peer.connected_at)
    }
}

#[derive(Clone, Default)]
enum State {
    #[default]
    Never,
    Counting(Look),
    Ended(Look, Look),
}

/// What was counted, and whether counting goes on.
#[derive(Default)]
pub(super) struct Tracker(Mutex<State>);

impl Tracker {
    pub fn is_enabled(&self) -> bool {
        matches!(*self.0.lock(), State::Counting(_))
    }

    /// Begins at zero; nothing happens if it is counting.
    pub fn enable(&self, bus: &Bus, now: Timestamp) {
        let mut state = self.0.lock();
        if !matches!(*state, State::Counting(_)) {
            *state = State::Counting(Look::now(bus, now));
        }
    }

    /// Ends; what was counted stays.
    pub fn disable(&self, bus: &Bus, now: Timestamp) {
        let mut state = self.0.lock();
        if let State::Counting(from) = std::mem::take(&mut *state) {
            *state = State::Ended(from, Look::now(bus, now));
        }
    }

    /// What was counted.
    pub fn get(&self, bus: &Bus, now: Timestamp) -> Value {
        let state = self.0.lock().clone();
        match state {
            State::Never => counted(None),
            State::Counting(from) => {
                let mut answer = counted(Some((&from, &Look::now(bus, now))));
                answer["start"] = seconds(from.at);
                answer
            }
            State::Ended(from, to) => {
                let mut answer = counted(Some((&from, &to)));
                answer["start"] = seconds(from.at);
                answer["end"] = seconds(to.at);
                answer
            }
        }
    }
}

fn seconds(time: Timestamp) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit a float until the year 2255")]
    let seconds = time.timestamp_micros() as f64 / 1e6;
    json!(seconds)
}

fn counted(looks: Option<(&Look, &Look)>) -> Value {
    let mut by_peer = [(); 3].map(|()| Map::new());
    let (mut incoming, mut outgoing, mut unroutable) = (Map::new(), Map::new(), Map::new());
    if let Some((from, to)) = looks {
        for peer in &to.peers {
            let before = from.of(peer);
            let counters: [fn(&PeerInfo) -> u64; 3] = [|peer| peer.published, |peer| peer.delivered, |peer| peer.lost];
            for (found, read) in by_peer.iter_mut().zip(counters) {
                add(found, peer.identity.as_str(), read(peer).saturating_sub(before.map_or(0, read)));
            }
        }
        let since = |read: fn(&BusStatistics) -> u64| read(&to.bus).saturating_sub(read(&from.bus));
        let (calls, failed) = (since(|bus| bus.calls), since(|bus| bus.calls_failed));
        add(&mut incoming, "pubsub", since(|bus| bus.published));
        add(&mut incoming, "RPC", calls + failed);
        add(&mut outgoing, "pubsub", since(|bus| bus.delivered));
        add(&mut outgoing, "RPC", calls);
        add(&mut unroutable, "queue full", since(|bus| bus.lost));
        add(&mut unroutable, "call not handed over", failed);
    }
    let [published, delivered, lost] = by_peer;
    json!({
        "error": {"error": {}, "peer": {}, "user": {}, "subsystem": {}},
        "unroutable": {"error": unroutable, "peer": lost},
        "incoming": {"peer": published, "user": {}, "subsystem": incoming},
        "outgoing": {"peer": delivered, "user": {}, "subsystem": outgoing},
    })
}

/// As VOLTTRON, names only what was counted at all.
fn add(to: &mut Map<String, Value>, key: &str, count: u64) {
    if count > 0 {
        to.insert(key.to_owned(), json!(count));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vt_bus::{Config, PeerKind};
    use vt_types::{Headers, Identity, ManualClock, Topic, TopicPrefix};

    use super::*;

    #[tokio::test]
    async fn only_what_happens_while_it_counts_is_counted() {
        let start: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let bus = Bus::new(Config::default(), Arc::new(ManualClock::new(start)));
        let (sender, _kept) = bus.connect(Identity::known("sender"), PeerKind::Agent).unwrap();
        let (hearer, _mailbox) = bus.connect(Identity::known("hearer"), PeerKind::Agent).unwrap();
        hearer.subscribe(&TopicPrefix::parse("devices").unwrap()).unwrap();
        let publish = || sender.publish(&Topic::parse("devices/a").unwrap(), Headers::new(), Value::Null).unwrap();
        let tracker = Tracker::default();
        publish();
        assert_eq!(tracker.get(&bus, start)["incoming"], json!({"peer": {}, "user": {}, "subsystem": {}}));
        tracker.enable(&bus, start);
        publish();
        publish();
        tracker.enable(&bus, start);
        assert!(tracker.is_enabled());
        tracker.disable(&bus, start);
        publish();
        let found = tracker.get(&bus, start);
        assert_eq!(found["incoming"], json!({"peer": {"sender": 2}, "user": {}, "subsystem": {"pubsub": 2}}));
        assert_eq!(found["outgoing"], json!({"peer": {"hearer": 2}, "user": {}, "subsystem": {"pubsub": 2}}));
        assert_eq!((found["start"].as_f64(), found["end"].as_f64()), (Some(1_795_521_600.0), Some(1_795_521_600.0)));
        tracker.enable(&bus, start);
        assert_eq!(tracker.get(&bus, start)["incoming"]["peer"], json!({}), "enabling again begins at zero");
    }
}
