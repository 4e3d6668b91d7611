//! What `$VOLTTRON_HOME/config` says to `vctl`: keys before the first section and in `[global]` and `[volttron-ctl]`; of a key that stands
//! several times, the last holds. Unknown keys are for other programs and no error. Source: VOLTTRON `volttron/platform/config.py`.

use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::error::ConfigError;

/// Sections that are read; keys before the first section are read as well.
const SECTIONS: [&str; 2] = ["global", "volttron-ctl"];

/// Options of `vctl` in a file.
#[derive(Debug, Default)]
pub struct ControlFile {
    path: PathBuf,
    entries: Vec<(String, String)>,
}

impl ControlFile {
    /// Reads `given` (must exist), else the home's file (may be missing), which is skipped when `SKIP_VOLTTRON_CONFIG` is set.
    ///
    /// # Errors
    /// [`ConfigError::Read`].
    pub fn read(home: &Path, given: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let path = given.map_or_else(|| home.join("config"), |path| environment.expand(path.to_owned()));
        if given.is_none() && environment.contains("SKIP_VOLTTRON_CONFIG") {
            return Ok(Self { path, entries: Vec::new() });
        }
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            // A home that others may not read has nothing to say to them; the socket will tell why.
            Err(_) if given.is_none() => Vec::new(),
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        Ok(Self { path, entries: parse(&String::from_utf8_lossy(&bytes)) })
    }

    /// The file, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

fn parse(text: &str) -> Vec<(String, String)> {
    let mut is_ours = true;
    let mut entries = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        if let Some(header) = line.strip_prefix('[') {
            is_ours = SECTIONS.contains(&header.split(']').next().unwrap_or_default().trim());
        } else if is_ours && let Some((key, value)) = line.split_once(['=', ':']) {
            entries.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sections_for_vctl_are_read_and_the_last_holds() {
        let home = tempfile::tempdir().unwrap();
        let text = "timeout = 5\n[volttron]\ntimeout = 6\n# timeout = 7\n[volttron-ctl]\nlog: x\nfrobnicate = 1\n[global]\ntimeout=8\n";
        std::fs::write(home.path().join("config"), text).unwrap();
        let file = ControlFile::read(home.path(), None, &Environment::of(&[], None)).unwrap();
        assert_eq!((file.get("timeout"), file.get("log"), file.get("vip-address")), (Some("8"), Some("x"), None));
        let skipped = ControlFile::read(home.path(), None, &Environment::of(&[("SKIP_VOLTTRON_CONFIG", "")], None)).unwrap();
        assert_eq!(skipped.get("timeout"), None);
        let given = home.path().join("other");
        assert!(matches!(ControlFile::read(home.path(), Some(&given), &Environment::of(&[], None)), Err(ConfigError::Read { .. })));
        assert_eq!(ControlFile::read(&given, None, &Environment::of(&[], None)).unwrap().get("timeout"), None);
    }
}
