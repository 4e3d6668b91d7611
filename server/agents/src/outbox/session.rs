//! One configuration at work: a single loop that takes in, writes, sends, and follows the link.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use vt_agent::{AgentContext, Event, Events};
use vt_backends::{DiscoveryError, LinkError, LinkRequest, LinkState, Platform, RemoteBus, RemoteLink};
use vt_historians::outbox::{Entry, Leave, Outbox};
use vt_types::{HistoryRecord, Identity, PublicKey, Publication, TopicPrefix};

use super::{
    Consignment, Delivered, Problem, Role, Sender, UNWRITTEN_MAX,
    capture::Capture,
    report::{Figures, Report, State},
    settings::{Destination, Settings},
};

/// Publications taken in at once; one commit.
const BATCH_PUBLICATIONS: usize = 2048;
/// Bytes of messages sent at once; a batch has to arrive within the time limit of one message.
const BATCH_BYTES: usize = 1 << 20;
/// Pause after the outbox could not be opened, read or written.
const DISK_RETRY: Duration = Duration::from_secs(1);
/// First pause after the other platform did not take a batch; doubled up to the longest, or to `retry_period` if that is shorter.
const SEND_RETRY_MIN: Duration = Duration::from_secs(1);
const SEND_RETRY_MAX: Duration = Duration::from_secs(60);
/// How long messages that were refused are set aside, or `retry_period` if that is shorter.
const REFUSED_RETRY: Duration = Duration::from_secs(60);
/// How long the other platform's router may take to say that it is still there.
const PING_LIMIT: Duration = Duration::from_secs(10);
/// How long a platform that was found by its web address may be away before it is looked for again.
const MOVED_AFTER: Duration = Duration::from_secs(60);
/// How often status and figures are looked at when nothing happens.
const LOOK_PERIOD: Duration = Duration::from_secs(5);

type Work<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// A batch that has come back.
struct Sent {
    entries: Vec<Entry>,
    delivered: Delivered,
    run: String,
}

/// Why `work` returned.
pub enum Ended {
    Stop,
    Config,
}

impl Ended {
    pub fn is_stop(&self) -> bool {
        matches!(self, Self::Stop)
    }
}

pub struct Session {
    context: AgentContext,
    role: Arc<dyn Role>,
    remote: Arc<dyn RemoteBus>,
    settings: Arc<Settings>,
    capture: Capture,
    outbox: Option<Outbox>,
    /// Taken from the bus and not yet in the outbox.
    unwritten: Vec<HistoryRecord>,
    disk_error: Option<String>,
    disk_retry: Option<Instant>,
    link: Option<Arc<dyn RemoteLink>>,
    link_state: LinkState,
    open_retry: Option<Instant>,
    /// The run of the other platform that confirmed what is held.
    held_run: Option<String>,
    /// The platform behind the web address, once it was found.
    found: Option<Platform>,
    /// Since when there is no link to it.
    down_since: Option<Instant>,
    looking: Work<Result<Platform, DiscoveryError>>,
    sending: Work<Sent>,
    pinging: Work<(Instant, String, Result<(), LinkError>)>,
    ping_at: Instant,
    /// Messages sent at once: fewer after a timeout.
    window: usize,
    problem: Option<Problem>,
    failures: u32,
    send_retry: Option<Instant>,
    figures: Arc<Mutex<Figures>>,
    /// Dropped by outboxes of this session, as far as it is counted.
    dropped: u64,
    report: Report,
}

impl Session {
    pub async fn start(sender: &Sender, context: &AgentContext, settings: Settings) -> Self {
        let capture = Capture::new(&settings, context.instance_name(), context.identity().as_str());
        let report = Report::new(context.clone(), sender.role.alert_key(), &settings, Arc::clone(&sender.figures));
        let mut session = Self {
            context: context.clone(),
            role: Arc::clone(&sender.role),
            remote: Arc::clone(&sender.remote),
            window: settings.base.submit_size_limit,
            settings: Arc::new(settings),
            capture,
            outbox: None,
            unwritten: Vec::new(),
            disk_error: None,
            disk_retry: None,
            link: None,
            link_state: LinkState::Connecting,
            open_retry: None,
            held_run: None,
            found: None,
            down_since: None,
            looking: None,
            sending: None,
            pinging: None,
            ping_at: Instant::now(),
            problem: None,
            failures: 0,
            send_retry: None,
            figures: Arc::clone(&sender.figures),
            dropped: 0,
            report,
        };
        session.write().await;
        session
    }

