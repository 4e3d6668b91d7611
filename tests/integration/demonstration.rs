//! The whole path on the demonstration building: device, driver, bus, historian, REST; and a write that comes back.

use std::time::Duration;

use serde_json::{Value, json};
use vt_testkit::{Client, TestServer, eventually_async};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_value_of_the_building_changes_and_is_in_the_history() {
    let server = TestServer::demo().await;
    let client = server.administrator().await;
    let platform = platform(&client).await;
    let points = eventually_async("the building has points", PATIENCE, async || points(&client, &platform).await).await;
    assert!(points.len() >= 10, "{points:?}");

    let first = read(&client, &platform, &points).await;
    eventually_async("a value changes", PATIENCE, async || (read(&client, &platform, &points).await != first).then_some(())).await;

    let history = format!("/vui/platforms/{platform}/historians/platform.historian/topics");
    let path = format!("{history}?read-all=true&count=1000");
    eventually_async("a point has two values in the history", PATIENCE, async || {
        let answer = client.get(&path).await;
        let series = if answer.status == 200 { answer.json() } else { return None };
        series.as_object()?.values().any(|entry| entry["value"].as_array().is_some_and(|values| values.len() >= 2)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_written_point_reads_back_reverts_and_is_in_the_history() {
    let server = TestServer::demo().await;
    let client = server.administrator().await;
    let platform = platform(&client).await;
    let (topic, path, before) = eventually_async("a writable number", PATIENCE, async || writable(&client, &platform).await).await;

    let wanted = before + 1.0;
    let written = client.put(&format!("{path}?confirm-values=true"), &json!({"value": wanted})).await.expect(200).json();
    assert_eq!(written[&topic]["set_error"], Value::Null, "{written}");
    assert_eq!(written[&topic]["value"].as_f64(), Some(wanted), "{written}");
    assert_eq!(client.get(&path).await.expect(200).json()[&topic]["value"].as_f64(), Some(wanted));

    let history = format!("/vui/platforms/{platform}/historians/platform.historian/topics/{topic}?order=LAST_TO_FIRST&count=100");
    eventually_async("the written value is in the history", PATIENCE, async || {
        let answer = client.get(&history).await;
        let series = if answer.status == 200 { answer.json() } else { return None };
        series[&topic]["value"].as_array()?.iter().any(|pair| pair[1].as_f64() == Some(wanted)).then_some(())
    })
    .await;

    client.delete(&path).await.expect(200);
    assert_ne!(client.get(&path).await.expect(200).json()[&topic]["value"].as_f64(), Some(wanted));
}

#[tokio::test]
async fn the_built_in_agents_run() {
    let server = TestServer::demo().await;
    let client = server.administrator().await;
    let platform = platform(&client).await;
    let agents = client.get(&format!("/vui/platforms/{platform}/agents")).await.expect(200).json();
    for identity in ["platform.driver", "platform.historian", "platform.actuator", "listener"] {
        assert!(agents["links"][identity].is_string(), "{identity} does not run: {agents}");
    }
    let status = client.get(&format!("/vui/platforms/{platform}/status")).await.expect(200).json();
    assert!(status["platform.driver"]["uuid"].is_string(), "{status}");
}

/// What the listener prints of VOLTTRON's sample device, as everybody knows it from its README: layout, names and line breaks.
const SAMPLE: &str = r"(?m)^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) \(listeneragent-3\.3 \d+\) listener\.agent INFO: Peer: pubsub, Sender: platform\.driver:, Bus: , Topic: devices/fake-campus/fake-building/fake-device/all, Headers: (\{.*\}), Message: 
\[\{'Heartbeat': (?:True|False), 'PowerState': 0, 'ValveState': 0, 'temperature': 50\.0\},
 \{'Heartbeat': \{'type': 'integer', 'tz': 'US/Pacific', 'units': 'On/Off'\},
  'PowerState': \{'type': 'integer', 'tz': 'US/Pacific', 'units': '1/0'\},
  'ValveState': \{'type': 'integer', 'tz': 'US/Pacific', 'units': '1/0'\},
  'temperature': \{'type': 'integer',
                  'tz': 'US/Pacific',
                  'units': 'Fahrenheit'\}\}\]$";

#[tokio::test]
async fn the_listener_prints_the_sample_device_every_5_seconds_as_volttron_does() {
    let server = TestServer::builder().demo().argument("-v").start().await;
    let sample = regex::Regex::new(SAMPLE).unwrap();
    let headers = eventually_async("two scrapes in rhythm", PATIENCE, async || {
        let output = server.output();
        let headers = sample.captures_iter(&output).map(|line| line[2].to_owned());
        let headers: Vec<String> = headers.filter(|headers| headers.contains("SynchronizedTimeStamp")).collect();
        (headers.len() >= 2).then_some(headers)
    })
    .await;
    let time = |headers: &str, name: &str| {
        let found = regex::Regex::new(&format!(r"'{name}': '(\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}\+00:00)'")).unwrap();
        let found = found.captures(headers).unwrap_or_else(|| panic!("no {name} in {headers}"));
        chrono::DateTime::parse_from_rfc3339(&found[1]).unwrap()
    };
    let mut synchronized = Vec::new();
    for headers in &headers[..2] {
        let (date, due) = (time(headers, "Date"), time(headers, "SynchronizedTimeStamp"));
        assert_eq!(date, time(headers, "TimeStamp"), "{headers}");
        assert_eq!((due.timestamp() % 5, due.timestamp_subsec_micros()), (0, 0), "{headers}");
        assert!((0..5_000).contains(&(date - due).num_milliseconds()), "{headers}");
        assert!(headers.contains("'min_compatible_version': '3.0'") && headers.contains("'max_compatible_version': ''"), "{headers}");
        synchronized.push(due);
    }
    assert_eq!((synchronized[1] - synchronized[0]).num_seconds(), 5, "{headers:?}");
}

#[tokio::test]
async fn a_demonstration_that_starts_again_keeps_what_people_changed() {
    let mut server = TestServer::demo().await;
    let registry = server.vctl(&["config", "get", "platform.driver", "meter.csv", "--raw"]).await.ok().stdout;
    let file = server.home().join("changed.csv");
    std::fs::write(&file, registry.replace(",kilowatts,", ",megawatts,")).unwrap();
    assert_ne!(registry, std::fs::read_to_string(&file).unwrap(), "{registry}");
    server.vctl(&["config", "store", "platform.driver", "meter.csv", &file.to_string_lossy(), "--csv"]).await.ok();
    server.vctl(&["tag", "--name", "listener*", "mine"]).await.ok();
    let before = server.vctl(&["list", "-n", "0"]).await.ok().stdout;
    let names = server.vctl(&["config", "list", "platform.driver"]).await.ok().stdout;

    server.end(nix::sys::signal::Signal::SIGTERM, Duration::from_secs(5)).await;
    server.start_again().await;
    assert_eq!(server.vctl(&["list", "-n", "0"]).await.ok().stdout, before);
    assert_eq!(server.vctl(&["config", "list", "platform.driver"]).await.ok().stdout, names);
    let kept = server.vctl(&["config", "get", "platform.driver", "meter.csv", "--raw"]).await.ok().stdout;
    assert!(kept.contains(",megawatts,") && !kept.contains(",kilowatts,"), "{kept}");
}

#[tokio::test]
async fn probes_need_no_token_and_metrics_count() {
    let server = TestServer::demo().await;
    let client = server.client();
    client.get("/healthz").await.expect(200);
    client.get("/readyz").await.expect(200);
    let metrics = client.get("/metrics").await;
    let metrics = if metrics.status == 200 { metrics } else { server.administrator().await.get("/metrics").await.expect(200) };
    assert!(metrics.text.lines().any(|line| !line.starts_with('#') && line.split_whitespace().count() == 2), "{}", metrics.text);
}

/// The name of the only platform.
pub async fn platform(client: &Client) -> String {
    let platforms = client.get("/vui/platforms").await.expect(200).json();
    platforms["links"].as_object().unwrap().keys().next().unwrap().clone()
}

/// The topics of all points, when there are any.
async fn points(client: &Client, platform: &str) -> Option<Vec<String>> {
    let answer = client.get(&format!("/vui/platforms/{platform}/devices?read-all=true&values=false")).await;
    let found: Vec<String> = if answer.status == 200 { answer.json().as_object()?.keys().cloned().collect() } else { return None };
    (!found.is_empty()).then_some(found)
}

async fn read(client: &Client, platform: &str, points: &[String]) -> Vec<Value> {
    let all = client.get(&format!("/vui/platforms/{platform}/devices?read-all=true")).await.expect(200).json();
    points.iter().map(|topic| all[topic]["value"].clone()).collect()
}

/// Topic, route and value of one writable point that holds a number and keeps what is written.
pub async fn writable(client: &Client, platform: &str) -> Option<(String, String, f64)> {
    let answer = client.get(&format!("/vui/platforms/{platform}/devices?read-all=true&config=true")).await;
    let all = if answer.status == 200 { answer.json() } else { return None };
    all.as_object()?.iter().find_map(|(topic, point)| {
        let fits =
            point["writable"] == json!(true) && point["config"]["Type"].as_str().is_none_or(|kind| kind.eq_ignore_ascii_case("float"));
        let value = point["value"].as_f64().filter(|_| fits)?;
        Some((topic.clone(), point["route"].as_str()?.to_owned(), value))
    })
}
