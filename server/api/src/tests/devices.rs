//! Devices over REST, with an agent in place of the driver.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use vt_services::bench::{AgentContext, MethodTable};
use vt_types::RpcError;

use super::{Api, P};

fn device(rest: &str) -> String {
    format!("{P}/devices{rest}")
}

type Calls = Arc<Mutex<Vec<String>>>;

/// `harbor/pier4/ahu2` (SupplyTemp writable, Alarm not, Broken unreadable), `harbor/pier5/ahu2`, `x/harbor/zone-2`, `locked/door`.
async fn building(api: &Api) -> (Calls, AgentContext) {
    let rows = |points: &[(&str, &str)]| -> Value {
        points.iter().map(|(name, writable)| json!({"Volttron Point Name": name, "Units": "F", "Writable": writable})).collect()
    };
    for (path, points) in [
        ("harbor/pier4/ahu2", &[("SupplyTemp", "TRUE"), ("Alarm", "FALSE"), ("Broken", "FALSE")][..]),
        ("harbor/pier5/ahu2", &[("SupplyTemp", "TRUE")][..]),
        ("x/harbor/zone-2", &[("a+b.c", "TRUE")][..]),
        ("locked/door", &[("Open", "TRUE")][..]),
    ] {
        let config = json!({"driver_type": "fake", "registry_config": rows(points)});
        api.put(&format!("{P}/agents/platform.driver/configs/devices/{path}"), config).await.expect(204);
    }
    let calls = Calls::default();
    let mut methods = MethodTable::new();
    methods.method("get_multiple_points").param("path").param("points").to(|call| async move {
        let path: String = call.arg("path")?;
        let points: Vec<String> = call.arg("points")?;
        let (mut values, mut errors) = (json!({}), json!({}));
        for point in points {
            let key = format!("{path}/{point}");
            if point == "Broken" { errors[key] = json!("no sensor") } else { values[key] = json!(55.1) }
        }
        Ok(json!([values, errors]))
    });
    for name in ["set_point", "revert_point", "revert_device"] {
        let calls = Arc::clone(&calls);
        methods.method(name).rest("args").to(move |call| {
            let calls = Arc::clone(&calls);
            async move {
                let args = call.value("args").clone();
                if args[0] == "locked/door" {
                    return Err(RpcError::raised(
                        "platform_driver.agent.OverrideError",
                        "Cannot set point on device locked/door since global override is set",
                    ));
                }
                calls.lock().push(format!("{name} {args} for {}", call.user.as_deref().unwrap_or_default()));
                Ok(args.get(2).cloned().unwrap_or_default())
            }
        });
    }
    (calls, api.running.agent("platform.driver", methods).0)
}

#[tokio::test]
async fn links_lead_to_points_and_points_have_values() {
    let api = Api::start().await;
    let _building = building(&api).await;
    assert_eq!(api.get(&device("")).await.expect(200).links(), ["harbor", "locked", "x"]);
    assert_eq!(api.get(&device("/harbor/-/ahu2")).await.expect(200).links(), ["Alarm", "Broken", "SupplyTemp"]);
    let below = api.get(&device("/harbor/-")).await.expect(200).json();
    assert_eq!(below["links"], json!({"ahu2": device("/harbor/-/ahu2")}));
    let point = api.get(&device("/harbor/pier4/ahu2/SupplyTemp?config=true")).await.expect(200).json();
    assert_eq!(
        point,
        json!({"harbor/pier4/ahu2/SupplyTemp": {"value": 55.1, "route": device("/harbor/pier4/ahu2/SupplyTemp"), "writable": true,
               "config": {"Volttron Point Name": "SupplyTemp", "Units": "F", "Writable": "TRUE"}}})
    );
    let error = api.get(&device("/harbor/pier9")).await.expect(400).error();
    assert_eq!(error, "Device topic harbor/pier9 not found on platform: harbor1.");
}

