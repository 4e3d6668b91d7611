//! The platform's own root CA, and what it issues: the certificate that its web listener shows, and those that people ask for. Keys are ECDSA P-256; serial numbers are 16 random
//! bytes; a certificate begins ten minutes before the moment given, because clocks of browsers and buildings differ.
//! Source: RFC 5280; certificate names as in VOLTTRON `certs.py` (`<instance>-root-ca`, `<instance>.platform_web-server`).

use std::net::IpAddr;

use chrono::Duration;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber, date_time_ymd,
};
use vt_types::Timestamp;

use crate::error::PkiError;
use crate::facts::{self, BACK_DATED, CertificateFacts};
use crate::key::{KeyPem, check_key_matches, read_pair};

/// Life of a root CA, in days (ten years).
pub const ROOT_DAYS: i64 = 3650;
/// Life of a server certificate, in days; browsers accept at most 398.
pub const SERVER_DAYS: i64 = 365;

/// Longest common name, in characters (RFC 5280, ub-common-name).
const COMMON_NAME_CHARS_MAX: usize = 64;
/// Longest host name, in bytes (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

/// What a certificate is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// Issues leaves, but no further authorities.
    Authority,
    /// Proves a client: an agent, a link, an administrator.
    Client,
    /// Proves a server under these names and addresses.
    Server(Vec<String>),
}

/// Common name of an instance's root CA: `<instance>-root-ca`; also the stem of its file names.
#[must_use]
pub fn root_ca_name(instance: &str) -> String {
    format!("{instance}-root-ca")
}

/// Common name of the web listener's certificate: `<instance>.platform_web-server`; also the stem of its file names.
#[must_use]
pub fn web_server_name(instance: &str) -> String {
    format!("{instance}.platform_web-server")
}

/// Common name of an agent's certificate: `<instance>.<identity>`; also the stem of its file names.
#[must_use]
pub fn agent_name(instance: &str, identity: &str) -> String {
    format!("{instance}.{identity}")
}

/// A certificate with its key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate alone, PEM.
    pub certificate_pem: String,
    /// Its key.
    pub key: KeyPem,
}

/// A certificate authority whose key is at hand.
#[derive(Debug, Clone)]
pub struct Authority {
    certificate_pem: String,
    key: KeyPem,
    facts: CertificateFacts,
}

