//! Certificates in the home as tools see them. What a certificate is made of is the business of pki; where it lies, of storage-files.

use std::path::{Path, PathBuf};

use vt_pki::KeyPem;
use vt_storage_files::CertificateFolder;

/// Certificate and key that the web listener of `instance` made for itself; `None` before its first start.
#[must_use]
pub fn web_server_files(home: &Path, instance: &str) -> Option<(PathBuf, PathBuf)> {
    let folder = CertificateFolder::new(home);
    let name = vt_pki::web_server_name(instance);
    let (certificate, key) = (folder.certificate_path(&name), folder.key_path(&name));
    (certificate.is_file() && key.is_file()).then_some((certificate, key))
}

/// Whether the web listener can serve with these files.
///
/// # Errors
/// What is wrong, in one sentence.
pub fn check(certificate: &Path, key: &Path) -> Result<(), String> {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()));
    let pem = KeyPem::read(&read(key)?).map_err(|error| format!("{} cannot be used: {error}", key.display()))?;
    vt_pki::check_key_matches(&read(certificate)?, &pem).map_err(|error| format!("the two files do not fit: {error}"))
}
