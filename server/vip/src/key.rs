//! CURVE keys as text. VOLTTRON writes the 32 bytes as URL-safe base64 without padding (43 characters) and reads six more forms; ZeroMQ's
//! own form is Z85 (40 characters). Making keys is not done here. Source: VOLTTRON `volttron/platform/vip/socket.py`, ZeroMQ RFC 32 (Z85).

use std::fmt;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Why a text is not a key. The text itself is not told: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No form has that many characters.
    #[error("a key has 40, 43, 44, 54, 56, 64 or 80 characters, this one has {0}")]
    Length(usize),
    /// A character that the form of this length does not have.
    #[error("the key contains a character or a group that does not belong to its form")]
    Character,
}

/// A CURVE public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; KEY_BYTES]);

/// A CURVE secret key; not shown by `Debug`, and without `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey([u8; KEY_BYTES]);

impl PublicKey {
    /// From the raw bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Parses any of the forms, told apart by length: 40 Z85, 43 and 44 base64, 54 and 56 base64 of the Z85 text, 64 hexadecimal,
    /// 80 hexadecimal of the Z85 text. Base64 is the URL-safe one.
    ///
    /// # Errors
    /// [`KeyError`] says why it is none.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        decode(text.as_bytes()).map(Self)
    }

    /// The raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// ZeroMQ's form, 40 characters.
    #[must_use]
    pub fn to_z85(&self) -> String {
        encode_z85(&self.0)
    }

    /// Whether the text form begins with `-`: such keys break VOLTTRON's command lines and are not given out.
    #[must_use]
    pub fn begins_with_dash(&self) -> bool {
        self.to_string().starts_with('-')
    }
}

/// URL-safe base64 without padding, 43 characters.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_base64(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

impl SecretKey {
    /// From the raw bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Parses any of the forms of [`PublicKey::parse`].
    ///
    /// # Errors
    /// [`KeyError`] says why it is none.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        decode(text.as_bytes()).map(Self)
    }

    /// The raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// ZeroMQ's form, 40 characters.
    #[must_use]
    pub fn to_z85(&self) -> String {
        encode_z85(&self.0)
    }

    /// URL-safe base64 without padding, 43 characters; for key stores.
    #[must_use]
    pub fn to_base64(&self) -> String {
        encode_base64(&self.0)
    }

    /// Whether [`SecretKey::to_base64`] begins with `-`: such keys break VOLTTRON's command lines and are not given out.
    #[must_use]
    pub fn begins_with_dash(&self) -> bool {
        self.to_base64().starts_with('-')
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

fn decode(text: &[u8]) -> Result<[u8; KEY_BYTES], KeyError> {
    let bytes = match text.len() {
        40 => decode_z85(text),
        43 => decode_base64(text),
        44 => text.strip_suffix(b"=").and_then(decode_base64),
        54 => decode_base64(text).and_then(|z85| decode_z85(&z85)),
        56 => text.strip_suffix(b"==").and_then(decode_base64).and_then(|z85| decode_z85(&z85)),
        64 => decode_hex(text),
        80 => decode_hex(text).and_then(|z85| decode_z85(&z85)),
        other => return Err(KeyError::Length(other)),
    };
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(KeyError::Character)
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn encode_base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
        for index in 0..=group.len() {
            out.push(char::from(BASE64[bits >> (18 - 6 * index) & 63]));
        }
    }
    out
}

/// Unpadded; bits beyond the last whole byte are ignored, as Python does.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for character in text {
        let digit = BASE64.iter().position(|known| known == character)?;
        bits = bits << 6 | u32::try_from(digit).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}

const Z85: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

fn encode_z85(bytes: &[u8; KEY_BYTES]) -> String {
    let mut out = String::with_capacity(KEY_BYTES / 4 * 5);
    for group in bytes.chunks_exact(4) {
        let number = group.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        for power in [85 * 85 * 85 * 85, 85 * 85 * 85, 85 * 85, 85, 1] {
            out.push(char::from(Z85[number / power % 85]));
        }
    }
    out
}

fn decode_z85(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 5 * 4);
    for group in text.chunks(5) {
        let mut number = 0_u32;
        for character in group {
            let digit = Z85.iter().position(|known| known == character)?;
            number = number.checked_mul(85)?.checked_add(u32::try_from(digit).ok()?)?;
        }
        out.extend(number.to_be_bytes());
    }
    Some(out)
}

fn decode_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |character: u8| char::from(character).to_digit(16);
    text.chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
            _ => None,
        })
        .collect()
}
