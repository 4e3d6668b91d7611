//! The historian on the bench, with real SQLite files.

use std::path::Path;

use serde_json::json;
use vt_agent::bench::TestBench;
use vt_types::{Headers, RpcError, timestamp};

use super::*;

const TEMPERATURE: &str = "fake-campus/fake-building/fake-device/temperature";
const ALL: &str = "devices/fake-campus/fake-building/fake-device/all";

fn started(home: &Path, settings: Value) -> (TestBench, AgentContext) {
    let mut bench = TestBench::new("platform.historian", home);
    let context = bench.start(build(settings).unwrap());
    (bench, context)
}

async fn ready(bench: &TestBench) {
    bench.call_until("get_topic_list", vec![], |_| true).await;
}

fn at(time: &str) -> Headers {
    Headers::new().with("TimeStamp", time).with("Date", time)
}

/// What the fake device of VOLTTRON publishes.
fn publish(bench: &TestBench, time: &str, temperature: f64) {
    let meta = json!({"units": "F", "type": "integer", "tz": "US/Pacific"});
    bench.publish(ALL, at(time), json!([{"temperature": temperature, "PowerState": 0}, {"temperature": meta, "PowerState": meta}]));
}

/// The answer to a query once it has `count` rows.
async fn rows(bench: &TestBench, args: Vec<Value>, count: usize) -> Value {
    bench.call_until("query", args, |answer| answer["values"].as_array().is_some_and(|rows| rows.len() == count)).await
}

fn asking(topic: &str, more: &Value) -> Vec<Value> {
    let names = ["start", "end", "agg_type", "agg_period", "skip", "count", "order"];
    let defaults = json!({"skip": 0, "order": "FIRST_TO_LAST"});
    let mut args = vec![json!(topic)];
    args.extend(names.map(|name| more.get(name).or(defaults.get(name)).cloned().unwrap_or_default()));
    args
}

#[tokio::test]
async fn item_55_the_newest_value_of_a_published_device_is_answered_with_metadata() {
    let home = tempfile::tempdir().unwrap();
    let (bench, _) = started(home.path(), json!({}));
    ready(&bench).await;
    publish(&bench, "2026-01-01T00:00:00.000000+00:00", 50.0);
    let answer = rows(&bench, asking(TEMPERATURE, &json!({"count": 1})), 1).await;
    let wanted = json!({
        "values": [["2026-01-01T00:00:00.000000+00:00", 50.0]],
        "metadata": {"units": "F", "type": "integer", "tz": "US/Pacific"}
    });
    assert_eq!(answer, wanted);
}

#[tokio::test]
async fn a_question_right_after_the_start_waits_for_the_store() {
    let home = tempfile::tempdir().unwrap();
    let (bench, _) = started(home.path(), json!({}));
    bench.call_until("get_version", vec![], |_| true).await;
    assert_eq!(bench.call("get_topic_list", vec![]).await, Ok(json!([])));
    // A store that cannot be set up says so instead.
    let elsewhere = tempfile::tempdir().unwrap();
    let settings = json!({"connection": {"type": "sqlite", "params": {"database": elsewhere.path()}}});
    let (bench, _) = started(home.path(), settings);
    bench.call_until("get_version", vec![], |_| true).await;
    assert!(matches!(bench.call("get_topic_list", vec![]).await, Err(RpcError::Remote(error)) if error.message.contains("not ready")));
}

#[tokio::test]
async fn items_56_57_58_case_lists_and_unknown_topics() {
    let home = tempfile::tempdir().unwrap();
    let (bench, _) = started(home.path(), json!({}));
    ready(&bench).await;
    publish(&bench, "2026-01-01T00:00:00", 50.0);
    let lower = rows(&bench, asking(TEMPERATURE, &json!({})), 1).await;
    assert_eq!(bench.call("query", asking(&TEMPERATURE.to_uppercase(), &json!({}))).await.unwrap(), lower);
    let power = "fake-campus/fake-building/fake-device/PowerState";
    let both = bench.call("query", vec![json!([TEMPERATURE, power])]).await.unwrap();
    let wanted = json!({
        "values": {TEMPERATURE: [["2026-01-01T00:00:00.000000+00:00", 50.0]], power: [["2026-01-01T00:00:00.000000+00:00", 0]]},
        "metadata": {}
    });
    assert_eq!(both, wanted);
    assert_eq!(bench.call("query", vec![json!("no/such/topic")]).await.unwrap(), json!({}));
}

