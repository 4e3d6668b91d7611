//! What `control` answers (`vctl`). Source: agents.md §1.11, vip-zmq.md §8.2, VOLTTRON `volttron/platform/control/control_rmq.py`.
//!
//! Ours beyond VOLTTRON's: `agent_kinds` and `install_builtin`, for agents that come with the platform and need no package.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use vt_agent::{Call, MethodTable};
use vt_types::{AgentUuid, Priority, RpcError, Tag};

use super::{AgentView, Agents, InstallRequest, KeyEntry, libraries, rpc_install, rpc_logs};
use crate::{Auth, Caller, ServiceError};

/// What the methods need.
#[derive(Clone)]
pub(super) struct Exported {
    pub agents: Arc<Agents>,
    auth: Arc<Auth>,
}

/// The methods of `control`.
pub(crate) fn export(agents: &Arc<Agents>, auth: &Arc<Auth>) -> MethodTable {
    let exported = Exported { agents: Arc::clone(agents), auth: Arc::clone(auth) };
    let mut table = MethodTable::new();
    export_questions(&mut table, &exported);
    export_life_cycle(&mut table, &exported);
    export_installing(&mut table, &exported);
    export_statistics(&mut table, &exported);
    rpc_install::export(&mut table, &exported);
    libraries::export(&mut table, &exported);
    rpc_logs::export(&mut table, &exported);
    table
}

/// Methods that only read, of which people without `admin` may call all: see `policy`.
fn export_questions(table: &mut MethodTable, exported: &Exported) {
    let mut ask = |name: &str, doc: &str, answer: fn(&Agents) -> Value| {
        let agents = Arc::clone(&exported.agents);
        table.method(name).doc(doc).to(move |_| std::future::ready(Ok(answer(&agents))));
    };
    ask("peerlist", "Identities of all connected peers.", |agents| json!(agents.running_peers()));
    ask("list_agents", "All installed agents.", |agents| agents.list().iter().map(listed).collect());
    ask("agent_versions", "Name and version of each installed agent by UUID.", |agents| {
        let entry = |agent: AgentView| (agent.uuid.to_string(), json!([agent.name, version(&agent.name)]));
        Value::Object(agents.list().into_iter().map(entry).collect::<Map<_, _>>())
    });
    ask("agent_kinds", "What can be installed without a package.", |agents| {
        let kind = |info: vt_backends::AgentKindInfo| json!({"kind": info.kind, "name": info.name, "default_identity": info.default_identity, "summary": info.summary});
        agents.kinds().into_iter().map(kind).collect()
    });
    let agents = Arc::clone(&exported.agents);
    table.method("serverkey").doc("The platform's public key, which peers connect with.").to(move |_| {
        let auth = Arc::clone(&agents.inner.deps.peer_auth);
        async move { auth.server_pair().await.map(|pair| json!(pair.public.to_string())).map_err(ServiceError::into_rpc) }
    });
    let agents = Arc::clone(&exported.agents);
    table
        .method("status_agents")
        .doc("Agents that were started: uuid, name, [pid, exit code], and with an argument the identity; where agents have users of their own and the argument is true, the user after the name.")
        .optional("get_agent_user", false)
        .to(move |call| {
            let users = agents.inner.deps.installed.launcher().users();
            let shape = match (call.was_given("get_agent_user"), users) {
                (false, _) => StatusShape::Short,
                (true, Some(users)) if *call.value("get_agent_user") == Value::Bool(true) => StatusShape::WithUser(users),
                (true, _) => StatusShape::WithIdentity,
            };
            std::future::ready(Ok(status_agents(&agents, &shape)))
        });
    let agents = Arc::clone(&exported.agents);
    table.method("agent_status").doc("[pid, exit code] of an agent.").param("uuid").to(move |call| {
        let status =
            uuid_arg(&call).map(|uuid| uuid.and_then(|uuid| agents.by_uuid(uuid)).map_or(json!([null, null]), |agent| pid(&agent)));
        std::future::ready(status)
    });
    let agents = Arc::clone(&exported.agents);
    table.method("identity_exists").doc("UUID of the agent with this identity, or null.").param("identity").to(move |call| {
        let found = call.arg::<String>("identity").map(|identity| json!(agents.by_identity(&identity).map(|agent| agent.uuid)));
        std::future::ready(found)
    });
    let mut ask_one = |name: &str, answer: fn(&AgentView) -> Value| {
        let agents = Arc::clone(&exported.agents);
        table.method(name).param("uuid").to(move |call| std::future::ready(installed(&agents, &call).map(|agent| answer(&agent))));
    };
    ask_one("agent_name", |agent| json!(agent.name));
    ask_one("agent_version", |agent| json!(version(&agent.name)));
    ask_one("agent_vip_identity", |agent| json!(agent.identity));
    ask_one("agent_tag", |agent| json!(agent.tag.as_ref().map(Tag::as_str)));
    ask_one("agent_priority", |agent| json!(agent.priority.as_ref().map(Priority::as_str)));
}

