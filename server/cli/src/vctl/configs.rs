//! `vctl config`: the configuration store.

use std::io::Read;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use super::failure::{Failure, Outcome};
use super::global::Context;
use crate::output::{line, pretty, print, printable};

const STORE: &str = "config.store";
/// Longest entry read from a file or standard input, in bytes; the platform's own bound.
const ENTRY_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Remove an entry, or all of an agent
    Delete(Delete),
    /// Change an entry in an editor
    Edit(Edit),
    /// Print an entry
    Get(Get),
    /// Identities with a store, or entries of one
    List {
        /// Whose
        identity: Option<String>,
    },
    /// Store an entry from a file or standard input
    Store(Store),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("kind").args(["raw", "csv"]))]
struct Kind {
    // JSON is the default; VOLTTRON's `--json` is the option of all commands and changes nothing here.
    /// Any text
    #[arg(long)]
    raw: bool,
    /// Rows with a header
    #[arg(long)]
    csv: bool,
}

impl Kind {
    fn name(&self) -> &'static str {
        match (self.raw, self.csv) {
            (true, _) => "raw",
            (_, true) => "csv",
            _ => "json",
        }
    }
}

#[derive(Debug, Args)]
pub struct Store {
    /// Whose store
    identity: String,
    /// Name of the entry
    name: String,
    /// File to store [default: standard input]
    file: Option<PathBuf>,
    #[command(flatten)]
    kind: Kind,
}

#[derive(Debug, Args)]
pub struct Get {
    /// Whose store
    identity: String,
    /// Name of the entry
    name: String,
    /// As it was stored
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, Args)]
pub struct Delete {
    /// Whose store
    identity: String,
    /// Name of the entry
    name: Option<String>,
    /// The whole store
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub struct Edit {
    /// Whose store
    identity: String,
    /// Name of the entry
    name: String,
    /// Editor [default: $EDITOR, else nano]
    #[arg(long)]
    editor: Option<String>,
    /// Start with an empty entry if there is none
    #[arg(long)]
    new: bool,
    #[command(flatten)]
    kind: Kind,
}

pub fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Delete(delete) => remove(context, &delete),
        Command::Edit(edit) => change(context, &edit),
        Command::Get(get) => show(context, &get),
        Command::List { identity } => list(context, identity),
        Command::Store(store) => set(context, &store),
    }
}

fn set(context: &Context, store: &Store) -> Outcome {
    let text = match &store.file {
        Some(path) => std::fs::File::open(path)
            .and_then(read_bounded)
            .map_err(|error| Failure::new(1, format!("{} cannot be read: {error}", path.display())))?,
        None => {
            read_bounded(std::io::stdin().lock()).map_err(|error| Failure::new(1, format!("standard input cannot be read: {error}")))?
        }
    };
    context.client.call(STORE, "set_config", vec![json!(store.identity), json!(store.name), json!(text), json!(store.kind.name())])?;
    Ok(())
}

fn show(context: &Context, get: &Get) -> Outcome {
    let value = context.client.call(STORE, "get_config", vec![json!(get.identity), json!(get.name), json!(get.raw)])?;
    match value {
        Value::String(text) if !context.json => print(&if text.ends_with('\n') { text } else { format!("{text}\n") }),
        value => line(&pretty(&value, 2)),
    }
    Ok(())
}

fn list(context: &Context, identity: Option<String>) -> Outcome {
    let names = match identity {
        Some(identity) => context.client.call(STORE, "list_configs", vec![json!(identity)])?,
        None => context.client.call(STORE, "list_stores", vec![])?,
    };
    if context.json {
        return Context::print_json(&names);
    }
    for name in names.as_array().into_iter().flatten().filter_map(Value::as_str) {
        line(&printable(name));
    }
    Ok(())
}

fn remove(context: &Context, delete: &Delete) -> Outcome {
    match (&delete.name, delete.all) {
        (_, true) => context.client.call(STORE, "delete_store", vec![json!(delete.identity)])?,
        (Some(name), false) => context.client.call(STORE, "delete_config", vec![json!(delete.identity), json!(name)])?,
        (None, false) => {
            line("ERROR: must specify a configuration when not deleting entire store");
            return Err(Failure::new(2, "name the entry, or give --all"));
        }
    };
    Ok(())
}

fn change(context: &Context, edit: &Edit) -> Outcome {
    let (before, kind) = match context.client.call(STORE, "get_metadata", vec![json!(edit.identity), json!(edit.name)]) {
        Ok(entry) => {
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            (Some(text("data")), text("type"))
        }
        Err(error) if edit.new && error.to_string().contains("No configuration file") => (None, edit.kind.name().to_owned()),
        Err(error) => return Err(error.into()),
    };
    let editor = edit
        .editor
        .clone()
        .or_else(|| std::env::var("EDITOR").ok().filter(|editor| !editor.is_empty()))
        .unwrap_or_else(|| "nano".to_owned());
    let after = in_editor(&editor, before.as_deref().unwrap_or_default(), &kind)?;
    if before.as_deref() == Some(after.as_str()) {
        line("No changes detected.");
        return Ok(());
    }
    context.client.call(STORE, "set_config", vec![json!(edit.identity), json!(edit.name), json!(after), json!(kind)])?;
    Ok(())
}

fn in_editor(editor: &str, text: &str, kind: &str) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::new(1, format!("the entry could not be edited: {error}"));
    let file = tempfile::Builder::new().prefix("vctl-config-").suffix(&format!(".{kind}")).tempfile().map_err(failed)?;
    std::fs::write(file.path(), text).map_err(failed)?;
    let mut words = editor.split_whitespace();
    let status = std::process::Command::new(words.next().unwrap_or("nano"))
        .args(words)
        .arg(file.path())
        .status()
        .map_err(|error| Failure::new(1, format!("the editor {editor:?} could not be started: {error}")))?;
    if !status.success() {
        return Err(Failure::new(1, format!("Editor returned with code {}. Changes not committed.", status.code().unwrap_or(-1))));
    }
    std::fs::read_to_string(file.path()).map_err(failed)
}

fn read_bounded(from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(ENTRY_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > ENTRY_BYTES_MAX {
        return Err(std::io::Error::other("an entry may have at most 16 MiB"));
    }
    Ok(text)
}
