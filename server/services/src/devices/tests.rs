//! The devices service over a real bus, with agents in place of driver and actuator.

use async_trait::async_trait;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use vt_agent::{AgentContext, AgentSettings, MethodTable};
use vt_backends::{AuditRepository, RepositoryError};
use vt_bus::{Bus, Config, Mailbox, PeerKind};
use vt_types::{Clock, SystemClock};

use super::*;

#[derive(Default)]
struct AuditLog(Mutex<Vec<AuditRecord>>);

#[async_trait]
impl AuditRepository for AuditLog {
    async fn append(&self, record: AuditRecord) -> Result<(), RepositoryError> {
        self.0.lock().push(record);
        Ok(())
    }

    async fn list(&self, filter: AuditFilter) -> Result<Vec<AuditRecord>, RepositoryError> {
        let records = self.0.lock();
        Ok(records.iter().rev().filter(|record| Some(&record.target) == filter.target.as_ref()).take(filter.limit).cloned().collect())
    }
}

struct Bench {
    bus: Bus,
    devices: Devices,
    log: Arc<AuditLog>,
    changes: broadcast::Sender<(Identity, String)>,
    agents: Vec<AgentContext>,
    _mailbox: Mailbox,
}

fn bench() -> Bench {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let bus = Bus::new(Config::default(), Arc::clone(&clock));
    let (peer, mailbox) = bus.connect(Identity::known(known::PLATFORM_WEB), PeerKind::Service).unwrap();
    let log = Arc::new(AuditLog::default());
    let (changes, receiver) = broadcast::channel(4);
    let audit = Arc::new(Audit::new(Arc::clone(&log) as Arc<dyn AuditRepository>, clock));
    let devices = Devices::of(peer, receiver, || tree::tests::tree(&[("a/b", &["T!", "U"]), ("a/c", &["T!"])]), audit);
    Bench { bus, devices, log, changes, agents: Vec::new(), _mailbox: mailbox }
}

impl Bench {
    fn agent(&mut self, identity: &'static str, methods: MethodTable) {
        let settings = AgentSettings {
            identity: Identity::known(identity),
            kind: PeerKind::Agent,
            class_name: "Test".to_owned(),
            version: "1".to_owned(),
            instance_name: "t".to_owned(),
            data_dir: std::path::PathBuf::new(),
            heartbeat: None,
            publications_max: 0,
            clock: Arc::new(SystemClock),
        };
        let (context, _events) = AgentContext::connect(&self.bus, settings, CancellationToken::new()).unwrap();
        context.serve(methods);
        self.agents.push(context);
    }
}

fn dana() -> Caller {
    Caller { user: "dana".to_owned(), groups: vec!["vui".to_owned()], session: None, address: None }
}

fn point(path: &str, point: &str) -> PointRef {
    PointRef { path: DevicePath::parse(path).unwrap(), point: point.to_owned() }
}

/// A driver whose device `a/b` answers and whose device `a/c` does not exist; shows who wrote for whom.
fn driver() -> MethodTable {
    let mut methods = MethodTable::new();
    methods.method("get_multiple_points").param("path").param("points").to(|call| async move {
        if call.value("path") == "a/c" {
            return Err(RpcError::key_error("a/c"));
        }
        Ok(json!([{"a/b/T": 1.5}, {"a/b/U": "no sensor"}]))
    });
    methods.method("get_point").param("path").param("point").to(|_| async { Ok(json!(1.5)) });
    methods.method("set_point").param("path").param("point").param("value").to(|call| async move {
        match call.value("value") {
            Value::Null => {
                Err(RpcError::raised("platform_driver.agent.OverrideError", "Cannot set point on device a/b since global override is set"))
            }
            value => Ok(json!([call.from, call.user.as_deref(), call.value("path"), call.value("point"), value])),
        }
    });
    methods.method("device_status").to(|_| async {
        Ok(json!({"a/b": {"driver_type": "fake", "interval": 5, "last_scrape": "2026-01-01T00:00:00.000000+00:00", "last_error": null, "failures": 0},
                  "a/c": {"last_scrape": null, "last_error": "no answer", "failures": 3}}))
    });
    methods.method("get_override_devices").to(|_| async { Ok(json!(["a/b"])) });
    methods
}

#[tokio::test]
async fn the_tree_follows_the_configuration_store() {
    let bench = bench();
    let before = bench.devices.tree();
    bench.changes.send((Identity::known("other"), "config".to_owned())).unwrap();
    assert!(Arc::ptr_eq(&before, &bench.devices.tree()), "another agent's entries do not matter");
    bench.changes.send((Identity::known(known::PLATFORM_DRIVER), "devices/x".to_owned())).unwrap();
    assert!(!Arc::ptr_eq(&before, &bench.devices.tree()));
}

