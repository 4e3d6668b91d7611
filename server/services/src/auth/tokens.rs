//! Making and reading tokens. Claims are VOLTTRON's (`grant_type`, `groups`, `iat`, `nbf`, `exp`) plus `sub`, `sid`, `jti`, `iss`.
//! Source: web.md §1.2; RFC 7519, RFC 8725 (the algorithm is fixed by us, never by the token).

use chrono::DateTime;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use vt_types::timestamp::Timestamp;

use super::SigningKey;

/// Longest token read, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far a token's beginning may lie in the future, for a clock that was set back.
const LEEWAY_S: i64 = 60;
/// Shortest HS256 secret, in bytes.
const SECRET_BYTES_MIN: usize = 16;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// Requests.
    AccessToken,
    /// A new access token.
    RefreshToken,
}

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    #[serde(default)]
    pub groups: Vec<String>,
    pub grant_type: Grant,
    pub sub: String,
    pub sid: String,
    pub jti: String,
    pub iss: String,
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
}

impl Claims {
    pub fn expires_at(&self) -> Timestamp {
        DateTime::from_timestamp(self.exp, 0).unwrap_or_default()
    }
}

/// Why a token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// It was good once.
    Expired,
    /// It is not one of ours.
    NotOurs,
}

/// Makes and reads tokens.
pub struct Tokens {
    issuer: String,
    header: Header,
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl Tokens {
    /// With this key, for this issuer.
    ///
    /// # Errors
    /// A sentence on why the key cannot be used; never the key.
    pub fn new(key: &SigningKey, issuer: &str) -> Result<Self, String> {
        let unreadable = |what: &str| format!("the {what} key cannot be read as PEM of the right kind");
        let (algorithm, encoding, decoding) = match key {
            SigningKey::Rs256Pem { private, public } => (
                Algorithm::RS256,
                EncodingKey::from_rsa_pem(private.as_bytes()).map_err(|_| unreadable("private RSA"))?,
                DecodingKey::from_rsa_pem(public.as_bytes()).map_err(|_| unreadable("public RSA"))?,
            ),
            SigningKey::Es256Pem { private, public } => (
                Algorithm::ES256,
                EncodingKey::from_ec_pem(private.as_bytes()).map_err(|_| unreadable("private EC"))?,
                DecodingKey::from_ec_pem(public.as_bytes()).map_err(|_| unreadable("public EC"))?,
            ),
            SigningKey::Hs256(secret) if secret.len() < SECRET_BYTES_MIN => {
                return Err(format!("web-secret-key has fewer than {SECRET_BYTES_MIN} characters"));
            }
            SigningKey::Hs256(secret) => (Algorithm::HS256, EncodingKey::from_secret(secret), DecodingKey::from_secret(secret)),
        };
        let mut validation = Validation::new(algorithm);
        // Times are checked below with our own clock.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        validation.set_issuer(&[issuer]);
        let tokens = Self { issuer: issuer.to_owned(), header: Header::new(algorithm), encoding, decoding, validation };
        let probe = tokens.sign(&Claims {
            groups: Vec::new(),
            grant_type: Grant::AccessToken,
            sub: String::new(),
            sid: String::new(),
            jti: String::new(),
            iss: issuer.to_owned(),
            iat: 0,
            nbf: 0,
            exp: 1,
        })?;
        tokens.read(&probe, Timestamp::default()).map_err(|_| "the public key does not belong to the private key".to_owned())?;
        Ok(tokens)
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn sign(&self, claims: &Claims) -> Result<String, String> {
        jsonwebtoken::encode(&self.header, claims, &self.encoding).map_err(|error| error.to_string())
    }

    /// The claims of a token that is ours and good at `now`.
    pub fn read(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::NotOurs);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation).map_err(|_| TokenError::NotOurs)?.claims;
        let now_s = now.timestamp();
        if claims.exp <= now_s {
            return Err(TokenError::Expired);
        }
        if claims.nbf > now_s + LEEWAY_S || claims.iat > now_s + LEEWAY_S {
            return Err(TokenError::NotOurs);
        }
        Ok(claims)
    }
}
