//! Other platforms as people see them: how the links are, what each platform told when it was last asked, and how setting up goes. What was
//! told is kept, so that a platform that does not answer is shown as it was, with the age of that, and blocks nobody.
//! Source: vip-zmq.md §9, web.md §2.3; VOLTTRON `volttron/platform/web/vui_endpoints.py` (calls with `external_platform`).

#[cfg(test)]
mod tests;
mod told;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use serde_json::Value;
use vt_backends::{PlatformLinks, PlatformState};
use vt_types::identity::known;
use vt_types::timestamp::Timestamp;
use vt_types::{Clock, Identity, Params, RpcError, RpcRequest};

use crate::{Audit, Caller, ServiceError};

pub use told::{RemoteAgent, RemotePeer, Told};

/// How often a connected platform is asked how it is.
const ASK_PERIOD: chrono::Duration = chrono::Duration::seconds(15);
/// How long a platform may take to answer one question of ours.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// How long a platform may take to do what a person asks of it.
const CALL_LIMIT: Duration = Duration::from_secs(20);
/// Platforms asked at the same time.
const ASKED_MAX: usize = 32;
/// How often is looked who is to be asked.
const LOOK_PERIOD: Duration = Duration::from_millis(500);
/// The names of the control service: that of VOLTTRON 9 and ours, and that of the modular generation, which knows no other.
const CONTROLS: [&str; 2] = [known::CONTROL, "platform.control"];

/// Another platform.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceView {
    /// Its name, address and key, and how the link is.
    pub link: PlatformState,
    /// What it told when it last answered.
    pub told: Option<Arc<Told>>,
    /// Why it did not answer when it was last asked.
    pub silence: Option<String>,
}

/// How finding a platform by its web address goes, while setting up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// Where it is looked for.
    pub web_address: String,
    /// When that was last tried.
    pub tried_at: Option<Timestamp>,
    /// Its name, why it was not taken, or nothing yet.
    pub outcome: Option<Result<String, String>>,
}

/// The other platforms.
pub struct Instances {
    own_name: String,
    links: OnceLock<Arc<dyn PlatformLinks>>,
    answers: Mutex<BTreeMap<String, Answers>>,
    introductions: Mutex<BTreeMap<String, Introduction>>,
    problems: Mutex<Vec<String>>,
    audit: Arc<Audit>,
    clock: Arc<dyn Clock>,
}

/// What came of asking a platform.
#[derive(Debug, Clone, Default)]
struct Answers {
    asked_at: Option<Timestamp>,
    /// The connection that was asked over.
    connects: u64,
    told: Option<Arc<Told>>,
    silence: Option<String>,
    /// Which of [`CONTROLS`] answered last.
    control: usize,
}

impl Instances {
    pub(crate) fn new(own_name: &str, audit: Arc<Audit>, clock: Arc<dyn Clock>) -> Self {
        Self {
            own_name: own_name.to_owned(),
            links: OnceLock::new(),
            answers: Mutex::default(),
            introductions: Mutex::default(),
            problems: Mutex::default(),
            audit,
            clock,
        }
    }

    /// Takes the links; a transport has them only after the services are there. A second call changes nothing.
    pub fn attach(&self, links: Arc<dyn PlatformLinks>) {
        drop(self.links.set(links));
    }

    /// All other platforms by name.
    #[must_use]
    pub fn list(&self) -> Vec<InstanceView> {
        let answers = self.answers.lock();
        let view = |link: PlatformState| {
            let known = answers.get(&link.platform.name);
            let (told, silence) = known.map_or((None, None), |known| (known.told.clone(), known.silence.clone()));
            InstanceView { link, told, silence }
        };
        self.states().into_iter().map(view).collect()
    }

