//! What comes in from another platform, and what goes out to one: a platform proves by its key which one it is. Source: vip-zmq.md §9.3,
//! §9.4, VOLTTRON `volttron/platform/vip/{pubsubservice,externalrpcservice}.py`.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use vt_backends::Proof;
use vt_bus::{PeerHandle, RelayError};
use vt_types::identity::known;
use vt_types::{Envelope, Identity, RpcError, TopicPrefix};
use vt_vip::external_rpc::{self, Letter};
use vt_vip::frames::subsystem;
use vt_vip::pubsub::Publish;
use vt_vip::routing_table::{self, Operation};
use vt_vip::rpc::{self, Decoded, Document};
use vt_vip::{Message, error as vip_error};

use crate::pubsub::publication;
use crate::session::Session;

impl Session {
    /// Which platform this peer is, if any.
    fn platform(&self) -> Option<String> {
        match &self.attempt.proof {
            Proof::Curve(key) => self.shared.platforms.by_key(key),
            Proof::Null => None,
        }
    }

    /// A platform says what its peers want. Only of itself, and never of us.
    pub(crate) fn wanted_there(&self, lists: &[(String, Vec<TopicPrefix>)]) -> bool {
        let Some(platform) = self.platform() else {
            tracing::warn!(peer = %self.attempt.identity, "a peer that is no known platform may not say what one wants");
            return false;
        };
        self.shared.platforms.heard(&platform);
        for (name, prefixes) in lists {
            if *name != platform {
                return false;
            }
            self.shared.platforms.wants(name, prefixes);
        }
        true
    }

    /// A message of a peer there, for those here who want it.
    pub(crate) fn published_there(&self, peer: &PeerHandle, sender: Identity, publish: Publish) {
        let Some(platform) = self.platform() else {
            tracing::warn!(peer = %peer.identity(), "a peer that is no known platform may not publish for others");
            return;
        };
        self.shared.platforms.heard(&platform);
        let topic = publish.topic.clone();
        if let Err(error) = peer.publish_as(publication(sender, publish).from_outside()) {
            tracing::debug!(platform, %topic, %error, "a message of another platform was not taken");
        }
    }

    /// Greetings between platforms.
    pub(crate) fn greeted(&self, message: &Message) {
        let Some(platform) = self.platform() else {
            tracing::debug!(peer = %self.attempt.identity, "a greeting of an unknown platform");
            return;
        };
        self.shared.platforms.heard(&platform);
        match routing_table::decode(&message.args) {
            Ok(Operation::Hello { platform: name }) if name == platform => self.shared.platforms.welcome(&name),
            Ok(Operation::Welcome { platform: name }) if name == platform => self.shared.platforms.welcomed(&name),
            // Which platforms there are is for this platform's own people and files to say.
            Ok(operation) => tracing::debug!(platform, ?operation, "a message between platforms is ignored"),
            Err(error) => tracing::debug!(platform, %error, "a message between platforms cannot be understood"),
        }
    }

    /// A call, or an answer, between peers of different platforms.
    pub(crate) fn letter(&mut self, peer: &PeerHandle, message: &Message) {
        let (operation, letter) = match external_rpc::decode(&message.args) {
            Ok(decoded) => decoded,
            Err(error) => {
                tracing::debug!(peer = %peer.identity(), %error, "a call to another platform cannot be understood");
                return;
            }
        };
        match operation {
            external_rpc::Operation::SendPlatform => self.send_letter(peer, message, letter),
            external_rpc::Operation::SendPeer => self.deliver_letter(peer, message, letter),
        }
    }

    fn send_letter(&mut self, peer: &PeerHandle, message: &Message, letter: Letter) {
        let platforms = Arc::clone(&self.shared.platforms);
        let letter = Letter { from_platform: platforms.our_name().to_owned(), from_peer: peer.identity().to_string(), ..letter };
        let user = Bytes::copy_from_slice(peer.user_id().as_bytes());
        if platforms.send_letter(&letter.to_platform, message.id.clone(), user, &letter).is_err() {
            let there = Bytes::copy_from_slice(letter.to_platform.as_bytes());
            self.fail(message, &vip_error::Failure::NoRoute { peer: there });
        }
    }

