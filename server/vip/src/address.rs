//! VIP addresses: `scheme://netloc/path?name=value&...#identity`. Resolving and connecting is the transport's business.
//! Source: VOLTTRON `volttron/platform/vip/socket.py`, class `Address`.

use std::fmt;

use vt_types::{KeyError, PublicKey, SecretKey};

/// How peers reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// TCP; the rest is `host:port`.
    Tcp,
    /// A Unix socket; after `@` its name in the abstract namespace, else its path.
    Ipc,
    /// Within one process.
    Inproc,
}

/// How the side that listens proves and checks who is who.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// Not at all.
    Null,
    /// User name and password.
    Plain,
    /// Keys.
    Curve,
}

/// A VIP address with its parameters; unknown parameters are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// How.
    pub scheme: Scheme,
    /// Where, without path: `host:port`, `@`, a name, or nothing. It is also the key in `known_hosts`.
    pub netloc: String,
    /// The rest of where: of a Unix socket the path or name, of others nothing.
    pub path: String,
    /// The listening side's public key; its presence makes the connecting side use CURVE.
    pub server_key: Option<PublicKey>,
    /// The connecting side's public key.
    pub public_key: Option<PublicKey>,
    /// One's own secret key.
    pub secret_key: Option<SecretKey>,
    /// `server`: what the listening side demands.
    pub server: Option<Mechanism>,
    /// `domain`: the ZAP domain of the listening side.
    pub domain: Option<String>,
    /// `ipv6`: everything but `0`, `false`, `no` and `off` is true.
    pub ipv6: Option<bool>,
    /// `username`, for PLAIN.
    pub username: Option<String>,
    /// `password`, for PLAIN; not shown by `Display`.
    pub password: Option<Password>,
    /// The fragment. `None`: not given. Empty, as by a bare `#` at the end: expressly no identity.
    pub identity: Option<String>,
}

/// A password; not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Why a text is not a VIP address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither tcp, ipc nor inproc, or none at all.
    #[error("a VIP address begins with tcp://, ipc:// or inproc://")]
    Scheme,
    /// Nothing after the scheme.
    #[error("the VIP address names no place")]
    Empty,
    /// A TCP address without port, or with one that is no number up to 65535.
    #[error("a tcp address ends in a port, such as tcp://host:22916")]
    Port,
    /// `server` is none of the mechanisms.
    #[error("the parameter server must be NULL, PLAIN or CURVE")]
    Server,
    /// A parameter is not a key.
    #[error("the parameter {name} is not a key: {source}")]
    Key {
        /// Which parameter.
        name: &'static str,
        /// Why.
        source: KeyError,
    },
    /// A control character or space.
    #[error("a VIP address contains no spaces and no control characters")]
    Character,
}

impl Address {
    /// Parses `text`. A TCP port may be `*` or `0`: any free one.
    ///
    /// # Errors
    /// [`AddressError`] names what is wrong.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(AddressError::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme)?;
        let scheme = Scheme::parse(scheme).ok_or(AddressError::Scheme)?;
        let (rest, identity) = match rest.split_once('#') {
            Some((rest, identity)) => (rest, Some(identity.to_owned())),
            None => (rest, None),
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (netloc, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        if place.is_empty() || place == "@" {
            return Err(AddressError::Empty);
        }
        let mut address = Self {
            scheme,
            netloc: netloc.to_owned(),
            path: path.to_owned(),
            server_key: None,
            public_key: None,
            secret_key: None,
            server: None,
            domain: None,
            ipv6: None,
            username: None,
            password: None,
            identity,
        };
        if scheme == Scheme::Tcp {
            address.host_port().ok_or(AddressError::Port)?;
        }
        for (name, value) in parameters(query) {
            address.set(&name, value)?;
        }
        Ok(address)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), AddressError> {
        let key = |name| PublicKey::parse(&value).map_err(|source| AddressError::Key { name, source });
        match name {
            "serverkey" => self.server_key = Some(key("serverkey")?),
            "publickey" => self.public_key = Some(key("publickey")?),
            "secretkey" => {
                let key = SecretKey::parse(&value).map_err(|source| AddressError::Key { name: "secretkey", source })?;
                self.secret_key = Some(key);
            }
            "server" => self.server = Some(Mechanism::parse(&value).ok_or(AddressError::Server)?),
            "domain" => self.domain = Some(value),
            "ipv6" => self.ipv6 = Some(!["0", "false", "no", "off"].contains(&value.to_ascii_lowercase().as_str())),
            "username" => self.username = Some(value),
            "password" => self.password = Some(Password(value)),
            _ => (),
        }
        Ok(())
    }

    /// The address without parameters and identity, as ZeroMQ takes it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}://{}{}", self.scheme.name(), self.netloc, self.path)
    }