fn export_life_cycle(table: &mut MethodTable, exported: &Exported) {
    exported.add(table.method("start_agent").param("uuid"), |this, call| async move {
        let agent = installed(&this.agents, &call)?;
        done(this.agents.start(&this.caller(&call), &agent.identity).await)
    });
    exported.add(table.method("stop_agent").param("uuid"), |this, call| async move {
        let agent = installed(&this.agents, &call)?;
        done(this.agents.stop(&this.caller(&call), &agent.identity).await)
    });
    exported.add(table.method("restart_agent").param("uuid"), |this, call| async move {
        let agent = installed(&this.agents, &call)?;
        done(this.agents.restart(&this.caller(&call), &agent.identity).await)
    });
    exported.add(table.method("tag_agent").param("uuid").param("tag"), |this, call| async move {
        let agent = installed(&this.agents, &call)?;
        let tag = text_or_null(&call, "tag")?.map(|text| Tag::parse(&text)).transpose();
        let tag = tag.map_err(|error| RpcError::value_error(error.to_string()))?;
        done(this.agents.set_tag(&this.caller(&call), &agent.identity, tag).await)
    });
    exported.add(table.method("prioritize_agent").param("uuid").optional("priority", "50"), |this, call| async move {
        let agent = installed(&this.agents, &call)?;
        let priority = priority_arg(&call)?;
        done(this.agents.set_priority(&this.caller(&call), &agent.identity, priority).await)
    });
    exported.add(table.method("clear_status").optional("clear_all", false), |this, call| async move {
        this.agents.clear_status(&this.caller(&call), call.arg("clear_all")?);
        Ok(Value::Null)
    });
    exported.add(table.method("shutdown").doc("Stops all agents."), |this, call| async move {
        let inner = &this.agents.inner;
        inner.deps.installed.launcher().stop_all().await;
        inner.deps.audit.record(&this.caller(&call), "platform.shutdown", "", Ok("all agents stopped")).await;
        Ok(Value::Null)
    });
    exported.add(table.method("stop_platform").doc("Ends the platform."), |this, call| async move {
        let deps = &this.agents.inner.deps;
        deps.audit.record(&this.caller(&call), "platform.stop", "", Ok("")).await;
        deps.platform_stop.cancel();
        Ok(Value::Null)
    });
}

fn export_installing(table: &mut MethodTable, exported: &Exported) {
    let install = table.method("install_builtin").doc("Installs an agent that comes with the platform; gives its UUID.").param("kind");
    let install = install.optional("identity", Value::Null).optional("tag", Value::Null).optional("priority", Value::Null);
    exported.add(install.optional("config", Value::Null).optional("force", false), |this, call| async move {
        let tag = text_or_null(&call, "tag")?.map(|text| Tag::parse(&text)).transpose();
        let request = InstallRequest {
            kind: call.arg("kind")?,
            identity: text_or_null(&call, "identity")?,
            tag: tag.map_err(|error| RpcError::value_error(error.to_string()))?,
            priority: priority_arg(&call)?,
            config: Some(call.value("config").clone()).filter(|config| !config.is_null()),
            force: call.arg("force")?,
        };
        this.agents.install(&this.caller(&call), request).await.map(|agent| json!(agent.uuid)).map_err(ServiceError::into_rpc)
    });
    exported.add(table.method("remove_agent").param("uuid").optional("remove_auth", true), |this, call| async move {
        let agent = uuid_arg(&call)?.and_then(|uuid| this.agents.by_uuid(uuid));
        let agent = agent.ok_or_else(|| RpcError::value_error("invalid agent"))?;
        let key = if call.arg("remove_auth")? { KeyEntry::Remove } else { KeyEntry::Keep };
        done(this.agents.remove_with(&this.caller(&call), &agent.identity, key).await)
    });
}

