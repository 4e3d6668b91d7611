//! `auth.json` of every version, with comments, half-written and wrong.

use std::os::unix::fs::PermissionsExt;

use super::*;

const KEY: &str = "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM";

fn loaded(text: &str) -> LoadedPeerAuth {
    parse(Path::new("auth.json"), text.as_bytes()).unwrap()
}

fn problem(text: &str) -> String {
    parse(Path::new("auth.json"), text.as_bytes()).unwrap_err().to_string()
}

fn file(version: &str, entry: &str) -> String {
    format!(r#"{{"allow": [{entry}], "groups": {{"g": ["r"]}}, "roles": {{"r": ["c"]}}{version}}}"#)
}

fn version(minor: u8) -> String {
    format!(r#", "version": {{"major": 1, "minor": {minor}}}"#)
}

#[test]
fn version_0_splits_credentials() {
    let text = format!(
        r#"{{"allow": [{{"credentials": "CURVE:{KEY}"}}, {{"credentials": "NULL", "user_id": "n"}}, {{"credentials": "PLAIN:secret"}},
        {{"credentials": "/CURVE:.*/"}}, {{"credentials": "{KEY}"}}, {{}}, {{"credentials": "{KEY}", "mechanism": "CURVE"}}]}}"#
    );
    let loaded = loaded(&text);
    let allow = &loaded.records.allow;
    let words: Vec<_> = allow.iter().map(|entry| (entry.mechanism.as_str(), entry.credentials.to_json())).collect();
    assert_eq!(words, [("CURVE", json!(KEY)), ("NULL", Value::Null), ("PLAIN", json!("secret")), ("CURVE", json!(KEY))]);
    assert_eq!((loaded.migrated_from.as_deref(), loaded.warnings.len(), loaded.records.unusable.len()), (Some("0.0"), 3, 3));
    assert!(loaded.warnings[0].contains("Cannot upgrade entries with regex credentials"), "{:?}", loaded.warnings);
    assert_eq!(allow[1].capabilities.to_json(), json!({"edit_config_store": {"identity": "n"}}));
}