#[tokio::test]
async fn items_59_60_spans_and_order() {
    let home = tempfile::tempdir().unwrap();
    let (bench, _) = started(home.path(), json!({}));
    ready(&bench).await;
    for second in 0..5 {
        publish(&bench, &format!("2026-01-01T00:00:0{second}"), f64::from(second));
    }
    rows(&bench, asking(TEMPERATURE, &json!({})), 5).await;
    let values = async |more: Value| -> Vec<f64> {
        let answer = bench.call("query", asking(TEMPERATURE, &more)).await.unwrap();
        answer["values"].as_array().unwrap().iter().map(|row| row[1].as_f64().unwrap()).collect()
    };
    assert_eq!(values(json!({"start": "2026-01-01T00:00:01", "end": "2026-01-01T00:00:03Z"})).await, [1.0, 2.0]);
    assert_eq!(values(json!({"start": "2026-01-01T00:00:03", "end": "2026-01-01T00:00:03"})).await, [3.0]);
    assert_eq!(values(json!({"order": "LAST_TO_FIRST", "count": 1})).await, [4.0]);
    assert_eq!(values(json!({"start": "now -365000d", "skip": 3})).await, [3.0, 4.0]);
}

#[tokio::test]
async fn item_61_query_without_topic_raises_volttrons_text_and_bad_parameters_are_named() {
    let home = tempfile::tempdir().unwrap();
    let (bench, _) = started(home.path(), json!({}));
    ready(&bench).await;
    let Err(RpcError::Remote(error)) = bench.call("query", vec![]).await else { panic!("refused") };
    assert_eq!((error.exc_type.as_str(), error.message.as_str()), ("builtins.TypeError", "\"Topic\" required"));
    let error = bench.call("query", asking("a", &json!({"start": "yesterday"}))).await.unwrap_err().to_string();
    assert!(error.starts_with("start: "), "{error}");
    let error = bench.call("get_topics_by_pattern", vec![json!("(")]).await.unwrap_err().to_string();
    assert!(error.starts_with("topic_pattern: "), "{error}");
}

#[tokio::test]
async fn item_62_the_same_topic_and_time_twice_leaves_the_later_value() {
    let home = tempfile::tempdir().unwrap();
    let (bench, _) = started(home.path(), json!({}));
    ready(&bench).await;
    publish(&bench, "2026-01-01T00:00:00", 50.0);
    publish(&bench, "2026-01-01T00:00:00", 51.0);
    let last = |answer: &Value| answer["values"] == json!([["2026-01-01T00:00:00.000000+00:00", 51.0]]);
    bench.call_until("query", asking(TEMPERATURE, &json!({})), last).await;
}

/// Waits until the historian's status has the word and all fields of `context`.
async fn status(bench: &TestBench, word: &str, context: &Value) -> Value {
    let wanted = context.as_object().unwrap();
    bench
        .call_until("health.get_status", vec![], |status| {
            status["status"] == word && wanted.iter().all(|(name, value)| status["context"].get(name) == Some(value))
        })
        .await
}

#[tokio::test]
async fn item_63_a_failing_database_makes_health_bad_with_an_alert_and_its_return_drains_the_cache() {
    let home = tempfile::tempdir().unwrap();
    let mut bench = TestBench::new("platform.historian", home.path());
    bench.subscribe("alerts/");
    let settings = json!({"connection": {"type": "sqlite", "params": {"database": "absent/history.sqlite"}}});
    bench.start(build(settings).unwrap());
    status(&bench, "BAD", &json!({"publishing": false})).await;
    let alert = bench.next_on("alerts/").await;
    assert_eq!(alert.headers.text("alert_key"), Some("historian_not_publishing"));
    publish(&bench, "2026-01-01T00:00:00", 50.0);
    status(&bench, "BAD", &json!({"publishing": false, "backlogged": true, "cache_count": 2})).await;
    std::fs::create_dir(home.path().join("absent")).unwrap();
    status(&bench, "GOOD", &json!({"publishing": true, "backlogged": false, "cache_count": 0, "publications_lost": 0})).await;
    rows(&bench, asking(TEMPERATURE, &json!({})), 1).await;
    bench.stop().await.unwrap();
    let cache = vt_historians::cache::Cache::open(&home.path().join("backup.sqlite")).await.unwrap();
    assert_eq!(cache.count(), 0);
}

