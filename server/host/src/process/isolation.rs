//! A Unix user of its own for each package in Python (`agent-isolation-mode`), so that an agent reads neither the platform's secrets nor
//! those of another agent. Source: agents.md §1.10, VOLTTRON `volttron/platform/aip.py` and `scripts/secure_user_permissions.sh`: users
//! `volttron_<digits>` in the group `volttron_<instance name>`, the name in `USER_ID` of the agent's directory, umask 007.
//!
//! Differs from VOLTTRON: the platform has to run as root, for `sudo` rules that let it become any of these users would be no less; rights
//! go by each user's own group instead of access control lists; users that no agent has any more are deleted whenever that comes to light.
//!
//! An agent sees a home of its own, `home` in its directory, with what agents read of the real one: some settings, the platform's public key,
//! known hosts, its own credentials. The real home it can only pass through.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Group, Pid, Uid, User};
use tokio::sync::Mutex;
use vt_backends::{InstalledAgent, PythonSource};

use super::rights;

/// Begins the names of users and of the group.
const PREFIX: &str = "volttron_";
/// Where an agent's directory says whose it is.
const USER_ID: &str = "USER_ID";
/// How long a tool for users and groups may take; others may hold their files for some seconds.
const TOOL_LIMIT: Duration = Duration::from_secs(30);

/// How often the processes of a user are looked for, since each may have made others before it was ended.
const KILL_ROUNDS: u32 = 20;

/// Gives agents users.
pub struct Isolation {
    home: PathBuf,
    group: String,
    /// One at a time, so that nobody deletes a user that is being made.
    turn: Mutex<()>,
}

/// A user of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentUser {
    /// `volttron_<digits>`.
    pub name: String,
    pub uid: Uid,
    /// Its own group.
    pub gid: Gid,
    /// The group of all agents' users.
    pub shared: Gid,
    /// What it sees as the platform's home.
    pub home: PathBuf,
}

impl Isolation {
    /// For the platform `instance_name` with the home at `home`.
    pub fn new(home: &Path, instance_name: &str) -> Self {
        Self { home: home.to_owned(), group: format!("{PREFIX}{instance_name}"), turn: Mutex::default() }
    }

    /// Why no agent can get a user here; one sentence.
    pub fn obstacle() -> Option<String> {
        let text = "agent-isolation-mode is set, but only a platform that runs as root can give agents users of their own; \
                    run it as root or remove the setting";
        (!Uid::effective().is_root()).then(|| text.to_owned())
    }

    /// The user of an agent, made if there is none, with the rights that it needs and no others.
    pub async fn admit(&self, agent: &InstalledAgent, python: &PythonSource) -> Result<AgentUser, String> {
        if let Some(obstacle) = Self::obstacle() {
            return Err(obstacle);
        }
        let _turn = self.turn.lock().await;
        let shared = self.shared_group().await?;
        let name = match assigned(&python.directory) {
            Some(name) if is_user(&name) => name,
            _ => self.new_user(&python.directory).await?,
        };
        let user = User::from_name(&name).ok().flatten().ok_or_else(|| format!("the user {name} is not known to this machine"))?;
        let user = AgentUser { name, uid: user.uid, gid: user.gid, shared, home: python.directory.join("home") };
        let (given, home, agent, python) = (user.clone(), self.home.clone(), agent.clone(), python.clone());
        let done = tokio::task::spawn_blocking(move || rights::give(&given, &home, &agent, &python)).await;
        let done = done.unwrap_or_else(|error| Err(io::Error::other(error)));
        done.map_err(|error| format!("the rights of the user {} cannot be set: {error}", user.name))?;
        Ok(user)
    }

    /// Ends every process of a user, those as well that left the agent's process group. Blocks for a moment.
    pub fn end_processes(uid: Uid) {
        for _ in 0..KILL_ROUNDS {
            let found = processes_of(uid);
            if found.is_empty() {
                return;
            }
            for pid in found {
                if let Err(error) = kill(Pid::from_raw(pid), Signal::SIGKILL) {
                    tracing::trace!(pid, %error, "it has ended meanwhile, as a rule");
                }
            }
        }
    }

