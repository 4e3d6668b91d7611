//! The actuator on the bench, with a driver that remembers what it was asked.

use std::path::Path;

use chrono::{TimeDelta, Utc};
use serde_json::json;
use vt_agent::MethodTable;
use vt_agent::bench::TestBench;
use vt_types::timestamp::{self, Timestamp};
use vt_types::{Identity, ManualClock, Publication, RemoteError, RpcError};

use super::*;

const ID: &str = "platform.actuator";

/// A driver: `c/b/u/p` can be written, `c/b/u/bad` raises, device `c/b/gone` is unknown.
#[derive(Default)]
struct Driver {
    asked: Mutex<Vec<Value>>,
}

struct Bench {
    bench: TestBench,
    driver: Arc<Driver>,
    driver_context: AgentContext,
    clock: Arc<ManualClock>,
}

impl std::ops::Deref for Bench {
    type Target = TestBench;
    fn deref(&self) -> &TestBench {
        &self.bench
    }
}

impl std::ops::DerefMut for Bench {
    fn deref_mut(&mut self) -> &mut TestBench {
        &mut self.bench
    }
}

fn noon() -> Timestamp {
    timestamp::parse("2026-01-31T12:00:00Z").unwrap().assume_utc()
}

fn at(minutes: i64) -> String {
    timestamp::format(noon() + TimeDelta::minutes(minutes))
}

fn driver_error(point: &str) -> RpcError {
    RpcError::raised("platform_driver.interfaces.DriverInterfaceError", format!("Point not configured on device: {point}"))
}

impl Driver {
    fn answer(&self, method: &str, args: &[Value]) -> Result<Value, RpcError> {
        self.asked.lock().push(json!([method, args]));
        if args.first() == Some(&json!("c/b/gone")) {
            return Err(RpcError::key_error("c/b/gone"));
        }
        let topic = |point: &Value| format!("{}/{}", args[0].as_str().unwrap(), point.as_str().unwrap());
        match method {
            "get_point" | "set_point" | "revert_point" if args[1] == json!("bad") => Err(driver_error("bad")),
            "get_point" => Ok(json!(7)),
            "set_point" => Ok(args[2].clone()),
            "scrape_all" => Ok(json!({"p": 7})),
            "get_multiple_points" => {
                let values: Map<String, Value> = args[1].as_array().unwrap().iter().map(|point| (topic(point), json!(7))).collect();
                Ok(json!([values, {"c/b/u/odd": "an error"}]))
            }
            "set_multiple_points" => Ok(json!({topic(&args[1][0][0]): "read only"})),
            _ => Ok(Value::Null),
        }
    }
}

fn start_driver(bench: &TestBench, driver: &Arc<Driver>) -> AgentContext {
    let mut table = MethodTable::new();
    let methods = [
        "get_point",
        "set_point",
        "revert_point",
        "revert_device",
        "scrape_all",
        "get_multiple_points",
        "set_multiple_points",
        "heart_beat",
    ];
    for name in methods {
        let driver = Arc::clone(driver);
        table.method(name).rest("args").keywords("kwargs").to(move |call| {
            let args = call.value("args").as_array().unwrap().clone();
            let answer = driver.answer(name, &args);
            async move {
                if args.get(1) == Some(&json!("slow")) {
                    std::future::pending::<()>().await;
                }
                answer
            }
        });
    }
    bench.companion("platform.driver", table)
}

async fn bench_with(config: Value) -> Bench {
    let clock = Arc::new(ManualClock::new(noon()));
    let mut bench = TestBench::with_clock(ID, Path::new("."), clock.clone());
    let driver = Arc::new(Driver::default());
    let driver_context = start_driver(&bench, &driver);
    bench.start(build(config).unwrap());
    // Its methods wait until it is ready.
    bench.call("get_point", vec![json!("c/b/u/p")]).await.unwrap();
    driver.asked.lock().clear();
    Bench { bench, driver, driver_context, clock }
}

async fn bench() -> Bench {
    bench_with(json!({})).await
}

impl Bench {
    fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut *self.driver.asked.lock())
    }

    async fn schedule(&self, task: &str, priority: &str, slots: Value) -> Value {
        self.call("request_new_schedule", vec![json!(""), json!(task), json!(priority), slots]).await.unwrap()
    }

    async fn set(&self, value: i64) -> Result<Value, RpcError> {
        self.call("set_point", vec![json!("ignored"), json!("c/b/u/p"), json!(value)]).await
    }
}

