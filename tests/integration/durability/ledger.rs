//! What was written and acknowledged, and whether the server still has it: by what it answers and by the files it answers from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use vt_testkit::{Client, eventually_async};

use super::PASSWORD;
use super::writers::{BATCH, CACHED, CHANGED_USER, Kind, Written, moment};

/// Longest wait for a restarted historian to tell its status.
const STATUS_PATIENCE: Duration = Duration::from_secs(30);
/// Longest wait until everything that was cached in all rounds is stored.
const DRAIN_PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub struct Ledger {
    home: PathBuf,
    platform: String,
    written: Vec<Written>,
}

/// What the server has, by name: a text of the contents.
type Found = BTreeMap<String, String>;

impl Ledger {
    pub fn new(home: PathBuf, platform: String) -> Self {
        Self { home, platform, written: Vec::new() }
    }

    pub fn add(&mut self, written: Written) {
        self.written.push(written);
    }

    /// The last number that this writer sent in earlier rounds.
    pub fn last(&self, kind: Kind, number: u32) -> u32 {
        let mut earlier = self.written.iter().rev();
        earlier.find(|written| written.writer.kind == kind && written.writer.number == number).map_or(0, |written| written.sent)
    }

    pub fn acknowledged(&self) -> BTreeMap<Kind, u32> {
        let mut counts = BTreeMap::new();
        for written in &self.written {
            *counts.entry(written.writer.kind).or_default() += written.acknowledged + 1 - written.first;
        }
        counts
    }

    /// Looks at everything of one round, or of all rounds.
    pub async fn check(&self, client: &Client, round: Option<u32>) {
        let agents = format!("/vui/platforms/{}/agents", self.platform);
        let configs = self.configs(client).await;
        let installed = self.installed(client).await;
        let users = self.users(client).await;
        let newest = self.written.iter().map(|written| written.writer.round).max();
        if round.is_some() {
            self.check_cache(client).await;
        }
        for written in self.written.iter().filter(|written| round.is_none_or(|round| written.writer.round == round)) {
            // Of what is replaced, only the newest round can still be seen.
            let current = Some(written.writer.round) == newest && written.acknowledged >= written.first;
            match written.writer.kind {
                Kind::Created => written.check_made(&configs, |number| format!("{{\"n\":{number}}}")),
                Kind::Installed => written.check_made(&installed, |number| number.to_string()),
                Kind::User => {
                    written.check_made(&users, |number| format!("g{number}"));
                    if current {
                        let mut someone = client.with_token(None);
                        someone.log_in(&format!("{}{}", written.writer.prefix(), written.acknowledged), PASSWORD).await;
                    }
                }
                Kind::Deleted => written.check_gone(&configs),
                Kind::Removed => written.check_gone(&installed),
                Kind::History => written.check_history(client, &self.platform, "platform.historian").await,
                Kind::Cached if round.is_none() => written.check_history(client, &self.platform, CACHED).await,
                Kind::Replaced if current => {
                    let path = format!("{agents}/durable.agent/configs/counter-{}", written.writer.number);
                    let text = client.get(&path).await.expect(200).json();
                    let stored: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
                    written.check_number(u32::try_from(stored["n"].as_u64().unwrap()).unwrap());
                }
                Kind::Tag if current => {
                    let tag = client.get(&format!("{agents}/platform.actuator/tag")).await.expect(200).json();
                    written.check_number(tag["tag"].as_str().unwrap().trim_start_matches('t').parse().unwrap());
                }
                Kind::Groups if current => written.check_number(users[CHANGED_USER].trim_start_matches('g').parse().unwrap()),
                Kind::Priority if current => {
                    let enabled = client.get(&format!("{agents}/platform.actuator/enabled")).await.expect(200).json();
                    let stored: u32 = enabled["priority"].to_string().trim_matches('"').parse().unwrap();
                    let fits = [written.acknowledged, written.sent].iter().any(|number| number % 100 == stored);
                    assert!(fits, "priority {stored}, but {written:?}");
                }
                Kind::Replaced | Kind::Tag | Kind::Priority | Kind::Groups | Kind::Cached => {}
            }
        }
    }

    /// Waits until the cache is empty.
    pub async fn cache_is_drained(&self, client: &Client) {
        eventually_async("the cache is drained", DRAIN_PATIENCE, async || (self.cached(client).await? == 0).then_some(())).await;
    }

    /// The cache has every acknowledged record of all rounds, and none twice: no two of them have topic and time in common.
    async fn check_cache(&self, client: &Client) {
        let all = self.written.iter().filter(|written| written.writer.kind == Kind::Cached);
        let (acknowledged, sent) = all.fold((0, 0), |(acknowledged, sent), written| {
            (acknowledged + u64::from(written.acknowledged * BATCH), sent + u64::from(written.sent * BATCH))
        });
        let count = eventually_async("the restarted historian tells its status", STATUS_PATIENCE, async || self.cached(client).await).await;
        assert!((acknowledged..=sent).contains(&count), "{count} records in the cache, of {acknowledged} acknowledged and {sent} sent");
    }

    async fn cached(&self, client: &Client) -> Option<u64> {
        let answer = client.get(&format!("/vui/platforms/{}/agents/{CACHED}/health", self.platform)).await;
        if answer.status == 200 { answer.json()["context"]["cache_count"].as_u64() } else { None }
    }

