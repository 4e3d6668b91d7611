//! Who holds which identity, so that a peer that lost its connection gets its identity back at once and nobody else does.

use std::collections::HashMap;

use parking_lot::Mutex;
use vt_backends::Proof;
use vt_types::Identity;

/// The identities that are held over ZeroMQ, by the proof of their holders.
#[derive(Default)]
pub struct Holders(Mutex<HashMap<Identity, (u64, Proof)>>);

impl Holders {
    /// Whether `proof` is the one that `identity` is held with. Without a key nobody can prove to be the same.
    pub fn is_same(&self, identity: &Identity, proof: &Proof) -> bool {
        matches!(proof, Proof::Curve(_)) && self.0.lock().get(identity).is_some_and(|(_, held)| held == proof)
    }

    /// `connection` holds the identity from now on.
    pub fn hold(&self, identity: &Identity, connection: u64, proof: Proof) {
        self.0.lock().insert(identity.clone(), (connection, proof));
    }

    /// `connection` holds it no longer; a later holder is left alone.
    pub fn release(&self, identity: &Identity, connection: u64) {
        let mut held = self.0.lock();
        if held.get(identity).is_some_and(|(holder, _)| *holder == connection) {
            held.remove(identity);
        }
    }
}