    /// Of a TCP address: host, without the brackets of an IPv6 address, and port, 0 for any.
    #[must_use]
    pub fn host_port(&self) -> Option<(&str, u16)> {
        if self.scheme != Scheme::Tcp {
            return None;
        }
        let (host, port) = self.netloc.rsplit_once(':')?;
        let port = if port == "*" {
            0
        } else if port.bytes().all(|c| c.is_ascii_digit()) {
            port.parse().ok()?
        } else {
            return None;
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        (!host.is_empty()).then_some((host, port))
    }

    /// Of a Unix socket in the abstract namespace: its name, without the leading zero byte.
    #[must_use]
    pub fn abstract_name(&self) -> Option<String> {
        let rest = self.netloc.strip_prefix('@').filter(|_| self.scheme == Scheme::Ipc)?;
        Some(format!("{rest}{}", self.path))
    }

    /// Of a Unix socket in the file system: its path.
    #[must_use]
    pub fn socket_path(&self) -> Option<String> {
        (self.scheme == Scheme::Ipc && !self.netloc.starts_with('@')).then(|| format!("{}{}", self.netloc, self.path))
    }
}

/// The address with its parameters, secrets left out.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.endpoint())?;
        let server = self.server.map(|mechanism| mechanism.name().to_owned());
        let ipv6 = self.ipv6.map(|on| if on { "1" } else { "0" }.to_owned());
        let given = [
            ("serverkey", self.server_key.map(|key| key.to_string())),
            ("publickey", self.public_key.map(|key| key.to_string())),
            ("server", server),
            ("domain", self.domain.clone()),
            ("ipv6", ipv6),
            ("username", self.username.clone()),
        ];
        let mut mark = '?';
        for (name, value) in given.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            write!(f, "{mark}{name}={}", escape(&value))?;
            mark = '&';
        }
        match &self.identity {
            Some(identity) => write!(f, "#{identity}"),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Some(Self::Tcp),
            "ipc" => Some(Self::Ipc),
            "inproc" => Some(Self::Inproc),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Ipc => "ipc",
            Self::Inproc => "inproc",
        }
    }
}

impl Mechanism {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_uppercase().as_str() {
            "NULL" => Some(Self::Null),
            "PLAIN" => Some(Self::Plain),
            "CURVE" => Some(Self::Curve),
            _ => None,
        }
    }

    /// As ZAP and VOLTTRON write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Plain => "PLAIN",
            Self::Curve => "CURVE",
        }
    }
}

/// Name and value, decoded; those without a value are dropped. Of repetitions VOLTTRON takes the first one, so they come last first.
fn parameters(query: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (unescape(name), unescape(value)))
        .collect();
    found.reverse();
    found
}

/// `%41` is `A`, `+` is a space; what is not UTF-8 then becomes U+FFFD.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let escaped = match after {
            [high, low, after @ ..] if *byte == b'%' => hex_byte(*high, *low).map(|byte| (byte, after)),
            _ => None,
        };
        let plain = if *byte == b'+' { b' ' } else { *byte };
        let (byte, after) = escaped.unwrap_or((plain, after));
        out.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |character: u8| char::from(character).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'*' | b':' | b'/') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
