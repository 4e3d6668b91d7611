//! The whole path from a Modbus device that is not ours to REST, websocket and history, and back to its registers; and what a building sees
//! when such a device dies, is slow, refuses, or is configured wrongly. Everything is set up as a person would: `vctl`, REST, CSV registries.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vt_testkit::client::Answer;
use vt_testkit::{Client, Socket, TestServer, eventually_async};

use crate::simulator::{Simulator, same};

/// Longest wait for what has to happen at some time.
const PATIENCE: Duration = Duration::from_secs(30);
/// Seconds from scrape to scrape of devices that get into trouble.
const INTERVAL_S: u64 = 2;
/// How much later than one interval a trouble may be told, on a machine that is busy with other tests.
const MARGIN: Duration = Duration::from_millis(1500);

const EVERY_TYPE: &str = include_str!("../golden/registry/modbus_every_type.csv");
const HEADER: &str = "Reference Point Name,Volttron Point Name,Units,Modbus Register,Writable,Point Address";

#[tokio::test]
async fn every_register_type_and_byte_order_arrives_over_rest_websocket_and_in_the_history() {
    let (building, mut simulator) = tokio::join!(Building::start(), Simulator::start());
    building.install_historian().await;
    let mut socket = building.listen("devices/plant/meter").await;
    building.store_csv("every_type.csv", EVERY_TYPE).await.expect(204);
    building.add_device("plant/meter", &simulator, "every_type.csv", 1, 5.0).await;
    let expected = simulator.values();
    assert!(expected.len() > 250, "{}", expected.len());

    let all = building.read("plant/meter").await;
    for (name, value) in &expected {
        assert!(same(&all[&format!("plant/meter/{name}")]["value"], value), "{name}: {}, not {value}", all[&format!("plant/meter/{name}")]);
    }
    assert_eq!(all.as_object().unwrap().len(), expected.len(), "the golden registry and the simulator differ");

    let event = socket.next_where("a scrape", PATIENCE, |frame| frame["topic"] == "devices/plant/meter/all").await;
    let (values, metadata) = (&event["message"][0], &event["message"][1]);
    for (name, value) in &expected {
        assert!(same(&values[name], value), "{name}: {}, not {value}", values[name]);
        assert_eq!(metadata[name]["tz"], "US/Pacific", "{name}: {}", metadata[name]);
    }
    for (name, kind) in [("input_0", "integer"), ("input_14", "float"), ("discrete_0", "boolean"), ("holding_0", "integer")] {
        assert_eq!(metadata[name]["type"], kind, "{name}: {}", metadata[name]);
    }

    for (name, value) in &expected {
        let topic = format!("plant/meter/{name}");
        let stored = building.history(&topic, 1).await;
        assert!(same(&stored[0][1], value), "{topic}: {stored}, not {value}");
    }

    simulator.command("set input_1 4242").await;
    let changed = |frame: &Value| frame["message"][0]["input_1"] == 4242;
    let event = socket.next_where("the new measurement", PATIENCE, changed).await;
    let at = event["headers"]["TimeStamp"].as_str().unwrap().to_owned();
    eventually_async("the new measurement is in the history under its time", PATIENCE, async || {
        let stored = building.history("plant/meter/input_1", 1000).await;
        stored.as_array()?.iter().any(|pair| pair[0] == json!(at) && pair[1] == 4242).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_write_goes_through_actuator_and_driver_to_the_device_and_back() {
    let (building, mut simulator) = tokio::join!(Building::start(), Simulator::start());
    building.store_csv("every_type.csv", EVERY_TYPE).await.expect(204);
    let refused = format!("{HEADER}\nrefused,refused,x,>H,TRUE,5003\nread_only,read_only,x,>H,FALSE,0\n");
    building.store_csv("refused.csv", &refused).await.expect(204);
    building.add_device("plant/ahu", &simulator, "every_type.csv", 1, 5.0).await;
    building.add_device("plant/other", &simulator, "refused.csv", 1, 5.0).await;
    // The first scrape is what a revert restores.
    building.scraped("plant/ahu").await;
    building.scraped("plant/other").await;
    let mut actuator = building.listen("devices/actuators").await;

    // Plain, little-endian and word-swapped registers of every width; the names are those of the simulator's layout.
    let holding: Vec<Value> = simulator.registers().iter().filter(|entry| entry["table"] == "holding").cloned().collect();
    let chosen = |format: &str, mixed: bool| {
        let found = holding.iter().find(|entry| entry["format"] == format && entry["mixed"] == json!(mixed));
        found.unwrap_or_else(|| panic!("{format} {mixed}"))["name"].as_str().unwrap().to_owned()
    };
    let writes = [
        (chosen("h", false), json!(-321)),
        (chosen("<H", false), json!(65535)),
        (chosen(">i", true), json!(-2_000_000_000)),
        (chosen("!I", false), json!(4_000_000_000_u64)),
        (chosen("=q", true), json!(-9_000_000_000_000_000_i64)),
        (chosen(">Q", false), json!(18_000_000_000_000_000_000_u64)),
        (chosen(">f", true), json!(-0.25)),
        (chosen("<d", false), json!(1.0e-12)),
        (chosen(">12s", false), json!("Chiller 9")),
    ];
    let before = simulator.command("read").await;
    for (name, value) in &writes {
        let topic = format!("plant/ahu/{name}");
        let answer = building.put(&format!("{topic}?confirm-values=true"), value).await.expect(200).json();
        assert_eq!(answer[&topic]["set_error"], Value::Null, "{answer}");
        assert!(same(&answer[&topic]["value"], value), "{answer}");
        assert!(same(&simulator.holding(name).await, value), "{name}: the device has {}", simulator.holding(name).await);
        let told =
            actuator.next_where("the actuator tells", PATIENCE, |frame| frame["topic"] == format!("devices/actuators/value/{topic}")).await;
        assert!(same(&told["message"], value), "{told}");
        assert_eq!(told["headers"]["requesterID"], "web:admin", "{told}");
    }
    building.put("plant/ahu/coil_0", &json!(false)).await.expect(200);
    assert_eq!(simulator.command("read").await["coils"][0], false);

    let (first, _) = &writes[0];
    building.delete(&format!("plant/ahu/{first}")).await.expect(200);
    assert!(same(&simulator.holding(first).await, &before["registers"][first]));
    assert!(!same(&simulator.holding(&writes[1].0).await, &before["registers"][&writes[1].0]), "one point was to be reverted");
    building.delete("plant/ahu").await.expect(200);
    assert_eq!(simulator.command("read").await, before);

    let read_only = building.put("plant/ahu/input_0", &json!(1)).await.expect(405).json();
    assert_eq!(read_only, json!({"error": "No selected points are writable.", "unwritable_points": ["plant/ahu/input_0"]}));
    let unknown = building.put("plant/ahu/nowhere", &json!(1)).await.expect(400).json();
    assert!(unknown["error"].as_str().unwrap().contains("Device topic plant/ahu/nowhere not found on platform"), "{unknown}");
    building.get("plant/ahu/nowhere").await.expect(400);
    for (name, value) in
        [(first.as_str(), json!("warm")), (first, json!(1e9)), (first, json!(null)), (first, json!([1])), ("coil_0", json!("x"))]
    {
        let wrong = building.put(&format!("plant/ahu/{name}"), &value).await.expect(400).json();
        let text = wrong["error"].as_str().unwrap();
        assert!(text.contains(name) && text.contains("expected"), "{value}: {wrong}");
    }
    assert_eq!(simulator.command("read").await, before);

    let refused = building.put("plant/other/refused", &json!(7)).await.expect(200).json();
    let text = refused["plant/other/refused"]["set_error"].as_str().unwrap();
    assert!(text.contains("Modbus exception 3 (Illegal data value)"), "{text}");
}

#[tokio::test]
async fn a_killed_device_is_seen_within_one_interval_delays_nobody_and_returns_by_itself() {
    let (building, dying, healthy) = tokio::join!(Building::start(), Simulator::start(), Simulator::start());
    building.store_csv("few.csv", &few()).await.expect(204);
    building.add_device("plant/dying", &dying, "few.csv", INTERVAL_S, 1.0).await;
    building.add_device("plant/healthy", &healthy, "few.csv", 1, 1.0).await;
    let watch = building.watch("plant/healthy", 1).await;
    building.scraped("plant/dying").await;

    let killed = Moment::now();
    let port = dying.kill().await;
    let text = building.trouble_is_told("devices", "plant/dying", killed).await;
    assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
    building.log_says("Failed to scrape plant/dying: 127.0.0.1:").await;
    let all = building.read("plant").await;
    assert!(all["plant/dying/level"]["value_error"].as_str().unwrap().contains(&port.to_string()), "{all}");
    assert!(same(&all["plant/healthy/level"]["value"], &json!(-12345)), "{all}");
    assert!(building.page("/devices/plant/dying").await.contains(&format!("127.0.0.1:{port}")), "the page does not tell what is wrong");
    let failed = building.put("plant/dying/setpoint", &json!(1)).await.expect(200).json();
    assert!(failed["plant/dying/setpoint"]["set_error"].as_str().unwrap().contains(&port.to_string()), "{failed}");
    assert!(building.status().await["plant/healthy"]["last_error"].is_null());

    let returned = Simulator::start_again(port).await;
    building.trouble_is_over("plant/dying").await;
    let all = building.read("plant/dying").await;
    assert!(same(&all["plant/dying/level"]["value"], &json!(-12345)), "{all}");
    watch.saw_no_gap().await;
    drop((returned, healthy));
}

#[tokio::test]
async fn slow_and_refusing_devices_are_seen_delay_nobody_and_recover_by_themselves() {
    let (building, mut slow, mut refusing, healthy) =
        tokio::join!(Building::start(), Simulator::start(), Simulator::start(), Simulator::start());
    building.store_csv("few.csv", &few()).await.expect(204);
    building.add_device("plant/times_out", &slow, "few.csv", INTERVAL_S, 0.5).await;
    // Its answers come within its time-out, but later than its interval.
    building.add_device("plant/too_slow", &slow, "few.csv", INTERVAL_S, 20.0).await;
    building.add_device("plant/refusing", &refusing, "few.csv", INTERVAL_S, 1.0).await;
    building.add_device("plant/healthy", &healthy, "few.csv", 1, 1.0).await;
    let watch = building.watch("plant/healthy", 1).await;
    for path in ["plant/times_out", "plant/too_slow", "plant/refusing"] {
        building.scraped(path).await;
    }

    let began = Moment::now();
    refusing.command("fail 4").await;
    let text = building.trouble_is_told("devices", "plant/refusing", began).await;
    assert!(text.contains("Modbus exception 4 (Server device failure)"), "{text}");
    let all = building.read("plant/refusing").await;
    assert!(all["plant/refusing/level"]["value_error"].as_str().unwrap().contains("exception 4"), "{all}");

    let began = Moment::now();
    slow.command("slow 1").await;
    let late = Duration::from_millis(500);
    let text = building.trouble_is_told_later("devices", "plant/times_out", began, late).await;
    assert!(text.contains("did not answer within 500 ms"), "{text}");
    // This one's answer is overdue only when the next would begin.
    let text = building.trouble_is_told_later("devices", "plant/too_slow", began, Duration::from_secs(INTERVAL_S)).await;
    assert!(text.contains("takes longer than the interval of 2 s"), "{text}");
    // Its values come all the same, and coming late they do not end the trouble.
    let last_scrape = async || building.status().await["plant/too_slow"]["last_scrape"].clone();
    let before = last_scrape().await;
    eventually_async("a late scrape ends", PATIENCE, async || (last_scrape().await != before).then_some(())).await;
    assert_eq!(building.status().await["plant/too_slow"]["last_error"], json!(text));
    assert_eq!(building.health("platform.driver").await["context"]["devices"]["devices/plant/too_slow"], json!(text));

    slow.command("slow 0").await;
    refusing.command("fail 0").await;
    for path in ["plant/times_out", "plant/too_slow", "plant/refusing"] {
        building.trouble_is_over(path).await;
        let all = building.read(path).await;
        assert!(same(&all[&format!("{path}/level")]["value"], &json!(-12345)), "{all}");
    }
    watch.saw_no_gap().await;
}

#[tokio::test]
async fn one_refused_point_is_named_and_the_others_go_on() {
    let (building, simulator) = tokio::join!(Building::start(), Simulator::start());
    building.store_csv("part.csv", &format!("{}bad,bad,x,>H,FALSE,5002\n", few())).await.expect(204);
    let began = Moment::now();
    building.add_device("plant/part", &simulator, "part.csv", INTERVAL_S, 1.0).await;
    let text = building.trouble_is_told("points", "plant/part", began).await;
    assert!(text.contains("bad") && text.contains("Modbus exception 2 (Illegal data address)"), "{text}");
    building.log_says("Failed to scrape point: devices/plant/part/bad: ").await;
    let all = building.read("plant/part").await;
    assert!(all["plant/part/bad"]["value_error"].as_str().unwrap().contains("Illegal data address"), "{all}");
    assert!(same(&all["plant/part/level"]["value"], &json!(-12345)), "{all}");
    // A registry without the point ends the trouble.
    building.store_csv("part.csv", &few()).await.expect(204);
    building.trouble_is_over("plant/part").await;
}

#[tokio::test]
async fn a_broken_registry_is_refused_with_line_and_column_and_nothing_is_stored() {
    let (building, simulator) = tokio::join!(Building::start(), Simulator::start());
    let row = "level,level,x,h,FALSE,0";
    let short = format!("{HEADER}\n{row}\nflow,flow,x\n");
    let long = format!("{HEADER}\n{row}\nflow,flow,x,h,FALSE,1,oops\n");
    let duplicate = format!("{HEADER}\n{row}\nflow,flow,x,h,FALSE,1\nagain,level,x,h,FALSE,2\n");
    let same_column = format!("{HEADER},Units\n{row},y\n");
    let broken: [(&str, &str, &[&str]); 5] = [
        ("short.csv", &short, &["line 3", "\"Modbus Register\""]),
        ("long.csv", &long, &["line 3", "\"oops\""]),
        ("duplicate.csv", &duplicate, &["line 4", "Volttron Point Name", "\"level\"", "line 2"]),
        ("same_column.csv", &same_column, &["line 1", "\"Units\""]),
        ("empty.csv", "", &["first line"]),
    ];
    for (name, text, wanted) in broken {
        let answer = building.store_csv(name, text).await.expect(400).json();
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(name) && wanted.iter().all(|word| error.contains(word)), "{name}: {error}");
        let refused = building.vctl_store(name, text).await;
        assert_ne!(refused.code, Some(0), "{refused:?}");
        assert!(refused.stderr.contains(name) && wanted.iter().all(|word| refused.stderr.contains(word)), "{name}: {refused:?}");
    }
    let stored = building.server.vctl(&["config", "list", "platform.driver"]).await.ok().stdout;
    assert!(!stored.contains(".csv"), "{stored}");

    // An entry that was there stays as it was.
    building.store_csv("good.csv", &few()).await.expect(204);
    building.store_csv("good.csv", &short).await.expect(400);
    assert_eq!(building.server.vctl(&["config", "get", "platform.driver", "good.csv", "--raw"]).await.ok().stdout.trim(), few().trim());

    // A byte order mark and CRLF are what spreadsheets write.
    let spreadsheet = format!("\u{feff}{}", few().replace('\n', "\r\n"));
    building.vctl_store("spreadsheet.csv", &spreadsheet).await.ok();
    building.add_device("plant/sheet", &simulator, "spreadsheet.csv", 1, 1.0).await;
    building.scraped("plant/sheet").await;
    let all = building.read("plant/sheet").await;
    assert!(same(&all["plant/sheet/level"]["value"], &json!(-12345)), "{all}");
}

#[tokio::test]
async fn a_device_without_its_registry_is_told_as_its_own_trouble_until_the_registry_comes() {
    let (building, simulator) = tokio::join!(Building::start(), Simulator::start());
    building.store_csv("few.csv", &few()).await.expect(204);
    building.add_device("plant/healthy", &simulator, "few.csv", 1, 1.0).await;
    let watch = building.watch("plant/healthy", 1).await;
    let began = Moment::now();
    building.add_device("plant/lost", &simulator, "gone.csv", INTERVAL_S, 1.0).await;
    let text = building.trouble_is_told("configuration", "plant/lost", began).await;
    assert!(text.contains("gone.csv"), "{text}");
    assert!(building.page("/devices/plant/lost").await.contains("gone.csv"), "the page does not tell what is missing");
    building.vctl_store("gone.csv", &few()).await.ok();
    building.trouble_is_over("plant/lost").await;
    watch.saw_no_gap().await;
}

#[tokio::test]
async fn a_registry_that_the_driver_cannot_use_is_told_with_row_and_column_and_its_removal_ends_the_trouble() {
    let (building, simulator) = tokio::join!(Building::start(), Simulator::start());
    building.store_csv("few.csv", &few()).await.expect(204);
    building.add_device("plant/healthy", &simulator, "few.csv", 1, 1.0).await;
    let watch = building.watch("plant/healthy", 1).await;
    let unusable = [
        ("address", format!("{HEADER}\nlevel,level,x,h,FALSE,0\nflow,flow,x,h,FALSE,first\n"), ["row 2", "Point Address", "\"first\""]),
        ("format", format!("{HEADER}\nlevel,level,x,z,FALSE,0\n"), ["row 1", "Modbus Register", "z"]),
        (
            "column",
            "Volttron Point Name,Units,Writable,Point Address\nlevel,x,FALSE,0\n".to_owned(),
            ["column", "Modbus Register", "missing"],
        ),
    ];
    for (name, csv, wanted) in &unusable {
        let (registry, path, began) = (format!("{name}.csv"), format!("plant/{name}"), Moment::now());
        building.store_csv(&registry, csv).await.expect(204);
        building.add_device(&path, &simulator, &registry, INTERVAL_S, 1.0).await;
        let text = building.trouble_is_told("configuration", &path, began).await;
        assert!(wanted.iter().all(|word| text.contains(word)), "{name}: {text}");
        building.server.vctl(&["config", "delete", "platform.driver", &format!("devices/{path}")]).await.ok();
    }
    eventually_async("no trouble is left", PATIENCE, async || (building.health("platform.driver").await["status"] == "GOOD").then_some(()))
        .await;
    assert_eq!(building.status().await.keys().collect::<Vec<_>>(), ["plant/healthy"]);

    let odd = few().replace(HEADER, &format!("{HEADER},Colour")).replace(",0\n", ",0,red\n");
    building.store_csv("odd.csv", &odd).await.expect(204);
    building.add_device("plant/odd", &simulator, "odd.csv", 1, 1.0).await;
    building.scraped("plant/odd").await;
    let warnings = building.status().await["plant/odd"]["warnings"].to_string();
    assert!(warnings.contains("Colour"), "{warnings}");
    watch.saw_no_gap().await;
}

/// A registry of a measurement, a setpoint and a bit.
fn few() -> String {
    format!("{HEADER}\nlevel,level,x,h,FALSE,0\nsetpoint,setpoint,x,h,TRUE,0\npump,pump,On / Off,BOOL,TRUE,0\n")
}

/// When something began, on both clocks.
#[derive(Clone, Copy)]
struct Moment {
    instant: Instant,
    clock: SystemTime,
}

impl Moment {
    fn now() -> Self {
        Self { instant: Instant::now(), clock: SystemTime::now() }
    }
}

/// A server with actuator and driver, and somebody who uses it.
pub struct Building {
    pub server: TestServer,
    pub client: Client,
    pub platform: String,
}

impl Building {
    /// Starts it, one agent installed over REST, one by command.
    pub async fn start() -> Self {
        let server = TestServer::start().await;
        let client = server.administrator().await;
        let platform = crate::demonstration::platform(&client).await;
        let agents = format!("/vui/platforms/{platform}/agents");
        let made = client.post(&agents, &json!({"kind": "actuator", "start": true})).await.expect(201).json();
        assert!(made["start_error"].is_null(), "{made}");
        server.vctl(&["install", "platform_driver", "--start"]).await.ok();
        Self { server, client, platform }
    }

    pub async fn install_historian(&self) {
        self.server.vctl(&["install", "platform_historian", "--start"]).await.ok();
    }

    /// Answer to storing a registry over REST.
    async fn store_csv(&self, name: &str, text: &str) -> Answer {
        let path = format!("/vui/platforms/{}/agents/platform.driver/configs/{name}", self.platform);
        let request = self.client.request(Method::PUT, &path).header("content-type", "text/csv");
        self.client.send(request.body(text.to_owned())).await
    }

    /// The same by command.
    async fn vctl_store(&self, name: &str, text: &str) -> vt_testkit::Finished {
        let file = self.server.home().join(name);
        std::fs::write(&file, text).unwrap();
        self.server.vctl(&["config", "store", "platform.driver", name, &file.to_string_lossy(), "--csv"]).await
    }

    async fn add_device(&self, path: &str, simulator: &Simulator, registry: &str, interval_s: u64, timeout_s: f64) {
        let device = json!({
            "driver_type": "modbus",
            "driver_config": {"device_address": "127.0.0.1", "port": simulator.port(), "slave_id": 1, "timeout": timeout_s},
            "registry_config": format!("config://{registry}"),
            "interval": interval_s,
            "timezone": "US/Pacific",
        });
        let entry = format!("/vui/platforms/{}/agents/platform.driver/configs/devices/{path}", self.platform);
        self.client.put(&entry, &device).await.expect(204);
    }

    fn devices(&self, topic: &str) -> String {
        format!("/vui/platforms/{}/devices/{topic}", self.platform)
    }

    async fn get(&self, topic: &str) -> Answer {
        self.client.get(&self.devices(topic)).await
    }

    async fn put(&self, topic: &str, value: &Value) -> Answer {
        self.client.put(&self.devices(topic), &json!({"value": value})).await
    }

    async fn delete(&self, topic: &str) -> Answer {
        self.client.delete(&self.devices(topic)).await
    }

    /// All points at or below a topic, read from their devices; waits until the driver has taken the devices in.
    async fn read(&self, topic: &str) -> Value {
        eventually_async("the driver knows the device", PATIENCE, async || {
            let all = self.get(&format!("{topic}?read-all=true")).await.expect(200).json();
            let unknown = |point: &Value| point["value_error"].as_str().is_some_and(|text| text.contains("Device not found"));
            (!all.as_object().unwrap().values().any(unknown)).then_some(all)
        })
        .await
    }

    /// A websocket that gets what is published below a prefix, and alerts.
    async fn listen(&self, prefix: &str) -> Socket {
        let mut socket = crate::sockets::envelope(&self.server, &self.client).await.unwrap();
        socket.send(&json!({"op": "subscribe", "id": 1, "platform": self.platform, "prefix": prefix})).await;
        let ok = socket.next_where("the answer to subscribe", PATIENCE, |frame| frame["id"] == 1).await;
        assert_eq!(ok["op"], "ok", "{ok}");
        socket
    }

    /// The newest values of a topic in the history, `[[time, value], ...]`, when there are any.
    async fn history(&self, topic: &str, count: usize) -> Value {
        let path =
            format!("/vui/platforms/{}/historians/platform.historian/topics/{topic}?count={count}&order=LAST_TO_FIRST", self.platform);
        eventually_async("the history knows the topic", PATIENCE, async || {
            let answer = self.client.get(&path).await;
            let values = if answer.status == 200 { answer.json()[topic]["value"].clone() } else { return None };
            values.as_array().is_some_and(|values| !values.is_empty()).then_some(values)
        })
        .await
    }

    pub async fn call(&self, identity: &str, method: &str, args: &Value) -> Value {
        let path = format!("/vui/platforms/{}/agents/{identity}/rpc/{method}", self.platform);
        self.client.post(&path, args).await.expect(200).json()
    }

    pub async fn health(&self, identity: &str) -> Value {
        self.client.get(&format!("/vui/platforms/{}/agents/{identity}/health", self.platform)).await.expect(200).json()
    }

    /// How the driver's devices are doing, by path.
    async fn status(&self) -> BTreeMap<String, Value> {
        serde_json::from_value(self.call("platform.driver", "device_status", &json!([])).await).unwrap()
    }

    /// A page as the logged-in person sees it.
    async fn page(&self, path: &str) -> String {
        let request = self.client.with_token(None).request(Method::GET, path);
        let cookie = format!("Bearer={}", self.client.token().unwrap());
        self.client.send(request.header("cookie", cookie)).await.expect(200).text
    }

    /// Waits for a successful scrape of a device.
    async fn scraped(&self, path: &str) {
        eventually_async(&format!("{path} is scraped"), PATIENCE, async || {
            self.status().await.get(path).filter(|device| device["last_scrape"].is_string()).map(drop)
        })
        .await;
    }

    async fn trouble_is_told(&self, part: &str, path: &str, began: Moment) -> String {
        self.trouble_is_told_later(part, path, began, Duration::ZERO).await
    }

    /// Waits until health, status and an alert tell of a device's trouble, which must not take longer than an interval plus `more`, what
    /// noticing takes; gives the text of it.
    async fn trouble_is_told_later(&self, part: &str, path: &str, began: Moment, more: Duration) -> String {
        let place = format!("devices/{path}");
        let allowed = Duration::from_secs(INTERVAL_S) + more + MARGIN;
        let text = eventually_async(&format!("health tells of {path}"), PATIENCE, async || {
            let health = self.health("platform.driver").await;
            let text = health["context"][part][&place].as_str()?.to_owned();
            assert_eq!(health["status"], "BAD", "{health}");
            Some(text)
        })
        .await;
        let seen = began.instant.elapsed();
        assert!(seen < allowed, "the trouble of {path} was told after {seen:?}, allowed are {allowed:?}");
        let alert = self.alert(&place, "BAD", began).await;
        assert!(alert["context"].to_string().contains(&place), "{alert}");
        eventually_async(&format!("the status tells of {path}"), PATIENCE, async || {
            self.status().await.get(path).filter(|device| device["last_error"].is_string()).map(drop)
        })
        .await;
        text
    }

    /// Waits until the platform's log has a line with this text.
    async fn log_says(&self, text: &str) {
        eventually_async(&format!("the log says {text:?}"), PATIENCE, async || self.server.output().contains(text).then_some(())).await;
    }

    /// Waits until nothing is wrong with a device any more.
    async fn trouble_is_over(&self, path: &str) {
        let (place, began) = (format!("devices/{path}"), Instant::now());
        eventually_async(&format!("the trouble of {path} ends"), PATIENCE, async || {
            let health = self.health("platform.driver").await;
            let open = ["devices", "points", "configuration"].iter().any(|part| health["context"][part].get(&place).is_some());
            let device = self.status().await.get(path).cloned().unwrap_or_default();
            (!open && device["last_scrape"].is_string() && device["last_error"].is_null() && device["failures"] == 0).then_some(())
        })
        .await;
        let clock = SystemTime::now() - began.elapsed() - Duration::from_secs(60);
        self.alert(&place, "GOOD", Moment { instant: began, clock }).await;
    }

    /// The newest alert with this key and status that is not older than a moment.
    async fn alert(&self, key: &str, status: &str, since: Moment) -> Value {
        let since = since.clock.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        eventually_async(&format!("an alert {status} of {key}"), PATIENCE, async || {
            let alerts = self.client.get("/vui/alerts").await.expect(200).json();
            let fits =
                |alert: &&Value| alert["key"] == key && alert["status"] == status && seconds(&alert["at"]) >= since.as_secs_f64() - 1.0;
            alerts["alerts"].as_array().unwrap().iter().find(fits).cloned()
        })
        .await
    }

    /// Follows the publications of a device from now on.
    async fn watch(&self, path: &str, interval_s: u64) -> Watch {
        let (topic, mut socket) = (format!("devices/{path}/all"), self.listen(&format!("devices/{path}")).await);
        let scheduled = move |frame: &Value| frame["topic"] == topic.as_str() && frame["headers"]["SynchronizedTimeStamp"].is_string();
        let first = socket.next_where("the first scrape in rhythm", PATIENCE, &scheduled).await;
        let (end, mut ended) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let mut events = vec![first];
            loop {
                tokio::select! {
                    _ = &mut ended => break events,
                    event = socket.next_where("the next scrape", PATIENCE, &scheduled) => events.push(event),
                }
            }
        });
        Watch { interval_s, began: Instant::now(), end, task }
    }
}

