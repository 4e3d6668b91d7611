//! Where to listen, and where to connect: VIP addresses as sockets.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use vt_vip::Address;
use vt_vip::address::Scheme;

/// Interval, idle time and count of VOLTTRON's sockets: a dead TCP peer is noticed after about five minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(180);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_COUNT: u32 = 6;
/// How long what we sent over a connection that we made may stay unacknowledged. The system itself waits a quarter of an hour before it
/// gives a connection up over a line that was cut.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// Where the router listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// `host:port`; `*` or `0.0.0.0` for every address, port 0 for a free one.
    Tcp(String),
    /// A name in the abstract namespace.
    Abstract(String),
    /// A path in the file system.
    Path(PathBuf),
}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It does not have the form of an address.
    #[error("{address}: {source}")]
    Form {
        /// As given, without keys.
        address: String,
        /// What is wrong.
        #[source]
        source: vt_vip::AddressError,
    },
    /// The scheme is not for sockets.
    #[error("{0} cannot be reached from another process; use tcp://host:port or ipc://")]
    Scheme(String),
    /// The system refused.
    #[error("{address}: {source}")]
    System {
        /// As given, without keys.
        address: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl Listen {
    /// Reads a VIP address such as `tcp://127.0.0.1:22916` or `ipc://@/home/run/vip.socket`.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let bare = || text.split(['?', '#']).next().unwrap_or_default().to_owned();
        let address = Address::parse(text).map_err(|source| AddressError::Form { address: bare(), source })?;
        Self::of(&address).ok_or_else(|| AddressError::Scheme(bare()))
    }

    pub(crate) fn of(address: &Address) -> Option<Self> {
        match address.scheme {
            Scheme::Tcp => {
                let (host, port) = address.host_port()?;
                let host = if host == "*" { "0.0.0.0" } else { host };
                Some(Self::Tcp(if host.contains(':') {
                    format!("[{}]:{port}", host.trim_matches(['[', ']']))
                } else {
                    format!("{host}:{port}")
                }))
            }
            Scheme::Ipc => match address.abstract_name() {
                Some(name) => Some(Self::Abstract(name)),
                None => address.socket_path().map(|path| Self::Path(PathBuf::from(path))),
            },
            Scheme::Inproc => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Tcp(place) => format!("tcp://{place}"),
            Self::Abstract(name) => format!("ipc://@{name}"),
            Self::Path(path) => format!("ipc://{}", path.display()),
        }
    }

    /// Binds; also says under which address peers reach it, with the port that was given.
    pub(crate) fn bind(&self) -> Result<(Listener, String), AddressError> {
        let system = |source| AddressError::System { address: self.text(), source };
        match self {
            Self::Tcp(place) => {
                let address = place.to_socket_addrs().and_then(first).map_err(system)?;
                let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None).map_err(system)?;
                let bound = socket
                    .set_reuse_address(true)
                    .and_then(|()| socket.set_nonblocking(true))
                    .and_then(|()| socket.bind(&address.into()))
                    .and_then(|()| socket.listen(1024))
                    .and_then(|()| TcpListener::from_std(socket.into()))
                    .map_err(system)?;
                let local = bound.local_addr().map_err(system)?;
                Ok((Listener::Tcp(bound), format!("tcp://{local}")))
            }
            Self::Abstract(name) => {
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name.as_bytes()).map_err(system)?;
                let listener = std::os::unix::net::UnixListener::bind_addr(&address).map_err(system)?;
                listener.set_nonblocking(true).map_err(system)?;
                Ok((Listener::Unix(UnixListener::from_std(listener).map_err(system)?), self.text()))
            }
            Self::Path(path) => {
                // A socket that a killed server left behind; a live one would have been noticed by the lock on the home.
                match std::fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(system(error)),
                    _ => {}
                }
                let listener = UnixListener::bind(path).map_err(system)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o770)).map_err(system)?;
                Ok((Listener::Unix(listener), self.text()))
            }
        }
    }

    /// Connects, looking a host name up anew each time.
    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(place) => {
                let stream = TcpStream::connect(place.as_str()).await?;
                settle(&stream)?;
                SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
                Ok(Stream::Tcp(stream))
            }
            Self::Abstract(name) => {
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name.as_bytes())?;
                let stream = std::os::unix::net::UnixStream::connect_addr(&address)?;
                stream.set_nonblocking(true)?;
                Ok(Stream::Unix(UnixStream::from_std(stream)?))
            }
            Self::Path(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
        }
    }
}

pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// The next connection and where it comes from: an IP address, or `localhost:<uid>:<gid>:<pid>`.
    pub async fn accept(&self) -> io::Result<(Stream, String)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                settle(&stream)?;
                Ok((Stream::Tcp(stream), from.ip().to_canonical().to_string()))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let by = stream.peer_cred()?;
                let from = format!("localhost:{}:{}:{}", by.uid(), by.gid(), by.pid().unwrap_or_default());
                Ok((Stream::Unix(stream), from))
            }
        }
    }
}

fn settle(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_COUNT);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn first(mut addresses: std::vec::IntoIter<SocketAddr>) -> io::Result<SocketAddr> {
    addresses.next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_places() {
        let listen = |text: &str| Listen::parse(text).map_err(|error| error.to_string());
        assert_eq!(listen("tcp://127.0.0.1:22916"), Ok(Listen::Tcp("127.0.0.1:22916".into())));
        assert_eq!(listen("tcp://*:22916"), Ok(Listen::Tcp("0.0.0.0:22916".into())));
        assert_eq!(listen("tcp://[::1]:22916"), Ok(Listen::Tcp("[::1]:22916".into())));
        assert_eq!(listen("ipc://@/h/run/vip.socket"), Ok(Listen::Abstract("/h/run/vip.socket".into())));
        assert_eq!(listen("ipc:///h/run/vip.socket"), Ok(Listen::Path("/h/run/vip.socket".into())));
        assert!(listen("inproc://vip").unwrap_err().contains("cannot be reached"));
        assert!(listen("tcp://host").is_err());
    }

    #[tokio::test]
    async fn a_free_port_is_told_and_local_peers_are_known_by_their_user() {
        let (_, address) = Listen::Tcp("127.0.0.1:0".into()).bind().unwrap();
        assert!(address.starts_with("tcp://127.0.0.1:") && !address.ends_with(":0"));
        let place = Listen::Abstract(format!("/vt-test-{}", std::process::id()));
        let (listener, _) = place.bind().unwrap();
        let (connected, accepted) = tokio::join!(place.connect(), listener.accept());
        connected.unwrap();
        assert!(accepted.unwrap().1.starts_with("localhost:"));
    }
}
