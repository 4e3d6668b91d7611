//! Repositories on files below `VOLTTRON_HOME`, in VOLTTRON's places and formats, so that people, scripts and VOLTTRON's own tools read
//! and edit them; and the home itself: its directories, its lock, its certificates.
//!
//! Map: `home` (directories, lock, process id file), `users` (`web-users.json`), `configs` (`configuration_store/`), `installations`
//! (`agents/`), `peer_auth` (`auth.json`), `keys` (keystores, known hosts), `platforms` (`external_platform_discovery.json`, `external_address.json`), `policy` (`protected_topics.json`), `certificates` (`certificates/`), `log_files`, `atomic` (how everything is written), `json`
//! (objects that name line and doubled key), `stamp` (has somebody edited a file).
//!
//! Invariant: a file is replaced as a whole or not at all; what was answered with `Ok` is on the disk. All file work runs on blocking
//! threads. Not here: what the records mean, and who may change them.

mod atomic;
mod blocking;
mod certificates;
mod configs;
mod home;
mod installations;
mod json;
mod keys;
mod log_files;
mod peer_auth;
mod platforms;
mod policy;
mod stamp;
mod users;

pub use certificates::{CertificateFolder, PemPair};
pub use configs::FileConfigs;
pub use home::{Home, HomeError, HomeLock};
pub use installations::FileInstallations;
pub use keys::FileKeys;
pub use log_files::FileLogs;
pub use peer_auth::FilePeerAuth;
pub use platforms::FilePlatforms;
pub use policy::FilePolicy;
pub use users::FileUsers;
