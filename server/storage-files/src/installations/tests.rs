//! What stands on the disk, and what becomes of damaged installations; the trait's own rules are in the contract suite.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn new(identity: &str) -> NewInstallation {
    NewInstallation {
        identity: Identity::parse(identity).unwrap(),
        name: "listeneragent-3.3".to_owned(),
        tag: Some(Tag::parse("listener").unwrap()),
        priority: Some(Priority::parse("50").unwrap()),
        source: AgentSource::BuiltIn { kind: "listener".to_owned() },
        config: Some(json!({"message": "hush"})),
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
    for part in
        ["agent.json (line 1): the file ends too early", "is no agent name", "IDENTITY (line 1)", "Python", "config (line 1)", "no UUID"]
    {
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
