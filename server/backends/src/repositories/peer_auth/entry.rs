//! One entry of the allow or deny list, read from and written to the JSON that VOLTTRON's file, its RPC and ours share.
//! Source: VOLTTRON `volttron/platform/auth/auth_entry.py`.
//!
//! Differs from VOLTTRON: CURVE keys are accepted in every form that key files know, and written in the 43 characters.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use vt_types::{Identity, PublicKey};

use super::capabilities::Capabilities;

/// Why something is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not an object.
    #[error("an entry must be an object")]
    NotAnObject,
    /// A member of another type.
    #[error("{0} must be {1}")]
    Type(&'static str, &'static str),
    /// VOLTTRON's words.
    #[error("mechanism must be either \"NULL\", \"PLAIN\" or \"CURVE\"")]
    Mechanism,
    /// VOLTTRON's words.
    #[error("credentials parameter is required for mechanism {0}")]
    NoCredentials(&'static str),
    /// Not a key, and no pattern.
    #[error("Invalid CURVE public key {0}")]
    Key(String),
    /// No capability.
    #[error(
        "{0:?} is no capability: give a name, an object of names with null or {{\"argument\": \"value\"}}, or a list of names and objects"
    )]
    Capability(String),
    /// The identity cannot be one.
    #[error("identity: {0}")]
    Identity(#[from] vt_types::IdentityError),
}

/// How a peer proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// Not at all.
    Null,
    /// By a password. Read and kept; no endpoint of ours offers it.
    Plain,
    /// By a CURVE key.
    Curve,
}

impl Mechanism {
    /// `NULL`, `PLAIN` or `CURVE`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Plain => "PLAIN",
            Self::Curve => "CURVE",
        }
    }

    /// The mechanism of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Null, Self::Plain, Self::Curve].into_iter().find(|mechanism| mechanism.as_str() == text)
    }
}

/// What a part of an attempt must be: anything, one text, or one of several. A text between slashes is a pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Field {
    /// Anything.
    #[default]
    Any,
    /// This.
    One(String),
    /// One of these.
    AnyOf(Vec<String>),
}

impl Field {
    /// The texts; none for [`Field::Any`].
    #[must_use]
    pub fn texts(&self) -> &[String] {
        match self {
            Self::Any => &[],
            Self::One(text) => std::slice::from_ref(text),
            Self::AnyOf(texts) => texts,
        }
    }

    fn parse(name: &'static str, value: Option<&Value>) -> Result<Self, EntryError> {
        let wrong = || EntryError::Type(name, "null, a text or a list of texts");
        match value {
            None | Some(Value::Null) => Ok(Self::Any),
            Some(Value::String(text)) if text.is_empty() => Ok(Self::Any),
            Some(Value::String(text)) => Ok(Self::One(text.clone())),
            Some(Value::Array(list)) if list.is_empty() => Ok(Self::Any),
            Some(Value::Array(list)) => {
                list.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>().map(Self::AnyOf).ok_or_else(wrong)
            }
            Some(_) => Err(wrong()),
        }
    }

    fn map(self, change: impl Fn(String) -> Result<String, EntryError>) -> Result<Self, EntryError> {
        Ok(match self {
            Self::Any => Self::Any,
            Self::One(text) => Self::One(change(text)?),
            Self::AnyOf(texts) => Self::AnyOf(texts.into_iter().map(change).collect::<Result<_, _>>()?),
        })
    }

    /// `null`, a text, or a list.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Any => Value::Null,
            Self::One(text) => json!(text),
            Self::AnyOf(texts) => json!(texts),
        }
    }
}

/// The pattern in a text such as `/pattern/`.
#[must_use]
pub fn pattern(text: &str) -> Option<&str> {
    text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'))
}

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthEntry {
    /// ZAP domain; `vip` for peers.
    pub domain: Field,
    /// Where from.
    pub address: Field,
    /// How it proves itself.
    pub mechanism: Mechanism,
    /// The key (43 characters), or a pattern.
    pub credentials: Field,
    /// By which name rights are looked up.
    pub user_id: String,
    /// The only identity under which it may connect, if one is set.
    pub identity: Option<Identity>,
    /// Groups, whose roles count.
    pub groups: Vec<String>,
    /// Roles, whose capabilities count.
    pub roles: Vec<String>,
    /// Its own capabilities.
    pub capabilities: Capabilities,
    /// Capabilities that callers of this peer's methods need, by method; a single empty text opens a method again.
    pub rpc_method_authorizations: BTreeMap<String, Vec<String>>,
    /// For people.
    pub comments: Option<String>,
    /// Whether it counts.
    pub enabled: bool,
    /// Further members, kept as they are.
    pub extra: Map<String, Value>,
}

