//! Entries of agents that are installed on this machine; agent installation calls this. Source: agents.md §1.4, step 5.

use vt_backends::{AuthEntry, Capabilities, Field, KeyOwner};
use vt_types::{CurveKeyPair, Identity, PublicKey};

use super::{PeerAuth, own};
use crate::{Caller, ServiceError};

/// What VOLTTRON writes into such entries.
const COMMENT: &str = "Automatically added on agent install";
/// The agent through which a VOLTTRON Central manages a platform.
const CENTRAL_PLATFORM: &str = "platform.agent";

/// What every agent may do: change its own configuration.
pub fn own_store(identity: &str) -> Capabilities {
    Capabilities::new().with_only("edit_config_store", "identity", identity)
}

fn of_agent(identity: &Identity) -> Capabilities {
    if identity.as_str() == CENTRAL_PLATFORM {
        // It installs and starts agents and writes their configurations for somebody above.
        return own_store("/.*/").with(super::CONTROL_CAPABILITY);
    }
    own_store(identity.as_str())
}

impl PeerAuth {
    /// Enters an agent that is being installed: it may connect with `key` under `identity` and under no other, and change its own
    /// configuration. An entry of that user that exists keeps its rights and gets the key.
    ///
    /// # Errors
    /// `Invalid` for an identity of the platform's own, `Conflict` while `auth.json` is broken, `Unavailable`; then nothing changed.
    pub async fn add_for_agent(&self, identity: &Identity, key: PublicKey) -> Result<(), ServiceError> {
        if vt_types::identity::known::is_reserved(identity.as_str()) {
            return Err(ServiceError::Invalid(super::belongs_to_service(identity)));
        }
        let capabilities = of_agent(identity);
        let change = self.book.change(|records| {
            // A key proves one agent; an older entry of the same key would let it in under another name.
            records.allow.retain(|entry| !entry.names_key(key) || entry.user_id == identity.as_str());
            records.deny.retain(|entry| !entry.names_key(key));
            match records.allow.iter_mut().find(|entry| entry.user_id == identity.as_str()) {
                Some(entry) => {
                    (entry.credentials, entry.mechanism) = (Field::One(key.to_string()), vt_backends::Mechanism::Curve);
                    (entry.identity, entry.enabled) = (Some(identity.clone()), true);
                    entry.capabilities.add_missing(&capabilities);
                }
                None => {
                    let mut entry = AuthEntry::for_key(key, identity.as_str());
                    (entry.identity, entry.capabilities) = (Some(identity.clone()), capabilities);
                    entry.comments = Some(COMMENT.to_owned());
                    records.allow.push(entry);
                }
            }
            Ok(())
        });
        let result = change.await;
        self.finish(&Caller::peer(&control()), "peer.add", identity.as_str(), &format!("key {key}"), result).await
    }

    /// Removes the allow entries of a key, for an agent that is being removed; says whether there were any. Peers that are connected with
    /// it are disconnected.
    ///
    /// # Errors
    /// `Conflict` while `auth.json` is broken, `Unavailable`; then nothing changed.
    pub async fn remove_for_key(&self, key: PublicKey) -> Result<bool, ServiceError> {
        let result = self.remove_entries(|entry| entry.names_key(key)).await;
        match result {
            Ok(0) => Ok(false),
            result => {
                let detail = "with its agent".to_owned();
                self.finish(&Caller::peer(&control()), "peer.remove", &key.to_string(), &detail, result.map(|_| true)).await
            }
        }
    }

    /// The CURVE pair of a peer on this machine: the stored one, or a new one that is stored where every generation of agents finds it.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn pair_of(&self, identity: &Identity) -> Result<CurveKeyPair, ServiceError> {
        own::pair_of(self.keys.as_ref(), &KeyOwner::Peer(identity.clone())).await
    }

    /// Forgets the stored pair of a peer.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn forget_pair(&self, identity: &Identity) -> Result<bool, ServiceError> {
        Ok(self.keys.remove(identity).await?)
    }

    /// The pair that the platform's endpoints prove themselves with.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn server_pair(&self) -> Result<CurveKeyPair, ServiceError> {
        own::pair_of(self.keys.as_ref(), &KeyOwner::Platform).await
    }
}

fn control() -> Identity {
    Identity::known(vt_types::identity::known::CONTROL)
}
