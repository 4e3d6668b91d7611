//! Everything is one bus: Python agents and our own agents use each other, and a person sees no difference.

use serde_json::{Value, json};
use vt_testkit::{Client, eventually_async};

use crate::platform::Platform;
use crate::python::{Installed, PATIENCE, Python};

#[tokio::test]
async fn a_python_agent_hears_our_driver_asks_our_historian_and_writes_through_our_actuator() {
    let platform = Platform::demo().await;
    for (installed, identity) in [(Installed::Eleven, "eleven"), (Installed::Ten, "ten")] {
        let mut agent = platform.agent(installed, identity, &["--subscribe", "devices/fake-campus"]).await;
        let topic = "devices/fake-campus/fake-building/fake-device/all";
        let heard = agent.hears(topic).await;
        assert_eq!(heard["sender"], "platform.driver", "{heard}");
        let (values, metadata) = (&heard["message"][0], &heard["message"][1]);
        assert_eq!(values["temperature"], 50.0, "{heard}");
        assert_eq!(metadata["temperature"]["units"], "Fahrenheit", "{heard}");
        assert!(heard["headers"]["SynchronizedTimeStamp"].is_string(), "{heard}");

        let point = "fake-campus/fake-building/fake-device/temperature";
        let stored = eventually_async("the historian has the point", PATIENCE, async || {
            let query = json!({"topic": point, "count": 1, "order": "LAST_TO_FIRST"});
            let answer = agent.call_with("platform.historian", "query", query).await.unwrap();
            (!answer["values"].as_array()?.is_empty()).then_some(answer)
        })
        .await;
        assert_eq!(stored["values"][0][1], 50.0, "{stored}");
        assert_eq!(stored["metadata"]["units"], "Fahrenheit", "{stored}");

        let device = "fake-campus/fake-building/fake-device";
        let now = chrono::Utc::now();
        let slots = json!([[device, now.to_rfc3339(), (now + chrono::Duration::minutes(5)).to_rfc3339()]]);
        let task = format!("task of {identity}");
        let booked = agent.call("platform.actuator", "request_new_schedule", json!([identity, task, "HIGH", slots])).await.unwrap();
        assert_eq!(booked["result"], "SUCCESS", "{booked}");
        let path = format!("{device}/PowerState");
        let set = agent.call("platform.actuator", "set_point", json!([identity, path, 1])).await.unwrap();
        assert_eq!(set, 1, "{set}");
        assert_eq!(agent.call("platform.driver", "get_point", json!([device, "PowerState"])).await.unwrap(), 1);
        assert_eq!(agent.call("platform.actuator", "get_point", json!([path])).await.unwrap(), 1);
        let refused =
            agent.call("platform.actuator", "set_point", json!([identity, format!("{device}/temperature"), 1])).await.unwrap_err();
        assert_eq!(refused["type"], "RemoteError", "{refused}");
        agent.call("platform.actuator", "revert_point", json!([identity, path])).await.unwrap();
        assert_eq!(agent.call("platform.driver", "get_point", json!([device, "PowerState"])).await.unwrap(), 0);
        let ended = agent.call("platform.actuator", "request_cancel_schedule", json!([identity, task])).await.unwrap();
        assert_eq!(ended["result"], "SUCCESS", "{ended}");
    }
}

#[tokio::test]
async fn a_person_sees_python_agents_like_any_other() {
    let platform = Platform::demo().await;
    let client = platform.server.administrator().await;
    let name = platform.name(&client).await;
    let mut agent = platform.agent(Installed::Eleven, "visible", &["--heartbeat", "1"]).await;
    let health = client.get(&format!("/vui/platforms/{name}/health")).await.expect(200).json();
    assert_eq!(health["visible"]["peer"], "visible", "{health}");
    let echoed = client.post(&format!("/vui/platforms/{name}/agents/visible/rpc/echo"), &json!([1])).await.expect(200).json();
    assert_eq!(echoed["args"], json!([1]), "{echoed}");
    let page = client.with_token(None).request(reqwest::Method::GET, "/agents");
    let page = client.send(page.header("cookie", format!("Bearer={}", client.token().unwrap()))).await.expect(200).text;
    assert!(page.contains("visible"), "{page}");

    let mut socket = platform.listen(&client, "from/").await;
    agent.publish("from/python", json!({"H": "1"}), json!({"é": [1.5, null]})).await;
    let frame = socket.next_where("the publication", PATIENCE, |frame| frame["topic"] == "from/python").await;
    assert_eq!((&frame["message"], &frame["headers"]["H"]), (&json!({"é": [1.5, null]}), &json!("1")), "{frame}");
    assert_eq!(frame["sender"], "visible", "{frame}");

    let path = format!("/vui/platforms/{name}/pubsub/to/python");
    agent.subscribe("to/").await;
    client.put(&path, &json!({"headers": {}, "message": {"from": "a person"}})).await.expect(200);
    assert_eq!(agent.hears("to/python").await["message"], json!({"from": "a person"}));
}