#[tokio::test]
async fn times_out_of_tolerance_are_told_as_an_alert_and_kept_aside() {
    let home = tempfile::tempdir().unwrap();
    let mut bench = TestBench::new("platform.historian", home.path());
    bench.subscribe("alerts/");
    bench.start(build(json!({"time_tolerance": 5})).unwrap());
    ready(&bench).await;
    publish(&bench, "2020-01-01T00:00:00", 50.0);
    let alert = bench.next_on("alerts/").await;
    let key = "Historian received records with invalid timestamp. Please check records in time_error table.";
    assert_eq!(alert.headers.text("alert_key"), Some(key));
    status(&bench, "BAD", &json!({"records_with_invalid_timestamp": true, "publishing": true})).await;
    assert_eq!(bench.call("query", vec![json!(TEMPERATURE)]).await.unwrap(), json!({}));
}

#[tokio::test]
async fn a_full_cache_is_told_as_an_alert() {
    let home = tempfile::tempdir().unwrap();
    let mut bench = TestBench::new("platform.historian", home.path());
    bench.subscribe("alerts/");
    let settings = json!({"cache_only_enabled": true, "backup_storage_limit_gb": 0.0001, "backup_storage_report": 0.5});
    bench.start(build(settings).unwrap());
    status(&bench, "BAD", &json!({"cache_only_enabled": true, "publishing": false, "cache_full": false})).await;
    for minute in 0..60 {
        for second in 0..60 {
            publish(&bench, &format!("2026-01-01T00:{minute:02}:{second:02}"), 50.0);
        }
    }
    let alert = bench.next_on("alerts/").await;
    assert_eq!(alert.headers.text("alert_key"), Some("historian_cache_full"), "caching alone is no reason for an alert");
    status(&bench, "BAD", &json!({"cache_full": true})).await;
}

#[tokio::test]
async fn a_size_that_cannot_be_kept_and_a_writer_that_is_blocked_are_told_as_alerts_and_clear() {
    let home = tempfile::tempdir().unwrap();
    let (mut bench, context) = started(home.path(), json!({"readonly": true}));
    bench.call_until("health.get_status", vec![], |status| status["status"] == "GOOD").await;
    bench.subscribe("alerts/");
    let config = HistorianConfig::parse(&Map::new()).unwrap();
    let cache = vt_historians::cache::Cache::open(&home.path().join("other.sqlite")).await.unwrap();
    let store: Arc<dyn HistoryStore> = Arc::new(vt_historians::fake::FakeHistory::new());
    let mut ingest = vt_historians::ingest::Ingest::new(store, cache, &config);
    let submitted = ingest.begin().await.unwrap().run().await;
    ingest.finish(submitted, std::time::Instant::now()).await.unwrap();
    let mut report = pipeline::Report::new(context.clone(), &config);
    for failed in [true, true, false, true] {
        ingest.set_size_error(failed);
        report.tell(&ingest);
        assert_eq!(context.status().word, if failed { StatusWord::Bad } else { StatusWord::Good });
        assert_eq!(context.status().context["error_managing_db_size"], json!(failed));
    }
    ingest.set_size_error(false);
    report.tell(&ingest);
    for _ in 0..2 {
        report.blocked(ingest.health());
        assert_eq!((context.status().word, &context.status().context["publishing"]), (StatusWord::Bad, &json!(false)));
    }
    report.tell(&ingest);
    assert_eq!(context.status().word, StatusWord::Good);
    let alerts: Vec<_> = bench.drain().iter().map(|alert| alert.headers.text("alert_key").unwrap_or_default().to_owned()).collect();
    assert_eq!(alerts, ["error_managing_db_size", "error_managing_db_size", "process_loop_failed"], "each time it begins");
}

