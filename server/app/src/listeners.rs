//! HTTPS (or HTTP) for everybody, and the local socket for the owner of the home.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use rustls::ServerConfig;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vt_config::WebAddress;

/// A client that does not finish its request headers in this time is cut off.
const HEADERS_LIMIT: Duration = Duration::from_secs(10);
/// How long open requests may take once the platform ends.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// A bound web listener that does not serve yet.
pub struct WebListener {
    socket: TcpListener,
    address: SocketAddr,
}

impl WebListener {
    /// Binds.
    ///
    /// # Errors
    /// With the address and what to do.
    pub fn bind(address: &WebAddress) -> anyhow::Result<Self> {
        let place = address.host_and_port();
        let socket = TcpListener::bind(&place).map_err(|error| {
            let advice = match error.kind() {
                ErrorKind::AddrInUse => "another program listens there; choose another bind-web-address",
                ErrorKind::PermissionDenied => "this user may not listen there; choose a port from 1024 upwards in bind-web-address",
                _ => "give an address of this machine in bind-web-address",
            };
            anyhow::Error::from(error).context(format!("{address} cannot be used: {advice}"))
        })?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// The port that was bound, also when the system chose it.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Serves until `stop` is cancelled, then ends open requests within a second.
    ///
    /// # Errors
    /// If the socket cannot be handed over.
    pub fn serve(self, tls: Option<Arc<ServerConfig>>, router: Router, stop: CancellationToken) -> anyhow::Result<JoinHandle<()>> {
        let handle = Handle::new();
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let stopping = handle.clone();
        let serving = match tls {
            Some(config) => {
                let mut server = axum_server::from_tcp_rustls(self.socket, RustlsConfig::from_config(config))?.handle(handle);
                limit(server.http_builder());
                tokio::spawn(async move { server.serve(service).await })
            }
            None => {
                let mut server = axum_server::from_tcp(self.socket)?.handle(handle);
                limit(server.http_builder());
                tokio::spawn(async move { server.serve(service).await })
            }
        };
        Ok(tokio::spawn(async move {
            let mut serving = serving;
            let ended = tokio::select! {
                () = stop.cancelled() => {
                    stopping.graceful_shutdown(Some(DRAIN_LIMIT));
                    serving.await
                }
                ended = &mut serving => ended,
            };
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "the web listener ended"),
                Err(error) => tracing::error!(%error, "the web listener failed"),
            }
        }))
    }
}

fn limit<E>(builder: &mut hyper_util::server::conn::auto::Builder<E>) {
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_LIMIT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(30))).max_concurrent_streams(256);
}

/// The local socket; its file is removed when this is dropped.
pub struct LocalSocket {
    path: PathBuf,
}

impl LocalSocket {
    /// Binds and serves until `stop` is cancelled. Only the user of this process, and root, get an answer.
    ///
    /// # Errors
    /// If the socket cannot be bound.
    pub fn serve(run_dir: &Path, router: Router, stop: CancellationToken) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let path = run_dir.join("control.sock");
        let failed = || format!("the local socket {} cannot be made; a path may have at most 107 bytes", path.display());
        // The home is locked by this process: a socket that is there belongs to nobody any more.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).with_context(failed),
            _ => {}
        }
        let listener = UnixListener::bind(&path).with_context(failed)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).with_context(failed)?;
        let task = tokio::spawn(async move {
            let served = axum::serve(OwnUser(listener), router).with_graceful_shutdown(stop.clone().cancelled_owned());
            // A command that waits long, or one that never ends its request, is cut off.
            let drained = async {
                stop.cancelled().await;
                tokio::time::sleep(DRAIN_LIMIT).await;
            };
            tokio::select! {
                ended = served.into_future() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the local socket ended");
                    }
                }
                () = drained => {}
            }
        });
        Ok((Self { path }, task))
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the local socket's file could not be removed");
        }
    }
}

/// Accepts connections of this process's user and of root alone. The mode of the socket says the same; this holds on systems that do not
/// look at it.
struct OwnUser(UnixListener);

impl axum::serve::Listener for OwnUser {
    type Io = UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
            let own = nix::unistd::geteuid().as_raw();
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == own || peer.uid() == 0 => return (stream, address),
                Ok(peer) => tracing::warn!(uid = peer.uid(), "another user tried the local socket and was refused"),
                Err(error) => tracing::warn!(%error, "a connection to the local socket did not tell its user and was refused"),
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}
