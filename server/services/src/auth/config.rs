//! What authentication needs to know from outside.

use std::fmt;
use std::time::Duration;

/// What authentication needs to know from outside.
#[derive(Clone)]
pub struct AuthConfig {
    /// Signs tokens.
    pub signing: SigningKey,
    /// How long an access token is good; VOLTTRON's and our default: 15 minutes.
    pub access_lifetime: Duration,
    /// How long a refresh token is good; VOLTTRON's and our default: 240 minutes.
    pub refresh_lifetime: Duration,
    /// How new passwords are hashed.
    pub password_hashing: PasswordPolicy,
    /// Proves that whoever makes the first administrator can read the console; given when no user exists.
    pub setup_code: Option<String>,
}

impl AuthConfig {
    /// Default lifetime of access tokens.
    pub const ACCESS_LIFETIME: Duration = Duration::from_secs(15 * 60);
    /// Default lifetime of refresh tokens.
    pub const REFRESH_LIFETIME: Duration = Duration::from_secs(240 * 60);

    /// The default lifetimes and hashing with this key.
    #[must_use]
    pub fn new(signing: SigningKey, setup_code: Option<String>) -> Self {
        Self {
            signing,
            access_lifetime: Self::ACCESS_LIFETIME,
            refresh_lifetime: Self::REFRESH_LIFETIME,
            password_hashing: PasswordPolicy::default(),
            setup_code,
        }
    }
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthConfig")
            .field("signing", &self.signing)
            .field("password_hashing", &self.password_hashing)
            .finish_non_exhaustive()
    }
}

/// Signs and checks tokens. The algorithm is fixed by the key: a token that names another is refused.
#[derive(Clone)]
pub enum SigningKey {
    /// RS256, keys as PEM.
    Rs256Pem {
        /// Private key.
        private: String,
        /// Its public key.
        public: String,
    },
    /// ES256, keys as PEM.
    Es256Pem {
        /// Private key, PKCS#8.
        private: String,
        /// Its public key.
        public: String,
    },
    /// HS256, VOLTTRON's `web-secret-key`.
    Hs256(Vec<u8>),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rs256Pem { .. } => "Rs256Pem(..)",
            Self::Es256Pem { .. } => "Es256Pem(..)",
            Self::Hs256(_) => "Hs256(..)",
        })
    }
}

/// Cost of hashing a password with argon2id. Hashes below it are renewed when their user logs in; those above are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for PasswordPolicy {
    /// OWASP's first recommendation for argon2id: 19 MiB, 2 passes, 1 lane.
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}