#[tokio::test]
async fn item_64_records_cached_before_a_crash_are_stored_after_restart() {
    let home = tempfile::tempdir().unwrap();
    let settings = json!({"connection": {"type": "sqlite", "params": {"database": "absent/history.sqlite"}}});
    {
        let (bench, _) = started(home.path(), settings.clone());
        status(&bench, "BAD", &json!({"publishing": false})).await;
        publish(&bench, "2026-01-01T00:00:00", 50.0);
        status(&bench, "BAD", &json!({"cache_count": 2})).await;
        // Dropped without a stop, as in a crash.
    }
    std::fs::create_dir(home.path().join("absent")).unwrap();
    let (bench, _) = started(home.path(), settings);
    rows(&bench, asking(TEMPERATURE, &json!({})), 1).await;
}

#[tokio::test]
async fn item_65_history_limit_days_removes_what_is_older_than_the_newest_record() {
    let home = tempfile::tempdir().unwrap();
    let (mut bench, _) = started(home.path(), json!({}));
    ready(&bench).await;
    for time in ["2026-01-01T00:00:00", "2026-01-01T00:00:10", "2026-01-02T00:00:10"] {
        publish(&bench, time, 50.0);
    }
    rows(&bench, asking(TEMPERATURE, &json!({})), 3).await;
    bench.stop().await.unwrap();
    let (bench, _) = started(home.path(), json!({"history_limit_days": 1}));
    let answer = rows(&bench, asking(TEMPERATURE, &json!({})), 2).await;
    assert_eq!(answer["values"][0][0], "2026-01-01T00:00:10.000000+00:00");
}

#[tokio::test]
async fn item_66_logs_need_units_and_records_are_stored_whole() {
    let home = tempfile::tempdir().unwrap();
    let (bench, _) = started(home.path(), json!({}));
    ready(&bench).await;
    let log = json!({"with": {"Readings": ["2026-01-01T00:00:00", 5], "Units": "F"}, "without": {"Readings": 5}});
    bench.publish("datalogger/log", Headers::new(), log);
    bench.publish("record/a/b", at("2026-01-01T00:00:00"), json!({"any": [1, null]}));
    bench.call_until("get_topic_list", vec![], |topics| *topics == json!(["datalogger/log/with", "record/a/b"])).await;
    // A topic is known a moment before its first value can be asked for.
    let answer = bench.call_until("query", vec![json!("record/a/b")], |answer| answer["values"].is_array()).await;
    assert_eq!(answer["values"], json!([["2026-01-01T00:00:00.000000+00:00", {"any": [1, null]}]]));
    let metadata = bench.call("get_topics_metadata", vec![json!(["datalogger/log/with", "none"])]).await.unwrap();
    assert_eq!(metadata, json!({"datalogger/log/with": {"units": "F", "type": "float"}, "none": {}}));
    assert_eq!(bench.call("get_topics_by_pattern", vec![json!("^DATA.*")]).await.unwrap(), json!({"datalogger/log/with": 1}));
    assert_eq!(bench.call("get_aggregate_topics", vec![]).await.unwrap(), json!([]));
    assert_eq!(bench.call("get_version", vec![]).await.unwrap(), json!("4.0.0"));
}

