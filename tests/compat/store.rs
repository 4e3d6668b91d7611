//! The configuration store (vip-zmq.md §12, 50 to 54), with real agents whose callbacks run and bare ones of every signature.

use serde_json::{Value, json};
use vt_testkit::eventually_async;

use crate::platform::Platform;
use crate::python::{Installed, PATIENCE};

#[tokio::test]
async fn a_real_agent_starts_with_its_entries_and_hears_of_every_change() {
    for (installed, identity) in [(Installed::Eleven, "eleven"), (Installed::Ten, "ten")] {
        let platform = Platform::start().await;
        platform.store(identity, "config", "--json", r#"{"interval": 5, "names": "config://names.csv"} // comment"#).await;
        platform.store(identity, "names.csv", "--csv", "Name,Unit\nfläche,m²\n").await;
        platform.store(identity, "text", "--raw", "as it is: é\n").await;

        let mut agent = platform.agent(installed, identity, &[]).await;
        let names = json!([{"Name": "fläche", "Unit": "m²"}]);
        assert_eq!(agent.configured("config", "NEW").await, json!({"interval": 5, "names": names}), "the agent resolves the link");
        assert_eq!(agent.configured("names.csv", "NEW").await, names);
        assert_eq!(agent.configured("text", "NEW").await, "as it is: é\n");
        let mut list: Vec<Value> = serde_json::from_value(agent.python.ask(&json!({"do": "config_list"})).await.unwrap()).unwrap();
        list.sort_by_key(Value::to_string);
        assert_eq!(list, ["config", "names.csv", "text"]);

        platform.store(identity, "CONFIG", "--json", r#"{"interval": 6}"#).await;
        assert_eq!(agent.configured("CONFIG", "UPDATE").await, json!({"interval": 6}), "names are compared without case");
        platform.server.vctl(&["config", "delete", identity, "text"]).await.ok();
        agent.configured("text", "DELETE").await;

        agent.python.ask(&json!({"do": "config_set", "name": "own", "contents": {"k": "é☃"}, "trigger": true})).await.unwrap();
        assert_eq!(agent.configured("own", "NEW").await, json!({"k": "é☃"}));
        assert_eq!(agent.python.ask(&json!({"do": "config_get", "name": "own"})).await.unwrap(), json!({"k": "é☃"}));
        let got = platform.server.vctl(&["config", "get", identity, "own"]).await.ok().stdout;
        assert_eq!(serde_json::from_str::<Value>(&got).unwrap(), json!({"k": "é☃"}));
        agent.python.ask(&json!({"do": "config_delete", "name": "own", "trigger": true})).await.unwrap();
        agent.configured("own", "DELETE").await;

        platform.server.vctl(&["config", "delete", identity, "--all"]).await.ok();
        agent.configured("names.csv", "DELETE").await;
        agent.configured("CONFIG", "DELETE").await;
        eventually_async("an empty store has no file", PATIENCE, async || {
            (!platform.home().join(format!("configuration_store/{identity}.store")).exists()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn pushes_carry_the_action_the_name_and_the_contents_from_a_user_that_may_push() {
    let platform = Platform::start().await;
    for generation in [6, 9, 11] {
        let identity = format!("pushed{generation}");
        let mut peer = platform.peer(&identity, generation).await;
        let started = peer.run(json!({"do": "start"})).await;
        peer.response(&started).await;
        platform.store(&identity, "a.json", "--json", r#"{"x": 1}"#).await;
        platform.store(&identity, "a.json", "--json", r#"{"x": 2}"#).await;
        platform.server.vctl(&["config", "delete", &identity, "a.json"]).await.ok();
        platform.store(&identity, "b", "--json", "[]").await;
        platform.server.vctl(&["config", "delete", &identity, "--all"]).await.ok();
        let pushes = peer.python.told(|line| line["frames"][4] == "RPC" && line["event"] == "frames");
        let requests: Vec<(Value, Value)> = pushes
            .iter()
            .map(|line| (line["frames"][0].clone(), serde_json::from_str(line["frames"][5].as_str().unwrap()).unwrap()))
            .filter(|(_, document): &(Value, Value)| document["method"] == "config.update")
            .collect();
        assert_eq!(requests.len(), 5, "{requests:?}");
        let expected = [
            json!({"*args": ["NEW", "a.json"], "**kwargs": {"contents": {"x": 1}, "trigger_callback": true}}),
            json!({"*args": ["UPDATE", "a.json"], "**kwargs": {"contents": {"x": 2}, "trigger_callback": true}}),
            json!({"*args": ["DELETE", "a.json"], "**kwargs": {"trigger_callback": true}}),
            json!({"*args": ["NEW", "b"], "**kwargs": {"contents": [], "trigger_callback": true}}),
            json!({"*args": ["DELETE_ALL", null], "**kwargs": {"trigger_callback": true}}),
        ];
        for ((sender, request), expected) in requests.iter().zip(expected) {
            assert_eq!((sender, &request["params"]), (&json!("config.store"), &expected), "generation {generation}");
            assert!(request["id"].is_string(), "{request}");
        }
        for push in &pushes {
            let user = push["frames"][2].as_str().unwrap();
            let capabilities = peer.call("platform.auth", "get_user_to_capabilities", json!([])).await["result"][user].clone();
            let is_request = push["frames"][5].as_str().unwrap().contains("\"method\":\"config.");
            assert!(!is_request || capabilities.get("sync_agent_config").is_some(), "{user} may push: {capabilities}");
        }
    }
}

#[tokio::test]
async fn both_signatures_store_for_the_right_identity() {
    let platform = Platform::start().await;
    for generation in [6, 9] {
        let identity = format!("signed{generation}");
        let mut peer = platform.peer(&identity, generation).await;
        let started = peer.run(json!({"do": "start"})).await;
        peer.response(&started).await;
        let id = peer.run(json!({"do": "set_config", "name": "c", "contents": {"a": 1}})).await;
        let response = peer.response(&id).await;
        assert!(response["error"].is_null(), "{response}");
        let (file, name) = (platform.json(&format!("configuration_store/{identity}.store")), "c");
        assert_eq!(file[name]["type"], "json", "{file}");
        assert_eq!(serde_json::from_str::<Value>(file[name]["data"].as_str().unwrap()).unwrap(), json!({"a": 1}), "{file}");
        let args = if generation == 6 { json!(["c"]) } else { json!([identity, "c"]) };
        let deleted = peer.call("config.store", "delete_config", args).await;
        assert!(deleted["error"].is_null(), "{deleted}");
        assert_eq!(
            peer.call("config.store", if generation == 6 { "manage_list_configs" } else { "list_configs" }, json!([identity])).await["result"],
            json!([])
        );
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_with_the_words_that_tools_look_for() {
    let platform = Platform::start().await;
    let mut peer = platform.peer("storer", 9).await;
    let mut refused = async |name: &str, text: &str, kind: &str| -> (String, String) {
        let answer = peer.call("config.store", "set_config", json!(["storer", name, text, kind])).await;
        let error = &answer["error"]["data"];
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        (text(&error["exception.py"]["exc_type"]), text(&error["detail"]))
    };
    assert_eq!(refused("bad", "{oops", "json").await.0, "builtins.ValueError");
    assert_eq!(refused("scalar", "5", "json").await.0, "builtins.ValueError");
    assert_eq!(refused("kind", "{}", "yaml").await.0, "builtins.ValueError");
    assert_eq!(refused("loop", r#"{"me": "config://loop"}"#, "json").await.1, "Recursive configuration references detected.");
    for name in ["bad", "scalar", "kind", "loop"] {
        let answer = peer.call("config.store", "get_config", json!(["storer", name])).await;
        assert_eq!(answer["error"]["code"], -32000, "{name} was stored: {answer}");
    }
}
