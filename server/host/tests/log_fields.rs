//! Every log line of an agent carries its identity, name and thread id, wherever in the agent it is written. A test binary of its own,
//! because it sets the process's subscriber.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event as LogEvent, Metadata};
use vt_agent::{Agent, AgentContext, AgentError, AgentKind, Event, Events};
use vt_backends::{AgentLauncher, AgentSource, InstalledAgent};
use vt_bus::{Bus, Config};
use vt_host::{Host, HostConfig};
use vt_types::{AgentUuid, Identity, SystemClock};

/// Writes one line in `run`, one in a task, one in blocking work, then waits.
struct Talker;

#[async_trait]
impl Agent for Talker {
    async fn run(self: Box<Self>, context: AgentContext, mut events: Events) -> Result<(), AgentError> {
        tracing::info!("in run");
        context.spawn(async { tracing::info!("in a task") });
        tokio::task::spawn_blocking(|| tracing::info!("in blocking work")).await.map_err(AgentError::new)?;
        while !matches!(events.next().await, Event::Stop) {}
        Ok(())
    }
}

fn talker() -> AgentKind {
    AgentKind {
        kind: "talker",
        distribution: "talkeragent",
        version: "1.0",
        class_name: "TalkerAgent",
        default_identity: "talker",
        summary: "Writes log lines.",
        publications_max: 0,
        build: Arc::new(|_| Ok(Box::new(Talker))),
    }
}

type Fields = BTreeMap<String, String>;

/// Keeps each line with the fields of the span that it was written in.
#[derive(Default, Clone)]
struct Lines(Arc<Kept>);

#[derive(Default)]
struct Kept {
    next: AtomicU64,
    spans: Mutex<BTreeMap<u64, Fields>>,
    lines: Mutex<Vec<(String, Fields)>>,
}

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

struct Reader<'a>(&'a mut Fields);

impl Visit for Reader<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let id = self.0.next.fetch_add(1, Relaxed) + 1;
        let mut fields = Fields::new();
        attributes.record(&mut Reader(&mut fields));
        self.0.spans.lock().insert(id, fields);
        Id::from_u64(id)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &LogEvent<'_>) {
        let mut own = Fields::new();
        event.record(&mut Reader(&mut own));
        let span = ENTERED.with_borrow(|entered| entered.last().copied());
        let fields = span.and_then(|span| self.0.spans.lock().get(&span).cloned()).unwrap_or_default();
        self.0.lines.lock().push((own.remove("message").unwrap_or_default(), fields));
    }
    fn enter(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
    }
    fn exit(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.retain(|id| *id != span.into_u64()));
    }
}

#[tokio::test]
async fn every_line_of_an_agent_says_whose_it_is() {
    let lines = Lines::default();
    tracing::subscriber::set_global_default(lines.clone()).unwrap();
    let clock = Arc::new(SystemClock);
    let host = Host::new(Bus::new(Config::default(), clock.clone()), vec![talker()], HostConfig::default(), clock);
    let agent = InstalledAgent {
        uuid: AgentUuid::parse("00000000-0000-4000-8000-000000000001").unwrap(),
        identity: Identity::known("talker"),
        name: "talkeragent-1.0".to_owned(),
        tag: None,
        priority: None,
        source: AgentSource::BuiltIn { kind: "talker".to_owned() },
        config: None,
        data_dir: PathBuf::from("."),
    };
    host.start(&agent).await.unwrap();
    let pid = host.state(agent.uuid).pid_and_exit_code().0.unwrap();
    for wanted in ["in run", "in a task", "in blocking work"] {
        let end = Instant::now() + Duration::from_secs(20);
        let fields = loop {
            if let Some((_, fields)) = lines.0.lines.lock().iter().find(|(line, _)| line == wanted) {
                break fields.clone();
            }
            assert!(Instant::now() < end, "no line {wanted:?} in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let expected = [("agent", "talker".to_owned()), ("agent_name", "talkeragent-1.0".to_owned()), ("pid", pid.to_string())];
        assert_eq!(fields, expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(), "{wanted}");
    }
    host.stop_all().await;
}
