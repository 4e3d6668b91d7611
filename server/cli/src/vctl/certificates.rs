//! `vctl certs` (VOLTTRON 9) and `vctl cert` (the modular generation): certificates that the authority of the home signs. They are files of the
//! home, made and read here whether the server runs or not. Source: VOLTTRON `volttron/platform/control/control_certs.py`; volttron-core 2.0
//! `volttron/client/commands/certs_parser.py`.
//!
//! Differs from VOLTTRON: the root is never made anew over an old one, for everything that it signed would be worthless.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use vt_app::certificates::{CertificateError, Certificates, Files, Kind, Shown};
use vt_config::{Environment, Flags};

use super::failure::{Failure, Outcome};
use super::global::Context;
use crate::output::{complain, line, printable};
use crate::prompt::secret;

/// Days that a certificate of an agent lasts, as in VOLTTRON 9.
const DAYS: i64 = 3650;
/// Longest password, in bytes.
const PASSWORD_BYTES_MAX: u64 = 4096;

#[derive(Debug, Subcommand)]
pub enum Certs {
    /// Make a key and a certificate for an identity, in place of older ones
    CreateSslKeypair {
        /// Of whom
        identity: String,
    },
    /// Write key and certificate of an identity into one file for other programs, under a password
    #[command(name = "export-pkcs12")]
    Export(Export),
}