impl AuthEntry {
    /// An entry for a key, with no rights.
    #[must_use]
    pub fn for_key(key: PublicKey, user_id: &str) -> Self {
        Self {
            domain: Field::Any,
            address: Field::Any,
            mechanism: Mechanism::Curve,
            credentials: Field::One(key.to_string()),
            user_id: user_id.to_owned(),
            identity: None,
            groups: Vec::new(),
            roles: Vec::new(),
            capabilities: Capabilities::new(),
            rpc_method_authorizations: BTreeMap::new(),
            comments: None,
            enabled: true,
            extra: Map::new(),
        }
    }

    /// Reads an entry. One without user id gets a new one.
    ///
    /// # Errors
    /// [`EntryError`] names the member.
    pub fn parse(value: &Value) -> Result<Self, EntryError> {
        let Value::Object(mut members) = value.clone() else { return Err(EntryError::NotAnObject) };
        let mut take = |name: &str| members.shift_remove(name).filter(|value| !value.is_null());
        let mechanism = match take("mechanism") {
            None => Mechanism::Curve,
            Some(word) => word.as_str().and_then(Mechanism::parse).ok_or(EntryError::Mechanism)?,
        };
        let credentials = credentials(mechanism, Field::parse("credentials", take("credentials").as_ref())?)?;
        let identity = text("identity", take("identity"))?.filter(|text| !text.is_empty());
        let user_id = text("user_id", take("user_id"))?.filter(|text| !text.is_empty());
        let enabled = match take("enabled") {
            None => true,
            Some(value) => value.as_bool().ok_or(EntryError::Type("enabled", "true or false"))?,
        };
        let comments = match take("comments") {
            Some(Value::Array(lines)) => {
                Some(lines.iter().map(|line| line.as_str().map_or_else(|| line.to_string(), str::to_owned)).collect::<Vec<_>>().join("\n"))
            }
            other => text("comments", other)?.filter(|text| !text.is_empty()),
        };
        Ok(Self {
            domain: Field::parse("domain", take("domain").as_ref())?,
            address: Field::parse("address", take("address").as_ref())?,
            mechanism,
            credentials,
            user_id: user_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            identity: identity.map(|text| Identity::parse(&text)).transpose()?,
            groups: texts("groups", take("groups").as_ref())?,
            roles: texts("roles", take("roles").as_ref())?,
            capabilities: Capabilities::parse(&take("capabilities").unwrap_or_default())?,
            rpc_method_authorizations: method_authorizations(take("rpc_method_authorizations").as_ref())?,
            comments,
            enabled,
            extra: members,
        })
    }

    /// The entry as VOLTTRON's file holds it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut members = json!({
            "domain": self.domain.to_json(),
            "address": self.address.to_json(),
            "mechanism": self.mechanism.as_str(),
            "credentials": self.credentials.to_json(),
            "groups": self.groups,
            "roles": self.roles,
            "capabilities": self.capabilities.to_json(),
            "rpc_method_authorizations": self.rpc_method_authorizations,
            "comments": self.comments,
            "user_id": self.user_id,
            "identity": self.identity,
            "enabled": self.enabled,
        });
        if let Value::Object(members) = &mut members {
            members.extend(self.extra.clone());
        }
        members
    }

    /// Whether the entry names exactly this key, be it among others.
    #[must_use]
    pub fn names_key(&self, key: PublicKey) -> bool {
        self.mechanism == Mechanism::Curve && self.credentials.texts().iter().any(|text| PublicKey::parse(text) == Ok(key))
    }

    /// Whether both entries are for the same peers, rights aside.
    #[must_use]
    pub fn is_for_same(&self, other: &Self) -> bool {
        (&self.domain, &self.address, self.mechanism, &self.credentials)
            == (&other.domain, &other.address, other.mechanism, &other.credentials)
    }
}

