//! What `platform.auth` answers about the files: entries, groups and roles of `auth.json` as in VOLTTRON 9, and beside those ours, that
//! change one group, one role or one known host and so are safe when several tools work at once.

use serde_json::{Map, Value, json};
use vt_agent::{Call, MethodTable};
use vt_backends::{AuthEntry, AuthList, Capabilities, Named};
use vt_types::{PublicKey, RpcError};

use super::super::{Change, PeerAuth};
use super::{Exported, arg, text};
use crate::ServiceError;

pub(super) fn export(table: &mut MethodTable, exported: &Exported) {
    export_file(table, exported);
    export_groups(table, exported);
    export_roles(table, exported);
    export_hosts(table, exported);
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

fn export_groups(table: &mut MethodTable, exported: &Exported) {
    let method = table.method("auth_file.add_group").doc("Makes a group of roles.").param("group").param("roles");
    exported.change(method, |this, caller, call| async move {
        this.peers.add_group(&caller, &text(&call, "group")?, arg(&call, "roles")?).await.map(|()| Value::Null)
    });
    let method = table.method("auth_file.update_group").doc("Adds roles to a group, or takes them out.");
    exported.change(method.param("group").param("roles").optional("remove", false), |this, caller, call| async move {
        let change = change(&call)?;
        this.peers.update_group(&caller, &text(&call, "group")?, change, arg(&call, "roles")?).await.map(|()| Value::Null)
    });
    exported.change(table.method("auth_file.remove_group").doc("Removes a group.").param("group"), |this, caller, call| async move {
        this.peers.set_group(&caller, &text(&call, "group")?, None).await.map(|()| Value::Null)
    });
}

fn export_roles(table: &mut MethodTable, exported: &Exported) {
    let method = table.method("auth_file.add_role").doc("Makes a role of capabilities.").param("role").param("capabilities");
    exported.change(method, |this, caller, call| async move {
        this.peers.add_role(&caller, &text(&call, "role")?, capabilities(&call)?).await.map(|()| Value::Null)
    });
    let method = table.method("auth_file.update_role").doc("Adds capabilities to a role, or takes them out.");
    exported.change(method.param("role").param("capabilities").optional("remove", false), |this, caller, call| async move {
        let change = change(&call)?;
        this.peers.update_role(&caller, &text(&call, "role")?, change, &capabilities(&call)?).await.map(|()| Value::Null)
    });
    exported.change(table.method("auth_file.remove_role").doc("Removes a role.").param("role"), |this, caller, call| async move {
        this.peers.set_role(&caller, &text(&call, "role")?, None).await.map(|()| Value::Null)
    });
}

fn export_hosts(table: &mut MethodTable, exported: &Exported) {
    let peers = std::sync::Arc::clone(&exported.peers);
    table.method("known_hosts.read").doc("Server keys by host.").to(move |_| {
        let peers = std::sync::Arc::clone(&peers);
        async move {
            let hosts = peers.known_hosts().await.map_err(ServiceError::into_rpc)?;
            Ok(Value::Object(hosts.into_iter().map(|host| (host.host, json!(host.key.to_string()))).collect()))
        }
    });
    let method = table.method("known_hosts.add").doc("Remembers the server key of a host.").param("host").param("serverkey");
    exported.change(method, |this, caller, call| async move {
        let key = PublicKey::parse(&text(&call, "serverkey")?).map_err(|error| ServiceError::Invalid(error.to_string()))?;
        this.peers.add_known_host(&caller, &text(&call, "host")?, key).await.map(|()| Value::Null)
    });
    exported.change(table.method("known_hosts.remove").doc("Forgets a host.").param("host"), |this, caller, call| async move {
        this.peers.remove_known_host(&caller, &text(&call, "host")?).await.map(|()| Value::Null)
    });
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

fn capabilities(call: &Call) -> Result<Capabilities, ServiceError> {
    Capabilities::parse(call.value("capabilities")).map_err(|error| ServiceError::Invalid(error.to_string()))
}

fn change(call: &Call) -> Result<Change, ServiceError> {
    Ok(if arg(call, "remove")? { Change::Remove } else { Change::Add })
}

fn list(call: &Call) -> Result<AuthList, RpcError> {
    Ok(if call.arg("is_allow")? { AuthList::Allow } else { AuthList::Deny })
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
