//! What can be wrong with settings. Each problem says where it stands and what to write instead; long values are cut.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `--option` on the command line.
    CommandLine,
    /// An environment variable.
    Environment(String),
    /// A line of the configuration file, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::File { path, line } => write!(f, "{} (line {line})", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong with a value or a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// What is wrong and what to do.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.text)
    }
}

/// Something that works, but that a person should know. One sentence with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Neither `VOLTTRON_HOME` nor a home directory of the user is known.
    #[error("no place for the platform's files is known; set the environment variable VOLTTRON_HOME to a directory")]
    NoHome,
    /// A path that cannot be made absolute.
    #[error("the path {path} cannot be used: {source}")]
    Path {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is there and cannot be read, or was asked for and is missing.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be written; it is unchanged.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Everything that is wrong with the values, in the order in which it was found; one line each.
    #[error("{}", lines(.0))]
    Problems(Vec<Problem>),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The start of a text, for messages: at most 60 characters, quoted and escaped.
pub(crate) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let short: String = text.chars().take(CHARS_MAX).collect();
    if short.len() < text.len() { format!("{short:?}...") } else { format!("{short:?}") }
}
