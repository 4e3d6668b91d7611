//! What every implementation of a repository must do: one suite per trait, run against the fake in `memory` and every real one. A suite
//! gets `open`, which opens the same, initially empty, store each time it is called: what one handle was told with `Ok`, the next one finds.
//!
//! For tests only; a breach panics. Policies have no suite, since the trait only reads.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a breach of the contract is a failed test")]

pub mod peers;

use chrono::{DateTime, Duration};
use serde_json::{Map, json};
use vt_types::timestamp::Timestamp;
use vt_types::{AgentUuid, CurveKeyPair, Identity, Priority, PublicKey, SecretKey, Tag};

use crate::{
    AgentSource, AlertRecord, AlertRepository, AuditFilter, AuditRecord, AuditRepository, ConfigEntry, ConfigRepository, ConfigType,
    Generation, InstallationRepository, NewInstallation, PythonSource, RepositoryError, Revocation, RevocationRepository, UserRecord,
    UserRepository, Users,
};

/// Texts that break what is careless: markup, quotes of SQL and of paths, reordering marks, wildcards, text beyond the basic plane.
const HOSTILE: &[&str] =
    &["<img src=x onerror=alert(1)>", "'; DROP TABLE audit_log; --", "../../etc/passwd", "a\u{202e}b", "%_", "\u{1f525}\n\t\u{1}", ""];

/// An even moment, whole microseconds, `n` seconds later each.
fn moment(n: i64) -> Timestamp {
    DateTime::from_timestamp(1_795_500_000, 123_456_000).unwrap() + Duration::seconds(n)
}

/// The users: replaced as a whole, in every detail; the stamp moves with them.
pub async fn users<R: UserRepository>(open: impl AsyncFn() -> R) {
    let repository = open().await;
    assert!(repository.load().await.unwrap().is_empty());
    assert_eq!(repository.stamp().await.unwrap(), None);

    let extra: Map<_, _> = [("site".to_owned(), json!({"b": [1, null], "a": "x"}))].into_iter().collect();
    let record =
        UserRecord { hashed_password: "$argon2id$v=19$m=1$a$b".to_owned(), groups: vec!["admin".to_owned(), "vui".to_owned()], extra };
    let plain = UserRecord { hashed_password: "x".to_owned(), groups: Vec::new(), extra: Map::new() };
    let mut users: Users = [("dana".to_owned(), record), ("Dána <b>".to_owned(), plain)].into_iter().collect();
    repository.save(&users).await.unwrap();
    let stamp = repository.stamp().await.unwrap();
    assert!(stamp.is_some());
    assert_eq!(open().await.load().await.unwrap(), users);

    users.remove("dana");
    open().await.save(&users).await.unwrap();
    assert_ne!(repository.stamp().await.unwrap(), stamp, "a change through another handle moves the stamp");
    assert_eq!(repository.load().await.unwrap(), users);
    repository.save(&Users::new()).await.unwrap();
    assert!(open().await.load().await.unwrap().is_empty());
}

/// The configuration store: entries in their order, per identity, replaced at once; none removes the store.
pub async fn configs<R: ConfigRepository>(open: impl AsyncFn() -> R) {
    let repository = open().await;
    assert!(repository.load_all().await.unwrap().records.is_empty());
    let (driver, other) = (Identity::parse("platform.driver").unwrap(), Identity::parse("listener_1").unwrap());
    let entry =
        |name: &str, config_type, modified, data: &str| ConfigEntry { name: name.to_owned(), config_type, modified, data: data.to_owned() };
    let mut entries = vec![
        entry("devices/campus/building/unit", ConfigType::Json, Some(moment(0)), "{\"a\": 1} // why"),
        entry("Registry.CSV", ConfigType::Csv, None, "Point,Unit\r\nT,°F\r\n"),
        entry("large", ConfigType::Raw, Some(moment(1)), &"x\u{0}y".repeat(100_000)),
    ];
    entries.extend(HOSTILE.iter().filter(|text| !text.is_empty()).map(|text| entry(text, ConfigType::Raw, Some(moment(2)), text)));
    repository.save(&driver, &entries).await.unwrap();
    repository.save(&other, &entries[..1]).await.unwrap();
    let loaded = open().await.load_all().await.unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.records.keys().collect::<Vec<_>>(), [&other, &driver]);
    assert_eq!(loaded.records[&driver], entries);

    repository.save(&driver, &entries[1..2]).await.unwrap();
    repository.save(&other, &[]).await.unwrap();
    repository.save(&other, &[]).await.unwrap();
    let loaded = open().await.load_all().await.unwrap();
    assert_eq!(loaded.records.into_iter().collect::<Vec<_>>(), [(driver, entries[1..2].to_vec())]);
}

