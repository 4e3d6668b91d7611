//! Finds a platform by its web address: one `GET /discovery/`, over which two platforms that are being set up learn each other's VIP address
//! and key. The certificate is not verified, as in VOLTTRON: each platform has an authority of its own that nobody else knows yet. What is
//! learned is remembered, so that another key later is noticed. Source: vip-zmq.md §9.1, VOLTTRON `volttron/platform/web/discovery.py`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use vt_backends::{Discovery, DiscoveryError, Platform};
use vt_types::PublicKey;

/// How long a platform may take to answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Largest answer, bytes. On RabbitMQ it holds a certificate.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Asks over http and https.
pub struct WebDiscovery {
    tls: TlsConnector,
}

impl WebDiscovery {
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new() -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let config = config.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))).with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    async fn ask(&self, place: &Place) -> Result<Bytes, DiscoveryError> {
        let stream = TcpStream::connect((place.host.as_str(), place.port)).await.map_err(unreachable)?;
        if !place.is_tls {
            return exchange(stream, place).await;
        }
        let name = ServerName::try_from(place.host.clone()).map_err(unreachable)?;
        exchange(self.tls.connect(name, stream).await.map_err(unreachable)?, place).await
    }
}

#[async_trait]
impl Discovery for WebDiscovery {
    async fn discover(&self, web_address: &str) -> Result<Platform, DiscoveryError> {
        let place = Place::parse(web_address).ok_or_else(|| DiscoveryError::Address(web_address.to_owned()))?;
        let answer = tokio::time::timeout(LIMIT, self.ask(&place)).await.map_err(|_| DiscoveryError::Timeout(LIMIT.as_secs()))?;
        read(&answer?, &place.host)
    }
}

/// A web address, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    is_tls: bool,
    /// Without brackets.
    host: String,
    port: u16,
    /// As it was written.
    authority: String,
}

impl Place {
    /// Scheme, host and port; nothing behind them but a slash.
    fn parse(web_address: &str) -> Option<Self> {
        let uri: Uri = web_address.trim().parse().ok()?;
        let is_tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return None;
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        (!host.is_empty() && port != 0).then(|| Self { is_tls, host, port, authority: authority.to_string() })
    }
}

fn unreachable(error: impl std::fmt::Display) -> DiscoveryError {
    DiscoveryError::Unreachable(error.to_string())
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, place: &Place) -> Result<Bytes, DiscoveryError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    let request = Request::get("/discovery/").header(header::HOST, &place.authority).header(header::ACCEPT, "application/json");
    let request = request.body(Empty::<Bytes>::new()).map_err(unreachable)?;
    // The connection ends when its sender is dropped with the answer.
    let answer = async move { body(sender.send_request(request).await.map_err(unreachable)?).await };
    let (answer, _ended) = tokio::join!(answer, connection);
    answer
}

async fn body(response: Response<Incoming>) -> Result<Bytes, DiscoveryError> {
    if response.status() != StatusCode::OK {
        return Err(DiscoveryError::Status(response.status().as_u16()));
    }
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| DiscoveryError::Answer(error.to_string()))
}

/// Reads an answer. A platform that listens everywhere is reached where it was asked.
fn read(answer: &[u8], asked: &str) -> Result<Platform, DiscoveryError> {
    let wrong = |problem: &str| DiscoveryError::Answer(problem.to_owned());
    let told: Value = serde_json::from_slice(answer).map_err(|error| wrong(&format!("it is not JSON: {error}")))?;
    let text = |name: &str| told.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let name = text("instance-name").ok_or_else(|| wrong("instance-name is missing"))?.to_owned();
    let (Some(address), Some(key)) = (text("vip-address"), text("serverkey")) else { return Err(DiscoveryError::NoVipAddress(name)) };
    let server_key = PublicKey::parse(key).map_err(|error| wrong(&format!("serverkey: {error}")))?;
    let parsed = vt_vip::Address::parse(address).map_err(|error| wrong(&format!("vip-address: {error}")))?;
    let everywhere = parsed.host_port().filter(|(host, _)| matches!(*host, "0.0.0.0" | "::" | "*"));
    let host = if asked.contains(':') { format!("[{asked}]") } else { asked.to_owned() };
    let address = everywhere.map_or_else(|| address.to_owned(), |(_, port)| format!("tcp://{host}:{port}"));
    Ok(Platform { name, address, server_key })
}

/// Takes every certificate, from whoever holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM";

    #[test]
    fn web_addresses_have_a_scheme_a_host_and_nothing_behind_the_port() {
        let place = Place::parse("https://[::1]:8443/").unwrap();
        assert_eq!((place.is_tls, place.host.as_str(), place.port, place.authority.as_str()), (true, "::1", 8443, "[::1]:8443"));
        let place = Place::parse(" http://other ").unwrap();
        assert_eq!((place.is_tls, place.host.as_str(), place.port), (false, "other", 80));
        for wrong in
            ["", "other:8443", "ftp://other", "https://", "https://a/b", "https://a/?q", "https://me@a", "https://a:0", "https://a b"]
        {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn answers_tell_a_platform_or_what_is_missing() {
        let answer = |address: &str| format!(r#"{{"serverkey":"{KEY}","vip-address":"{address}","instance-name":"p2","rmq-ca-cert":"x"}}"#);
        let platform = read(answer("tcp://10.0.0.7:22916").as_bytes(), "other").unwrap();
        assert_eq!((platform.name.as_str(), platform.address.as_str()), ("p2", "tcp://10.0.0.7:22916"));
        assert_eq!(read(answer("tcp://0.0.0.0:22916").as_bytes(), "other").unwrap().address, "tcp://other:22916");
        assert_eq!(read(answer("tcp://[::]:22916").as_bytes(), "::1").unwrap().address, "tcp://[::1]:22916");
        assert_eq!(read(br#"{"instance-name":"p2"}"#, "o"), Err(DiscoveryError::NoVipAddress("p2".to_owned())));
        for wrong in ["", "[]", "{}", r#"{"instance-name":"p","serverkey":"short","vip-address":"tcp://a:1"}"#] {
            assert!(matches!(read(wrong.as_bytes(), "o"), Err(DiscoveryError::Answer(_))), "{wrong}");
        }
    }
}