/// The publications of a healthy device while others are in trouble.
struct Watch {
    interval_s: u64,
    began: Instant,
    end: oneshot::Sender<()>,
    task: JoinHandle<Vec<Value>>,
}

impl Watch {
    /// Every step of the rhythm was published, and before the next one was due.
    async fn saw_no_gap(self) {
        let lasted = self.began.elapsed();
        self.end.send(()).unwrap();
        let events = self.task.await.unwrap();
        let times: Vec<f64> = events.iter().map(|event| seconds(&event["headers"]["SynchronizedTimeStamp"])).collect();
        #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
        let interval = self.interval_s as f64;
        for pair in times.windows(2) {
            assert!((pair[1] - pair[0] - interval).abs() < 0.001, "a gap between {} and {}: {times:?}", pair[0], pair[1]);
        }
        for (event, synchronized) in events.iter().zip(&times) {
            let late = seconds(&event["headers"]["Date"]) - synchronized;
            assert!(late < interval, "published {late} s late: {}", event["headers"]);
            assert!(same(&event["message"][0]["level"], &json!(-12345)), "{event}");
        }
        let expected = lasted.as_secs() / self.interval_s;
        assert!(times.len() as u64 + 1 >= expected, "{} publications in {lasted:?}", times.len());
    }
}

/// Seconds since 1970 of a time as the platform writes it, `2026-01-31T12:00:00.000000+00:00`.
fn seconds(time: &Value) -> f64 {
    let text = time.as_str().unwrap_or_else(|| panic!("{time} is no time"));
    let time = chrono::DateTime::parse_from_rfc3339(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    time.signed_duration_since(chrono::DateTime::UNIX_EPOCH).as_seconds_f64()
}
