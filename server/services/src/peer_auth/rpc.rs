//! What `platform.auth` answers: the methods of VOLTTRON 9, those of 6, and those that agents of the modular generation need.
//! Source: vip-zmq.md §8.3 and §8.6, VOLTTRON `volttron/platform/auth/auth.py`, `volttron/auth/auth_service.py` of volttron-core 2.0.
//!
//! Rights: everybody may ask. What changes something is guarded by `policy` before it comes here.
//!
//! Map: `file` (entries, groups and roles of `auth.json`, known hosts), `modular` (what the modular generation calls); all else is here.

mod file;
mod modular;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use vt_agent::{Call, MethodTable};
use vt_backends::AuthList;
use vt_types::RpcError;

use super::methods::Methods;
use super::{DOMAIN, PeerAuth};
use crate::policy::Policy;
use crate::{Auth, Caller, ServiceError};

/// What the methods need.
#[derive(Clone)]
struct Exported {
    peers: Arc<PeerAuth>,
    /// Who is behind a call.
    caller: Arc<dyn Fn(&Call) -> Caller + Send + Sync>,
}

/// The methods of `platform.auth`.
pub(crate) fn export(peers: &Arc<PeerAuth>, auth: &Arc<Auth>, policy: &Arc<Policy>) -> MethodTable {
    let auth = Arc::clone(auth);
    let caller = move |call: &Call| call.user.as_ref().map_or_else(|| Caller::peer(&call.from), |user| auth.caller_of(user));
    let exported = Exported { peers: Arc::clone(peers), caller: Arc::new(caller) };
    let mut table = of_records(&exported);
    modular::export(&mut table, &exported, policy);
    table
}

/// What tools may do with the server down, each call in the name of `caller`.
pub(super) fn export_resting(peers: &Arc<PeerAuth>, caller: Caller) -> MethodTable {
    of_records(&Exported { peers: Arc::clone(peers), caller: Arc::new(move |_| caller.clone()) })
}

fn of_records(exported: &Exported) -> MethodTable {
    let mut table = MethodTable::new();
    export_questions(&mut table, exported);
    export_decisions(&mut table, exported);
    export_methods(&mut table, exported);
    export_keys(&mut table, exported);
    file::export(&mut table, exported);
    table
}

fn export_questions(table: &mut MethodTable, exported: &Exported) {
    let method = table.method("get_user_to_capabilities").doc("All user ids with their capabilities.");
    exported.ask(method, |peers, _| Ok(json!(peers.all_capabilities())));
    let method = table.method("get_authorizations").doc("Capabilities, groups and roles of a user id, or null.").param("user_id");
    exported.ask(method, |peers, call| Ok(authorizations(peers, &call.arg::<String>("user_id")?).unwrap_or_default()));
    for (index, name) in ["get_capabilities", "get_groups", "get_roles"].into_iter().enumerate() {
        exported.ask(table.method(name).param("user_id"), move |peers, call| {
            let found = authorizations(peers, &call.arg::<String>("user_id")?);
            Ok(found.and_then(|found| found.get(index).cloned()).unwrap_or_else(|| json!([])))
        });
    }
    for name in ["get_pending_authorizations", "get_authorization_pending", "get_authorization_failures"] {
        exported.ask(table.method(name).doc("Peers that wait for a decision."), |peers, _| Ok(pending(peers)));
    }
    let method = table.method("get_pending_csrs").doc("Requests for certificates of a RabbitMQ bus; this platform signs none.");
    exported.ask(method, |_, _| Ok(json!([])));
    for name in ["get_approved_authorizations", "get_authorization_approved"] {
        exported.ask(table.method(name).doc("Allow entries that name an address."), |peers, _| Ok(decided(peers, AuthList::Allow)));
    }
    for name in ["get_denied_authorizations", "get_authorization_denied"] {
        exported.ask(table.method(name).doc("Deny entries that name an address."), |peers, _| Ok(decided(peers, AuthList::Deny)));
    }
    let method = table.method("get_authorization_status").doc("PENDING, APPROVED, DENIED or UNKNOWN.").param("common_name");
    exported.ask(method, |peers, call| Ok(json!(status(peers, &call.arg::<String>("common_name")?))));
    let method = table.method("get_authorization").doc("The key of a user id.").param("common_name");
    exported.ask(method, |peers, call| {
        let user_id: String = call.arg("common_name")?;
        let waiting = peers.pending().into_iter().find(|pending| pending.user_id == user_id).and_then(|pending| pending.key);
        let records = peers.records();
        let entry = records.allow.iter().chain(&records.deny).find(|entry| entry.user_id == user_id);
        Ok(waiting.map(|key| json!(key.to_string())).or_else(|| entry.map(|entry| entry.credentials.to_json())).unwrap_or_default())
    });
}

fn export_decisions(table: &mut MethodTable, exported: &Exported) {
    for name in ["approve_authorization", "approve_authorization_failure"] {
        exported.change(table.method(name).doc("Lets a peer in.").param("user_id"), |this, caller, call| async move {
            this.peers.approve(&caller, &text(&call, "user_id")?).await.map(|()| Value::Null)
        });
    }
    for name in ["deny_authorization", "deny_authorization_failure"] {
        exported.change(table.method(name).doc("Keeps a peer out.").param("user_id"), |this, caller, call| async move {
            this.peers.deny(&caller, &text(&call, "user_id")?).await.map(|()| Value::Null)
        });
    }
    for name in ["delete_authorization", "delete_authorization_failure"] {
        exported.change(table.method(name).doc("Forgets a peer.").param("user_id"), |this, caller, call| async move {
            this.peers.delete(&caller, &text(&call, "user_id")?).await.map(|()| Value::Null)
        });
    }
}

