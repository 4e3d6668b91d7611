//! The live service over a real bus: who gets what, replay, lag, ends, and that encoding happens once.

use std::time::Duration;

use serde_json::json;
use vt_agent::{AgentContext, AgentSettings};
use vt_bus::{Bus, Config, PeerKind};
use vt_types::identity::known;
use vt_types::{Identity, SystemClock};

use super::*;

struct Bench {
    bus: Bus,
    live: Live,
    driver: PeerHandle,
    _driver_mailbox: vt_bus::Mailbox,
    agents: broadcast::Sender<AgentEvent>,
    _alerts: broadcast::Sender<Arc<AlertRecord>>,
    ended: broadcast::Sender<String>,
    stop: CancellationToken,
    _context: AgentContext,
}

fn bench() -> Bench {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let bus = Bus::new(Config::default(), Arc::clone(&clock));
    let stop = CancellationToken::new();
    let settings = AgentSettings {
        identity: Identity::known(known::PLATFORM_WEB),
        kind: PeerKind::Service,
        class_name: "PlatformWeb".to_owned(),
        version: "1.0".to_owned(),
        instance_name: "harbor1".to_owned(),
        data_dir: std::path::PathBuf::new(),
        heartbeat: None,
        publications_max: PUBLICATIONS_MAX,
        clock: Arc::clone(&clock),
    };
    let (context, events) = AgentContext::connect(&bus, settings, stop.clone()).unwrap();
    let (agents, agent_events) = broadcast::channel(16);
    let (alerts, alert_events) = broadcast::channel(16);
    let (ended, ended_sessions) = broadcast::channel(16);
    let feeds = LiveFeeds { agents: agent_events, alerts: alert_events, ended_sessions, is_active: Box::new(|_| true) };
    let (live, task) = Live::new(context.peer().clone(), events, "harbor1", clock, feeds, stop.clone()).unwrap();
    tokio::spawn(task);
    let (driver, mailbox) = bus.connect(Identity::known(known::PLATFORM_DRIVER), PeerKind::Agent).unwrap();
    Bench { bus, live, driver, _driver_mailbox: mailbox, agents, _alerts: alerts, ended, stop, _context: context }
}

fn caller() -> Caller {
    Caller { user: "dana".to_owned(), groups: vec!["vui".to_owned()], session: Some("sid".to_owned()), address: None }
}

impl Bench {
    fn publish(&self, topic: &str, message: impl Into<Value>) {
        self.driver.publish(&Topic::parse(topic).unwrap(), Headers::new(), message.into()).unwrap();
    }

