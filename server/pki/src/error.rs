//! What can be wrong with certificates and keys. Every text says what to do; none repeats key material.

/// Why a certificate or key could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The text holds no PEM block of a certificate.
    #[error("no certificate found; expected a PEM block that starts with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// A PEM block that is damaged.
    #[error("the PEM text is damaged: {0}")]
    Pem(String),
    /// A block that is no X.509 certificate.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// The text holds no PEM block of a private key.
    #[error("no private key found; expected a PEM block such as -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// The key is protected by a pass phrase.
    #[error("the private key is protected by a pass phrase; remove it first, for example with: openssl pkey -in KEY -out NEWKEY")]
    EncryptedKey,
    /// A key of a kind that cannot be used.
    #[error("the private key cannot be used: {0}; use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more")]
    Key(String),
    /// The certificate belongs to another key.
    #[error("the private key does not belong to the certificate (subject {subject:?})")]
    KeyMismatch {
        /// Subject of the certificate.
        subject: String,
    },
    /// The certificate may not sign others.
    #[error("the certificate {subject:?} is not a CA certificate and cannot issue others")]
    NotAuthority {
        /// Subject of the certificate.
        subject: String,
    },
    /// The authority's own time is over, or has not begun.
    #[error("the CA certificate {subject:?} is valid from {not_before} to {not_after}; it cannot issue a certificate now")]
    AuthorityExpired {
        /// Subject of the CA.
        subject: String,
        /// Start of validity.
        not_before: vt_types::Timestamp,
        /// End of validity.
        not_after: vt_types::Timestamp,
    },
    /// A name that no certificate may carry.
    #[error("{0:?} is neither a host name nor an IP address")]
    HostName(String),
    /// A server certificate without any name.
    #[error("a server certificate needs at least one host name or IP address")]
    NoHostName,
    /// The common name would be longer than certificates allow.
    #[error("the name {name:?} is longer than the 64 characters a certificate allows; choose a shorter instance name")]
    CommonNameTooLong {
        /// The name that was too long.
        name: String,
    },
    /// The moment lies outside the years that certificates can express here.
    #[error("the clock shows {0}, outside of the years 1970 to 9999; set the machine's clock")]
    Time(vt_types::Timestamp),
    /// An archive without a password would give its key to everybody.
    #[error("the password must not be empty")]
    EmptyPassword,
    /// The archive could not be made.
    #[error("the archive could not be made: {0}")]
    Archive(String),
    /// The cryptographic library failed.
    #[error("the certificate could not be made")]
    Generate(#[from] rcgen::Error),
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes: {0}")]
    Random(String),
}
