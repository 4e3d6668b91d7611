//! Publishing and subscribing over frames. Source: vip-zmq.md §5, VOLTTRON `volttron/platform/vip/pubsubservice.py`.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use vt_bus::{PeerHandle, PublishError, Subscription};
use vt_types::{Body, Headers, Lazy, Publication, TopicPrefix};
use vt_vip::frames::subsystem;
use vt_vip::pubsub::{self, List, Operation, Publish, Selection};
use vt_vip::{Message, error as vip_error, json as vip_json, text};

use crate::session::Session;

/// A message for a subscriber. The sender's name is inside only: it comes from the router.
pub fn delivery(publication: &Publication) -> Message {
    let args = vec![Bytes::from_static(b"publish"), text::topic_frame(&publication.topic), payload(publication)];
    Message::new(Bytes::new(), Bytes::new(), subsystem::PUBSUB, args)
}

/// `{"sender", "bus", "headers", "message"}`, made once for all subscribers.
pub fn payload(publication: &Publication) -> Bytes {
    publication.encoded(|publication| {
        let headers = source(publication.headers.source_text(), || Value::Object(publication.headers.as_map().clone()));
        let message = source(publication.message.source_text(), || (*publication.message).clone());
        let bus = publication.bus.as_deref().unwrap_or_default();
        let args = pubsub::delivery(&Bytes::new(), publication.sender.as_str(), bus, &headers, &message);
        args.into_iter().next_back().unwrap_or_default()
    })
}

/// What the publisher wrote, or the value as JSON.
fn source(text: Option<&Bytes>, value: impl FnOnce() -> Value) -> Bytes {
    text.cloned().unwrap_or_else(|| Bytes::from(vip_json::to_ascii(&value())))
}

/// A publication as it came over a wire: read when somebody in this process looks at it.
pub fn publication(sender: vt_types::Identity, publish: Publish) -> Publication {
    let headers = Lazy::from_text(publish.headers, parse_headers);
    let message = Body::from_text(publish.message, |text| Arc::new(vip_json::parse_lenient(text).unwrap_or_default()));
    Publication::new(sender, publish.topic, headers, message).on_bus(&publish.bus)
}

fn parse_headers(text: &[u8]) -> Headers {
    match vip_json::parse_lenient(text) {
        Ok(Value::Object(map)) => map.into(),
        _ => Headers::new(),
    }
}

impl Session {
    pub(crate) fn publish_subscribe(&mut self, peer: &PeerHandle, message: &Message) {
        let operation = match pubsub::decode(&message.args) {
            Ok(operation) => operation,
            Err(error) => {
                tracing::debug!(peer = %peer.identity(), %error, "a pubsub message cannot be understood");
                if let Some(args) = error.answer() {
                    self.out.push(message.answer(args));
                }
                return;
            }
        };
        match operation {
            Operation::Publish(publish) => self.publish(peer, message, publish),
            Operation::Subscribe { prefixes, bus, all_platforms } => {
                let mut wanted =
                    prefixes.into_iter().map(|prefix| Subscription { all_platforms, ..Subscription::local(prefix).on_bus(&bus) });
                let done = wanted.try_for_each(|wanted| peer.subscribe_to(&wanted));
                if let Err(error) = &done {
                    tracing::warn!(peer = %peer.identity(), %error, "a subscription was refused");
                }
                self.out.push(message.answer(pubsub::request_response(&json!(done.is_ok()))));
            }
            Operation::Unsubscribe { internal, all } => {
                for (selection, all_platforms) in [(internal, false), (all, true)] {
                    if let Some(selection) = selection {
                        unsubscribe(peer, &selection, all_platforms);
                    }
                }
                self.out.push(message.answer(pubsub::request_response(&json!(true))));
            }
            Operation::Synchronize { internal, all } => synchronize(peer, internal, all),
            Operation::List(list) => {
                let rows = listed(peer, &list);
                self.out.push(message.answer(pubsub::list_response(&rows)));
            }
            // Rights come from the platform's own files; in VOLTTRON any peer could set them.
            Operation::AuthUpdate(_) | Operation::ProtectedUpdate(_) => {
                tracing::warn!(peer = %peer.identity(), "a peer may not change rights of publishing");
            }
            Operation::ExternalList { platforms } => {
                let is_taken = self.wanted_there(&platforms);
                self.out.push(message.answer(pubsub::request_response(&json!(is_taken))));
            }
            Operation::ExternalPublish { sender, publish } => self.published_there(peer, sender, publish),
            Operation::RequestResponse { .. } | Operation::ListResponse { .. } | Operation::Error { .. } | Operation::Unknown { .. } => {}
        }
    }

    fn publish(&mut self, peer: &PeerHandle, message: &Message, publish: Publish) {
        let published = peer.publish_as(publication(peer.identity().clone(), publish));
        if let Err(PublishError::Refused(refusal)) = &published {
            self.out.push(vip_error::message(message, &vip_error::Failure::Refused(refusal.0.clone())));
        }
        // A publisher that is subscribed itself gets its message before the count.
        self.encode_waiting();
        self.out.push(message.answer(pubsub::request_response(&json!(published.unwrap_or(0)))));
    }
}

fn unsubscribe(peer: &PeerHandle, selection: &Selection, all_platforms: bool) {
    for held in peer.subscriptions() {
        let is_meant = held.all_platforms == all_platforms
            && held.bus.as_deref().unwrap_or_default() == selection.bus
            && selection.prefixes.as_ref().is_none_or(|prefixes| prefixes.contains(&held.prefix));
        if is_meant {
            peer.unsubscribe_from(&held);
        }
    }
}

/// Makes the peer's subscriptions exactly these. Those that stay miss nothing.
fn synchronize(peer: &PeerHandle, internal: Vec<(String, Vec<TopicPrefix>)>, all: Vec<(String, Vec<TopicPrefix>)>) {
    let mut wanted = Vec::new();
    for (lists, all_platforms) in [(internal, false), (all, true)] {
        for (bus, prefixes) in lists {
            wanted.extend(prefixes.into_iter().map(|prefix| Subscription { all_platforms, ..Subscription::local(prefix).on_bus(&bus) }));
        }
    }
    wanted.sort_unstable();
    wanted.dedup();
    for held in peer.subscriptions() {
        if wanted.binary_search(&held).is_err() {
            peer.unsubscribe_from(&held);
        }
    }
    for wanted in wanted {
        if let Err(error) = peer.subscribe_to(&wanted) {
            tracing::warn!(peer = %peer.identity(), %error, "a subscription was refused");
            return;
        }
    }
}

/// `[bus, prefix, whether it is the asker's own]` of each subscription that is asked for.
fn listed(peer: &PeerHandle, list: &List) -> Vec<(String, TopicPrefix, bool)> {
    let own = peer.subscriptions();
    let asked = list.prefix.as_str();
    let fits = |held: &Subscription| {
        let prefix = held.prefix.as_str();
        held.all_platforms == list.all_platforms
            && list.bus.as_deref().is_none_or(|bus| bus == held.bus.as_deref().unwrap_or_default())
            && if list.reverse { asked.starts_with(prefix) } else { prefix.starts_with(asked) }
    };
    let all = if list.subscribed { own.clone() } else { peer.bus().subscriptions() };
    all.into_iter()
        .filter(fits)
        .map(|held| {
            let is_own = own.contains(&held);
            (held.bus.as_deref().unwrap_or_default().to_owned(), held.prefix, is_own)
        })
        .collect()
}
