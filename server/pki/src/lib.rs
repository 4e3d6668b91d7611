//! Certificates of a platform: its own root CA, the server certificate of the web listener, and reading what others issued.
//!
//! Map: `authority` (root CA, issuing), `key` (private keys in the PEM forms that people bring), `facts` (a certificate for display and for
//! the decision whether it still serves), `archive` (PKCS#12), `curve` (key pairs of peers over ZeroMQ), `error`.
//!
//! Invariant: PEM in, PEM out. No files and no clock: the moment comes in as an argument; whoever calls writes the files and their modes.
//! Requests for certificates, trust in other instances and revocation are not here yet.
//!
//! Source: RFC 5280; VOLTTRON `volttron/platform/certs.py` and `volttron/platform/auth/certs.py` for names and extensions.
//! Differs from VOLTTRON: ECDSA P-256 instead of RSA 2048, random serials, web certificates of one year, start times a little in the past.

mod archive;
mod authority;
mod curve;
mod error;
mod facts;
mod key;

pub use archive::pkcs12;
pub use authority::{Authority, Issued, Profile, ROOT_DAYS, SERVER_DAYS, agent_name, root_ca_name, web_server_name};
pub use curve::{curve_public, generate_curve};
pub use error::PkiError;
pub use facts::{CertificateFacts, Purpose, read_certificate, read_certificates};
pub use key::{KeyKind, KeyPem, check_key_matches};
