//! What `vctl -v` tells about its own work, on standard error or in the file of `-l`. Results never go here.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// Level of debug lines, as Python counts.
const DEBUG: i64 = 10;

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
        if self.level > DEBUG {
            return;
        }
        let line = format!("vctl DEBUG: {text}\n");
        // A line that cannot be written must not keep the command from its work.
        drop(match &self.to {
            To::Stderr => std::io::stderr().lock().write_all(line.as_bytes()),
            To::Stdout => std::io::stdout().lock().write_all(line.as_bytes()),
            To::File(file) => file.borrow_mut().write_all(line.as_bytes()),
        });
    }
}
