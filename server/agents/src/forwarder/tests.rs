//! The forwarder on the bench, with real outbox files and another platform in memory.

use std::path::Path;

use serde_json::json;
use vt_agent::{AgentContext, bench::TestBench};
use vt_backends::remote_bus::fake::FakePlatform;
use vt_types::{Headers, PublicKey, RpcError, StatusWord};

use super::*;

const ALL: &str = "devices/campus/building/unit/all";

fn started(home: &Path, platform: &FakePlatform, more: &Value) -> (TestBench, AgentContext) {
    let mut settings = json!({"destination-vip": "tcp://127.0.0.1:1", "retry_period": 0.02});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut bench = TestBench::new("forward.historian", home);
    let context = bench.start(build(Arc::new(platform.clone()), settings).unwrap());
    (bench, context)
}

async fn statistics(bench: &TestBench, wanted: impl Fn(&Value) -> bool) -> Value {
    bench.call_until("statistics", vec![], wanted).await
}

/// Running, subscribed and connected, or in the state it is to be in.
async fn in_state(bench: &TestBench, state: &str) {
    statistics(bench, |figures| figures["state"] == state).await;
    while bench.bus.peer_infos().iter().all(|peer| peer.identity.as_str() != "forward.historian" || peer.subscriptions.is_empty()) {
        tokio::task::yield_now().await;
    }
}

fn publish(bench: &TestBench, n: u32) {
    let time = format!("2026-01-01T00:{:02}:{:02}", n / 60, n % 60);
    let headers = Headers::new().with("Date", time.as_str()).with("TimeStamp", time);
    assert_eq!(bench.publish(ALL, headers, json!([{"n": n}, {"n": {"units": "F"}}])), 1);
}

fn numbers(platform: &FakePlatform) -> Vec<u64> {
    platform.published().iter().map(|message| message.message[0]["n"].as_u64().unwrap()).collect()
}

fn key() -> PublicKey {
    PublicKey::parse("xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM").unwrap()
}

#[tokio::test]
async fn item_67_messages_arrive_whole_with_the_way_they_took() {
    let (home, platform) = (tempfile::tempdir().unwrap(), FakePlatform::new());
    let (mut bench, _) = started(home.path(), &platform, &json!({"destination-serverkey": key().to_string(), "gather_timing_data": true}));
    in_state(&bench, "publishing").await;
    let headers = Headers::new().with("Date", "2026-01-01T00:00:00").with("TimeStamp", "2026-01-01T00:00:01").with("Origin", "x");
    bench.publish(ALL, headers, json!([{"T": 1}, {}]));
    bench.publish("record/x", Headers::new().with("X-Forwarded-From", "first"), json!({"any": null}));
    statistics(&bench, |figures| figures["sent"] == 2).await;
    let arrived = platform.published();
    assert_eq!((arrived[0].topic.as_str(), &arrived[0].message), (ALL, &json!([{"T": 1}, {}])));
    let mut headers = arrived[0].headers.clone();
    let timing = headers.remove("timing_data").unwrap();
    assert!(timing["forward.historian"]["collected"].is_string() && timing["forward.historian"]["forwarded"].is_string(), "{timing}");
    let wanted =
        json!({"Date": "2026-01-01T00:00:00", "TimeStamp": "2026-01-01T00:00:01", "X-Forwarded": true, "X-Forwarded-From": "bench"});
    assert_eq!(Value::Object(headers), wanted);
    assert_eq!((arrived[1].topic.as_str(), &arrived[1].headers["X-Forwarded-From"]), ("record/x", &json!(["first", "bench"])));
    let link = platform.opened()[0].clone();
    assert_eq!(
        (link.agent.as_str(), link.identity.as_str(), link.server_key),
        ("forward.historian", "bench.forward.historian", Some(key()))
    );
    bench.stop().await.unwrap();
}

