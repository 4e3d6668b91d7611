//! Public CURVE keys and their text forms. Source: RFC 32 (Z85), VOLTTRON `volttron/platform/keystore.py`.

use std::fmt;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};

/// With and without padding; bits beyond the last whole byte are ignored, as Python does.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A Curve25519 public key. Written as URL-safe base64 without padding, 43 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a CURVE key is 43 characters of URL-safe base64 (or its hexadecimal or Z85 form); this text of {0} characters is none")]
pub struct KeyError(usize);

impl KeyError {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.chars().count())
    }
}

impl PublicKey {
    /// The 32 raw bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads any form that VOLTTRON writes, told apart by length: 40 Z85, 43 and 44 base64, 54 and 56 base64 of the Z85 text, 64
    /// hexadecimal, 80 hexadecimal of the Z85 text.
    ///
    /// # Errors
    /// [`KeyError`] for everything else.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        decode_key(text).map(Self).ok_or_else(|| KeyError::of(text))
    }

    /// The raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The 32 bytes of a key, public or secret, in any of the forms of [`PublicKey::parse`].
#[must_use]
pub fn decode_key(text: &str) -> Option<[u8; 32]> {
    let bytes = match text.len() {
        40 => z85_decode(text.as_bytes()),
        43 | 44 => BASE64.decode(text).ok(),
        54 | 56 => BASE64.decode(text).ok().and_then(|z85| z85_decode(&z85)),
        64 => hex_decode(text),
        80 => hex_decode(text).and_then(|z85| z85_decode(&z85)),
        _ => None,
    }?;
    bytes.try_into().ok()
}

/// 32 bytes in the form that VOLTTRON's files hold: 43 characters.
#[must_use]
pub fn encode_key(bytes: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_key(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const Z85: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

fn z85_decode(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(5) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 5 * 4);
    for group in text.chunks_exact(5) {
        let mut value = 0_u64;
        for character in group {
            value = value * 85 + Z85.iter().position(|known| known == character)? as u64;
        }
        bytes.extend_from_slice(&u32::try_from(value).ok()?.to_be_bytes());
    }
    Some(bytes)
}

fn hex_decode(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM";
    const HEX: &str = "c5dfcf94cfcbaba9a9dd39e27af5c7ffb7805d09897584b1825af6e63f356243";
    const Z85_TEXT: &str = "-OY1a==-w*SOGO]DIbtUW$4-<IfjGRF)d)gkq=[q";

    #[test]
    fn all_forms_of_one_key_are_the_same_key() {
        let of_z85 = URL_SAFE_NO_PAD.encode(Z85_TEXT);
        let hex_of_z85: String = Z85_TEXT.bytes().map(|byte| format!("{byte:02x}")).collect();
        let padded = base64::engine::general_purpose::URL_SAFE.encode(Z85_TEXT);
        for text in [TEXT, HEX, Z85_TEXT, &format!("{TEXT}="), &of_z85, &padded, &hex_of_z85] {
            assert_eq!(PublicKey::parse(text).map(|key| key.to_string()), Ok(TEXT.to_owned()), "{text}");
        }
    }

    #[test]
    fn z85_is_that_of_zeromq() {
        // A key of ZeroMQ's own tests, in both forms.
        let key = PublicKey::parse("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7").unwrap();
        assert_eq!(Ok(key), PublicKey::parse("54fcba24e93249969316fb617c872bb0c1d1ff14800427c594cbfacf1bc2d652"));
    }

    #[test]
    fn extreme_keys_survive_and_trailing_bits_count_for_nothing() {
        for bytes in [[0; 32], [0xff; 32]] {
            assert_eq!(PublicKey::parse(&PublicKey::new(bytes).to_string()), Ok(PublicKey::new(bytes)));
        }
        assert_eq!(PublicKey::parse(&format!("{}B", "A".repeat(42))), Ok(PublicKey::new([0; 32])));
    }

    #[test]
    fn what_is_no_key_is_told() {
        for text in ["", "short", &"é".repeat(20), &"~".repeat(40), &"#".repeat(40), &"g".repeat(64), &"=".repeat(43)] {
            assert_eq!(PublicKey::parse(text), Err(KeyError(text.chars().count())), "{text}");
        }
    }
}
