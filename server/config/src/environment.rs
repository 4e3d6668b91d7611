//! What the process finds around itself: environment variables, and the machine's name. The one place that looks; everything else is
//! handed this value.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::ConfigError;

/// Environment variables and the machine's name.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
    host_name: Option<String>,
}

impl Environment {
    /// Of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|text| text.trim().to_owned());
        Self { variables, host_name }
    }

    /// Made of given variables; for tests and tools.
    #[must_use]
    pub fn of(variables: &[(&str, &str)], host_name: Option<&str>) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
        Self { variables, host_name: host_name.map(str::to_owned) }
    }

    /// The value of `name`; an empty one counts as not set. A value that is no UTF-8 is `Some(Err)`.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Result<&str, NotText>> {
        let value = self.variables.get(name).filter(|value| !value.is_empty())?;
        Some(value.to_str().ok_or(NotText))
    }

    /// Whether `name` is set at all, be it to nothing.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// The variables whose names are wanted, as far as they are UTF-8, by name; for child processes.
    #[must_use]
    pub fn chosen(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let wanted = self.variables.iter().filter(|(name, _)| is_wanted(name));
        wanted.filter_map(|(name, value)| Some((name.clone(), value.to_str()?.to_owned()))).collect()
    }

    /// The machine's name without its domain.
    #[must_use]
    pub fn host_name(&self) -> Option<&str> {
        self.host_name.as_deref().and_then(|name| name.split('.').next()).filter(|name| !name.is_empty())
    }

    /// The directory of the platform's files: `given`, else `VOLTTRON_HOME`, else `~/.volttron`; absolute, with `~` resolved.
    ///
    /// # Errors
    /// [`ConfigError::NoHome`] or [`ConfigError::Path`].
    pub fn volttron_home(&self, given: Option<PathBuf>) -> Result<PathBuf, ConfigError> {
        let named = given.or_else(|| self.path("VOLTTRON_HOME"));
        let home = match named {
            Some(path) => self.expand(path),
            None => self.path("HOME").ok_or(ConfigError::NoHome)?.join(".volttron"),
        };
        std::path::absolute(&home).map_err(|source| ConfigError::Path { path: home, source })
    }

    /// `~` and `~/...` resolved against `HOME`.
    #[must_use]
    pub fn expand(&self, path: PathBuf) -> PathBuf {
        match (path.strip_prefix("~"), self.path("HOME")) {
            (Ok(rest), Some(home)) if rest.as_os_str().is_empty() => home,
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path,
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets.
        f.debug_struct("Environment").field("names", &self.variables.keys()).field("host_name", &self.host_name).finish()
    }
}

/// A variable whose value is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotText;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_found_in_order() {
        let environment = Environment::of(&[("HOME", "/u"), ("VOLTTRON_HOME", "~/vh")], None);
        assert_eq!(environment.volttron_home(None).unwrap(), PathBuf::from("/u/vh"));
        assert_eq!(environment.volttron_home(Some("/x".into())).unwrap(), PathBuf::from("/x"));
        let plain = Environment::of(&[("HOME", "/u"), ("VOLTTRON_HOME", "")], None);
        assert_eq!(plain.volttron_home(None).unwrap(), PathBuf::from("/u/.volttron"));
        assert!(matches!(Environment::default().volttron_home(None), Err(ConfigError::NoHome)));
        assert!(environment.volttron_home(Some("relative".into())).unwrap().is_absolute());
    }

    #[test]
    fn debug_shows_names_alone() {
        let text = format!("{:?}", Environment::of(&[("VOLTTRON_WEB_SECRET_KEY", "hush")], None));
        assert!(text.contains("VOLTTRON_WEB_SECRET_KEY") && !text.contains("hush"));
    }

    #[test]
    fn this_process_has_an_environment() {
        assert!(Environment::of_process().contains("PATH"));
    }
}
