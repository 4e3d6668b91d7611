//! `vctl auth`: the same commands with the same outputs on a running platform and on the files of one whose server is down.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use vt_testkit::TestServer;
use vt_testkit::program::{Finished, run, run_with_input};

const DEADLINE: Duration = Duration::from_secs(30);
const KEY: &str = "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM";
const OTHER_KEY: &str = "-Xd8A6lw0EWkXTZ0BrDL8qNxKbOJXOcHBPlDkrXbWUI";

async fn auth(home: &Path, arguments: &[&str]) -> Finished {
    run("vctl", home, &[&["auth"], arguments].concat(), DEADLINE).await
}

async fn stdout(home: &Path, arguments: &[&str]) -> String {
    let done = auth(home, arguments).await.ok();
    assert_eq!(done.stderr, "", "{arguments:?}");
    done.stdout
}

async fn stored(home: &Path) -> Vec<Value> {
    let list = auth(home, &["list", "--json"]).await.ok().stdout;
    serde_json::from_str(&list).unwrap()
}

/// Does something with the server up and again, on another home, with it down.
async fn up_and_down(work: impl AsyncFn(&Path)) {
    let mut server = TestServer::start().await;
    work(server.home()).await;
    server.end(Signal::SIGTERM, DEADLINE).await;
    let mut other = TestServer::start().await;
    other.end(Signal::SIGTERM, DEADLINE).await;
    work(other.home()).await;
    // What was written with the server down is what the server reads.
    let before = stored(other.home()).await;
    other.start_again().await;
    assert_eq!(stored(other.home()).await, before);
}

#[tokio::test]
async fn entries_are_added_listed_and_removed_by_options() {
    up_and_down(async |home: &Path| {
        let own = stored(home).await.len();
        let pump = ["--user_id", "pump", "--roles", "r1, r2", "--capabilities", "{'a': {'x': '1'}}"];
        let added = stdout(home, &[["add", "--credentials", KEY].as_slice(), pump.as_slice()].concat()).await;
        let expected = format!(
            "added entry {{'credentials': '{KEY}', 'user_id': 'pump', 'roles': ['r1', 'r2'], 'capabilities': {{'a': {{'x': '1'}}}}, 'enabled': True}}\n"
        );
        assert_eq!(added, expected);
        let twice = auth(home, &["add", "--credentials", KEY, "--user-id", "other"]).await;
        assert_eq!(twice.code, Some(20), "{twice:?}");
        assert!(twice.stderr.starts_with("auth: error: entry matches domain, address and credentials at index"), "{twice:?}");
        let fan = ["add", "--credentials", OTHER_KEY, "--user_id", "fan", "--identity", "fan.agent", "--address", "192.0.2.7:22916"];
        let more = ["--disabled", "--comments", "why", "--add-known-host", "--json"];
        let json = auth(home, &[fan.as_slice(), more.as_slice()].concat()).await.ok();
        assert_eq!(json.stderr, format!("server key written to {}\n", home.join("known_hosts").display()));
        assert_eq!(serde_json::from_str::<Value>(&json.stdout).unwrap()["action"], "added");
        let entries = stored(home).await;
        assert_eq!(entries[own]["identity"], Value::Null);
        assert_eq!((&entries[own + 1]["identity"], &entries[own + 1]["enabled"], &entries[own + 1]["comments"]), (&json!("fan.agent"), &json!(false), &json!("why")));
        let hosts: Value = serde_json::from_str(&stdout(home, &["list-known-hosts", "--json"]).await).unwrap();
        assert_eq!(hosts["192.0.2.7:22916"], OTHER_KEY);
        let list = stdout(home, &["list"]).await;
        assert!(list.contains(&format!("\nINDEX: {own}\n{{\n  \"domain\": null,\n")), "{list}");
        let indices = [own.to_string(), (own + 1).to_string()];
        for (input, gone) in [("maybe\nn\n", 0), ("Y\n", 2)] {
            let removed = run_with_input("vctl", home, &["auth", "remove", &indices[0], &indices[1]], input, DEADLINE).await.ok();
            assert!(removed.stdout.starts_with(&format!("This action will delete the following:\n\nINDEX: {own}\n")), "{removed:?}");
            assert_eq!(removed.stderr.contains("Please respond with 'yes' or 'no'"), input.starts_with("maybe"), "{removed:?}");
            let end = format!("Do you wish to delete? [Y/n] removed entries at indices [{own}, {}]\n", own + 1);
            assert_eq!(removed.stdout.ends_with(&end), gone == 2, "{removed:?}");
            assert_eq!(stored(home).await.len(), own + 2 - gone);
        }
        let nobody = auth(home, &["remove", "0"]).await;
        assert_eq!((nobody.code, stored(home).await.len()), (Some(1), own), "nobody answered: {nobody:?}");
        for index in ["99", "-1"] {
            let wrong = auth(home, &["remove", index]).await.ok();
            assert_eq!((wrong.stdout.as_str(), wrong.stderr), ("", format!("ERROR: invalid index {index}\n")));
        }
        let unfit = auth(home, &["add", "--credentials", "short"]).await;
        assert_eq!((unfit.code, unfit.stderr.as_str()), (Some(20), "auth: error: Invalid CURVE public key short\n"));
        let unnamed = auth(home, &["add", "--credentials", KEY, "--add-known-host"]).await;
        assert!(unnamed.code == Some(20) && unnamed.stderr.contains("host (--address) is required"), "{unnamed:?}");
    })
    .await;
}

