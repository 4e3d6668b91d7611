//! The chain is judged by rustls, not by our own reading.

use std::sync::Arc;

use chrono::{DateTime, Duration};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use vt_types::Timestamp;

use super::*;
use crate::facts::Purpose;
use crate::{read_certificate, read_certificates};

fn now() -> Timestamp {
    DateTime::from_timestamp(1_795_500_000, 0).unwrap()
}

fn hosts() -> Vec<String> {
    ["localhost", "127.0.0.1", "::1", "Bldg8.Example.org", "LOCALHOST"].map(str::to_owned).to_vec()
}

fn verify(leaf: &str, root: &str, name: &str, at: Timestamp) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.timestamp().try_into().unwrap()));
    let leaf = CertificateDer::from_pem_slice(leaf.as_bytes()).unwrap();
    verifier.verify_server_cert(&leaf, &[], &ServerName::try_from(name.to_owned()).unwrap(), &[], at).map(|_| ())
}

#[test]
fn rustls_accepts_the_chain_for_every_name_and_for_no_other() {
    let root = Authority::generate("volttron1", now()).unwrap();
    let issued = root.issue_web_server("volttron1", &hosts(), now()).unwrap();
    for name in ["localhost", "127.0.0.1", "::1", "bldg8.example.org"] {
        verify(&issued.certificate_pem, root.certificate_pem(), name, now()).unwrap();
    }
    assert!(verify(&issued.certificate_pem, root.certificate_pem(), "evil.example.org", now()).is_err());
    let other = Authority::generate("volttron1", now()).unwrap();
    assert!(verify(&issued.certificate_pem, other.certificate_pem(), "localhost", now()).is_err());
    assert!(verify(root.certificate_pem(), root.certificate_pem(), "localhost", now()).is_err(), "a CA is no server");
}

