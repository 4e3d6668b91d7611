//! What agents and tools of the modular generation call beyond what all do; `authz` is what changes roles, groups and protected topics.

mod authz;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use vt_agent::{Call, MethodTable};
use vt_backends::Access;
use vt_types::identity::known;
use vt_types::{Identity, PublicKey, RpcError};

use super::super::rights::Arguments;
use super::super::{PeerAuth, belongs_to_service};
use super::{Exported, arg};
use crate::ServiceError;
use crate::policy::Policy;

/// What agents and tools of the modular generation call.
pub(super) fn export(table: &mut MethodTable, exported: &Exported, policy: &Arc<Policy>) {
    let method = table.method("get_protected_rpcs").doc("Methods of an agent that not everybody may call.").param("identity");
    exported.ask(method, |peers, call| {
        let identity: Identity = call.arg("identity")?;
        Ok(json!(peers.closed_methods(&identity)))
    });
    let method = table.method("get_agent_capabilities").param("identity").keywords("rest");
    exported.ask(method, |peers, call| Ok(capabilities(peers, &call.arg::<String>("identity")?)));
    let method = table.method("check_rpc_authorization").param("identity").param("method_name").param("method_args").keywords("rest");
    exported.ask(method, |peers, call| {
        let (user, method): (String, String) = (call.arg("identity")?, call.arg("method_name")?);
        check_rpc(peers, &user, &method, &call.arg::<Map<String, Value>>("method_args")?).map_err(RpcError::Refused)?;
        Ok(json!(true))
    });
    let rules = Arc::clone(policy);
    let method = table.method("check_pubsub_authorization").param("identity").param("topic_pattern").param("access").keywords("rest");
    exported.ask(method, move |peers, call| check_pubsub(peers, &rules, call));
    let rules = Arc::clone(policy);
    let method = table.method("is_protected_topic").param("topic_name_pattern").keywords("rest");
    exported.ask(method, move |_, call| Ok(json!(rules.is_protected(&call.arg::<String>("topic_name_pattern")?))));
    let peers = Arc::clone(&exported.peers);
    table.method("reload_authz").doc("Reads auth.json again if it was edited.").to(move |_| {
        let peers = Arc::clone(&peers);
        async move {
            peers.reload().await;
            Ok(Value::Null)
        }
    });
    authz::export(table, exported);
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
                return Err(ServiceError::Invalid(belongs_to_service(&identity)));
            }
            this.peers.remove_agent_authz(&caller, identity.as_str()).await?;
            let had_pair = this.peers.forget_pair(&identity).await?;
            match this.peers.delete(&caller, identity.as_str()).await {
                Err(ServiceError::NotFound(_)) if had_pair => Ok(json!(true)),
                result => result.map(|()| json!(true)),
            }
        });
    }
}

/// Rights as the modular generation shows them, and beside them the capabilities of `auth.json`; null for one whom nobody knows.
fn capabilities(peers: &PeerAuth, identity: &str) -> Value {
    let (authz, own) = (peers.agent_authz(identity), peers.capabilities(&peers.user_of(identity)));
    if authz.is_none() && own.is_none() {
        return Value::Null;
    }
    let mut shown = authz.unwrap_or_default().to_json();
    if let Some(own) = own {
        shown["capabilities"] = own.to_json();
    }
    shown
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
        peers.check_call(&user, &callee, method, Arguments { named: args, has_others: false })?;
    }
    Ok(())
}

fn check_pubsub(peers: &PeerAuth, policy: &Policy, call: &Call) -> Result<Value, RpcError> {
    let (identity, topic, access): (String, String, String) = (call.arg("identity")?, call.arg("topic_pattern")?, call.arg("access")?);
    let wrong = || RpcError::value_error(format!("access must be publish, subscribe or pubsub, not {access:?}"));
    let wanted = Access::parse(&access).ok_or_else(wrong)?;
    let user = if call.from.as_str() == identity { call.user_id.to_string() } else { peers.user_of(&identity) };
    let may_publish = wanted == Access::Subscribe || policy.may_publish(&user, &topic).is_ok();
    let may_subscribe = wanted == Access::Publish || peers.may(&user, &topic, Access::Subscribe);
    Ok(json!(known::is_reserved(&user) || (may_publish && may_subscribe)))
}
