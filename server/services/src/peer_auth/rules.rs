//! The records made ready for deciding: keys looked up by value, patterns compiled, roles and groups joined into capabilities by user.
//! Pure; what may go wrong in a record becomes a warning here and the record then matches nobody.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use vt_backends::repositories::peer_auth::entry;
use vt_backends::{AuthEntry, Capabilities, ConnectAttempt, Field, Mechanism, PeerAuthRecords, Proof};
use vt_types::{Identity, PublicKey};

use super::powers::Compiled;

/// The domain of all attempts, as in VOLTTRON.
pub const DOMAIN: &str = "vip";
/// Largest compiled pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;

/// See the module.
#[derive(Default)]
pub struct Rules {
    allowed: Lists,
    denied: Lists,
    /// Keys whose entry is switched off.
    disabled: HashSet<PublicKey>,
    /// Identities that belong to somebody.
    bound: HashSet<Identity>,
    users: BTreeMap<String, Capabilities>,
    methods: HashMap<Identity, BTreeMap<String, Vec<String>>>,
    powers: Compiled,
}

/// What the records say about an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may connect with the rights of this user.
    Admit(Arc<str>),
    /// The deny entry with this user id is against it.
    Deny(Arc<str>),
    /// There is an entry, but not for this: the reason.
    Refuse(String),
    /// Nothing.
    Unknown,
}

#[derive(Default)]
struct Lists {
    /// Before patterns, as in VOLTTRON.
    by_key: HashMap<PublicKey, Vec<Arc<Rule>>>,
    others: Vec<Arc<Rule>>,
}

struct Rule {
    user_id: Arc<str>,
    identity: Option<Identity>,
    mechanism: Mechanism,
    domain: Matcher,
    address: Matcher,
    credentials: Matcher,
}

struct Matcher {
    is_any: bool,
    texts: Vec<String>,
    patterns: Vec<Regex>,
}

impl Rules {
    /// Makes rules of records, with one sentence for each pattern that cannot be used.
    pub fn of(records: &PeerAuthRecords) -> (Self, Vec<String>) {
        let (mut rules, mut warnings) = (Self::default(), Vec::new());
        let mut patterned = Vec::new();
        for entry in &records.allow {
            if !entry.enabled {
                rules.disabled.extend(keys(entry));
                continue;
            }
            let rule = Rule::of(entry, &mut warnings);
            rules.allowed.add(entry, rule);
            rules.bound.extend(entry.identity.clone());
            // Whoever is named by a key wins over patterns where user ids are shared.
            if keys(entry).next().is_some() { rules.add_user(records, entry) } else { patterned.push(entry) }
        }
        for entry in patterned {
            rules.users.entry(entry.user_id.clone()).or_insert_with(|| effective(records, entry));
        }
        for entry in records.deny.iter().filter(|entry| entry.enabled) {
            let rule = Rule::of(entry, &mut warnings);
            rules.denied.add(entry, rule);
        }
        rules.powers = Compiled::of(records, &mut warnings);
        (rules, warnings)
    }

    fn add_user(&mut self, records: &PeerAuthRecords, entry: &AuthEntry) {
        self.users.insert(entry.user_id.clone(), effective(records, entry));
        let Some(identity) = &entry.identity else { return };
        let is_closed = |needed: &&Vec<String>| needed.iter().any(|capability| !capability.is_empty());
        let closed: BTreeMap<_, _> = entry
            .rpc_method_authorizations
            .iter()
            .filter(|(_, needed)| is_closed(needed))
            .map(|(method, needed)| (method.clone(), needed.iter().filter(|capability| !capability.is_empty()).cloned().collect()))
            .collect();
        if !closed.is_empty() {
            self.methods.insert(identity.clone(), closed);
        }
    }

    /// What the records say about an attempt. Keys that are named count before patterns, and a denial before an admission of its kind.
    pub fn decide(&self, attempt: &ConnectAttempt) -> Decision {
        let named = key_of(attempt);
        if let Some(rule) = named.and_then(|key| self.denied.by_key(key, attempt)) {
            return Decision::Deny(Arc::clone(&rule.user_id));
        }
        if let Some(rule) = named.and_then(|key| self.allowed.by_key(key, attempt)) {
            return self.admit(rule, attempt);
        }
        if named.is_some_and(|key| self.disabled.contains(&key)) {
            return Decision::Refuse("the entry of its key is disabled".to_owned());
        }
        if let Some(rule) = self.denied.by_pattern(attempt) {
            return Decision::Deny(Arc::clone(&rule.user_id));
        }
        self.allowed.by_pattern(attempt).map_or(Decision::Unknown, |rule| self.admit(rule, attempt))
    }