/// Installed agents: identities are unique, changes hold, what does not exist is said not to.
pub async fn installations<R: InstallationRepository>(open: impl AsyncFn() -> R) {
    let repository = open().await;
    assert!(repository.load_all().await.unwrap().records.is_empty());
    let new = |identity: &str| NewInstallation {
        identity: Identity::parse(identity).unwrap(),
        name: "listeneragent-3.3".to_owned(),
        tag: None,
        priority: None,
        source: AgentSource::BuiltIn { kind: "listener".to_owned() },
        config: None,
        keys: None,
    };
    let first = repository.install(new("listener_1")).await.unwrap();
    let full = NewInstallation {
        tag: Some(Tag::parse("<b>tag</b> é").unwrap()),
        priority: Some(Priority::parse("07").unwrap()),
        config: Some(json!({"b": [1.5, null, "x"], "a": {}})),
        ..new("platform.driver")
    };
    let second = repository.install(full.clone()).await.unwrap();
    assert_ne!(first.uuid, second.uuid);
    assert_eq!(
        (&second.identity, &second.tag, &second.priority, &second.config),
        (&full.identity, &full.tag, &full.priority, &full.config)
    );
    let taken = repository.install(new("listener_1")).await;
    assert!(matches!(taken, Err(RepositoryError::AlreadyExists(_))), "{taken:?}");

    let load = async || {
        let loaded = open().await.load_all().await.unwrap();
        assert_eq!(loaded.warnings, Vec::<String>::new());
        let mut records = loaded.records;
        records.sort_by(|a, b| a.identity.cmp(&b.identity));
        records
    };
    assert_eq!(load().await, [first.clone(), second.clone()]);

    repository.set_tag(first.uuid, Some(Tag::parse("mine").unwrap())).await.unwrap();
    repository.set_priority(first.uuid, Some(Priority::parse("50").unwrap())).await.unwrap();
    repository.set_tag(second.uuid, None).await.unwrap();
    repository.set_priority(second.uuid, None).await.unwrap();
    repository.set_priority(second.uuid, None).await.unwrap();
    let records = load().await;
    assert_eq!(records[0].tag.as_ref().map(Tag::as_str), Some("mine"));
    assert_eq!(records[0].priority.as_ref().map(Priority::as_str), Some("50"));
    assert_eq!((&records[1].tag, &records[1].priority), (&None, &None));

    let stolen = repository.replace(second.uuid, new("listener_1")).await;
    assert!(matches!(stolen, Err(RepositoryError::AlreadyExists(_))), "{stolen:?}");
    for name in ["listeneragent-3.3", "listeneragent-4.0"] {
        let before = load().await;
        let upgrade = NewInstallation { name: name.to_owned(), config: Some(json!({"a": 1})), ..new("platform.driver") };
        let third = repository.replace(before[1].uuid, upgrade).await.unwrap();
        assert_ne!(third.uuid, before[1].uuid, "replaced agents get a new UUID");
        assert_eq!((third.name.as_str(), &third.config, &third.tag), (name, &Some(json!({"a": 1})), &None));
        assert_eq!(load().await, [before[0].clone(), third]);
    }

    repository.remove(first.uuid).await.unwrap();
    assert_eq!(load().await.len(), 1);
    let unknown = AgentUuid::parse("00000000-0000-4000-8000-000000000000").unwrap();
    for uuid in [first.uuid, unknown] {
        let replaced = repository.replace(uuid, new("somebody")).await.map(drop);
        for result in
            [repository.remove(uuid).await, repository.set_tag(uuid, None).await, repository.set_priority(uuid, None).await, replaced]
        {
            assert!(matches!(result, Err(RepositoryError::NotFound(_))), "{result:?}");
        }
    }
    let again = repository.install(new("listener_1")).await.unwrap();
    assert_ne!(again.uuid, first.uuid, "a freed identity can be used again");
}

