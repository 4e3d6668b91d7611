//! Subsystem `routing_table`: how platforms greet each other, and what the key discovery service tells the router about others.
//! Source: VOLTTRON `volttron/platform/vip/routingservice.py`, `volttron/platform/vip/keydiscovery.py`.

use bytes::Bytes;
use serde_json::{Value, json};

use vt_types::PublicKey;

use crate::{JsonError, json, text};

/// Most web addresses in one message; one with more is refused.
pub const WEB_ADDRESSES_MAX: usize = 1024;

/// A message of the subsystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Connect to a platform. From ourselves only.
    Connect(Platform),
    /// Connect to a platform so that it learns our key. From ourselves only.
    Introduce(Platform),
    /// Where other platforms may be found. From ourselves only.
    WebAddresses(Vec<String>),
    /// Another platform greets; to be answered with [`welcome`] on our own link to it.
    Hello {
        /// Its instance name.
        platform: String,
    },
    /// Another platform has answered our greeting.
    Welcome {
        /// Its instance name.
        platform: String,
    },
    /// Says nothing.
    Ignored,
}

/// Where another platform is, as in `external_platform_discovery.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `instance-name`.
    pub name: String,
    /// `vip-address`, such as `tcp://host:22916`.
    pub vip_address: String,
    /// `serverkey`.
    pub server_key: PublicKey,
    /// `web-address`, while setting up.
    pub web_address: Option<String>,
}

/// Why a message is none of the subsystem; VOLTTRON's router says nothing then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoutingTableError {
    /// The operation is unknown or lacks an argument.
    #[error("the operation is unknown or lacks an argument")]
    Operation,
    /// An argument is not JSON.
    #[error(transparent)]
    Json(JsonError),
    /// A member is absent or of another type.
    #[error("member {0:?} is missing or of the wrong type")]
    Member(&'static str),
    /// More addresses than [`WEB_ADDRESSES_MAX`].
    #[error("a message may carry at most {WEB_ADDRESSES_MAX} addresses, this one has {0}")]
    TooMany(usize),
}

/// Reads the arguments of a `routing_table` message.
///
/// # Errors
/// [`RoutingTableError`] names what is wrong.
pub fn decode(args: &[Bytes]) -> Result<Operation, RoutingTableError> {
    let (name, args) = args.split_first().ok_or(RoutingTableError::Operation)?;
    match (&name[..], args) {
        (b"hello", [word, platform, ..]) => {
            let platform = text::decode(platform).into_owned();
            match &word[..] {
                b"hello" => Ok(Operation::Hello { platform }),
                b"welcome" => Ok(Operation::Welcome { platform }),
                _ => Err(RoutingTableError::Operation),
            }
        }
        (b"normalmode_platform_connection", [entry, ..]) => Platform::decode(entry).map(Operation::Connect),
        (b"setupmode_platform_connection", [entry, ..]) => Platform::decode(entry).map(Operation::Introduce),
        (b"web-addresses", [list, ..]) => web_addresses(list).map(Operation::WebAddresses),
        (b"request_response" | b"update", _) => Ok(Operation::Ignored),
        _ => Err(RoutingTableError::Operation),
    }
}

fn web_addresses(list: &[u8]) -> Result<Vec<String>, RoutingTableError> {
    match json::parse_lenient(list).map_err(RoutingTableError::Json)? {
        Value::Array(list) if list.len() > WEB_ADDRESSES_MAX => Err(RoutingTableError::TooMany(list.len())),
        Value::Array(list) => list
            .into_iter()
            .map(|address| match address {
                Value::String(address) => Ok(address),
                _ => Err(RoutingTableError::Member("web-addresses")),
            })
            .collect(),
        _ => Err(RoutingTableError::Member("web-addresses")),
    }
}

/// Our greeting, sent right after connecting.
#[must_use]
pub fn hello(our_name: &str) -> Vec<Bytes> {
    vec![Bytes::from_static(b"hello"), Bytes::from_static(b"hello"), text::encode(our_name)]
}

/// Our answer to another platform's greeting.
#[must_use]
pub fn welcome(our_name: &str) -> Vec<Bytes> {
    vec![Bytes::from_static(b"hello"), Bytes::from_static(b"welcome"), text::encode(our_name)]
}

impl Platform {
    /// Reads an entry.
    ///
    /// # Errors
    /// [`RoutingTableError`] names what is wrong.
    pub fn decode(entry: &[u8]) -> Result<Self, RoutingTableError> {
        let entry = json::parse_lenient(entry).map_err(RoutingTableError::Json)?;
        let text = |name: &'static str| entry[name].as_str().ok_or(RoutingTableError::Member(name)).map(str::to_owned);
        Ok(Self {
            name: text("instance-name")?,
            vip_address: text("vip-address")?,
            server_key: PublicKey::parse(&text("serverkey")?).map_err(|_| RoutingTableError::Member("serverkey"))?,
            web_address: entry["web-address"].as_str().map(str::to_owned),
        })
    }

    /// The entry as JSON: `{"vip-address", "instance-name", "serverkey"}`, and `web-address` if there is one.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut entry = json!({
            "vip-address": self.vip_address,
            "instance-name": self.name,
            "serverkey": self.server_key.to_string(),
        });
        if let Some(address) = &self.web_address {
            entry["web-address"] = address.as_str().into();
        }
        entry
    }
}
