//! The launcher as others call it: commands go to the supervisor's task, states are read from its board.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vt_agent::AgentKind;
use vt_backends::{AgentKindInfo, AgentLauncher, AgentSource, InstalledAgent, LaunchError, LaunchObserver, RunState};
use vt_bus::Bus;
use vt_types::{AgentUuid, Clock};

use crate::HostConfig;
use crate::board::Board;
use crate::process::Processes;
use crate::process::config::ProcessConfig;
use crate::supervised::{Answer, Around};
use crate::supervisor::{Command, Supervisor};

/// Commands that may wait for the supervisor, which never takes long; further callers wait their turn.
const COMMANDS_MAX: usize = 256;

/// Runs agents. When it is dropped, all agents are asked to stop and supervision ends.
pub struct Host {
    bus: Bus,
    clock: Arc<dyn Clock>,
    kinds: BTreeMap<&'static str, AgentKind>,
    processes: Option<Processes>,
    commands: mpsc::Sender<Command>,
    board: Arc<Board>,
    forgotten: Arc<Mutex<Vec<AgentUuid>>>,
    all: CancellationToken,
    supervisor: JoinHandle<()>,
}

impl Host {
    /// A host for agents of the kinds in `catalogue`. Must be called inside a tokio runtime, on which the supervisor then runs.
    #[must_use]
    pub fn new(bus: Bus, catalogue: Vec<AgentKind>, config: HostConfig, clock: Arc<dyn Clock>) -> Self {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (board, forgotten) = (Arc::new(Board::default()), Arc::default());
        let all = CancellationToken::new();
        let around = Around { config, board: Arc::clone(&board), clock: Arc::clone(&clock) };
        let supervisor = Supervisor::new(bus.clone(), around, Arc::clone(&forgotten), received, all.clone());
        let supervisor = tokio::spawn(supervisor.run());
        let kinds = catalogue.into_iter().map(|kind| (kind.kind, kind)).collect();
        Self { bus, clock, kinds, processes: None, commands, board, forgotten, all, supervisor }
    }

    /// Lets it run packages in Python as well, each in a child process. What an earlier server left running of them is ended first.
    ///
    /// # Errors
    /// If the records of running processes cannot be read, or the system gives no thread.
    pub async fn with_processes(mut self, config: ProcessConfig) -> std::io::Result<Self> {
        let (bus, board, clock) = (self.bus.clone(), Arc::clone(&self.board), Arc::clone(&self.clock));
        self.processes = Some(Processes::new(bus, board, clock, config, self.all.clone()).await?);
        Ok(self)
    }

    async fn ask(&self, command: impl FnOnce(Answer) -> Command) -> Result<(), LaunchError> {
        let gone = || LaunchError::System("the supervisor of agents has ended; restart the platform".to_owned());
        let (answer, result) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

#[async_trait]
impl AgentLauncher for Host {
    fn kinds(&self) -> Vec<AgentKindInfo> {
        self.kinds
            .values()
            .map(|kind| AgentKindInfo {
                kind: kind.kind.to_owned(),
                name: kind.name(),
                default_identity: kind.default_identity.to_owned(),
                summary: kind.summary.to_owned(),
            })
            .collect()
    }

    async fn start(&self, agent: &InstalledAgent) -> Result<(), LaunchError> {
        let kind = match (&agent.source, &self.processes) {
            (AgentSource::BuiltIn { kind }, _) => kind,
            (AgentSource::Python(python), Some(processes)) => return processes.start(agent, python).await,
            (AgentSource::Python(_), None) => {
                return Err(LaunchError::System("this server does not run packages in Python".to_owned()));
            }
        };
        let kind = self.kinds.get(kind.as_str()).cloned().ok_or_else(|| LaunchError::UnknownKind(kind.clone()))?;
        let agent = Box::new(agent.clone());
        self.ask(|answer| Command::Start(agent, kind, answer)).await
    }

    async fn stop(&self, uuid: AgentUuid) -> Result<(), LaunchError> {
        if let Some(processes) = &self.processes {
            processes.stop(uuid).await?;
        }
        self.ask(|answer| Command::Stop(uuid, answer)).await
    }

    async fn stop_all(&self) {
        let built_in = async {
            let (done, all_done) = oneshot::channel();
            if self.commands.send(Command::StopAll(done)).await.is_err() || all_done.await.is_err() {
                tracing::error!("the supervisor of agents has ended; agents may still run");
            }
        };
        let processes = async {
            if let Some(processes) = &self.processes {
                processes.stop_all().await;
            }
        };
        tokio::join!(built_in, processes);
    }

    fn state(&self, uuid: AgentUuid) -> RunState {
        self.board.state(uuid)
    }

    fn forget(&self, uuid: AgentUuid) {
        if self.board.forget(uuid) {
            self.forgotten.lock().push(uuid);
        }
        if let Some(processes) = &self.processes {
            processes.forget_users();
        }
    }

    fn observe(&self, observer: Arc<dyn LaunchObserver>) {
        self.board.observe(observer);
    }

    fn users(&self) -> Option<BTreeMap<AgentUuid, String>> {
        self.processes.as_ref().and_then(Processes::users)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.all.cancel();
        self.supervisor.abort();
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("kinds", &self.kinds.keys()).finish_non_exhaustive()
    }
}
