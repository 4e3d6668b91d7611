//! The history service over a real bus, with an agent in place of a historian.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio_util::sync::CancellationToken;
use vt_agent::{AgentContext, AgentSettings, MethodTable};
use vt_bus::{Bus, Config, Mailbox, PeerKind};
use vt_types::ManualClock;

use super::*;

struct Bench {
    bus: Bus,
    clock: Arc<ManualClock>,
    history: History,
    agents: Vec<AgentContext>,
    _mailbox: Mailbox,
}

fn historian() -> Identity {
    Identity::known("platform.historian")
}

fn bench(methods: MethodTable) -> Bench {
    let clock = Arc::new(ManualClock::new(Timestamp::from_timestamp(1_700_000_000, 0).unwrap()));
    let bus = Bus::new(Config::default(), Arc::clone(&clock) as Arc<dyn Clock>);
    let (peer, mailbox) = bus.connect(Identity::known("platform_web"), PeerKind::Service).unwrap();
    let history = History::new(peer, Arc::clone(&clock) as Arc<dyn Clock>);
    let mut bench = Bench { bus, clock, history, agents: Vec::new(), _mailbox: mailbox };
    bench.agent(historian(), methods);
    bench
}

impl Bench {
    fn agent(&mut self, identity: Identity, methods: MethodTable) {
        let settings = AgentSettings {
            identity,
            kind: PeerKind::Agent,
            class_name: "Test".to_owned(),
            version: "1".to_owned(),
            instance_name: "t".to_owned(),
            data_dir: std::path::PathBuf::new(),
            heartbeat: None,
            publications_max: 0,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
        };
        let (context, _events) = AgentContext::connect(&self.bus, settings, CancellationToken::new()).unwrap();
        context.serve(methods);
        self.agents.push(context);
    }
}

fn query_method(methods: &mut MethodTable, answer: impl Fn(&Value) -> Value + Send + Sync + 'static) {
    let answer = Arc::new(answer);
    methods.method("query").keywords("given").to(move |call| {
        let answer = Arc::clone(&answer);
        async move { Ok(answer(call.value("given"))) }
    });
}

#[tokio::test]
async fn historians_are_running_peers_that_are_called_so() {
    let mut bench = bench(MethodTable::new());
    bench.agent(Identity::known("my.historian2"), MethodTable::new());
    bench.agent(Identity::known("listener"), MethodTable::new());
    let names: Vec<_> = bench.history.historians().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["my.historian2", "platform.historian"]);
}

#[tokio::test]
async fn topic_lists_are_kept_for_a_while() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let mut methods = MethodTable::new();
    methods.method("get_topic_list").to(move |_| {
        count.fetch_add(1, Relaxed);
        async { Ok(json!(["b", "a", "a"])) }
    });
    let bench = bench(methods);
    assert_eq!(**bench.history.topics(&historian()).await.unwrap(), ["a", "b"]);
    bench.history.topics(&historian()).await.unwrap();
    assert_eq!(asked.load(Relaxed), 1);
    bench.clock.advance(TimeDelta::seconds(TOPICS_GOOD_FOR_S));
    bench.history.topics(&historian()).await.unwrap();
    assert_eq!(asked.load(Relaxed), 2);
}

#[tokio::test]
async fn one_and_several_topics_give_the_same_shape() {
    let mut methods = MethodTable::new();
    query_method(&mut methods, |given| match &given["topic"] {
        Value::String(_) => json!({"values": [["2026-01-01T00:00:00+00:00", given["count"]]], "metadata": {"units": "F"}}),
        _ => json!({"values": {"a": [["2026-01-01T00:00:00+00:00", 1]]}, "metadata": {}}),
    });
    let bench = bench(methods);
    let ask = |topics: &[&str]| HistoryQuery {
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        count: Some(u64::MAX),
        ..Default::default()
    };
    let one = bench.history.query(&historian(), ask(&["a"])).await.unwrap();
    assert_eq!(one[0].values, [("2026-01-01T00:00:00+00:00".to_owned(), json!(VALUES_MAX))]);
    assert_eq!(one[0].metadata["units"], "F");
    let two = bench.history.query(&historian(), ask(&["a", "b"])).await.unwrap();
    assert_eq!((two[0].values.len(), two[1].topic.as_str(), two[1].values.len()), (1, "b", 0));
    assert!(matches!(bench.history.query(&historian(), ask(&[])).await, Err(ServiceError::Invalid(_))));
    let half = HistoryQuery { agg_type: Some("avg".to_owned()), ..ask(&["a"]) };
    assert!(matches!(bench.history.query(&historian(), half).await, Err(ServiceError::Invalid(_))));
    let absent = bench.history.query(&Identity::known("no.historian"), ask(&["a"])).await;
    assert!(matches!(absent, Err(ServiceError::Unavailable(_))));
}

#[tokio::test]
async fn an_empty_answer_is_an_empty_series() {
    let mut methods = MethodTable::new();
    query_method(&mut methods, |_| json!({}));
    let bench = bench(methods);
    let query = HistoryQuery { topics: vec!["a".to_owned()], ..Default::default() };
    assert!(bench.history.query(&historian(), query).await.unwrap()[0].values.is_empty());
}

#[tokio::test]
async fn charts_are_folded_by_the_historian_or_here() {
    let (start, end) = (Timestamp::from_timestamp(0, 0).unwrap(), Timestamp::from_timestamp(100, 0).unwrap());
    let mut methods = MethodTable::new();
    query_method(&mut methods, |_| {
        json!({"values": (0..100).map(|s| json!([timestamp::format(Timestamp::from_timestamp(s, 0).unwrap()), s])).collect::<Vec<_>>(),
               "metadata": {"units": "F"}})
    });
    let here = bench(methods);
    let series = here.history.chart(&historian(), "a", start, end, 10).await.unwrap();
    assert_eq!((series.times_ms.len(), series.units.as_str(), series.max[9]), (10, "F", Some(99.0)));

    let mut methods = MethodTable::new();
    methods.method("query_downsampled").param("topic").param("start").param("end").param("max_points").to(|call| async move {
        Ok(json!({"times_ms": [5], "min": [1], "max": [3], "mean": [call.value("max_points")], "metadata": {"units": "C"}}))
    });
    let there = bench(methods);
    let series = there.history.chart(&historian(), "a", start, end, 10).await.unwrap();
    assert_eq!((series.times_ms, series.mean), (vec![5], vec![Some(10.0)]));
}

#[tokio::test(start_paused = true)]
async fn a_historian_that_never_answers_is_a_timeout() {
    let mut methods = MethodTable::new();
    methods.method("get_topic_list").to(|_| std::future::pending());
    let bench = bench(methods);
    assert!(matches!(bench.history.topics(&historian()).await, Err(ServiceError::Timeout(_))));
}
