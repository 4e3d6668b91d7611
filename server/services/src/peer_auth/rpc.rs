//! What `platform.auth` answers: the methods of VOLTTRON 9, those of 6, and those that agents of the modular generation need.
//! Source: vip-zmq.md §8.3 and §8.6, VOLTTRON `volttron/platform/auth/auth.py`, `volttron/auth/auth_service.py` of volttron-core 2.0.
//!
//! Rights: everybody may ask. What changes something is guarded by `policy` before it comes here.
//!
//! Differs from VOLTTRON: the modular generation's roles and groups (`create_or_merge_...`) are not offered; roles and groups are those of
//! `auth.json`, for every generation alike.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use vt_agent::{Call, MethodTable};
use vt_backends::{AuthEntry, AuthList, Capabilities, Named};
use vt_types::identity::known;
use vt_types::{Identity, PublicKey, RpcError};

use super::methods::Methods;
use super::rights::Arguments;
use super::{DOMAIN, PeerAuth};
use crate::policy::Policy;
use crate::{Auth, Caller, ServiceError};

/// What the methods need.
#[derive(Clone)]
struct Exported {
    peers: Arc<PeerAuth>,
    auth: Arc<Auth>,
    policy: Arc<Policy>,
}

/// The methods of `platform.auth`.
pub(crate) fn export(peers: &Arc<PeerAuth>, auth: &Arc<Auth>, policy: &Arc<Policy>) -> MethodTable {
    let exported = Exported { peers: Arc::clone(peers), auth: Arc::clone(auth), policy: Arc::clone(policy) };
    let mut table = MethodTable::new();
    export_questions(&mut table, &exported);
    export_decisions(&mut table, &exported);
    export_file(&mut table, &exported);
    export_methods(&mut table, &exported);
    export_modular(&mut table, &exported);
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

fn export_file(table: &mut MethodTable, exported: &Exported) {
    exported.ask(table.method("auth_file.read").doc("All entries, groups and roles."), |peers, _| Ok(file(peers)));
    let method = table.method("auth_file.find_by_credentials").param("credentials").optional("is_allow", true);
    exported.ask(method, |peers, call| {
        let wanted: String = call.arg("credentials")?;
        let records = peers.records();
        let found = records.list(list(call)?).iter().filter(|entry| entry.credentials.texts().contains(&wanted));
        Ok(found.map(AuthEntry::to_json).collect())
    });
    exported.change(table.method("auth_file.add").doc("Adds an allow entry.").param("entry"), |this, caller, call| async move {
        this.peers.add_entry(&caller, AuthList::Allow, entry(&call, "entry")?).await.map(|()| Value::Null)
    });
    let method = table.method("auth_file.update_by_index").param("auth_entry").param("index").optional("is_allow", true);
    exported.change(method, |this, caller, call| async move {
        let (entry, index) = (entry(&call, "auth_entry")?, arg::<usize>(&call, "index")?);
        this.peers.replace_at(&caller, list(&call)?, index, entry).await.map(|()| Value::Null)
    });
    let method = table.method("auth_file.remove_by_index").param("index").optional("is_allow", true);
    exported.change(method, |this, caller, call| async move {
        this.peers.remove_at(&caller, list(&call)?, &[arg(&call, "index")?]).await.map(|()| Value::Null)
    });
    let method = table.method("auth_file.remove_by_indices").param("indices").optional("is_allow", true);
    exported.change(method, |this, caller, call| async move {
        this.peers.remove_at(&caller, list(&call)?, &arg::<Vec<usize>>(&call, "indices")?).await.map(|()| Value::Null)
    });
    let method = table.method("auth_file.remove_by_credentials").param("credentials").optional("is_allow", true);
    exported.change(method, |this, caller, call| async move {
        this.peers.remove_credentials(&caller, list(&call)?, &text(&call, "credentials")?).await.map(|()| Value::Null)
    });
    let method = table.method("auth_file.set_groups").doc("Replaces all groups: names of roles by group.").param("groups");
    exported.change(method, |this, caller, call| async move {
        let groups = named(&call, "groups", |value| Ok(value.as_array().map(|list| list.iter().filter_map(text_of).collect())))?;
        this.peers.set_groups(&caller, groups).await.map(|()| Value::Null)
    });
    let method = table.method("auth_file.set_roles").doc("Replaces all roles: capabilities by role.").param("roles");
    exported.change(method, |this, caller, call| async move {
        let roles = named(&call, "roles", |value| {
            if value.is_array() {
                Capabilities::parse(value).map(Some).map_err(|error| ServiceError::Invalid(error.to_string()))
            } else {
                Ok(None)
            }
        })?;
        this.peers.set_roles(&caller, roles).await.map(|()| Value::Null)
    });
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

/// What agents and tools of the modular generation call.
fn export_modular(table: &mut MethodTable, exported: &Exported) {
    let method = table.method("get_protected_rpcs").doc("Methods of an agent that not everybody may call.").param("identity");
    exported.ask(method, |peers, call| {
        let identity: Identity = call.arg("identity")?;
        Ok(json!(peers.closed_methods(&identity)))
    });
    let method = table.method("get_agent_capabilities").param("identity").keywords("rest");
    exported.ask(method, |peers, call| {
        let user = peers.user_of(&call.arg::<String>("identity")?);
        Ok(peers.capabilities(&user).map_or(Value::Null, |capabilities| capabilities.to_json()))
    });
    let method = table.method("check_rpc_authorization").param("identity").param("method_name").param("method_args").keywords("rest");
    exported.ask(method, |peers, call| {
        let (user, method): (String, String) = (call.arg("identity")?, call.arg("method_name")?);
        check_rpc(peers, &user, &method, &call.arg::<Map<String, Value>>("method_args")?).map_err(RpcError::Refused)?;
        Ok(json!(true))
    });
    let this = exported.clone();
    let method = table.method("check_pubsub_authorization").param("identity").param("topic_pattern").param("access").keywords("rest");
    method.to(move |call| std::future::ready(this.check_pubsub(&call)));
    let this = exported.clone();
    table.method("is_protected_topic").param("topic_name_pattern").keywords("rest").to(move |call| {
        let topic = call.arg::<String>("topic_name_pattern");
        std::future::ready(topic.map(|topic| json!(this.policy.is_protected(&topic))))
    });
    table.method("reload_authz").to(|_| std::future::ready(Ok(Value::Null)));
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
    let method = table.method("create_credentials").param("identity").optional("publickey", Value::Null).keywords("rest");
    exported.change(method, |this, _, call| async move {
        let identity: Identity = arg(&call, "identity")?;
        let key = match arg::<Option<String>>(&call, "publickey")? {
            Some(text) => PublicKey::parse(&text).map_err(|error| ServiceError::Invalid(error.to_string()))?,
            None => this.peers.pair_of(&identity).await?.public,
        };
        this.peers.add_for_agent(&identity, key).await.map(|()| json!(true))
    });
    for name in ["remove_credentials", "remove_agent"] {
        exported.change(table.method(name).param("identity").keywords("rest"), |this, caller, call| async move {
            let identity: Identity = arg(&call, "identity")?;
            if known::is_reserved(identity.as_str()) {
                return Err(ServiceError::Invalid(super::belongs_to_service(&identity)));
            }
            let had_pair = this.peers.forget_pair(&identity).await?;
            match this.peers.delete(&caller, identity.as_str()).await {
                Err(ServiceError::NotFound(_)) if had_pair => Ok(json!(true)),
                result => result.map(|()| json!(true)),
            }
        });
    }
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
            let caller = call.user.as_ref().map_or_else(|| Caller::peer(&call.from), |user| this.auth.caller_of(user));
            let running = run(this.clone(), caller, call);
            async move { running.await.map_err(ServiceError::into_rpc) }
        });
    }

    fn check_pubsub(&self, call: &Call) -> Result<Value, RpcError> {
        let (identity, topic, access): (String, String, String) = (call.arg("identity")?, call.arg("topic_pattern")?, call.arg("access")?);
        let publishes = match access.as_str() {
            "subscribe" => false,
            "publish" | "pubsub" => true,
            _ => return Err(RpcError::value_error(format!("access must be publish, subscribe or pubsub, not {access:?}"))),
        };
        let user = if call.from.as_str() == identity { call.user_id.to_string() } else { self.peers.user_of(&identity) };
        Ok(json!(!publishes || known::is_reserved(&user) || self.policy.may_publish(&user, &topic).is_ok()))
    }
}

