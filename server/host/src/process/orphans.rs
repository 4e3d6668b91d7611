//! What a server that was killed left behind. Each child's process id and start time stand in a file of the home as long as it runs; the
//! next server ends what still runs of it, with its whole process group. Start times keep a process that merely got the same id safe.
//! Source: proc(5).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long the processes may take to be gone after SIGKILL.
const GONE_LIMIT: Duration = Duration::from_secs(5);

/// The files about running children.
#[derive(Debug, Clone)]
pub struct Records {
    directory: PathBuf,
}

/// A process as its file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    pid: i32,
    start_ticks: u64,
    boot: String,
}

/// A process as the system describes it.
struct Process {
    pid: i32,
    group: i32,
    start_ticks: u64,
}

impl Records {
    /// The records of the home at `home`.
    pub fn new(home: &Path) -> Self {
        Self { directory: home.join("run").join("agents") }
    }

    /// Notes that the child `name` runs as `pid`, which leads a process group.
    pub fn begin(&self, name: &str, pid: u32) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let process = i32::try_from(pid).ok().and_then(Process::read);
        let start_ticks = process.map_or(0, |process| process.start_ticks);
        fs::write(self.directory.join(name), format!("{pid} {start_ticks} {}\n", boot()))
    }

    /// Notes that it ended.
    pub fn end(&self, name: &str) {
        // A file that stays is recognised as stale by its start time.
        drop(fs::remove_file(self.directory.join(name)));
    }

    /// Ends everything that earlier servers left running; says how many groups there were.
    pub async fn end_orphans(&self) -> io::Result<usize> {
        let listing = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            other => other?,
        };
        let mut ended = 0;
        for entry in listing {
            let path = entry?.path();
            let orphan = fs::read_to_string(&path).ok().as_deref().and_then(Record::parse).filter(|record| record.boot == boot());
            if let Some(record) = orphan
                && !record.members().is_empty()
            {
                tracing::warn!(pid = record.pid, file = %path.display(), "an agent of a server that was killed still runs; it is ended");
                ended += 1;
                record.kill().await;
            }
            fs::remove_file(&path)?;
        }
        Ok(ended)
    }
}

impl Record {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let record = Self { pid: words.next()?.parse().ok()?, start_ticks: words.next()?.parse().ok()?, boot: words.next()?.to_owned() };
        (record.pid > 1).then_some(record)
    }

    /// Processes of the group that cannot have been there before its leader. None if another process leads a group of this number now.
    fn members(&self) -> Vec<i32> {
        if Process::read(self.pid).is_some_and(|leader| leader.start_ticks != self.start_ticks) {
            return Vec::new();
        }
        let listing = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let processes = listing.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(Process::read);
        processes
            .filter(|process| process.group == self.pid && process.start_ticks >= self.start_ticks)
            .map(|process| process.pid)
            .collect()
    }

    async fn kill(&self) {
        let end = tokio::time::Instant::now() + GONE_LIMIT;
        loop {
            let members = self.members();
            if members.is_empty() {
                return;
            }
            if tokio::time::Instant::now() > end {
                tracing::error!(?members, "processes of an earlier server do not end");
                return;
            }
            for pid in members {
                match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(error) => tracing::warn!(pid, %error, "a process of an earlier server cannot be ended"),
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Process {
    /// `None` if there is none, or only its exit code is left.
    fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in brackets and may contain blanks.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
        let is_alive = !matches!(fields.first(), Some(&"Z" | &"X"));
        is_alive.then_some(Self { pid, group: i32::try_from(number(2)?).ok()?, start_ticks: number(19)? })
    }
}

/// Changes with each start of the machine: start times count from there.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    if id.trim().is_empty() { "unknown".to_owned() } else { id.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn orphans_are_ended_with_their_group_and_strangers_are_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let records = Records::new(home.path());
        assert_eq!(records.end_orphans().await.unwrap(), 0);
        // A leader that ended, and its child that goes on in the group.
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 1000 & echo $!; exec sleep 1000"]).process_group(0).stdout(std::process::Stdio::piped());
        let mut leader = shell.spawn().unwrap();
        let mut out = std::io::BufReader::new(leader.stdout.take().unwrap());
        let mut grandchild = String::new();
        std::io::BufRead::read_line(&mut out, &mut grandchild).unwrap();
        let grandchild: i32 = grandchild.trim().parse().unwrap();
        records.begin("a", leader.id()).unwrap();
        leader.kill().unwrap();
        leader.wait().unwrap();
        assert!(Process::read(grandchild).is_some());
        // The same id with another start time is somebody else.
        let mut stranger = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        fs::write(records.directory.join("b"), format!("{} 1 {}", stranger.id(), boot())).unwrap();
        fs::write(records.directory.join("c"), "garbage").unwrap();
        assert_eq!(records.end_orphans().await.unwrap(), 1);
        assert!(Process::read(grandchild).is_none());
        assert!(stranger.try_wait().unwrap().is_none(), "still runs");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        assert_eq!(fs::read_dir(&records.directory).unwrap().count(), 0);
    }
}