#[test]
fn lifetimes_names_and_extensions_are_as_promised() {
    let root = Authority::generate("volttron1", now()).unwrap();
    let issued = root.issue_web_server("volttron1", &hosts(), now()).unwrap();
    let (ca, leaf) = (root.facts(), read_certificate(&issued.certificate_pem).unwrap());
    assert_eq!(ca.common_name.as_deref(), Some("volttron1-root-ca"));
    assert_eq!(ca.not_after, now() + Duration::days(3650));
    assert!(ca.is_authority && !leaf.is_authority);
    assert_eq!(leaf.common_name.as_deref(), Some("volttron1.platform_web-server"));
    assert_eq!(leaf.dns_names, ["localhost", "bldg8.example.org"]);
    assert_eq!(leaf.ip_addresses, ["127.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
    assert_eq!(leaf.not_before, now() - Duration::minutes(10));
    assert!(leaf.not_after - leaf.not_before <= Duration::days(398));
    assert_eq!(leaf.key_kind, "ECDSA 256 bits");
    assert_eq!(leaf.serial.split(':').count(), 16);
    assert_eq!(leaf.fingerprint_sha256.len(), 95);
    assert!(leaf.was_issued_by(ca) && !ca.was_issued_by(&leaf));
    let text = issued.certificate_pem.as_bytes();
    let (_, pem) = x509_parser::pem::parse_x509_pem(text).unwrap();
    let parsed = pem.parse_x509().unwrap();
    assert!(parsed.extended_key_usage().unwrap().unwrap().value.server_auth);
    let usage = parsed.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature() && !usage.value.key_cert_sign());
}

#[test]
fn validity_has_a_beginning_an_end_and_a_time_to_renew() {
    let root = Authority::generate("volttron1", now()).unwrap();
    let issued = root.issue_web_server("volttron1", &hosts(), now()).unwrap();
    let check = |at| verify(&issued.certificate_pem, root.certificate_pem(), "localhost", at);
    assert!(check(now() - Duration::minutes(9)).is_ok(), "a client whose clock is behind");
    assert!(check(now() - Duration::minutes(11)).is_err());
    assert!(check(now() + Duration::days(364)).is_ok());
    assert!(check(now() + Duration::days(366)).is_err());
    let facts = read_certificate(&issued.certificate_pem).unwrap();
    assert!(facts.is_valid_at(now()) && !facts.is_valid_at(now() + Duration::days(366)));
    assert!(facts.renewal_due() > now() + Duration::days(240) && facts.renewal_due() < now() + Duration::days(245));
}

#[test]
fn a_reloaded_authority_issues_what_the_old_root_vouches_for() {
    let root = Authority::generate("volttron1", now()).unwrap();
    let loaded = Authority::load(root.certificate_pem(), root.key().as_str()).unwrap();
    let issued = loaded.issue_web_server("volttron1", &hosts(), now()).unwrap();
    verify(&issued.certificate_pem, root.certificate_pem(), "localhost", now()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_str().as_bytes()).unwrap();
    rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    check_key_matches(&issued.certificate_pem, &issued.key).unwrap();
}

#[test]
fn what_is_no_authority_issues_nothing() {
    let root = Authority::generate("volttron1", now()).unwrap();
    let other = Authority::generate("volttron2", now()).unwrap();
    let leaf = root.issue_web_server("volttron1", &hosts(), now()).unwrap();
    assert!(matches!(Authority::load(&leaf.certificate_pem, leaf.key.as_str()), Err(PkiError::NotAuthority { .. })));
    assert!(matches!(Authority::load(root.certificate_pem(), other.key().as_str()), Err(PkiError::KeyMismatch { .. })));
    assert!(matches!(Authority::load("", root.key().as_str()), Err(PkiError::NoCertificate)));
    assert!(matches!(Authority::load(root.certificate_pem(), root.certificate_pem()), Err(PkiError::NoKey)));
    let late = now() + Duration::days(ROOT_DAYS + 1);
    assert!(matches!(root.issue_web_server("volttron1", &hosts(), late), Err(PkiError::AuthorityExpired { .. })));
}

#[test]
fn a_server_certificate_never_outlives_its_authority() {
    let root = Authority::generate("volttron1", now()).unwrap();
    let late = now() + Duration::days(ROOT_DAYS - 30);
    let issued = root.issue_web_server("volttron1", &hosts(), late).unwrap();
    assert_eq!(read_certificate(&issued.certificate_pem).unwrap().not_after, root.facts().not_after);
}

#[test]
fn hostile_hosts_and_names_are_refused() {
    let root = Authority::generate("volttron1", now()).unwrap();
    let long = "x".repeat(65_536);
    for host in ["", ".", "a..b", "<img onerror=1>", "../x", "a\u{202e}b", "a\nb", "-a", "a-", "*", "a.*", "https://x", "x:8443", &long] {
        let result = root.issue_web_server("volttron1", &[host.to_owned()], now());
        assert!(matches!(result, Err(PkiError::HostName(_))), "{host:.40}: {result:?}");
    }
    assert!(matches!(root.issue_web_server("volttron1", &[], now()), Err(PkiError::NoHostName)));
    assert!(root.issue_web_server("volttron1", &["*.example.org".to_owned()], now()).is_ok());
    assert!(matches!(Authority::generate(&long, now()), Err(PkiError::CommonNameTooLong { .. })));
}

#[test]
fn a_clock_before_1970_is_an_error_and_no_panic() {
    let early = DateTime::from_timestamp(-1, 0).unwrap();
    assert!(matches!(Authority::generate("volttron1", early), Err(PkiError::Time(_))));
    let late = DateTime::from_timestamp(253_402_300_000, 0).unwrap();
    assert!(matches!(Authority::generate("volttron1", late), Err(PkiError::Time(_))));
}

#[test]
fn serials_differ() {
    let root = Authority::generate("volttron1", now()).unwrap();
    let serials: std::collections::HashSet<_> = (0..20)
        .map(|_| read_certificate(&root.issue_web_server("volttron1", &hosts(), now()).unwrap().certificate_pem).unwrap().serial)
        .collect();
    assert_eq!(serials.len(), 20);
}

#[test]
fn names_are_covered_as_browsers_do() {
    let root = Authority::generate("volttron1", now()).unwrap();
    let names = ["*.example.org", "::1"].map(str::to_owned);
    let facts = read_certificate(&root.issue_web_server("volttron1", &names, now()).unwrap().certificate_pem).unwrap();
    for (host, covered) in [
        ("a.example.org", true),
        ("A.EXAMPLE.ORG.", true),
        ("a.b.example.org", false),
        ("example.org", false),
        ("[::1]", true),
        ("::2", false),
    ] {
        assert_eq!(facts.covers(host), covered, "{host}");
    }
}

#[test]
fn bundles_are_read_in_order_and_garbage_is_refused() {
    let one = Authority::generate("one", now()).unwrap();
    let two = Authority::generate("two", now()).unwrap();
    let bundle = format!("# comment\n{}{}", one.certificate_pem(), two.certificate_pem());
    let names: Vec<_> = read_certificates(&bundle).unwrap().into_iter().filter_map(|facts| facts.common_name).collect();
    assert_eq!(names, ["one-root-ca", "two-root-ca"]);
    assert!(matches!(read_certificates("nothing here"), Err(PkiError::NoCertificate)));
    assert!(matches!(read_certificates(one.key().as_str()), Err(PkiError::NoCertificate)));
    let block = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(read_certificate(block), Err(PkiError::Certificate(_))));
    let cut: String = one.certificate_pem().lines().take(3).collect::<Vec<_>>().join("\n");
    assert!(matches!(read_certificate(&cut), Err(PkiError::Pem(_))));
}