#[test]
fn version_1_0_gives_user_ids_that_are_unique() {
    let entry =
        format!(r#"{{"credentials": "{KEY}", "user_id": "a"}}, {{"credentials": "/.*/", "user_id": "a"}}, {{"mechanism": "NULL"}}"#);
    let loaded = loaded(&file(&version(0), &entry));
    let ids: Vec<_> = loaded.records.allow.iter().map(|entry| entry.user_id.clone()).collect();
    assert_eq!(ids[0], "a");
    assert!(ids[1].len() == 36 && ids[2].len() == 36 && ids[1] != ids[2], "{ids:?}");
    assert_eq!(loaded.warnings.len(), 1);
}

#[test]
fn version_1_1_makes_capabilities_an_object_with_the_own_store() {
    for (id, whose) in [("a1", "a1"), ("control", "/.*/"), ("platform.agent", "/.*/")] {
        let entry = format!(r#"{{"credentials": "{KEY}", "user_id": "{id}", "capabilities": ["can_publish"]}}"#);
        let loaded = loaded(&file(&version(1), &entry));
        let entry = &loaded.records.allow[0];
        assert_eq!(entry.capabilities.to_json(), json!({"can_publish": null, "edit_config_store": {"identity": whose}}));
        assert_eq!((loaded.migrated_from.as_deref(), loaded.needs_saving), (Some("1.1"), true));
        assert_eq!(loaded.records.groups.get("g"), Some(&vec!["r".to_owned()]));
    }
}

#[test]
fn versions_1_2_and_1_3_keep_what_they_say() {
    let entry = format!(r#"{{"credentials": "{KEY}", "user_id": "a1", "capabilities": {{}}}}"#);
    for minor in [2, 3] {
        let loaded = loaded(&file(&version(minor), &entry));
        assert!(loaded.records.allow[0].capabilities.is_empty());
        assert_eq!(loaded.migrated_from, Some(format!("1.{minor}")));
    }
    let newest = loaded(&file(&version(4), &entry));
    assert_eq!((newest.migrated_from, newest.needs_saving), (None, false));
    let without_id = loaded(&file(&version(4), &format!(r#"{{"credentials": "{KEY}"}}"#)));
    assert!(without_id.needs_saving && without_id.migrated_from.is_none(), "a user id that was made up must stay");
}

#[test]
fn comments_are_tolerated_and_lines_stay_right() {
    let text = format!(
        "// who may connect\n{{\n  \"allow\": [ # all\n    {{\"credentials\": \"{KEY}\", /* two\n lines */ \"comments\": \"http://x # no\"}},\n    \
         {{\"credentials\": \"bad\"}}\n  ], \"version\": {{\"major\": 1, \"minor\": 4}} }}\n# end"
    );
    let loaded = loaded(&text);
    assert_eq!(loaded.records.allow[0].comments.as_deref(), Some("http://x # no"));
    assert!(
        loaded.warnings[0].starts_with("auth.json (line 6): entry 1 of \"allow\" counts for nobody: Invalid CURVE"),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn broken_files_are_refused_with_file_and_line() {
    for (text, expected) in [
        ("{\n\"allow\": [", "auth.json (line 2): the file ends too early; it may be half-written"),
        ("{\n\"allow\": {}}", "auth.json (line 2): \"allow\" must be a list"),
        ("{\"groups\": []}", "\"groups\" must be an object"),
        ("{\"groups\": {\"g\": \"r\"}}", "group \"g\": the value must be a list of names of roles"),
        ("{\"roles\": {\"r\": [1]}}", "role \"r\": \"1\" is no capability"),
        ("{\n\n\"version\": {\"major\": 1, \"minor\": 5}}", "auth.json (line 3): \"version\": this file is of version 1.5"),
        ("{\"version\": {\"major\": \"x\"}}", "major must be a number"),
        ("[]", "an object in braces"),
        ("{\n\"authz\": {\"roles\": []}}", "auth.json (line 2): \"authz\": roles must be an object"),
        ("{\"allow\": [], \"allow\": []}", "\"allow\" stands twice"),
        ("{} /* open", "auth.json (line 1)"),
    ] {
        let error = problem(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
    for empty in ["", " \n", "{}"] {
        assert_eq!(loaded(empty).records, PeerAuthRecords::default());
    }
}

#[tokio::test]
async fn an_upgrade_keeps_a_copy_and_entries_that_make_no_sense() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("auth.json");
    let entry = format!(r#"{{"credentials": "{KEY}", "user_id": "a1", "capabilities": "x"}}, {{"credentials": "bad", "mine": 1}}"#);
    let old = file(&version(1), &entry);
    fs::write(&path, &old).unwrap();
    let repository = FilePeerAuth::new(home.path());
    let loaded = repository.load().await.unwrap();
    repository.save(&loaded.records).await.unwrap();
    let backups = || {
        let files = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|end| end == "bak")).collect::<Vec<_>>()
    };
    assert_eq!(fs::read_to_string(&backups()[0]).unwrap(), old);
    let written: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(written["version"], json!({"major": 1, "minor": 4}));
    assert_eq!(written["allow"][1], json!({"credentials": "bad", "mine": 1}));
    repository.save(&loaded.records).await.unwrap();
    assert_eq!(backups().len(), 1, "one copy is enough");
}

#[tokio::test]
async fn the_mode_is_that_of_the_file_or_fits_the_home() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("auth.json");
    let repository = FilePeerAuth::new(home.path());
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    repository.save(&PeerAuthRecords::default()).await.unwrap();
    assert_eq!(mode(), 0o600, "the home is closed to others");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    repository.save(&PeerAuthRecords::default()).await.unwrap();
    assert_eq!(mode(), 0o640);
    fs::remove_file(&path).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o770)).unwrap();
    repository.save(&PeerAuthRecords::default()).await.unwrap();
    assert_eq!(mode(), 0o660);
}

#[tokio::test]
async fn rights_of_the_modular_generation_are_kept() {
    let home = tempfile::tempdir().unwrap();
    let authz = json!({"roles": {"r": {"rpc_capabilities": ["a.b"]}}, "agent_groups": {}, "agents": {}, "protected_topics": ["devices"]});
    let repository = FilePeerAuth::new(home.path());
    let records = PeerAuthRecords { authz: Authz::parse(&authz).unwrap(), ..PeerAuthRecords::default() };
    repository.save(&records).await.unwrap();
    assert_eq!(repository.load().await.unwrap().records, records);
    let text = fs::read_to_string(home.path().join("auth.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["authz"], authz);
    repository.save(&PeerAuthRecords::default()).await.unwrap();
    assert!(!fs::read_to_string(home.path().join("auth.json")).unwrap().contains("authz"), "nothing said, nothing written");
}
