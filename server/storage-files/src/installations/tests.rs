//! What stands on the disk, and what becomes of damaged installations; the trait's own rules are in the contract suite.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use vt_backends::{EntryPoint, Generation, PythonSource};
use vt_types::{CurveKeyPair, PublicKey, SecretKey};

use super::*;

fn new(identity: &str) -> NewInstallation {
    NewInstallation {
        identity: Identity::parse(identity).unwrap(),
        name: "listeneragent-3.3".to_owned(),
        tag: Some(Tag::parse("listener").unwrap()),
        priority: Some(Priority::parse("50").unwrap()),
        source: AgentSource::BuiltIn { kind: "listener".to_owned() },
        config: Some(json!({"message": "hush"})),
        keys: None,
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn the_places_are_those_of_volttron() {
    let home = tempfile::tempdir().unwrap();
    let repository = FileInstallations::new(home.path());
    let agent = repository.install(new("listener")).await.unwrap();
    let path = home.path().join("agents").join(agent.uuid.as_str());
    assert_eq!(
        (read(&path.join("IDENTITY")), read(&path.join("TAG")), read(&path.join("AUTOSTART"))),
        ("listener".into(), "listener".into(), "50".into())
    );
    let config = path.join("listeneragent-3.3/listeneragent-3.3.dist-info/config");
    assert_eq!(serde_json::from_str::<Value>(&read(&config)).unwrap(), json!({"message": "hush"}));
    assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(agent.data_dir, path.join("listeneragent-3.3/listeneragent-3.3.agent-data"));
    assert!(agent.data_dir.is_dir());
    assert_eq!(repository.load_all().await.unwrap().records, [agent]);
}

#[tokio::test]
async fn what_a_crash_left_is_deleted_and_never_loaded() {
    let home = tempfile::tempdir().unwrap();
    let repository = FileInstallations::new(home.path());
    let agent = repository.install(new("listener")).await.unwrap();
    let agents = home.path().join("agents");
    let uuid = "8b1e0000-0000-4000-8000-000000000000";
    for prefix in [".new-", ".gone-"] {
        let half = agents.join(format!("{prefix}{uuid}/x"));
        fs::create_dir_all(&half).unwrap();
        fs::write(half.join("IDENTITY"), "half").unwrap();
    }
    let loaded = repository.load_all().await.unwrap();
    assert_eq!(loaded.records.len(), 1);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(fs::read_dir(&agents).unwrap().count(), 1);
    repository.remove(agent.uuid).await.unwrap();
    assert_eq!(fs::read_dir(&agents).unwrap().count(), 0, "data is removed with the agent");
}

#[tokio::test]
async fn damaged_installations_are_left_out_with_the_reason() {
    let home = tempfile::tempdir().unwrap();
    let repository = FileInstallations::new(home.path());
    let agents = home.path().join("agents");
    let mut paths = Vec::new();
    for n in 0..6 {
        let agent = repository.install(new(&format!("listener{n}"))).await.unwrap();
        paths.push(agents.join(agent.uuid.as_str()));
    }
    fs::write(paths[0].join("agent.json"), "{\"kind\": \"list").unwrap();
    fs::write(paths[1].join("agent.json"), r#"{"kind": "listener", "name": "../../x"}"#).unwrap();
    fs::write(paths[2].join("IDENTITY"), "../x").unwrap();
    fs::remove_file(paths[3].join("agent.json")).unwrap();
    fs::write(paths[4].join("listeneragent-3.3/listeneragent-3.3.dist-info/config"), "{").unwrap();
    fs::create_dir(agents.join("listener")).unwrap();
    let loaded = repository.load_all().await.unwrap();
    assert_eq!(loaded.records.iter().map(|agent| agent.identity.as_str()).collect::<Vec<_>>(), ["listener5"]);
    let all = loaded.warnings.join("\n");
    for part in [
        "agent.json (line 1): the file ends too early",
        "is no agent name",
        "IDENTITY (line 1)",
        "no entry points exported",
        "config (line 1)",
        "no UUID",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    let taken = repository.install(new("listener3")).await;
    assert!(matches!(taken, Err(RepositoryError::AlreadyExists(_))), "an agent that cannot be run keeps its identity");
}

#[tokio::test]
async fn a_wrong_tag_or_priority_does_not_cost_the_agent() {
    let home = tempfile::tempdir().unwrap();
    let repository = FileInstallations::new(home.path());
    let agent = repository.install(new("listener")).await.unwrap();
    let path = home.path().join("agents").join(agent.uuid.as_str());
    fs::write(path.join("TAG"), "x".repeat(65)).unwrap();
    fs::write(path.join("AUTOSTART"), "soon\n").unwrap();
    let loaded = repository.load_all().await.unwrap();
    assert_eq!((&loaded.records[0].tag, &loaded.records[0].priority), (&None, &None));
    assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
}

#[tokio::test]
async fn two_copies_of_an_agent_are_not_two_agents() {
    let home = tempfile::tempdir().unwrap();
    let repository = FileInstallations::new(home.path());
    let one = repository.install(new("listener")).await.unwrap();
    let two = repository.install(new("other")).await.unwrap();
    fs::write(home.path().join("agents").join(two.uuid.as_str()).join("IDENTITY"), "listener\n").unwrap();
    let loaded = repository.load_all().await.unwrap();
    assert_eq!(loaded.records.len(), 1);
    assert!(loaded.warnings[0].contains(one.uuid.as_str()) || loaded.warnings[0].contains(two.uuid.as_str()));
}

#[tokio::test]
async fn a_failed_installation_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let repository = FileInstallations::new(home.path());
    for name in ["", "../x", ".hidden", "a/b", &"x".repeat(65_536)] {
        let result = repository.install(NewInstallation { name: name.to_owned(), ..new("listener") }).await;
        assert!(matches!(result, Err(RepositoryError::Unavailable { .. })), "{name:.20}");
    }
    fs::write(home.path().join("agents"), "").unwrap();
    assert!(matches!(repository.install(new("listener")).await, Err(RepositoryError::Unavailable { .. })));
}

#[tokio::test]
async fn a_replaced_agent_keeps_its_data_bytes_under_a_new_uuid() {
    let home = tempfile::tempdir().unwrap();
    let repository = FileInstallations::new(home.path());
    let old = repository.install(new("listener")).await.unwrap();
    fs::write(old.data_dir.join("state"), b"\x00precious").unwrap();
    let upgrade = NewInstallation { name: "listeneragent-4.0".to_owned(), tag: None, priority: None, config: None, ..new("listener") };
    let agent = repository.replace(old.uuid, upgrade).await.unwrap();
    assert_eq!(fs::read(agent.data_dir.join("state")).unwrap(), b"\x00precious");
    let directory = home.path().join("agents");
    assert_eq!(names(&directory).unwrap(), [agent.uuid.as_str()]);
    assert_eq!(names(&directory.join(agent.uuid.as_str())).unwrap(), ["IDENTITY", "agent.json", "listeneragent-4.0"]);
    assert_eq!(repository.load_all().await.unwrap().records, [agent]);
}

/// A package that was prepared in the home, with a configuration in YAML.
fn prepared(home: &Path, generation: Generation) -> NewInstallation {
    let directory = home.join("agents/.prepared-1");
    let source = PythonSource { directory, generation, entry: EntryPoint::parse("listener.agent:main").unwrap() };
    fs::create_dir_all(source.environment()).unwrap();
    fs::write(source.environment().join("marker"), "of the package").unwrap();
    let config = source.config_file("listeneragent-3.3");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    fs::write(&config, "message: hush # a comment\n").unwrap();
    let keys = CurveKeyPair { public: PublicKey::new([7; 32]), secret: SecretKey::new([8; 32]) };
    NewInstallation { source: AgentSource::Python(source), config: None, keys: Some(keys), ..new("listener") }
}

#[tokio::test]
async fn a_package_in_python_is_moved_into_volttrons_places() {
    let (information, data) = ("listeneragent-3.3.dist-info", "listeneragent-3.3.agent-data");
    for (generation, config, place, keystore) in [
        (Generation::Monolithic6, format!("listeneragent-3.3/{information}/config"), format!("listeneragent-3.3/{data}"), data),
        (Generation::Monolithic9, format!("listeneragent-3.3/{information}/config"), format!("listeneragent-3.3/{data}"), information),
        (Generation::Modular, "config".to_owned(), "data".to_owned(), information),
    ] {
        let home = tempfile::tempdir().unwrap();
        let repository = FileInstallations::new(home.path());
        let agent = repository.install(prepared(home.path(), generation)).await.unwrap();
        let path = home.path().join("agents").join(agent.uuid.as_str());
        assert_eq!(read(&path.join("env/marker")), "of the package");
        assert_eq!(read(&path.join(config)), "message: hush # a comment\n", "as it came");
        assert_eq!(agent.data_dir, path.join(place));
        assert!(agent.data_dir.is_dir());
        let keystore = path.join("listeneragent-3.3").join(keystore).join("keystore.json");
        let keys = fs::read_to_string(&keystore).ok().map(|text| serde_json::from_str::<Value>(&text).unwrap());
        let pair = json!({"public": PublicKey::new([7; 32]).to_string(), "secret": SecretKey::new([8; 32]).expose_text()});
        assert_eq!(keys, (generation != Generation::Modular).then_some(pair), "{}", keystore.display());
        assert_eq!(names(&home.path().join("agents")).unwrap(), [agent.uuid.as_str()], "nothing is left where it was prepared");
        assert_eq!(repository.load_all().await.unwrap().records, [agent]);
    }
}

#[tokio::test]
async fn a_replacement_that_was_interrupted_is_completed_with_the_old_data() {
    // However far it had come: the data moved or not, the old installation there or gone.
    for (data_moved, old_gone) in [(false, false), (true, false), (true, true)] {
        let home = tempfile::tempdir().unwrap();
        let repository = FileInstallations::new(home.path());
        let old = repository.install(new("listener")).await.unwrap();
        fs::write(old.data_dir.join("state"), b"\x00precious").unwrap();
        let agents = home.path().join("agents");
        let uuid = "8b1e0000-0000-4000-8000-000000000000";
        let NewInstallation { source, name, .. } = prepared(home.path(), Generation::Monolithic9);
        let swap = agents.join(format!(".swap-{uuid}"));
        fs::rename(agents.join(".prepared-1"), &swap).unwrap();
        fs::write(swap.join("agent.json"), Description::text(&source, &name)).unwrap();
        fs::write(swap.join("IDENTITY"), "listener").unwrap();
        fs::write(swap.join("REPLACES"), old.uuid.as_str()).unwrap();
        if data_moved {
            fs::rename(&old.data_dir, swap.join("listeneragent-3.3/listeneragent-3.3.agent-data")).unwrap();
        }
        if old_gone {
            fs::remove_dir_all(agents.join(old.uuid.as_str())).unwrap();
        }
        let loaded = repository.load_all().await.unwrap();
        assert_eq!((loaded.records.len(), loaded.warnings.len()), (1, 0), "{:?}", loaded.warnings);
        assert_eq!(loaded.records[0].uuid.as_str(), uuid);
        assert_eq!(fs::read(loaded.records[0].data_dir.join("state")).unwrap(), b"\x00precious");
        assert_eq!(names(&agents).unwrap(), [uuid]);
    }
}

#[tokio::test]
async fn a_replacement_that_fails_leaves_the_old_agent_with_its_data() {
    let home = tempfile::tempdir().unwrap();
    let repository = FileInstallations::new(home.path());
    let old = repository.install(new("listener")).await.unwrap();
    fs::write(old.data_dir.join("state"), b"\x00precious").unwrap();
    let mut missing = prepared(home.path(), Generation::Monolithic9);
    if let AgentSource::Python(python) = &mut missing.source {
        python.directory = home.path().join("agents/.prepared-2");
    }
    assert!(matches!(repository.replace(old.uuid, missing).await, Err(RepositoryError::Unavailable { .. })));
    assert_eq!(repository.load_all().await.unwrap().records, std::slice::from_ref(&old));
    assert_eq!(fs::read(old.data_dir.join("state")).unwrap(), b"\x00precious");
}

#[tokio::test]
async fn what_volttron_itself_installed_is_taken_over() {
    let home = tempfile::tempdir().unwrap();
    let agents = home.path().join("agents");
    let install = |uuid: &str, keys: &str| {
        let package = agents.join(uuid).join("listeneragent-3.3");
        for directory in ["listeneragent-3.3.dist-info", "listeneragent-3.3.agent-data"] {
            fs::create_dir_all(package.join(directory)).unwrap();
        }
        fs::write(package.join(keys).join("keystore.json"), "{}").unwrap();
        package.join("listeneragent-3.3.dist-info")
    };
    let nine = install("11111111-1111-4111-8111-111111111111", "listeneragent-3.3.dist-info");
    let exports = json!({"setuptools.installation": {"eggsecutable": "listener.agent:main"}});
    fs::write(nine.join("metadata.json"), json!({"extensions": {"python.exports": exports}}).to_string()).unwrap();
    fs::write(agents.join("11111111-1111-4111-8111-111111111111/IDENTITY"), "listener").unwrap();
    let six = install("22222222-2222-4222-8222-222222222222", "listeneragent-3.3.agent-data");
    fs::write(six.join("entry_points.txt"), "[console_scripts]\nlaunch = no.such\n[volttron.agent]\nlaunch = old.agent\n").unwrap();
    let loaded = FileInstallations::new(home.path()).load_all().await.unwrap();
    let found: Vec<_> = loaded.records.iter().map(|agent| (agent.identity.as_str(), agent.name.as_str(), &agent.source)).collect();
    let python = |uuid: &str, generation, entry: &str| {
        AgentSource::Python(PythonSource { directory: agents.join(uuid), generation, entry: EntryPoint::parse(entry).unwrap() })
    };
    let expected = [
        ("listener", python("11111111-1111-4111-8111-111111111111", Generation::Monolithic9, "listener.agent:main")),
        // Without IDENTITY the UUID is the identity, as in VOLTTRON.
        ("22222222-2222-4222-8222-222222222222", python("22222222-2222-4222-8222-222222222222", Generation::Monolithic6, "old.agent")),
    ];
    assert_eq!(found, expected.iter().map(|(identity, source)| (*identity, "listeneragent-3.3", source)).collect::<Vec<_>>());
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}
