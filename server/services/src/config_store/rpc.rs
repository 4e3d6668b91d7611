//! What `config.store` answers: the methods of VOLTTRON 9 and, told apart by the number of arguments, those of 6. Source: vip-zmq.md §7.1.
//!
//! Rights: whom `policy` lets through, and people who act as administrators.

use std::sync::Arc;

use serde_json::{Value, json};
use vt_agent::{Call, MethodTable};
use vt_backends::ConfigType;
use vt_types::{Identity, RpcError, timestamp};

use super::store::Telling;
use super::{ConfigStore, entries};
use crate::{Auth, Caller, ServiceError};

/// What the methods need.
#[derive(Clone)]
struct Exported {
    configs: Arc<ConfigStore>,
    auth: Arc<Auth>,
}

/// The methods of `config.store`.
pub(crate) fn export(configs: &Arc<ConfigStore>, auth: &Arc<Auth>) -> MethodTable {
    let exported = Exported { configs: Arc::clone(configs), auth: Arc::clone(auth) };
    let mut table = MethodTable::new();
    for name in ["set_config", "manage_store"] {
        let this = exported.clone();
        table
            .method(name)
            .doc("Stores an entry; two positional arguments are VOLTTRON 6's (config_name, contents) of the caller's own store.")
            .param("identity")
            .param("config_name")
            .optional("raw_contents", Value::Null)
            .optional("config_type", "raw")
            .optional("trigger_callback", true)
            .optional("send_update", true)
            .to(move |call| {
                let this = this.clone();
                async move { this.set(&call).await }
            });
    }
    for name in ["delete_config", "manage_delete_config"] {
        let this = exported.clone();
        table
            .method(name)
            .doc("Deletes an entry; one positional argument is VOLTTRON 6's (config_name) of the caller's own store.")
            .param("identity")
            .optional("config_name", Value::Null)
            .optional("trigger_callback", true)
            .optional("send_update", true)
            .to(move |call| {
                let this = this.clone();
                async move { this.delete(&call).await }
            });
    }
    for name in ["delete_store", "manage_delete_store"] {
        let this = exported.clone();
        table.method(name).doc("Deletes all entries of an identity.").param("identity").to(move |call| {
            let this = this.clone();
            async move { this.delete_store(&call).await }
        });
    }
    for name in ["initialize_configs", "get_configs"] {
        let this = exported.clone();
        let method = table.method(name).doc("Pushes all entries to their agent and returns when it has taken them in.");
        method.optional("identity", Value::Null).to(move |call| {
            let this = this.clone();
            async move { this.initialize(&call).await }
        });
    }
    export_reading(&mut table, configs);
    table
}

/// Methods that only read, which every peer may.
fn export_reading(table: &mut MethodTable, configs: &Arc<ConfigStore>) {
    for name in ["list_stores", "manage_list_stores"] {
        let configs = Arc::clone(configs);
        table.method(name).doc("Identities that have entries.").to(move |_| std::future::ready(Ok(json!(configs.stores()))));
    }
    for name in ["list_configs", "manage_list_configs"] {
        let configs = Arc::clone(configs);
        table
            .method(name)
            .doc("Names of an identity's entries.")
            .param("identity")
            .to(move |call| std::future::ready(identity_arg(&call).map(|identity| json!(configs.names(&identity)))));
    }
    for name in ["get_config", "manage_get"] {
        let configs = Arc::clone(configs);
        let method = table.method(name).doc("An entry's text, or its value with raw=false.").param("identity").param("config_name");
        method.optional("raw", true).to(move |call| std::future::ready(get(&configs, &call)));
    }
    for name in ["get_metadata", "manage_get_metadata"] {
        let configs = Arc::clone(configs);
        let method = table.method(name).doc("An entry with its type and time.").param("identity").param("config_name");
        method.to(move |call| std::future::ready(metadata(&configs, &call)));
    }
}

impl Exported {
    async fn set(&self, call: &Call) -> Result<Value, RpcError> {
        if !call.was_given("raw_contents") {
            return self.set_own(call).await;
        }
        let (identity, name): (Identity, String) = (identity_arg(call)?, call.arg("config_name")?);
        let (data, kind): (String, String) = (call.arg("raw_contents")?, call.arg("config_type")?);
        let kind = ConfigType::parse(&kind)
            .ok_or_else(|| RpcError::value_error(format!("Unsupported configuration type {kind:?}: use json, csv or raw")))?;
        self.change(call, &identity, "config.set", &name, self.configs.set_unaudited(&identity, &name, kind, &data, telling(call)?)).await
    }