fn success() -> Value {
    json!({"result": "SUCCESS", "data": {}, "info": ""})
}

fn failure(info: &str) -> Value {
    json!({"result": "FAILURE", "data": {}, "info": info})
}

fn header(publication: &Publication, name: &str) -> Value {
    publication.headers.find(name).cloned().unwrap_or_default()
}

#[tokio::test]
async fn points_are_read_and_written_through_the_driver() {
    let mut bench = bench().await;
    bench.subscribe("devices/actuators");
    assert_eq!(bench.call("get_point", vec![json!("/c/b/u/p/")]).await, Ok(json!(7)));
    assert_eq!(bench.call("get_point", vec![json!("c/b/u"), json!("p")]).await, Ok(json!(7)));
    assert_eq!(bench.call("scrape_all", vec![json!("c/b/u")]).await, Ok(json!({"p": 7})));
    assert_eq!(bench.set(0).await, Ok(json!(0)), "0 is a value");
    assert_eq!(
        bench.asked(),
        [
            json!(["get_point", ["c/b/u", "p"]]),
            json!(["get_point", ["c/b/u", "p"]]),
            json!(["scrape_all", ["c/b/u"]]),
            json!(["set_point", ["c/b/u", "p", 0]])
        ]
    );
    let write = bench.next().await;
    assert_eq!((write.topic.as_str(), &*write.message), ("devices/actuators/write/c/b/u/p", &json!(0)));
    assert_eq!(header(&write, "requesterID"), json!("test.bench"), "the peer, not the argument");
    assert_eq!(bench.next().await.topic.as_str(), "devices/actuators/value/c/b/u/p");
    bench.call("revert_point", vec![json!(""), json!("c/b/u/p")]).await.unwrap();
    assert_eq!(bench.next().await.topic.as_str(), "devices/actuators/reverted/point/c/b/u/p");
    bench.call("revert_device", vec![json!(""), json!("c/b/u")]).await.unwrap();
    assert_eq!(bench.next().await.topic.as_str(), "devices/actuators/reverted/device/c/b/u");
    let none = bench.call("get_point", vec![json!("p")]).await.unwrap_err();
    assert!(none.to_string().contains("\"p\" names no point"), "{none}");
    bench.stop().await.unwrap();
}

#[tokio::test]
async fn errors_of_the_driver_pass_unchanged() {
    let bench = bench().await;
    assert_eq!(bench.call("get_point", vec![json!("c/b/u/bad")]).await, Err(driver_error("bad")));
    assert_eq!(bench.call("set_point", vec![json!(""), json!("c/b/u/bad"), json!(1)]).await, Err(driver_error("bad")));
    bench.driver_context.close();
    let gone = bench.call("get_point", vec![json!("c/b/u/p")]).await;
    assert_eq!(gone, Err(RpcError::UnknownPeer(Identity::known("platform.driver"))));
}

#[tokio::test]
async fn several_devices_are_asked_in_one_call() {
    let bench = bench().await;
    let topics = json!(["c/b/u/p", ["c/b/v", "q"], "c/b/gone/x"]);
    let answer = bench.call("get_multiple_points", vec![topics]).await.unwrap();
    assert_eq!(answer[0], json!({"c/b/u/p": 7, "c/b/v/q": 7}));
    assert_eq!(answer[1], json!({"c/b/u/odd": "an error", "c/b/gone/x": "c/b/gone"}));
    let all_gone = bench.call("get_multiple_points", vec![json!(["c/b/gone/x"])]).await;
    assert_eq!(all_gone, Err(RpcError::key_error("c/b/gone")), "with nothing read, the error itself");

    let writes = json!([["c/b/u/p", 1], [["c/b/gone", "x"], 0]]);
    let errors = bench.call("set_multiple_points", vec![json!(""), writes]).await.unwrap();
    assert_eq!(errors, json!({"c/b/u/p": "read only", "c/b/gone/x": "c/b/gone"}));
    let odd = bench.call("get_multiple_points", vec![json!([5])]).await.unwrap_err();
    assert_eq!(odd.to_string(), "5 is neither a topic nor [device, point]");
}