#[tokio::test]
async fn item_63_a_lost_link_makes_health_bad_with_an_alert_and_its_return_drains_the_outbox_in_order() {
    let (home, platform) = (tempfile::tempdir().unwrap(), FakePlatform::new());
    platform.lose(LinkError::NotApproved(key()));
    let (mut bench, context) = started(home.path(), &platform, &json!({"submit_size_limit": 7}));
    bench.subscribe("alerts/");
    in_state(&bench, "not connected").await;
    for n in 0..50 {
        publish(&bench, n);
    }
    let figures = statistics(&bench, |figures| figures["backlog"] == 50).await;
    assert!(figures["reason"].as_str().unwrap().contains(&key().to_string()), "{figures}");
    assert_eq!((&figures["lost"], &figures["sent"], &figures["publishing"]), (&json!(0), &json!(0), &json!(false)));
    statistics(&bench, |figures| figures["lag_s"].as_f64() > Some(0.0)).await;
    assert_eq!((context.status().word, &context.status().context["state"]), (StatusWord::Bad, &json!("not connected")));
    platform.restore();
    let figures = statistics(&bench, |figures| figures["backlog"] == 0).await;
    assert_eq!((&figures["sent"], &figures["lag_s"]), (&json!(50), &json!(0.0)));
    assert_eq!(numbers(&platform), (0..50).collect::<Vec<_>>());
    assert_eq!(context.status().word, StatusWord::Good);
    platform.lose(LinkError::Unreachable("gone".to_owned()));
    let alert = bench.next_on("alerts/").await;
    assert_eq!(alert.headers.text("alert_key"), Some("FORWARD_TIMEOUT_KEY"));
    bench.stop().await.unwrap();
}

