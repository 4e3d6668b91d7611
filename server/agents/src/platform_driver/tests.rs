//! The driver on the bench, with devices that exist in memory and one that listens on a socket.

use std::path::Path;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use vt_agent::bench::TestBench;
use vt_types::{Publication, RpcError, timestamp};

use super::*;

const ID: &str = "platform.driver";
const DEVICE: &str = "fake-campus/fake-building/fake-device";

fn row(name: &str, units: &str, writable: bool, start: &str, kind: &str) -> Value {
    json!({"Point Name": name, "Volttron Point Name": name, "Units": units, "Units Details": units,
           "Writable": if writable { "TRUE" } else { "FALSE" }, "Starting Value": start, "Type": kind, "Notes": ""})
}

fn registry() -> Value {
    json!([
        row("Heartbeat", "On/Off", true, "0", "boolean"),
        row("temperature", "Fahrenheit", false, "50", "float"),
        row("PowerState", "1/0", true, "0", "int"),
        row("ValveState", "1/0", true, "0", "int"),
    ])
}

fn fake(interval: u32) -> Value {
    json!({"driver_config": {}, "driver_type": "fakedriver", "registry_config": "config://fake.csv", "interval": interval,
           "timezone": "US/Pacific", "heart_beat_point": "Heartbeat"})
}

/// A bench with the sample device, scraped every `interval` seconds.
async fn bench(interval: u32) -> TestBench {
    let bench = TestBench::new(ID, Path::new("."));
    bench.set_config("fake.csv", registry()).await;
    bench.set_config(&format!("devices/{DEVICE}"), fake(interval)).await;
    bench
}

fn start(bench: &mut TestBench) -> AgentContext {
    bench.start(build(json!({})).unwrap())
}

async fn set(bench: &TestBench, device: &str, point: &str, value: Value) -> Result<Value, RpcError> {
    bench.call("set_point", vec![json!(device), json!(point), value]).await
}

async fn get(bench: &TestBench, device: &str, point: &str) -> Result<Value, RpcError> {
    bench.call("get_point", vec![json!(device), json!(point)]).await
}

fn raised(result: Result<Value, RpcError>) -> (String, String) {
    match result.unwrap_err() {
        RpcError::Remote(error) => (error.class().to_owned(), error.message),
        other => panic!("{other:?}"),
    }
}

async fn next_synchronized(bench: &mut TestBench, topic: &str) -> Arc<Publication> {
    loop {
        let publication = bench.next_on(topic).await;
        if publication.headers.text("SynchronizedTimeStamp").is_some() {
            return publication;
        }
    }
}

fn time(publication: &Publication, header: &str) -> vt_types::Timestamp {
    timestamp::parse(publication.headers.text(header).unwrap()).unwrap().assume_utc()
}