fn export_statistics(table: &mut MethodTable, exported: &Exported) {
    let mut method = |name: &str, doc: &str, run: fn(&super::Inner) -> Value| {
        let agents = Arc::clone(&exported.agents);
        table.method(name).doc(doc).to(move |_| std::future::ready(Ok(run(&agents.inner))));
    };
    method("stats.enabled", "Whether messages are counted.", |inner| json!(inner.statistics.is_enabled()));
    method("stats.enable", "Counts messages from now on.", |inner| {
        inner.statistics.enable(&inner.deps.web.bus(), inner.deps.clock.now());
        Value::Null
    });
    method("stats.disable", "Ends counting messages.", |inner| {
        inner.statistics.disable(&inner.deps.web.bus(), inner.deps.clock.now());
        Value::Null
    });
    method("stats.get", "Messages counted, by peer and subsystem.", |inner| {
        inner.statistics.get(&inner.deps.web.bus(), inner.deps.clock.now())
    });
}

impl Exported {
    /// Finishes the description of a method that changes something.
    pub fn add<F, Fut>(&self, method: vt_agent::methods::MethodBuilder<'_>, run: F)
    where
        F: Fn(Self, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, RpcError>> + Send + 'static,
    {
        let this = self.clone();
        method.to(move |call| run(this.clone(), call));
    }

    /// Who answers for a call: the person behind it, else the peer itself.
    pub fn caller(&self, call: &Call) -> Caller {
        call.user.as_ref().map_or_else(|| Caller::peer(&call.from), |user| self.auth.caller_of(user))
    }
}

fn listed(agent: &AgentView) -> Value {
    json!({
        "name": agent.name,
        "uuid": agent.uuid,
        "tag": agent.tag.as_ref().map(Tag::as_str),
        "priority": agent.priority.as_ref().map(Priority::as_str),
        "identity": agent.identity,
    })
}

/// VOLTTRON 6 calls without an argument and takes three values apart, 9 with one and takes four, or five where agents have users.
enum StatusShape {
    Short,
    WithIdentity,
    WithUser(BTreeMap<AgentUuid, String>),
}

fn status_agents(agents: &Agents, shape: &StatusShape) -> Value {
    let started = agents.list().into_iter().filter(|agent| agent.state.pid_and_exit_code().0.is_some());
    let status = |agent: AgentView| {
        let pid = pid(&agent);
        match shape {
            StatusShape::Short => json!([agent.uuid, agent.name, pid]),
            StatusShape::WithIdentity => json!([agent.uuid, agent.name, pid, agent.identity]),
            StatusShape::WithUser(users) => {
                let user = users.get(&agent.uuid).map(String::as_str).unwrap_or_default();
                json!([agent.uuid, agent.name, user, pid, agent.identity])
            }
        }
    };
    started.map(status).collect()
}

fn pid(agent: &AgentView) -> Value {
    let (pid, exit_code) = agent.state.pid_and_exit_code();
    json!([pid, exit_code])
}

/// The part of a name behind its last hyphen.
fn version(name: &str) -> &str {
    name.rsplit_once('-').map_or("", |(_, version)| version)
}

fn done(result: Result<(), ServiceError>) -> Result<Value, RpcError> {
    result.map(|()| Value::Null).map_err(ServiceError::into_rpc)
}

/// The agent that the argument `uuid` names.
fn installed(agents: &Agents, call: &Call) -> Result<AgentView, RpcError> {
    let found = uuid_arg(call)?.and_then(|uuid| agents.by_uuid(uuid));
    found.ok_or_else(|| RpcError::key_error(call.value("uuid").as_str().unwrap_or_default()))
}

/// The argument `uuid`; `None` for a text that is none and so names no agent.
fn uuid_arg(call: &Call) -> Result<Option<AgentUuid>, RpcError> {
    let Value::String(text) = call.value("uuid") else {
        return Err(wrong_type(call, "a string", "uuid"));
    };
    Ok(AgentUuid::parse(text).ok())
}

pub(super) fn text_or_null(call: &Call, name: &str) -> Result<Option<String>, RpcError> {
    match call.value(name) {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(wrong_type(call, "a string or null", name)),
    }
}

fn priority_arg(call: &Call) -> Result<Option<Priority>, RpcError> {
    let text = text_or_null(call, "priority")?;
    text.map(|text| Priority::parse(&text)).transpose().map_err(|error| RpcError::value_error(error.to_string()))
}

/// VOLTTRON's words.
fn wrong_type(call: &Call, wanted: &str, name: &str) -> RpcError {
    let got = match call.value(name) {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => other.to_string().chars().take(100).collect(),
    };
    RpcError::type_error(format!("expected {wanted} for '{name}';got {got} from identity: {}", call.from))
}
