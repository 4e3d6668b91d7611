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
use crate::supervised::{Answer, Around};
use crate::supervisor::{Command, Supervisor};

/// Commands that may wait for the supervisor, which never takes long; further callers wait their turn.
const COMMANDS_MAX: usize = 256;

/// Runs built-in agents. When it is dropped, all agents are asked to stop and supervision ends.
pub struct Host {
    kinds: BTreeMap<&'static str, AgentKind>,
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
        let supervisor =
            Supervisor::new(bus, Around { config, board: Arc::clone(&board), clock }, Arc::clone(&forgotten), received, all.clone());
        let supervisor = tokio::spawn(supervisor.run());
        Self { kinds: catalogue.into_iter().map(|kind| (kind.kind, kind)).collect(), commands, board, forgotten, all, supervisor }
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
        let AgentSource::BuiltIn { kind } = &agent.source;
        let kind = self.kinds.get(kind.as_str()).cloned().ok_or_else(|| LaunchError::UnknownKind(kind.clone()))?;
        let agent = Box::new(agent.clone());
        self.ask(|answer| Command::Start(agent, kind, answer)).await
    }

    async fn stop(&self, uuid: AgentUuid) -> Result<(), LaunchError> {
        self.ask(|answer| Command::Stop(uuid, answer)).await
    }

    async fn stop_all(&self) {
        let (done, all_done) = oneshot::channel();
        if self.commands.send(Command::StopAll(done)).await.is_err() || all_done.await.is_err() {
            tracing::error!("the supervisor of agents has ended; agents may still run");
        }
    }

    fn state(&self, uuid: AgentUuid) -> RunState {
        self.board.state(uuid)
    }

    fn forget(&self, uuid: AgentUuid) {
        if self.board.forget(uuid) {
            self.forgotten.lock().push(uuid);
        }
    }

    fn observe(&self, observer: Arc<dyn LaunchObserver>) {
        self.board.observe(observer);
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