    async fn until(&self, holds: impl Fn(&Live) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !holds(&self.live) {
            assert!(tokio::time::Instant::now() < deadline, "not in time");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn viewers_on_bus(&self) -> Vec<String> {
        let web = self.bus.peer_infos().into_iter().find(|info| info.identity.as_str() == known::PLATFORM_WEB).unwrap();
        web.subscriptions.iter().map(|wanted| wanted.prefix.to_string()).collect()
    }
}

async fn next(stream: &mut LiveStream) -> Option<LiveFrame> {
    tokio::time::timeout(Duration::from_secs(10), stream.next()).await.expect("a frame in time")
}

/// `sub topic message` of the next frame, which must be an event.
async fn event(stream: &mut LiveStream) -> String {
    match next(stream).await {
        Some(LiveFrame::Event { sub, event }) => format!("{sub} {} {}", event.publication.topic, event.body()),
        other => panic!("an event was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn a_viewer_gets_what_starts_with_its_prefix_and_nothing_else() {
    let bench = bench();
    let (session, mut stream) = bench.live.open(&caller(), 100);
    assert_eq!(session.subscribe("devices/a", false).unwrap(), "s1");
    assert_eq!(session.subscribe("", false).unwrap(), "s2");
    bench.publish("devices/b/all", 1);
    bench.publish("devices/ab/all", 2);
    assert_eq!(event(&mut stream).await, "s2 devices/b/all 1");
    assert_eq!(event(&mut stream).await, "s2 devices/ab/all 2");
    assert_eq!(event(&mut stream).await, "s1 devices/ab/all 2");
    assert!(session.unsubscribe("s2") && !session.unsubscribe("s2"));
    bench.publish("devices/b/all", 3);
    bench.publish("devices/a/all", 4);
    assert_eq!(event(&mut stream).await, "s1 devices/a/all 4");
}

#[tokio::test]
async fn bus_subscriptions_are_shared_and_go_with_the_last_viewer() {
    let bench = bench();
    let (one, mut first) = bench.live.open(&caller(), 100);
    let (two, mut second) = bench.live.open(&caller(), 100);
    one.subscribe("record/x", false).unwrap();
    two.subscribe("record/x", false).unwrap();
    two.subscribe("devices/", false).unwrap();
    assert_eq!(bench.viewers_on_bus(), ["devices/", "record/x"]);
    bench.publish("record/x/1", "once");
    assert_eq!(event(&mut first).await, "s1 record/x/1 \"once\"");
    assert_eq!(event(&mut second).await, "s1 record/x/1 \"once\"");
    assert_eq!(bench.live.sessions(), 2);
    drop(one);
    assert!(next(&mut first).await.is_none());
    assert_eq!(bench.viewers_on_bus(), ["devices/", "record/x"]);
    drop(two);
    assert_eq!(bench.viewers_on_bus(), ["devices/"], "the permanent one stays");
    assert_eq!(bench.live.sessions(), 0);
}

#[tokio::test]
async fn a_replay_comes_first_and_shows_the_latest_values() {
    let bench = bench();
    bench.publish("devices/a/all", 1);
    bench.publish("devices/a/all", 2);
    bench.publish("devices/b/all", 3);
    bench.until(|live| live.latest("devices/b/all").is_some()).await;
    let (session, mut stream) = bench.live.open(&caller(), 1);
    session.subscribe("devices/", true).unwrap();
    bench.publish("devices/a/all", 4);
    assert_eq!(event(&mut stream).await, "s1 devices/a/all 2");
    assert_eq!(event(&mut stream).await, "s1 devices/b/all 3");
    assert_eq!(event(&mut stream).await, "s1 devices/a/all 4");
    assert_eq!(bench.live.latest_with_prefix("devices/a").len(), 1);
}

#[tokio::test]
async fn a_slow_viewer_is_told_what_it_missed_and_others_miss_nothing() {
    let bench = bench();
    let (slow, mut slow_stream) = bench.live.open(&caller(), 3);
    let (good, mut good_stream) = bench.live.open(&caller(), 100);
    slow.subscribe("devices/", false).unwrap();
    good.subscribe("devices/", false).unwrap();
    for n in 0..10 {
        bench.publish("devices/a/all", n);
    }
    for n in 0..10 {
        assert_eq!(event(&mut good_stream).await, format!("s1 devices/a/all {n}"));
    }
    assert!(matches!(next(&mut slow_stream).await, Some(LiveFrame::Lagged { missed: 7 })));
    assert_eq!(event(&mut slow_stream).await, "s1 devices/a/all 7");
}

#[tokio::test]
async fn viewers_share_one_encoding() {
    let bench = bench();
    let (one, mut first) = bench.live.open(&caller(), 10);
    let (two, mut second) = bench.live.open(&caller(), 10);
    one.subscribe("devices/", false).unwrap();
    two.subscribe("devices/a", false).unwrap();
    bench.publish("devices/a/all", json!([{"T": 1}]));
    let (Some(LiveFrame::Event { event: a, .. }), Some(LiveFrame::Event { event: b, .. })) =
        (next(&mut first).await, next(&mut second).await)
    else {
        panic!("two events were expected")
    };
    assert!(Arc::ptr_eq(a.envelope_tail(), b.envelope_tail()));
}

#[tokio::test]
async fn viewers_end_with_their_session_and_with_the_platform() {
    let bench = bench();
    let (_session, mut stream) = bench.live.open(&caller(), 10);
    let other = Caller { session: Some("other".to_owned()), ..caller() };
    let (_other_session, mut other_stream) = bench.live.open(&other, 10);
    bench.ended.send("sid".to_owned()).unwrap();
    assert!(next(&mut stream).await.is_none());
    bench.stop.cancel();
    assert!(next(&mut other_stream).await.is_none());
}

#[tokio::test]
async fn viewers_are_told_of_agents_without_asking() {
    let bench = bench();
    let (_session, mut stream) = bench.live.open(&caller(), 10);
    let event = AgentEvent { identity: Identity::known("listener"), state: "running", at: vt_types::Timestamp::default() };
    bench.agents.send(event.clone()).unwrap();
    assert!(matches!(next(&mut stream).await, Some(LiveFrame::Agent(told)) if told == event));
}

#[tokio::test]
async fn subscriptions_are_bounded_and_checked() {
    let bench = bench();
    let (session, _stream) = bench.live.open(&caller(), 10);
    assert!(matches!(session.subscribe("a\nb", false), Err(ServiceError::Invalid(_))));
    for n in 0..SUBSCRIPTIONS_MAX {
        session.subscribe(&format!("t/{n}"), false).unwrap();
    }
    assert!(matches!(session.subscribe("one/more", false), Err(ServiceError::Conflict(_))));
}

#[tokio::test]
async fn publishing_needs_rights_and_tells_how_many_heard_it() {
    let bench = bench();
    let nobody = Caller { groups: Vec::new(), ..caller() };
    let refused = bench.live.publish(&nobody, "x", Map::new(), Value::Null).await;
    assert!(matches!(refused, Err(ServiceError::Forbidden(_))));
    assert_eq!(bench.live.publish(&caller(), "x", Map::new(), Value::Null).await, Ok(0));
    let (session, mut stream) = bench.live.open(&caller(), 10);
    session.subscribe("x", false).unwrap();
    let headers = Map::from_iter([("Date".to_owned(), json!("today")), ("min_compatible_version".to_owned(), json!("5.0"))]);
    assert_eq!(bench.live.publish(&caller(), "x/y", headers, json!({"a": 1})).await, Ok(1));
    let Some(LiveFrame::Event { event, .. }) = next(&mut stream).await else { panic!("an event was expected") };
    assert_eq!(event.publication.headers.text("Date"), Some("today"));
    assert_eq!(event.publication.headers.text("min_compatible_version"), Some("3.0"));
    assert_eq!(event.publication.headers.text("max_compatible_version"), Some(""));
    assert_eq!(event.publication.sender.as_str(), known::PLATFORM_WEB);
    assert!(matches!(bench.live.publish(&caller(), "", Map::new(), Value::Null).await, Err(ServiceError::Invalid(_))));
}
