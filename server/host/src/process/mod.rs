//! Agents that run as child processes, which packages in Python do. One task per agent that was started (`life`); the rest is what it
//! needs: `launch` (how it is called), `spawn` (starting), `relay` (its output), `crashes` (when to try again), `limits`, `orphans`, `isolation` (users of their own) with `rights`.
//!
//! Invariants: when an agent has ended, so has its whole process group; nothing of it outlives the server but what it made on purpose to
//! do so, and that the next server ends.

pub mod config;
mod crashes;
mod isolation;
mod launch;
mod life;
pub mod limits;
mod orphans;
pub mod relay;
mod rights;
pub mod spawn;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vt_backends::{InstalledAgent, LaunchError, PythonSource};
use vt_bus::Bus;
use vt_types::{AgentUuid, Clock};

use crate::board::Board;
use config::ProcessConfig;
use isolation::Isolation;
use life::{Command, Life};
use limits::Groups;
use orphans::Records;
use spawn::Spawner;

/// Commands that may wait for one agent's task; it takes them at once whatever it waits for, so further ones are refused.
const COMMANDS_MAX: usize = 64;

/// The child processes of this server.
pub struct Processes {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

/// What the agents' tasks need.
pub struct Shared {
    bus: Bus,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    config: ProcessConfig,
    groups: Groups,
    records: Records,
    spawner: Spawner,
    isolation: Option<Isolation>,
    /// Unix users of the agents that run as one of their own.
    users: Mutex<BTreeMap<AgentUuid, String>>,
    /// Agents that have a task. The lock is held for the moment of a look, so that no command goes to a task that has ended.
    lives: Mutex<HashMap<AgentUuid, mpsc::Sender<Command>>>,
    /// Told whenever a task ends.
    ended: Notify,
    /// Cancelled when the host is dropped.
    all: CancellationToken,
}

impl Processes {
    /// Ends what an earlier server left running, and is ready then. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the records cannot be read, or the system gives no thread.
    pub async fn new(
        bus: Bus,
        board: Arc<Board>,
        clock: Arc<dyn Clock>,
        config: ProcessConfig,
        all: CancellationToken,
    ) -> io::Result<Self> {
        let records = Records::new(&config.home);
        records.end_orphans().await?;
        let membership = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let groups = Groups::prepare(Path::new("/sys/fs/cgroup"), &membership, &config.limits);
        let isolation = config.isolate_as.as_ref().map(|instance| Isolation::new(&config.home, instance));
        if let Some(obstacle) = isolation.as_ref().and_then(|_| Isolation::obstacle()) {
            tracing::error!("{obstacle}; until then no agent in Python starts");
        }
        let shared = Shared {
            bus,
            board,
            clock,
            config,
            groups,
            records,
            spawner: Spawner::new()?,
            isolation,
            users: Mutex::default(),
            lives: Mutex::default(),
            ended: Notify::new(),
            all,
        };
        let this = Self { shared: Arc::new(shared), tasks: TaskTracker::new() };
        this.forget_users();
        Ok(this)
    }

    /// Starts an agent; returns when its process runs. It connects to the bus in its own time.
    pub async fn start(&self, agent: &InstalledAgent, python: &PythonSource) -> Result<(), LaunchError> {
        let (answer, result) = oneshot::channel();
        let command = Command::Start(Box::new((agent.clone(), python.clone())), answer);
        {
            let mut lives = self.shared.lives.lock();
            match lives.get(&agent.uuid) {
                Some(life) => send(life, command)?,
                None => {
                    let (commands, received) = mpsc::channel(COMMANDS_MAX);
                    send(&commands, command)?;
                    lives.insert(agent.uuid, commands);
                    self.tasks.spawn(Life::new(Arc::clone(&self.shared), agent.uuid, received).run());
                }
            }
        }
        result.await.unwrap_or_else(|_| Err(ending()))
    }

    /// Stops an agent; fine if it does not run.
    pub async fn stop(&self, uuid: AgentUuid) -> Result<(), LaunchError> {
        let (answer, result) = oneshot::channel();
        match self.shared.lives.lock().get(&uuid) {
            Some(life) => send(life, Command::Stop(answer))?,
            None => return Ok(()),
        }
        result.await.unwrap_or_else(|_| Err(ending()))
    }

    /// Unix users of the agents that run; `None` if agents have no users of their own.
    pub fn users(&self) -> Option<BTreeMap<AgentUuid, String>> {
        self.shared.isolation.as_ref().map(|_| self.shared.users.lock().clone())
    }

    /// Deletes the users of agents that are gone, in its own time.
    pub fn forget_users(&self) {
        if self.shared.isolation.is_some() {
            let shared = Arc::clone(&self.shared);
            self.tasks.spawn(async move {
                if let Some(isolation) = &shared.isolation {
                    isolation.sweep().await;
                }
            });
        }
    }

    /// Stops all agents in parallel and waits until they have ended, or do not even after SIGKILL.
    pub async fn stop_all(&self) {
        let ladder = self.shared.config.stop_all;
        let limit = (ladder.interrupt + ladder.terminate + ladder.kill).mul_f32(1.2);
        let ended = async {
            loop {
                let ended = self.shared.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                let uuids: Vec<_> = {
                    let lives = self.shared.lives.lock();
                    for life in lives.values() {
                        // A task that has as many commands waiting has been told.
                        drop(life.try_send(Command::StopAll));
                    }
                    lives.keys().copied().collect()
                };
                if uuids.is_empty() {
                    return;
                }
                ended.await;
            }
        };
        if tokio::time::timeout(limit, ended).await.is_err() {
            tracing::error!("some agents do not end even by force");
        }
    }
}

fn send(life: &mpsc::Sender<Command>, command: Command) -> Result<(), LaunchError> {
    life.try_send(command).map_err(|_| LaunchError::System("too many commands wait for this agent".to_owned()))
}

fn ending() -> LaunchError {
    LaunchError::System("the platform is stopping".to_owned())
}
