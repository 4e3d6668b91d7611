//! `vcfg update-config-store --metadata-file FILE...`: loads entries of the configuration store from metadata files.
//!
//! A file (or each `*.json` of a directory) is an object: identity → one entry or a list of entries
//! `{"config-name": "config", "config": value, text or file, "config-type": "json"}`; the name and the type may be left out. A `config` that
//! is the name of a file, relative to the metadata file or to the current directory, stands for its text.
//! Source: VOLTTRON 9 `volttron/platform/instance_setup.py` (`update_configs_in_store`).

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::output::{line, pretty};

/// One entry to store.
#[derive(Debug, PartialEq)]
pub struct Entry {
    identity: String,
    name: String,
    kind: String,
    text: String,
}

/// Reads all metadata files; nothing is stored if one of them is wrong.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    for path in paths {
        if path.is_dir() {
            let listing = std::fs::read_dir(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            let mut files: Vec<_> = listing.filter_map(|entry| Some(entry.ok()?.path())).collect();
            files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
            files.sort();
            for file in files {
                entries.append(&mut read_file(&file)?);
            }
        } else {
            entries.append(&mut read_file(path)?);
        }
    }
    Ok(entries)
}

fn read_file(path: &Path) -> Result<Vec<Entry>, String> {
    let at = |problem: String| format!("{}: {problem}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| at(error.to_string()))?;
    let members: Map<String, Value> = serde_json::from_str(&text).map_err(|error| at(format!("this is no object: {error}")))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut entries = Vec::new();
    for (identity, value) in members {
        let list = if let Value::Array(list) = value { list } else { vec![value] };
        for value in list {
            entries.push(entry(&identity, &value, folder).map_err(|problem| at(format!("{identity}: {problem}")))?);
        }
    }
    Ok(entries)
}

fn entry(identity: &str, value: &Value, folder: &Path) -> Result<Entry, String> {
    let text = |key: &str, default: &str| match value.get(key) {
        None => Ok(default.to_owned()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("{key:?} must be a text")),
    };
    let (name, kind) = (text("config-name", "config")?, text("config-type", "json")?);
    if !["json", "csv", "raw"].contains(&kind.as_str()) {
        return Err(format!("{kind:?} is none of json, csv and raw"));
    }
    let text = match value.get("config").ok_or("\"config\" is missing")? {
        Value::String(given) => {
            let file = [folder.join(given), PathBuf::from(given)].into_iter().find(|file| !given.is_empty() && file.is_file());
            match file {
                Some(file) => std::fs::read_to_string(&file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?,
                None => given.clone(),
            }
        }
        value => pretty(value, 2),
    };
    Ok(Entry { identity: identity.to_owned(), name, kind, text })
}

/// Stores them.
pub fn store(client: &Client, entries: &[Entry]) -> Result<(), String> {
    for Entry { identity, name, kind, text } in entries {
        let args = vec![json!(identity), json!(name), json!(text), json!(kind)];
        client.call("config.store", "set_config", args).map_err(|error| format!("{identity} {name}: {error}"))?;
        line(&format!("Updated {name} of {identity}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_defaults_and_may_lie_in_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("r.csv"), "a,b\n").unwrap();
        let path = folder.path().join("m.json");
        std::fs::write(
            &path,
            r#"{"platform.driver": [{"config-name": "r.csv", "config-type": "csv", "config": "r.csv"}], "x": {"config": {"a": 1}}}"#,
        )
        .unwrap();
        let entries = read(&[folder.path().to_owned()]).unwrap();
        assert_eq!(
            entries[0],
            Entry { identity: "platform.driver".into(), name: "r.csv".into(), kind: "csv".into(), text: "a,b\n".into() }
        );
        assert_eq!((entries[1].name.as_str(), entries[1].kind.as_str(), entries[1].text.as_str()), ("config", "json", "{\n  \"a\": 1\n}"));
        for wrong in [r#"{"x": {"config-name": "a"}}"#, r#"{"x": {"config": 1, "config-type": "xml"}}"#, "[]"] {
            std::fs::write(&path, wrong).unwrap();
            assert!(read(std::slice::from_ref(&path)).unwrap_err().contains("m.json"), "{wrong}");
        }
    }
}
