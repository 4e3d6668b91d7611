//! How a command fails: with its exit code and what it says on standard error. Codes and forms: VOLTTRON `volttron/platform/control.py`.

use vt_app::offline::OfflineError;

use crate::client::ClientError;
use crate::output::printable;

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    text: String,
    /// More for `--debug`.
    detail: String,
    form: Form,
}

/// What stands in front of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `<command>: error: `.
    Error,
    /// `<command>: `.
    Named,
    /// Nothing.
    Plain,
}

/// The result of a command.
pub type Outcome = Result<(), Failure>;

impl Failure {
    /// `<command>: error: <text>`.
    pub fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), detail: String::new(), form: Form::Error }
    }

    /// The text alone.
    pub fn plain(code: u8, text: impl Into<String>) -> Self {
        Self { form: Form::Plain, ..Self::new(code, text) }
    }

    /// Its exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Lines for standard error.
    pub fn told(&self, command: &str, debug: bool) -> Vec<String> {
        // Messages of agents may hold anything.
        let text = self.text.lines().map(printable).collect::<Vec<_>>().join("\n");
        let mut lines = match self.form {
            Form::Error => vec![format!("{command}: error: {text}")],
            Form::Named => vec![format!("{command}: {text}")],
            Form::Plain if text.is_empty() => Vec::new(),
            Form::Plain => vec![text],
        };
        if debug && !self.detail.is_empty() {
            lines.push(printable(&self.detail));
        }
        lines
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let form = match error {
            ClientError::NotRunning => Form::Plain,
            ClientError::TimedOut => Form::Named,
            ClientError::Interrupted => Form::Plain,
            ClientError::Remote { .. } | ClientError::Socket { .. } => Form::Error,
        };
        let detail = match &error {
            ClientError::Remote { kind, exc_type, .. } => format!("{kind} {exc_type}").trim().to_owned(),
            _ => String::new(),
        };
        let text = if matches!(error, ClientError::Interrupted) { String::new() } else { error.to_string() };
        Self { code: error.exit_code(), text, detail, form }
    }
}

impl From<OfflineError> for Failure {
    fn from(error: OfflineError) -> Self {
        match error {
            OfflineError::InUse => Self { code: 75, text: "operation timed out".to_owned(), detail: error.to_string(), form: Form::Named },
            error => Self::new(20, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_volttrons_code_and_form() {
        let remote = ClientError::Remote { kind: "remote".into(), exc_type: "builtins.KeyError".into(), message: "no\u{1b}[2J".into() };
        for (error, code, told) in [
            (ClientError::TimedOut, 75, vec!["status: operation timed out"]),
            (ClientError::NotRunning, 10, vec!["VOLTTRON is not running. This command requires VOLTTRON platform to be running"]),
            (ClientError::Interrupted, 1, vec![]),
            (remote, 20, vec!["status: error: no\u{fffd}[2J", "remote builtins.KeyError"]),
        ] {
            let failure = Failure::from(error);
            assert_eq!((failure.code(), failure.told("status", true)), (code, told.into_iter().map(str::to_owned).collect()));
        }
    }
}