#[tokio::test]
async fn an_entry_is_added_and_changed_by_answers() {
    up_and_down(async |home: &Path| {
        let own = stored(home).await.len();
        let input = format!("vip\n\npump\n[\"a\", 'b']\nr1,r2\n\nfrog\n\nshort\n{KEY}\n\nperhaps\ntrue\n");
        let added = run_with_input("vctl", home, &["auth", "add"], &input, DEADLINE).await.ok();
        let expected = format!(
            "domain []: address []: user_id []: capabilities (delimit multiple entries with comma) []: \
             roles (delimit multiple entries with comma) []: groups (delimit multiple entries with comma) []: mechanism [CURVE]: \
             mechanism [CURVE]: credentials []: credentials []: comments []: enabled [True]: enabled [True]: added entry {{'domain': 'vip', \
             'address': None, 'user_id': 'pump', 'capabilities': ['a', 'b'], 'roles': ['r1', 'r2'], 'groups': None, 'mechanism': 'CURVE', \
             'credentials': '{KEY}', 'comments': None, 'enabled': True, 'rpc_method_authorizations': None}}\n"
        );
        assert_eq!(added.stdout, expected);
        for told in ["mechanism must be either", "Invalid CURVE public key short", "Please enter True or False"] {
            assert!(added.stderr.contains(told), "{added:?}");
        }
        let index = own.to_string();
        let input = "clear\ny\n127.0.0.1\n\n\nclear\nn\n\n\n\nnew\nfalse\n";
        let updated = run_with_input("vctl", home, &["auth", "update", &index], input, DEADLINE).await.ok();
        assert!(updated.stdout.starts_with("(For any field type \"clear\" to clear the value.)\ndomain [vip]: Do you want to clear this field? [Y/n] address []: user_id [pump]: capabilities (delimit multiple entries with comma) [{'a': None, 'b': None}]: roles (delimit multiple entries with comma) [r1,r2]: "), "{updated:?}");
        assert!(updated.stdout.ends_with(&format!("enabled [True]: updated entry at index {own}\n")), "{updated:?}");
        let entry = &stored(home).await[own];
        assert_eq!(
            (&entry["domain"], &entry["address"], &entry["user_id"], &entry["capabilities"], &entry["comments"], &entry["enabled"]),
            (&Value::Null, &json!("127.0.0.1"), &json!("pump"), &json!({"a": null, "b": null}), &json!("new"), &json!(false))
        );
        let wrong = auth(home, &["update", "99"]).await.ok();
        assert_eq!(wrong.stderr, "ERROR: invalid index 99\n");
        let unanswered = run_with_input("vctl", home, &["auth", "add"], "", DEADLINE).await;
        assert_eq!(unanswered.code, Some(1), "{unanswered:?}");
        assert!(unanswered.stderr.ends_with("auth: error: credentials: credentials parameter is required for mechanism CURVE\n"), "{unanswered:?}");
        let json = run_with_input("vctl", home, &["--json", "auth", "update", &index], "", DEADLINE).await.ok();
        assert_eq!(serde_json::from_str::<Value>(&json.stdout).unwrap()["index"], json!(own), "questions stand on standard error: {json:?}");
    })
    .await;
}

