//! The fields of an entry, asked one by one. With `--json` the questions are on standard error.

use serde_json::{Map, Value, json};

use super::super::failure::Failure;
use super::super::global::Context;
use crate::output::{complain, hint, print, printable};
use crate::prompt::{PromptError, input};
use crate::python::repr;

const SEVERAL: &str = "delimit multiple entries with comma";
/// In this order, as VOLTTRON 6 asks.
const FIELDS: [(&str, &str); 10] = [
    ("domain", ""),
    ("address", ""),
    ("user_id", ""),
    ("capabilities", SEVERAL),
    ("roles", SEVERAL),
    ("groups", SEVERAL),
    ("mechanism", ""),
    ("credentials", ""),
    ("comments", ""),
    ("enabled", ""),
];

/// Asks a person, or whatever writes to standard input.
pub struct Questions {
    is_json: bool,
}

impl Questions {
    /// Asks where `context` leaves room for it.
    pub fn new(context: &Context) -> Self {
        Self { is_json: context.json }
    }

    /// Tells something that belongs to the questions.
    pub fn say(&self, text: &str) {
        self.show(&format!("{text}\n"));
    }

    /// Asks yes or no; yes if nothing is typed. Without anybody to ask it is an error.
    pub fn yes(&self, question: &str) -> Result<bool, Failure> {
        loop {
            self.show(&format!("{question} [Y/n] "));
            let Some(answer) = input()? else {
                self.show("\n");
                return Err(unanswered(question));
            };
            match answer.to_lowercase().as_str() {
                "" | "y" | "ye" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => complain("Please respond with 'yes' or 'no'"),
            }
        }
    }

    /// Asks for all fields; an empty answer is what `before` says.
    pub fn ask(&self, before: &Map<String, Value>) -> Result<Map<String, Value>, Failure> {
        let mut answers = Map::new();
        for (name, note) in FIELDS {
            let default = before.get(name).cloned().unwrap_or_else(|| match name {
                "mechanism" => json!("CURVE"),
                "enabled" => json!(true),
                _ => Value::Null,
            });
            let note = if note.is_empty() { String::new() } else { format!("({note}) ") };
            let question = format!("{name} {note}[{}]: ", printable(&as_default(&default)));
            let answer = self.field(name, &question, &default, &answers)?;
            answers.insert(name.to_owned(), answer);
        }
        Ok(answers)
    }

    /// One field, asked until the answer can be used.
    fn field(&self, name: &str, question: &str, default: &Value, others: &Map<String, Value>) -> Result<Value, Failure> {
        loop {
            self.show(question);
            let given = input()?;
            if given.is_none() {
                self.show("\n");
            }
            let value = match given.as_deref().map(str::trim) {
                None | Some("") => default.clone(),
                Some("clear") if self.yes("Do you want to clear this field?")? => Value::Null,
                Some(text) => json!(text),
            };
            match usable(name, value, others) {
                Ok(value) => return Ok(value),
                Err(problem) if given.is_none() => return Err(Failure::new(1, format!("{name}: {problem}"))),
                Err(problem) => complain(&printable(&problem)),
            }
        }
    }

    fn show(&self, text: &str) {
        if self.is_json { hint(text) } else { print(text) }
    }
}

impl From<PromptError> for Failure {
    fn from(error: PromptError) -> Self {
        Self::new(1, error.to_string())
    }
}

fn unanswered(question: &str) -> Failure {
    Failure::new(1, format!("there is no answer to {question:?}"))
}

/// How a default is shown in its brackets.
fn as_default(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(|one| one.as_str().map_or_else(|| repr(one), str::to_owned)).collect::<Vec<_>>().join(","),
        value => repr(value),
    }
}

/// The value that an answer stands for.
fn usable(name: &str, value: Value, others: &Map<String, Value>) -> Result<Value, String> {
    let mechanism = || others.get("mechanism").and_then(Value::as_str).unwrap_or_default();
    match (name, &value) {
        ("capabilities", Value::String(text)) => Ok(parse_capabilities(text)),
        ("roles" | "groups", Value::String(text)) => Ok(comma_split(text)),
        ("mechanism", given) => vt_app::offline::check_credentials(given.as_str().unwrap_or_default(), Some("/.*/")).map(|()| value),
        // An entry that was read may name several.
        ("credentials", Value::Array(_)) => Ok(value),
        ("credentials", given) => vt_app::offline::check_credentials(mechanism(), given.as_str()).map(|()| value),
        ("enabled", Value::Bool(_)) => Ok(value),
        ("enabled", given) => match given.as_str().map(str::to_lowercase).as_deref() {
            Some("true") => Ok(json!(true)),
            Some("false") => Ok(json!(false)),
            _ => Err("Please enter True or False".to_owned()),
        },
        _ => Ok(value),
    }
}

/// Words between commas.
pub fn comma_split(text: &str) -> Value {
    if text.trim().is_empty() {
        return json!([]);
    }
    text.split(',').map(|word| json!(word.trim())).collect()
}

/// Capabilities as JSON, perhaps with single quotes, else words between commas.
pub fn parse_capabilities(text: &str) -> Value {
    serde_json::from_str(&text.trim().replace('\'', "\"")).unwrap_or_else(|_| comma_split(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_what_they_stand_for() {
        let others = json!({"mechanism": "CURVE"}).as_object().unwrap().clone();
        let usable = |name: &str, value: Value| usable(name, value, &others);
        assert_eq!(usable("capabilities", json!("a, b")), Ok(json!(["a", "b"])));
        assert_eq!(usable("capabilities", json!("{'a': {'identity': 'x'}}")), Ok(json!({"a": {"identity": "x"}})));
        assert_eq!(usable("capabilities", json!({"a": null})), Ok(json!({"a": null})), "a default stays");
        assert_eq!(usable("roles", json!(" r1 ,r2")), Ok(json!(["r1", "r2"])));
        assert_eq!(usable("enabled", json!("fAlse")), Ok(json!(false)));
        assert_eq!(usable("enabled", json!("no")), Err("Please enter True or False".to_owned()));
        assert_eq!(usable("enabled", Value::Null), Err("Please enter True or False".to_owned()));
        assert!(usable("mechanism", json!("x")).unwrap_err().starts_with("mechanism must be either"));
        assert!(usable("credentials", json!("short")).unwrap_err().starts_with("Invalid CURVE public key"));
        assert!(usable("credentials", Value::Null).unwrap_err().contains("credentials parameter is required"));
        assert_eq!(usable("credentials", json!("/.*/")), Ok(json!("/.*/")));
    }

    #[test]
    fn defaults_are_shown_as_volttron_shows_them() {
        for (value, shown) in [
            (Value::Null, ""),
            (json!("x"), "x"),
            (json!(["a", "b"]), "a,b"),
            (json!(true), "True"),
            (json!({"a": {"identity": "x"}}), "{'a': {'identity': 'x'}}"),
        ] {
            assert_eq!(as_default(&value), shown);
        }
    }
}