#[tokio::test]
async fn each_point_has_its_value_or_its_reason() {
    let mut bench = bench();
    let points = [point("a/b", "T"), point("a/b", "U"), point("a/c", "T")];
    assert!(matches!(bench.devices.read_points(&points).await, Err(ServiceError::Unavailable(_))), "no driver");
    assert!(bench.devices.read_many(&points).await.values().all(Result::is_err));
    bench.agent(known::PLATFORM_DRIVER, driver());
    let values = bench.devices.read_points(&points).await.unwrap();
    assert_eq!(values[&points[0]], Ok(json!(1.5)));
    assert_eq!(values[&points[1]], Err("no sensor".to_owned()));
    assert_eq!(values[&points[2]], Err("a/c".to_owned()));
    assert_eq!(bench.devices.read(&points[0].path, "T").await, Ok(json!(1.5)));
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_never_answers_is_a_timeout() {
    let mut bench = bench();
    let mut methods = MethodTable::new();
    methods.method("get_multiple_points").param("path").param("points").to(|_| std::future::pending());
    bench.agent(known::PLATFORM_DRIVER, methods);
    assert!(matches!(bench.devices.read_points(&[point("a/b", "T")]).await, Err(ServiceError::Timeout(_))));
}

#[tokio::test]
async fn writes_carry_the_user_and_are_in_the_audit_log() {
    let mut bench = bench();
    bench.agent(known::PLATFORM_DRIVER, driver());
    let target = point("a/b", "T");
    let written = bench.devices.write(&dana(), &target, json!(5)).await.unwrap();
    assert_eq!(written, json!(["platform_web", "dana", "a/b", "T", 5]));
    let refused = bench.devices.write(&dana(), &target, Value::Null).await;
    assert!(matches!(refused, Err(ServiceError::Conflict(_))), "{refused:?}");
    let nobody = Caller { groups: Vec::new(), ..dana() };
    assert!(matches!(bench.devices.write(&nobody, &target, json!(6)).await, Err(ServiceError::Forbidden(_))));
    let seen: Vec<_> = bench.log.0.lock().iter().map(|record| (record.action.clone(), record.target.clone(), record.success)).collect();
    let entry = |success| ("device.set".to_owned(), "a/b/T".to_owned(), success);
    assert_eq!(seen, [entry(true), entry(false), entry(false)]);
    assert!(!bench.devices.last_write(&target).await.unwrap().success);
    assert_eq!(bench.devices.last_write(&point("a/c", "T")).await, None);
}

#[tokio::test]
async fn writes_go_through_the_actuator_when_it_runs() {
    let mut bench = bench();
    let mut methods = MethodTable::new();
    methods
        .method("set_point")
        .param("requester_id")
        .param("topic")
        .param("value")
        .optional("point", Value::Null)
        .to(|call| async move { Ok(json!([call.value("requester_id"), call.user.as_deref(), call.value("topic"), call.value("value")])) });
    methods
        .method("revert_point")
        .param("requester_id")
        .param("topic")
        .to(|_| async { Err(RpcError::raised("actuator.agent.LockError", "caller does not have this lock")) });
    methods.method("revert_device").param("requester_id").param("topic").to(|_| async { Ok(Value::Null) });
    bench.agent(known::PLATFORM_ACTUATOR, methods);
    let target = point("a/b", "T");
    assert_eq!(bench.devices.write(&dana(), &target, json!(5)).await.unwrap(), json!(["web:dana", "dana", "a/b/T", 5]));
    let refused = bench.devices.revert_point(&dana(), &target).await;
    assert_eq!(refused, Err(ServiceError::Conflict("caller does not have this lock".to_owned())));
    assert_eq!(bench.devices.revert_device(&dana(), &target.path).await, Ok(()));
}

#[tokio::test]
async fn the_state_of_devices_is_what_the_driver_tells() {
    let mut bench = bench();
    assert!(bench.devices.status().await.is_empty(), "no driver, no state");
    bench.agent(known::PLATFORM_DRIVER, driver());
    let status = bench.devices.status().await;
    assert!(status["a/b"].overridden && status["a/b"].last_scrape.is_some() && status["a/b"].last_error.is_none());
    assert_eq!((status["a/c"].failures, status["a/c"].last_error.as_deref()), (3, Some("no answer")));
}

#[tokio::test]
async fn tags_without_a_tagging_service_are_refused_with_the_reason() {
    let bench = bench();
    let refused = bench.devices.tagged("campus = 'x'").await;
    assert!(matches!(refused, Err(ServiceError::Unavailable(text)) if text.contains("platform.tagging")));
}