#[derive(Debug, Args)]
pub struct Export {
    /// Of whom
    identity: String,
    /// File to write; only its owner may read it
    outfile: PathBuf,
    /// Read the password from the first line of this file; '-' is standard input [default: ask]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Cert {
    /// Make a certificate
    Create(Create),
    /// What a certificate says
    Show {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct Create {
    /// What for
    #[arg(long = "type", value_name = "TYPE", default_value = "client")]
    kind: CertType,
    /// Name of the authority that signs [default: the platform's root]
    #[arg(long)]
    ca_name: Option<String>,
    /// How long it lasts
    #[arg(long, default_value_t = DAYS, value_parser = clap::value_parser!(i64).range(1..=365_000))]
    valid_days: i64,
    /// Replace one of the same name
    #[arg(long)]
    overwrite: bool,
    /// Name under which a server is reached [default: the machine's]
    #[arg(long, value_name = "NAME")]
    fqdn: Option<String>,
    /// Its name; the root's is the platform's
    name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CertType {
    Ca,
    Client,
    RootCa,
    Server,
}

impl CertType {
    fn word(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::Client => "client",
            Self::RootCa => "root-ca",
            Self::Server => "server",
        }
    }
}

impl From<CertificateError> for Failure {
    fn from(error: CertificateError) -> Self {
        Self::new(1, error.to_string())
    }
}

pub fn certs(context: &Context, command: &Certs) -> Outcome {
    let certificates = of(context)?;
    match command {
        Certs::CreateSslKeypair { identity } => {
            let files = certificates.create(&certificates.agent_name(identity), Kind::Client, DAYS, None)?;
            if context.json { Context::print_json(&told(&files)) } else { Ok(()) }
        }
        Certs::Export(export) => {
            let name = certificates.agent_name(&export.identity);
            // Told before anybody types a password for nothing.
            certificates.show(&name)?;
            let archive = certificates.export(&name, &password(export.password_file.as_deref())?)?;
            write(&export.outfile, &archive)?;
            if context.json { Context::print_json(&json!({"file": export.outfile.display().to_string()})) } else { Ok(()) }
        }
    }
}

pub fn cert(context: &Context, command: Cert) -> Outcome {
    let certificates = of(context)?;
    match command {
        Cert::Create(options) => create(context, &certificates, options),
        Cert::Show { name } => show(context, &name, &certificates.show(&name)?),
    }
}

fn create(context: &Context, certificates: &Certificates, options: Create) -> Outcome {
    if options.fqdn.is_some() && options.kind != CertType::Server {
        return Err(Failure::plain(1, "Error: --fqdn can only be used with --type server"));
    }
    if options.ca_name.is_some() && options.kind == CertType::RootCa {
        return Err(Failure::plain(1, "Error: --ca-name cannot be used with --type root-ca"));
    }
    let (kind, word) = (options.kind, options.kind.word());
    let name = match (kind, options.name) {
        (CertType::RootCa, given) => {
            if given.is_some() {
                complain("Root CA for a VOLTTRON instance will always be created using instance name");
            }
            certificates.root_name()
        }
        (_, Some(name)) => name,
        (_, None) => return Err(Failure::plain(1, "Error: certificate name is required")),
    };
    let exists = certificates.exists(&name);
    if exists && kind == CertType::RootCa && options.overwrite {
        return Err(Failure::new(
            1,
            format!("{name} has signed other certificates and is not replaced; remove its files first if none of them is in use"),
        ));
    }
    if exists && !options.overwrite {
        let told = format!("{word} certificate already exists: {name}");
        if context.json {
            complain(&printable(&told));
            return Context::print_json(&json!({"action": null, "problem": told}));
        }
        line(&printable(&told));
        line("Use --overwrite to replace the existing certificate");
        return Ok(());
    }
    let days = options.valid_days;
    let signer = options.ca_name.as_deref();
    let files = match kind {
        CertType::RootCa => {
            if !context.home.exists() {
                vt_app::offline::make_home(&context.home)?;
            }
            certificates.create_root()?
        }
        CertType::Ca => certificates.create(&name, Kind::Authority, days, signer)?,
        CertType::Client => certificates.create(&name, Kind::Client, days, signer)?,
        CertType::Server => certificates.create(&name, Kind::Server(vec![options.fqdn.unwrap_or_else(host_name)]), days, signer)?,
    };
    if context.json {
        return Context::print_json(&told(&files));
    }
    let what = if kind == CertType::RootCa { "root CA" } else { word };
    line(&printable(&format!("Successfully created {what} certificate: {name}")));
    Ok(())
}

fn show(context: &Context, name: &str, shown: &Shown) -> Outcome {
    if context.json {
        let mut json = json!({
            "name": name, "type": shown.kind, "common-name": shown.common_name, "issuer": shown.issuer,
            "not-before": shown.not_before, "not-after": shown.not_after, "serial": shown.serial,
            "names": shown.names, "sha256": shown.fingerprint,
        });
        shown.parts.iter().for_each(|(part, value)| json[*part] = json!(value));
        return Context::print_json(&json);
    }
    let text = |value: &Option<String>| printable(value.as_deref().unwrap_or("-"));
    line(&format!("\nCertificate: {}", printable(name)));
    line(&format!("Type: {}", shown.kind));
    line(&format!("Common Name: {}", text(&shown.common_name)));
    line(&format!("Issuer: {}", text(&shown.issuer)));
    line(&format!("Expiry: {}", shown.not_after.split(' ').next().unwrap_or_default()));
    line(&format!("Not Before: {}", shown.not_before));
    line(&format!("Not After: {}", shown.not_after));
    line(&format!("Serial Number: {}", shown.serial));
    for (label, (_, value)) in ["Country", "State", "Location", "Organization", "Organization Unit"].iter().zip(&shown.parts) {
        line(&format!("{label}: {}", text(value)));
    }
    if !shown.names.is_empty() {
        line(&format!("Names: {}", printable(&shown.names.join(", "))));
    }
    line(&format!("SHA-256: {}", shown.fingerprint));
    Ok(())
}

/// The certificates of this platform, whose name the configuration says.
fn of(context: &Context) -> Result<Certificates, Failure> {
    let flags = Flags { home: Some(context.home.clone()), ..Flags::default() };
    let loaded = vt_config::load(&flags, &Environment::of_process()).map_err(|error| Failure::new(1, error.to_string()))?;
    Ok(Certificates::new(&context.home, &loaded.settings.instance_name))
}

fn host_name() -> String {
    Environment::of_process().host_name().unwrap_or("localhost").to_owned()
}

fn told(files: &Files) -> serde_json::Value {
    json!({"certificate": files.certificate.display().to_string(), "key": files.key.display().to_string()})
}

/// The first line of a file or of standard input, or what somebody types twice unseen. Never an argument: those are seen by everybody.
fn password(file: Option<&Path>) -> Result<String, Failure> {
    let failed = |from: &str, error: std::io::Error| Failure::new(1, format!("the password cannot be read from {from}: {error}"));
    let first_line = |from: &str, reader: &mut dyn Read| {
        let mut text = String::new();
        reader.take(PASSWORD_BYTES_MAX).read_to_string(&mut text).map_err(|error| failed(from, error))?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    };
    match file {
        Some(path) if path != Path::new("-") => {
            let from = path.display().to_string();
            let mut file = std::fs::File::open(path).map_err(|error| failed(&from, error))?;
            first_line(&from, &mut file)
        }
        None if std::io::stdin().is_terminal() => {
            let ask = |question: &str| Ok::<_, Failure>(secret(question)?);
            let password = ask("Enter Export Password: ")?;
            if ask("Verifying - Enter Export Password: ")? == password {
                Ok(password)
            } else {
                Err(Failure::new(1, "the two passwords are not the same"))
            }
        }
        _ => first_line("standard input", &mut std::io::stdin().lock()),
    }
}

/// Written beside and renamed, readable by its owner alone.
fn write(path: &Path, bytes: &[u8]) -> Outcome {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map(drop).map_err(|error| error.error)
    });
    written.map_err(|error| Failure::new(1, format!("{} cannot be written: {error}", path.display())))
}