fn credentials(mechanism: Mechanism, field: Field) -> Result<Field, EntryError> {
    if mechanism != Mechanism::Null && field == Field::Any {
        return Err(EntryError::NoCredentials(mechanism.as_str()));
    }
    if mechanism != Mechanism::Curve {
        return Ok(field);
    }
    field.map(|text| {
        if pattern(&text).is_some() {
            return Ok(text);
        }
        PublicKey::parse(&text).map(|key| key.to_string()).map_err(|_| EntryError::Key(text.chars().take(80).collect()))
    })
}

fn text(name: &'static str, value: Option<Value>) -> Result<Option<String>, EntryError> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(EntryError::Type(name, "a text")),
    }
}

fn texts(name: &'static str, value: Option<&Value>) -> Result<Vec<String>, EntryError> {
    Ok(Field::parse(name, value)?.texts().to_vec())
}

fn method_authorizations(value: Option<&Value>) -> Result<BTreeMap<String, Vec<String>>, EntryError> {
    const WRONG: EntryError = EntryError::Type("rpc_method_authorizations", "an object of lists of capabilities");
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let capabilities = |value: &Value| match value {
        Value::Null => Some(Vec::new()),
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(several) => several.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    let methods = value.as_object().ok_or(WRONG)?;
    methods.iter().map(|(method, value)| Some((method.clone(), capabilities(value)?))).collect::<Option<_>>().ok_or(WRONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM";

    #[test]
    fn an_entry_keeps_everything_it_was_given() {
        let json = json!({
            "domain": null, "address": ["127.0.0.1", "/192\\.168\\..*/"], "mechanism": "CURVE", "credentials": KEY,
            "groups": ["g"], "roles": ["r"], "capabilities": {"edit_config_store": {"identity": "a1"}},
            "rpc_method_authorizations": {"m": ["c"], "open": [""]}, "comments": "why", "user_id": "u", "identity": "a1", "enabled": false,
            "site": {"floor": 3},
        });
        let entry = AuthEntry::parse(&json).unwrap();
        assert_eq!(entry.to_json(), json);
        assert_eq!(AuthEntry::parse(&entry.to_json()).unwrap(), entry);
    }

    #[test]
    fn keys_are_accepted_in_all_forms_and_kept_in_one() {
        let hex = "c5dfcf94cfcbaba9a9dd39e27af5c7ffb7805d09897584b1825af6e63f356243";
        for text in [KEY, hex, "-OY1a==-w*SOGO]DIbtUW$4-<IfjGRF)d)gkq=[q", &format!("{KEY}=")] {
            let entry = AuthEntry::parse(&json!({"credentials": text})).unwrap();
            assert_eq!(entry.credentials, Field::One(KEY.to_owned()), "{text}");
            assert!(entry.names_key(PublicKey::parse(KEY).unwrap()));
        }
        let any = AuthEntry::parse(&json!({"credentials": "/.*/"})).unwrap();
        assert!(!any.names_key(PublicKey::parse(KEY).unwrap()) && any.user_id.len() == 36 && any.enabled);
    }

    #[test]
    fn wrong_entries_are_told_by_member() {
        for (json, expected) in [
            (json!([]), "must be an object"),
            (json!({}), "credentials parameter is required for mechanism CURVE"),
            (json!({"credentials": "short"}), "Invalid CURVE public key short"),
            (json!({"credentials": KEY, "mechanism": "curve"}), "mechanism must be either"),
            (json!({"credentials": 5}), "credentials must be null, a text or a list of texts"),
            (json!({"credentials": KEY, "address": [1]}), "address must be"),
            (json!({"credentials": KEY, "enabled": "yes"}), "enabled must be true or false"),
            (json!({"credentials": KEY, "identity": "a b"}), "identity: a VIP identity"),
            (json!({"credentials": KEY, "capabilities": [5]}), "\"5\" is no capability"),
            (json!({"credentials": KEY, "rpc_method_authorizations": ["m"]}), "rpc_method_authorizations must be"),
            (json!({"credentials": KEY, "user_id": 1}), "user_id must be a text"),
        ] {
            let error = AuthEntry::parse(&json).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
        assert!(AuthEntry::parse(&json!({"mechanism": "NULL"})).is_ok());
    }
}
