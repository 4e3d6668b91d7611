//! Agents that crash, panic, hang, flood and ignore stopping, and what becomes of the others.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use vt_agent::context::call_within;
use vt_backends::{AgentLauncher, AgentSource, InstalledAgent, LaunchError, LaunchObserver, RunState};
use vt_bus::{Bus, Config, Mailbox, PeerHandle, PeerKind};
use vt_types::{AgentUuid, Identity, Params, SystemClock, TopicPrefix};

use crate::mock::{Release, mock, signs};
use crate::{Host, HostConfig};

const DEADLINE: Duration = Duration::from_secs(20);
/// Far less than an agent hangs in these tests, far more than a call takes on a busy machine.
const PING_LIMIT: Duration = Duration::from_secs(5);

struct Seen(Mutex<Vec<RunState>>);

impl LaunchObserver for Seen {
    fn on_state(&self, _agent: &InstalledAgent, state: &RunState) {
        self.0.lock().push(state.clone());
    }
}

struct Bench {
    bus: Bus,
    caller: PeerHandle,
    mailbox: Mailbox,
    host: Host,
    seen: Arc<Seen>,
}

fn quick() -> HostConfig {
    HostConfig {
        stop_grace: Duration::from_millis(300),
        stop_all_grace: Duration::from_millis(200),
        kill_grace: Duration::from_millis(200),
        check_interval: Duration::from_millis(50),
        // Signs of life come every 500 ms.
        silent_max: Duration::from_millis(1500),
        busy_max: Duration::from_secs(60),
        backoff_first: Duration::from_millis(20),
        backoff_max: Duration::from_millis(50),
        failures_max: 4,
        ..HostConfig::default()
    }
}

fn bench(config: HostConfig) -> Bench {
    let clock = Arc::new(SystemClock);
    let bus = Bus::new(Config::default(), clock.clone());
    let (caller, mailbox) = bus.connect(Identity::known("caller"), PeerKind::Tool).unwrap();
    let host = Host::new(bus.clone(), vec![mock()], config, clock);
    let seen = Arc::new(Seen(Mutex::default()));
    host.observe(seen.clone());
    Bench { bus, caller, mailbox, host, seen }
}

fn agent(identity: &'static str, mode: &str) -> InstalledAgent {
    let number = identity.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    InstalledAgent {
        uuid: AgentUuid::parse(&format!("00000000-0000-4000-8000-{:012x}", number & 0xffff_ffff_ffff)).unwrap(),
        identity: Identity::known(identity),
        name: "mockagent-1.0".to_owned(),
        tag: None,
        priority: None,
        source: AgentSource::BuiltIn { kind: "mock".to_owned() },
        config: Some(json!({"mode": mode, "key": identity})),
        data_dir: PathBuf::from("."),
    }
}

async fn ping(bench: &Bench, identity: &'static str) -> Result<Value, vt_types::RpcError> {
    call_within(&bench.caller, PING_LIMIT, &Identity::known(identity), "ping", Params::none()).await
}

async fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Threads of this process named `name` (the system keeps 15 characters of a name).
fn threads(name: &str) -> usize {
    let name = &name[..name.len().min(15)];
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(Result::ok)
        .filter(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name))
        .count()
}

fn pid(state: &RunState) -> u32 {
    state.pid_and_exit_code().0.unwrap()
}

#[tokio::test]
async fn a_started_agent_answers_and_a_stopped_one_leaves_nothing_behind() {
    let bench = bench(quick());
    let agent = agent("life", "good");
    assert_eq!(bench.host.state(agent.uuid), RunState::NeverStarted);
    bench.host.start(&agent).await.unwrap();
    assert_eq!(ping(&bench, "life").await, Ok(json!("pong")));
    let first = bench.host.state(agent.uuid);
    assert!(first.is_running());
    assert!(matches!(bench.host.start(&agent).await, Err(LaunchError::AlreadyRunning)));
    bench.host.stop(agent.uuid).await.unwrap();
    assert_eq!(bench.host.state(agent.uuid).pid_and_exit_code(), (Some(pid(&first)), Some(0)));
    assert!(!bench.bus.is_connected(&agent.identity));
    wait_until("the thread ends", || (threads("life") == 0).then_some(())).await;

    bench.host.start(&agent).await.unwrap();
    assert!(bench.host.state(agent.uuid).is_running());
    bench.host.stop(agent.uuid).await.unwrap();
    bench.host.stop(agent.uuid).await.unwrap();
    bench.host.forget(agent.uuid);
    assert_eq!(bench.host.state(agent.uuid), RunState::NeverStarted);
}

#[tokio::test]
async fn each_run_has_a_pid_of_its_own() {
    let bench = bench(quick());
    let (one, two) = (agent("pid.1", "good"), agent("pid.2", "good"));
    bench.host.start(&one).await.unwrap();
    bench.host.start(&two).await.unwrap();
    assert_ne!(pid(&bench.host.state(one.uuid)), pid(&bench.host.state(two.uuid)));
    assert_ne!(pid(&bench.host.state(one.uuid)), std::process::id());
}