    fn deliver_letter(&mut self, peer: &PeerHandle, message: &Message, letter: Letter) {
        let Some(platform) = self.platform().filter(|platform| *platform == letter.from_platform) else {
            tracing::warn!(peer = %peer.identity(), "a peer that is not that platform may not deliver its calls");
            return;
        };
        self.shared.platforms.heard(&platform);
        let Ok(to) = Identity::parse(known::canonical(&letter.to_peer)) else { return };
        if to.as_str() == known::PLATFORM_WEB {
            self.shared.platforms.answered(&platform, &letter);
        }
        if peer.is_guarded(&to) && !self.may_deliver(peer, &to, message, &letter) {
            return;
        }
        let envelope = Envelope {
            from: None,
            user_id: Arc::clone(peer.user_id()),
            message_id: message.id.clone(),
            subsystem: Bytes::from_static(subsystem::EXTERNAL_RPC),
            args: message.args.clone(),
        };
        match peer.relay(&to, envelope) {
            Ok(()) => {}
            Err(RelayError::Local(_)) => self.answer_letter(peer, &to, message, letter),
            Err(error) => {
                let gone = |request: &rpc::RawId| rpc::encode_response(request, &Err(RpcError::UnknownPeer(to.clone())));
                tracing::debug!(platform, %error, "a call of another platform was not delivered");
                self.send_back(message, &letter, &requests(&letter).iter().filter_map(|(id, _)| id.as_ref().map(gone)).collect::<Vec<_>>());
            }
        }
    }

    /// Asks the policy about calls for another remote peer; a refusal goes back.
    fn may_deliver(&self, peer: &PeerHandle, to: &Identity, message: &Message, letter: &Letter) -> bool {
        let mut answers = Vec::new();
        let mut is_refused = false;
        for (id, request) in requests(letter) {
            if let Err(refusal) = peer.may_call(to, &request) {
                is_refused = true;
                answers.extend(id.map(|id| rpc::encode_response(&id, &Err(RpcError::Refused(refusal.0)))));
            }
        }
        if is_refused {
            self.send_back(message, letter, &answers);
        }
        !is_refused
    }

    /// A peer in this process answers a call of another platform.
    fn answer_letter(&mut self, peer: &PeerHandle, to: &Identity, message: &Message, letter: Letter) {
        let pending: Vec<_> = requests(&letter).into_iter().filter_map(|(id, request)| Some((id?, peer.call(to, request)))).collect();
        if pending.is_empty() {
            return;
        }
        let platforms = Arc::clone(&self.shared.platforms);
        let (id, user, limit) = (message.id.clone(), Bytes::copy_from_slice(to.as_str().as_bytes()), self.shared.config.call_limit);
        self.calls.run(async move {
            let answers = pending.into_iter().map(|(id, call)| async move {
                let result = match call {
                    Ok(call) => {
                        tokio::time::timeout(limit, call).await.unwrap_or_else(|_| Err(RpcError::runtime_error("no answer in time")))
                    }
                    Err(error) => Err(error),
                };
                rpc::encode_response(&id, &result)
            });
            let letter = back(&letter, &join_all(answers).await);
            if platforms.send_letter(&letter.to_platform, id, user, &letter).is_err() {
                tracing::debug!(platform = letter.to_platform, "an answer to a call of another platform was lost with its link");
            }
        });
    }

    fn send_back(&self, message: &Message, letter: &Letter, answers: &[Bytes]) {
        if answers.is_empty() {
            return;
        }
        let letter = back(letter, answers);
        if self.shared.platforms.send_letter(&letter.to_platform, message.id.clone(), Bytes::new(), &letter).is_err() {
            tracing::debug!(platform = letter.to_platform, "an answer to a call of another platform was lost with its link");
        }
    }
}

/// The requests in a letter. Of the peers in this process, the web service alone calls other platforms and gets answers.
fn requests(letter: &Letter) -> Vec<(Option<rpc::RawId>, vt_types::RpcRequest)> {
    let documents = letter.documents.iter().flat_map(|document| match rpc::decode(document.as_bytes()) {
        Decoded::Single(document) => vec![document],
        Decoded::Batch(documents) => documents,
    });
    documents
        .filter_map(|document| match document {
            Document::Request { id, request } => Some((id, request)),
            _ => None,
        })
        .collect()
}

/// The answer to a letter.
fn back(letter: &Letter, answers: &[Bytes]) -> Letter {
    Letter {
        to_platform: letter.from_platform.clone(),
        to_peer: letter.from_peer.clone(),
        from_platform: letter.to_platform.clone(),
        from_peer: letter.to_peer.clone(),
        documents: answers.iter().map(|answer| String::from_utf8_lossy(answer).into_owned()).collect(),
    }
}
