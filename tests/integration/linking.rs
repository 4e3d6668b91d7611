//! Two platforms that learn of each other: discovery, setup mode, the link that stays, and what each shows of the other.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use vt_testkit::{Client, TestServer, eventually_async};

const PATIENCE: Duration = Duration::from_secs(60);
const END_LIMIT: Duration = Duration::from_secs(15);

fn free_address() -> String {
    format!("tcp://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

fn config(name: &str, address: &str, setup: bool) -> String {
    format!("[volttron]\ninstance-name = {name}\nvip-address = {address}\nsetup-mode = {}\n", if setup { "True" } else { "False" })
}

async fn platform(name: &str, address: &str, setup: bool) -> TestServer {
    TestServer::builder().file("config", &config(name, address, setup)).start().await
}

fn write(server: &TestServer, name: &str, value: &Value) {
    std::fs::write(server.home().join(name), value.to_string()).unwrap();
}

fn read(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

async fn linked(client: &Client, other: &str) -> Value {
    let path = format!("/vui/platforms/{other}/link");
    eventually_async(&format!("the link to {other}, and its answers"), PATIENCE, async || {
        let answer = client.get(&path).await;
        let link = if answer.status == 200 { answer.json() } else { return None };
        (link["connected"] == true && link["told"].is_string()).then_some(link)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_platforms_in_setup_mode_learn_each_other_and_stay_linked_without_it() {
    let (at_a, at_b) = (free_address(), free_address());
    let (mut a, mut b) = (platform("left", &at_a, true).await, platform("right", &at_b, true).await);
    let told = b.client().get("/discovery/").await.expect(200).json();
    let key_b = read(&b.home().join("keystore")).unwrap()["public"].clone();
    assert_eq!(told, json!({"serverkey": key_b, "vip-address": at_b, "instance-name": "right"}));

    let (on_a, on_b) = (a.administrator().await, b.administrator().await);
    // Beside the other platform, this one itself and one that nobody is at.
    let nobody = format!("https://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    write(&a, "external_address.json", &json!([b.url(), a.url(), nobody]));
    write(&b, "external_address.json", &json!([a.url()]));
    linked(&on_a, "right").await;
    linked(&on_b, "left").await;
    let known = read(&a.home().join("external_platform_discovery.json")).unwrap();
    assert_eq!(known, json!({"right": {"serverkey": key_b, "vip-address": at_b, "instance-name": "right"}}));
    assert_eq!(read(&a.home().join("known_hosts")).unwrap()[at_b.strip_prefix("tcp://").unwrap()], key_b);
    let told = on_a.get("/vui/introductions").await.expect(200).json();
    let of = |address: &str| {
        let all = told["introductions"].as_array().unwrap();
        all.iter().find(|one| one["web_address"] == address).unwrap_or_else(|| panic!("{address} is not in {told}"))
    };
    assert_eq!((&of(b.url())["platform"], &of(a.url())["platform"]), (&json!("right"), &json!("left")), "{told}");
    assert!(of(&nobody)["problem"].as_str().unwrap().contains("cannot be reached"), "{told}");
    assert_eq!(told["setup_mode"], true);

    // Both start as usual: the link is there by itself, and strangers are no longer let in.
    for (server, name, address) in [(&mut a, "left", &at_a), (&mut b, "right", &at_b)] {
        server.end(Signal::SIGTERM, END_LIMIT).await;
        std::fs::write(server.home().join("config"), config(name, address, false)).unwrap();
        server.start_again().await;
    }
    let (on_a, on_b) = (on_a.at(a.url()), on_b.at(b.url()));
    let link = linked(&on_a, "right").await;
    linked(&on_b, "left").await;
    assert_eq!((&link["address"], &link["serverkey"]), (&json!(at_b), &key_b));
    let platforms = on_a.get("/vui/platforms").await.expect(200).json();
    assert_eq!(platforms["links"], json!({"left": "/vui/platforms/left", "right": "/vui/platforms/right"}));

    // An agent there is seen, called, and stopped from here: the right to do that is the other platform's to give.
    b.vctl(&["install", "listener", "--enable", "--start"]).await.ok();
    let listener = eventually_async("the listener is seen", PATIENCE, async || {
        let answer = on_a.get("/vui/platforms/right/agents").await;
        answer.json()["links"].as_object()?.keys().find(|name| name.starts_with("listener")).cloned()
    })
    .await;
    let at = |rest: &str| format!("/vui/platforms/right/agents/{listener}/{rest}");
    assert_eq!(on_a.get(&at("running")).await.expect(200).json()["running"], true);
    let status = on_a.post(&at("rpc/health.get_status"), &json!([])).await.expect(200).json();
    assert!(status["status"].is_string(), "{status}");
    let refused = on_a.delete(&at("running")).await;
    assert!(refused.status >= 400 && refused.text.contains("control_agents"), "{refused:?}");
    let entries = on_b.get("/vui/platforms/right/auths/approved").await.expect(200).json();
    let key_a = read(&a.home().join("keystore")).unwrap()["public"].clone();
    let user = entries.as_array().unwrap().iter().find(|entry| entry["credentials"] == key_a).unwrap()["user_id"].clone();
    let path = format!("/vui/platforms/right/auths/{}", user.as_str().unwrap());
    let mut entry = on_b.get(&path).await.expect(200).json();
    entry["capabilities"]["control_agents"] = Value::Null;
    on_b.put(&path, &entry).await.expect(204);
    eventually_async("the right counts", PATIENCE, async || (on_a.delete(&at("running")).await.status == 204).then_some(())).await;
    eventually_async("it is stopped", PATIENCE, async || {
        (on_b.get(&format!("/vui/platforms/right/agents/{listener}/running")).await.json()["running"] == false).then_some(())
    })
    .await;

    // It goes away: everything is answered at once from what it told, with the age and the reason.
    let before = on_a.get("/vui/platforms/right/link").await.json()["connects"].as_u64().unwrap();
    b.kill().await;
    let path = "/vui/platforms/right/link";
    eventually_async("the link is down", PATIENCE, async || (on_a.get(path).await.json()["connected"] == false).then_some(())).await;
    let began = std::time::Instant::now();
    let agents = on_a.get("/vui/platforms/right/status").await.expect(200);
    assert!(agents.json()[&listener].is_object() && agents.headers.contains_key("age"), "{agents:?}");
    on_a.get("/vui/platforms").await.expect(200);
    assert!(on_a.get(path).await.json()["problem"].is_string());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let metrics = a.client().get("/metrics").await.expect(200).text;
    assert!(metrics.contains(r#"volttron_platform_link_up{platform="right"} 0"#), "{metrics}");
    b.start_again().await;
    let connects = linked(&on_a, "right").await["connects"].as_u64().unwrap();
    assert!(connects > before, "{connects} after {before}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setup_mode_takes_no_other_key_for_a_platform_that_is_known_and_follows_its_file() {
    let at_b = free_address();
    let b = platform("right", &at_b, true).await;
    let known =
        json!({"right": {"serverkey": "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM", "vip-address": at_b, "instance-name": "right"}});
    let a = TestServer::builder()
        .file("config", &config("left", &free_address(), true))
        .file("external_address.json", "not a list")
        .file("external_platform_discovery.json", &known.to_string())
        .start()
        .await;
    let client = a.administrator().await;
    let problem = async |wanted: &str| {
        eventually_async(wanted, PATIENCE, async || {
            let told = client.get("/vui/introductions").await.expect(200).json();
            told["introductions"].as_array()?.iter().find(|one| one["problem"].as_str().is_some_and(|problem| problem.contains(wanted)))?;
            Some(())
        })
        .await;
    };
    problem("list of web addresses").await;
    write(&a, "external_address.json", &json!([b.url()]));
    problem("tells another key").await;
    assert_eq!(read(&a.home().join("external_platform_discovery.json")).unwrap(), known);
    // Its operator says that it was set up anew.
    write(&a, "external_platform_discovery.json", &json!({}));
    eventually_async("the new key is taken", PATIENCE, async || {
        let known = read(&a.home().join("external_platform_discovery.json"))?;
        (known["right"]["serverkey"] == b.client().get("/discovery/").await.json()["serverkey"]).then_some(())
    })
    .await;
    std::fs::write(a.home().join("external_platform_discovery.json"), "{\"right\": ").unwrap();
    eventually_async("the broken file is told", PATIENCE, async || {
        let told = client.get("/vui/introductions").await.expect(200).json();
        told["problems"].as_array()?.first()?.as_str()?.contains("external_platform_discovery.json").then_some(())
    })
    .await;
}
