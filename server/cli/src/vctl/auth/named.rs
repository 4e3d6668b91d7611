//! Groups of roles and roles of capabilities.

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::failure::{Failure, Outcome};
use super::super::global::Context;
use super::{ask, change, done, not_done, two_columns};
use crate::output::printable;
use crate::python::repr;

#[derive(Debug, Args)]
pub struct Group {
    /// Name of the group
    group: String,
    /// Roles of the group
    #[arg(value_name = "ROLE")]
    roles: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Role {
    /// Name of the role
    role: String,
    /// Capabilities of the role: names, or {"NAME": {"ARGUMENT": "VALUE"}}
    #[arg(value_name = "CAPABILITY")]
    capabilities: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Name {
    /// Its name
    pub name: String,
}

#[derive(Debug, Args)]
pub struct UpdateGroup {
    #[command(flatten)]
    group: Group,
    /// Take the roles out
    #[arg(long)]
    remove: bool,
}

#[derive(Debug, Args)]
pub struct UpdateRole {
    #[command(flatten)]
    role: Role,
    /// Take the capabilities out
    #[arg(long)]
    remove: bool,
}

pub fn add_group(context: &Context, group: &Group) -> Outcome {
    edit(context, "group", &group.group, Edit::Add(json!(group.roles)))
}

pub fn update_group(context: &Context, update: &UpdateGroup) -> Outcome {
    edit(context, "group", &update.group.group, Edit::Update(json!(update.group.roles), update.remove))
}

pub fn remove_group(context: &Context, name: &str) -> Outcome {
    edit(context, "group", name, Edit::Remove)
}

pub fn add_role(context: &Context, role: &Role) -> Outcome {
    edit(context, "role", &role.role, Edit::Add(capabilities(&role.capabilities)?))
}

pub fn update_role(context: &Context, update: &UpdateRole) -> Outcome {
    edit(context, "role", &update.role.role, Edit::Update(capabilities(&update.role.capabilities)?, update.remove))
}

pub fn remove_role(context: &Context, name: &str) -> Outcome {
    edit(context, "role", name, Edit::Remove)
}

pub fn list_groups(context: &Context) -> Outcome {
    list(context, "groups", "GROUPS", "ROLES")
}

pub fn list_roles(context: &Context) -> Outcome {
    list(context, "roles", "ROLE", "CAPABILITIES")
}

/// What happens to a group or role.
enum Edit {
    Add(Value),
    /// With these, or (when true) without them.
    Update(Value, bool),
    Remove,
}

fn edit(context: &Context, kind: &str, name: &str, edit: Edit) -> Outcome {
    // Looked at first, because these two are no failures; the change itself checks again.
    let is_there = all(context, &format!("{kind}s"))?.contains_key(name);
    match (is_there, &edit) {
        (true, Edit::Add(_)) => return not_done(context, &format!("{kind} \"{name}\" already exists")),
        (false, Edit::Update(..) | Edit::Remove) => return not_done(context, &format!("{kind} \"{name}\" does not exist")),
        _ => {}
    }
    let (verb, action, args) = match edit {
        Edit::Add(items) => ("add", "added", vec![json!(name), items]),
        Edit::Update(items, remove) => ("update", "updated", vec![json!(name), items, json!(remove)]),
        Edit::Remove => ("remove", "removed", vec![json!(name)]),
    };
    change(context, &format!("auth_file.{verb}_{kind}"), &args)?;
    done(context, &format!("{action} {kind} \"{name}\""), action, json!({kind: name}))
}

fn list(context: &Context, member: &str, first: &str, second: &str) -> Outcome {
    let all = all(context, member)?;
    if context.json {
        return Context::print_json(&Value::Object(all));
    }
    let row = |(name, items): (&String, &Value)| {
        let mut items: Vec<_> = items.as_array().into_iter().flatten().map(repr).collect();
        items.sort();
        (printable(name), format!("[{}]", items.join(", ")))
    };
    two_columns(first, second, all.iter().map(row).collect());
    Ok(())
}

fn all(context: &Context, member: &str) -> Result<Map<String, Value>, Failure> {
    let file = ask(context, "auth_file.read", &[])?;
    Ok(file[member].as_object().cloned().unwrap_or_default())
}

/// Names, and objects for capabilities that hold for certain arguments.
fn capabilities(words: &[String]) -> Result<Value, Failure> {
    let one = |word: &String| {
        if !word.trim_start().starts_with('{') {
            return Ok(json!(word));
        }
        let wrong = |error: serde_json::Error| Failure::new(2, format!("{word}: this is no JSON: {error}"));
        serde_json::from_str(&word.replace('\'', "\"")).map_err(wrong)
    };
    words.iter().map(one).collect()
}