#[tokio::test]
async fn read_all_stays_below_what_was_asked() {
    let api = Api::start().await;
    let _building = building(&api).await;
    let all = api.get(&device("/harbor?read-all=true")).await.expect(200).json();
    let topics: Vec<_> = all.as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        topics,
        ["harbor/pier4/ahu2/SupplyTemp", "harbor/pier4/ahu2/Alarm", "harbor/pier4/ahu2/Broken", "harbor/pier5/ahu2/SupplyTemp"]
    );
    assert_eq!(all["harbor/pier4/ahu2/Broken"]["value_error"], "no sensor");
    let found = api.get(&device("?read-all=1&regex=pier5.*Temp$")).await.expect(200).json();
    assert_eq!(found.as_object().unwrap().len(), 1);
    api.get(&device("?read-all=1&regex=(")).await.expect(400);
    assert_eq!(api.get(&device("/x/harbor/zone-2/a+b.c")).await.expect(200).json()["x/harbor/zone-2/a+b.c"]["value"], 55.1);
}

#[tokio::test]
async fn each_flag_drops_or_adds_its_key() {
    let api = Api::start().await;
    let _building = building(&api).await;
    let keys = async |flag: &str| {
        let entry =
            api.get(&device(&format!("/harbor/pier4/ahu2/Alarm?{flag}"))).await.expect(200).json()["harbor/pier4/ahu2/Alarm"].clone();
        entry.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys("").await, "value route writable");
    assert_eq!(keys("values=false").await, "route writable");
    assert_eq!(keys("routes=f").await, "value writable");
    assert_eq!(keys("writability=0").await, "value route");
    assert_eq!(keys("config=t").await, "value route writable config");
}

