//! Which topics each user listens on through legacy websockets, so that they can be listed and ended.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Open legacy websockets by user.
#[derive(Default)]
pub struct OpenTopics {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    open: HashMap<u64, Open>,
}

struct Open {
    user: String,
    topic: String,
    stop: CancellationToken,
}

impl OpenTopics {
    /// Registers a websocket for as long as the answer lives.
    pub fn register(self: &Arc<Self>, user: &str, topic: &str) -> Registered {
        let stop = CancellationToken::new();
        let mut state = self.state.lock();
        state.last += 1;
        let id = state.last;
        state.open.insert(id, Open { user: user.to_owned(), topic: topic.to_owned(), stop: stop.clone() });
        Registered { topics: Arc::clone(self), id, stop }
    }

    /// Topics of a user, sorted, once each.
    pub fn of(&self, user: &str) -> Vec<String> {
        let state = self.state.lock();
        let mut topics: Vec<String> = state.open.values().filter(|open| open.user == user).map(|open| open.topic.clone()).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// Ends a user's websockets on a topic.
    pub fn close(&self, user: &str, topic: &str) {
        for open in self.state.lock().open.values().filter(|open| open.user == user && open.topic == topic) {
            open.stop.cancel();
        }
    }
}

/// A registered websocket; cancelled when its user ends it.
pub struct Registered {
    topics: Arc<OpenTopics>,
    id: u64,
    pub stop: CancellationToken,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.topics.state.lock().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_see_and_end_their_own() {
        let topics = Arc::new(OpenTopics::default());
        let dana = topics.register("dana", "a");
        let kim = topics.register("kim", "a");
        assert_eq!(topics.of("dana"), ["a"]);
        topics.close("dana", "a");
        assert!(dana.stop.is_cancelled() && !kim.stop.is_cancelled());
        drop(dana);
        assert!(topics.of("dana").is_empty());
        assert_eq!(topics.of("kim"), ["a"]);
    }
}
