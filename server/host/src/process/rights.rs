//! Who may read and write what of an agent that has a user of its own. Its directory belongs to the platform and is read by the user's own
//! group; its data belong to the user; nobody else has any right. Links are never followed: what an agent may write, it may have made.

use std::fs::{self, DirEntry, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::path::Path;

use vt_backends::{InstalledAgent, PythonSource};

use super::isolation::AgentUser;

/// Settings that agents read. Those that hold a secret are not among them.
const TOLD: [&str; 11] = [
    "agent-monitor-frequency",
    "allow-auth",
    "auth-enabled",
    "bind-web-address",
    "instance-name",
    "message-bus",
    "tag-refresh-interval",
    "tag-vip-id",
    "vip-address",
    "volttron-central-address",
    "volttron-central-serverkey",
];

/// Writes what the agent sees as home, and sets all rights.
pub fn give(user: &AgentUser, home: &Path, agent: &InstalledAgent, python: &PythonSource) -> io::Result<()> {
    write_view(user, home, agent)?;
    pass_through(home, user.shared.as_raw())?;
    let data = &agent.data_dir;
    fs::create_dir_all(data)?;
    let directory = &python.directory;
    readable(directory, &fs::symlink_metadata(directory)?, data, user.gid.as_raw())?;
    hand_over(data, user)
}

fn write_view(user: &AgentUser, home: &Path, agent: &InstalledAgent) -> io::Result<()> {
    let credentials = user.home.join("credentials_store");
    fs::create_dir_all(&credentials)?;
    let config = read(&home.join("config"))?.unwrap_or_default();
    let socket = format!("ipc://@{}/run/vip.socket", home.display());
    fs::write(user.home.join("config"), told(&config, &socket))?;
    let own = format!("{}.json", agent.identity);
    let copied = [
        (home.join("known_hosts"), user.home.join("known_hosts")),
        (home.join("credentials_store/platform.json"), credentials.join("platform.json")),
        (home.join("credentials_store").join(&own), credentials.join(&own)),
    ];
    for (from, to) in copied {
        if let Some(text) = read(&from)? {
            fs::write(to, text)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// The settings of a `config` that agents read, with the address of the local socket, which they would look for below their own home.
fn told(config: &str, socket: &str) -> String {
    let mut section = "";
    let mut text = format!("[volttron]\naddress = {socket}\n");
    for line in config.lines() {
        if line.starts_with('[') {
            section = line.trim();
        }
        let key = line.split(['=', ':']).next().unwrap_or_default().trim().to_ascii_lowercase();
        if section == "[volttron]" && !line.starts_with(char::is_whitespace) && TOLD.contains(&key.as_str()) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// Members of the group may go through the home to what is theirs, and read nothing in it. What was open to everybody there was closed by the
/// home itself before they could pass.
fn pass_through(home: &Path, group: u32) -> io::Result<()> {
    for entry in fs::read_dir(home)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let is_to_close = metadata.mode() & 0o007 != 0 && !metadata.is_symlink() && entry.file_name() != "agents";
        if is_to_close {
            fs::set_permissions(entry.path(), Permissions::from_mode(metadata.mode() & 0o770))?;
        }
    }
    let metadata = fs::metadata(home)?;
    let mode = metadata.mode() & 0o700 | 0o010;
    if metadata.gid() != group {
        chown(home, None, Some(group))?;
    }
    if metadata.mode() & 0o777 != mode {
        fs::set_permissions(home, Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Lets the group read all of `path` but what is below `except`.
fn readable(path: &Path, metadata: &Metadata, except: &Path, group: u32) -> io::Result<()> {
    if path == except {
        return Ok(());
    }
    if metadata.is_symlink() {
        return Ok(());
    }
    let mut metadata = metadata.clone();
    if metadata.is_file() && metadata.nlink() > 1 {
        // Tools link files into environments from a store of their own, whose rights are not to change, nor those of other agents.
        part(path)?;
        metadata = fs::symlink_metadata(path)?;
    }
    if metadata.gid() != group {
        lchown(path, None, Some(group))?;
    }
    let owners = metadata.mode() & 0o700;
    // The group reads, and executes what the owner does.
    let mode = owners | 0o040 | (owners & 0o100) >> 3;
    if metadata.mode() & 0o7777 != mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            readable(&entry.path(), &entry.metadata()?, except, group)?;
        }
    }
    Ok(())
}

/// Replaces a file that has several names by a copy.
fn part(path: &Path) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".parted");
    fs::copy(path, &beside)?;
    fs::rename(&beside, path)
}

/// Gives the data to the user, once: afterwards everything in there is made by it.
fn hand_over(data: &Path, user: &AgentUser) -> io::Result<()> {
    let metadata = fs::symlink_metadata(data)?;
    if metadata.uid() == user.uid.as_raw() && metadata.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(data)? {
        take(&entry?, user)?;
    }
    // Last, so that a crash before it leaves a reason to do all of it again.
    fs::set_permissions(data, Permissions::from_mode(0o700))?;
    lchown(data, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
}

fn take(entry: &DirEntry, user: &AgentUser) -> io::Result<()> {
    // Not that of what a link leads to.
    let (path, metadata) = (entry.path(), entry.metadata()?);
    if metadata.is_dir() {
        for entry in fs::read_dir(&path)? {
            take(&entry?, user)?;
        }
    } else if metadata.nlink() > 1 {
        // Another name of a file that may be anybody's.
        tracing::warn!(path = %path.display(), "a file in an agent's data has another name elsewhere and is not given to its user");
        return Ok(());
    }
    lchown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_told_of_settings_but_of_no_secret_and_where_the_socket_is() {
        let config = "[volttron]\ninstance-name = site1\nweb-secret-key = hush\nvip-address = tcp://127.0.0.1:22916\n    tcp://other\n\
                      address = ipc://elsewhere\nMessage-Bus: zmq\n[other]\ninstance-name = x\n";
        let expected = "[volttron]\naddress = ipc://@/vh/run/vip.socket\ninstance-name = site1\nvip-address = tcp://127.0.0.1:22916\n\
                        Message-Bus: zmq\n";
        assert_eq!(told(config, "ipc://@/vh/run/vip.socket"), expected);
    }

    #[test]
    fn who_passes_through_a_home_reads_nothing_in_it() {
        let home = tempfile::tempdir().unwrap();
        for name in ["agents", "configuration_store"] {
            fs::create_dir(home.path().join(name)).unwrap();
            fs::set_permissions(home.path().join(name), Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(home.path().join("config"), "web-secret-key = hush").unwrap();
        fs::set_permissions(home.path().join("config"), Permissions::from_mode(0o644)).unwrap();
        pass_through(home.path(), nix::unistd::getegid().as_raw()).unwrap();
        let mode = |name: &str| fs::metadata(home.path().join(name)).unwrap().mode() & 0o777;
        assert_eq!((mode("."), mode("agents"), mode("configuration_store"), mode("config")), (0o710, 0o755, 0o750, 0o640));
    }

    #[test]
    fn rights_of_a_group_end_at_links_and_at_the_data() {
        let directory = tempfile::tempdir().unwrap();
        let (agent, store) = (directory.path().join("agent"), directory.path().join("store"));
        fs::create_dir_all(agent.join("env/bin")).unwrap();
        fs::create_dir_all(agent.join("data")).unwrap();
        let write = |path: &Path, mode: u32| {
            fs::write(path, "x").unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        write(&store, 0o644);
        write(&agent.join("key"), 0o606);
        write(&agent.join("env/bin/tool"), 0o4755);
        write(&agent.join("data/state"), 0o604);
        fs::hard_link(&store, agent.join("env/linked")).unwrap();
        std::os::unix::fs::symlink(&store, agent.join("env/symbolic")).unwrap();
        let group = nix::unistd::getegid().as_raw();
        readable(&agent, &fs::symlink_metadata(&agent).unwrap(), &agent.join("data"), group).unwrap();
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&agent), mode(&agent.join("key")), mode(&agent.join("env/bin/tool"))), (0o750, 0o640, 0o750));
        assert_eq!((mode(&agent.join("env/linked")), mode(&store)), (0o640, 0o644), "the store keeps its rights");
        assert_eq!(fs::metadata(&store).unwrap().nlink(), 1);
        assert_eq!(mode(&agent.join("data/state")), 0o604);
    }
}
