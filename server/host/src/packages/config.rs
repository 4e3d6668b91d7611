//! Where packages come from and what makes environments for them.

use std::path::PathBuf;
use std::time::Duration;

/// How packages in Python are made ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackagesConfig {
    /// The platform's home; absolute.
    pub home: PathBuf,
    /// The whole environment of the tools. It may hold the credentials of an index, which agents do not get.
    pub environment: Vec<(String, String)>,
    /// Interpreter of environments unless a request names another: a name or a path.
    pub interpreter: String,
    /// The program `uv`; without it `venv` and `pip` of the interpreter are used.
    pub uv: Option<PathBuf>,
    /// Folders with wheels. With one and without an index nothing is asked of the network.
    pub wheelhouses: Vec<PathBuf>,
    /// The index to ask; without it and without folders the tools' own configuration holds.
    pub index_url: Option<String>,
    /// What monolithic agents need beside what their package says, such as `volttron==9.0.4`; also the version chosen where a package asks
    /// for `volttron`, since the name in the public index stands for the modular packages.
    pub monolithic: Option<String>,
    /// Longest time for one call of a tool.
    pub tool_limit: Duration,
}

impl PackagesConfig {
    /// The defaults for a home.
    #[must_use]
    pub fn new(home: PathBuf) -> Self {
        Self {
            home,
            environment: Vec::new(),
            interpreter: "python3".to_owned(),
            uv: None,
            wheelhouses: Vec::new(),
            index_url: None,
            monolithic: None,
            tool_limit: Duration::from_secs(900),
        }
    }

    /// Looks for `uv` in the directories of `path`, which has the form of the variable `PATH`.
    #[must_use]
    pub fn find_uv(path: &str) -> Option<PathBuf> {
        std::env::split_paths(path).map(|directory| directory.join("uv")).find(|program| program.is_file())
    }

    /// Options that say where packages come from; `uv` and `pip` have the same.
    pub(super) fn index_options(&self) -> Vec<String> {
        let mut options = Vec::new();
        for folder in &self.wheelhouses {
            options.extend(["--find-links".to_owned(), folder.to_string_lossy().into_owned()]);
        }
        match &self.index_url {
            Some(url) => options.extend(["--index-url".to_owned(), url.clone()]),
            None if !self.wheelhouses.is_empty() => options.push("--no-index".to_owned()),
            None => {}
        }
        options
    }
}
