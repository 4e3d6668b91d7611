//! The server's certificate and the key that signs tokens. With no certificate of the user, the platform has its own root CA and issues
//! itself a server certificate, which is renewed at two thirds of its life.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use vt_config::{Scheme, Settings};
use vt_pki::{Authority, KeyKind, KeyPem};
use vt_services::SigningKey;
use vt_storage_files::{CertificateFolder, PemPair};
use vt_types::Timestamp;

/// Certificate chain and key, PEM.
pub struct ServerIdentity {
    pub certificates_pem: String,
    pub key: KeyPem,
}

/// The certificate and key to serve with; `None` for http.
///
/// # Errors
/// Which file or name is wrong.
pub fn server_identity(settings: &Settings, folder: &CertificateFolder, now: Timestamp) -> anyhow::Result<Option<ServerIdentity>> {
    if settings.web.bind.scheme == Scheme::Http {
        return Ok(None);
    }
    if let Some(files) = &settings.web.certificate {
        let certificates_pem = read(&files.certificate)?;
        let key = KeyPem::read(&read(&files.key)?).with_context(|| format!("{} cannot be used", files.key.display()))?;
        vt_pki::check_key_matches(&certificates_pem, &key)
            .with_context(|| format!("web-ssl-cert {} and web-ssl-key {} do not fit", files.certificate.display(), files.key.display()))?;
        return Ok(Some(ServerIdentity { certificates_pem, key }));
    }
    let authority = authority(settings, folder, now)?;
    let name = vt_pki::web_server_name(&settings.instance_name);
    let hosts = host_names(settings);
    if let Some(pair) = folder.load(&name)?
        && let Ok(facts) = vt_pki::read_certificate(&pair.certificate)
        && facts.is_valid_at(now)
        && now < facts.renewal_due()
        && facts.was_issued_by(authority.facts())
        && hosts.iter().all(|host| facts.covers(host))
        && let Ok(key) = KeyPem::read(&pair.key)
    {
        return Ok(Some(with_chain(&pair.certificate, key, &authority)));
    }
    let issued = authority.issue_web_server(&settings.instance_name, &hosts, now)?;
    folder.save(&name, &PemPair { certificate: issued.certificate_pem.clone(), key: issued.key.as_str().to_owned() })?;
    Ok(Some(with_chain(&issued.certificate_pem, issued.key, &authority)))
}

fn with_chain(certificate: &str, key: KeyPem, authority: &Authority) -> ServerIdentity {
    ServerIdentity { certificates_pem: format!("{certificate}{}", authority.certificate_pem()), key }
}

fn authority(settings: &Settings, folder: &CertificateFolder, now: Timestamp) -> anyhow::Result<Authority> {
    let name = vt_pki::root_ca_name(&settings.instance_name);
    if let Some(pair) = folder.load(&name)? {
        return Authority::load(&pair.certificate, &pair.key)
            .with_context(|| format!("the root CA in {} cannot be used", folder.certificate_path(&name).display()));
    }
    let authority = Authority::generate(&settings.instance_name, now)?;
    folder.save(&name, &PemPair { certificate: authority.certificate_pem().to_owned(), key: authority.key().as_str().to_owned() })?;
    Ok(authority)
}

fn host_names(settings: &Settings) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let bound = (!settings.web.bind.is_unspecified()).then(|| settings.web.bind.host.clone());
    let machine = vt_config::Environment::of_process().host_name().map(str::to_owned);
    for name in bound.into_iter().chain(machine).chain(settings.web.host_names.iter().cloned()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What rustls serves with.
///
/// # Errors
/// If certificate and key cannot be used together.
pub fn server_config(identity: &ServerIdentity) -> anyhow::Result<Arc<ServerConfig>> {
    let certificates = CertificateDer::pem_slice_iter(identity.certificates_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .context("the server certificate is no PEM")?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_str().as_bytes()).context("the server key is no PEM")?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What tokens are signed with: the server's key, or the secret of an http platform.
///
/// # Errors
/// If there is neither.
pub fn signing_key(settings: &Settings, identity: Option<&ServerIdentity>) -> anyhow::Result<SigningKey> {
    let Some(identity) = identity else {
        let secret = settings.web.secret_key.as_ref().context("web-secret-key is missing")?;
        return Ok(SigningKey::Hs256(secret.expose().as_bytes().to_vec()));
    };
    let (kind, public) = identity.key.public()?;
    let private = identity.key.as_str().to_owned();
    Ok(match kind {
        KeyKind::EcdsaP256 => SigningKey::Es256Pem { private, public },
        KeyKind::Rsa => SigningKey::Rs256Pem { private, public },
        // Keys that tokens cannot be signed with directly still give a secret that is as well kept and as lasting as they are.
        KeyKind::Other => {
            SigningKey::Hs256(Sha256::new().chain_update(b"volttron token signing key").chain_update(&private).finalize().to_vec())
        }
    })
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vt_config::{Environment, Flags, load};

    fn identity(key: &str) -> ServerIdentity {
        ServerIdentity { certificates_pem: String::new(), key: KeyPem::read(key).unwrap() }
    }

    fn settings(address: &str) -> Settings {
        let flags = Flags { bind_web_address: Some(address.to_owned()), ..Flags::default() };
        load(&flags, &Environment::of(&[("VOLTTRON_HOME", "/nowhere")], None)).unwrap().settings
    }

    #[test]
    fn tokens_are_signed_with_the_key_of_the_certificate_or_the_secret_of_http() {
        let https = settings("https://127.0.0.1:0");
        let rsa = signing_key(&https, Some(&identity(include_str!("../../pki/testdata/pkcs1-rsa2048.pem"))));
        assert!(matches!(rsa, Ok(SigningKey::Rs256Pem { public, .. }) if public.contains("PUBLIC KEY")));
        let ecdsa = signing_key(&https, Some(&identity(include_str!("../../pki/testdata/sec1-p256.pem"))));
        assert!(matches!(ecdsa, Ok(SigningKey::Es256Pem { .. })));
        let http = settings("http://127.0.0.1:0");
        let secret = http.web.secret_key.as_ref().unwrap().expose().as_bytes().to_vec();
        assert!(matches!(signing_key(&http, None), Ok(SigningKey::Hs256(key)) if key == secret));
        assert!(signing_key(&https, None).is_err());
    }
}
