//! What a certificate says, for pages, logs and the decision whether it still serves. Does not decide about trust: only
//! [`CertificateFacts::was_issued_by`] looks at a signature. Key identifiers are ignored on purpose: VOLTTRON 6 writes authority key
//! identifiers that do not match its own CA.

use std::net::IpAddr;

use chrono::{DateTime, Duration};
use sha2::{Digest, Sha256};
use vt_types::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use crate::error::PkiError;

/// What a certificate may be used for, as its extensions say. The words are those of VOLTTRON's `cert show`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Issues others.
    Authority,
    /// Proves a client.
    Client,
    /// Belongs to one that issues nothing, and says no more.
    Leaf,
    /// Proves a server.
    Server,
    /// Says nothing.
    Unknown,
}

/// What a certificate says. Texts are as written by whoever issued it: escape them before showing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Subject, such as `CN=volttron1-root-ca`.
    pub subject: String,
    /// Common name of the subject.
    pub common_name: Option<String>,
    /// Issuer, such as `CN=volttron1-root-ca`.
    pub issuer: String,
    /// Common name of the issuer.
    pub issuer_common_name: Option<String>,
    /// Further parts of the subject: `C`, `ST`, `L`, `O` and `OU`, in the order of the certificate.
    pub subject_parts: Vec<(&'static str, String)>,
    /// What it may be used for.
    pub purpose: Purpose,
    /// Serial number, hexadecimal pairs joined by colons.
    pub serial: String,
    /// First moment of validity, UTC.
    pub not_before: Timestamp,
    /// Last moment of validity, UTC.
    pub not_after: Timestamp,
    /// Host names, in the order of the certificate.
    pub dns_names: Vec<String>,
    /// IP addresses, in the order of the certificate.
    pub ip_addresses: Vec<IpAddr>,
    /// Whether it may issue others.
    pub is_authority: bool,
    /// Kind of key: `ECDSA 256 bits`, `RSA 2048 bits`, or the algorithm's object identifier.
    pub key_kind: String,
    /// SHA-256 over the DER form, upper-case hexadecimal pairs joined by colons, as browsers and openssl show it.
    pub fingerprint_sha256: String,
    der: Vec<u8>,
}

impl CertificateFacts {
    /// Whether `at` lies within the validity, both ends included.
    #[must_use]
    pub fn is_valid_at(&self, at: Timestamp) -> bool {
        self.not_before <= at && at <= self.not_after
    }

    /// The moment from which the certificate should be replaced: when two thirds of its life are over.
    #[must_use]
    pub fn renewal_due(&self) -> Timestamp {
        self.not_before + (self.not_after - self.not_before) / 3 * 2
    }

    /// Whether `host` (a name or an IP address) is among the names. A name `*.example.org` covers one further label.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.ip_addresses.contains(&address);
        }
        let host = host.trim_end_matches('.');
        self.dns_names.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent)),
            None => name.eq_ignore_ascii_case(host),
        })
    }

    /// The serial number as a decimal number; `None` for one of more than 16 bytes.
    #[must_use]
    pub fn serial_number(&self) -> Option<u128> {
        let digits: String = self.serial.split(':').collect();
        u128::from_str_radix(&digits, 16).ok()
    }

    /// Whether `authority` may issue, bears the name that this certificate gives as issuer, and signed it.
    #[must_use]
    pub fn was_issued_by(&self, authority: &Self) -> bool {
        let (Ok((_, own)), Ok((_, other))) = (X509Certificate::from_der(&self.der), X509Certificate::from_der(&authority.der)) else {
            return false;
        };
        authority.is_authority
            && own.issuer().as_raw() == other.subject().as_raw()
            && own.verify_signature(Some(other.public_key())).is_ok()
    }
}

/// Reads the first certificate in `pem`; other blocks are skipped.
///
/// # Errors
/// [`PkiError::NoCertificate`], [`PkiError::Pem`] or [`PkiError::Certificate`].
pub fn read_certificate(pem: &str) -> Result<CertificateFacts, PkiError> {
    first_certificate(pem).map(|(_, facts)| facts)
}

/// Reads every certificate in `pem`, such as a chain or a bundle, in order; at least one.
///
/// # Errors
/// As [`read_certificate`].
pub fn read_certificates(pem: &str) -> Result<Vec<CertificateFacts>, PkiError> {
    let facts = blocks(pem).map(|der| read_der(&der?)).collect::<Result<Vec<_>, _>>()?;
    if facts.is_empty() { Err(PkiError::NoCertificate) } else { Ok(facts) }
}

