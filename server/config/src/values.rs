//! Which source wins: command line, environment, file, default, in this order, per option. A list from a higher source replaces the whole
//! list of a lower one. A value that lost is checked all the same: a broken file shall not wait for the day on which nothing overrides it.
//! Knows nothing about what values mean, except how true and false are written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use crate::environment::Environment;
use crate::error::{Origin, Problem, Warning, excerpt};
use crate::flags::Flags;
use crate::ini;
use crate::options::{OPTIONS, OptionKind, environment_name};

/// The winning texts, and what was found wrong while they were read.
pub(crate) struct Values {
    found: BTreeMap<&'static str, Vec<(String, Origin)>>,
    overridden: BTreeMap<&'static str, Vec<(String, Origin)>>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Warning>,
}

impl Values {
    pub(crate) fn collect(flags: &Flags, environment: &Environment, path: &Path, entries: &[ini::Entry]) -> Self {
        let mut values = Self { found: BTreeMap::new(), overridden: BTreeMap::new(), problems: Vec::new(), warnings: Vec::new() };
        for (key, text) in flags.entries() {
            values.found.entry(key).or_default().push((text, Origin::CommandLine));
        }
        values.add_environment(environment);
        values.add_file(path, entries);
        values.warn_of_unused(flags);
        values
    }

    fn add_environment(&mut self, environment: &Environment) {
        for option in OPTIONS.iter().filter(|option| option.kind != OptionKind::Unused) {
            let name = environment_name(option.key);
            let Some(value) = environment.text(&name) else { continue };
            let origin = Origin::Environment(name);
            let Ok(text) = value else {
                self.problems.push(Problem { origin, text: "the value is not UTF-8 text".to_owned() });
                continue;
            };
            let texts: Vec<&str> = match option.kind {
                OptionKind::List => text.split(',').map(str::trim).filter(|text| !text.is_empty()).collect(),
                _ => vec![text],
            };
            let texts = texts.into_iter().map(|text| (text.to_owned(), origin.clone())).collect();
            self.add(option.key, texts);
        }
    }

    fn add_file(&mut self, path: &Path, entries: &[ini::Entry]) {
        let mut of_file: BTreeMap<&'static str, Vec<(String, Origin)>> = BTreeMap::new();
        for entry in entries {
            let origin = Origin::File { path: path.to_owned(), line: entry.line };
            of_file.entry(entry.key).or_default().push((entry.value.clone(), origin));
        }
        for (key, texts) in of_file {
            let single = OPTIONS.iter().any(|option| option.key == key && option.kind != OptionKind::List);
            if let (true, [(_, first), .., (_, last)]) = (single, texts.as_slice()) {
                self.warnings.push(Warning(format!("{last}: {key} also stands at {first}; the last one holds")));
            }
            self.add(key, texts);
        }
    }

    /// Sources come in their order of precedence.
    fn add(&mut self, key: &'static str, texts: Vec<(String, Origin)>) {
        match self.found.entry(key) {
            Entry::Vacant(place) => {
                place.insert(texts);
            }
            Entry::Occupied(_) => self.overridden.entry(key).or_default().extend(texts),
        }
    }

    fn warn_of_unused(&mut self, flags: &Flags) {
        let given = flags.unused.iter().map(|key| (key.as_str(), Origin::CommandLine));
        let found = self.found.iter().filter_map(|(key, texts)| {
            let (text, origin) = texts.last()?;
            // What is switched off has no effect anywhere.
            (boolean(text) != Some(false)).then(|| (*key, origin.clone()))
        });
        for (key, origin) in given.chain(found) {
            if let Some(option) = OPTIONS.iter().find(|option| option.key == key && option.kind == OptionKind::Unused) {
                self.warnings.push(Warning(format!("{origin}: {key} has no effect: {}", option.help)));
            }
        }
    }

    /// The winning text and where it stands.
    pub(crate) fn text(&self, key: &'static str) -> Option<(&str, &Origin)> {
        self.found.get(key)?.last().map(|(text, origin)| (text.as_str(), origin))
    }

    /// The winning text, read by `parse`; a failure is noted and gives `None`.
    pub(crate) fn parsed<T, E: Display>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        self.check_overridden(key, &parse);
        self.winner(key, parse)
    }

    /// As [`Self::parsed`], without a look at the values that lost: for checks that depend on more than the text.
    pub(crate) fn winner<T, E: Display>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        let (text, origin) = self.text(key)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                let problem = Problem { origin: origin.clone(), text: format!("{key}: {error}") };
                self.problems.push(problem);
                None
            }
        }
    }

    /// All texts of a list, each read by `parse`; failures are noted and left out.
    pub(crate) fn list<T, E: Display>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Vec<T> {
        self.check_overridden(key, &parse);
        let mut good = Vec::new();
        for (text, origin) in self.found.get(key).into_iter().flatten() {
            match parse(text) {
                Ok(value) => good.push(value),
                Err(error) => self.problems.push(Problem { origin: origin.clone(), text: format!("{key}: {error}") }),
            }
        }
        good
    }

    fn check_overridden<T, E: Display>(&mut self, key: &'static str, parse: &impl Fn(&str) -> Result<T, E>) {
        for (text, origin) in self.overridden.get(key).into_iter().flatten() {
            if let Err(error) = parse(text) {
                self.problems.push(Problem { origin: origin.clone(), text: format!("{key}: {error}") });
            }
        }
    }

    pub(crate) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        let read = |text: &str| boolean(text).ok_or_else(|| format!("{} is neither True nor False", excerpt(text)));
        self.parsed(key, read).unwrap_or(default)
    }

    pub(crate) fn number(&mut self, key: &'static str, default: u32, range: RangeInclusive<u32>) -> u32 {
        let read = |text: &str| {
            let number = text.parse::<u32>().ok().filter(|number| range.contains(number));
            number.ok_or_else(|| format!("{} is not a whole number from {} to {}", excerpt(text), range.start(), range.end()))
        };
        self.parsed(key, read).unwrap_or(default)
    }

    /// Notes a problem with `key` that shows only beside other values.
    pub(crate) fn conflict(&mut self, key: &'static str, text: &str) {
        let origin = self.text(key).map_or(Origin::Default, |(_, origin)| origin.clone());
        self.problems.push(Problem { origin, text: format!("{key}: {text}") });
    }

    /// Notes something about `key` that a person should know.
    pub(crate) fn warn(&mut self, key: &'static str, text: &str) {
        let origin = self.text(key).map_or(Origin::Default, |(_, origin)| origin.clone());
        self.warnings.push(Warning(format!("{origin}: {key}: {text}")));
    }
}

/// The words for true and false, in any case.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" | "t" | "y" => Some(true),
        "false" | "no" | "off" | "0" | "f" | "n" => Some(false),
        _ => None,
    }
}

/// The value of a key for its `no-` form; what is no boolean stays as it is and is refused later, with its line.
pub(crate) fn negate(text: &str) -> String {
    match boolean(text) {
        Some(true) => "False".to_owned(),
        Some(false) => "True".to_owned(),
        None => text.to_owned(),
    }
}
