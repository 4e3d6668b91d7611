//! PKCS#12 archives: a key with its certificate and chain in one file that other programs (Java, browsers, openssl) open with a password.
//! Encrypted with AES-256 under a key that PBKDF2 with HMAC-SHA-256 makes of the password (RFC 9579 in its older clothes, RFC 7292).

use p12_keystore::{Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey, PrivateKeyChain};
use sha2::{Digest, Sha256};
use x509_parser::pem::Pem;

use crate::error::PkiError;
use crate::facts;
use crate::key::{KeyPem, check_key_matches};

/// Rounds of PBKDF2, for the key and for the check of the whole; what Java's tools use.
const ROUNDS: u32 = 10_000;

/// Makes an archive of the certificates in `certificates_pem` (the key's own first, then its chain) and the key, under the name `alias`.
///
/// # Errors
/// [`PkiError::EmptyPassword`]; [`PkiError::KeyMismatch`], or what is wrong with the texts; [`PkiError::Archive`].
pub fn pkcs12(certificates_pem: &str, key: &KeyPem, alias: &str, password: &str) -> Result<Vec<u8>, PkiError> {
    if password.is_empty() {
        return Err(PkiError::EmptyPassword);
    }
    check_key_matches(certificates_pem, key)?;
    let failed = |error: p12_keystore::error::Error| PkiError::Archive(error.to_string());
    let ders = facts::blocks(certificates_pem).collect::<Result<Vec<_>, _>>()?;
    let id: Vec<u8> = ders.first().map(|leaf| Sha256::digest(leaf)[..20].to_vec()).unwrap_or_default();
    let certificates = ders.iter().map(|der| Certificate::from_der(der)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let block = Pem::iter_from_buffer(key.as_str().as_bytes()).next().ok_or(PkiError::NoKey)?;
    let block = block.map_err(|error| PkiError::Pem(error.to_string()))?;
    let key = PrivateKey::from_der(&block.contents).map_err(failed)?;
    let mut store = KeyStore::new();
    store.add_entry(alias, KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(id, key, certificates)));
    let writer = store
        .writer(password)
        .encryption_algorithm(EncryptionAlgorithm::PbeWithHmacSha256AndAes256)
        .encryption_iterations(ROUNDS)
        .mac_algorithm(MacAlgorithm::HmacSha256)
        .mac_iterations(ROUNDS);
    writer.write().map_err(failed)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use p12_keystore::Pkcs12ImportPolicy;

    use super::*;
    use crate::{Authority, Profile};

    #[test]
    fn an_archive_holds_key_and_chain_and_opens_with_its_password_alone() {
        let now = DateTime::from_timestamp(1_795_500_000, 0).unwrap();
        let root = Authority::generate("volttron1", now).unwrap();
        let leaf = root.issue("volttron1.a", &Profile::Client, 30, now).unwrap();
        let chain = format!("{}{}", leaf.certificate_pem, root.certificate_pem());
        let archive = pkcs12(&chain, &leaf.key, "volttron1.a", "pässword").unwrap();
        let opened = KeyStore::from_pkcs12(&archive, "pässword", Pkcs12ImportPolicy::Strict).unwrap();
        let (alias, held) = opened.private_key_chain().unwrap();
        assert_eq!((alias, held.certs().len()), ("volttron1.a", 2));
        assert_eq!(held.certs()[0].subject(), "CN=volttron1.a");
        assert!(KeyStore::from_pkcs12(&archive, "other", Pkcs12ImportPolicy::Strict).is_err());
        assert!(matches!(pkcs12(&chain, &leaf.key, "a", ""), Err(PkiError::EmptyPassword)));
        assert!(matches!(pkcs12(&chain, root.key(), "a", "x"), Err(PkiError::KeyMismatch { .. })));
    }
}
