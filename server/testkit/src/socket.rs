//! Websockets to one server: opened with the platform's CA and a token, read with a deadline.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

/// An open websocket.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// The TLS settings of a client that trusts the CAs of a PEM text alone.
#[must_use]
pub fn tls(ca_pem: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem) {
        roots.add(certificate.expect("the CA file holds PEM certificates")).expect("a CA that can be trusted");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("ring has the usual versions");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

impl Socket {
    /// Opens `wss://...` for an `https://...` address, with headers.
    ///
    /// # Errors
    /// The status with which the server refused.
    pub async fn open(tls: &Arc<ClientConfig>, url: &str, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let mut request = url.replacen("http", "ws", 1).into_client_request().expect("an address");
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).expect("a header's value"));
        }
        match connect_async_tls_with_config(request, None, true, Some(Connector::Rustls(Arc::clone(tls)))).await {
            Ok((stream, _)) => Ok(Self { stream }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("no answer to the upgrade: {error}"),
        }
    }

    /// Sends one JSON text frame.
    pub async fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string()).await;
    }

    /// Sends one text frame as it is.
    pub async fn send_text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.expect("the socket is open");
    }

    /// The next text frame as JSON; `None` when the server closed.
    pub async fn next(&mut self, deadline: Duration) -> Option<Value> {
        let text = self.next_text(deadline).await?;
        Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}")))
    }

    /// The next text frame; `None` when the server closed.
    pub async fn next_text(&mut self, deadline: Duration) -> Option<String> {
        let read = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => return Some(text.as_str().to_owned()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            }
        };
        tokio::time::timeout(deadline, read).await.unwrap_or_else(|_| panic!("no frame within {deadline:?}"))
    }

    /// Reads until a frame fits, and gives it; panics at the deadline or when the server closes first.
    pub async fn next_where(&mut self, what: &str, deadline: Duration, fits: impl Fn(&Value) -> bool) -> Value {
        let read = async {
            loop {
                let frame = self.next(deadline).await.unwrap_or_else(|| panic!("closed before: {what}"));
                if fits(&frame) {
                    return frame;
                }
            }
        };
        tokio::time::timeout(deadline, read).await.unwrap_or_else(|_| panic!("not within {deadline:?}: {what}"))
    }
}