#[tokio::test]
async fn a_task_id_is_taken_once() {
    let bench = bench().await;
    let slot = json!([["c/b/u", at(1), at(2)]]);
    assert_eq!(bench.schedule("t", "LOW", slot.clone()).await, success());
    assert_eq!(bench.schedule("t", "LOW", json!([["c/b/v", at(1), at(2)]])).await, failure("TASK_ID_ALREADY_EXISTS"));
    assert_eq!(bench.schedule("", "LOW", slot.clone()).await, failure("MALFORMED_REQUEST: TypeError: taskid must be a nonempty string"));
    let conflict = bench.schedule("u", "LOW", slot.clone()).await;
    let slots = json!([["c/b/u", at(1), at(2)]]);
    let expected = json!({"result": "FAILURE", "info": "CONFLICTS_WITH_EXISTING_SCHEDULES", "data": {"test.bench": {"t": slots}}});
    assert_eq!(conflict, expected);
    assert_eq!(bench.schedule("v", "LOW", json!(["c/b/u", at(2), at(3)])).await, success(), "touching slots do not conflict");
    assert_eq!(bench.schedule("w", "URGENT", slot).await, failure("INVALID_PRIORITY"));
    assert_eq!(bench.schedule("w", "LOW", json!([])).await, failure("MALFORMED_REQUEST_EMPTY"));
}

#[tokio::test]
async fn only_the_owner_of_a_running_slot_writes() {
    let bench = bench().await;
    let request = vec![json!(""), json!("t"), json!("HIGH"), json!([["c/b/u", at(0), at(10)]])];
    assert_eq!(bench.call_as("other", None, "request_new_schedule", request).await, Ok(success()));
    let lock_error = |text: &str| Err(RpcError::Remote(RemoteError::new("actuator.agent.LockError", text)));
    assert_eq!(bench.set(1).await, lock_error("caller (test.bench) does not have this lock"));
    let many = bench.call("set_multiple_points", vec![json!(""), json!([["c/b/u/p", 1], ["c/b/v/p", 1]])]).await;
    assert_eq!(many, lock_error("caller (test.bench) does not lock for device c/b/u"));
    for (method, topic) in [("revert_point", "c/b/u/p"), ("revert_device", "c/b/u")] {
        assert_eq!(bench.call(method, vec![json!(""), json!(topic)]).await, lock_error("caller does not have this lock"));
    }
    assert_eq!(bench.asked(), Vec::<Value>::new(), "the driver was not asked");
    let own = bench.call_as("other", None, "set_point", vec![json!(""), json!("c/b/u/p"), json!(2)]).await;
    assert_eq!(own, Ok(json!(2)));
    bench.clock.advance(TimeDelta::minutes(10));
    assert_eq!(bench.set(3).await, Ok(json!(3)), "after the slot the device is free");
}

#[tokio::test]
async fn without_a_slot_the_configuration_decides() {
    let bench = bench_with(json!({"allow_no_lock_write": false})).await;
    assert!(bench.set(1).await.is_err());
    bench.schedule("t", "LOW", json!([["c/b/u", at(0), at(10)]])).await;
    assert_eq!(bench.set(1).await, Ok(json!(1)));
    bench.set_config("config", json!({"allow_no_lock_write": true})).await;
    bench.clock.advance(TimeDelta::minutes(10));
    let free = bench.call_until("set_point", vec![json!(""), json!("c/b/u/p"), json!(5)], |value| *value == json!(5));
    assert_eq!(free.await, json!(5));

    bench.set_config("config", json!({"allow_no_lock_write": "maybe"})).await;
    let bad = bench.call_until("health.get_status", vec![], |status| status["status"] == json!("BAD")).await;
    assert!(bad["context"]["config"].as_str().unwrap().contains("allow_no_lock_write: must be true or false"), "{bad}");
    assert_eq!(bench.set(6).await, Ok(json!(6)), "the earlier configuration stays");
    bench.delete_config("config").await;
    bench.call_until("health.get_status", vec![], |status| status["status"] == json!("GOOD")).await;
}