    /// What to subscribe to; nothing until somebody has said where to send.
    pub fn prefixes(&self) -> Vec<TopicPrefix> {
        if self.settings.destination.is_some() { self.capture.prefixes() } else { Vec::new() }
    }

    /// Works until the agent is to stop or its configuration has changed.
    pub async fn work(&mut self, events: &mut Events) -> Ended {
        let mut batch = Vec::with_capacity(BATCH_PUBLICATIONS);
        loop {
            self.write().await;
            self.connect().await;
            self.send().await;
            self.tell();
            let wake = self.wake_at();
            tokio::select! {
                event = events.next_batch(&mut batch, BATCH_PUBLICATIONS) => {
                    self.take(&batch);
                    batch.clear();
                    match event {
                        Some(Event::Stop) => return Ended::Stop,
                        Some(Event::Config(change)) if change.name.eq_ignore_ascii_case("config") => return Ended::Config,
                        _ => {}
                    }
                }
                sent = pending_or(&mut self.sending) => self.came_back(sent).await,
                found = pending_or(&mut self.looking) => self.found(found),
                (began, run, heard) = pending_or(&mut self.pinging) => self.heard(began, &run, heard).await,
                state = changed(self.link.as_deref(), &self.link_state) => self.turned(state),
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    /// Ends the session after it has written what is left.
    pub async fn end(mut self, left: &[Arc<Publication>]) {
        self.take(left);
        self.disk_retry = None;
        self.write().await;
        if !self.unwritten.is_empty() {
            tracing::error!(messages = self.unwritten.len(), "messages are lost because the agent ends while its outbox cannot be written");
        }
        if let Some(link) = &self.link {
            link.close();
        }
        if let Some(outbox) = self.outbox {
            outbox.close().await;
        }
    }

    fn take(&mut self, publications: &[Arc<Publication>]) {
        let now = self.context.now();
        for publication in publications {
            let Some(record) = self.capture.take(publication, now) else { continue };
            if self.unwritten.len() < UNWRITTEN_MAX {
                self.unwritten.push(record);
            } else {
                self.figures.lock().lost_unwritten += 1;
            }
        }
    }

    /// Puts what was taken into the outbox, opening it first when it is not.
    async fn write(&mut self) {
        if self.disk_retry.is_some_and(|at| at > Instant::now()) || (self.outbox.is_some() && self.unwritten.is_empty()) {
            return;
        }
        let result = match &mut self.outbox {
            Some(outbox) => outbox.take(&self.unwritten).await.map(|()| self.unwritten.clear()),
            None => {
                let path = self.context.data_dir().join("backup.sqlite");
                let opened = Outbox::open(&path, &self.settings.base).await;
                opened.map(|outbox| {
                    self.outbox = Some(outbox);
                    self.dropped = 0;
                })
            }
        };
        self.disk(result.map_err(|error| error.to_string()));
    }

    fn disk(&mut self, result: Result<(), String>) {
        if let Err(error) = &result
            && self.disk_error.is_none()
        {
            tracing::error!(error, "the outbox cannot be used; messages wait in memory");
        }
        self.disk_retry = result.is_err().then(|| Instant::now() + DISK_RETRY);
        self.disk_error = result.err();
    }

    /// Where the other platform is, as far as that is known; begins to look for it where it is not.
    fn place(&mut self) -> Option<(String, Option<PublicKey>)> {
        match (self.settings.destination.as_ref()?, &self.found) {
            (Destination::Vip { address, server_key }, _) => Some((address.clone(), *server_key)),
            (Destination::Web(_), Some(platform)) => Some((platform.address.clone(), Some(platform.server_key))),
            (Destination::Web(web_address), None) => {
                let (remote, web_address) = (Arc::clone(&self.remote), web_address.clone());
                self.looking.get_or_insert_with(|| Box::pin(async move { remote.discover(&web_address).await }));
                None
            }
        }
    }

    fn found(&mut self, found: Result<Platform, DiscoveryError>) {
        self.looking = None;
        match (found, &self.settings.destination) {
            (Ok(platform), _) => {
                tracing::info!(platform = platform.name, address = platform.address, "the other platform was found");
                (self.found, self.open_retry) = (Some(platform), None);
            }
            (Err(problem), Some(Destination::Web(web_address))) => {
                self.link_state = LinkState::Down(LinkError::NotFound { web_address: web_address.clone(), problem });
                self.open_retry = Some(Instant::now() + LOOK_PERIOD);
            }
            (Err(_), _) => {}
        }
    }

    /// A platform that has been away for long may be at another place now.
    fn look_again(&mut self) {
        if self.found.is_some() && self.down_since.is_some_and(|since| since.elapsed() >= MOVED_AFTER) {
            if let Some(link) = self.link.take() {
                link.close();
            }
            (self.found, self.down_since) = (None, None);
        }
    }

    async fn connect(&mut self) {
        self.look_again();
        if self.link.is_some() || self.open_retry.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let Some((address, server_key)) = self.place() else { return };
        let own = self.context.identity();
        let named = || Identity::parse(&format!("{}.{own}", self.context.instance_name()));
        let request = match self.settings.remote_identity.clone().map_or_else(named, Ok) {
            Ok(identity) => LinkRequest { agent: own.clone(), identity, address, server_key },
            Err(error) => {
                self.link_state = LinkState::Down(LinkError::Address(error.to_string()));
                return;
            }
        };
        match self.remote.open(&request).await {
            Ok(link) => {
                let state = link.state();
                self.link = Some(link);
                self.turned(state);
            }
            Err(error) => {
                self.link_state = LinkState::Down(error);
                self.open_retry = Some(Instant::now() + LOOK_PERIOD);
            }
        }
    }

    fn turned(&mut self, state: LinkState) {
        self.down_since = match state {
            LinkState::Connected { .. } => None,
            _ => self.down_since.or_else(|| Some(Instant::now())),
        };
        if let LinkState::Connected { run } = &state {
            (self.failures, self.send_retry, self.problem) = (0, None, None);
            if let Some(outbox) = &mut self.outbox {
                // Perhaps somebody there has given the right to send them.
                outbox.forget_refusals();
            }
            if self.held_run.as_ref().is_some_and(|held| held != run)
                && let Some(outbox) = &mut self.outbox
            {
                let again = outbox.unsettle();
                if again > 0 {
                    tracing::info!(messages = again, "the other platform has started anew; what it took last is sent once more");
                }
                let mut figures = self.figures.lock();
                figures.sent = figures.sent.saturating_sub(u64::try_from(again).unwrap_or(0));
                self.held_run = None;
            }
        }
        self.link_state = state;
    }

    /// Starts to send, or to ask whether the other platform is still there, if it is time.
    async fn send(&mut self) {
        let (Some(link), LinkState::Connected { run }, Some(outbox)) = (&self.link, &self.link_state, &mut self.outbox) else { return };
        let now = Instant::now();
        if self.pinging.is_none() && self.ping_at <= now && outbox.settles_at().is_some_and(|at| at <= now) {
            self.ping_at = now + DISK_RETRY;
            let (link, run) = (Arc::clone(link), run.clone());
            self.pinging = Some(Box::pin(async move { (now, run, link.ping(PING_LIMIT).await) }));
        }
        let is_wanted = self.sending.is_none() && !self.settings.base.cache_only_enabled && self.disk_error.is_none();
        if !is_wanted || self.send_retry.is_some_and(|at| at > now) {
            return;
        }
        if let Err(error) = outbox.retry_refused(self.settings.base.submit_size_limit, now).await {
            return self.disk(Err(error.to_string()));
        }
        let entries = match outbox.next(self.window, BATCH_BYTES).await {
            Ok(entries) if entries.is_empty() => return,
            Ok(entries) => entries,
            Err(error) => return self.disk(Err(error.to_string())),
        };
        let (link, role, run) = (Arc::clone(link), Arc::clone(&self.role), run.clone());
        let consignment = Consignment { entries, settings: Arc::clone(&self.settings), context: self.context.clone() };
        self.sending = Some(Box::pin(async move {
            let delivered = role.deliver(&*link, &consignment).await;
            Sent { entries: consignment.entries, delivered, run }
        }));
    }

    async fn came_back(&mut self, sent: Sent) {
        self.sending = None;
        let Sent { entries, delivered: Delivered { mut confirmed, refused, refusal, is_to_be_split, problem }, run } = sent;
        let leave = self.role.leave();
        let is_same_run = !matches!(&self.link_state, LinkState::Connected { run: now } if *now != run);
        if leave == Leave::Held {
            if is_same_run {
                self.held_run = Some(run);
            } else {
                // Another run than the present one took them; nobody knows what became of them.
                confirmed.clear();
            }
        }
        let count = confirmed.len();
        self.figures.lock().sent += u64::try_from(count).unwrap_or(0);
        if !refused.is_empty()
            && let Some(outbox) = &mut self.outbox
        {
            tracing::warn!(messages = refused.len(), refusal, "the other platform refuses messages; they are set aside");
            self.figures.lock().refusal = refusal;
            let again_at = Instant::now() + REFUSED_RETRY.min(self.settings.base.retry_period);
            if let Err(error) = outbox.refuse(&refused, again_at).await {
                self.disk(Err(error.to_string()));
            }
        }
        if let Some(outbox) = &mut self.outbox
            && let Err(error) = outbox.sent(&entries, &confirmed, leave, Instant::now()).await
        {
            self.disk(Err(error.to_string()));
        }
        match problem {
            None if is_to_be_split => self.window = (entries.len() / 2).max(1),
            None => {
                (self.failures, self.send_retry, self.problem) = (0, None, None);
                self.window = self.window.saturating_mul(2).min(self.settings.base.submit_size_limit);
            }
            Some(problem) => self.failed(problem, count),
        }
    }

    fn failed(&mut self, problem: Problem, confirmed: usize) {
        let longest = SEND_RETRY_MAX.min(self.settings.base.retry_period);
        let wait = SEND_RETRY_MIN.saturating_mul(1 << self.failures.min(16)).min(longest);
        if self.problem.as_ref() != Some(&problem) {
            tracing::warn!(%problem, retry_s = wait.as_secs_f64(), "messages were not taken by the other platform; they are kept in the outbox");
        }
        if let (Problem::Link(LinkError::Timeout { .. }), Some(link)) = (&problem, &self.link) {
            // Over a slow line fewer at once arrive in time; a dead one is noticed by nothing else.
            self.window = confirmed.max(1);
            link.reconnect();
        }
        self.failures = self.failures.saturating_add(1);
        self.send_retry = Some(Instant::now() + wait);
        self.problem = Some(problem);
    }

    /// The other platform was asked whether it is still there.
    async fn heard(&mut self, began: Instant, run: &str, heard: Result<(), LinkError>) {
        self.pinging = None;
        match (heard, &mut self.outbox) {
            (Ok(()), Some(outbox)) if self.held_run.as_deref() == Some(run) => {
                if let Err(error) = outbox.settle(began).await {
                    self.disk(Err(error.to_string()));
                }
            }
            (Err(LinkError::Timeout { .. }), _) => {
                if let Some(link) = &self.link {
                    link.reconnect();
                }
            }
            _ => {}
        }
    }

    fn tell(&mut self) {
        if let Some(outbox) = &self.outbox {
            let mut figures = self.figures.lock();
            figures.backlog = outbox.backlog() + u64::try_from(self.unwritten.len()).unwrap_or(0);
            figures.oldest = outbox.oldest().or(self.unwritten.first().map(|record| record.timestamp));
            figures.lost_full += outbox.dropped() - self.dropped;
            figures.is_full = outbox.is_full();
            figures.refused = outbox.refused();
            self.dropped = outbox.dropped();
        }
        let state = match (&self.settings.destination, &self.disk_error, &self.link_state, &self.problem) {
            (None, ..) => State::Unconfigured,
            (_, Some(error), ..) => State::DiskFailed(error.clone()),
            (_, None, LinkState::Down(error), _) => State::Down(error.to_string()),
            (_, None, LinkState::Connecting, _) => State::Connecting,
            (_, None, LinkState::Connected { .. }, Some(problem)) => State::NotTaken(problem.to_string()),
            (_, None, LinkState::Connected { .. }, None) if self.settings.base.cache_only_enabled => State::CacheOnly,
            (_, None, LinkState::Connected { .. }, None) => State::Publishing,
        };
        self.report.tell(&state);
    }

    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let is_connected = matches!(self.link_state, LinkState::Connected { .. });
        let settle = self.outbox.as_ref().and_then(Outbox::settles_at).filter(|_| is_connected && self.pinging.is_none());
        let settle = settle.map(|at| at.max(self.ping_at));
        let refused = self.outbox.as_ref().and_then(Outbox::retries_refused_at).filter(|_| is_connected);
        let times = [self.disk_retry, self.open_retry, self.send_retry.filter(|_| self.sending.is_none()), settle, refused];
        let soonest = times.into_iter().flatten().filter(|at| *at > now || settle == Some(*at)).min();
        soonest.map_or(now + LOOK_PERIOD, |at| at.min(now + LOOK_PERIOD))
    }
}

/// A future that may be absent; absent ones never complete.
async fn pending_or<T>(future: &mut Work<T>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn changed(link: Option<&dyn RemoteLink>, seen: &LinkState) -> LinkState {
    match link {
        Some(link) => link.changed(seen).await,
        None => std::future::pending().await,
    }
}
