//! The queues of a peer: bounded by entries and by bytes, so that a peer that does not take what is sent to it costs a known amount of
//! memory, whatever is sent. What is larger than the bound of bytes passes alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use vt_types::{Envelope, Publication, RpcRequest};

use crate::{Delivery, IncomingCall};

/// Rough size of one JSON value in memory, besides its text.
const VALUE_BYTES: usize = 32;

/// What waits in a queue.
pub(crate) trait Weighed {
    /// Bytes that count against the bound of the queue. What is made in this process may count nothing: its makers are known, and the
    /// number of entries is bounded too.
    fn weight(&self) -> usize;
}

impl Weighed for Arc<Publication> {
    fn weight(&self) -> usize {
        self.headers.source_text().map_or(0, bytes::Bytes::len) + self.message.source_text().map_or(0, bytes::Bytes::len)
    }
}

impl Weighed for IncomingCall {
    fn weight(&self) -> usize {
        let RpcRequest { method, params } = &self.request;
        method.len() + array_weight(&params.args) + object_weight(&params.kwargs)
    }
}

impl Weighed for Envelope {
    fn weight(&self) -> usize {
        self.message_id.len() + self.args.iter().map(bytes::Bytes::len).sum::<usize>()
    }
}

impl Weighed for Delivery {
    fn weight(&self) -> usize {
        match self {
            Self::Publication(publication) => publication.weight(),
            Self::Call(call) => call.weight(),
            Self::Envelope(envelope) => envelope.weight(),
        }
    }
}

fn weight(value: &Value) -> usize {
    VALUE_BYTES
        + match value {
            Value::String(text) => text.len(),
            Value::Array(values) => array_weight(values),
            Value::Object(values) => object_weight(values),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}

fn array_weight(values: &[Value]) -> usize {
    values.iter().map(weight).sum()
}

fn object_weight(values: &Map<String, Value>) -> usize {
    values.iter().map(|(name, value)| name.len() + weight(value)).sum()
}

/// Makes a queue of at most `entries_max` entries and `bytes_max` bytes.
pub(crate) fn queue<T>(entries_max: usize, bytes_max: usize) -> (QueueSender<T>, Queue<T>) {
    let (sender, receiver) = mpsc::channel(entries_max.max(1));
    let waiting = Arc::new(AtomicUsize::new(0));
    (QueueSender { sender, waiting: Arc::clone(&waiting), bytes_max }, Queue { receiver, waiting })
}

/// Where entries are put.
pub(crate) struct QueueSender<T> {
    sender: mpsc::Sender<T>,
    waiting: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl<T: Weighed> QueueSender<T> {
    /// Puts an entry, or says why not and gives it back. Never waits.
    pub(crate) fn try_send(&self, entry: T) -> Result<(), TrySendError<T>> {
        let weight = entry.weight();
        if weight == 0 {
            return self.sender.try_send(entry);
        }
        let before = self.waiting.fetch_add(weight, Relaxed);
        let result = if before > 0 && before.saturating_add(weight) > self.bytes_max {
            Err(TrySendError::Full(entry))
        } else {
            self.sender.try_send(entry)
        };
        if result.is_err() {
            self.waiting.fetch_sub(weight, Relaxed);
        }
        result
    }

    /// Bound of entries, and how many more there is room for.
    pub(crate) fn capacity(&self) -> (usize, usize) {
        (self.sender.max_capacity(), self.sender.capacity())
    }
}

/// The receiving half of one queue of a peer.
#[derive(Debug)]
pub struct Queue<T> {
    receiver: mpsc::Receiver<T>,
    waiting: Arc<AtomicUsize>,
}

#[expect(private_bounds, reason = "the bus alone says what its entries weigh")]
impl<T: Weighed> Queue<T> {
    /// The next entry; `None` once the bus has disconnected the peer and everything is taken. Cancel-safe.
    pub async fn recv(&mut self) -> Option<T> {
        let entry = self.receiver.recv().await;
        self.took(entry.as_slice());
        entry
    }

    /// Waits for entries and appends up to `most` of them to `into`; 0 as [`Queue::recv`]'s `None`. Cancel-safe.
    pub async fn recv_many(&mut self, into: &mut Vec<T>, most: usize) -> usize {
        let before = into.len();
        let count = self.receiver.recv_many(into, most).await;
        self.took(&into[before..]);
        count
    }

    /// An entry that waits already.
    ///
    /// # Errors
    /// That there is none now, or will be none any more.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let entry = self.receiver.try_recv()?;
        self.took(std::slice::from_ref(&entry));
        Ok(entry)
    }

    /// Entries that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.receiver.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    fn took(&self, entries: &[T]) {
        let weight: usize = entries.iter().map(Weighed::weight).sum();
        if weight > 0 {
            self.waiting.fetch_sub(weight, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;
    use vt_types::{Identity, Params};

    use super::*;

    fn envelope(bytes: usize) -> Envelope {
        let args = vec![Bytes::from(vec![0; bytes])];
        Envelope { from: None, user_id: Arc::from(""), message_id: Bytes::new(), subsystem: Bytes::from_static(b"RPC"), args }
    }

    #[tokio::test]
    async fn a_queue_is_full_by_its_bytes_and_has_room_again_when_they_are_taken() {
        let (sender, mut queue) = queue(100, 1000);
        sender.try_send(envelope(600)).unwrap();
        assert!(matches!(sender.try_send(envelope(401)), Err(TrySendError::Full(_))));
        sender.try_send(envelope(400)).unwrap();
        assert_eq!(queue.try_recv().unwrap().weight(), 600);
        sender.try_send(envelope(600)).unwrap();
        let mut taken = Vec::new();
        assert_eq!(queue.recv_many(&mut taken, 10).await, 2);
        sender.try_send(envelope(5000)).expect("alone, whatever its size");
        assert!(sender.try_send(envelope(1)).is_err());
        assert_eq!(queue.recv().await.unwrap().weight(), 5000);
        assert_eq!(sender.waiting.load(Relaxed), 0);
    }

    #[test]
    fn a_refused_entry_counts_nothing() {
        let (sender, queue) = queue(1, 1000);
        sender.try_send(envelope(10)).unwrap();
        assert!(sender.try_send(envelope(10)).is_err(), "one entry at most");
        assert_eq!(sender.waiting.load(Relaxed), 10);
        drop(queue);
        assert!(matches!(sender.try_send(envelope(10)), Err(TrySendError::Closed(_))));
        assert_eq!(sender.waiting.load(Relaxed), 10);
    }

    #[test]
    fn a_call_weighs_what_its_arguments_do() {
        let from = Identity::known("test");
        let call = |args| IncomingCall {
            user_id: Arc::from(""),
            from: from.clone(),
            user: None,
            request: RpcRequest::new("", Params::positional(args)),
            reply: None,
        };
        assert_eq!(call(vec![]).weight(), 0);
        assert!(call(vec![json!({"a": ["x".repeat(1000)]})]).weight() > 1000);
        assert!(call(vec![json!(vec![0; 1000])]).weight() > 16_000, "small values are not free");
    }
}