    /// One of them.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<InstanceView> {
        self.list().into_iter().find(|instance| instance.link.platform.name == name)
    }

    /// Calls a method of a peer of another platform for an administrator. That platform decides what it lets this one do.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound` for an unknown platform, `Unavailable` without a link, `Rpc` with the cause.
    pub async fn call(&self, caller: &Caller, platform: &str, peer: &str, method: &str, params: Params) -> Result<Value, ServiceError> {
        let called = async {
            caller.require_admin()?;
            let state = self.states().into_iter().find(|state| state.platform.name == platform);
            let state = state.ok_or_else(|| ServiceError::NotFound(format!("Unknown platform: {platform}")))?;
            if !state.is_connected {
                return Err(not_connected(&state));
            }
            Ok(self.ask(platform, peer, method, params, CALL_LIMIT).await?)
        };
        let result = called.await;
        let target = format!("{platform}:{peer}.{}", method.chars().take(200).collect::<String>());
        self.audit.record(caller, "platform.rpc", &target, result.as_ref().map(|_| "")).await;
        result
    }

    /// Starts an agent of another platform, or stops it.
    ///
    /// # Errors
    /// As [`Instances::call`]; `NotFound` for an agent that the platform has not told of.
    pub async fn run_agent(&self, caller: &Caller, platform: &str, identity: &str, method: Running) -> Result<(), ServiceError> {
        let uuid = self.by_name(platform).and_then(|known| Some(known.told?.agent(identity)?.uuid.clone()));
        let uuid = uuid.ok_or_else(|| ServiceError::NotFound(format!("Agent \"{identity}\" not found.")))?;
        let control = self.answers.lock().get(platform).map_or(0, |known| known.control);
        let params = Params::positional(vec![uuid.into()]);
        self.call(caller, platform, CONTROLS[control % CONTROLS.len()], method.name(), params).await?;
        // What it tells now is news.
        if let Some(known) = self.answers.lock().get_mut(platform) {
            known.asked_at = None;
        }
        Ok(())
    }

    /// Which web addresses platforms are looked for at; what is known of those that stay, stays.
    pub fn set_introductions(&self, web_addresses: &[String]) {
        let mut introductions = self.introductions.lock();
        introductions.retain(|address, _| web_addresses.contains(address));
        for address in web_addresses {
            let new = || Introduction { web_address: address.clone(), tried_at: None, outcome: None };
            introductions.entry(address.clone()).or_insert_with(new);
        }
    }

    /// What came of looking for a platform.
    pub fn note_introduction(&self, web_address: &str, outcome: Result<String, String>) {
        if let Some(introduction) = self.introductions.lock().get_mut(web_address) {
            (introduction.tried_at, introduction.outcome) = (Some(self.clock.now()), Some(outcome));
        }
    }

    /// How setting up goes, by web address; empty when nothing is set up.
    #[must_use]
    pub fn introductions(&self) -> Vec<Introduction> {
        self.introductions.lock().values().cloned().collect()
    }

    /// What is wrong with the files that name other platforms, in place of what was wrong before.
    pub fn set_problems(&self, problems: Vec<String>) {
        *self.problems.lock() = problems;
    }

    /// What is wrong with the files that name other platforms.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.problems.lock().clone()
    }

    /// Keeps what the platforms tell up to date, until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(LOOK_PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut asking, mut under_way) = (FuturesUnordered::new(), HashSet::new());
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    for state in self.due(&under_way, ASKED_MAX - under_way.len()) {
                        under_way.insert(state.platform.name.clone());
                        asking.push(self.ask_all(state));
                    }
                }
                Some(name) = asking.next() => {
                    under_way.remove(&name);
                }
            }
        }
    }

    fn states(&self) -> Vec<PlatformState> {
        self.links.get().map(|links| links.states()).unwrap_or_default()
    }

    /// Who is to be asked now. What is known of platforms that are gone is forgotten.
    fn due(&self, under_way: &HashSet<String>, count_max: usize) -> Vec<PlatformState> {
        let states = self.states();
        let now = self.clock.now();
        let mut answers = self.answers.lock();
        answers.retain(|name, _| states.iter().any(|state| state.platform.name == *name));
        let is_due = |state: &PlatformState| {
            let known = answers.get(&state.platform.name);
            let is_new = known.is_none_or(|known| known.connects != state.connects);
            let is_old = known.and_then(|known| known.asked_at).is_none_or(|at| now - at >= ASK_PERIOD);
            state.is_connected && (is_new || is_old) && !under_way.contains(&state.platform.name)
        };
        let mut due: Vec<_> = states.into_iter().filter(is_due).collect();
        due.sort_by_key(|state| answers.get(&state.platform.name).and_then(|known| known.asked_at));
        due.truncate(count_max);
        due
    }

    /// Asks one platform for everything; says whom.
    async fn ask_all(&self, state: PlatformState) -> String {
        let name = state.platform.name;
        let first = self.answers.lock().get(&name).map_or(0, |known| known.control);
        let health = self.ask(&name, known::PLATFORM_HEALTH, "get_platform_health", Params::none(), ASK_LIMIT);
        let (health, agents) = tokio::join!(health, self.ask_agents(&name, first));
        let now = self.clock.now();
        let mut answers = self.answers.lock();
        let known = answers.entry(name.clone()).or_default();
        (known.asked_at, known.connects) = (Some(now), state.connects);
        known.silence = health.as_ref().err().or(agents.as_ref().err()).map(ToString::to_string);
        if health.is_ok() || agents.is_ok() {
            let before = known.told.take();
            if let Ok((control, ..)) = &agents {
                known.control = *control;
            }
            let agents = agents.ok().map(|(_, list, status)| (list, status));
            known.told = Some(Arc::new(Told::new(now, health.ok().as_ref(), agents.as_ref(), before.as_deref())));
        }
        name
    }

    /// The installed agents and their states, from whichever control service is there. On VOLTTRON, a peer that is not there never answers.
    async fn ask_agents(&self, platform: &str, first: usize) -> Result<(usize, Value, Value), RpcError> {
        let mut failure = None;
        for control in [first, 1 - first] {
            let ask = |method| self.ask(platform, CONTROLS[control], method, Params::none(), ASK_LIMIT);
            match tokio::join!(ask("list_agents"), ask("status_agents")) {
                (Ok(list), Ok(status)) => return Ok((control, list, status)),
                (Err(error), _) | (_, Err(error)) => {
                    failure.get_or_insert(error);
                }
            }
        }
        Err(failure.unwrap_or_else(|| RpcError::runtime_error("nobody answers")))
    }

    async fn ask(&self, platform: &str, peer: &str, method: &str, params: Params, limit: Duration) -> Result<Value, RpcError> {
        let peer = Identity::parse(peer).map_err(|error| RpcError::value_error(error.to_string()))?;
        let links = self.links.get().ok_or_else(|| RpcError::UnknownPeer(peer.clone()))?;
        let request = RpcRequest::new(method, params);
        let answer = tokio::time::timeout(limit, links.call(platform, &peer, &request, limit)).await;
        answer.unwrap_or_else(|_| {
            let timeout_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            Err(RpcError::Timeout { peer: peer.clone(), method: method.to_owned(), timeout_ms })
        })
    }

    /// This platform's own name.
    #[must_use]
    pub fn own_name(&self) -> &str {
        &self.own_name
    }
}

/// What to do with an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Stop and start it.
    Restart,
}

impl Running {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start_agent",
            Self::Stop => "stop_agent",
            Self::Restart => "restart_agent",
        }
    }
}

fn not_connected(state: &PlatformState) -> ServiceError {
    let name = &state.platform.name;
    ServiceError::Unavailable(match &state.problem {
        Some(problem) => format!("There is no link to the platform {name}: {problem}"),
        None => format!("There is no link to the platform {name} yet."),
    })
}