#[test]
fn each_profile_has_its_purpose_and_the_name_parts_of_the_authority() {
    let pair = KeyPair::generate().unwrap();
    let mut params = params("harbor-root-ca", now(), now() + Duration::days(100)).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    for (kind, value) in [(DnType::CountryName, "US"), (DnType::StateOrProvinceName, "WA"), (DnType::OrganizationName, "PNNL")] {
        params.distinguished_name.push(kind, value);
    }
    let root = Authority::load(&params.self_signed(&pair).unwrap().pem(), &pair.serialize_pem()).unwrap();
    let profiles = [
        (Profile::Client, Purpose::Client),
        (Profile::Server(vec!["a.example.org".to_owned()]), Purpose::Server),
        (Profile::Authority, Purpose::Authority),
    ];
    for (profile, purpose) in profiles {
        let issued = root.issue(&agent_name("harbor", "a.b"), &profile, 3650, now()).unwrap();
        let facts = read_certificate(&issued.certificate_pem).unwrap();
        assert_eq!((facts.purpose, facts.common_name.as_deref()), (purpose, Some("harbor.a.b")));
        assert!(facts.was_issued_by(root.facts()) && facts.not_after == root.facts().not_after, "no longer than the CA");
        let parts: Vec<_> = facts.subject_parts.iter().map(|(key, value)| (*key, value.as_str())).collect();
        assert_eq!(parts, [("C", "US"), ("ST", "WA"), ("O", "PNNL")]);
        assert_eq!(facts.issuer_common_name.as_deref(), Some("harbor-root-ca"));
        assert!(facts.serial_number().is_some_and(|number| number > 1 << 100));
        check_key_matches(&issued.certificate_pem, &issued.key).unwrap();
    }
    assert_eq!(
        root.issue("short", &Profile::Client, 5, now()).map(|issued| read_certificate(&issued.certificate_pem).unwrap().not_after).unwrap(),
        now() + Duration::days(5)
    );
    assert!(matches!(root.issue("x", &Profile::Client, i64::MAX, now()), Err(PkiError::Time(_))));
    assert!(matches!(root.issue(&"x".repeat(65), &Profile::Client, 1, now()), Err(PkiError::CommonNameTooLong { .. })));
}

#[test]
fn an_intermediate_issues_what_the_root_stands_behind() {
    let root = Authority::generate("volttron1", now()).unwrap();
    let issued = root.issue("site", &Profile::Authority, 3650, now()).unwrap();
    let site = Authority::load(&issued.certificate_pem, issued.key.as_str()).unwrap();
    let leaf = site.issue("volttron1.a", &Profile::Client, 1, now()).unwrap();
    assert!(read_certificate(&leaf.certificate_pem).unwrap().was_issued_by(site.facts()) && site.facts().was_issued_by(root.facts()));
}
