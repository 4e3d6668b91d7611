//! Private keys in PEM. People bring PKCS#8, PKCS#1 (`RSA PRIVATE KEY`, what VOLTTRON writes) and SEC1 (`EC PRIVATE KEY`, what openssl
//! writes); the libraries below read PKCS#8 alone, so the other two are wrapped here once. Source: RFC 5958, RFC 8017 A.1.2, RFC 5915.

use std::fmt;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use x509_parser::pem::Pem;

use crate::error::PkiError;
use crate::facts;

/// Object identifier rsaEncryption with NULL parameters, as the content of an AlgorithmIdentifier.
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// id-ecPublicKey.
const EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// prime256v1.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// secp384r1.
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// What sort of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    EcdsaP256,
    /// RSA.
    Rsa,
    /// Another that TLS can use.
    Other,
}

/// A private key as PKCS#8 PEM. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPem(String);

impl KeyPem {
    /// Reads the first private key in `text`, in PKCS#8, PKCS#1 or SEC1 form, and checks that it can sign.
    ///
    /// # Errors
    /// [`PkiError::NoKey`], [`PkiError::EncryptedKey`], [`PkiError::Pem`] or [`PkiError::Key`].
    pub fn read(text: &str) -> Result<Self, PkiError> {
        Ok(Self::from_pair(&read_pair(text)?))
    }

    /// The PKCS#8 PEM text, for writing to a file of mode 0600 or for a TLS library.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its public key, PEM (`PUBLIC KEY`), and what sort of key it is.
    ///
    /// # Errors
    /// As [`KeyPem::read`]; a value of this type was read before, so none is expected.
    pub fn public(&self) -> Result<(KeyKind, String), PkiError> {
        let pair = read_pair(&self.0)?;
        let kind = if pair.is_compatible(&PKCS_ECDSA_P256_SHA256) {
            KeyKind::EcdsaP256
        } else if pair.is_compatible(&PKCS_RSA_SHA256) {
            KeyKind::Rsa
        } else {
            KeyKind::Other
        };
        Ok((kind, pair.public_key_pem()))
    }

    pub(crate) fn from_pair(pair: &KeyPair) -> Self {
        Self(pair.serialize_pem())
    }
}

impl fmt::Debug for KeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPem(..)")
    }
}

/// Checks that `key` is the key of the first certificate in `certificate_pem`.
///
/// # Errors
/// [`PkiError::KeyMismatch`], or what is wrong with the certificate or the key.
pub fn check_key_matches(certificate_pem: &str, key: &KeyPem) -> Result<(), PkiError> {
    let (der, facts) = facts::first_certificate(certificate_pem)?;
    let pair = read_pair(&key.0)?;
    if facts::public_key(&der)? == pair.public_key_raw() { Ok(()) } else { Err(PkiError::KeyMismatch { subject: facts.subject }) }
}

pub(crate) fn read_pair(text: &str) -> Result<KeyPair, PkiError> {
    if text.contains("Proc-Type: 4,ENCRYPTED") || text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return Err(PkiError::EncryptedKey);
    }
    for block in Pem::iter_from_buffer(text.as_bytes()) {
        let block = block.map_err(|error| PkiError::Pem(error.to_string()))?;
        let pkcs8 = match block.label.as_str() {
            "PRIVATE KEY" => block.contents,
            "RSA PRIVATE KEY" => wrap(RSA, &block.contents),
            "EC PRIVATE KEY" => wrap(&ec_algorithm(&block.contents)?, &block.contents),
            _ => continue,
        };
        return KeyPair::try_from(pkcs8).map_err(|error| PkiError::Key(error.to_string()));
    }
    Err(PkiError::NoKey)
}

