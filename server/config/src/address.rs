//! Addresses in settings: where pages are served, where peers connect. Parsed here once, into values that cannot be wrong.
//! Source: RFC 3986 section 3.2; VOLTTRON `volttron/platform/vip/socket.py` (`Address`).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::error::excerpt;

/// Why a text is no address; each text says how to write it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No `http://` or `https://` in front.
    #[error("{given} has no scheme; write https://{rest}")]
    NoScheme {
        /// What was given, cut.
        given: String,
        /// The same for advice.
        rest: String,
    },
    /// A scheme that is not served.
    #[error("{given} must start with {allowed}")]
    Scheme {
        /// What was given, cut.
        given: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// No host, or one with characters that no host has.
    #[error("{given} has no valid host name or IP address; write for example {example}")]
    Host {
        /// What was given, cut.
        given: String,
        /// A good one.
        example: &'static str,
    },
    /// The port is no number of 0 to 65535, or missing where it is needed.
    #[error("{given} has no valid port; write for example {example}")]
    Port {
        /// What was given, cut.
        given: String,
        /// A good one.
        example: &'static str,
    },
    /// User, path, query or fragment.
    #[error("{given} has something besides scheme, host and port; write for example {example}")]
    Extra {
        /// What was given, cut.
        given: String,
        /// A good one.
        example: &'static str,
    },
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// `http`, `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Where pages and API are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebAddress {
    /// With or without TLS.
    pub scheme: Scheme,
    /// Host name or IP address; IPv6 without brackets.
    pub host: String,
    /// Port; 0 lets the system choose.
    pub port: u16,
}

const WEB_EXAMPLE: &str = "https://127.0.0.1:8443";

impl WebAddress {
    /// Parses `http://host[:port]` or `https://host[:port]`; without a port it is 80 or 443.
    ///
    /// # Errors
    /// [`AddressError`] with advice.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let given = excerpt(text);
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some(_) => return Err(AddressError::Scheme { given, allowed: "http:// or https://" }),
            None => return Err(AddressError::NoScheme { given, rest: text.chars().take(60).filter(|c| !c.is_control()).collect() }),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = host_and_port(rest, &given, WEB_EXAMPLE)?;
        let standard = if scheme == Scheme::Https { 443 } else { 80 };
        Ok(Self { scheme, host, port: port.unwrap_or(standard) })
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Whether it stands for every address of the machine (`0.0.0.0`, `::`).
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
    }

    /// `host:port` for binding, IPv6 in brackets.
    #[must_use]
    pub fn host_and_port(&self) -> String {
        if self.host.parse::<Ipv6Addr>().is_ok() {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host_and_port())
    }
}

/// Where peers over ZeroMQ connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VipAddress {
    /// `tcp://host:port`.
    Tcp {
        /// Host name, IP address or `*`; IPv6 without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// `ipc://path`; a path that starts with `@` is an abstract socket.
    Ipc(String),
}

const VIP_EXAMPLE: &str = "tcp://127.0.0.1:22916";

/// Longest path of a Unix socket, in bytes.
const IPC_BYTES_MAX: usize = 107;

impl VipAddress {
    /// Parses `tcp://host:port` or `ipc://path`; parameters after `?` (VOLTTRON's keys) are dropped.
    ///
    /// # Errors
    /// [`AddressError`] with advice.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let given = excerpt(text);
        let plain = text.split('?').next().unwrap_or(text);
        if let Some(path) = plain.strip_prefix("ipc://") {
            let valid = !path.is_empty() && path.len() <= IPC_BYTES_MAX && !path.chars().any(char::is_control);
            return if valid {
                Ok(Self::Ipc(path.to_owned()))
            } else {
                Err(AddressError::Host { given, example: "ipc:///run/volttron/vip.socket" })
            };
        }
        let Some(rest) = plain.strip_prefix("tcp://") else {
            return Err(AddressError::Scheme { given, allowed: "tcp:// or ipc://" });
        };
        if let Some(port) = rest.strip_prefix("*:") {
            let port = port.parse().map_err(|_| AddressError::Port { given, example: VIP_EXAMPLE })?;
            return Ok(Self::Tcp { host: "*".to_owned(), port });
        }
        match host_and_port(rest, &given, VIP_EXAMPLE)? {
            (host, Some(port)) => Ok(Self::Tcp { host, port }),
            (_, None) => Err(AddressError::Port { given, example: VIP_EXAMPLE }),
        }
    }
}

