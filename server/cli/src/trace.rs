//! What `vctl -v` tells about its own work, on standard error or in the file of `-l`. Results never go here.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::Path;

/// Levels of lines, as Python counts.
const DEBUG: i64 = 10;
const INFO: i64 = 20;
const WARNING: i64 = 30;

/// Where lines of a tool's own work go, and from which level on.
pub struct Trace {
    level: i64,
    to: To,
}

enum To {
    Stderr,
    Stdout,
    File(RefCell<File>),
}

impl Trace {
    /// Tells nothing.
    pub fn quiet() -> Self {
        Self { level: 30, to: To::Stderr }
    }

    /// Tells from `level` on, to `target`: none is standard error, `-` standard output.
    pub fn new(level: i64, target: Option<&Path>) -> std::io::Result<Self> {
        let to = match target {
            None => To::Stderr,
            Some(path) if path == Path::new("-") => To::Stdout,
            Some(path) => To::File(RefCell::new(OpenOptions::new().create(true).append(true).open(path)?)),
        };
        Ok(Self { level: level.max(1), to })
    }

    /// A line about what is being done.
    pub fn debug(&self, text: &str) {
        if self.level <= DEBUG {
            self.write("DEBUG", text);
        }
    }

    /// A line about how far a long piece of work is. A person at a terminal sees it without asking for it, unless told less.
    pub fn progress(&self, text: &str) {
        if self.level <= INFO {
            self.write("INFO", text);
        } else if self.level <= WARNING && std::io::stderr().is_terminal() {
            crate::output::complain(text);
        }
    }

    fn write(&self, level: &str, text: &str) {
        let line = format!("vctl {level}: {text}\n");
        // A line that cannot be written must not keep the command from its work.
        drop(match &self.to {
            To::Stderr => std::io::stderr().lock().write_all(line.as_bytes()),
            To::Stdout => std::io::stdout().lock().write_all(line.as_bytes()),
            To::File(file) => file.borrow_mut().write_all(line.as_bytes()),
        });
    }
}
