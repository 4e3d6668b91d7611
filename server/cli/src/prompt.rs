//! Questions in VOLTTRON's form: `text [default]: `. Answers come from an answers file or an option if they are there, else from standard
//! input; at its end, the default holds. What was answered beforehand is shown beside its question, so that a log tells what was chosen.
//! Source: VOLTTRON `volttron/utils/prompt.py`.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal};

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

use crate::output::{hint, line, print};

/// Asks, or knows.
#[derive(Debug, Default)]
pub struct Prompt {
    known: BTreeMap<String, String>,
    is_silent: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PromptError {
    /// A question that has no default was not answered.
    #[error("there is no answer to {0:?}")]
    Unanswered(String),
    /// What was answered beforehand cannot be used, and nobody can be asked again.
    #[error("the answer {answer:?} for {key} cannot be used: {problem}")]
    Wrong {
        /// Which answer.
        key: String,
        /// It.
        answer: String,
        /// Why.
        problem: String,
    },
    /// Standard input cannot be read.
    #[error("standard input cannot be read: {0}")]
    Input(String),
}

impl Prompt {
    /// With answers known beforehand by their keys; `is_silent` takes defaults for all others.
    pub fn new(known: BTreeMap<String, String>, is_silent: bool) -> Self {
        Self { known, is_silent }
    }

    /// Takes an answer known beforehand.
    pub fn known(&self, key: &str) -> Option<&str> {
        self.known.get(key).map(String::as_str)
    }

    /// Asks until `check` accepts. An empty answer is the default; without a default, VOLTTRON's `Please enter a non empty value`.
    pub fn ask<T>(
        &self,
        key: &str,
        question: &str,
        default: Option<&str>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, PromptError> {
        let shown = default.map_or_else(|| format!("{question} "), |default| format!("{question} [{default}]: "));
        if let Some(answer) = self.known.get(key) {
            line(&format!("{shown}{answer}"));
            return check(answer).map_err(|problem| PromptError::Wrong { key: key.to_owned(), answer: answer.clone(), problem });
        }
        loop {
            print(&shown);
            let answer = if self.is_silent { None } else { read_line()? };
            if answer.is_none() {
                line("");
            }
            let given = answer.as_deref().map(str::trim).filter(|answer| !answer.is_empty()).or(default);
            match given {
                None if answer.is_none() => return Err(PromptError::Unanswered(question.to_owned())),
                None => line("Please enter a non empty value"),
                Some(given) => match check(given) {
                    Ok(value) => return Ok(value),
                    Err(problem) if answer.is_none() => {
                        return Err(PromptError::Wrong { key: key.to_owned(), answer: given.to_owned(), problem });
                    }
                    Err(problem) => line(&problem),
                },
            }
        }
    }

    /// Asks yes or no.
    pub fn yes_or_no(&self, key: &str, question: &str, default: bool) -> Result<bool, PromptError> {
        self.ask(key, question, Some(if default { "Y" } else { "N" }), |answer| match answer {
            "Y" | "y" => Ok(true),
            "N" | "n" => Ok(false),
            _ => Err("Invalid response. Proper responses are:\n('y', 'Y', 'n', 'N')".to_owned()),
        })
    }
}

/// A line of standard input without its end; `None` at its end. One that comes through a pipe is followed by a new line in the output.
pub fn read_line() -> Result<Option<String>, PromptError> {
    let answer = input()?;
    // What is typed at a terminal is echoed with its end; what comes through a pipe is not.
    if answer.is_some() && !std::io::stdin().is_terminal() {
        line("");
    }
    Ok(answer)
}

/// The same without anything in the output, as Python's `input()`.
pub fn input() -> Result<Option<String>, PromptError> {
    let mut answer = String::new();
    match std::io::stdin().lock().read_line(&mut answer) {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(answer.trim_end_matches(['\n', '\r']).to_owned())),
        Err(error) => Err(PromptError::Input(error.to_string())),
    }
}

/// Asks for something that nobody else shall see while it is typed.
pub fn secret(question: &str) -> Result<String, PromptError> {
    let failed = |error: std::io::Error| PromptError::Input(error.to_string());
    let typed = {
        // Before the question, so that nothing of a quick answer is shown.
        enable_raw_mode().map_err(failed)?;
        let _raw = Raw;
        hint(question);
        typed().map_err(failed)
    };
    hint("\n");
    typed?.ok_or_else(|| PromptError::Unanswered(question.trim_end_matches([':', ' ']).to_owned()))
}

/// A terminal that shows nothing; dropping it gives the terminal back.
struct Raw;

impl Drop for Raw {
    fn drop(&mut self) {
        // There is nobody to tell if the terminal is gone.
        drop(disable_raw_mode());
    }
}

/// What is typed until Enter; `None` after Ctrl-C or Ctrl-D.
fn typed() -> std::io::Result<Option<String>> {
    let mut text = String::new();
    loop {
        let Event::Key(key) = event::read()? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match key.code {
            KeyCode::Enter => return Ok(Some(text)),
            // What was typed before this program listened has its line ends already.
            KeyCode::Char('j') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(Some(text)),
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(None),
            KeyCode::Char(c) => text.push(c),
            KeyCode::Backspace => drop(text.pop()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(known: &[(&str, &str)]) -> Prompt {
        Prompt::new(known.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(), true)
    }

    #[test]
    fn known_answers_and_defaults_are_taken_and_checked() {
        let port = |text: &str| text.parse::<u16>().map_err(|_| "Port is not valid.".to_owned());
        assert_eq!(prompt(&[("port", "1")]).ask("port", "Port?", Some("2"), port), Ok(1));
        assert_eq!(prompt(&[]).ask("port", "Port?", Some("2"), port), Ok(2));
        assert!(matches!(prompt(&[("port", "x")]).ask("port", "Port?", Some("2"), port), Err(PromptError::Wrong { .. })));
        assert_eq!(prompt(&[]).ask("port", "Port?", None, port), Err(PromptError::Unanswered("Port?".to_owned())));
        assert_eq!(prompt(&[("a", "n")]).yes_or_no("a", "A?", true), Ok(false));
        assert_eq!(prompt(&[]).yes_or_no("a", "A?", true), Ok(true));
        assert!(prompt(&[("a", "maybe")]).yes_or_no("a", "A?", true).is_err());
    }
}