    fn admit(&self, rule: &Rule, attempt: &ConnectAttempt) -> Decision {
        match &rule.identity {
            Some(own) if *own != attempt.identity => Decision::Refuse(format!("its entry is for the identity {own}")),
            None if self.bound.contains(&attempt.identity) => {
                Decision::Refuse(format!("the identity {} belongs to another entry", attempt.identity))
            }
            _ => Decision::Admit(Arc::clone(&rule.user_id)),
        }
    }

    /// Whether an entry claims this identity.
    pub fn is_bound(&self, identity: &Identity) -> bool {
        self.bound.contains(identity)
    }

    /// Capabilities by user id, roles and groups joined.
    pub fn users(&self) -> &BTreeMap<String, Capabilities> {
        &self.users
    }

    /// What the modular generation says.
    pub fn powers(&self) -> &Compiled {
        &self.powers
    }

    /// What callers of this peer's methods need, by method; `None` if nothing is said.
    pub fn methods(&self, callee: &Identity) -> Option<&BTreeMap<String, Vec<String>>> {
        self.methods.get(callee)
    }
}

/// Own capabilities, those of the roles, and those of the roles of the groups.
fn effective(records: &PeerAuthRecords, entry: &AuthEntry) -> Capabilities {
    let mut all = entry.capabilities.clone();
    let of_groups = entry.groups.iter().filter_map(|group| records.groups.get(group)).flatten();
    for role in entry.roles.iter().chain(of_groups).filter_map(|role| records.roles.get(role)) {
        all.join(role);
    }
    all
}

fn keys(entry: &AuthEntry) -> impl Iterator<Item = PublicKey> {
    let texts = if entry.mechanism == Mechanism::Curve { entry.credentials.texts() } else { &[] };
    texts.iter().filter_map(|text| PublicKey::parse(text).ok())
}

fn key_of(attempt: &ConnectAttempt) -> Option<PublicKey> {
    match attempt.proof {
        Proof::Null => None,
        Proof::Curve(key) => Some(key),
    }
}

impl Lists {
    fn add(&mut self, entry: &AuthEntry, rule: Rule) {
        let rule = Arc::new(rule);
        for key in keys(entry) {
            self.by_key.entry(key).or_default().push(Arc::clone(&rule));
        }
        if entry.mechanism == Mechanism::Null || !rule.credentials.patterns.is_empty() {
            self.others.push(rule);
        }
    }

    /// The rule of this key that fits; one for the wanted identity before others.
    fn by_key(&self, key: PublicKey, attempt: &ConnectAttempt) -> Option<&Rule> {
        let rules = self.by_key.get(&key)?;
        let mut fitting = rules.iter().filter(|rule| rule.fits_place(attempt)).map(Arc::as_ref);
        let first = fitting.next()?;
        let is_its_own = |rule: &&Rule| rule.identity.as_ref() == Some(&attempt.identity);
        Some(std::iter::once(first).chain(fitting).find(is_its_own).unwrap_or(first))
    }

    fn by_pattern(&self, attempt: &ConnectAttempt) -> Option<&Rule> {
        let fits = |rule: &&Arc<Rule>| match attempt.proof {
            Proof::Null => rule.mechanism == Mechanism::Null,
            Proof::Curve(key) => rule.mechanism == Mechanism::Curve && rule.credentials.patterns_match(&key.to_string()),
        };
        self.others.iter().filter(|rule| rule.fits_place(attempt)).find(fits).map(Arc::as_ref)
    }
}

impl Rule {
    fn of(entry: &AuthEntry, warnings: &mut Vec<String>) -> Self {
        let mut matcher = |field: &Field| Matcher::of(field, &entry.user_id, warnings);
        Self {
            user_id: Arc::from(entry.user_id.as_str()),
            identity: entry.identity.clone(),
            mechanism: entry.mechanism,
            domain: matcher(&entry.domain),
            address: matcher(&entry.address),
            credentials: matcher(&entry.credentials),
        }
    }

    fn fits_place(&self, attempt: &ConnectAttempt) -> bool {
        self.domain.matches(DOMAIN) && self.address.matches(&attempt.address)
    }
}

impl Matcher {
    fn of(field: &Field, user_id: &str, warnings: &mut Vec<String>) -> Self {
        let mut matcher = Self { is_any: *field == Field::Any, texts: Vec::new(), patterns: Vec::new() };
        for text in field.texts() {
            match entry::pattern(text).map(compile) {
                None => matcher.texts.push(text.clone()),
                Some(Ok(regex)) => matcher.patterns.push(regex),
                Some(Err(error)) => {
                    let short: String = error.to_string().chars().take(200).collect();
                    warnings.push(format!("the pattern {text:?} of the auth entry {user_id:?} matches nobody, it cannot be used: {short}"));
                }
            }
        }
        matcher
    }

    fn matches(&self, text: &str) -> bool {
        self.is_any || self.texts.iter().any(|own| own == text) || self.patterns_match(text)
    }

    fn patterns_match(&self, text: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_match(text))
    }
}

/// A pattern that matches from end to end.
pub fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_BYTES_MAX).build()
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
