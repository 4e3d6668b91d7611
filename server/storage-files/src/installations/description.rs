//! `agent.json`: what an installed agent runs. Of an agent of the catalogue `{"kind", "name"}`; of one in Python `{"python": {"generation",
//! "entry"}, "name"}`, with the words of [`Generation`] and [`EntryPoint`]. An installation that VOLTTRON itself made has no such file: it is
//! described by its package's metadata, and runs with the configured interpreter. Source: VOLTTRON `volttron/platform/packages.py`.

use std::path::Path;

use serde_json::{Value, json};
use vt_backends::{AgentSource, EntryPoint, Generation, PythonSource, RepositoryError};

use super::{WORD_BYTES_MAX, is_file_name, names};
use crate::atomic;
use crate::blocking::unavailable;
use crate::json::{self as members, corrupt};

/// Name of the file.
pub(super) const FILE: &str = "agent.json";
/// Largest file with the metadata of a package, bytes.
const METADATA_BYTES_MAX: u64 = 1 << 20;

/// Content of the file.
pub(super) struct Description {
    pub runs: Runs,
    /// Name and version.
    pub name: String,
}

/// What runs.
pub(super) enum Runs {
    BuiltIn { kind: String },
    Python { generation: Generation, entry: EntryPoint },
}

impl Runs {
    /// As others know it, for an installation at `path`.
    pub fn source(&self, path: &Path) -> AgentSource {
        match self {
            Self::BuiltIn { kind } => AgentSource::BuiltIn { kind: kind.clone() },
            Self::Python { generation, entry } => {
                let (directory, generation, entry) = (path.to_owned(), *generation, entry.clone());
                AgentSource::Python(PythonSource { directory, generation, entry })
            }
        }
    }
}

impl Description {
    /// Reads it in the installation at `path`.
    pub fn read(path: &Path) -> Result<Self, RepositoryError> {
        let file = path.join(FILE);
        match atomic::read(&file, WORD_BYTES_MAX).map_err(unavailable(&file))? {
            Some(bytes) => Self::parse(&file, &bytes),
            None => Self::of_volttron(path)?.ok_or_else(|| corrupt(path, None, "it has neither agent.json nor a package in Python")),
        }
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, RepositoryError> {
        let found = members::object(path, bytes)?.0;
        let member = |key: &str| found.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        let text = |key: &str| member(key).and_then(Value::as_str).map(str::to_owned);
        let runs = match member("python") {
            Some(python) => {
                let word = |key: &str| python.get(key).and_then(Value::as_str).unwrap_or_default();
                let generation = Generation::parse(word("generation"));
                let generation = generation.ok_or_else(|| corrupt(path, Some(1), "\"generation\" is missing or is none"))?;
                let entry = EntryPoint::parse(word("entry"));
                Runs::Python { generation, entry: entry.ok_or_else(|| corrupt(path, Some(1), "\"entry\" is missing or is none"))? }
            }
            None => Runs::BuiltIn { kind: text("kind").ok_or_else(|| corrupt(path, Some(1), "\"kind\" is missing or is not text"))? },
        };
        let name = text("name").filter(|name| is_file_name(name));
        Ok(Self { runs, name: name.ok_or_else(|| corrupt(path, Some(1), "\"name\" is missing or is no agent name"))? })
    }

    /// An installation that VOLTTRON made: the first directory `d` with `d/d.dist-info`.
    fn of_volttron(path: &Path) -> Result<Option<Self>, RepositoryError> {
        let packages = names(path)?;
        let package = packages.into_iter().find(|name| is_file_name(name) && path.join(name).join(format!("{name}.dist-info")).is_dir());
        let Some(name) = package else { return Ok(None) };
        let information = path.join(&name).join(format!("{name}.dist-info"));
        let read = |file: &str| {
            let file = information.join(file);
            let bytes = atomic::read(&file, METADATA_BYTES_MAX).map_err(unavailable(&file))?;
            Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        let metadata: Option<String> = read("metadata.json")?;
        let entry = match metadata.and_then(|text| serde_json::from_str::<Value>(&text).ok()).as_ref().and_then(exported) {
            Some(entry) => Some(entry),
            None => read("entry_points.txt")?.as_deref().and_then(listed),
        };
        let entry = entry.ok_or_else(|| corrupt(&information, None, "no entry points exported"))?;
        let keys = |directory: &str| path.join(&name).join(directory).join("keystore.json").exists();
        let old = keys(&format!("{name}.agent-data")) && !keys(&format!("{name}.dist-info"));
        let generation = if old { Generation::Monolithic6 } else { Generation::Monolithic9 };
        Ok(Some(Self { runs: Runs::Python { generation, entry }, name }))
    }

    /// The file's content for what `source` runs.
    pub fn text(source: &AgentSource, name: &str) -> String {
        let content = match source {
            AgentSource::BuiltIn { kind } => json!({"kind": kind, "name": name}),
            AgentSource::Python(PythonSource { generation, entry, .. }) => {
                json!({"python": {"generation": generation.as_str(), "entry": entry.to_string()}, "name": name})
            }
        };
        format!("{content:#}\n")
    }
}

/// Groups and keys under which a monolithic agent tells its entry point, best first.
const ENTRIES: [(&str, &str); 2] = [("volttron.agent", "launch"), ("setuptools.installation", "eggsecutable")];

fn exported(metadata: &Value) -> Option<EntryPoint> {
    let exports = metadata.get("extensions").and_then(|all| all.get("python.exports")).or_else(|| metadata.get("exports"))?;
    ENTRIES.iter().find_map(|(group, key)| EntryPoint::parse(exports.get(group)?.get(key)?.as_str()?))
}

fn listed(entry_points: &str) -> Option<EntryPoint> {
    ENTRIES.iter().find_map(|(group, key)| {
        let header = format!("[{group}]");
        let section = entry_points.lines().map(str::trim).skip_while(|line| **line != header).skip(1);
        let mut lines = section.take_while(|line| !line.starts_with('['));
        lines.find_map(|line| line.split_once('=').filter(|(name, _)| name.trim() == *key).and_then(|(_, value)| EntryPoint::parse(value)))
    })
}