pub(crate) fn first_certificate(pem: &str) -> Result<(Vec<u8>, CertificateFacts), PkiError> {
    let der = blocks(pem).next().ok_or(PkiError::NoCertificate)??;
    let facts = read_der(&der)?;
    Ok((der, facts))
}

/// The bits of the subject's public key.
pub(crate) fn public_key(der: &[u8]) -> Result<Vec<u8>, PkiError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| PkiError::Certificate(error.to_string()))?;
    Ok(certificate.public_key().subject_public_key.data.to_vec())
}

pub(crate) fn blocks(pem: &str) -> impl Iterator<Item = Result<Vec<u8>, PkiError>> + '_ {
    Pem::iter_from_buffer(pem.as_bytes()).filter_map(|block| match block {
        Ok(block) => {
            matches!(block.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE").then_some(Ok(block.contents))
        }
        Err(error) => Some(Err(PkiError::Pem(error.to_string()))),
    })
}

fn read_der(der: &[u8]) -> Result<CertificateFacts, PkiError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| PkiError::Certificate(error.to_string()))?;
    let (dns_names, ip_addresses) = alternative_names(&certificate);
    let fingerprint = Sha256::digest(der);
    Ok(CertificateFacts {
        subject: certificate.subject().to_string(),
        common_name: common_name(certificate.subject()),
        issuer: certificate.issuer().to_string(),
        issuer_common_name: common_name(certificate.issuer()),
        subject_parts: subject_parts(certificate.subject()),
        purpose: purpose(&certificate),
        serial: certificate.raw_serial_as_string(),
        not_before: time(certificate.validity().not_before)?,
        not_after: time(certificate.validity().not_after)?,
        dns_names,
        ip_addresses,
        is_authority: certificate.is_ca(),
        key_kind: key_kind(&certificate),
        fingerprint_sha256: fingerprint.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":"),
        der: der.to_vec(),
    })
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    name.iter_common_name().next().and_then(|part| part.as_str().ok()).map(str::to_owned)
}

fn subject_parts(name: &X509Name<'_>) -> Vec<(&'static str, String)> {
    let parts = name.iter_attributes().filter_map(|part| {
        let key = match part.attr_type().to_id_string().as_str() {
            "2.5.4.6" => "C",
            "2.5.4.8" => "ST",
            "2.5.4.7" => "L",
            "2.5.4.10" => "O",
            "2.5.4.11" => "OU",
            _ => return None,
        };
        Some((key, part.as_str().ok()?.to_owned()))
    });
    parts.collect()
}

fn purpose(certificate: &X509Certificate<'_>) -> Purpose {
    let Ok(Some(basic)) = certificate.basic_constraints() else { return Purpose::Unknown };
    if basic.value.ca {
        return Purpose::Authority;
    }
    match certificate.extended_key_usage() {
        Ok(Some(usage)) if usage.value.server_auth => Purpose::Server,
        Ok(Some(usage)) if usage.value.client_auth => Purpose::Client,
        _ => Purpose::Leaf,
    }
}

fn alternative_names(certificate: &X509Certificate<'_>) -> (Vec<String>, Vec<IpAddr>) {
    let mut dns_names = Vec::new();
    let mut addresses = Vec::new();
    let extension = certificate.subject_alternative_name().ok().flatten();
    for name in extension.map(|found| found.value.general_names.as_slice()).unwrap_or_default() {
        match name {
            GeneralName::DNSName(text) => dns_names.push((*text).to_owned()),
            GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
            _ => {}
        }
    }
    (dns_names, addresses)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn key_kind(certificate: &X509Certificate<'_>) -> String {
    match certificate.public_key().parsed() {
        Ok(PublicKey::EC(point)) => format!("ECDSA {} bits", point.key_size()),
        Ok(PublicKey::RSA(key)) => format!("RSA {} bits", key.key_size()),
        _ => match certificate.public_key().algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => "Ed25519".to_owned(),
            other => other.to_owned(),
        },
    }
}

fn time(time: ASN1Time) -> Result<Timestamp, PkiError> {
    DateTime::from_timestamp(time.timestamp(), 0)
        .ok_or_else(|| PkiError::Certificate("its validity lies outside of any calendar".to_owned()))
}

/// The longest back-dating that keeps a fresh certificate valid on machines whose clock is behind.
pub(crate) const BACK_DATED: Duration = Duration::minutes(10);
