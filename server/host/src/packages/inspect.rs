//! What kind of agent a package is: read from its metadata as it stands in the environment. Source: agents.md §1.1, §1.3, VOLTTRON
//! `volttron/platform/packages.py`, modular `volttron/server/aip.py`.
//!
//! Metadata that newer versions of `wheel` no longer write (`metadata.json`) is not needed: entry points are read from where they stand now.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use vt_backends::{EntryPoint, Generation, PackageSource, PrepareError};

/// Prints what is known of the package that is named; needs Python 3.8.
pub const SCRIPT: &str = r#"
import importlib.metadata as metadata, json, sys
package = metadata.distribution(sys.argv[1])
points = package.entry_points
print(json.dumps({
    "name": package.metadata["Name"],
    "version": package.version,
    "information": str(package._path),
    "entries": [[point.group, point.name, point.value] for point in points],
    "installed": [each.metadata["Name"] or "" for each in metadata.distributions()],
    "python": sys.version_info[0],
}))
"#;

/// Longest identity template, characters.
const TEMPLATE_CHARS_MAX: usize = 64;

/// What the script prints.
#[derive(Debug, Clone, Deserialize)]
pub struct Facts {
    pub name: String,
    pub version: String,
    pub information: PathBuf,
    pub entries: Vec<(String, String, String)>,
    pub installed: Vec<String>,
    pub python: u32,
}

/// What follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    pub generation: Generation,
    pub entry: EntryPoint,
    /// Name and version.
    pub name: String,
}

impl Facts {
    /// Whether a package is in the environment.
    pub fn has(&self, name: &str) -> bool {
        self.installed.iter().any(|installed| normal(installed) == name)
    }

    /// Generation, entry point and name.
    pub fn kind(&self) -> Result<Kind, PrepareError> {
        let monolithic = self.monolithic_entry();
        let script = self.script();
        let (generation, entry) = if self.has("volttron-core") {
            (Generation::Modular, script.or(monolithic))
        } else if monolithic.is_some() {
            (if self.python < 3 { Generation::Monolithic6 } else { Generation::Monolithic9 }, monolithic)
        } else {
            (Generation::Modular, script)
        };
        let Some(entry) = entry else {
            let text = format!("{} {} is no agent: no entry points exported", self.name, self.version);
            return Err(PrepareError::Invalid(text));
        };
        let stem = self.information.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let name = match generation {
            Generation::Monolithic6 | Generation::Monolithic9 => stem.trim_end_matches(".dist-info").to_owned(),
            Generation::Modular => format!("{}-{}", self.name, self.version),
        };
        Ok(Kind { generation, entry, name })
    }

    fn monolithic_entry(&self) -> Option<EntryPoint> {
        const ENTRIES: [(&str, &str); 2] = [("volttron.agent", "launch"), ("setuptools.installation", "eggsecutable")];
        let text = fs::read_to_string(self.information.join("metadata.json")).unwrap_or_default();
        let metadata: Value = serde_json::from_str(&text).unwrap_or_default();
        let exports = metadata.get("extensions").and_then(|all| all.get("python.exports")).or_else(|| metadata.get("exports"));
        let exported = |group: &str, key: &str| exports?.get(group)?.get(key)?.as_str().and_then(EntryPoint::parse);
        ENTRIES.iter().find_map(|(group, key)| self.entry(|has| has.0 == *group && has.1 == *key).or_else(|| exported(group, key)))
    }

    /// The console script of the package's own name, else the last one, as modular platforms choose.
    fn script(&self) -> Option<EntryPoint> {
        let is_script = |entry: &(String, String, String)| entry.0 == "console_scripts";
        self.entry(|entry| is_script(entry) && normal(&entry.1) == normal(&self.name)).or_else(|| {
            let last = self.entries.iter().rev().find(|entry| is_script(entry))?;
            EntryPoint::parse(&last.2)
        })
    }

    fn entry(&self, fits: impl Fn(&(String, String, String)) -> bool) -> Option<EntryPoint> {
        self.entries.iter().find(|entry| fits(entry)).and_then(|entry| EntryPoint::parse(&entry.2))
    }

    /// The identity that the package asks for.
    pub fn identity_template(&self, source: &PackageSource) -> Option<String> {
        let site = self.information.parent().unwrap_or(Path::new("/"));
        let mut places = vec![self.information.join("IDENTITY_TEMPLATE"), site.join(format!("{}-default-vip-id", self.name))];
        if let PackageSource::Directory(directory) = source {
            places.push(directory.join("IDENTITY"));
        }
        let text = places.iter().find_map(|place| fs::read_to_string(place).ok())?;
        Some(text.trim().chars().take(TEMPLATE_CHARS_MAX).collect::<String>()).filter(|text| !text.is_empty())
    }
}