#[tokio::test]
async fn our_historian_stores_what_the_real_python_driver_publishes() {
    let platform = Platform::demo().await;
    let client = platform.server.administrator().await;
    let uuid = platform.uuid("platform.driver").await;
    platform.server.vctl(&["stop", &uuid]).await.ok();
    platform.peer_is_listed("platform.driver", false).await;
    platform.store("python.driver", "fake.csv", "--csv", FAKE).await;
    // The interval of `all` and the name of the remote are what this driver and its fake interface do not do without.
    let device = json!({
        "driver_config": {"remote_id": "fake"}, "registry_config": "config://fake.csv", "interval": 1, "timezone": "US/Pacific",
        "driver_type": "fake", "publish_depth_first_all": true, "all_publish_interval": 1,
    });
    platform.store("python.driver", "devices/py-campus/py-building/py-device", "--json", &device.to_string()).await;
    let keys = platform.allowed("python.driver", &json!({})).await;
    let driver = platform.real_agent(Installed::Eleven, "platform_driver.agent", "python.driver", &keys, "{}");
    platform.peer_is_listed("python.driver", true).await;
    let point = "py-campus/py-building/py-device/SampleWritableFloat1";
    let values = history(&platform, &client, point, &driver).await;
    assert_eq!(values[0][1].as_f64(), Some(10.0), "{values}");
}

#[tokio::test]
async fn the_real_sqlite_historian_stores_what_our_driver_publishes() {
    let platform = Platform::demo().await;
    let keys = platform.allowed("python.historian", &json!({})).await;
    let database = platform.home().join("python.sqlite");
    let config = json!({"connection": {"type": "sqlite", "params": {"database": database}}}).to_string();
    let historian = platform.real_agent(Installed::Eleven, "historian.sql.historian", "python.historian", &keys, &config);
    platform.peer_is_listed("python.historian", true).await;
    let mut caller = platform.peer("caller", 9).await;
    let query = json!({"do": "call", "peer": "python.historian", "method": "query",
        "kwargs": {"topic": "fake-campus/fake-building/fake-device/temperature", "count": 1}});
    let stored = eventually_async("the Python historian has the point", PATIENCE, async || {
        let id = caller.run(query.clone()).await;
        let answer = caller.response(&id).await;
        let values = answer["result"]["values"].as_array().filter(|values| !values.is_empty())?;
        Some(values[0].clone())
    })
    .await;
    assert_eq!(stored[1].as_f64(), Some(50.0), "{stored} {historian:?}");
}

const FAKE: &str = "Point Name,Volttron Point Name,Units,Units Details,Writable,Starting Value,Type,Notes
SampleWritableFloat1,SampleWritableFloat1,PPM,1000.00 (default),TRUE,10,float,Setpoint
SampleBool1,SampleBool1,On / Off,on/off,FALSE,TRUE,boolean,Status
";

/// Waits until our historian has a point, and gives its newest value with its time.
async fn history(platform: &Platform, client: &Client, topic: &str, source: &Python) -> Value {
    let name = platform.name(client).await;
    let path = format!("/vui/platforms/{name}/historians/platform.historian/topics/{topic}?order=LAST_TO_FIRST&count=1");
    eventually_async(&format!("{topic} is in the history; {source:?}"), PATIENCE, async || {
        let answer = client.get(&path).await;
        let series = if answer.status == 200 { answer.json() } else { return None };
        let values = series[topic]["value"].clone();
        (!values.as_array()?.is_empty()).then_some(values)
    })
    .await
}
