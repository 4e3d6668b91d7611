//! The questions about the platform itself, in VOLTTRON's order and words, and the settings that follow from the answers.
//! Source: VOLTTRON 9 `volttron/platform/instance_setup.py`.
//!
//! Differs from VOLTTRON: certificates that the server makes itself carry no country, state or organization, so these are not asked; the
//! server is a central by itself, so there is no volttron central agent to install and its administrator is made on the first page.

use std::net::{TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};

use vt_config::Settings;

use crate::output::line;
use crate::prompt::{Prompt, PromptError};

/// A key of the configuration file with its new value; none removes it.
pub type Key = (&'static str, Option<String>);

/// What is there already.
pub struct Present<'a> {
    /// Settings as they are.
    pub settings: &'a Settings,
    /// Keys that the file sets.
    pub keys: &'a [String],
    /// The machine's name.
    pub host_name: String,
    /// Whether the instance runs, so that it holds its own addresses.
    pub is_running: bool,
}

impl Present<'_> {
    fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|known| known == key)
    }
}

/// Asks everything about the platform and gives the keys to write.
pub fn ask(prompt: &Prompt, present: &Present<'_>) -> Result<Vec<Key>, PromptError> {
    let mut keys: Vec<Key> = Vec::new();
    let bus = if present.has("message-bus") { present.settings.message_bus.as_str() } else { "zmq" };
    let bus = if bus == "rmq" { "rmq" } else { "zmq" };
    let bus = prompt.ask("message-bus", "What type of message bus (rmq/zmq)?", Some(bus), |answer| match answer {
        "zmq" | "rmq" => Ok(answer.to_owned()),
        _ => Err("Message type is not valid. Valid entries are zmq or rmq.".to_owned()),
    })?;
    keys.push(("message-bus", Some(bus)));
    keys.push(("vip-address", Some(vip_address(prompt, present)?)));
    let name = prompt.ask("instance-name", "What is the name of this instance?", Some(&instance_name(present)), |answer| {
        vt_config::check_instance_name(answer).map(|()| answer.to_owned())
    })?;
    keys.push(("instance-name", Some(name.clone())));
    web(prompt, present, &name, &mut keys)?;
    if prompt.yes_or_no("controlled", "Will this instance be controlled by volttron central?", true)? {
        let host = prompt.ask("volttron-central-host", "What is the hostname for volttron central?", Some(&present.host_name), host)?;
        let port = prompt.ask("volttron-central-port", "What is the port for volttron central?", Some("8443"), port)?;
        let address = if host.contains("://") { format!("{host}:{port}") } else { format!("https://{host}:{port}") };
        keys.push(("volttron-central-address", Some(address)));
    } else {
        keys.push(("volttron-central-address", None));
    }
    Ok(keys)
}

fn instance_name(present: &Present<'_>) -> String {
    if present.has("instance-name") { present.settings.instance_name.clone() } else { "volttron1".to_owned() }
}

fn vip_address(prompt: &Prompt, present: &Present<'_>) -> Result<String, PromptError> {
    let current = present.settings.vip_addresses.iter().map(ToString::to_string).find(|address| address.starts_with("tcp://"));
    let (address, port_text) = current.as_deref().and_then(|text| text.rsplit_once(':')).unwrap_or(("tcp://127.0.0.1", "22916"));
    loop {
        let address = prompt.ask("vip-address", "What is the vip address?", Some(address), |answer| {
            let address = answer.trim_end_matches('/').to_owned();
            match vt_config::VipAddress::parse(&format!("{address}:1")) {
                Ok(_) if address.starts_with("tcp://") => Ok(address),
                _ => Err("Address is not valid.".to_owned()),
            }
        })?;
        let port = prompt.ask("vip-port", "What is the port for the vip address?", Some(port_text), port)?;
        let whole = format!("{address}:{port}");
        let is_own = present.is_running && current.as_deref() == Some(&whole);
        if is_own || is_free(address.trim_start_matches("tcp://"), port) {
            return Ok(whole);
        }
        let problem = "ERROR: That address has already been bound to.";
        if prompt.known("vip-address").is_some() || prompt.known("vip-port").is_some() {
            return Err(PromptError::Wrong { key: "vip-port".to_owned(), answer: whole, problem: problem.to_owned() });
        }
        line(&format!("\n{problem}"));
    }
}

fn is_free(host: &str, port: u16) -> bool {
    match TcpListener::bind((host.trim_start_matches('[').trim_end_matches(']'), port)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrInUse,
    }
}

