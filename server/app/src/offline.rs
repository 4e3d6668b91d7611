//! What tools may do while the server is down: read and tag installed agents, and call `platform.auth`, which works on the same files by the
//! same code then. A tool holds the lock of the home for that moment, as the server does while it runs, so no two writers meet; a server
//! that starts just then waits for it.
//!
//! Deliberately little: whatever needs a decision of another service is done through the running server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use vt_backends::{AuthEntry, InstallationRepository, RepositoryError};
use vt_services::{Caller, RestingAuth, ServiceError};
use vt_storage_files::{FileInstallations, FileKeys, FilePeerAuth, Home, HomeError, HomeLock};
use vt_types::{AgentUuid, InstallationError, Params, RpcError, SystemClock, Tag};

/// Why something could not be done without the server.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The server runs, or another tool works on the home: ask the server, or try again.
    #[error("the platform's files are in use; try again")]
    InUse,
    /// The home cannot be used.
    #[error(transparent)]
    Home(HomeError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// `platform.auth` cannot work on the files.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A method of `platform.auth` refused.
    #[error(transparent)]
    Call(#[from] RpcError),
    /// A UUID or tag is none.
    #[error(transparent)]
    Word(#[from] InstallationError),
    /// The system gives no runtime.
    #[error("files cannot be worked on: {0}")]
    System(#[from] std::io::Error),
}

impl From<HomeError> for OfflineError {
    fn from(error: HomeError) -> Self {
        if matches!(error, HomeError::InUse { .. }) { Self::InUse } else { Self::Home(error) }
    }
}

/// An installed agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfflineAgent {
    /// Installation id.
    pub uuid: String,
    /// Name and version.
    pub name: String,
    /// Its identity.
    pub identity: String,
    /// Nickname.
    pub tag: Option<String>,
    /// Start order.
    pub priority: Option<String>,
}

/// A home without its server, held until this is dropped.
pub struct Offline {
    home: PathBuf,
    runtime: tokio::runtime::Runtime,
    /// None for a home that does not exist; nothing is made by looking.
    _lock: Option<HomeLock>,
}

impl Offline {
    /// Takes the home.
    ///
    /// # Errors
    /// [`OfflineError::InUse`] while a server runs or starts, or another tool is at work.
    pub fn open(home: &Path) -> Result<Self, OfflineError> {
        let lock = if home.exists() { Some(Home::open(home)?.1) } else { None };
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Self { home: home.to_owned(), runtime, _lock: lock })
    }

    /// All installed agents that can be read, and a sentence for each that cannot.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn agents(&self) -> Result<(Vec<OfflineAgent>, Vec<String>), OfflineError> {
        let loaded = self.runtime.block_on(self.installations().load_all())?;
        let agent = |agent: vt_backends::InstalledAgent| OfflineAgent {
            uuid: agent.uuid.to_string(),
            name: agent.name,
            identity: agent.identity.to_string(),
            tag: agent.tag.map(|tag| tag.as_str().to_owned()),
            priority: agent.priority.map(|priority| priority.as_str().to_owned()),
        };
        Ok((loaded.records.into_iter().map(agent).collect(), loaded.warnings))
    }

    /// Sets or removes the tag of an agent.
    ///
    /// # Errors
    /// If there is no such agent, the tag is none, or it cannot be written.
    pub fn set_tag(&self, uuid: &str, tag: Option<&str>) -> Result<(), OfflineError> {
        let (uuid, tag) = (AgentUuid::parse(uuid)?, tag.map(Tag::parse).transpose()?);
        Ok(self.runtime.block_on(self.installations().set_tag(uuid, tag))?)
    }

    /// Calls a method of `platform.auth` on the files; gives the answer, and what is wrong with entries of `auth.json` if anything is.
    ///
    /// # Errors
    /// If the files cannot be read or written, or as over the bus.
    pub fn call_auth(&self, method: &str, args: Vec<Value>) -> Result<(Value, Option<String>), OfflineError> {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
        let caller = Caller::local(user.as_ref().map_or("owner", |user| &user.name));
        self.runtime.block_on(async {
            let (records, keys) = (Arc::new(FilePeerAuth::new(&self.home)), Arc::new(FileKeys::new(&self.home)));
            let auth = RestingAuth::open(records, keys, Arc::new(SystemClock), caller).await?;
            let answer = auth.call(method, Params { args, kwargs: Map::new() }).await?;
            Ok((answer, auth.problem()))
        })
    }

    fn installations(&self) -> FileInstallations {
        FileInstallations::new(&self.home)
    }
}