    /// Entries of the config store with their data.
    async fn configs(&self, client: &Client) -> Found {
        let answered = links(client, &format!("/vui/platforms/{}/agents/durable.agent/configs", self.platform)).await;
        let text = read(&self.home.join("configuration_store/durable.agent.store"));
        let stored = object(&text).into_iter().map(|(name, entry)| {
            let data: Value = serde_json::from_str(entry["data"].as_str().unwrap()).unwrap();
            (name, data.to_string())
        });
        let stored: Found = stored.collect();
        assert_eq!(text.matches("\"modified\":").count(), stored.len(), "an entry is in the file twice");
        assert_eq!(stored.keys().collect::<Vec<_>>(), answered.iter().collect::<Vec<_>>());
        stored
    }

    /// Installed agents with the message of their configuration.
    async fn installed(&self, client: &Client) -> Found {
        let answered = links(client, &format!("/vui/platforms/{}/agents?agent-state=installed", self.platform)).await;
        let mut stored = Found::new();
        for entry in std::fs::read_dir(self.home.join("agents")).unwrap() {
            let path = entry.unwrap().path();
            let rest = path.file_name().unwrap().to_string_lossy().starts_with('.');
            assert!(!rest, "{} is left of an interrupted change", path.display());
            let identity = read(&path.join("IDENTITY"));
            let twice = stored.insert(identity.clone(), message(&path));
            assert_eq!(twice, None, "{identity} is installed twice");
        }
        assert_eq!(stored.keys().collect::<Vec<_>>(), answered.iter().collect::<Vec<_>>());
        stored
    }

    /// Users with their groups.
    async fn users(&self, client: &Client) -> Found {
        let answered = links(client, &format!("/vui/platforms/{}/auths/users", self.platform)).await;
        let text = read(&self.home.join("web-users.json"));
        let groups = |user: &Value| user["groups"].as_array().unwrap().iter().map(|group| group.as_str().unwrap().to_owned()).collect();
        let stored: Found = object(&text).into_iter().map(|(name, user)| (name, groups(&user))).collect();
        assert_eq!(text.matches("\"hashed_password\":").count(), stored.len(), "a user is in the file twice");
        assert_eq!(stored.keys().collect::<Vec<_>>(), answered.iter().collect::<Vec<_>>());
        stored
    }
}

impl Written {
    fn check_number(&self, stored: u32) {
        assert!(stored == self.acknowledged || stored == self.sent, "{stored} is stored, but {self:?}");
    }

    /// Everything acknowledged is there with its contents, and nothing that was not sent.
    fn check_made(&self, found: &Found, contents: impl Fn(u32) -> String) {
        let prefix = self.writer.prefix();
        let mine = found.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix));
        let numbers: BTreeSet<u32> = mine.map(|(name, _)| name[prefix.len()..].parse().unwrap()).collect();
        let lost: Vec<u32> = (self.first..=self.acknowledged).filter(|number| !numbers.contains(number)).collect();
        assert!(lost.is_empty(), "{prefix}: lost {lost:?} of {self:?}");
        assert!(numbers.iter().all(|number| (self.first..=self.sent).contains(number)), "{prefix}: {numbers:?}, but {self:?}");
        for number in numbers {
            assert_eq!(found[&format!("{prefix}{number}")], contents(number), "{prefix}{number}");
        }
    }

    /// Nothing whose removal was acknowledged is there; the last one may be.
    fn check_gone(&self, found: &Found) {
        let prefix = self.writer.prefix();
        let mine = found.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix));
        let last = format!("{prefix}{}", self.sent);
        let back: Vec<&String> = mine.map(|(name, _)| name).filter(|name| **name != last || self.sent == self.acknowledged).collect();
        assert!(back.is_empty(), "{back:?} came back, but {self:?}");
    }

    async fn check_history(&self, client: &Client, platform: &str, historian: &str) {
        let topic = self.writer.topic();
        if self.acknowledged < self.first {
            return;
        }
        let path = format!("/vui/platforms/{platform}/historians/{historian}/topics/record/{topic}?count=1000000");
        let series = client.get(&path).await.expect(200).json();
        let (_, entry) = series.as_object().unwrap().iter().next().unwrap();
        let mut seen: BTreeMap<u32, u32> = BTreeMap::new();
        for pair in entry["value"].as_array().unwrap() {
            let value = u32::try_from(pair[1].as_u64().unwrap()).unwrap();
            assert!(pair[0].as_str().unwrap().starts_with(&moment(value)[..23]), "{pair}");
            *seen.entry(value).or_default() += 1;
        }
        let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "{topic}: there more than once: {twice:?}");
        let wanted = self.first * BATCH..(self.acknowledged + 1) * BATCH;
        let lost: Vec<u32> = wanted.filter(|value| !seen.contains_key(value)).collect();
        assert!(lost.is_empty(), "{historian} {topic}: lost {lost:?} of {self:?}");
        let unasked: Vec<&u32> = seen.keys().filter(|value| !(self.first * BATCH..(self.sent + 1) * BATCH).contains(*value)).collect();
        assert!(unasked.is_empty(), "{historian} {topic}: {unasked:?} were never sent; {self:?}");
    }
}

/// The names that a list answers, sorted.
async fn links(client: &Client, path: &str) -> BTreeSet<String> {
    let answer = client.get(path).await.expect(200).json();
    answer["links"].as_object().unwrap().keys().cloned().collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn object(text: &str) -> serde_json::Map<String, Value> {
    serde_json::from_str(text).unwrap()
}

/// `message` in the configuration of the agent at `path`, empty without one.
fn message(path: &Path) -> String {
    let names = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let package = names.into_iter().find(|entry| entry.path().is_dir()).unwrap_or_else(|| panic!("{} has no package", path.display()));
    let name = package.file_name().into_string().unwrap();
    let config = package.path().join(format!("{name}.dist-info/config"));
    if !config.exists() {
        return String::new();
    }
    object(&read(&config)).get("message").and_then(Value::as_str).unwrap_or_default().to_owned()
}