impl fmt::Display for VipAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Ipc(path) => write!(f, "ipc://{path}"),
        }
    }
}

/// Checks a URL of another server: one of `schemes`, then a host and perhaps a port; a path is allowed. The text is kept as it is.
pub(crate) fn check_remote(text: &str, schemes: &[&str], allowed: &'static str) -> Result<(), AddressError> {
    let given = excerpt(text);
    let found = text.split_once("://").filter(|(scheme, _)| schemes.contains(scheme));
    let Some((_, rest)) = found else {
        return Err(AddressError::Scheme { given, allowed });
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    host_and_port(authority, &given, "https://central.example.org:8443").map(|_| ())
}

fn host_and_port(rest: &str, given: &str, example: &'static str) -> Result<(String, Option<u16>), AddressError> {
    let given = || given.to_owned();
    if rest.contains(['/', '?', '#', '@']) {
        return Err(AddressError::Extra { given: given(), example });
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) = bracketed.split_once(']').ok_or_else(|| AddressError::Host { given: given(), example })?;
            host.parse::<Ipv6Addr>().map_err(|_| AddressError::Host { given: given(), example })?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(AddressError::Port { given: given(), example }),
            }
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let name = |host: &str| {
        !host.is_empty() && host.len() <= 253 && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    if !name(host) && host.parse::<Ipv6Addr>().is_err() {
        return Err(AddressError::Host { given: given(), example });
    }
    // `parse` of an integer also takes a leading plus sign.
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match port {
        None => Ok((host.to_owned(), None)),
        Some(text) if digits(text) => {
            let port = text.parse().map_err(|_| AddressError::Port { given: given(), example })?;
            Ok((host.to_owned(), Some(port)))
        }
        Some(_) => Err(AddressError::Port { given: given(), example }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_addresses_are_read_and_written() {
        for (text, shown) in [
            ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
            ("http://0.0.0.0:8080/", "http://0.0.0.0:8080"),
            ("HTTPS://bldg8.example.org", "https://bldg8.example.org:443"),
            ("http://localhost:0", "http://localhost:0"),
            ("https://[::1]:8443", "https://[::1]:8443"),
        ] {
            assert_eq!(WebAddress::parse(text).unwrap().to_string(), shown);
        }
        assert!(WebAddress::parse("https://[::1]").unwrap().is_loopback());
        assert!(WebAddress::parse("https://0.0.0.0").unwrap().is_unspecified());
    }

    #[test]
    fn wrong_web_addresses_come_with_advice() {
        for (text, advice) in [
            ("127.0.0.1:8443", "write https://127.0.0.1:8443"),
            ("", "no scheme"),
            ("ftp://x", "must start with http:// or https://"),
            ("https://", "host name"),
            ("https://:8443", "host name"),
            ("https://x:99999", "port"),
            ("https://x:+80", "port"),
            ("https://x:", "port"),
            ("https://x:8443/path", "besides"),
            ("https://a:b@x:1", "besides"),
            ("https://[::1", "host name"),
            ("https://[x]:1", "host name"),
            ("https://[::1]1", "port"),
            ("https://<img onerror=1>:1", "host name"),
            ("https://a\u{202e}b:1", "host name"),
        ] {
            let error = WebAddress::parse(text).unwrap_err().to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
        let long = format!("https://{}", "x".repeat(65_536));
        assert!(WebAddress::parse(&long).unwrap_err().to_string().len() < 250);
    }

    #[test]
    fn vip_addresses_are_read() {
        assert_eq!(VipAddress::parse("tcp://127.0.0.1:22916").unwrap().to_string(), "tcp://127.0.0.1:22916");
        assert_eq!(VipAddress::parse("tcp://*:22916").unwrap().to_string(), "tcp://*:22916");
        assert_eq!(VipAddress::parse("tcp://[::1]:22916?serverkey=x").unwrap().to_string(), "tcp://[::1]:22916");
        assert_eq!(VipAddress::parse("ipc://@/home/run/vip.socket").unwrap(), VipAddress::Ipc("@/home/run/vip.socket".to_owned()));
        for bad in ["tcp://127.0.0.1", "127.0.0.1:22916", "udp://x:1", "ipc://", "tcp://:1", "tcp://*:x", "ipc://a\0b"] {
            assert!(VipAddress::parse(bad).is_err(), "{bad}");
        }
    }
}