#[tokio::test]
async fn without_a_driver_points_say_why_they_have_no_value() {
    let api = Api::start().await;
    let config = json!({"driver_type": "fake", "registry_config": [{"Volttron Point Name": "T"}]});
    api.put(&format!("{P}/agents/platform.driver/configs/devices/a"), config).await.expect(204);
    let entry = api.get(&device("/a/T")).await.expect(200).json();
    assert!(entry["a/T"]["value_error"].as_str().unwrap().contains("platform.driver"), "{entry}");
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_never_answers_is_504() {
    let api = Api::start().await;
    let config = json!({"driver_type": "fake", "registry_config": [{"Volttron Point Name": "T", "Writable": "TRUE"}]});
    api.put(&format!("{P}/agents/platform.driver/configs/devices/a"), config).await.expect(204);
    let mut methods = MethodTable::new();
    methods.method("get_multiple_points").rest("args").to(|_| std::future::pending());
    methods.method("set_point").rest("args").to(|_| std::future::pending());
    let _driver = api.running.agent("platform.driver", methods);
    api.get(&device("/a/T")).await.expect(504).error();
    api.put(&device("/a/T"), json!({"value": 1})).await.expect(504).error();
}

#[tokio::test]
async fn a_point_is_set_for_its_user_and_may_be_confirmed() {
    let api = Api::start().await;
    let (calls, _driver) = building(&api).await;
    let path = device("/harbor/pier4/ahu2/SupplyTemp");
    let set = api.put(&path, json!({"value": 54})).await.expect(200).json();
    assert_eq!(set, json!({"harbor/pier4/ahu2/SupplyTemp": {"route": path, "set_error": null, "writable": true}}));
    assert_eq!(*calls.lock(), [r#"set_point ["harbor/pier4/ahu2","SupplyTemp",54] for dana"#]);
    let confirmed = api.put(&format!("{path}?confirm-values=true"), json!({"value": 54})).await.expect(200).json();
    let entry = &confirmed["harbor/pier4/ahu2/SupplyTemp"];
    assert_eq!((&entry["value"], &entry["value_check_error"]), (&json!(55.1), &Value::Null));
    for bad in [json!({}), json!(5), json!(["value"])] {
        api.put(&path, bad).await.expect(400);
    }
    let audit = api.get("/vui/audit?action=device.").await.expect(200).json();
    assert_eq!((&audit["entries"][0]["user"], &audit["entries"][0]["target"]), (&json!("dana"), &json!("harbor/pier4/ahu2/SupplyTemp")));
}

#[tokio::test]
async fn several_points_need_write_all() {
    let api = Api::start().await;
    let (calls, _driver) = building(&api).await;
    for path in [
        "/harbor/-/ahu2/SupplyTemp",
        "/harbor/pier4/ahu2",
        "/harbor",
        "",
        "/-/pier4/ahu2/SupplyTemp",
        "/harbor/pier4/ahu2/SupplyTemp?regex=Temp",
    ] {
        let refused = api.put(&device(path), json!({"value": 54})).await.expect(405).json();
        let keys: Vec<_> = refused.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["error", "requested_topic", "regex", "tag", "selected_points"], "{path}");
    }
    api.delete(&device("/harbor")).await.expect(405);
    assert!(calls.lock().is_empty(), "nothing was written: {calls:?}");
    let all = api.put(&device("/harbor?write-all=true"), json!({"value": 54})).await.expect(200).json();
    assert_eq!(all.as_object().unwrap().len(), 4);
    assert_eq!(all["harbor/pier4/ahu2/Alarm"]["writable"], false);
    assert_eq!(calls.lock().len(), 2, "only what is writable");
    let refused = api.put(&device("/harbor/pier4/ahu2/Alarm"), json!({"value": 1})).await.expect(405).json();
    assert_eq!(refused, json!({"error": "No selected points are writable.", "unwritable_points": ["harbor/pier4/ahu2/Alarm"]}));
}

#[tokio::test]
async fn an_override_is_a_conflict() {
    let api = Api::start().await;
    let _building = building(&api).await;
    let error = api.put(&device("/locked/door/Open"), json!({"value": 1})).await.expect(409).error();
    assert!(error.contains("override"), "{error}");
    let some = api.put(&device("/-/-/Open?write-all=1"), json!({"value": 1})).await;
    some.expect(409);
    let mixed = api.put(&device("?write-all=1&regex=(Open|pier4.*SupplyTemp)$"), json!({"value": 1})).await.expect(200).json();
    assert!(mixed["locked/door/Open"]["set_error"].as_str().unwrap().contains("override"), "{mixed}");
    assert_eq!(mixed["harbor/pier4/ahu2/SupplyTemp"]["set_error"], Value::Null);
}

#[tokio::test]
async fn points_devices_and_whole_branches_are_reverted() {
    let api = Api::start().await;
    let (calls, _driver) = building(&api).await;
    api.delete(&device("/harbor/pier4/ahu2/SupplyTemp")).await.expect(200);
    api.delete(&device("/harbor/pier4/ahu2")).await.expect(200);
    api.delete(&device("/harbor?write-all=true")).await.expect(200);
    assert_eq!(
        *calls.lock(),
        [
            r#"revert_point ["harbor/pier4/ahu2","SupplyTemp"] for dana"#,
            r#"revert_device ["harbor/pier4/ahu2"] for dana"#,
            r#"revert_device ["harbor/pier4/ahu2"] for dana"#,
            r#"revert_device ["harbor/pier5/ahu2"] for dana"#,
        ]
    );
    api.delete(&device("/locked/door")).await.expect(409);
}

#[tokio::test]
async fn tags_need_a_tagging_service() {
    let api = Api::start().await;
    let _building = building(&api).await;
    for null in ["tag=null", "tag=None", "tag=", "regex=none"] {
        assert_eq!(api.get(&device(&format!("?{null}"))).await.expect(200).links().len(), 3, "{null}");
    }
    assert!(api.get(&device("?tag=campus")).await.expect(400).error().contains("tagging"));
    let mut methods = MethodTable::new();
    methods.method("get_topics_by_tags").keywords("tags").to(|_| async { Ok(json!(["devices/harbor/pier5"])) });
    let _tagging = api.running.agent("platform.tagging", methods);
    assert_eq!(api.get(&device("?tag=campus")).await.expect(200).links(), ["harbor"]);
    let points = api.get(&device("?tag=campus&read-all=true")).await.expect(200).json();
    assert_eq!(points.as_object().unwrap().keys().collect::<Vec<_>>(), ["harbor/pier5/ahu2/SupplyTemp"]);
}