#[tokio::test]
async fn a_web_user_is_a_requester_of_their_own() {
    let mut bench = bench().await;
    bench.subscribe("devices/actuators/write");
    let book = vec![json!(""), json!("t"), json!("LOW"), json!([["c/b/u", at(0), at(10)]])];
    assert_eq!(bench.call_as("platform_web", Some("ann"), "request_new_schedule", book).await, Ok(success()));
    let write = || vec![json!(""), json!("c/b/u/p"), json!(1)];
    assert_eq!(bench.call_as("platform_web", Some("ann"), "set_point", write()).await, Ok(json!(1)));
    assert_eq!(header(&*bench.next().await, "requesterID"), json!("web:ann"));
    let bob = bench.call_as("platform_web", Some("bob"), "set_point", write()).await.unwrap_err();
    assert_eq!(bob.to_string(), "caller (web:bob) does not have this lock");
    let pretender = bench.call_as("pretender", Some("ann"), "set_point", write()).await.unwrap_err();
    assert_eq!(pretender.to_string(), "caller (pretender) does not have this lock");
}

#[tokio::test]
async fn preemption_is_told_to_the_victim_who_keeps_the_device_for_the_grace_time() {
    let mut bench = bench_with(json!({"preempt_grace_time": 30})).await;
    bench.subscribe("devices/actuators/schedule/result");
    let slot = json!([["c/b/u", at(0), at(10)]]);
    bench.schedule("future", "LOW", json!([["c/b/v", at(1), at(10)]])).await;
    bench.schedule("running", "LOW_PREEMPT", slot.clone()).await;
    let both = json!([["c/b/u", at(0), at(10)], ["c/b/v", at(0), at(10)]]);
    let request = |task: &str, slots: &Value| vec![json!(""), json!(task), json!("HIGH"), slots.clone()];
    let answer = bench.call_as("boss", None, "request_new_schedule", request("high", &both)).await.unwrap();
    let victims = json!([["test.bench", "future"], ["test.bench", "running"]]);
    assert_eq!(answer, json!({"result": "SUCCESS", "data": victims, "info": "TASK_WERE_PREEMPTED"}));
    for victim in ["future", "running"] {
        let notice = bench.next().await;
        assert_eq!(header(&notice, "taskID"), json!(victim));
        assert_eq!(header(&notice, "requesterID"), json!("test.bench"));
        assert_eq!(header(&notice, "type"), json!("CANCEL_SCHEDULE"));
        assert_eq!(*notice.message, json!({"result": "PREEMPTED", "info": "", "data": {"agentID": "boss", "taskID": "high"}}));
    }
    assert_eq!(bench.set(1).await, Ok(json!(1)), "grace");
    bench.clock.advance(TimeDelta::seconds(30));
    assert!(bench.set(1).await.is_err());
    let over_high = bench.call_as("boss2", None, "request_new_schedule", request("higher", &slot)).await.unwrap();
    assert_eq!(over_high["info"], json!("CONFLICTS_WITH_EXISTING_SCHEDULES"));
}

#[tokio::test]
async fn cancelling_frees_the_device() {
    let bench = bench().await;
    bench
        .call_as("other", None, "request_new_schedule", vec![json!(""), json!("t"), json!("LOW"), json!([["c/b/u", at(0), at(10)]])])
        .await
        .unwrap();
    let cancel = |task: &str| vec![json!(""), json!(task)];
    assert_eq!(bench.call("request_cancel_schedule", cancel("x")).await, Ok(failure("TASK_ID_DOES_NOT_EXIST")));
    assert_eq!(bench.call("request_cancel_schedule", cancel("t")).await, Ok(failure("AGENT_ID_TASK_ID_MISMATCH")));
    assert_eq!(bench.call_as("other", None, "request_cancel_schedule", cancel("t")).await, Ok(success()));
    assert_eq!(bench.set(1).await, Ok(json!(1)));
}

#[tokio::test]
async fn slots_are_announced_at_their_start_and_each_interval() {
    let mut bench = bench_with(json!({"schedule_publish_interval": 30})).await;
    bench.subscribe("devices/actuators/schedule/announce");
    bench.schedule("t", "LOW", json!([["c/b/u", at(1), at(3)]])).await;
    assert!(bench.drain().is_empty(), "it has not started");
    bench.clock.advance(TimeDelta::minutes(1));
    let start = bench.next().await;
    assert_eq!(start.topic.as_str(), "devices/actuators/schedule/announce/c/b/u");
    assert_eq!((header(&start, "requesterID"), header(&start, "taskID")), (json!("test.bench"), json!("t")));
    assert_eq!((header(&start, "window"), header(&start, "time")), (json!(120.0), json!(at(1))));
    assert_eq!(*start.message, Value::Null);
    bench.clock.advance(TimeDelta::seconds(30));
    assert_eq!(header(&*bench.next().await, "window"), json!(90.0));
    bench.clock.advance(TimeDelta::seconds(-20));
    bench.clock.advance(TimeDelta::seconds(50));
    assert_eq!(header(&*bench.next().await, "window"), json!(60.0));
}

