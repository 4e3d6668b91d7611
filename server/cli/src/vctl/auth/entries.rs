//! Entries of the allow list: add, list, remove, update.

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::failure::{Failure, Outcome};
use super::super::global::Context;
use super::fields::{Questions, comma_split, parse_capabilities};
use super::{ask, change, done, file, keys, not_done};
use crate::output::{line, pretty, printable};
use crate::python::repr;

#[derive(Debug, Args)]
pub struct Add {
    /// Security domain of the connection; /PATTERN/ for several
    #[arg(long)]
    domain: Option<String>,
    /// Where the peer connects from; /PATTERN/ for several
    #[arg(long)]
    address: Option<String>,
    /// NULL, PLAIN or CURVE [default: CURVE]
    #[arg(long)]
    mechanism: Option<String>,
    /// Public key of the peer; /PATTERN/ for several
    #[arg(long, allow_hyphen_values = true)]
    credentials: Option<String>,
    /// Name by which the peer's rights are looked up [default: a new one]
    #[arg(long = "user_id", alias = "user-id", value_name = "USER_ID")]
    user_id: Option<String>,
    /// The only identity under which the peer may connect
    #[arg(long)]
    identity: Option<String>,
    /// Names of groups, with commas between
    #[arg(long)]
    groups: Option<String>,
    /// Names of roles, with commas between
    #[arg(long)]
    roles: Option<String>,
    /// Names of capabilities, with commas between, or JSON
    #[arg(long)]
    capabilities: Option<String>,
    /// For people
    #[arg(long)]
    comments: Option<String>,
    /// The entry does not count yet
    #[arg(long)]
    disabled: bool,
    /// Remember the address with the credentials as a platform and its server key too
    #[arg(long)]
    add_known_host: bool,
}

#[derive(Debug, Args)]
pub struct Remove {
    /// Indices as `auth list` shows them
    #[arg(value_name = "INDEX", required = true, allow_negative_numbers = true)]
    indices: Vec<i64>,
}

#[derive(Debug, Args)]
pub struct Update {
    /// Index as `auth list` shows it
    #[arg(value_name = "INDEX", allow_negative_numbers = true)]
    index: i64,
}

pub fn add(context: &Context, add: Add) -> Outcome {
    let (disabled, add_known_host) = (add.disabled, add.add_known_host);
    let mut entry = add.fields();
    if entry.is_empty() {
        entry = Questions::new(context).ask(&Map::new())?;
        entry.insert("rpc_method_authorizations".to_owned(), Value::Null);
    } else {
        entry.insert("enabled".to_owned(), json!(!disabled));
    }
    if add_known_host {
        let needed = |key: &str, name: &str| {
            let given = entry.get(key).and_then(Value::as_str);
            given.ok_or_else(|| Failure::new(20, format!("{name} (--{key}) is required when --add-known-host is specified")))
        };
        keys::remember(context, needed("address", "host")?, needed("credentials", "serverkey")?)?;
    }
    change(context, "auth_file.add", &[Value::Object(entry.clone())])?;
    let text = format!("added entry {}", repr(&Value::Object(entry.clone())));
    done(context, &text, "added", json!({"entry": entry}))
}

impl Add {
    /// What was given, in VOLTTRON's order; what is empty was not given.
    fn fields(self) -> Map<String, Value> {
        let text = |given: Option<String>| given.map_or(Value::Null, Value::String);
        let list = |given: Option<String>| given.map_or(Value::Null, |given| comma_split(&given));
        let fields = [
            ("domain", text(self.domain)),
            ("address", text(self.address)),
            ("mechanism", text(self.mechanism)),
            ("credentials", text(self.credentials)),
            ("user_id", text(self.user_id)),
            ("identity", text(self.identity)),
            ("groups", list(self.groups)),
            ("roles", list(self.roles)),
            ("capabilities", self.capabilities.map_or(Value::Null, |given| parse_capabilities(&given))),
            ("comments", text(self.comments)),
        ];
        let is_given = |value: &Value| match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(members) => !members.is_empty(),
            _ => true,
        };
        fields.into_iter().filter(|(_, value)| is_given(value)).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

pub fn list(context: &Context) -> Outcome {
    let entries = entries(context)?;
    if context.json {
        return Context::print_json(&json!(entries));
    }
    if entries.is_empty() {
        line(&format!("No entries in {}", file(context, "auth.json")));
    }
    entries.iter().enumerate().for_each(|(index, entry)| line(&shown(index, entry)));
    Ok(())
}

pub fn remove(context: &Context, remove: &Remove) -> Outcome {
    let before = entries(context)?;
    let mut chosen = Vec::new();
    for index in &remove.indices {
        let Some(found) = usize::try_from(*index).ok().filter(|index| *index < before.len()) else {
            return not_done(context, &format!("ERROR: invalid index {index}"));
        };
        chosen.push(found);
    }
    let questions = Questions::new(context);
    questions.say("This action will delete the following:");
    before.iter().enumerate().filter(|(index, _)| chosen.contains(index)).for_each(|(index, entry)| questions.say(&shown(index, entry)));
    if !questions.yes("Do you wish to delete?")? {
        return if context.json { Context::print_json(&json!({"action": null})) } else { Ok(()) };
    }
    // Indices would mean others if somebody else changed the list meanwhile.
    if entries(context)? != before {
        return Err(Failure::new(20, "the entries were changed meanwhile; look at them again"));
    }
    change(context, "auth_file.remove_by_indices", &[json!(chosen)])?;
    let what = if chosen.len() > 1 { "entries at indices" } else { "entry at index" };
    done(context, &format!("removed {what} {}", repr(&json!(chosen))), "removed", json!({"indices": chosen}))
}

pub fn update(context: &Context, update: &Update) -> Outcome {
    let before = entries(context)?;
    let found = usize::try_from(update.index).ok().and_then(|index| Some((index, before.get(index)?.as_object()?)));
    let Some((index, entry)) = found else {
        return not_done(context, &format!("ERROR: invalid index {}", update.index));
    };
    let questions = Questions::new(context);
    questions.say("(For any field type \"clear\" to clear the value.)");
    let mut changed = entry.clone();
    changed.extend(questions.ask(entry)?);
    if entries(context)?.get(index).and_then(Value::as_object) != Some(entry) {
        return Err(Failure::new(20, "the entry was changed meanwhile; look at it again"));
    }
    change(context, "auth_file.update_by_index", &[json!(changed), json!(index)])?;
    done(context, &format!("updated entry at index {index}"), "updated", json!({"index": index, "entry": changed}))
}

fn entries(context: &Context) -> Result<Vec<Value>, Failure> {
    let mut file = ask(context, "auth_file.read", &[])?;
    Ok(file["allow_list"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

fn shown(index: usize, entry: &Value) -> String {
    let json = pretty(entry, 2).lines().map(printable).collect::<Vec<_>>().join("\n");
    format!("\nINDEX: {index}\n{json}")
}
