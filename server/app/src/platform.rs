//! Start and shutdown, in order. What must survive is opened before what uses it, and closed after.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use vt_backends::{AgentLauncher, Discovery, RemoteBus};
use vt_bus::Bus;
use vt_config::{Loaded, LogTarget, Secret, Settings};
use vt_host::{Host, HostConfig, Packages};
use vt_services::{Admission, AuthConfig, InstanceInfo, LogBook, PasswordPolicy, PeerAuthConfig, Services, ServicesDeps};
use vt_storage_files::{FileLogs, FilePlatforms, Home, HomeError, HomeLock};
use vt_transport_zmq::{Statistics, WebDiscovery, ZmqRemoteBus};
use vt_types::{Clock, SystemClock};

use crate::introductions::Introductions;
use crate::listeners::{LocalSocket, WebListener};
use crate::peers::{Peers, readings};
use crate::stores::Stores;
use crate::{RunOptions, demo, first_run, logging, neighbours, process, python, signals, tls};

/// Lines kept per agent for the pages.
const LOG_LINES_PER_SOURCE: usize = 2_000;
/// How long a home is waited for whose holder does not say who it is.
const BRIEF_HOLD: Duration = Duration::from_secs(2);
/// Longest time that closing the database may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Runs the platform until a signal or `vctl shutdown --platform`.
///
/// # Errors
/// One readable sentence with its causes; nothing was announced then.
pub async fn run(loaded: Loaded, options: &RunOptions) -> anyhow::Result<()> {
    let Loaded { settings, warnings, missing } = loaded;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let stop = CancellationToken::new();
    let pressed = tokio::spawn(signals::watch(stop.clone())?);

    let (home, lock) = open(&settings.home).await?;
    let logs = Arc::new(LogBook::new(LOG_LINES_PER_SOURCE));
    let _logging = logging::start(&settings.log, Arc::clone(&logs), Arc::clone(&clock))?;
    if let Err(error) = process::allow_open_files() {
        tracing::warn!(%error, "the limit on open files could not be raised");
    }
    warn_about(&settings, warnings.iter().map(ToString::to_string));
    if let Err(error) = vt_config::add_missing_keys(&settings.config_file, &missing) {
        // A file that is mounted read-only is no reason not to run; without `web-secret-key` in it, sessions end with the process.
        tracing::warn!(%error, "the configuration file could not be completed");
    }

    let identity = tls::server_identity(&settings, &home.certificates(), clock.now())?;
    let tls_config = identity.as_ref().map(tls::server_config).transpose()?;
    let web = WebListener::bind(&settings.web.bind)?;
    let url = web_url(&settings, web.port());

    let peers = Peers::bind(&settings, &url)?;

    let stores = Stores::open(&settings.home, &settings.database).await?;
    let bus = Bus::new(vt_bus::Config::default(), Arc::clone(&clock));
    let host_config = HostConfig { instance_name: settings.instance_name.clone(), ..HostConfig::default() };
    let discovery: Arc<dyn Discovery> = Arc::new(WebDiscovery::new().context("TLS cannot be set up")?);
    let remote: Arc<dyn RemoteBus> = Arc::new(ZmqRemoteBus::new(Arc::clone(&stores.keys), Arc::clone(&discovery)));
    let environment = vt_config::Environment::of_process();
    let host = Host::new(bus.clone(), vt_agents::catalog::all(&remote), host_config, Arc::clone(&clock));
    let host = host.with_processes(python::process_config(&settings, &environment)).await.context("agents in Python cannot be run")?;
    let launcher: Arc<dyn AgentLauncher> = Arc::new(host);
    let packages = Packages::new(python::packages_config(&settings, &environment)).context("agents in Python cannot be installed")?;
    let no_users = stores.users.load().await.is_ok_and(|users| users.is_empty());
    let setup_code = no_users.then(|| first_run::code(&settings.home)).transpose().context("the first-run code cannot be kept")?;
    let deps = ServicesDeps {
        bus: bus.clone(),
        clock: Arc::clone(&clock),
        instance: instance(&settings, peers.addresses(), &url, clock.as_ref()),
        users: Arc::clone(&stores.users),
        configs: Arc::clone(&stores.configs),
        installations: Arc::clone(&stores.installations),
        audit: Arc::clone(&stores.audit),
        alerts: Arc::clone(&stores.alerts),
        revocations: Arc::clone(&stores.revocations),
        policy: Arc::clone(&stores.policy),
        peer_auth: Arc::clone(&stores.peer_auth),
        keys: Arc::clone(&stores.keys),
        peer_auth_config: peer_auth_config(&settings, peers.addresses()),
        launcher: Arc::clone(&launcher),
        packages: Arc::new(packages),
        channels: Arc::new(peers.channels()),
        log_files: Arc::new(FileLogs::new(&settings.home, log_file(&settings.log.target))),
        auth: AuthConfig {
            signing: tls::signing_key(&settings, identity.as_ref())?,
            access_lifetime: minutes(settings.web.access_token_minutes),
            refresh_lifetime: minutes(settings.web.refresh_token_minutes),
            password_hashing: PasswordPolicy::default(),
            setup_code: setup_code.clone(),
        },
        logs,
        platform_stop: stop.clone(),
    };
    // Services outlive the listeners, so that a request that is being answered still finds them.
    let services_stop = CancellationToken::new();
    let (services, tasks) = Services::start(deps, services_stop.clone()).await?;

    if options.demo {
        demo::set_up(&services).await.context("the demonstration building could not be set up")?;
    }
    let metrics_token = settings.web.metrics_token.as_ref();
    let router = vt_api::router(api_state(&services, peers.statistics(), metrics_token))
        .merge(vt_web::router(vt_web::WebState::new(services.clone())));
    let (socket, local) =
        LocalSocket::serve(&home.run_dir(), vt_api::local_router(api_state(&services, peers.statistics(), None)), stop.clone())?;
    let serving = web.serve(tls_config, router, stop.clone())?;
    // Agents in other processes say that they stop, so the endpoint ends after them.
    let peers_stop = CancellationToken::new();
    let peers = peers.serve(bus, &services, Arc::clone(&clock), peers_stop.clone()).await?;
    services.instances.attach(Arc::clone(&peers.platforms) as _);
    let files = FilePlatforms::new(&settings.home);
    let links = tokio::spawn(neighbours::follow(files.clone(), peers.platforms, Arc::clone(&services.instances), stop.clone()));
    let introductions = settings.setup_mode.then(|| Introductions { files, discovery: Arc::clone(&discovery), services: services.clone() });
    let introducing = introductions.map(|introductions| tokio::spawn(introductions.run(stop.clone())));
    if settings.autostart {
        tokio::select! {
            () = services.agents.autostart() => {}
            // An agent that is slow to start does not hold up the end.
            () = stop.cancelled() => {}
        }
    }
    lock.announce()?;
    announce(&url, setup_code.as_deref())?;
    let code_watch = tokio::spawn(forget_code(services.clone(), settings.home.clone(), stop.clone()));

    stop.cancelled().await;
    tracing::info!("shutting down");
    complain("Shutting down.");
    launcher.stop_all().await;
    peers_stop.cancel();
    for task in [serving, local, code_watch, links, peers.task].into_iter().chain(introducing) {
        if let Err(error) = task.await {
            tracing::warn!(%error, "a listener did not end in order");
        }
    }
    services_stop.cancel();
    tasks.close();
    drop(services);
    if tokio::time::timeout(CLOSE_LIMIT, stores.close()).await.is_err() {
        tracing::warn!("the database did not close in time; everything that was acknowledged is stored");
    }
    drop(socket);
    drop(lock);
    pressed.abort();
    Ok(())
}