#[tokio::test]
async fn schedules_survive_a_restart() {
    let mut bench = bench().await;
    bench.schedule("t", "LOW", json!([["c/b/u", at(0), at(10)], ["c/b/u", at(20), at(30)]])).await;
    bench.schedule("soon over", "LOW", json!([["c/b/v", at(0), at(1)]])).await;
    let stored = bench.stored_config("_schedule_state").unwrap();
    assert_eq!(stored["tasks"].as_object().unwrap().len(), 2, "stored when it was answered");
    bench.stop().await.unwrap();
    bench.clock.advance(TimeDelta::minutes(5));
    bench.start(build(json!({})).unwrap());
    let other = bench.call_as("other", None, "set_point", vec![json!(""), json!("c/b/u/p"), json!(1)]).await.unwrap_err();
    assert_eq!(other.to_string(), "caller (other) does not have this lock");
    assert_eq!(bench.schedule("t", "LOW", json!([["c/b/v", at(9), at(10)]])).await, failure("TASK_ID_ALREADY_EXISTS"));
    assert_eq!(bench.schedule("soon over", "LOW", json!([["c/b/v", at(9), at(10)]])).await, success());
}

#[tokio::test]
async fn stored_schedules_that_cannot_be_read_do_not_stop_it() {
    let mut bench = TestBench::new(ID, Path::new("."));
    bench.set_config("_schedule_state", json!("gASVKAAAAAAAAAB9lC4=")).await;
    bench.start(build(json!({})).unwrap());
    let now = timestamp::format(Utc::now());
    let later = timestamp::format(Utc::now() + TimeDelta::minutes(1));
    let answer = bench.call("request_new_schedule", vec![json!(""), json!("t"), json!("LOW"), json!(["d", now, later])]).await;
    assert_eq!(answer, Ok(success()));
}

#[tokio::test]
async fn requests_over_pubsub_are_answered_there() {
    let mut bench = bench().await;
    bench.subscribe("devices/actuators/value");
    bench.subscribe("devices/actuators/write");
    bench.subscribe("devices/actuators/error");
    bench.subscribe("devices/actuators/reverted");
    bench.publish("devices/actuators/get/c/b/u/p", Headers::new().with("requesterID", "somebody"), Value::Null);
    let value = bench.next().await;
    assert_eq!((value.topic.as_str(), &*value.message), ("devices/actuators/value/c/b/u/p", &json!(7)));
    assert_eq!((header(&value, "requesterID"), header(&value, "time")), (json!("test.bench"), json!(at(0))));
    for false_like in [json!(0), json!(""), json!(false), Value::Null] {
        bench.publish("devices/actuators/set/c/b/u/p", Headers::new(), false_like.clone());
        let write = bench.next().await;
        assert_eq!((write.topic.as_str(), &*write.message), ("devices/actuators/write/c/b/u/p", &false_like));
        assert_eq!(bench.next().await.topic.as_str(), "devices/actuators/value/c/b/u/p");
    }
    bench.publish("devices/actuators/get/c/b/u/bad", Headers::new(), Value::Null);
    let error = bench.next().await;
    assert_eq!(error.topic.as_str(), "devices/actuators/error/c/b/u/bad");
    let expected = json!({"type": "platform_driver.interfaces.DriverInterfaceError", "value": "['Point not configured on device: bad']"});
    assert_eq!(*error.message, expected);
    bench.publish("devices/actuators/revert/point/c/b/u/p", Headers::new(), Value::Null);
    assert_eq!(bench.next().await.topic.as_str(), "devices/actuators/reverted/point/c/b/u/p");
    bench.publish("devices/actuators/revert/device/c/b/u", Headers::new(), Value::Null);
    assert_eq!(bench.next().await.topic.as_str(), "devices/actuators/reverted/device/c/b/u");

    bench
        .call_as("other", None, "request_new_schedule", vec![json!(""), json!("t"), json!("LOW"), json!([["c/b/u", at(0), at(10)]])])
        .await
        .unwrap();
    bench.publish("devices/actuators/set/c/b/u/p", Headers::new().with("requesterID", "other"), json!(1));
    let error = bench.next().await;
    assert_eq!(*error.message, json!({"type": "LockError", "value": "caller (test.bench) does not have this lock"}));
    assert_eq!(header(&error, "requesterID"), json!("test.bench"));
}