#[tokio::test]
async fn item_64_what_was_taken_before_a_crash_is_sent_after_it() {
    let (home, platform) = (tempfile::tempdir().unwrap(), FakePlatform::new());
    platform.lose(LinkError::Unreachable("gone".to_owned()));
    {
        let (bench, _) = started(home.path(), &platform, &json!({}));
        in_state(&bench, "not connected").await;
        (0..5).for_each(|n| publish(&bench, n));
        statistics(&bench, |figures| figures["backlog"] == 5).await;
        // Dropped without a stop, as in a crash.
    }
    platform.restore();
    let (bench, _) = started(home.path(), &platform, &json!({}));
    statistics(&bench, |figures| figures["sent"] == 5).await;
    assert_eq!(numbers(&platform), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn what_a_platform_took_just_before_it_ended_goes_to_its_next_run_once_more() {
    let (home, platform) = (tempfile::tempdir().unwrap(), FakePlatform::new());
    let (bench, _) = started(home.path(), &platform, &json!({}));
    in_state(&bench, "publishing").await;
    (0..3).for_each(|n| publish(&bench, n));
    statistics(&bench, |figures| figures["sent"] == 3).await;
    assert_eq!(platform.restart().len(), 3);
    statistics(&bench, |figures| figures["backlog"] == 0 && figures["sent"] == 3 && numbers(&platform).len() == 3).await;
    // The same run again, after a lost connection: nothing goes twice.
    platform.lose(LinkError::Unreachable("gone".to_owned()));
    publish(&bench, 3);
    statistics(&bench, |figures| figures["backlog"] == 1).await;
    platform.restore();
    statistics(&bench, |figures| figures["backlog"] == 0).await;
    assert_eq!(numbers(&platform), [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_silent_platform_is_given_up_and_gets_the_batch_again() {
    let (home, platform) = (tempfile::tempdir().unwrap(), FakePlatform::new());
    let (bench, context) = started(home.path(), &platform, &json!({}));
    in_state(&bench, "publishing").await;
    platform.set_silent(true);
    publish(&bench, 0);
    statistics(&bench, |figures| figures["state"] == "not taken" && platform.reconnects() >= 2).await;
    assert_eq!(context.status().word, StatusWord::Bad);
    platform.set_silent(false);
    let figures = statistics(&bench, |figures| figures["state"] == "publishing").await;
    assert_eq!((&figures["backlog"], &figures["sent"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn a_refused_topic_is_kept_and_told_while_others_go_on() {
    let (home, platform) = (tempfile::tempdir().unwrap(), FakePlatform::new());
    platform.refuse("record", "needs can_publish");
    let (bench, context) = started(home.path(), &platform, &json!({}));
    in_state(&bench, "publishing").await;
    bench.publish("record/x", Headers::new(), json!(1));
    (0..3).for_each(|n| publish(&bench, n));
    let figures = statistics(&bench, |figures| figures["sent"] == 3 && figures["refused"] == 1).await;
    assert_eq!((&figures["backlog"], &figures["state"], &figures["lost"]), (&json!(1), &json!("publishing"), &json!(0)));
    assert!(figures["reason"].as_str().unwrap().contains("the other platform refuses: needs can_publish"), "{figures}");
    assert_eq!(context.status().word, StatusWord::Bad);
    platform.allow();
    statistics(&bench, |figures| figures["backlog"] == 0 && figures["refused"] == 0).await;
    assert_eq!(platform.published().iter().filter(|message| message.topic.as_str() == "record/x").count(), 1);
    assert_eq!(context.status().word, StatusWord::Good);
}

#[tokio::test]
async fn more_refused_messages_than_a_batch_holds_are_in_nobodys_way_and_survive_a_crash() {
    let (home, platform) = (tempfile::tempdir().unwrap(), FakePlatform::new());
    platform.refuse("record", "needs can_publish");
    let settings = json!({"submit_size_limit": 10, "retry_period": 3600});
    {
        let (bench, _) = started(home.path(), &platform, &settings);
        in_state(&bench, "publishing").await;
        for n in 0..35 {
            bench.publish("record/x", Headers::new(), json!(n));
        }
        (0..3).for_each(|n| publish(&bench, n));
        let figures = statistics(&bench, |figures| figures["sent"] == 3 && figures["refused"] == 35).await;
        assert_eq!((&figures["backlog"], &figures["lost"]), (&json!(35), &json!(0)));
    }
    // Whoever starts anew tries again at once.
    platform.allow();
    let (bench, _) = started(home.path(), &platform, &settings);
    // Those that were held when it crashed go once more.
    statistics(&bench, |figures| figures["sent"].as_u64() >= Some(35) && figures["backlog"] == 0).await;
    let records: Vec<_> =
        platform.published().iter().filter(|message| message.topic.as_str() == "record/x").map(|it| it.message.clone()).collect();
    assert_eq!(records, (0..35).map(|n| json!(n)).collect::<Vec<_>>(), "in their order");
}

#[tokio::test]
async fn a_platform_is_found_by_its_web_address_and_told_to_be_missing_while_it_is() {
    let (home, platform) = (tempfile::tempdir().unwrap(), FakePlatform::new());
    let web = json!({"destination-vip": "", "destination-address": "https://other:8443"});
    let (bench, _) = started(home.path(), &platform, &web);
    in_state(&bench, "not connected").await;
    let figures = statistics(&bench, |figures| figures["reason"].is_string()).await;
    assert!(figures["reason"].as_str().unwrap().contains("was not found at https://other:8443"), "{figures}");
    publish(&bench, 0);
    statistics(&bench, |figures| figures["backlog"] == 1).await;
    let found = vt_backends::Platform { name: "p2".to_owned(), address: "tcp://10.0.0.7:22916".to_owned(), server_key: key() };
    platform.found_at("https://other:8443", found);
    statistics(&bench, |figures| figures["sent"] == 1).await;
    let link = platform.opened()[0].clone();
    assert_eq!((link.address.as_str(), link.server_key), ("tcp://10.0.0.7:22916", Some(key())));
}

#[tokio::test]
async fn nothing_is_sent_until_required_targets_are_there_and_have_started() {
    let (home, platform) = (tempfile::tempdir().unwrap(), FakePlatform::new());
    let historian = Identity::known("platform.historian");
    let (bench, _) = started(home.path(), &platform, &json!({"required_target_agents": ["platform.historian"]}));
    in_state(&bench, "publishing").await;
    publish(&bench, 0);
    let figures = statistics(&bench, |figures| figures["state"] == "not taken").await;
    assert!(figures["reason"].as_str().unwrap().contains("platform.historian"), "{figures}");
    platform.add_peer(historian.clone(), |_| Ok(json!({"status": "STARTING"})));
    statistics(&bench, |figures| figures["reason"].as_str().is_some_and(|reason| reason.contains("still starting"))).await;
    assert!(platform.published().is_empty());
    platform.add_peer(historian, |_| Err(RpcError::MethodNotFound("health.get_status".to_owned())));
    statistics(&bench, |figures| figures["sent"] == 1).await;
}

#[tokio::test]
async fn beyond_its_bound_the_outbox_loses_the_oldest_counted_and_with_an_alert() {
    let (home, platform) = (tempfile::tempdir().unwrap(), FakePlatform::new());
    let settings = json!({"cache_only": true, "backup_storage_limit_gb": 0.0002, "backup_storage_report": 0.5});
    let (mut bench, context) = started(home.path(), &platform, &settings);
    bench.subscribe("alerts/");
    in_state(&bench, "cache only").await;
    for n in 0..3000 {
        publish(&bench, n);
    }
    let figures = statistics(&bench, |figures| figures["lost"].as_u64() > Some(0) && taken(figures) == 3000).await;
    assert_eq!((&figures["lost"], &figures["cache_full"]), (&figures["lost_outbox_full"], &json!(true)));
    assert_eq!(bench.next_on("alerts/").await.headers.text("alert_key"), Some("historian_cache_full"));
    assert_eq!(context.status().word, StatusWord::Bad);
    assert!(platform.published().is_empty());
    bench.set_config("config", json!({"cache-only": false})).await;
    let figures = statistics(&bench, |figures| figures["backlog"] == 0).await;
    assert_eq!(taken(&figures), 3000, "what was lost stays counted: {figures}");
    assert_eq!(numbers(&platform).last(), Some(&2999));
}

/// Waiting, sent and lost.
fn taken(figures: &Value) -> u64 {
    ["backlog", "sent", "lost"].iter().map(|name| figures[name].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn an_outbox_that_cannot_be_opened_is_told_and_loses_nothing_meanwhile() {
    let (home, platform) = (tempfile::tempdir().unwrap(), FakePlatform::new());
    let blocked = home.path().join("backup.sqlite");
    std::fs::create_dir(&blocked).unwrap();
    let (mut bench, context) = started(home.path(), &platform, &json!({}));
    bench.subscribe("alerts/");
    in_state(&bench, "outbox failed").await;
    (0..4).for_each(|n| publish(&bench, n));
    assert_eq!(context.status().word, StatusWord::Bad);
    std::fs::remove_dir(&blocked).unwrap();
    statistics(&bench, |figures| figures["sent"] == 4).await;
    assert_eq!(numbers(&platform), [0, 1, 2, 3]);
    bench.stop().await.unwrap();
}

#[tokio::test]
async fn without_a_destination_nothing_is_taken_and_inserts_are_refused_as_volttron_does() {
    let (home, platform) = (tempfile::tempdir().unwrap(), FakePlatform::new());
    let (bench, _) = started(home.path(), &platform, &json!({"destination-vip": ""}));
    let figures = statistics(&bench, |figures| figures["state"] == "not configured").await;
    assert!(figures["reason"].as_str().unwrap().contains("destination-vip"), "{figures}");
    assert_eq!(bench.publish(ALL, Headers::new(), json!([{"n": 1}, {}])), 0);
    let error = bench.call("insert", vec![json!([])]).await.unwrap_err().to_string();
    assert_eq!(error, "Insert not supported by this historian.");
    bench.set_config("config", json!({"destination_vip": "tcp://127.0.0.1:1"})).await;
    in_state(&bench, "publishing").await;
    publish(&bench, 0);
    statistics(&bench, |figures| figures["sent"] == 1).await;
}

#[tokio::test]
async fn what_was_delivered_before_a_stop_is_in_the_outbox() {
    let (home, platform) = (tempfile::tempdir().unwrap(), FakePlatform::new());
    platform.lose(LinkError::Unreachable("gone".to_owned()));
    let (mut bench, _) = started(home.path(), &platform, &json!({}));
    in_state(&bench, "not connected").await;
    (0..50).for_each(|n| publish(&bench, n));
    bench.stop().await.unwrap();
    platform.restore();
    let (bench, _) = started(home.path(), &platform, &json!({}));
    statistics(&bench, |figures| figures["sent"] == 50).await;
    assert_eq!(numbers(&platform), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_wrong_setting_is_refused_at_installation() {
    let Err(error) = build(Arc::new(FakePlatform::new()), json!({"destination-serverkey": "x", "destination-vip": "tcp://a:1"})) else {
        panic!("refused")
    };
    assert!(error.to_string().contains("destination-serverkey"), "{error}");
}