fn web(prompt: &Prompt, present: &Present<'_>, name: &str, keys: &mut Vec<Key>) -> Result<(), PromptError> {
    let is_set = present.has("bind-web-address");
    if !prompt.yes_or_no("web", "Is this instance web enabled?", is_set)? {
        line("Pages and API stay on this machine alone, at https://127.0.0.1:8443.");
        keys.push(("bind-web-address", None));
        return Ok(());
    }
    let bind = &present.settings.web.bind;
    let current_protocol = if is_set && bind.scheme == vt_config::Scheme::Http { "http" } else { "https" };
    let protocol =
        prompt.ask("web-protocol", "What is the protocol for this instance?", Some(current_protocol), |answer| match answer {
            "https" | "http" => Ok(answer.to_owned()),
            _ => Err("Invalid response. Proper responses are:\n('https', 'http')".to_owned()),
        })?;
    let default_port = match (is_set && current_protocol == protocol, protocol.as_str()) {
        (true, _) => bind.port.to_string(),
        (false, "http") => "8080".to_owned(),
        (false, _) => "8443".to_owned(),
    };
    let port = prompt.ask("web-port", "What is the port for this instance?", Some(&default_port), port)?;
    let host = match prompt.known("web-host") {
        Some(host) => host.to_owned(),
        None if is_set => bind.host.clone(),
        None if resolves(&present.host_name) => present.host_name.clone(),
        None => "127.0.0.1".to_owned(),
    };
    let address = format!("{protocol}://{host}:{port}");
    vt_config::WebAddress::parse(&address).map_err(|error| PromptError::Wrong {
        key: "web-host".to_owned(),
        answer: host,
        problem: error.to_string(),
    })?;
    keys.push(("bind-web-address", Some(address)));
    if protocol == "https" {
        certificates(prompt, present, name, keys)?;
    }
    if prompt.yes_or_no("volttron-central", "Is this an instance of volttron central?", false)? {
        line("This server is a central by itself; its first page makes the administrator.");
    }
    Ok(())
}

fn certificates(prompt: &Prompt, present: &Present<'_>, name: &str, keys: &mut Vec<Key>) -> Result<(), PromptError> {
    let own = vt_app::certificates::web_server_files(&present.settings.home, name);
    let found = present.settings.web.certificate.as_ref().map(|files| (files.certificate.clone(), files.key.clone())).or(own);
    if let Some((certificate, key)) = found {
        line("The following certificate and keyfile exists for web access over https:");
        line(&format!("{}\n{}", certificate.display(), key.display()));
        if prompt.yes_or_no("use-certificates", "Do you want to use these certificates for the web server?", true)? {
            return Ok(());
        }
    }
    if prompt.yes_or_no("generate-certificate", "Would you like to generate a new web certificate?", true)? {
        line("The server makes its certificate, and its own CA if there is none, when it starts.");
        keys.extend([("web-ssl-cert", None), ("web-ssl-key", None)]);
        return Ok(());
    }
    loop {
        let certificate = prompt.ask("certificate", "Enter the SSL certificate public key file:", None, readable)?;
        let key = prompt.ask("certificate-key", "Enter the SSL certificate private key file:", None, readable)?;
        match vt_app::certificates::check(&certificate, &key) {
            Ok(()) => {
                let text = |path: &Path| Some(path.display().to_string());
                keys.extend([("web-ssl-cert", text(&certificate)), ("web-ssl-key", text(&key))]);
                return Ok(());
            }
            Err(problem) if prompt.known("certificate").is_some() => {
                let (key, answer) = ("certificate".to_owned(), certificate.display().to_string());
                return Err(PromptError::Wrong { key, answer, problem });
            }
            Err(problem) => line(&format!("ERROR:\n {problem}")),
        }
    }
}

fn readable(answer: &str) -> Result<PathBuf, String> {
    let path = vt_config::Environment::of_process().expand(PathBuf::from(answer));
    let path = std::path::absolute(&path).map_err(|error| error.to_string())?;
    match std::fs::File::open(&path) {
        Ok(_) => Ok(path),
        Err(_) => Err(format!("Unable to read file {}", path.display())),
    }
}

fn port(answer: &str) -> Result<u16, String> {
    answer.parse().ok().filter(|port| (1..65_535).contains(port)).ok_or_else(|| "Port is not valid.".to_owned())
}

fn host(answer: &str) -> Result<String, String> {
    let address = if answer.contains("://") { format!("{answer}:1") } else { format!("https://{answer}:1") };
    vt_config::WebAddress::parse(&address).map(|_| answer.to_owned()).map_err(|_| "Address is not valid.".to_owned())
}

fn resolves(host: &str) -> bool {
    (host, 0_u16).to_socket_addrs().is_ok_and(|mut found| found.next().is_some())
}