#[tokio::test]
async fn schedules_over_pubsub() {
    let mut bench = bench().await;
    bench.subscribe("devices/actuators/schedule/result");
    let request = |kind: &str, task: &str| Headers::new().with("type", kind).with("taskID", task).with("priority", "LOW");
    let topic = "devices/actuators/schedule/request";
    bench.publish(topic, request("NEW_SCHEDULE", "t"), json!([["c/b/u", at(0), at(10)]]));
    let result = bench.next().await;
    assert_eq!(*result.message, success());
    assert_eq!((header(&result, "type"), header(&result, "taskID")), (json!("NEW_SCHEDULE"), json!("t")));
    assert_eq!((header(&result, "requesterID"), header(&result, "time")), (json!("test.bench"), json!(at(0))));
    bench.publish(topic, request("NEW_SCHEDULE", "u"), json!("nonsense"));
    let info = bench.next().await.message["info"].clone();
    assert_eq!(info, json!("MALFORMED_REQUEST: TypeError: requests must be a list of [device, start, end]"));
    bench.publish(topic, request("CANCEL_SCHEDULE", "t"), Value::Null);
    assert_eq!(*bench.next().await.message, success());
    bench.publish(topic, request("BOOK", "t"), Value::Null);
    assert_eq!(*bench.next().await.message, failure("INVALID_REQUEST_TYPE"));
    bench.publish(topic, Headers::new().with("type", "NEW_SCHEDULE"), json!([["c/b/u", at(0), at(10)]]));
    assert_eq!(*bench.next().await.message, failure("MISSING_TASK_ID"));
}

#[tokio::test]
async fn the_driver_gets_its_heartbeat() {
    let bench = bench_with(json!({"heartbeat_interval": 0.01})).await;
    let end = Instant::now() + vt_agent::bench::DEADLINE;
    while bench.driver.asked.lock().iter().filter(|asked| asked[0] == json!("heart_beat")).count() < 2 {
        assert!(Instant::now() < end, "no heartbeat in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn parameters_are_named_as_clients_name_them() {
    let bench = bench().await;
    let inspected = bench.call("request_new_schedule.inspect", vec![]).await.unwrap();
    let names: Vec<_> = inspected["params"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["requester_id", "task_id", "priority", "requests"]);
}

#[tokio::test]
async fn slow_devices_do_not_keep_others_from_an_answer() {
    let mut bench = bench().await;
    bench.subscribe("devices/actuators/error");
    bench.subscribe("devices/actuators/schedule/result");
    for _ in 0..REQUESTS_MAX {
        bench.publish("devices/actuators/get/c/b/u/slow", Headers::new(), Value::Null);
    }
    bench.publish("devices/actuators/get/c/b/u/p", Headers::new(), Value::Null);
    let error = bench.next().await;
    assert_eq!(error.topic.as_str(), "devices/actuators/error/c/b/u/p");
    assert_eq!(*error.message, json!({"type": "RuntimeError", "value": "too many requests are under way; try again later"}));
    bench.publish("devices/actuators/schedule/request", Headers::new().with("type", "CANCEL_SCHEDULE"), Value::Null);
    assert_eq!(bench.next().await.message["result"], json!("FAILURE"));
    assert_eq!(bench.schedule("t", "LOW", json!([["c/b/u", at(0), at(10)]])).await, success(), "calls are answered");
}

#[tokio::test]
async fn a_schedule_that_cannot_be_stored_holds_and_the_status_tells() {
    let bench = bench().await;
    bench.bus.disconnect(&Identity::known("config.store"));
    assert_eq!(bench.schedule("t", "LOW", json!([["c/b/u", at(0), at(10)]])).await, success());
    let status = bench.call("health.get_status", vec![]).await.unwrap();
    assert_eq!(status["status"], json!("BAD"));
    assert!(status["context"]["schedules"].as_str().unwrap().starts_with("schedules are not stored: "), "{status}");
    assert!(bench.call_as("other", None, "set_point", vec![json!(""), json!("c/b/u/p"), json!(1)]).await.is_err());
}
