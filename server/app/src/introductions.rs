//! Setup mode: looks for other platforms at the web addresses of `external_address.json`, and enters those that answer in
//! `external_platform_discovery.json` and among the known hosts; the links follow from there, and over them the others learn our key.
//! Runs only while the platform is started with `--setup-mode`. Source: vip-zmq.md §9.1, VOLTTRON `volttron/platform/vip/keydiscovery.py`.
//!
//! Differs from VOLTTRON: what is known already stays until somebody removes it, so that a platform that is away keeps its link, and one
//! that is known with another key is not taken; both files are followed while they are edited.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vt_backends::{Discovery, Platform};
use vt_services::{Caller, Services};
use vt_storage_files::FilePlatforms;

use crate::neighbours::POLL_PERIOD;

/// First pause after a platform was not found; doubled up to the longest, which is VOLTTRON's.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Web addresses that are asked at the same time.
const ASKED_MAX: usize = 8;

/// Who introduces this platform to others.
pub struct Introductions {
    /// Where they are entered.
    pub files: FilePlatforms,
    /// How they are asked.
    pub discovery: Arc<dyn Discovery>,
    /// Where known hosts are, and where people see how it goes.
    pub services: Services,
}

/// What a platform at a web address is.
enum Found {
    /// This one.
    Ourselves,
    /// Another, with this name.
    Other(String),
}

impl Introductions {
    /// Introduces until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        tracing::warn!("RUNNING IN MULTI-PLATFORM SETUP MODE: unknown keys are let in; restart without it when all platforms are known");
        let this = Arc::new(self);
        let mut tasks = JoinSet::new();
        let mut seen = None;
        let mut ticks = tokio::time::interval(POLL_PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {
                    let stamp = this.files.addresses_stamp().await.map_err(|error| error.to_string());
                    if seen.as_ref() != Some(&stamp) {
                        seen = Some(stamp);
                        tasks = this.begin().await;
                    }
                }
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "looking for a platform failed");
                    }
                    if tasks.is_empty() {
                        tracing::info!("MULTI_PLATFORM SETUP MODE COMPLETED");
                    }
                }
            }
        }
    }

    /// Begins to look at every listed address; a task ends when its platform is entered.
    async fn begin(self: &Arc<Self>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let addresses = match self.files.web_addresses().await {
            Ok(addresses) => addresses,
            Err(error) => {
                tracing::error!(%error, "nobody is looked for");
                self.services.instances.set_introductions(&["external_address.json".to_owned()]);
                self.services.instances.note_introduction("external_address.json", Err(error.to_string()));
                return tasks;
            }
        };
        if addresses.is_empty() {
            tracing::warn!("external_address.json lists no web address; other platforms may still come to this one");
        }
        self.services.instances.set_introductions(&addresses);
        let turns = Arc::new(Semaphore::new(ASKED_MAX));
        for address in addresses {
            let (this, turns) = (Arc::clone(self), Arc::clone(&turns));
            tasks.spawn(async move { this.look_for(&address, &turns).await });
        }
        tasks
    }

    async fn look_for(&self, address: &str, turns: &Semaphore) {
        let mut wait = RETRY_MIN;
        loop {
            let found = {
                // Never closed.
                let _turn = turns.acquire().await;
                self.introduce(address).await
            };
            let instances = &self.services.instances;
            match found {
                Ok(Found::Ourselves) => return instances.note_introduction(address, Ok(instances.own_name().to_owned())),
                Ok(Found::Other(name)) => {
                    tracing::info!(platform = name, address, "another platform was found and entered");
                    return instances.note_introduction(address, Ok(name));
                }
                Err(problem) => {
                    tracing::warn!(address, problem, retry_s = wait.as_secs(), "another platform was not found");
                    instances.note_introduction(address, Err(problem));
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    async fn introduce(&self, address: &str) -> Result<Found, String> {
        let platform = self.discovery.discover(address).await.map_err(|error| error.to_string())?;
        let own = &self.services.instance.name;
        match (platform.name == *own, self.services.peer_auth.server_key() == Some(platform.server_key)) {
            (true, true) => return Ok(Found::Ourselves),
            (true, false) => return Err(format!("it has the instance name of this platform, {own}; names must differ")),
            (false, true) => return Err(format!("the platform {} has the key of this one; was a home copied?", platform.name)),
            (false, false) => {}
        }
        self.check_known(&platform).await?;
        self.files.put(&platform).await.map_err(|error| error.to_string())?;
        if let Some(host) = host(&platform) {
            let added = self.services.peer_auth.add_known_host(&Caller::setup_mode(), host, platform.server_key).await;
            added.map_err(|error| error.to_string())?;
        }
        Ok(Found::Other(platform.name))
    }

    /// A certificate that nobody verifies may be anybody's, so a key that is known already is not replaced by what is told now.
    async fn check_known(&self, platform: &Platform) -> Result<(), String> {
        let known = self.files.load().await.map_err(|error| error.to_string())?.records;
        let hosts = self.services.peer_auth.known_hosts().await.map_err(|error| error.to_string())?;
        let is_other = |place: &str| {
            format!(
                "the platform {} tells another key than the one in {place}; remove it there if the platform was set up anew",
                platform.name
            )
        };
        if known.iter().any(|known| known.name == platform.name && known.server_key != platform.server_key) {
            return Err(is_other("external_platform_discovery.json"));
        }
        if hosts.iter().any(|known| Some(known.host.as_str()) == host(platform) && known.key != platform.server_key) {
            return Err(is_other("known_hosts"));
        }
        Ok(())
    }
}

/// `host:port`, as in `known_hosts`.
fn host(platform: &Platform) -> Option<&str> {
    platform.address.strip_prefix("tcp://")
}