/// The curve is named inside the SEC1 structure; searching its OID is enough, because the key is parsed strictly afterwards.
fn ec_algorithm(sec1: &[u8]) -> Result<Vec<u8>, PkiError> {
    let curve = [P256, P384]
        .into_iter()
        .find(|curve| sec1.windows(curve.len()).any(|window| window == *curve))
        .ok_or_else(|| PkiError::Key("its elliptic curve is not supported".to_owned()))?;
    Ok([EC_PUBLIC_KEY, curve].concat())
}

/// `SEQUENCE { INTEGER 0, SEQUENCE algorithm, OCTET STRING key }`.
fn wrap(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let content = [vec![0x02, 0x01, 0x00], tlv(0x30, algorithm), tlv(0x04, key)].concat();
    tlv(0x30, &content)
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits: &[u8] = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut out = vec![tag];
    if content.len() >= 0x80 {
        // At most eight length bytes fit into usize, so the count never reaches the next bit.
        out.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
    }
    out.extend_from_slice(digits);
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made for these tests with openssl 3; used nowhere else.
    const SEC1: &str = include_str!("../testdata/sec1-p256.pem");
    const PKCS1: &str = include_str!("../testdata/pkcs1-rsa2048.pem");
    const ENCRYPTED: &str = include_str!("../testdata/encrypted-p256.pem");
    const RSA_CERTIFICATE: &str = include_str!("../testdata/rsa-certificate.pem");

    #[test]
    fn keys_of_openssl_and_volttron_become_pkcs8() {
        for text in [SEC1, PKCS1] {
            let key = KeyPem::read(text).unwrap();
            assert!(key.as_str().starts_with("-----BEGIN PRIVATE KEY-----"));
            assert_eq!(KeyPem::read(key.as_str()).unwrap(), key);
        }
    }

    #[test]
    fn the_public_half_says_what_sort_of_key_it_is() {
        for (text, kind) in [(SEC1, KeyKind::EcdsaP256), (PKCS1, KeyKind::Rsa)] {
            let (found, pem) = KeyPem::read(text).unwrap().public().unwrap();
            assert_eq!(found, kind);
            assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----") && !pem.contains("PRIVATE"), "{pem}");
        }
    }

    #[test]
    fn a_converted_rsa_key_still_belongs_to_its_certificate() {
        check_key_matches(RSA_CERTIFICATE, &KeyPem::read(PKCS1).unwrap()).unwrap();
        let other = KeyPem::read(SEC1).unwrap();
        assert!(
            matches!(check_key_matches(RSA_CERTIFICATE, &other), Err(PkiError::KeyMismatch { subject }) if subject.contains("rsa.example.org"))
        );
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_reason() {
        assert!(matches!(KeyPem::read(""), Err(PkiError::NoKey)));
        assert!(matches!(KeyPem::read("garbage \u{202e} \0"), Err(PkiError::NoKey)));
        assert!(matches!(KeyPem::read(RSA_CERTIFICATE), Err(PkiError::NoKey)));
        assert!(matches!(KeyPem::read(ENCRYPTED), Err(PkiError::EncryptedKey)));
        let damaged = SEC1.replacen("MHcC", "M!!C", 1);
        assert!(matches!(KeyPem::read(&damaged), Err(PkiError::Pem(_))), "{damaged}");
        let block = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(matches!(KeyPem::read(block), Err(PkiError::Key(_))));
        let cut = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49";
        assert!(KeyPem::read(cut).is_err());
    }

    #[test]
    fn debug_never_shows_the_key() {
        assert_eq!(format!("{:?}", KeyPem::read(SEC1).unwrap()), "KeyPem(..)");
    }

    #[test]
    fn lengths_are_encoded_in_der() {
        assert_eq!(tlv(4, &[]), [4, 0]);
        assert_eq!(tlv(4, &[7; 127])[..2], [4, 127]);
        assert_eq!(tlv(4, &[7; 128])[..3], [4, 0x81, 128]);
        assert_eq!(tlv(4, &[7; 256])[..4], [4, 0x82, 1, 0]);
    }
}