    /// Deletes the users that no agent of this platform has any more. What cannot be deleted stays until the next time.
    pub async fn sweep(&self) {
        if Self::obstacle().is_some() {
            return;
        }
        let _turn = self.turn.lock().await;
        let Ok(Some(group)) = Group::from_name(&self.group) else { return };
        let kept = match users_of(&self.home.join("agents")) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(%error, "the users of agents that are gone stay, since it cannot be told which they are");
                return;
            }
        };
        for name in group.mem.into_iter().filter(|name| is_ours(name) && !kept.contains(name)) {
            match run("userdel", &[&name]).await {
                Ok(()) => tracing::info!(user = name, "the user of an agent that is gone was deleted"),
                Err(error) => tracing::warn!(user = name, error, "the user of an agent that is gone could not be deleted"),
            }
        }
    }

    async fn shared_group(&self) -> Result<Gid, String> {
        let find = || Group::from_name(&self.group).ok().flatten().map(|group| group.gid);
        if let Some(gid) = find() {
            return Ok(gid);
        }
        run("groupadd", &["--system", &self.group]).await?;
        find().ok_or_else(|| format!("the group {} is not known to this machine", self.group))
    }

    async fn new_user(&self, directory: &Path) -> Result<String, String> {
        let digits = format!("{:020}", rand::random::<u64>());
        let name = format!("{PREFIX}{}", &digits[4..]);
        let comment = format!("VOLTTRON agent in {}", directory.display()).replace([':', ',', '\n'], " ");
        // The home is named for tools that want one; it is not made.
        let place = directory.to_string_lossy().replace([':', '\n'], "_");
        let words = ["--system", "--no-create-home", "--user-group", "--shell", "/usr/sbin/nologin"];
        let all = [&words[..], &["--home-dir", &place, "--groups", &self.group, "--comment", &comment, &name]].concat();
        run("useradd", &all).await?;
        let path = directory.join(USER_ID);
        if let Err(error) = tokio::fs::write(&path, &name).await {
            // Without the note nobody would find it again.
            drop(run("userdel", &[&name]).await);
            return Err(format!("{}: {error}", path.display()));
        }
        Ok(name)
    }
}

/// The user that an agent's directory names, if it is a name that we give: the file must never lead to another user of the machine.
fn assigned(directory: &Path) -> Option<String> {
    let text = fs::read_to_string(directory.join(USER_ID)).ok()?;
    Some(text.trim().to_owned()).filter(|name| is_ours(name))
}

fn is_ours(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.len() >= 10 && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_user(name: &str) -> bool {
    matches!(User::from_name(name), Ok(Some(_)))
}

/// Process ids of a user's processes, but of those that have ended.
fn processes_of(uid: Uid) -> Vec<i32> {
    let is_its = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        field("Uid:") == Some(uid.to_string().as_str()) && !matches!(field("State:"), Some("Z" | "X"))
    };
    let listing = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    listing.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_its).collect()
}

/// The users that the agents below `agents` have.
fn users_of(agents: &Path) -> io::Result<BTreeSet<String>> {
    let mut users = BTreeSet::new();
    for entry in fs::read_dir(agents)? {
        users.extend(assigned(&entry?.path()));
    }
    Ok(users)
}

/// Runs a tool for users and groups.
async fn run(tool: &str, arguments: &[&str]) -> Result<(), String> {
    let mut command = tokio::process::Command::new(tool);
    command.args(arguments).env_clear().env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = match tokio::time::timeout(TOOL_LIMIT, command.output()).await {
        Ok(output) => output.map_err(|error| format!("{tool} cannot be run: {error}"))?,
        Err(_) => return Err(format!("{tool} took longer than {} s", TOOL_LIMIT.as_secs())),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{tool} failed: {}", said.trim().chars().take(300).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_names_none_but_users_of_agents() {
        let directory = tempfile::tempdir().unwrap();
        for (text, user) in [
            ("volttron_1234567890123456\n", Some("volttron_1234567890123456")),
            ("root", None),
            ("volttron_", None),
            ("volttron_1234567890x", None),
            ("../volttron_1234567890", None),
        ] {
            fs::write(directory.path().join(USER_ID), text).unwrap();
            assert_eq!(assigned(directory.path()).as_deref(), user, "{text}");
        }
        assert_eq!(assigned(Path::new("/nonexistent")), None);
    }
}