/// Whether a user may call `<callee>.<method>` with these arguments.
fn check_rpc(peers: &PeerAuth, user: &str, method_name: &str, args: &Map<String, Value>) -> Result<(), String> {
    let user = peers.user_of(user);
    if known::is_reserved(&user) {
        return Ok(());
    }
    // Both parts may hold dots.
    for (at, _) in method_name.match_indices('.') {
        let (callee, method) = (&method_name[..at], &method_name[at + 1..]);
        let Ok(callee) = Identity::parse(callee) else { continue };
        let needed = peers.needed(&callee, method);
        if !needed.is_empty() {
            return peers.check(&user, method, &needed, Arguments { named: args, has_others: false });
        }
    }
    Ok(())
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

fn file(peers: &PeerAuth) -> Value {
    let records = peers.records();
    let list = |entries: &[AuthEntry]| entries.iter().map(AuthEntry::to_json).collect::<Vec<_>>();
    let groups: Map<_, _> = records.groups.iter().map(|(name, roles)| (name.to_owned(), json!(roles))).collect();
    let roles: Map<_, _> = records.roles.iter().map(|(name, capabilities)| (name.to_owned(), capabilities.to_json_list())).collect();
    json!({
        "allow_list": list(&records.allow),
        "deny_list": list(&records.deny),
        "groups": groups,
        "roles": roles,
        "version": {"major": 1, "minor": 4},
    })
}

fn entry(call: &Call, name: &str) -> Result<AuthEntry, ServiceError> {
    AuthEntry::parse(call.value(name)).map_err(|error| ServiceError::Invalid(error.to_string()))
}

fn list(call: &Call) -> Result<AuthList, RpcError> {
    Ok(if call.arg("is_allow")? { AuthList::Allow } else { AuthList::Deny })
}

fn text(call: &Call, name: &str) -> Result<String, ServiceError> {
    arg(call, name)
}

fn arg<T: serde::de::DeserializeOwned>(call: &Call, name: &str) -> Result<T, ServiceError> {
    Ok(call.arg(name)?)
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// An object of lists, in VOLTTRON's words when it is none.
fn named<T>(call: &Call, name: &str, read: impl Fn(&Value) -> Result<Option<T>, ServiceError>) -> Result<Named<T>, ServiceError> {
    let Value::Object(members) = call.value(name) else {
        return Err(ServiceError::Invalid(format!("{name} parameter must be dict")));
    };
    let members = members.iter().map(|(key, value)| {
        let wrong = || ServiceError::Invalid(format!("each value of the {name} dict must be a list"));
        Ok((key.clone(), read(value)?.ok_or_else(wrong)?))
    });
    members.collect()
}