fn export_methods(table: &mut MethodTable, exported: &Exported) {
    let method = table.method("update_id_rpc_authorizations").doc("What callers of an agent's methods need.");
    exported.change(method.param("identity").param("rpc_methods"), |this, caller, call| async move {
        let held = this.peers.merge_methods(&caller, &text(&call, "identity")?, arg::<Methods>(&call, "rpc_methods")?).await?;
        Ok(held.map_or(Value::Null, |held| json!(held)))
    });
    let method = table.method("add_rpc_authorizations").param("identity").param("method").param("authorizations");
    exported.change(method, |this, caller, call| async move {
        let (identity, method) = (text(&call, "identity")?, text(&call, "method")?);
        let capabilities = arg(&call, "authorizations")?;
        this.peers.add_method_capabilities(&caller, &identity, &method, capabilities).await.map(|()| Value::Null)
    });
    let method = table.method("delete_rpc_authorizations").param("identity").param("method").param("denied_authorizations");
    exported.change(method, |this, caller, call| async move {
        let (identity, method) = (text(&call, "identity")?, text(&call, "method")?);
        let capabilities: Vec<String> = arg(&call, "denied_authorizations")?;
        this.peers.remove_method_capabilities(&caller, &identity, &method, &capabilities).await.map(|()| Value::Null)
    });
}

fn export_keys(table: &mut MethodTable, exported: &Exported) {
    let this = exported.clone();
    table.method("get_public_credentials").optional("identities", json!([])).keywords("rest").to(move |call| {
        let this = this.clone();
        async move {
            let (mut results, mut errors) = (Map::new(), Map::new());
            for identity in call.arg::<Vec<String>>("identities")? {
                match this.peers.public_key(&identity).await.map_err(ServiceError::into_rpc)? {
                    Some(key) => results.insert(identity, json!(key.to_string())),
                    None => errors.insert(identity.clone(), json!(format!("Identity not found: {identity}"))),
                };
            }
            Ok(json!({"results": results, "errors": errors}))
        }
    });
}

impl Exported {
    /// A method that only tells.
    fn ask<F>(&self, method: vt_agent::methods::MethodBuilder<'_>, answer: F)
    where
        F: Fn(&PeerAuth, &Call) -> Result<Value, RpcError> + Send + Sync + 'static,
    {
        let peers = Arc::clone(&self.peers);
        method.to(move |call| std::future::ready(answer(&peers, &call)));
    }

    /// A method that changes something.
    fn change<F, Fut>(&self, method: vt_agent::methods::MethodBuilder<'_>, run: F)
    where
        F: Fn(Self, Caller, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, ServiceError>> + Send + 'static,
    {
        let this = self.clone();
        method.to(move |call| {
            let caller = (this.caller)(&call);
            let running = run(this.clone(), caller, call);
            async move { running.await.map_err(ServiceError::into_rpc) }
        });
    }
}

fn authorizations(peers: &PeerAuth, user_id: &str) -> Option<Value> {
    let capabilities = peers.capabilities(user_id)?.to_json();
    let records = peers.records();
    let entry = records.allow.iter().find(|entry| entry.enabled && entry.user_id == user_id);
    Some(entry.map_or_else(|| json!([capabilities, [], []]), |entry| json!([capabilities, entry.groups, entry.roles])))
}

fn pending(peers: &PeerAuth) -> Value {
    let waiting = peers.pending().into_iter().rev().map(|pending| {
        let mechanism = if pending.key.is_some() { "CURVE" } else { "NULL" };
        let credentials = pending.key.map(|key| key.to_string());
        let (address, user_id, retries) = (pending.address, pending.user_id, pending.retries);
        json!({"domain": DOMAIN, "address": address, "mechanism": mechanism, "credentials": credentials, "user_id": user_id, "retries": retries})
    });
    waiting.collect()
}

fn decided(peers: &PeerAuth, list: AuthList) -> Value {
    let records = peers.records();
    let with_address = records.list(list).iter().filter(|entry| !entry.address.texts().is_empty());
    let shown = with_address.map(|entry| {
        let retries = if list == AuthList::Deny { peers.denied_retries(&entry.user_id) } else { 0 };
        json!({
            "domain": entry.domain.to_json(),
            "address": entry.address.to_json(),
            "mechanism": entry.mechanism.as_str(),
            "credentials": entry.credentials.to_json(),
            "user_id": entry.user_id,
            "retries": retries,
        })
    });
    shown.collect()
}

fn status(peers: &PeerAuth, user_id: &str) -> &'static str {
    let records = peers.records();
    let is_in = |list| records.list(list).iter().any(|entry| entry.user_id == user_id);
    if peers.pending().iter().any(|pending| pending.user_id == user_id) {
        "PENDING"
    } else if is_in(AuthList::Allow) {
        "APPROVED"
    } else if is_in(AuthList::Deny) {
        "DENIED"
    } else {
        "UNKNOWN"
    }
}

fn text(call: &Call, name: &str) -> Result<String, ServiceError> {
    arg(call, name)
}

fn arg<T: serde::de::DeserializeOwned>(call: &Call, name: &str) -> Result<T, ServiceError> {
    Ok(call.arg(name)?)
}