impl Authority {
    /// Makes a new self-signed root CA for `instance`: ten years, one intermediate level allowed.
    ///
    /// # Errors
    /// [`PkiError::CommonNameTooLong`], [`PkiError::Time`] or [`PkiError::Generate`].
    pub fn generate(instance: &str, now: Timestamp) -> Result<Self, PkiError> {
        let pair = KeyPair::generate()?;
        let mut params = params(&root_ca_name(instance), now, now + Duration::days(ROOT_DAYS))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&pair)?.pem();
        let facts = facts::read_certificate(&certificate_pem)?;
        Ok(Self { certificate_pem, key: KeyPem::from_pair(&pair), facts })
    }

    /// Takes up an existing CA, such as the files of a home.
    ///
    /// # Errors
    /// What is wrong with either text; [`PkiError::NotAuthority`]; [`PkiError::KeyMismatch`].
    pub fn load(certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let facts = facts::read_certificate(certificate_pem)?;
        if !facts.is_authority {
            return Err(PkiError::NotAuthority { subject: facts.subject });
        }
        let key = KeyPem::read(key_pem)?;
        check_key_matches(certificate_pem, &key)?;
        Ok(Self { certificate_pem: certificate_pem.to_owned(), key, facts })
    }

    /// The CA certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The CA's key.
    #[must_use]
    pub fn key(&self) -> &KeyPem {
        &self.key
    }

    /// What the CA certificate says.
    #[must_use]
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// Issues the web listener's certificate for `hosts` (host names and IP addresses, at least one; repetitions are dropped).
    /// It lasts [`SERVER_DAYS`], or as long as the CA when that ends earlier.
    ///
    /// # Errors
    /// [`PkiError::HostName`] names the first bad host; [`PkiError::AuthorityExpired`]; otherwise as [`Authority::generate`].
    pub fn issue_web_server(&self, instance: &str, hosts: &[String], now: Timestamp) -> Result<Issued, PkiError> {
        self.issue(&web_server_name(instance), &Profile::Server(hosts.to_vec()), SERVER_DAYS, now)
    }

    /// Issues a certificate of this name. It lasts `days`, or as long as the CA when that ends earlier; the other parts of its subject are the
    /// CA's own.
    ///
    /// # Errors
    /// As [`Authority::issue_web_server`]; [`PkiError::Time`] for a life without an end.
    pub fn issue(&self, common_name: &str, profile: &Profile, days: i64, now: Timestamp) -> Result<Issued, PkiError> {
        if !self.facts.is_valid_at(now) {
            let CertificateFacts { subject, not_before, not_after, .. } = self.facts.clone();
            return Err(PkiError::AuthorityExpired { subject, not_before, not_after });
        }
        let pair = KeyPair::generate()?;
        let wanted = Duration::try_days(days).and_then(|life| now.checked_add_signed(life)).ok_or(PkiError::Time(now))?;
        let mut params = params(common_name, now, wanted.min(self.facts.not_after))?;
        let common = std::mem::take(&mut params.distinguished_name);
        for (key, value) in &self.facts.subject_parts {
            params.distinguished_name.push(dn_type(key), value.as_str());
        }
        common.iter().for_each(|(kind, value)| params.distinguished_name.push(kind.clone(), value.clone()));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        match profile {
            Profile::Authority => {
                params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
                params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            }
            Profile::Client => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            Profile::Server(hosts) => {
                params.subject_alt_names = alternative_names(hosts)?;
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }
        }
        if *profile != Profile::Authority {
            params.is_ca = IsCa::ExplicitNoCa;
        }
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_ca_cert_pem(&self.certificate_pem, read_pair(self.key.as_str())?)?;
        let certificate_pem = params.signed_by(&pair, &issuer)?.pem();
        Ok(Issued { certificate_pem, key: KeyPem::from_pair(&pair) })
    }
}

fn params(common_name: &str, now: Timestamp, end: Timestamp) -> Result<CertificateParams, PkiError> {
    if common_name.chars().count() > COMMON_NAME_CHARS_MAX {
        return Err(PkiError::CommonNameTooLong { name: common_name.chars().take(2 * COMMON_NAME_CHARS_MAX).collect() });
    }
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(now - BACK_DATED)?;
    params.not_after = epoch + since_epoch(end)?;
    params.serial_number = Some(random_serial());
    Ok(params)
}

fn dn_type(key: &str) -> DnType {
    match key {
        "C" => DnType::CountryName,
        "ST" => DnType::StateOrProvinceName,
        "L" => DnType::LocalityName,
        "O" => DnType::OrganizationName,
        _ => DnType::OrganizationalUnitName,
    }
}

/// 31 December 9999, the last day that X.509 can express, leaves room for ten years more than any sensible clock shows.
const SECONDS_MAX: u64 = 253_402_300_799;

fn since_epoch(time: Timestamp) -> Result<std::time::Duration, PkiError> {
    match u64::try_from(time.timestamp()) {
        Ok(seconds) if seconds <= SECONDS_MAX => Ok(std::time::Duration::from_secs(seconds)),
        _ => Err(PkiError::Time(time)),
    }
}

/// Positive and exactly 16 bytes: the first bit clear, the second set.
fn random_serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn alternative_names(hosts: &[String]) -> Result<Vec<SanType>, PkiError> {
    let mut names = Vec::new();
    for host in hosts {
        let name = alternative_name(host)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { Err(PkiError::NoHostName) } else { Ok(names) }
}

fn alternative_name(host: &str) -> Result<SanType, PkiError> {
    let bad = || PkiError::HostName(host.chars().take(HOST_BYTES_MAX).collect());
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        inner && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() > HOST_BYTES_MAX || !name.strip_prefix("*.").unwrap_or(&name).split('.').all(label) {
        return Err(bad());
    }
    name.try_into().map(SanType::DnsName).map_err(|_| bad())
}

#[cfg(test)]
mod tests;