/// Packages in Python; `prepare` makes one ready under the name it is given.
pub async fn python_installations<R: InstallationRepository>(
    open: impl AsyncFn() -> R,
    prepare: impl Fn(&str, Generation) -> PythonSource,
) {
    let repository = open().await;
    let load = async || {
        let loaded = open().await.load_all().await.unwrap();
        assert_eq!(loaded.warnings, Vec::<String>::new());
        loaded.records
    };
    for generation in [Generation::Monolithic6, Generation::Monolithic9, Generation::Modular] {
        let new = |name: &str| {
            let source = prepare(name, generation);
            assert_eq!(source.generation, generation);
            NewInstallation {
                identity: Identity::parse("listener_1").unwrap(),
                name: name.to_owned(),
                tag: Some(Tag::parse("mine").unwrap()),
                priority: Some(Priority::parse("5").unwrap()),
                source: AgentSource::Python(source),
                config: None,
                keys: Some(CurveKeyPair { public: PublicKey::new([1; 32]), secret: SecretKey::new([2; 32]) }),
            }
        };
        let prepared = new("listeneragent-3.3");
        let first = repository.install(prepared.clone()).await.unwrap();
        let (AgentSource::Python(before), AgentSource::Python(python)) = (&prepared.source, &first.source) else {
            unreachable!("a package in Python stays one")
        };
        assert_ne!(python.directory, before.directory, "it was taken from where it was prepared");
        assert_eq!((python.generation, &python.entry), (generation, &before.entry));
        assert_eq!(first.data_dir, python.data_dir(&first.name));
        assert!(first.data_dir.starts_with(&python.directory));
        assert_eq!(load().await, std::slice::from_ref(&first));

        for name in ["listeneragent-3.3", "listeneragent-4.0+local.1"] {
            let before = load().await.remove(0);
            let after = repository.replace(before.uuid, new(name)).await.unwrap();
            assert_ne!(after.uuid, before.uuid);
            assert_eq!(after.name, name);
            assert_eq!(load().await, [after]);
        }
        let last = load().await.remove(0);
        repository.remove(last.uuid).await.unwrap();
        assert!(load().await.is_empty());
    }
}

/// A record for the audit suite.
fn record(n: i64, user: &str, action: &str, target: &str) -> AuditRecord {
    AuditRecord {
        at: moment(n),
        user: user.to_owned(),
        address: (n % 2 == 0).then(|| "192.0.2.7".to_owned()),
        action: action.to_owned(),
        target: target.to_owned(),
        success: n % 3 != 0,
        detail: format!("detail {n}"),
    }
}