    /// VOLTTRON 6: `set_config(config_name, contents, trigger_callback=False, send_update=True)` of the caller's own store.
    async fn set_own(&self, call: &Call) -> Result<Value, RpcError> {
        let name: String = call.arg("identity")?;
        let (kind, data) = match call.value("config_name") {
            Value::String(text) => (ConfigType::Raw, text.clone()),
            contents => (ConfigType::Json, contents.to_string()),
        };
        let telling = Telling { trigger_callback: call.was_given("trigger_callback") && call.arg("trigger_callback")?, ..telling(call)? };
        self.change(call, &call.from, "config.set", &name, self.configs.set_unaudited(&call.from, &name, kind, &data, telling)).await
    }

    async fn delete(&self, call: &Call) -> Result<Value, RpcError> {
        let (identity, name) = if call.was_given("config_name") {
            (identity_arg(call)?, call.arg("config_name")?)
        } else {
            (call.from.clone(), call.arg::<String>("identity")?)
        };
        self.change(call, &identity, "config.delete", &name, self.configs.delete_unaudited(&identity, &name, telling(call)?)).await
    }

    async fn delete_store(&self, call: &Call) -> Result<Value, RpcError> {
        let identity = identity_arg(call)?;
        self.change(call, &identity, "config.delete_store", "", self.configs.delete_store_unaudited(&identity)).await
    }

    async fn initialize(&self, call: &Call) -> Result<Value, RpcError> {
        let identity = if call.was_given("identity") { identity_arg(call)? } else { call.from.clone() };
        self.caller(call, &identity)?;
        self.configs.initialize(&identity).await.map_err(ServiceError::into_rpc)?;
        Ok(Value::Null)
    }

    /// Makes a change if the caller may, and writes the audit log unless an agent changed its own store.
    async fn change(
        &self,
        call: &Call,
        identity: &Identity,
        action: &str,
        name: &str,
        change: impl Future<Output = Result<(), ServiceError>>,
    ) -> Result<Value, RpcError> {
        let caller = self.caller(call, identity)?;
        let result = change.await;
        if let Some(caller) = caller {
            let target = super::target(identity, name);
            self.configs.audit.record(&caller, action, &target, result.as_ref().map(|()| "")).await;
        }
        result.map(|()| Value::Null).map_err(ServiceError::into_rpc)
    }

    /// Who answers for a change of `identity`'s entries; nobody for an agent's own. That a peer may was settled by `policy`.
    fn caller(&self, call: &Call, identity: &Identity) -> Result<Option<Caller>, RpcError> {
        if let Some(user) = &call.user {
            let caller = self.auth.caller_of(user);
            return caller.require_admin().map(|()| Some(caller)).map_err(ServiceError::into_rpc);
        }
        Ok((call.from != *identity).then(|| Caller::peer(&call.from)))
    }
}

fn get(configs: &ConfigStore, call: &Call) -> Result<Value, RpcError> {
    let (identity, name, raw): (Identity, String, bool) = (identity_arg(call)?, call.arg("config_name")?, call.arg("raw")?);
    let missing = || entries::no_entry(&identity, &name).into_rpc();
    if raw {
        return configs.get(&identity, &name).map(|view| Value::String(view.data)).ok_or_else(missing);
    }
    configs.parsed(&identity, &name).ok_or_else(missing)
}

fn metadata(configs: &ConfigStore, call: &Call) -> Result<Value, RpcError> {
    let (identity, name): (Identity, String) = (identity_arg(call)?, call.arg("config_name")?);
    let view = configs.get(&identity, &name).ok_or_else(|| entries::no_entry(&identity, &name).into_rpc())?;
    Ok(json!({"type": view.config_type.as_str(), "modified": view.modified.map(timestamp::format), "data": view.data}))
}

fn identity_arg(call: &Call) -> Result<Identity, RpcError> {
    let text: String = call.arg("identity")?;
    Identity::parse(&text).map_err(|error| RpcError::value_error(error.to_string()))
}

fn telling(call: &Call) -> Result<Telling, RpcError> {
    Ok(Telling { trigger_callback: call.arg("trigger_callback")?, send_update: call.arg("send_update")? })
}