#[tokio::test]
async fn a_refused_start_says_why_and_is_not_tried_again() {
    let bench = bench(quick());
    let bad = agent("bad", "bad_config");
    let error = bench.host.start(&bad).await.unwrap_err();
    assert_eq!(error.to_string(), "the configuration of bad cannot be used: mode: must not be bad_config");
    assert!(matches!(bench.host.state(bad.uuid), RunState::Failed { exit_code: 1, .. }));
    let panics = bench.host.start(&agent("bad2", "panic_in_build")).await.unwrap_err();
    assert!(panics.to_string().ends_with("it panicked: no such luck"), "{panics}");
    let taken = bench.host.start(&agent("caller", "good")).await.unwrap_err();
    assert!(matches!(taken, LaunchError::IdentityInUse(identity) if identity.as_str() == "caller"));
    assert!(bench.bus.is_connected(&Identity::known("caller")), "the other peer is not touched");
    let mut unknown = agent("odd", "good");
    unknown.source = AgentSource::BuiltIn { kind: "nonsense".to_owned() };
    assert!(matches!(bench.host.start(&unknown).await, Err(LaunchError::UnknownKind(_))));
}

#[tokio::test]
async fn a_crash_is_restarted_with_back_off_under_another_pid() {
    let bench = bench(quick());
    let agent = agent("once", "error_once");
    bench.host.start(&agent).await.unwrap();
    let state = wait_until("the restart", || match bench.host.state(agent.uuid) {
        RunState::Running { restarts: 1, .. } => Some(bench.host.state(agent.uuid)),
        _ => None,
    })
    .await;
    assert_eq!(ping(&bench, "once").await, Ok(json!("pong")));
    let seen = bench.seen.0.lock().clone();
    let RunState::BackingOff { pid: old, exit_code, reason, at, restart_at, failures } = seen[1].clone() else { panic!("{seen:?}") };
    assert_eq!((exit_code, reason.as_str(), failures), (1, "the first time only", 1));
    assert!(restart_at > at);
    assert_ne!(old, pid(&state));
}

#[tokio::test]
async fn after_too_many_failures_the_supervisor_gives_up_until_somebody_starts_it() {
    let bench = bench(quick());
    let agent = agent("always", "panic");
    // It may fail before or after the start was answered; either is fine.
    bench.host.start(&agent).await.unwrap();
    let failed = || matches!(bench.host.state(agent.uuid), RunState::Failed { .. }).then(|| bench.host.state(agent.uuid));
    let RunState::Failed { exit_code, reason, .. } = wait_until("giving up", failed).await else { unreachable!() };
    assert_eq!((exit_code, reason.as_str()), (101, "it panicked: on purpose"));
    assert_eq!(signs("always").runs.load(Relaxed), 4);
    bench.host.start(&agent).await.unwrap();
    wait_until("giving up again", || (signs("always").runs.load(Relaxed) == 8).then_some(())).await;
}

#[tokio::test]
async fn an_agent_that_ends_well_is_not_restarted() {
    let bench = bench(quick());
    let agent = agent("exits", "exit");
    bench.host.start(&agent).await.unwrap();
    wait_until("its end", || matches!(bench.host.state(agent.uuid), RunState::Stopped { exit_code: 0, .. }).then_some(())).await;
    let seen = bench.seen.0.lock().clone();
    assert!(matches!(seen[..], [RunState::Running { .. }, RunState::Stopped { .. }]), "no restart was booked: {seen:?}");
}

#[tokio::test]
async fn stopping_ends_the_waiting_for_a_restart() {
    let bench = bench(HostConfig { backoff_first: DEADLINE, backoff_max: DEADLINE, ..quick() });
    let agent = agent("waits", "error");
    bench.host.start(&agent).await.unwrap();
    wait_until("back-off", || matches!(bench.host.state(agent.uuid), RunState::BackingOff { .. }).then_some(())).await;
    bench.host.stop(agent.uuid).await.unwrap();
    assert!(matches!(bench.host.state(agent.uuid), RunState::Stopped { exit_code: 1, .. }));
}