#[tokio::test]
async fn groups_and_roles_are_made_changed_listed_and_removed() {
    up_and_down(async |home: &Path| {
        assert_eq!(stdout(home, &["add-role", "r", "write", "{'edit': {'identity': 'x'}}"]).await, "added role \"r\"\n");
        assert_eq!(stdout(home, &["add-group", "operators", "r", "s"]).await, "added group \"operators\"\n");
        for (command, told) in [
            (&["add-role", "r", "x"][..], "role \"r\" already exists\n"),
            (&["add-group", "operators", "x"], "group \"operators\" already exists\n"),
            (&["update-role", "q", "x"], "role \"q\" does not exist\n"),
            (&["remove-group", "q"], "group \"q\" does not exist\n"),
        ] {
            let done = auth(home, command).await.ok();
            assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", told));
        }
        assert_eq!(stdout(home, &["update-role", "r", "read"]).await, "updated role \"r\"\n");
        assert_eq!(stdout(home, &["update-group", "operators", "s", "--remove"]).await, "updated group \"operators\"\n");
        assert_eq!(
            stdout(home, &["list-roles"]).await,
            "ROLE  CAPABILITIES\n----  ------------\nr     ['read', 'write', {'edit': {'identity': 'x'}}]\n"
        );
        assert_eq!(stdout(home, &["list-groups"]).await, "GROUPS     ROLES\n------     -----\noperators  ['r']\n");
        let roles: Value = serde_json::from_str(&stdout(home, &["list-roles", "--json"]).await).unwrap();
        assert_eq!(roles, json!({"r": ["write", {"edit": {"identity": "x"}}, "read"]}));
        assert_eq!(stdout(home, &["update-role", "r", "edit", "--remove"]).await, "updated role \"r\"\n");
        assert_eq!(stdout(home, &["remove-role", "r"]).await, "removed role \"r\"\n");
        let removed = stdout(home, &["remove-group", "operators", "--json"]).await;
        assert_eq!(serde_json::from_str::<Value>(&removed).unwrap(), json!({"group": "operators", "action": "removed"}));
        assert_eq!(stdout(home, &["list-groups"]).await, "GROUPS  ROLES\n------  -----\n");
    })
    .await;
}

#[tokio::test]
async fn hosts_and_keys_are_told() {
    up_and_down(async |home: &Path| {
        let file = home.join("known_hosts").display().to_string();
        let added = stdout(home, &["add-known-host", "--host", "tcp://harbor2:22916", "--serverkey", OTHER_KEY]).await;
        assert_eq!(added, format!("server key written to {file}\n"));
        let key = stdout(home, &["serverkey"]).await;
        let keystore: Value = serde_json::from_slice(&std::fs::read(home.join("keystore")).unwrap()).unwrap();
        assert_eq!(json!(key.trim_end()), keystore["public"]);
        assert_eq!(
            stdout(home, &["list-known-hosts"]).await,
            format!("HOST           CURVE KEY\n----           ---------\n@              {key}harbor2:22916  {OTHER_KEY}\n")
        );
        assert_eq!(stdout(home, &["remove-known-host", "harbor2:22916"]).await, format!("host \"harbor2:22916\" removed from {file}\n"));
        let wrong = auth(home, &["add-known-host", "--host", "harbor2:22916", "--serverkey", "short"]).await;
        assert_eq!(wrong.code, Some(20), "{wrong:?}");
        let missing = auth(home, &["remove-known-host", "harbor2:22916"]).await;
        assert!(missing.code == Some(20) && missing.stderr.contains("no key of \"harbor2:22916\" is known"), "{missing:?}");
    })
    .await;
}

#[tokio::test]
async fn a_key_pair_is_made_of_which_openers_of_sockets_make_use() {
    let home = tempfile::tempdir().unwrap();
    let pair = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let (first, second) = (pair(stdout(home.path(), &["keypair"]).await), pair(stdout(home.path(), &["keypair"]).await));
    assert!(first["public"].as_str().unwrap().len() == 43 && first["secret"].as_str().unwrap().len() == 43, "{first}");
    assert_ne!(first, second);
    let added = auth(home.path(), &["add", "--credentials", first["public"].as_str().unwrap(), "--user_id", "x"]).await.ok();
    assert!(added.stdout.starts_with("added entry "), "{added:?}");
}

#[tokio::test]
async fn a_home_without_platform_has_no_entries_and_is_made_by_changes_alone() {
    let parent = tempfile::tempdir().unwrap();
    let home = parent.path().join("none");
    let (entries, hosts) = (home.join("auth.json"), home.join("known_hosts"));
    assert_eq!(stdout(&home, &["list"]).await, format!("No entries in {}\n", entries.display()));
    assert_eq!(stdout(&home, &["list-known-hosts"]).await, format!("No entries in {}\n", hosts.display()));
    let none = auth(&home, &["serverkey"]).await;
    assert_eq!((none.code, none.stdout.as_str()), (Some(1), ""), "{none:?}");
    assert!(!home.exists());
    stdout(&home, &["add-known-host", "--host", "harbor2:22916", "--serverkey", KEY]).await;
    assert!(hosts.exists() && !entries.exists());
    std::fs::write(&entries, "{\"allow\": [").unwrap();
    let broken = auth(&home, &["add-group", "g"]).await;
    assert!(broken.code == Some(20) && broken.stderr.contains("auth.json (line 1)"), "{broken:?}");
    assert_eq!(std::fs::read_to_string(&entries).unwrap(), "{\"allow\": [", "a broken file is not overwritten");
}

