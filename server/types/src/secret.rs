//! The secret half of CURVE keys, and whole pairs. Making a pair is the business of `pki`. Source: VOLTTRON `keystore.py`.

use std::fmt;

use zeroize::Zeroize;

use crate::PublicKey;
use crate::key::{KeyError, decode_key, encode_key};

/// A Curve25519 secret key. Never shown by `Debug`; its bytes are overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// The 32 raw bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads any form of [`PublicKey::parse`].
    ///
    /// # Errors
    /// [`KeyError`], which tells the length of the text and nothing else of it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        decode_key(text).map(Self).ok_or_else(|| KeyError::of(text))
    }

    /// The raw bytes, for the transport that encrypts with them.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 43 characters that key files hold.
    #[must_use]
    pub fn expose_text(&self) -> String {
        encode_key(&self.0)
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// Both halves of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurveKeyPair {
    /// What others know it by.
    pub public: PublicKey,
    /// What proves it.
    pub secret: SecretKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_and_written_but_never_shown() {
        let text = "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM";
        let secret = SecretKey::parse(text).unwrap();
        assert_eq!(secret.expose_text(), text);
        let pair = CurveKeyPair { public: PublicKey::new([1; 32]), secret };
        assert!(!format!("{pair:?}").contains("PlM"), "{pair:?}");
        let error = SecretKey::parse("hunter2").unwrap_err().to_string();
        assert!(error.contains("7 characters") && !error.contains("hunter"), "{error}");
    }
}