/// The name under which indexes know a package: small letters, one hyphen for each run of `-`, `_` and `.`.
pub fn normal(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// A requirement as it may be asked for: a name, perhaps with extras and versions; no address and no option. `name@latest` is `name`.
pub fn requirement(text: &str) -> Result<String, PrepareError> {
    let text = text.trim().trim_end_matches("@latest");
    let name_end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,[]=<>!~*+ ".contains(c);
    let fits = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
        && rest.chars().all(plain)
        && (rest.is_empty() || rest.trim_start().starts_with(['[', '=', '<', '>', '!', '~']))
        && text.len() <= 200;
    let error = || {
        let shown: String = text.chars().take(100).collect();
        PrepareError::Invalid(format!("{shown:?} is neither a directory nor a wheel here, nor the name of a package, such as name==1.0"))
    };
    if fits { Ok(text.to_owned()) } else { Err(error()) }
}

/// The package's name in a wheel's file name, which must be one: `name-version(-build)-python-abi-platform.whl`.
pub fn wheel_name(file_name: &str) -> Result<&str, PrepareError> {
    let stem = file_name.strip_suffix(".whl").unwrap_or_default();
    let plain = stem.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+!".contains(c)) && !stem.starts_with('.');
    let parts: Vec<&str> = stem.split('-').collect();
    if plain && (5..=6).contains(&parts.len()) && parts.iter().all(|part| !part.is_empty()) && file_name.len() <= 250 {
        return Ok(parts[0]);
    }
    let shown: String = file_name.chars().take(100).collect();
    Err(PrepareError::Invalid(format!("{shown:?} is no wheel's file name: name-version-python-abi-platform.whl")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(entries: &[(&str, &str, &str)], installed: &[&str]) -> Facts {
        Facts {
            name: "volttron-listener".to_owned(),
            version: "2.0.0rc3".to_owned(),
            information: PathBuf::from("/nonexistent/site-packages/volttron_listener-2.0.0rc3.dist-info"),
            entries: entries.iter().map(|(group, name, value)| ((*group).to_owned(), (*name).to_owned(), (*value).to_owned())).collect(),
            installed: installed.iter().map(|name| (*name).to_owned()).collect(),
            python: 3,
        }
    }

    #[test]
    fn generations_are_told_apart_by_what_a_package_needs_and_exports() {
        let scripts = [("console_scripts", "a", "x:y"), ("console_scripts", "volttron-listener-agent", "listener.agent:main")];
        let modular = facts(&scripts, &["volttron_core"]).kind().unwrap();
        assert_eq!((modular.generation, modular.entry.to_string()), (Generation::Modular, "listener.agent:main".into()));
        assert_eq!(modular.name, "volttron-listener-2.0.0rc3");
        let named = [("console_scripts", "volttron_listener", "right:main"), ("console_scripts", "z", "wrong:main")];
        assert_eq!(facts(&named, &[]).kind().unwrap().entry.to_string(), "right:main");
        let old = [("console_scripts", "a", "x:y"), ("setuptools.installation", "eggsecutable", "listener.agent:main")];
        let nine = facts(&old, &["volttron"]).kind().unwrap();
        assert_eq!((nine.generation, nine.name.as_str()), (Generation::Monolithic9, "volttron_listener-2.0.0rc3"));
        let six = Facts { python: 2, ..facts(&old, &[]) };
        assert_eq!(six.kind().unwrap().generation, Generation::Monolithic6);
        let error = facts(&[("other", "a", "x:y")], &[]).kind().unwrap_err();
        assert!(error.to_string().contains("no entry points exported"), "{error}");
    }

    #[test]
    fn only_names_are_asked_for_from_an_index() {
        for (good, name) in [
            ("volttron-listener", "volttron-listener"),
            ("a.b_c==1.0rc1", "a.b_c==1.0rc1"),
            ("x[y]>=1,<2", "x[y]>=1,<2"),
            ("x@latest", "x"),
        ] {
            assert_eq!(requirement(good).unwrap(), name);
        }
        for bad in
            ["", "-r file", "--index-url=x", "git+https://x", "x @ https://y", "/tmp/x", "../x", "x; python_version<'3'", "x -r y", "x y"]
        {
            assert!(requirement(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn file_names_of_wheels_carry_the_name_and_nothing_dangerous() {
        assert_eq!(wheel_name("listeneragent-3.3-py3-none-any.whl").unwrap(), "listeneragent");
        for bad in ["", "x.whl", "../a-1-py3-none-any.whl", "a-1-py3-none-any.zip", "-r-1-py3-none-any.whl", "a-1-py3-none-a ny.whl"] {
            assert!(wheel_name(bad).is_err(), "{bad}");
        }
        assert_eq!(normal("Volttron__Lib.zmq"), "volttron-lib-zmq");
    }
}
