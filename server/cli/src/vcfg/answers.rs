//! Every question of `vcfg` by the name under which a script answers it, as an option or in an answers file.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

/// Name and meaning of an answer.
pub struct Question {
    pub key: &'static str,
    pub help: &'static str,
}

const fn question(key: &'static str, help: &'static str) -> Question {
    Question { key, help }
}

/// All answers, in the order of the questions.
pub const QUESTIONS: &[Question] = &[
    question("is-home", "Whether VOLTTRON_HOME is the one to set up, Y or N"),
    question("continue", "Whether to go on while the instance runs, Y or N"),
    question("message-bus", "Type of message bus: zmq or rmq"),
    question("vip-address", "VIP address without its port, such as tcp://127.0.0.1"),
    question("vip-port", "Port of the VIP address"),
    question("instance-name", "Name of this instance"),
    question("web", "Whether the instance is web enabled, Y or N"),
    question("web-host", "Host of the web address (never asked)"),
    question("web-protocol", "Protocol of the web address: https or http"),
    question("web-port", "Port of the web address"),
    question("use-certificates", "Whether to go on with the certificates that are there, Y or N"),
    question("generate-certificate", "Whether the server makes its own certificate, Y or N"),
    question("certificate", "SSL certificate public key file"),
    question("certificate-key", "SSL certificate private key file"),
    question("volttron-central", "Whether this is an instance of volttron central, Y or N"),
    question("controlled", "Whether volttron central controls this instance, Y or N"),
    question("volttron-central-host", "Host name of volttron central"),
    question("volttron-central-port", "Port of volttron central"),
    question("platform-historian", "Whether to install a platform historian, Y or N"),
    question("platform-historian-overwrite", "Whether to replace an installed one, Y or N"),
    question("platform-historian-autostart", "Whether it starts with the platform, Y or N"),
    question("platform-driver", "Whether to install a platform driver, Y or N"),
    question("fake-device", "Whether the platform driver gets a fake device, Y or N"),
    question("platform-driver-overwrite", "Whether to replace an installed one, Y or N"),
    question("platform-driver-autostart", "Whether it starts with the platform, Y or N"),
    question("listener", "Whether to install a listener agent, Y or N"),
    question("listener-overwrite", "Whether to replace an installed one, Y or N"),
    question("listener-autostart", "Whether it starts with the platform, Y or N"),
    question("actuator-overwrite", "Whether to replace an installed actuator, Y or N"),
    question("actuator-autostart", "Whether the actuator starts with the platform, Y or N"),
];

/// Answers of a YAML or JSON file: one object whose keys are those of [`QUESTIONS`].
pub fn read(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    parse(&text).map_err(|problem| format!("{}: {problem}", path.display()))
}

fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let members: Map<String, Value> = serde_saphyr::from_str(text).map_err(|error| format!("this is no object of answers: {error}"))?;
    members
        .into_iter()
        .map(|(key, value)| {
            if !QUESTIONS.iter().any(|question| question.key == key) {
                return Err(format!("{key:?} is no question; `vcfg --help` lists them"));
            }
            let answer = match value {
                Value::String(text) => text,
                Value::Bool(true) => "Y".to_owned(),
                Value::Bool(false) => "N".to_owned(),
                Value::Number(number) => number.to_string(),
                _ => return Err(format!("the answer for {key} must be a text, a number or yes or no")),
            };
            Ok((key, answer))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_yaml_or_json_and_misspelt_ones_are_named() {
        let answers = parse("web: true\nvip-port: 22920\ninstance-name: harbor\n").unwrap();
        assert_eq!((answers["web"].as_str(), answers["vip-port"].as_str(), answers["instance-name"].as_str()), ("Y", "22920", "harbor"));
        assert_eq!(parse(r#"{"listener": "N"}"#).unwrap()["listener"], "N");
        assert!(parse("wbe: true").unwrap_err().contains("\"wbe\" is no question"));
        assert!(parse("web: [1]").is_err());
        assert!(parse("- web").is_err());
    }
}