/// The audit log: nothing is lost or changed, newest first, filters match literally.
pub async fn audit<R: AuditRepository>(open: impl AsyncFn() -> R) {
    let repository = open().await;
    assert!(repository.list(AuditFilter::default()).await.unwrap().is_empty());
    let mut records = vec![
        record(1, "dana", "device.set", "campus/b/u/T"),
        record(2, "dana", "device.revert", "campus/b/u/T"),
        record(3, "kiosk", "agent.start", "listener"),
        record(3, "local:operator", "agentX", "listener"),
    ];
    for (n, text) in (4..).zip(HOSTILE) {
        records.push(record(n, text, text, text));
    }
    for record in &records {
        repository.append(record.clone()).await.unwrap();
    }
    records.reverse();
    let list = async |filter| open().await.list(filter).await.unwrap();
    assert_eq!(list(AuditFilter::default()).await, records);
    assert_eq!(list(AuditFilter { limit: 2, ..AuditFilter::default() }).await, records[..2]);
    let targets = |found: Vec<AuditRecord>| found.into_iter().map(|record| record.action).collect::<Vec<_>>();
    let by_user = AuditFilter { user: Some("dana".to_owned()), ..AuditFilter::default() };
    assert_eq!(targets(list(by_user).await), ["device.revert", "device.set"]);
    let by_prefix = |prefix: &str| AuditFilter { action_prefix: Some(prefix.to_owned()), ..AuditFilter::default() };
    assert_eq!(targets(list(by_prefix("agent.")).await), ["agent.start"], "a dot is no wildcard");
    assert_eq!(targets(list(by_prefix("%")).await), ["%_"], "a percent sign is no wildcard");
    assert!(list(by_prefix("AGENT")).await.is_empty(), "capitals matter");
    let both = AuditFilter { target: Some("listener".to_owned()), action_prefix: Some("agent".to_owned()), ..AuditFilter::default() };
    assert_eq!(targets(list(both).await), ["agentX", "agent.start"]);
    for text in HOSTILE {
        let filter = AuditFilter { target: Some((*text).to_owned()), ..AuditFilter::default() };
        assert_eq!(list(filter).await.len(), 1, "{text:?}");
    }
    // A name with NUL must not keep its attempt out of the log; how the NUL is shown is the store's affair.
    repository.append(record(90, "a\0b", "session.login", &"x".repeat(65_536))).await.unwrap();
    assert_eq!(list(AuditFilter { limit: 1, ..AuditFilter::default() }).await[0].at, moment(90));

    for n in 100..220 {
        repository.append(record(n, "many", "x", "y")).await.unwrap();
    }
    let many = |limit| AuditFilter { user: Some("many".to_owned()), limit, ..AuditFilter::default() };
    assert_eq!(list(many(0)).await.len(), 100, "no limit means a hundred");
    assert_eq!(list(many(usize::MAX)).await.len(), 120);
}

/// An alert with a key of its own.
#[must_use]
pub fn alert(n: usize) -> AlertRecord {
    AlertRecord {
        at: moment(i64::try_from(n).unwrap()),
        topic: "alerts/ListenerAgent/volttron1_listener".to_owned(),
        identity: "listener".to_owned(),
        key: format!("key {n}"),
        status: "BAD".to_owned(),
        context: json!({"value": n, "text": "a\u{0}b \u{202e}"}),
    }
}

/// Alerts: newest first, contexts of every shape.
pub async fn alerts<R: AlertRepository>(open: impl AsyncFn() -> R) {
    let repository = open().await;
    assert!(repository.newest(10).await.unwrap().is_empty());
    let mut records: Vec<_> = (0..5).map(alert).collect();
    records[1].context = json!(null);
    records[2].context = json!("text");
    records[3].key = HOSTILE[1].to_owned();
    for record in &records {
        repository.append(record.clone()).await.unwrap();
    }
    records.reverse();
    let repository = open().await;
    assert_eq!(repository.newest(10).await.unwrap(), records);
    assert_eq!(repository.newest(2).await.unwrap(), records[..2]);
    assert!(repository.newest(0).await.unwrap().is_empty());
    assert_eq!(repository.newest(usize::MAX).await.unwrap().len(), 5);
}

/// Ended sessions: known until they expire, once.
pub async fn revocations<R: RevocationRepository>(open: impl AsyncFn() -> R) {
    let repository = open().await;
    assert!(repository.current(moment(0)).await.unwrap().is_empty());
    let revocation = |session: &str, n| Revocation { session: session.to_owned(), expires_at: moment(n) };
    for (session, n) in [("early", 10), ("late", 20), ("early", 30)] {
        repository.add(revocation(session, n)).await.unwrap();
    }
    let current = async |n| {
        let mut found = open().await.current(moment(n)).await.unwrap();
        found.sort_by(|a, b| a.session.cmp(&b.session));
        found
    };
    assert_eq!(current(0).await, [revocation("early", 10), revocation("late", 20)], "repeating changes nothing");
    assert_eq!(current(10).await, [revocation("late", 20)], "at its expiry a session is over");
    assert_eq!(current(0).await, [revocation("late", 20)], "what expired is deleted");
    assert!(current(20).await.is_empty());
}
