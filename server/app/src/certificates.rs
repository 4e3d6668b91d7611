//! Certificates in the home as tools see them: made, shown, exported. What a certificate is made of is the business of pki; where it lies, of
//! storage-files. Works the same whether the server runs or not, for files are replaced as a whole.

use std::path::{Path, PathBuf};

use vt_pki::{Authority, KeyPem, PkiError, Profile, Purpose};
use vt_storage_files::{CertificateFolder, HomeError, PemPair};
use vt_types::{Clock, Identity, SystemClock, Timestamp};

/// What a certificate is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An authority below the root.
    Authority,
    /// A client: an agent, a link, an administrator.
    Client,
    /// A server under these names.
    Server(Vec<String>),
}

/// Where a certificate and its key lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// A certificate for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// `root-ca`, `ca`, `server`, `client`, `leaf` or `unknown`.
    pub kind: &'static str,
    /// Common name of the subject.
    pub common_name: Option<String>,
    /// Common name of the issuer.
    pub issuer: Option<String>,
    /// Start of validity, such as `2026-11-27 15:00:00+00:00`.
    pub not_before: String,
    /// End of validity.
    pub not_after: String,
    /// Serial number, decimal where it is short enough for that.
    pub serial: String,
    /// Host names and addresses.
    pub names: Vec<String>,
    /// Country, state, location, organization and unit of the subject.
    pub parts: [(&'static str, Option<String>); 5],
    /// SHA-256 of the certificate.
    pub fingerprint: String,
}

/// Why a tool cannot do something with certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// No authority that could sign.
    #[error("there is no authority in {0}; make one with: vctl cert create --type root-ca, or start the platform once with https")]
    NoAuthority(PathBuf),
    /// There is no such certificate, or it has no key.
    #[error("Certificate '{0}' not found.")]
    NotFound(String),
    /// A name that is no file's.
    #[error("{0:?} is no name for a certificate: use letters, digits, '.', '-' and '_'")]
    Name(String),
    /// The root's name, for something that is not the root.
    #[error("{0:?} is the name of the platform's root; choose another")]
    Reserved(String),
    /// A file cannot be used.
    #[error("{path}: {source}")]
    Pki {
        /// Which.
        path: PathBuf,
        /// Why.
        source: PkiError,
    },
    /// A certificate cannot be made.
    #[error(transparent)]
    Make(#[from] PkiError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// The certificates of a home.
pub struct Certificates {
    folder: CertificateFolder,
    instance: String,
}

impl Certificates {
    /// Those of the platform `instance` whose files are in `home`.
    #[must_use]
    pub fn new(home: &Path, instance: &str) -> Self {
        Self { folder: CertificateFolder::new(home), instance: instance.to_owned() }
    }

    /// Name of the platform's root.
    #[must_use]
    pub fn root_name(&self) -> String {
        vt_pki::root_ca_name(&self.instance)
    }

    /// Name of an agent's certificate.
    #[must_use]
    pub fn agent_name(&self, identity: &str) -> String {
        vt_pki::agent_name(&self.instance, identity)
    }

    /// Whether there is a certificate of this name, with or without key.
    #[must_use]
    pub fn exists(&self, name: &str) -> bool {
        self.folder.certificate_path(name).exists()
    }

    /// Makes the platform's root where there is none.
    ///
    /// # Errors
    /// If it cannot be made or written.
    pub fn create_root(&self) -> Result<Files, CertificateError> {
        let (name, root) = (self.root_name(), Authority::generate(&self.instance, SystemClock.now())?);
        self.save(&name, root.certificate_pem(), root.key())
    }

    /// Makes a certificate, signed by the authority named `signer` or by the root, in place of one of the same name.
    ///
    /// # Errors
    /// If the name is none, there is no authority, or the certificate cannot be made or written.
    pub fn create(&self, name: &str, kind: Kind, days: i64, signer: Option<&str>) -> Result<Files, CertificateError> {
        check_name(name)?;
        if name == self.root_name() {
            return Err(CertificateError::Reserved(name.to_owned()));
        }
        let authority = self.authority(signer.unwrap_or(&self.root_name()))?;
        let profile = match kind {
            Kind::Authority => Profile::Authority,
            Kind::Client => Profile::Client,
            Kind::Server(hosts) => Profile::Server(hosts),
        };
        let issued = authority.issue(name, &profile, days, SystemClock.now())?;
        self.save(name, &issued.certificate_pem, &issued.key)
    }

    /// What a certificate says.
    ///
    /// # Errors
    /// [`CertificateError::NotFound`], or if it cannot be read.
    pub fn show(&self, name: &str) -> Result<Shown, CertificateError> {
        check_name(name)?;
        let text = self.folder.load_certificate(name)?.ok_or_else(|| CertificateError::NotFound(name.to_owned()))?;
        let facts = vt_pki::read_certificate(&text).map_err(|source| self.problem(name, source))?;
        let kind = match facts.purpose {
            Purpose::Authority if name == self.root_name() => "root-ca",
            Purpose::Authority => "ca",
            Purpose::Server => "server",
            Purpose::Client => "client",
            Purpose::Leaf => "leaf",
            Purpose::Unknown => "unknown",
        };
        let part = |key: &str| facts.subject_parts.iter().find(|(found, _)| *found == key).map(|(_, value)| value.clone());
        let parts = [("country", "C"), ("state", "ST"), ("location", "L"), ("organization", "O"), ("organization-unit", "OU")];
        let addresses = facts.ip_addresses.iter().map(ToString::to_string);
        Ok(Shown {
            kind,
            parts: parts.map(|(name, key)| (name, part(key))),
            serial: facts.serial_number().map_or_else(|| facts.serial.clone(), |number| number.to_string()),
            names: facts.dns_names.iter().cloned().chain(addresses).collect(),
            common_name: facts.common_name,
            issuer: facts.issuer_common_name,
            not_before: moment(facts.not_before),
            not_after: moment(facts.not_after),
            fingerprint: facts.fingerprint_sha256,
        })
    }

    /// Key and certificate as a PKCS#12 archive, with the root behind them if it signed the certificate.
    ///
    /// # Errors
    /// [`CertificateError::NotFound`], or if the files cannot be read or the password is empty.
    pub fn export(&self, name: &str, password: &str) -> Result<Vec<u8>, CertificateError> {
        check_name(name)?;
        let PemPair { mut certificate, key } = self.folder.load(name)?.ok_or_else(|| CertificateError::NotFound(name.to_owned()))?;
        let key = KeyPem::read(&key).map_err(|source| CertificateError::Pki { path: self.folder.key_path(name), source })?;
        let read = |text: &str| vt_pki::read_certificates(text).map_err(|source| self.problem(name, source));
        let held = read(&certificate)?;
        if let Some(root) = self.folder.load_certificate(&self.root_name())?
            && let Ok(facts) = vt_pki::read_certificate(&root)
            && let [only] = held.as_slice()
            && only.was_issued_by(&facts)
        {
            certificate.push('\n');
            certificate.push_str(&root);
        }
        vt_pki::pkcs12(&certificate, &key, name, password).map_err(|source| match source {
            PkiError::EmptyPassword => CertificateError::Make(source),
            source => self.problem(name, source),
        })
    }

    fn authority(&self, name: &str) -> Result<Authority, CertificateError> {
        check_name(name)?;
        let pair = self.folder.load(name)?.ok_or_else(|| CertificateError::NoAuthority(self.folder.certificate_path(name)))?;
        Authority::load(&pair.certificate, &pair.key).map_err(|source| self.problem(name, source))
    }

    fn save(&self, name: &str, certificate_pem: &str, key: &KeyPem) -> Result<Files, CertificateError> {
        self.folder.save(name, &PemPair { certificate: certificate_pem.to_owned(), key: key.as_str().to_owned() })?;
        Ok(Files { certificate: self.folder.certificate_path(name), key: self.folder.key_path(name) })
    }

    fn problem(&self, name: &str, source: PkiError) -> CertificateError {
        CertificateError::Pki { path: self.folder.certificate_path(name), source }
    }
}

fn moment(time: Timestamp) -> String {
    time.format("%Y-%m-%d %H:%M:%S+00:00").to_string()
}

/// Names are file names; they lead nowhere else.
fn check_name(name: &str) -> Result<(), CertificateError> {
    let is_name = Identity::parse(name).is_ok() && !name.starts_with('.');
    if is_name { Ok(()) } else { Err(CertificateError::Name(name.to_owned())) }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_no_other_place_and_the_root_stays() {
        let home = tempfile::tempdir().unwrap();
        let certificates = Certificates::new(home.path(), "harbor");
        for name in ["", "..", "../x", "a/b", ".hidden", "a b"] {
            assert!(matches!(certificates.create(name, Kind::Client, 1, None), Err(CertificateError::Name(_))), "{name}");
            assert!(matches!(certificates.show(name), Err(CertificateError::Name(_))), "{name}");
        }
        assert!(matches!(certificates.create("a", Kind::Client, 1, None), Err(CertificateError::NoAuthority(_))));
        certificates.create_root().unwrap();
        assert!(matches!(certificates.create("harbor-root-ca", Kind::Client, 1, None), Err(CertificateError::Reserved(_))));
        certificates.create("a", Kind::Client, 1, None).unwrap();
        assert!(matches!(certificates.create("b", Kind::Client, 1, Some("a")), Err(CertificateError::Pki { .. })), "no authority");
        assert!(matches!(certificates.export("nothing", "x"), Err(CertificateError::NotFound(_))));
        assert!(matches!(certificates.export("a", ""), Err(CertificateError::Make(PkiError::EmptyPassword))));
    }
}
