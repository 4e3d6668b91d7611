//! Tells peers of changes: `auth.update` with everybody's capabilities to all peers from outside, and
//! `auth.set_multiple_rpc_authorizations` to those whose methods need other capabilities now; `rpc.add_protected_rpcs` to those of the modular
//! generation of which further methods are closed, so that they check arguments themselves. All come from `platform.auth`, for agents
//! accept them from nobody else. Peers that do not understand or answer are left alone; each is given a bounded time.
//! Source: VOLTTRON `auth.py` (`_send_update`, `update_rpc_authorizations`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use vt_agent::AgentContext;
use vt_backends::{Authenticator, PeerAuthRecords};
use vt_bus::PeerKind;
use vt_types::identity::known;
use vt_types::{Identity, Params, RpcError};

use super::PeerAuth;
use super::methods::Methods;

/// Changes that follow each other this closely are told together.
const SETTLE: Duration = Duration::from_millis(200);
/// Longest wait for one answer of a peer.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);
/// Longest time for telling a peer about its methods. With [`SETTLE`] it bounds how many changes are being told at the same time.
const METHODS_LIMIT: Duration = Duration::from_secs(15);
/// Peers that are told at the same time.
const TOLD_AT_ONCE: usize = 32;

/// Tells peers of every change from now on, until dropped.
pub fn tell_peers(auth: Arc<PeerAuth>, context: AgentContext) -> impl Future<Output = ()> + Send {
    // Looked at here and not when the task first runs, so that no change falls between.
    let (mut told, mut generation) = (auth.records(), *auth.generation.borrow());
    async move {
        loop {
            generation = auth.changed(generation).await;
            tokio::time::sleep(SETTLE).await;
            let records = auth.records();
            if records == told {
                continue;
            }
            // Not waited for: a peer that never answers must not keep others from the next change.
            let changed = (changed_methods(&told, &records), closed_methods(&told, &records));
            context.spawn(tell(Arc::clone(&auth), context.clone(), changed));
            told = records;
        }
    }
}

async fn tell(
    auth: Arc<PeerAuth>,
    context: AgentContext,
    (changed, closed): (BTreeMap<Identity, Methods>, BTreeMap<Identity, Vec<String>>),
) {
    let capabilities = json!(auth.all_capabilities());
    let peers = context.peer().bus().peer_infos().into_iter();
    let peers = peers.filter(|peer| peer.is_remote && peer.kind != PeerKind::Link && !known::is_reserved(peer.identity.as_str()));
    let telling = peers.map(|peer| {
        let (context, capabilities) = (&context, &capabilities);
        let (methods, closed) = (changed.get(&peer.identity), closed.get(&peer.identity));
        async move {
            let update = Params::positional(vec![capabilities.clone()]);
            log(&peer.identity, "auth.update", call(context, &peer.identity, "auth.update", update).await);
            if let Some(methods) = methods
                && tokio::time::timeout(METHODS_LIMIT, tell_methods(context, &peer.identity, methods)).await.is_err()
            {
                tracing::debug!(peer = %peer.identity, "a peer could not be told in time what its methods need");
            }
            if let Some(closed) = closed {
                let params = Params::positional(vec![json!(closed)]);
                log(&peer.identity, ADD_CLOSED, call(context, &peer.identity, ADD_CLOSED, params).await);
            }
        }
    });
    futures_util::stream::iter(telling).buffer_unordered(TOLD_AT_ONCE).collect::<()>().await;
}

/// Tells an agent of the modular generation of methods that it is to ask about.
const ADD_CLOSED: &str = "rpc.add_protected_rpcs";

/// All methods at once; if the agent does not know one of them, each by itself.
async fn tell_methods(context: &AgentContext, peer: &Identity, methods: &Methods) {
    const ALL: &str = "auth.set_multiple_rpc_authorizations";
    const ONE: &str = "auth.set_rpc_authorizations";
    let params = |members: Value| match members {
        Value::Object(members) => Params::keyword(members),
        _ => Params::keyword(Map::new()),
    };
    let told = call(context, peer, ALL, params(json!({"rpc_authorizations": methods}))).await;
    if !matches!(told, Err(RpcError::Remote(_))) {
        return log(peer, ALL, told);
    }
    for (method, capabilities) in methods {
        log(peer, ONE, call(context, peer, ONE, params(json!({"method_str": method, "capabilities": capabilities}))).await);
    }
}

async fn call(context: &AgentContext, peer: &Identity, method: &str, params: Params) -> Result<Value, RpcError> {
    context.call_within(ANSWER_LIMIT, peer, method, params).await
}

fn log(peer: &Identity, method: &str, result: Result<Value, RpcError>) {
    if let Err(error) = result {
        tracing::debug!(%peer, method, %error, "a peer could not be told of changed rights");
    }
}

/// What changed of methods about which something is said now, by identity.
fn changed_methods(before: &PeerAuthRecords, now: &PeerAuthRecords) -> BTreeMap<Identity, Methods> {
    let of = |records: &PeerAuthRecords| -> BTreeMap<Identity, Methods> {
        let named = records.allow.iter().filter_map(|entry| Some((entry.identity.clone()?, entry.rpc_method_authorizations.clone())));
        named.collect()
    };
    let old = of(before);
    let is_changed = |identity: &Identity, methods: &Methods| old.get(identity).map_or(!methods.is_empty(), |old| old != methods);
    of(now)
        .into_iter()
        .filter(|(identity, methods)| !known::is_reserved(identity.as_str()) && is_changed(identity, methods))
        .map(|(identity, methods)| (identity, methods.into_iter().filter(|(_, capabilities)| !capabilities.is_empty()).collect()))
        .filter(|(_, methods): &(Identity, Methods)| !methods.is_empty())
        .collect()
}

/// Methods that the modular generation closes now and did not before, with those that it closed already, by identity.
fn closed_methods(before: &PeerAuthRecords, now: &PeerAuthRecords) -> BTreeMap<Identity, Vec<String>> {
    let agents = now.authz.agents.iter().filter(|(identity, agent)| {
        let known = before.authz.agents.get(identity).map(|agent| agent.protected_rpcs.as_slice()).unwrap_or_default();
        agent.protected_rpcs.iter().any(|method| !known.contains(method))
    });
    agents.filter_map(|(identity, agent)| Some((Identity::parse(identity).ok()?, agent.protected_rpcs.clone()))).collect()
}