#[tokio::test]
async fn the_sample_device_is_published_as_in_volttron() {
    let mut bench = bench(1).await;
    bench.subscribe("devices/");
    start(&mut bench);
    let first = bench.next().await;
    assert_eq!(first.headers.text("SynchronizedTimeStamp"), None, "a scrape outside the rhythm");
    let publication = next_synchronized(&mut bench, "devices/").await;
    assert_eq!(publication.topic.as_str(), format!("devices/{DEVICE}/all"));
    let meta = |units: &str| json!({"units": units, "type": "integer", "tz": "US/Pacific"});
    assert_eq!(
        *publication.message,
        json!([{"Heartbeat": true, "temperature": 50.0, "PowerState": 0, "ValveState": 0},
               {"Heartbeat": meta("On/Off"), "temperature": meta("Fahrenheit"), "PowerState": meta("1/0"), "ValveState": meta("1/0")}])
    );
    assert_eq!(publication.headers.text("Date"), publication.headers.text("TimeStamp"));
    let (date, synchronized) = (time(&publication, "Date"), time(&publication, "SynchronizedTimeStamp"));
    assert_eq!(synchronized.timestamp_subsec_micros(), 0);
    assert!(date >= synchronized && (date - synchronized).num_milliseconds() < 1000, "{date} {synchronized}");
    let next = next_synchronized(&mut bench, "devices/").await;
    assert_eq!((time(&next, "SynchronizedTimeStamp") - synchronized).num_milliseconds(), 1000);
    bench.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_device_comes_one_slot_later() {
    let mut bench = bench(1).await;
    bench.set_config("config", json!({"driver_scrape_interval": 0.3, "scrape_at_start": false})).await;
    bench.set_config("devices/z/z/second", fake(1)).await;
    bench.subscribe("devices/");
    start(&mut bench);
    let second = bench.next_on("devices/z/z/second/all").await;
    let late = time(&second, "Date") - time(&second, "SynchronizedTimeStamp");
    assert!((300..900).contains(&late.num_milliseconds()), "{late}");
}

#[tokio::test]
async fn all_four_forms_of_topics() {
    let mut bench = bench(60).await;
    let all = json!({"publish_breadth_first_all": true, "publish_depth_first": true, "publish_breadth_first": true});
    bench.set_config("config", all).await;
    bench.subscribe("devices/");
    start(&mut bench);
    let mut topics = Vec::new();
    for _ in 0..10 {
        topics.push(bench.next().await.topic.to_string());
    }
    assert_eq!(topics[0], format!("devices/{DEVICE}/Heartbeat"));
    assert_eq!(topics[1], "devices/Heartbeat/fake-device/fake-building/fake-campus");
    assert_eq!(topics[8..], ["devices/all/fake-device/fake-building/fake-campus".to_owned(), format!("devices/{DEVICE}/all")]);
}

#[tokio::test]
async fn points_are_set_read_and_put_back() {
    let mut bench = bench(60).await;
    start(&mut bench);
    assert_eq!(set(&bench, DEVICE, "PowerState", json!(1)).await, Ok(json!(1)));
    assert_eq!(get(&bench, DEVICE, "PowerState").await, Ok(json!(1)));
    assert_eq!(bench.call("revert_point", vec![json!(DEVICE), json!("PowerState")]).await, Ok(Value::Null));
    assert_eq!(get(&bench, DEVICE, "PowerState").await, Ok(json!(0)));
    set(&bench, DEVICE, "ValveState", json!(1)).await.unwrap();
    assert_eq!(bench.call("revert_device", vec![json!(DEVICE)]).await, Ok(Value::Null));
    let all = bench.call("scrape_all", vec![json!(DEVICE)]).await.unwrap();
    assert_eq!(all, json!({"Heartbeat": true, "temperature": 50.0, "PowerState": 0, "ValveState": 0}));
}

#[tokio::test]
async fn refusals_have_the_texts_of_volttron() {
    let mut bench = bench(60).await;
    start(&mut bench);
    let read_only = raised(set(&bench, DEVICE, "temperature", json!(1)).await);
    assert_eq!(read_only, ("RuntimeError".into(), "Trying to write to a point configured read only: temperature".into()));
    let unknown = raised(get(&bench, DEVICE, "nope").await);
    assert_eq!(unknown, ("DriverInterfaceError".into(), "Point not configured on device: nope".into()));
    assert_eq!(raised(set(&bench, DEVICE, "nope", json!(1)).await), unknown);
    assert_eq!(raised(bench.call("revert_point", vec![json!(DEVICE), json!("nope")]).await), unknown);
    assert_eq!(raised(get(&bench, "a/b/c", "nope").await).0, "KeyError");
    assert_eq!(raised(get(&bench, &format!("/{DEVICE}"), "PowerState").await).0, "KeyError", "no slashes are stripped");
    let several = bench.call("get_multiple_points", vec![json!(DEVICE), json!(["temperature", "nope"])]).await.unwrap();
    let (good, bad) = (format!("{DEVICE}/temperature"), format!("{DEVICE}/nope"));
    assert_eq!(several, json!([{ &good: 50.0 }, { &bad: "DriverInterfaceError('Point not configured on device: nope')" }]));
    let errors = bench.call("set_multiple_points", vec![json!(DEVICE), json!([["PowerState", 1], ["temperature", 2]])]).await.unwrap();
    assert_eq!(errors, json!({ &good: "RuntimeError('Trying to write to a point configured read only: temperature')" }));
    assert_eq!(get(&bench, DEVICE, "PowerState").await, Ok(json!(1)));
}

#[tokio::test]
async fn the_heartbeat_toggles_and_begins_with_1() {
    let mut bench = bench(60).await;
    start(&mut bench);
    get(&bench, DEVICE, "Heartbeat").await.unwrap();
    for wanted in [true, false, true] {
        assert_eq!(bench.call("heart_beat", vec![]).await, Ok(Value::Null));
        assert_eq!(get(&bench, DEVICE, "Heartbeat").await, Ok(json!(wanted)));
    }
}

#[tokio::test]
async fn an_override_holds_writers_and_survives_a_restart() {
    let mut bench = bench(60).await;
    start(&mut bench);
    set(&bench, DEVICE, "PowerState", json!(1)).await.unwrap();
    bench.call("set_override_on", vec![json!("fake-*/*")]).await.unwrap();
    let text = |what: &str| ("OverrideError".to_owned(), format!("Cannot {what} {DEVICE} since global override is set"));
    assert_eq!(raised(set(&bench, DEVICE, "PowerState", json!(1)).await), text("set point on device"));
    assert_eq!(raised(bench.call("revert_point", vec![json!(DEVICE), json!("PowerState")]).await), text("revert point on device"));
    assert_eq!(raised(bench.call("revert_device", vec![json!(DEVICE)]).await), text("revert device"));
    // It reverts what had been set, and values can still be read.
    bench.call_until("get_point", vec![json!(DEVICE), json!("PowerState")], |value| *value == json!(0)).await;
    assert_eq!(bench.call("get_override_devices", vec![]).await, Ok(json!([DEVICE])));
    bench.stop().await.unwrap();
    start(&mut bench);
    get(&bench, DEVICE, "PowerState").await.unwrap();
    assert_eq!(raised(set(&bench, DEVICE, "PowerState", json!(1)).await), text("set point on device"));
    assert_eq!(bench.call("get_override_patterns", vec![]).await, Ok(json!(["fake-*/*"])));
    let unknown = raised(bench.call("set_override_off", vec![json!("x*")]).await);
    assert_eq!(unknown, ("OverrideError".into(), "Pattern x* does not exist in list of override patterns".into()));
    bench.call("set_override_off", vec![json!("fake-*/*")]).await.unwrap();
    assert_eq!(set(&bench, DEVICE, "PowerState", json!(1)).await, Ok(json!(1)));
    bench.call("set_override_on", vec![json!("*"), json!(0), json!(false)]).await.unwrap();
    bench.call("clear_overrides", vec![]).await.unwrap();
    assert_eq!(bench.stored_config("override_patterns"), Some(json!("{}")));
    assert_eq!(set(&bench, DEVICE, "PowerState", json!(0)).await, Ok(json!(0)));
}

#[tokio::test]
async fn an_override_ends_by_itself() {
    let mut bench = bench(60).await;
    start(&mut bench);
    bench.call("set_override_on", vec![json!("*"), json!(0.3), json!(false)]).await.unwrap();
    assert_eq!(raised(set(&bench, DEVICE, "PowerState", json!(1)).await).0, "OverrideError");
    bench.call_until("get_override_patterns", vec![], |patterns| *patterns == json!([])).await;
    assert_eq!(set(&bench, DEVICE, "PowerState", json!(1)).await, Ok(json!(1)));
}

#[tokio::test]
async fn an_override_holds_devices_that_come_later_and_reverts_one_after_the_other_if_so_wanted() {
    let mut bench = bench(60).await;
    bench.set_config("devices/other", fake(60)).await;
    start(&mut bench);
    for device in [DEVICE, "other"] {
        set(&bench, device, "PowerState", json!(1)).await.unwrap();
    }
    bench.call("set_override_on", vec![json!("*"), json!(0), json!(true), json!(true)]).await.unwrap();
    for device in [DEVICE, "other"] {
        bench.call_until("get_point", vec![json!(device), json!("PowerState")], |value| *value == json!(0)).await;
    }
    bench.set_config("devices/Later", fake(60)).await;
    get(&bench, "Later", "PowerState").await.unwrap();
    assert_eq!(raised(set(&bench, "Later", "PowerState", json!(1)).await).0, "OverrideError");
    assert_eq!(bench.call("get_override_devices", vec![]).await, Ok(json!(["Later", DEVICE, "other"])));
}

#[tokio::test]
async fn a_changed_main_entry_takes_effect_without_making_devices_anew() {
    let mut bench = bench(1).await;
    bench.set_config("devices/z/z/second", fake(1)).await;
    bench.set_config("config", json!({"driver_scrape_interval": 0, "scrape_at_start": false})).await;
    bench.subscribe("devices/");
    start(&mut bench);
    set(&bench, "z/z/second", "PowerState", json!(1)).await.unwrap();
    let main = json!({"driver_scrape_interval": 0.4, "scrape_at_start": false, "publish_breadth_first_all": true});
    bench.set_config("config", main).await;
    bench.drain();
    bench.next_on("devices/all/second/z/z").await;
    let second = bench.next_on("devices/z/z/second/all").await;
    let late = time(&second, "Date") - time(&second, "SynchronizedTimeStamp");
    assert!((400..950).contains(&late.num_milliseconds()), "{late}");
    assert_eq!(second.message[0]["PowerState"], json!(1), "a device that was made anew has forgotten what was set");
}

#[tokio::test]
async fn a_value_that_came_by_itself_is_published_without_a_synchronized_time() {
    let mut bench = bench(60).await;
    bench.set_config("config", json!({"scrape_at_start": false, "publish_depth_first": true})).await;
    bench.subscribe("devices/");
    start(&mut bench);
    get(&bench, DEVICE, "temperature").await.unwrap();
    bench.drain();
    let args = vec![json!(DEVICE), json!("temperature"), json!({"temperature": 51.5})];
    assert_eq!(bench.call("forward_bacnet_cov_value", args).await, Ok(Value::Null));
    let meta = json!({"units": "Fahrenheit", "type": "integer", "tz": "US/Pacific"});
    let single = bench.next().await;
    assert_eq!((single.topic.to_string(), &*single.message), (format!("devices/{DEVICE}/temperature"), &json!([51.5, meta])));
    let all = bench.next().await;
    assert_eq!(
        (all.topic.to_string(), &*all.message),
        (format!("devices/{DEVICE}/all"), &json!([{"temperature": 51.5}, {"temperature": meta}]))
    );
    assert_eq!(all.headers.text("SynchronizedTimeStamp"), None);
    assert_eq!(all.headers.text("Date"), all.headers.text("TimeStamp"));
}

#[tokio::test]
async fn devices_come_and_go_with_their_entries() {
    let mut bench = bench(1).await;
    bench.subscribe("devices/");
    start(&mut bench);
    bench.set_config("devices/x", fake(1)).await;
    bench.next_on("devices/x/all").await;
    bench.delete_config("devices/x").await;
    bench.call_until("device_status", vec![], |status| status.get("x").is_none()).await;
    bench.drain();
    next_synchronized(&mut bench, &format!("devices/{DEVICE}")).await;
    next_synchronized(&mut bench, &format!("devices/{DEVICE}")).await;
    assert!(bench.drain().iter().all(|publication| publication.topic.as_str() != "devices/x/all"));
    assert_eq!(raised(get(&bench, "x", "PowerState").await), ("KeyError".into(), "there is no device x".into()));
}

#[tokio::test]
async fn a_changed_registry_makes_its_devices_anew() {
    let mut bench = bench(60).await;
    bench.set_config("devices/second", fake(60)).await;
    bench.set_config("other.csv", registry()).await;
    let mut other = fake(60);
    other["registry_config"] = json!("config://other.csv");
    bench.set_config("devices/other", other).await;
    start(&mut bench);
    for device in [DEVICE, "second", "other"] {
        set(&bench, device, "PowerState", json!(1)).await.unwrap();
    }
    bench.set_config("fake.csv", json!([row("New", "x", true, "7", "int")])).await;
    for device in [DEVICE, "second"] {
        bench.call_until("get_point", vec![json!(device), json!("New")], |value| *value == json!(7)).await;
        assert_eq!(raised(get(&bench, device, "PowerState").await).0, "DriverInterfaceError");
    }
    assert_eq!(get(&bench, "other", "PowerState").await, Ok(json!(1)), "a device of another registry is left alone");
}

#[tokio::test]
async fn a_broken_entry_names_the_field_and_stops_nobody_else() {
    let mut bench = bench(1).await;
    bench.set_config("devices/broken", json!({"driver_type": "fake"})).await;
    bench.set_config("devices/ragged", json!({"driver_type": "fake", "driver_config": {}, "registry_config": "config://ragged.csv"})).await;
    bench.set_config("ragged.csv", json!([row("a", "x", true, "1", "int"), row("a", "x", true, "1", "int")])).await;
    bench.set_config("devices/a/../b", fake(1)).await;
    bench.subscribe("devices/");
    let context = start(&mut bench);
    bench.next_on(&format!("devices/{DEVICE}/all")).await;
    let entries = |context: &AgentContext| context.status().context["configuration"].clone();
    bench
        .call_until("health.get_status", vec![], |status| status["context"]["configuration"].as_object().is_some_and(|c| c.len() == 3))
        .await;
    assert_eq!(context.status().word, vt_types::StatusWord::Bad);
    assert_eq!(entries(&context)["devices/broken"], "field driver_config: it is missing; write {} if the driver needs no settings");
    assert_eq!(
        entries(&context)["devices/ragged"],
        "registry_config, row 2, column Volttron Point Name: the point \"a\" is already defined in row 1"
    );
    let broken = raised(get(&bench, "broken", "x").await);
    assert_eq!(broken.0, "KeyError");
    assert!(broken.1.contains("field driver_config"), "{}", broken.1);
    assert!(bench.call("device_status", vec![]).await.unwrap()["broken"]["last_error"].as_str().unwrap().contains("driver_config"));
    bench.set_config("devices/Broken", fake(60)).await;
    bench.delete_config("devices/ragged").await;
    bench.delete_config("devices/a/../b").await;
    bench.call_until("health.get_status", vec![], |status| status["status"] == "GOOD").await;
}

#[tokio::test]
async fn a_broken_main_entry_changes_nothing() {
    let mut bench = bench(1).await;
    bench.set_config("config", json!({"driver_scrape_interval": "soon"})).await;
    bench.subscribe("devices/");
    let context = start(&mut bench);
    bench.next_on(&format!("devices/{DEVICE}/all")).await;
    bench.call_until("health.get_status", vec![], |status| status["status"] == "BAD").await;
    let reason = context.status().context["configuration"]["config"].clone();
    assert_eq!(reason, "field driver_scrape_interval: a number of seconds from 0 to 86400 is expected");
    bench.set_config("config", json!({})).await;
    bench.call_until("health.get_status", vec![], |status| status["status"] == "GOOD").await;
}

/// A Modbus device whose registers all hold 7.
async fn modbus_device(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0_u8; 12];
        while stream.read_exact(&mut request).await.is_ok() {
            let answer = [&request[..4], &[0, 5], &request[6..8], &[2, 0, 7]].concat();
            stream.write_all(&answer).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_device_that_is_gone_shows_within_an_interval_and_delays_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let device = tokio::spawn(modbus_device(listener));
    let mut bench = bench(1).await;
    let rows = json!([{"Volttron Point Name": "T", "Units": "C", "Modbus Register": ">H", "Writable": "FALSE", "Point Address": "0"}]);
    let config = json!({"device_address": "127.0.0.1", "port": address.port(), "timeout": 0.5});
    let entry = json!({"driver_type": "modbus", "driver_config": config, "registry_config": rows, "interval": 1});
    bench.set_config("devices/plant", entry).await;
    bench.subscribe("devices/");
    bench.subscribe("alerts/");
    let context = start(&mut bench);
    let publication = bench.next_on("devices/plant/all").await;
    assert_eq!(publication.message[0], json!({"T": 7}));
    assert_eq!(publication.message[1], json!({"T": {"units": "C", "type": "integer", "tz": ""}}));
    device.abort();
    drop(device.await);
    let alert = bench.next_on("alerts/").await;
    assert_eq!(alert.headers.text("alert_key"), Some("devices/plant"));
    bench.drain();
    assert_eq!(context.status().word, vt_types::StatusWord::Bad);
    assert!(context.status().context["devices"]["devices/plant"].as_str().unwrap().contains("127.0.0.1"), "{:?}", context.status());
    let status = bench.call("device_status", vec![json!("plant")]).await.unwrap();
    assert!(status["plant"]["failures"].as_u64().unwrap() >= 1, "{status}");
    assert!(status["plant"]["last_error"].is_string());
    assert_eq!(status["plant"]["points"]["T"], json!({"units": "C", "type": "integer", "writable": false, "error": null}));
    // Nothing is published for it, and the other device keeps its rhythm.
    let one = next_synchronized(&mut bench, "devices/").await;
    let two = next_synchronized(&mut bench, "devices/").await;
    for publication in [&one, &two] {
        assert_eq!(publication.topic.as_str(), format!("devices/{DEVICE}/all"));
        assert!((time(publication, "Date") - time(publication, "SynchronizedTimeStamp")).num_milliseconds() < 500);
    }
    tokio::spawn(modbus_device(TcpListener::bind(address).await.unwrap()));
    bench.next_on("devices/plant/all").await;
    bench.call_until("health.get_status", vec![], |status| status["status"] == "GOOD").await;
}

#[tokio::test]
async fn a_failing_device_that_is_deleted_is_no_trouble_any_more() {
    let mut bench = bench(60).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let rows = json!([{"Volttron Point Name": "T", "Units": "C", "Modbus Register": ">H", "Writable": "FALSE", "Point Address": "0"}]);
    let config = json!({"device_address": "127.0.0.1", "port": port});
    bench.set_config("devices/gone", json!({"driver_type": "modbus", "driver_config": config, "registry_config": rows})).await;
    start(&mut bench);
    bench.call_until("health.get_status", vec![], |status| status["status"] == "BAD").await;
    bench.delete_config("devices/gone").await;
    bench.call_until("health.get_status", vec![], |status| status["status"] == "GOOD").await;
}

#[tokio::test]
async fn many_devices_keep_their_rhythm() {
    const DEVICES_COUNT: usize = 500;
    let mut bench = bench(1).await;
    for n in 0..DEVICES_COUNT {
        bench.set_config(&format!("devices/many/{n}"), fake(1)).await;
    }
    bench.subscribe("devices/many/");
    start(&mut bench);
    bench.call_until("device_status", vec![], |status| status.as_object().is_some_and(|all| all.len() > DEVICES_COUNT)).await;
    let mut seen = HashSet::new();
    while seen.len() < DEVICES_COUNT {
        let publication = next_synchronized(&mut bench, "devices/many/").await;
        assert!((time(&publication, "Date") - time(&publication, "SynchronizedTimeStamp")).num_milliseconds() < 2000);
        seen.insert(publication.topic.to_string());
    }
}
