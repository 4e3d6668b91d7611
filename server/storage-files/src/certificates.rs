//! Certificates and keys of a home: `certificates/certs/<name>.crt` (0644) and `certificates/private/<name>.pem` (0600). Knows names, modes
//! and durable writing; what stands in the files is the business of pki. Source: VOLTTRON `volttron/platform/certs.py`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::atomic::{self, PRIVATE, PUBLIC};
use crate::home::HomeError;

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A certificate with its key, as their files hold them.
#[derive(Clone, PartialEq, Eq)]
pub struct PemPair {
    /// The certificate, perhaps with its chain, PEM.
    pub certificate: String,
    /// The key, PEM.
    pub key: String,
}

impl std::fmt::Debug for PemPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PemPair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// The `certificates` directory of a home. Its methods block: for start-up, or on a blocking thread.
#[derive(Debug, Clone)]
pub struct CertificateFolder {
    root: PathBuf,
}

impl CertificateFolder {
    /// The folder of the home at `home`.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self { root: home.join("certificates") }
    }

    /// Where the certificate `name` lies, such as `volttron1-root-ca`.
    #[must_use]
    pub fn certificate_path(&self, name: &str) -> PathBuf {
        self.root.join("certs").join(format!("{name}.crt"))
    }

    /// Where the key of the certificate `name` lies.
    #[must_use]
    pub fn key_path(&self, name: &str) -> PathBuf {
        self.root.join("private").join(format!("{name}.pem"))
    }

    /// Reads both files; `None` when one of them is missing. A key that others may read is closed up to 0600.
    ///
    /// # Errors
    /// [`HomeError::File`].
    pub fn load(&self, name: &str) -> Result<Option<PemPair>, HomeError> {
        let (certificate, key) = (self.certificate_path(name), self.key_path(name));
        let (Some(certificate), Some(pem)) = (read_text(&certificate)?, read_text(&key)?) else {
            return Ok(None);
        };
        close_up(&key).map_err(HomeError::file(&key))?;
        Ok(Some(PemPair { certificate, key: pem }))
    }

    /// Reads a certificate alone; `None` when it is missing.
    ///
    /// # Errors
    /// [`HomeError::File`].
    pub fn load_certificate(&self, name: &str) -> Result<Option<String>, HomeError> {
        read_text(&self.certificate_path(name))
    }

    /// Writes both files, the key first: after a crash between the two, they do not belong together and a caller makes new ones.
    ///
    /// # Errors
    /// [`HomeError::File`].
    pub fn save(&self, name: &str, pair: &PemPair) -> Result<(), HomeError> {
        let (certificate, key) = (self.certificate_path(name), self.key_path(name));
        for (path, mode) in [(&certificate, 0o755), (&key, 0o700)] {
            if let Some(parent) = path.parent() {
                atomic::make_directory(parent, mode).map_err(HomeError::file(parent))?;
            }
        }
        atomic::write(&key, pair.key.as_bytes(), PRIVATE).map_err(HomeError::file(&key))?;
        atomic::write(&certificate, pair.certificate.as_bytes(), PUBLIC).map_err(HomeError::file(&certificate))
    }
}

fn read_text(path: &Path) -> Result<Option<String>, HomeError> {
    let bytes = atomic::read(path, FILE_BYTES_MAX).map_err(HomeError::file(path))?;
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|error| HomeError::file(path)(io::Error::new(io::ErrorKind::InvalidData, error)))
}

fn close_up(key: &Path) -> io::Result<()> {
    let mode = fs::metadata(key)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %key.display(), mode = format!("{:o}", mode & 0o777), "the private key could be read by others; its mode is now 600");
        fs::set_permissions(key, fs::Permissions::from_mode(PRIVATE))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn keys_are_private_and_both_files_are_needed() {
        let home = tempfile::tempdir().unwrap();
        let folder = CertificateFolder::new(home.path());
        let pair = PemPair { certificate: "c".to_owned(), key: "k".to_owned() };
        assert!(folder.load("volttron1-root-ca").unwrap().is_none());
        folder.save("volttron1-root-ca", &pair).unwrap();
        assert_eq!(folder.load("volttron1-root-ca").unwrap().unwrap(), pair);
        let key = folder.key_path("volttron1-root-ca");
        assert_eq!((mode(&key), mode(key.parent().unwrap())), (0o600, 0o700));
        assert_eq!(mode(&folder.certificate_path("volttron1-root-ca")), 0o644);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        folder.load("volttron1-root-ca").unwrap();
        assert_eq!(mode(&key), 0o600);
        fs::remove_file(&key).unwrap();
        assert!(folder.load("volttron1-root-ca").unwrap().is_none());
        assert_eq!(folder.load_certificate("volttron1-root-ca").unwrap().as_deref(), Some("c"));
        assert!(!format!("{pair:?}").contains("\"k\""));
    }

    #[test]
    fn a_file_that_is_no_text_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let folder = CertificateFolder::new(home.path());
        folder.save("x", &PemPair { certificate: "c".to_owned(), key: "k".to_owned() }).unwrap();
        fs::write(folder.certificate_path("x"), b"\xff\xfe").unwrap();
        assert!(matches!(folder.load("x"), Err(HomeError::File { .. })));
    }
}
