//! What a peer asks of the router itself. Source: vip-zmq.md §3, VOLTTRON `volttron/platform/vip/router.py`.

use std::sync::Arc;

use bytes::Bytes;
use vt_bus::PeerHandle;
use vt_vip::router::{self, Request};
use vt_vip::{Message, error as vip_error};

use crate::session::Session;

impl Session {
    /// Answers a message to the router, if it has an answer.
    pub(crate) fn answer(&mut self, peer: &PeerHandle, message: &Message) {
        let own = || Bytes::copy_from_slice(peer.identity().as_str().as_bytes());
        let shared = Arc::clone(&self.shared);
        match Request::decode(message) {
            Request::Hello => self.out.push(message.answer(router::welcome(&shared.facts.router_id, &own()))),
            Request::Ping { data } => self.out.push(message.answer(router::pong(data))),
            Request::ListPeers => {
                let peers = shared.bus.peers();
                let peers = peers.iter().map(|identity| Bytes::copy_from_slice(identity.as_str().as_bytes()));
                self.out.push(message.answer(router::listing(peers)));
            }
            Request::BadPeerlist(error) => self.out.push(message.answer(router::peerlist_error(error))),
            Request::Query { key } => {
                let value = shared.facts.value(key.as_deref().unwrap_or_default());
                self.out.push(message.answer(router::query_value(&value)));
            }
            // Others are stopped by the control service; in VOLTTRON anybody may say it of anybody.
            Request::AgentStop { identity } if identity == own() => self.leave(),
            Request::AgentStop { identity } => {
                tracing::warn!(peer = %peer.identity(), stopped = ?identity, "a peer may not say that another one stops");
            }
            Request::Pubsub => self.publish_subscribe(peer, message),
            Request::Ignored => {}
            // The platform is ended by its control service, which is in this process.
            Request::RoutingTable => self.greeted(message),
            Request::ExternalRpc => self.letter(peer, message),
            Request::Quit | Request::Unknown => {
                self.out.push(vip_error::message(message, &vip_error::Failure::UnknownSubsystem));
            }
        }
    }
}
