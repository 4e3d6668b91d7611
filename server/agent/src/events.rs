//! What reaches an agent: publications, changes of its configuration, the wish that it stop.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use vt_bus::Queue;
use vt_types::Publication;

use crate::config::{ConfigChange, Configs};
use crate::liveness::Liveness;

/// One event.
#[derive(Debug)]
pub enum Event {
    /// A message that matches a subscription.
    Publication(Arc<Publication>),
    /// An entry of the agent's configuration changed.
    Config(ConfigChange),
    /// The agent is to end. Comes first, and again on each call.
    Stop,
}

/// The stream of events of one agent; not shared.
#[derive(Debug)]
pub struct Events {
    pub(crate) publications: Queue<Arc<Publication>>,
    pub(crate) configs: Arc<Configs>,
    pub(crate) stop: CancellationToken,
    pub(crate) liveness: Liveness,
}

impl Events {
    /// The next event. Cancel safe.
    pub async fn next(&mut self) -> Event {
        self.liveness.waiting();
        let event = tokio::select! {
            biased;
            () = self.stop.cancelled() => Event::Stop,
            change = self.configs.next_change() => Event::Config(change),
            publication = self.publications.recv() => publication.map_or(Event::Stop, Event::Publication),
        };
        self.liveness.busy();
        event
    }

    /// As [`Events::next`], but a publication brings along all that wait, up to `limit`: they are appended to `batch`, the first included,
    /// and `None` is returned. Any other event is returned.
    pub async fn next_batch(&mut self, batch: &mut Vec<Arc<Publication>>, limit: usize) -> Option<Event> {
        self.liveness.waiting();
        let event = tokio::select! {
            biased;
            () = self.stop.cancelled() => Some(Event::Stop),
            change = self.configs.next_change() => Some(Event::Config(change)),
            count = self.publications.recv_many(batch, limit.max(1)) => (count == 0).then_some(Event::Stop),
        };
        self.liveness.busy();
        event
    }

    /// The publications that wait now, without waiting; for taking in what is left when stopping.
    pub fn drain(&mut self) -> Vec<Arc<Publication>> {
        std::iter::from_fn(|| self.publications.try_recv().ok()).collect()
    }
}
