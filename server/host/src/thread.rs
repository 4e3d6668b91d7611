//! One run of one agent: a thread of its own with a single-threaded runtime of its own, so that whatever the agent does to its thread
//! stays there. Decides nothing: it reports when the agent is connected and how it ended.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::span::EnteredSpan;
use vt_agent::{AgentContext, AgentKind, AgentSettings, ConnectFailure, Liveness};
use vt_backends::{InstalledAgent, LaunchError};
use vt_bus::{Bus, PeerKind};

/// How long blocking work of an agent may delay the end of its thread.
const BLOCKING_WORK_GRACE: Duration = Duration::from_secs(5);

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// 0 well; 1 with an error; 101 by a panic; -9 by force.
    pub code: i32,
    /// Why, one sentence; empty for code 0.
    pub reason: String,
}

impl Exit {
    /// Ended by force.
    pub fn killed() -> Self {
        Self { code: -9, reason: "it was ended by force".to_owned() }
    }

    fn panicked(payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self { code: 101, reason: format!("it panicked: {}", text.unwrap_or("(no message)")) }
    }
}

/// What is needed for one run.
pub struct Job {
    pub bus: Bus,
    pub kind: AgentKind,
    pub agent: InstalledAgent,
    pub settings: AgentSettings,
    pub blocking_threads_max: usize,
}

impl Job {
    /// The job of running `agent`, which is of `kind`.
    pub fn new(bus: &Bus, kind: AgentKind, agent: &InstalledAgent, config: &crate::HostConfig, clock: Arc<dyn vt_types::Clock>) -> Self {
        let settings = AgentSettings {
            identity: agent.identity.clone(),
            kind: PeerKind::Agent,
            class_name: kind.class_name.to_owned(),
            version: kind.version.to_owned(),
            instance_name: config.instance_name.clone(),
            data_dir: agent.data_dir.clone(),
            heartbeat: config.heartbeat,
            publications_max: kind.publications_max,
            clock,
        };
        Self { bus: bus.clone(), kind, agent: agent.clone(), settings, blocking_threads_max: config.blocking_threads_max }
    }
}

/// The supervisor's grip on a run.
#[derive(Debug, Clone)]
pub struct Grip(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Linux thread id; 0 until the thread runs.
    pid: AtomicU32,
    stop: CancellationToken,
    kill: CancellationToken,
    connection: Mutex<BusConnection>,
}

#[derive(Debug)]
enum BusConnection {
    NotYet,
    Open(AgentContext),
    Closed,
}

/// What a started thread reports.
pub struct Reports {
    /// Once: connected, or why not.
    pub connected: oneshot::Receiver<Result<Liveness, LaunchError>>,
    /// Once, after `connected` gave `Ok`: how it ended; the last thing the thread does.
    pub ended: oneshot::Receiver<Exit>,
}

impl Grip {
    /// Thread id; 0 as long as the thread has not come to run.
    pub fn pid(&self) -> u32 {
        self.0.pid.load(Relaxed)
    }

    /// Asks the agent to end.
    pub fn ask(&self) {
        self.0.stop.cancel();
    }

    /// Drops the agent's future as soon as its thread comes to it, and takes the agent off the bus now.
    pub fn press(&self) {
        self.0.kill.cancel();
        self.close();
    }

    /// Takes the agent off the bus, once: a later run under the same identity is not touched by a thread that ends late.
    fn close(&self) {
        let mut connection = self.0.connection.lock();
        if let BusConnection::Open(context) = std::mem::replace(&mut *connection, BusConnection::Closed) {
            context.close();
        }
    }

    /// Says whether the run is still wanted.
    fn opened(&self, context: &AgentContext) -> bool {
        let mut connection = self.0.connection.lock();
        match *connection {
            BusConnection::Closed => false,
            BusConnection::NotYet | BusConnection::Open(_) => {
                *connection = BusConnection::Open(context.clone());
                true
            }
        }
    }
}