#[tokio::test]
async fn a_hanging_agent_is_abandoned_and_restarted_while_others_go_on() {
    let bench = bench(HostConfig { abandoned_max: 2, ..quick() });
    let release = Release(signs("hangs"));
    let (hangs, good) = (agent("hangs", "hang"), agent("beside", "good"));
    bench.host.start(&good).await.unwrap();
    bench.host.start(&hangs).await.unwrap();
    let end = Instant::now() + DEADLINE;
    let reason = loop {
        assert_eq!(ping(&bench, "beside").await, Ok(json!("pong")));
        if let RunState::Failed { exit_code: -9, reason, .. } = bench.host.state(hangs.uuid) {
            break reason;
        }
        assert!(Instant::now() < end, "not given up in time: {:?}", bench.host.state(hangs.uuid));
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(reason.starts_with("hung: its thread has been blocked for "), "{reason}");
    assert_eq!(threads("hangs"), 2, "one restart, then the bound on hanging threads");
    assert!(!bench.bus.is_connected(&hangs.identity), "its identity is free");
    let refused = bench.host.start(&hangs).await.unwrap_err();
    assert!(refused.to_string().contains("2 threads of earlier runs still hang"), "{refused}");
    assert!(bench.host.state(good.uuid).is_running());

    drop(release);
    wait_until("the threads end", || (threads("hangs") == 0).then_some(())).await;
    let end = Instant::now() + DEADLINE;
    while let Err(error) = bench.host.start(&hangs).await {
        assert!(Instant::now() < end, "{error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(ping(&bench, "hangs").await, Ok(json!("pong")), "threads that came to their end count no longer");
}

#[tokio::test]
async fn an_agent_that_never_asks_for_events_is_restarted_without_leaving_a_thread() {
    let bench = bench(HostConfig { busy_max: Duration::from_millis(200), ..quick() });
    let agent = agent("busy", "busy");
    bench.host.start(&agent).await.unwrap();
    let back = || matches!(bench.host.state(agent.uuid), RunState::Running { restarts: 1, .. }).then_some(());
    wait_until("the restart", back).await;
    assert_eq!(threads("busy"), 1);
    let seen = bench.seen.0.lock().clone();
    let RunState::BackingOff { exit_code: -9, reason, .. } = &seen[1] else { panic!("{seen:?}") };
    assert!(reason.starts_with("hung: it has not asked for its next event for "), "{reason}");
}

#[tokio::test]
async fn a_flooding_agent_does_not_keep_another_from_answering() {
    let mut bench = bench(quick());
    let (flood, good) = (agent("flood", "flood"), agent("dry", "good"));
    bench.caller.subscribe(&TopicPrefix::parse("flood").unwrap()).unwrap();
    bench.host.start(&good).await.unwrap();
    bench.host.start(&flood).await.unwrap();
    for _ in 0..100 {
        assert_eq!(ping(&bench, "dry").await, Ok(json!("pong")));
    }
    assert!(tokio::time::timeout(DEADLINE, bench.mailbox.publications().recv()).await.unwrap().is_some());
    bench.host.stop(flood.uuid).await.unwrap();
}

#[tokio::test]
async fn one_that_ignores_stopping_is_pressed() {
    let bench = bench(quick());
    let agent = agent("ignores", "ignore_stop");
    bench.host.start(&agent).await.unwrap();
    let asked = Instant::now();
    bench.host.stop(agent.uuid).await.unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(300), "it had its grace");
    assert!(matches!(bench.host.state(agent.uuid), RunState::Stopped { exit_code: -9, .. }));
    wait_until("the thread ends", || (threads("ignores") == 0).then_some(())).await;
}

#[tokio::test]
async fn one_that_blocks_while_stopping_is_given_up_and_off_the_bus() {
    let bench = bench(quick());
    let release = Release(signs("clings"));
    let agent = agent("clings", "hang_on_stop");
    bench.host.start(&agent).await.unwrap();
    assert!(matches!(bench.host.stop(agent.uuid).await, Err(LaunchError::Unresponsive)));
    assert!(!bench.bus.is_connected(&agent.identity));
    assert!(matches!(bench.host.state(agent.uuid), RunState::Stopped { exit_code: -9, .. }));

    // A new run beside the abandoned thread keeps its place on the bus when the old thread ends.
    bench.host.start(&agent).await.unwrap();
    drop(release);
    wait_until("the old thread ends", || (threads("clings") == 1).then_some(())).await;
    assert_eq!(ping(&bench, "clings").await, Ok(json!("pong")));
}

#[tokio::test]
async fn all_are_stopped_within_one_grace_however_many_resist() {
    let config = quick();
    let bound = config.stop_all_grace + config.kill_grace + Duration::from_secs(1);
    let bench = bench(config);
    let _release = Release(signs("all.4"));
    let agents = [agent("all.1", "good"), agent("all.2", "ignore_stop"), agent("all.3", "flood"), agent("all.4", "hang_on_stop")];
    for agent in &agents {
        bench.host.start(agent).await.unwrap();
    }
    let asked = Instant::now();
    bench.host.stop_all().await;
    assert!(asked.elapsed() < bound, "{:?}", asked.elapsed());
    for agent in &agents {
        assert!(matches!(bench.host.state(agent.uuid), RunState::Stopped { .. }));
        assert!(!bench.bus.is_connected(&agent.identity));
    }
    bench.host.stop_all().await;
}

#[tokio::test]
async fn dropping_the_host_ends_its_agents() {
    let Bench { host, bus, .. } = bench(quick());
    host.start(&agent("orphan", "good")).await.unwrap();
    drop(host);
    wait_until("the agent leaves", || (!bus.is_connected(&Identity::known("orphan"))).then_some(())).await;
    wait_until("the thread ends", || (threads("orphan") == 0).then_some(())).await;
}
