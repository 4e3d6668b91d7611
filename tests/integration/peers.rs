//! Peers from outside, seen by files, REST and `vctl`: what the server writes at its start, and `auth.json` edited beside it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use vt_testkit::{TestServer, eventually_async};

const KEY: &str = "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM";
const DEADLINE: Duration = Duration::from_secs(10);

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}

/// vip-zmq.md §12, 11.
#[tokio::test]
async fn checklist_11_agents_of_every_generation_find_the_servers_key() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!("[volttron]\nvip-address = tcp://127.0.0.1:{port}\nbind-web-address = https://127.0.0.1:0\n");
    let mut server = TestServer::builder().file("config", &config).start().await;
    let home = server.home().to_owned();
    let mode = |path: &str| std::fs::metadata(home.join(path)).unwrap().permissions().mode() & 0o777;
    let pair = read(&home.join("keystore"));
    let public = pair["public"].as_str().unwrap();
    assert_eq!((public.len(), pair["secret"].as_str().unwrap().len(), mode("keystore")), (43, 43, 0o600));
    assert_eq!(read(&home.join("known_hosts")), json!({"@": public, format!("127.0.0.1:{port}"): public}));
    assert_eq!(read(&home.join("known_hosts.json"))["hosts"]["@"], json!({"publickey": public}));
    let platform = read(&home.join("credentials_store/platform.json"));
    assert_eq!((&platform["publickey"], &platform["secretkey"]), (&pair["public"], &json!("")));
    let tool = read(&home.join("keystores/control.connection/keystore.json"));
    assert_eq!(read(&home.join("credentials_store/control.connection.json"))["secretkey"], tool["secret"]);
    assert_eq!(mode("keystores/control.connection/keystore.json"), 0o600);
    let auth = read(&home.join("auth.json"));
    let entry = auth["allow"].as_array().unwrap().iter().find(|entry| entry["user_id"] == "control.connection").unwrap();
    assert_eq!((&entry["credentials"], &auth["version"]), (&tool["public"], &json!({"major": 1, "minor": 4})));
    server.kill().await;
    server.start_again().await;
    assert_eq!(read(&home.join("keystore")), pair, "the platform keeps its key");
    assert_eq!(read(&home.join("auth.json")), auth);
    assert!(!server.output().contains(pair["secret"].as_str().unwrap()), "no secret in the log");
}

#[tokio::test]
async fn an_old_auth_file_is_taken_up_and_edits_count_beside_the_running_server() {
    let old = format!(
        "# our peers\n{{\"allow\": [{{\"credentials\": \"{KEY}\", \"mechanism\": \"CURVE\", \"user_id\": \"far\", \"capabilities\": [\"can_publish\"]}}],\n\
         \"groups\": {{}}, \"roles\": {{}}, \"version\": {{\"major\": 1, \"minor\": 1}}}}"
    );
    let server = TestServer::builder().file("auth.json", &old).start().await;
    let client = server.administrator().await;
    let platform = client.get("/vui/platforms").await.json()["links"].as_object().unwrap().keys().next().unwrap().clone();
    let at = |path: &str| format!("/vui/platforms/{platform}/{path}");
    let record = client.get(&at("auths/far")).await.expect(200).json();
    assert_eq!(record["capabilities"], json!({"can_publish": null, "edit_config_store": {"identity": "far"}}));
    let files = || std::fs::read_dir(server.home()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let backup = files().find(|name| name.starts_with("auth.json.") && name.ends_with(".bak")).unwrap();
    assert_eq!(std::fs::read_to_string(server.home().join(backup)).unwrap(), old);

    let path = server.home().join("auth.json");
    let mut edited = read(&path);
    edited["roles"] = json!({"writer": ["can_write"]});
    std::fs::write(&path, edited.to_string()).unwrap();
    eventually_async("the edit counts", DEADLINE, async || (client.get(&at("roles/writer")).await.status == 200).then_some(())).await;
    // Half an edit changes nothing, is not overwritten, and is over when the file is whole again.
    std::fs::write(&path, "{\"allow\": [").unwrap();
    let refused = eventually_async("changes are refused", DEADLINE, async || {
        let answer = client.put(&at("groups/g"), &json!({"roles": ["writer"]})).await;
        (answer.status == 409).then_some(answer)
    });
    assert!(refused.await.text.contains("auth.json (line 1)"));
    client.get(&at("auths/far")).await.expect(200);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"allow\": [");
    std::fs::write(&path, edited.to_string()).unwrap();
    eventually_async("changes are taken again", DEADLINE, async || {
        let answer = client.put(&at("groups/g"), &json!({"roles": ["writer"]})).await;
        (answer.status == 204).then_some(())
    })
    .await;
    assert_eq!(read(&path)["groups"], json!({"g": ["writer"]}));
}
