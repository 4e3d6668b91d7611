//! The platform's own keys and entries, made at the start as far as they are missing, and the files in which agents look for the server's
//! key. Source: vip-zmq.md §1.4 and §8.4; VOLTTRON `volttron/platform/main.py`.

use std::collections::HashMap;

use vt_backends::{AuthEntry, Capabilities, Field, KeyOwner, KeyRepository, KnownHost, PeerAuthRecords};
use vt_types::identity::known;
use vt_types::{CurveKeyPair, Identity, PublicKey};

use super::book::Book;
use crate::{ServiceError, StartError};

/// The name of the local socket in `known_hosts`.
const LOCAL_HOST: &str = "@";
/// What VOLTTRON writes into entries of its own.
const COMMENT: &str = "Automatically added by platform on start";

/// Makes what is missing; gives the platform's own keys by their holder.
pub async fn prepare(book: &Book, keys: &dyn KeyRepository, hosts: &[String]) -> Result<HashMap<PublicKey, Identity>, StartError> {
    let server = pair_of(keys, &KeyOwner::Platform).await?;
    let known_hosts: Vec<_> = std::iter::once(LOCAL_HOST)
        .chain(hosts.iter().map(String::as_str))
        .map(|host| KnownHost { host: host.to_owned(), key: server.public })
        .collect();
    keys.add_known_hosts(&known_hosts).await?;
    let mut own = HashMap::new();
    for (identity, capabilities) in holders() {
        let pair =
            if identity.as_str() == known::PLATFORM { server.clone() } else { pair_of(keys, &KeyOwner::Peer(identity.clone())).await? };
        own.insert(pair.public, (identity, capabilities));
    }
    let entered = book.change(|records| {
        let mut all: Vec<_> = own.iter().collect();
        all.sort_unstable_by_key(|(_, (identity, _))| identity.clone());
        all.into_iter().for_each(|(key, (identity, capabilities))| enter(records, *key, identity, capabilities));
        Ok(())
    });
    match entered.await {
        // A broken file is told by the book and admits nobody; the platform itself works without its entries.
        Ok(()) | Err(ServiceError::Conflict(_)) => {}
        Err(error) => return Err(StartError::Service(error)),
    }
    Ok(own.into_iter().map(|(key, (identity, _))| (key, identity)).collect())
}

/// Who has entries, with what they may do.
fn holders() -> Vec<(Identity, Capabilities)> {
    let edit_all = || Capabilities::new().with_only("edit_config_store", "identity", "/.*/");
    let rule = || edit_all().with("modify_rpc_method_allowance").with("allow_auth_modifications");
    vec![
        (Identity::known(known::PLATFORM), rule()),
        (Identity::known(known::CONTROL_CONNECTION), rule()),
        (Identity::known(known::CONTROL), rule()),
        (Identity::known(known::CONFIG_STORE), Capabilities::new().with("sync_agent_config")),
        (Identity::known(known::PLATFORM_AUTH), Capabilities::new().with("modify_rpc_method_allowance")),
        (Identity::known(known::KEY_DISCOVERY), Capabilities::new()),
        (Identity::known(known::PLATFORM_WEB), edit_all().with("allow_auth_modifications")),
    ]
}

/// The stored pair, or a new one. Saved again in any case, so that files that some generation of agents needs come back.
pub async fn pair_of(keys: &dyn KeyRepository, owner: &KeyOwner) -> Result<CurveKeyPair, ServiceError> {
    let pair = match keys.load(owner).await? {
        Some(pair) => pair,
        None => vt_pki::generate_curve().map_err(|error| ServiceError::Internal(error.to_string()))?,
    };
    keys.save(owner, &pair).await?;
    Ok(pair)
}

fn enter(records: &mut PeerAuthRecords, key: PublicKey, identity: &Identity, capabilities: &Capabilities) {
    let credentials = Field::One(key.to_string());
    match records.allow.iter_mut().find(|entry| entry.user_id == identity.as_str()) {
        Some(entry) => {
            entry.capabilities.add_missing(capabilities);
            if !entry.names_key(key) {
                entry.credentials = credentials;
            }
            entry.identity.get_or_insert_with(|| identity.clone());
        }
        None => {
            let mut entry = AuthEntry::for_key(key, identity.as_str());
            (entry.identity, entry.capabilities) = (Some(identity.clone()), capabilities.clone());
            entry.comments = Some(COMMENT.to_owned());
            records.allow.push(entry);
        }
    }
}
