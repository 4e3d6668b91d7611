//! Older versions of `auth.json`, entry by entry. Source: VOLTTRON `auth_file.py` (`_upgrade`); the table of vip-zmq.md §8.4.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use vt_backends::{AuthEntry, Capabilities, PeerAuthRecords};
use vt_types::identity::known;

/// A version of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    major: u64,
    minor: u64,
}

impl Version {
    /// What we write.
    pub const NEWEST: Self = Self { major: 1, minor: 4 };

    pub fn parse(value: &Value) -> Result<Self, String> {
        let number = |name: &str| match value.get(name) {
            None => Ok(0),
            Some(number) => number.as_u64().ok_or_else(|| format!("{name} must be a number")),
        };
        let version = Self { major: number("major")?, minor: number("minor")? };
        if version > Self::NEWEST {
            let Self { major, minor } = version;
            return Err(format!("this file is of version {major}.{minor}; versions up to 1.4 are understood"));
        }
        Ok(version)
    }

    /// The text of an older version than the newest.
    pub fn older(self) -> Option<String> {
        (self < Self::NEWEST).then(|| format!("{}.{}", self.major, self.minor))
    }

    pub fn to_json(self) -> Value {
        json!({"major": self.major, "minor": self.minor})
    }
}

/// Brings one allow entry of `version` up to date.
pub(super) fn entry(json: Value, version: Version) -> Result<Value, String> {
    if version.major >= 1 {
        return Ok(json);
    }
    let Value::Object(mut members) = json else { return Ok(json) };
    // Written by hand in the newer form, without a version.
    if members.contains_key("mechanism") {
        return Ok(Value::Object(members));
    }
    split_credentials(&mut members)?;
    Ok(Value::Object(members))
}

/// `CURVE:<key>` of version 0.
fn split_credentials(members: &mut Map<String, Value>) -> Result<(), String> {
    let text = members.get("credentials").and_then(Value::as_str).ok_or("\"credentials\" is missing")?;
    let (mechanism, credentials) = match text {
        "NULL" => ("NULL", Value::Null),
        _ if vt_backends::repositories::peer_auth::entry::pattern(text).is_some() => {
            return Err("Cannot upgrade entries with regex credentials".to_owned());
        }
        _ => match text.split_once(':') {
            Some((mechanism @ ("PLAIN" | "CURVE"), credentials)) => (mechanism, json!(credentials)),
            _ => return Err("Expected NULL, PLAIN, or CURVE credentials".to_owned()),
        },
    };
    let mechanism = mechanism.to_owned();
    members.insert("mechanism".to_owned(), json!(mechanism));
    members.insert("credentials".to_owned(), credentials);
    Ok(())
}

/// What concerns all entries: user ids are unique, and each may edit its own configuration.
pub(super) fn unite(records: &mut PeerAuthRecords, version: Version, warnings: &mut Vec<String>) {
    if version < (Version { major: 1, minor: 1 }) {
        let mut seen = HashSet::new();
        for entry in &mut records.allow {
            if !seen.insert(entry.user_id.clone()) {
                let new = uuid::Uuid::new_v4().to_string();
                warnings.push(format!("the user id {:?} stood twice in the auth file; one is {new} now", entry.user_id));
                entry.user_id = new;
            }
        }
    }
    if version < (Version { major: 1, minor: 2 }) {
        records.allow.iter_mut().for_each(edits_own_store);
    }
}

fn edits_own_store(entry: &mut AuthEntry) {
    let all = [known::CONTROL, "platform.agent"].contains(&entry.user_id.as_str());
    let whose = if all { "/.*/" } else { entry.user_id.as_str() };
    let edit = Capabilities::new().with_only("edit_config_store", "identity", whose);
    entry.capabilities.remove("edit_config_store");
    entry.capabilities.add_missing(&edit);
}