#[tokio::test]
async fn item_70_the_file_lies_in_the_data_directory_under_its_usual_name() {
    let home = tempfile::tempdir().unwrap();
    let (mut bench, _) = started(home.path(), json!({}));
    ready(&bench).await;
    publish(&bench, "2026-01-01T00:00:00", 50.0);
    rows(&bench, asking(TEMPERATURE, &json!({})), 1).await;
    bench.stop().await.unwrap();
    let bytes = std::fs::read(home.path().join("platform.historian.sqlite")).unwrap();
    assert!(bytes.starts_with(b"SQLite format 3\0"));
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains(r#"VIEW "data"(ts, topic_id, value_string)"#));
    assert!(text.contains(r#"TABLE "topics"(topic_id INTEGER PRIMARY KEY, topic_name TEXT NOT NULL, metadata TEXT"#));
}

#[tokio::test]
async fn insert_stores_before_it_answers() {
    let home = tempfile::tempdir().unwrap();
    let (bench, _) = started(home.path(), json!({}));
    ready(&bench).await;
    let record = json!({"topic": ALL, "headers": {"TimeStamp": "2026-01-01T00:00:00"}, "message": [{"temperature": 5.5}, {}]});
    assert_eq!(bench.call("insert", vec![json!([record])]).await.unwrap(), Value::Null);
    assert_eq!(bench.call("query", asking(TEMPERATURE, &json!({}))).await.unwrap()["values"][0][1], json!(5.5));
    let error = bench.call("insert", vec![json!([{"topic": "x/y", "message": 1}])]).await.unwrap_err().to_string();
    assert!(error.starts_with("records[0]: "), "{error}");
}

#[tokio::test]
async fn a_chart_gets_few_stretches_with_their_extremes() {
    let home = tempfile::tempdir().unwrap();
    let (bench, _) = started(home.path(), json!({}));
    ready(&bench).await;
    for minute in 0..60 {
        publish(&bench, &format!("2026-01-01T00:{minute:02}:00"), f64::from(minute));
    }
    rows(&bench, asking(TEMPERATURE, &json!({})), 60).await;
    let span = [json!("2026-01-01T00:00:00"), json!("2026-01-01T01:00:00")];
    let answer = bench.call("query_downsampled", vec![json!(TEMPERATURE), span[0].clone(), span[1].clone(), json!(6)]).await.unwrap();
    assert_eq!(answer["min"], json!([0.0, 10.0, 20.0, 30.0, 40.0, 50.0]));
    assert_eq!(answer["max"], json!([9.0, 19.0, 29.0, 39.0, 49.0, 59.0]));
    assert_eq!(answer["mean"][0], json!(4.5));
    let start = timestamp::parse("2026-01-01T00:00:00").unwrap().assume_utc().timestamp_millis();
    assert_eq!((answer["times_ms"][1].as_i64().unwrap(), &answer["metadata"]["units"]), (start + 600_000, &json!("F")));
}

#[tokio::test]
async fn a_readonly_historian_answers_and_stores_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (mut bench, _) = started(home.path(), json!({}));
    ready(&bench).await;
    publish(&bench, "2026-01-01T00:00:00", 50.0);
    rows(&bench, asking(TEMPERATURE, &json!({})), 1).await;
    bench.stop().await.unwrap();
    let (mut bench, _) = started(home.path(), json!({"readonly": true}));
    rows(&bench, asking(TEMPERATURE, &json!({})), 1).await;
    assert_eq!(bench.publish(ALL, Headers::new(), json!([{"temperature": 1}, {}])), 0);
    let error = bench.call("insert", vec![json!([])]).await.unwrap_err().to_string();
    assert_eq!(error, "Insert not supported by this historian.");
    bench.stop().await.unwrap();
}

#[tokio::test]
async fn a_changed_entry_takes_effect_and_a_broken_one_does_not() {
    let home = tempfile::tempdir().unwrap();
    let (mut bench, _) = started(home.path(), json!({}));
    ready(&bench).await;
    bench.set_config("config", json!({"capture-record-data": "maybe"})).await;
    bench.publish("record/a", Headers::new(), json!(1));
    bench.call_until("get_topic_list", vec![], |topics| *topics == json!(["record/a"])).await;
    bench.set_config("config", json!({"capture-record-data": false})).await;
    let wanted = bench.peer.clone();
    let end = tokio::time::Instant::now() + vt_agent::bench::DEADLINE;
    while wanted.publish(&vt_types::Topic::parse("record/b").unwrap(), Headers::new(), Arc::new(json!(1))).unwrap() > 0 {
        assert!(tokio::time::Instant::now() < end, "the subscription ends");
        tokio::task::yield_now().await;
    }
    publish(&bench, "2026-01-01T00:00:00", 50.0);
    rows(&bench, asking(TEMPERATURE, &json!({})), 1).await;
    bench.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_delivered_before_a_stop_is_stored() {
    let home = tempfile::tempdir().unwrap();
    let (mut bench, _) = started(home.path(), json!({}));
    ready(&bench).await;
    for second in 10..60 {
        publish(&bench, &format!("2026-01-01T00:00:{second}"), 50.0);
    }
    bench.stop().await.unwrap();
    let (bench, _) = started(home.path(), json!({}));
    rows(&bench, asking(TEMPERATURE, &json!({})), 50).await;
}

#[test]
fn a_wrong_setting_is_refused_at_installation() {
    let Err(error) = build(json!({"connection": {"type": "oracle"}})) else { panic!("refused") };
    assert!(error.to_string().contains("connection.type"), "{error}");
}