#[tokio::test]
async fn public_keys_of_agents_are_in_a_table() {
    let mut server = TestServer::demo().await;
    let agents: Value = serde_json::from_str(&server.vctl(&["list", "--json"]).await.ok().stdout).unwrap();
    let uuid = agents["platform.driver"]["agent_uuid"].as_str().unwrap();
    let shape = |table: &Finished| {
        assert!(table.stderr.contains("IDENTITY") && table.stderr.trim_end().ends_with("PUBLICKEY"), "{table:?}");
        table.stdout.clone()
    };
    let up = shape(&auth(server.home(), &["publickey", uuid, "-n", "0"]).await.ok());
    assert!(up.starts_with(uuid) && up.lines().count() == 1, "{up}");
    let json: Value = serde_json::from_str(&stdout(server.home(), &["publickey", "--json"]).await).unwrap();
    assert!(json["platform.driver"]["PUBLICKEY"].is_string(), "{json}");
    server.end(Signal::SIGTERM, DEADLINE).await;
    assert_eq!(shape(&auth(server.home(), &["publickey", uuid, "-n", "0"]).await.ok()), up);
    let missing = auth(server.home(), &["publickey", "zzz"]).await.ok();
    assert!(missing.stderr.starts_with("auth: error: agent not found: zzz\n"), "{missing:?}");
}

#[tokio::test]
async fn what_callers_of_a_method_need_is_set_and_taken_away() {
    up_and_down(async |home: &Path| {
        let own = stored(home).await.len();
        stdout(home, &["add", "--credentials", KEY, "--user_id", "pump", "--identity", "pump.agent"]).await;
        assert_eq!(stdout(home, &["rpc", "add", "pump.agent.set", "may_set", "may_all"]).await, "");
        assert_eq!(stored(home).await[own]["rpc_method_authorizations"], json!({"set": ["may_set", "may_all"]}));
        assert_eq!(stdout(home, &["rpc", "remove", "pump.agent.set", "may_all"]).await, "");
        assert_eq!(stored(home).await[own]["rpc_method_authorizations"], json!({"set": ["may_set"]}));
        for (command, code) in
            [(&["rpc", "add", "nobody.set", "x"][..], 20), (&["rpc", "add", "control.shutdown", "x"], 20), (&["rpc", "add", "x", "y"], 2)]
        {
            let refused = auth(home, command).await;
            assert!(refused.code == Some(code) && refused.stderr.starts_with("auth: error: "), "{refused:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn decisions_on_peers_are_listed_and_changed() {
    up_and_down(async |home: &Path| {
        assert_eq!(stdout(home, &["remote", "list"]).await, "No remote certificates or credentials\n");
        stdout(home, &["add", "--credentials", KEY, "--user_id", "pump", "--address", "192.0.2.7"]).await;
        let listed = auth(home, &["remote", "list"]).await.ok();
        assert_eq!((listed.stderr.as_str(), listed.stdout.as_str()), ("USER_ID ADDRESS   STATUS\n", "pump  192.0.2.7 APPROVED\n"));
        assert_eq!(stdout(home, &["remote", "deny", "pump"]).await, "");
        let denied: Value = serde_json::from_str(&stdout(home, &["remote", "list", "--status", "denied", "--json"]).await).unwrap();
        assert_eq!(denied, json!([{"user_id": "pump", "address": "192.0.2.7", "status": "DENIED"}]));
        assert_eq!(stdout(home, &["remote", "list", "--status", "approved"]).await, "No approved remote certificates or credentials\n");
        assert!(stdout(home, &["remote", "list", "--status", "frog"]).await.starts_with("Invalid parameter. Please use 'approved'"));
        stdout(home, &["remote", "approve", "pump"]).await;
        stdout(home, &["remote", "delete", "pump"]).await;
        let unknown = auth(home, &["remote", "approve", "pump"]).await;
        assert!(unknown.code == Some(20) && unknown.stderr.contains("nobody is known"), "{unknown:?}");
    })
    .await;
}

#[tokio::test]
async fn tools_at_once_lose_nothing_also_while_the_server_starts() {
    let mut server = TestServer::start().await;
    server.end(Signal::SIGTERM, DEADLINE).await;
    let home = server.home().to_owned();
    let names: Vec<String> = (0..8).map(|n| format!("role{n}")).collect();
    let tools = names.iter().map(|name| {
        let home = home.clone();
        async move { auth(&home, &["add-role", name, "x"]).await.ok() }
    });
    let (_, _) = tokio::join!(futures_util::future::join_all(tools), server.start_again());
    let roles: Value = serde_json::from_str(&stdout(&home, &["list-roles", "--json"]).await).unwrap();
    assert_eq!(roles.as_object().unwrap().len(), names.len(), "{roles}");
}