/// Makes a home where there is none yet.
///
/// # Errors
/// If it cannot be made or another program just does that.
pub fn make_home(home: &Path) -> Result<(), OfflineError> {
    Home::open(home)?;
    Ok(())
}

/// A new CURVE key pair as VOLTTRON prints it: `{"public": text, "secret": text}`.
///
/// # Errors
/// If the operating system gives no random bytes.
pub fn new_key_pair() -> Result<Value, OfflineError> {
    let pair = vt_pki::generate_curve().map_err(|error| ServiceError::Unavailable(error.to_string()))?;
    Ok(json!({"public": pair.public.to_string(), "secret": pair.secret.expose_text()}))
}

/// Checks the mechanism of an entry of `auth.json`, and its credentials if they are given.
///
/// # Errors
/// What is wrong, in VOLTTRON's words.
pub fn check_credentials(mechanism: &str, credentials: Option<&str>) -> Result<(), String> {
    let entry = json!({"mechanism": mechanism, "credentials": credentials});
    AuthEntry::parse(&entry).map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platform_auth_works_on_the_files_and_tells_what_is_wrong_with_them() {
        let home = tempfile::tempdir().unwrap();
        let pair = new_key_pair().unwrap();
        let offline = Offline::open(home.path()).unwrap();
        let entry = json!({"credentials": pair["public"], "user_id": "u"});
        offline.call_auth("auth_file.add", vec![entry.clone()]).unwrap();
        let (read, problem) = offline.call_auth("auth_file.read", vec![]).unwrap();
        assert_eq!((&read["allow_list"][0]["user_id"], problem), (&json!("u"), None));
        let twice = offline.call_auth("auth_file.add", vec![entry]).unwrap_err().to_string();
        assert_eq!(twice, "user_id u is already in use at index 0");
        std::fs::write(home.path().join("auth.json"), "{\"allow\": [{\"credentials\": 5}]}").unwrap();
        assert!(offline.call_auth("auth_file.read", vec![]).unwrap().1.unwrap().contains("counts for nobody"));
        std::fs::write(home.path().join("auth.json"), "{").unwrap();
        assert!(offline.call_auth("auth_file.read", vec![]).unwrap_err().to_string().contains("auth.json (line 1)"));
    }

    #[test]
    fn mechanisms_and_credentials_are_checked() {
        assert_eq!(check_credentials("CURVE", Some("/.*/")), Ok(()));
        assert_eq!(check_credentials("NULL", None), Ok(()));
        assert!(check_credentials("CURVE", None).unwrap_err().contains("credentials parameter is required for mechanism CURVE"));
        assert!(check_credentials("curve", Some("/.*/")).unwrap_err().starts_with("mechanism must be either"));
    }

    #[test]
    fn a_home_that_is_not_there_has_no_agents_and_is_not_made() {
        let parent = tempfile::tempdir().unwrap();
        let home = parent.path().join("none");
        assert!(Offline::open(&home).unwrap().agents().unwrap().0.is_empty());
        assert!(!home.exists());
    }

    #[test]
    fn one_at_a_time_works_on_a_home() {
        let home = tempfile::tempdir().unwrap();
        let first = Offline::open(home.path()).unwrap();
        assert!(matches!(Offline::open(home.path()), Err(OfflineError::InUse)));
        drop(first);
        Offline::open(home.path()).unwrap();
    }
}
