//! Roles, groups of agents, agents and protected topics, changed by the modular generation's `vctl authz`. Arguments come by name there, answers
//! say whether there was anything to change.

use serde_json::{Value, json};
use vt_agent::{Call, MethodTable};
use vt_backends::{AgentAuthz, AgentGroup, AuthzError, HeldRole, Powers};

use super::super::super::Change;
use super::super::{Exported, arg, text};
use crate::ServiceError;

pub fn export(table: &mut MethodTable, exported: &Exported) {
    export_roles(table, exported);
    export_groups(table, exported);
    export_agents(table, exported);
    export_topics(table, exported);
}

fn export_roles(table: &mut MethodTable, exported: &Exported) {
    let method = table.method("create_or_merge_role").doc("Makes a role, or adds to it.").param("name");
    let method = method.optional("rpc_capabilities", Value::Null).optional("pubsub_capabilities", Value::Null).keywords("rest");
    exported.change(method, |this, caller, call| async move {
        this.peers.merge_authz_role(&caller, &text(&call, "name")?, powers(&call)?).await.map(|done| json!(done))
    });
    exported.change(table.method("remove_role").doc("Removes a role.").param("name"), |this, caller, call| async move {
        this.peers.remove_authz_role(&caller, &text(&call, "name")?).await.map(|done| json!(done))
    });
}

fn export_groups(table: &mut MethodTable, exported: &Exported) {
    let method =
        table.method("create_or_merge_agent_group").doc("Makes a group of agents, or adds to it.").param("name").param("identities");
    let method = method.optional("roles", Value::Null).optional("rpc_capabilities", Value::Null);
    exported.change(method.optional("pubsub_capabilities", Value::Null).keywords("rest"), |this, caller, call| async move {
        let group = AgentGroup { identities: arg(&call, "identities")?, roles: roles(&call)?, powers: powers(&call)? };
        this.peers.merge_agent_group(&caller, &text(&call, "name")?, group).await.map(|done| json!(done))
    });
    exported.change(table.method("remove_agent_group").doc("Removes a group of agents.").param("name"), |this, caller, call| async move {
        this.peers.remove_agent_group(&caller, &text(&call, "name")?).await.map(|done| json!(done))
    });
    for (name, change) in [("add_agents_to_group", Change::Add), ("remove_agents_from_group", Change::Remove)] {
        let method = table.method(name).param("name").param("identities");
        exported.change(method, move |this, caller, call| async move {
            let (name, identities) = (text(&call, "name")?, arg(&call, "identities")?);
            this.peers.change_agents_of_group(&caller, &name, change, identities).await.map(|done| json!(done))
        });
    }
}

fn export_agents(table: &mut MethodTable, exported: &Exported) {
    let method = table.method("create_or_merge_agent_authz").doc("Says more about the rights of an agent.").param("identity");
    let method = method.optional("protected_rpcs", Value::Null).optional("roles", Value::Null).optional("rpc_capabilities", Value::Null);
    let method = method.optional("pubsub_capabilities", Value::Null).optional("comments", Value::Null).keywords("rest");
    exported.change(method, |this, caller, call| async move {
        let protected_rpcs = arg::<Option<Vec<String>>>(&call, "protected_rpcs")?.unwrap_or_default();
        let agent = AgentAuthz { protected_rpcs, roles: roles(&call)?, powers: powers(&call)?, comments: arg(&call, "comments")? };
        this.peers.merge_agent_authz(&caller, &text(&call, "identity")?, agent).await.map(|done| json!(done))
    });
    for name in ["remove_agent_authorization", "remove_agent_authz"] {
        exported.change(table.method(name).doc("Removes the rights of an agent.").param("identity"), |this, caller, call| async move {
            this.peers.remove_agent_authz(&caller, &text(&call, "identity")?).await.map(|done| json!(done))
        });
    }
}

fn export_topics(table: &mut MethodTable, exported: &Exported) {
    for (name, change) in [("create_protected_topics", Change::Add), ("remove_protected_topics", Change::Remove)] {
        let method = table.method(name).doc("Topics that not everybody may use.").param("topic_name_patterns");
        exported.change(method, move |this, caller, call| async move {
            let topics = match call.value("topic_name_patterns") {
                Value::String(one) => vec![one.clone()],
                _ => arg(&call, "topic_name_patterns")?,
            };
            this.peers.change_protected_topics(&caller, change, topics).await.map(|done| json!(done))
        });
    }
}

fn powers(call: &Call) -> Result<Powers, ServiceError> {
    Powers::parse(call.value("rpc_capabilities"), call.value("pubsub_capabilities")).map_err(invalid)
}

fn roles(call: &Call) -> Result<Vec<HeldRole>, ServiceError> {
    HeldRole::parse_all(call.value("roles")).map_err(invalid)
}

fn invalid(error: AuthzError) -> ServiceError {
    ServiceError::Invalid(error.0)
}