/// Starts the thread; `stop` becomes the agent's stop token.
///
/// # Errors
/// [`LaunchError::System`] if the system gives no thread.
pub fn start(job: Job, stop: CancellationToken) -> Result<(Grip, Reports), LaunchError> {
    let shared = Shared { pid: AtomicU32::new(0), stop, kill: CancellationToken::new(), connection: Mutex::new(BusConnection::NotYet) };
    let grip = Grip(Arc::new(shared));
    let (connected_in, connected) = oneshot::channel();
    let (ended_in, ended) = oneshot::channel();
    let on_thread = grip.clone();
    std::thread::Builder::new()
        .name(job.agent.identity.to_string())
        .spawn(move || {
            let pid = u32::try_from(nix::unistd::gettid().as_raw()).unwrap_or(0);
            on_thread.0.pid.store(pid, Relaxed);
            // At the level that every filter lets through: log lines need these fields.
            let span = tracing::error_span!("agent", agent = %job.agent.identity, agent_name = %job.agent.name, pid);
            // Entered for the thread, not for the future: tasks that the agent spawns log under it, too.
            let exit = span.in_scope(|| {
                catch_unwind(AssertUnwindSafe(|| run(job, &on_thread, connected_in, &span))).unwrap_or_else(|payload| {
                    on_thread.close();
                    Exit::panicked(&*payload)
                })
            });
            // Nobody listens when the host itself is gone.
            drop(ended_in.send(exit));
        })
        .map_err(|error| LaunchError::System(error.to_string()))?;
    Ok((grip, Reports { connected, ended }))
}

fn run(job: Job, grip: &Grip, connected: oneshot::Sender<Result<Liveness, LaunchError>>, span: &tracing::Span) -> Exit {
    let runtime = match build_runtime(&job, span) {
        Ok(runtime) => runtime,
        Err(error) => {
            // Nobody listens when the host itself is gone.
            drop(connected.send(Err(LaunchError::System(error.to_string()))));
            return Exit { code: 1, reason: error.to_string() };
        }
    };
    let exit = runtime.block_on(live(job, grip, connected));
    grip.close();
    runtime.shutdown_timeout(BLOCKING_WORK_GRACE);
    exit
}

async fn live(job: Job, grip: &Grip, connected: oneshot::Sender<Result<Liveness, LaunchError>>) -> Exit {
    let identity = job.agent.identity.clone();
    let refuse = |connected: oneshot::Sender<_>, error: LaunchError| {
        let reason = error.to_string();
        // Nobody listens when the host itself is gone.
        drop(connected.send(Err(error)));
        Exit { code: 1, reason }
    };
    let build = Arc::clone(&job.kind.build);
    let install_config = job.agent.config.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let agent = match catch_unwind(AssertUnwindSafe(|| build(install_config))) {
        Ok(Ok(agent)) => agent,
        Ok(Err(error)) => return refuse(connected, LaunchError::Configuration { identity, problem: error.to_string() }),
        Err(payload) => {
            let problem = Exit::panicked(&*payload).reason;
            return refuse(connected, LaunchError::Configuration { identity, problem });
        }
    };
    let (context, events) = match AgentContext::connect(&job.bus, job.settings, grip.0.stop.clone()) {
        Ok(connection) => connection,
        Err(ConnectFailure::InUse(identity)) => return refuse(connected, LaunchError::IdentityInUse(identity)),
        Err(error) => return refuse(connected, LaunchError::System(error.to_string())),
    };
    if !grip.opened(&context) {
        context.close();
        return refuse(connected, LaunchError::System("the start was given up".to_owned()));
    }
    // Nobody listens when the host itself is gone; then the stop token is cancelled.
    drop(connected.send(Ok(context.liveness())));
    let running = AssertUnwindSafe(agent.run(context, events)).catch_unwind();
    tokio::select! {
        biased;
        () = grip.0.kill.cancelled() => Exit::killed(),
        ended = running => match ended {
            Ok(Ok(())) => Exit { code: 0, reason: String::new() },
            Ok(Err(error)) => Exit { code: 1, reason: error.to_string() },
            Err(payload) => Exit::panicked(&*payload),
        },
    }
}

thread_local! {
    /// Keeps the agent's span entered on threads for blocking work.
    static SPAN: RefCell<Option<EnteredSpan>> = const { RefCell::new(None) };
}

fn build_runtime(job: &Job, span: &tracing::Span) -> std::io::Result<Runtime> {
    let span = span.clone();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(job.blocking_threads_max.max(1))
        .thread_name(job.agent.identity.as_str())
        .on_thread_start(move || SPAN.set(Some(span.clone().entered())))
        .on_thread_stop(|| drop(SPAN.take()))
        .build()
}