/// Takes the home. A holder that announces no process id is waited for: a tool at work while the server is down, or a server that ends.
async fn open(path: &Path) -> Result<(Home, HomeLock), HomeError> {
    let give_up = Instant::now() + BRIEF_HOLD;
    loop {
        match Home::open(path) {
            Err(HomeError::InUse { pid: None, .. }) if Instant::now() < give_up => tokio::time::sleep(Duration::from_millis(20)).await,
            result => return result,
        }
    }
}

fn api_state(services: &Services, statistics: Arc<Statistics>, metrics_token: Option<&Secret>) -> vt_api::ApiState {
    let state = vt_api::ApiState::new(services.clone()).with_process(|| {
        let used = process::read();
        vt_api::ProcessUse { resident_bytes: used.resident_bytes, cpu_s: used.cpu_s, open_files: used.open_files, threads: used.threads }
    });
    let state = state.with_readings(move || readings(&statistics));
    match metrics_token {
        Some(token) => state.with_metrics_token(token.expose().to_owned()),
        None => state,
    }
}

fn instance(settings: &Settings, vip_addresses: &[String], url: &str, clock: &dyn Clock) -> InstanceInfo {
    InstanceInfo {
        name: settings.instance_name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: clock.now(),
        message_bus: settings.message_bus.as_str().to_owned(),
        vip_addresses: vip_addresses.to_vec(),
        web_address: url.trim_end_matches('/').to_owned(),
    }
}

/// Who may connect from outside, and where agents look for the server's key.
fn peer_auth_config(settings: &Settings, addresses: &[String]) -> PeerAuthConfig {
    let admission = match (settings.allow_auth, settings.setup_mode) {
        (false, _) => Admission::Open,
        (true, true) => Admission::Setup,
        (true, false) => Admission::Listed,
    };
    let hosts = addresses.iter().filter_map(|address| address.strip_prefix("tcp://").map(str::to_owned)).collect();
    PeerAuthConfig { admission, own_uid: nix::unistd::geteuid().as_raw(), hosts }
}

/// The address for people: what was bound, with `localhost`'s number for "every address of this machine".
fn web_url(settings: &Settings, port: u16) -> String {
    let mut address = settings.web.bind.clone();
    address.port = port;
    if address.is_unspecified() {
        address.host = vt_config::Environment::of_process().host_name().unwrap_or("127.0.0.1").to_owned();
    }
    format!("{address}/")
}

/// The file that lines are written to, if it is one.
fn log_file(target: &LogTarget) -> Option<PathBuf> {
    match target {
        LogTarget::File(path) => Some(path.clone()),
        LogTarget::Stderr | LogTarget::Stdout => None,
    }
}

fn minutes(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 60)
}

fn warn_about(settings: &Settings, warnings: impl Iterator<Item = String>) {
    if nix::unistd::geteuid().is_root() {
        tracing::warn!("running as root; an ordinary user is enough and safer");
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(home = %settings.home.display(), instance = settings.instance_name, "starting");
}

/// Tells people where to go. These lines are for eyes and scripts, so they go to standard output whatever the log says.
fn announce(url: &str, setup_code: Option<&str>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "VOLTTRON is ready at {}", url.trim_end_matches('/'))
        .and_then(|()| setup_code.map_or(Ok(()), |code| writeln!(out, "First start: open {url}setup and enter the code {code}")))
        .and_then(|()| out.flush());
    match written {
        // Nobody reads standard output; the platform runs all the same.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn complain(text: &str) {
    // Nobody reads standard error; there is nobody to tell.
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Removes the code's file as soon as there is a user.
async fn forget_code(services: Services, home: PathBuf, stop: CancellationToken) {
    while !services.auth.has_users() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
    if let Err(error) = first_run::remove(&home) {
        tracing::warn!(%error, "the used first-run code could not be removed");
    }
}
