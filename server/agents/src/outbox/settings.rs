//! Settings of agents that send to another platform: those of every historian, the destination, and what is sent. Names are VOLTTRON's;
//! `-` in a name is read as `_`.
//! Source: agents.md §5.1 and §5.7, VOLTTRON `services/core/ForwardHistorian/forwarder/agent.py`, `services/core/DataMover`.

use serde_json::{Map, Value};
use vt_historians::{
    HistorianConfig,
    config::{CaptureKind, ConfigError},
};
use vt_types::{Identity, PublicKey, identity::known};

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// One that every historian has.
    #[error(transparent)]
    Historian(#[from] ConfigError),
    /// One of these agents.
    #[error("{field}: {reason}")]
    Own {
        /// Its name.
        field: &'static str,
        /// What it should be.
        reason: String,
    },
}

impl SettingError {
    /// About `field`.
    pub fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Own { field, reason: reason.into() }
    }
}

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A VIP address.
    Vip {
        /// The address.
        address: String,
        /// Server key; one known for the address counts instead.
        server_key: Option<PublicKey>,
    },
    /// The web address of a platform that tells its VIP address and key.
    Web(String),
}

/// Everything such an agent is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What all historians are told.
    pub base: HistorianConfig,
    /// None is set as long as nobody has configured the agent; then it takes nothing in.
    pub destination: Option<Destination>,
    /// Our identity on the other platform; by default `<instance name>.<identity>`.
    pub remote_identity: Option<Identity>,
    /// Whose `insert` is called.
    pub historian: Identity,
    /// Topic prefix to what kind of message it is; none for one that is taken as it is. Most specific first.
    pub routes: Vec<(String, Option<CaptureKind>)>,
    /// `topic_replace_list`: every occurrence, with regard to case.
    pub replacements: Vec<(String, String)>,
    /// Peers that must be there before anything is sent.
    pub required_targets: Vec<Identity>,
    /// Whether `timing_data` is added.
    pub gather_timing_data: bool,
}

/// The names with `_`.
pub fn normal(raw: &Map<String, Value>) -> Map<String, Value> {
    raw.iter().map(|(name, value)| (name.replace('-', "_"), value.clone())).collect()
}

impl Settings {
    /// The settings in `raw`, whose names are normal.
    pub fn parse(raw: &Map<String, Value>) -> Result<Self, SettingError> {
        let mut raw = raw.clone();
        if let Some(list) = raw.remove("service_topic_list").or_else(|| raw.remove("services_topic_list")) {
            // Its place was taken by the four settings of captures.
            let roots = texts("services_topic_list", &list)?;
            for kind in CaptureKind::ALL {
                let wanted = roots.iter().any(|root| root == "all" || root.trim_end_matches('s') == kind.prefix().trim_end_matches('s'));
                raw.insert(kind.setting().to_owned(), wanted.into());
            }
        }
        if let Some(cache_only) = raw.remove("cache_only") {
            raw.insert("cache_only_enabled".to_owned(), cache_only);
        }
        let replacements = replacements(&raw)?;
        let base = HistorianConfig::parse(&raw)?;
        let standard = base.capture.iter().map(|kind| (kind.prefix().to_owned(), Some(*kind)));
        let custom = base.custom_topics.iter().flat_map(|(kind, prefixes)| prefixes.iter().map(|prefix| (prefix.clone(), Some(*kind))));
        let mut routes: Vec<_> = standard.chain(custom).collect();
        if let Some(list) = given(&raw, "custom_topic_list") {
            routes.extend(texts("custom_topic_list", list)?.into_iter().map(|prefix| (prefix, None)));
        }
        routes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        let required = given(&raw, "required_target_agents").map(|list| texts("required_target_agents", list)).transpose()?;
        let required =
            required.unwrap_or_default().iter().map(|name| identity("required_target_agents", name)).collect::<Result<_, _>>()?;
        Ok(Self {
            base,
            destination: destination(&raw)?,
            remote_identity: text(&raw, "remote_identity")?.map(|name| identity("remote-identity", name)).transpose()?,
            historian: match text(&raw, "destination_historian_identity")? {
                Some(name) => identity("destination-historian-identity", name)?,
                None => Identity::known(known::PLATFORM_HISTORIAN),
            },
            routes,
            replacements,
            required_targets: required,
            gather_timing_data: raw.get("gather_timing_data").and_then(Value::as_bool).unwrap_or(false),
        })
    }
}

fn destination(raw: &Map<String, Value>) -> Result<Option<Destination>, SettingError> {
    let Some(address) = text(raw, "destination_vip")? else {
        return match text(raw, "destination_address")? {
            None => Ok(None),
            Some(address) if address.starts_with("http://") || address.starts_with("https://") => {
                Ok(Some(Destination::Web(address.trim_end_matches('/').to_owned())))
            }
            Some(_) => Err(SettingError::new("destination-address", "must be a web address, such as https://other:8443")),
        };
    };
    let server_key = text(raw, "destination_serverkey")?.map(PublicKey::parse).transpose();
    let server_key = server_key.map_err(|error| SettingError::new("destination-serverkey", error.to_string()))?;
    Ok(Some(Destination::Vip { address: address.to_owned(), server_key }))
}

fn given<'a>(raw: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    raw.get(name).filter(|value| !value.is_null())
}

/// A text; absent, null and empty are none.
fn text<'a>(raw: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, SettingError> {
    match given(raw, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
        Some(other) => Err(SettingError::new(name, format!("must be a text, not {other}"))),
    }
}

fn texts(field: &'static str, value: &Value) -> Result<Vec<String>, SettingError> {
    let bad = || SettingError::new(field, "must be a list of texts");
    value.as_array().ok_or_else(bad)?.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(bad)).collect()
}

fn identity(field: &'static str, name: &str) -> Result<Identity, SettingError> {
    Identity::parse(name).map_err(|error| SettingError::new(field, error.to_string()))
}

fn replacements(raw: &Map<String, Value>) -> Result<Vec<(String, String)>, SettingError> {
    const FIELD: &str = "topic_replace_list";
    let Some(list) = given(raw, FIELD) else { return Ok(Vec::new()) };
    let pair = |entry: &Value| {
        let part = |name: &str| entry.get(name).and_then(Value::as_str);
        part("from").filter(|from| !from.is_empty()).zip(part("to")).map(|(from, to)| (from.to_owned(), to.to_owned()))
    };
    let pairs: Option<Vec<_>> = list.as_array().and_then(|list| list.iter().map(pair).collect());
    pairs.ok_or_else(|| SettingError::new(FIELD, "must be a list of {\"from\", \"to\"}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(raw: &Value) -> Result<Settings, SettingError> {
        Settings::parse(&normal(raw.as_object().unwrap()))
    }

    fn prefixes(settings: &Settings) -> Vec<&str> {
        settings.routes.iter().map(|(prefix, _)| prefix.as_str()).collect()
    }

    #[test]
    fn the_settings_of_the_walk_through_are_read() {
        let key = "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM";
        let settings = parsed(&json!({"destination-vip": "tcp://127.0.0.1:22916", "destination-serverkey": key})).unwrap();
        let vip = Destination::Vip { address: "tcp://127.0.0.1:22916".to_owned(), server_key: Some(PublicKey::parse(key).unwrap()) };
        assert_eq!(settings.destination, Some(vip));
        let web = parsed(&json!({"destination-address": "https://other:8443/"})).unwrap().destination;
        assert_eq!(web, Some(Destination::Web("https://other:8443".to_owned())));
        assert_eq!(prefixes(&settings), ["datalogger", "analysis", "devices", "record"]);
        assert_eq!(settings.historian.as_str(), "platform.historian");
        assert!(parsed(&json!({})).unwrap().destination.is_none());
    }

    #[test]
    fn old_topic_lists_choose_captures_and_custom_ones_add_to_them() {
        let old = parsed(&json!({"services_topic_list": ["device", "record"], "custom_topic_list": ["mine/x"]})).unwrap();
        assert_eq!(prefixes(&old), ["devices", "record", "mine/x"]);
        assert_eq!(parsed(&json!({"service_topic_list": ["all"]})).unwrap().routes.len(), 4);
        let new = parsed(&json!({"capture_device_data": false, "capture_record_data": false, "cache_only": true})).unwrap();
        assert_eq!(prefixes(&new), ["datalogger", "analysis"]);
        assert!(new.base.cache_only_enabled);
    }

    #[test]
    fn wrong_settings_are_named() {
        for (field, raw) in [
            ("destination-serverkey", json!({"destination-vip": "tcp://a:1", "destination-serverkey": "short"})),
            ("destination_vip", json!({"destination-vip": 5})),
            ("destination-address", json!({"destination-address": "tcp://other:8443"})),
            ("custom_topic_list", json!({"custom_topic_list": "devices"})),
            ("required_target_agents", json!({"required_target_agents": ["a b"]})),
            ("topic_replace_list", json!({"topic_replace_list": ["a"]})),
            ("submit_size_limit", json!({"submit_size_limit": 0})),
        ] {
            let error = parsed(&raw).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
