//! Starting child processes, all from one thread of their own: the system ends a child when the thread that started it ends (that is what
//! `PR_SET_PDEATHSIG` goes by), so the thread has to live as long as the host does, and children end with it however it ends.
//!
//! Signals that this process ignores would be ignored by its children as well: those of a server that a script started with `nohup ... &`
//! would never notice SIGINT, and stopping each would take the whole ladder. Children begin with the system's defaults.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::{Mode, umask};
use tokio::process::Child;
use tokio::sync::oneshot;

use super::isolation::AgentUser;

/// Signals that whoever starts a server may have told it to ignore.
const SIGNALS: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];
/// Starts that may wait for the thread; further callers are refused, for each start takes a few milliseconds only.
const WAITING_MAX: usize = 256;

/// What a child gets before its program begins.
#[derive(Default)]
pub struct Harness {
    /// Limits of the kernel, soft and hard.
    pub limits: Vec<(Resource, u64)>,
    /// `cgroup.procs` of its control group, open for writing.
    pub group: Option<File>,
    /// The user that it becomes; it keeps that of this process otherwise.
    pub user: Option<AgentUser>,
}

/// Starts children.
pub struct Spawner {
    requests: SyncSender<Request>,
}

struct Request {
    command: Command,
    reply: oneshot::Sender<io::Result<Child>>,
}

impl Spawner {
    /// Begins. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn new() -> io::Result<Self> {
        let (requests, received) = sync_channel::<Request>(WAITING_MAX);
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            while let Ok(Request { command, reply }) = received.recv() {
                let _inside = runtime.enter();
                let mut command = tokio::process::Command::from(command);
                command.kill_on_drop(true);
                // Whoever asked may have gone; the child is killed then.
                drop(reply.send(command.spawn()));
            }
        })?;
        Ok(Self { requests })
    }

    /// Starts `command` in a process group of its own, with no input and with its output in pipes.
    pub async fn spawn(&self, mut command: Command, harness: Harness) -> io::Result<Child> {
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        prepare(&mut command, harness);
        let (reply, child) = oneshot::channel();
        let gone = || io::Error::other("too many processes are being started");
        self.requests.try_send(Request { command, reply }).map_err(|_| gone())?;
        child.await.map_err(|_| gone())?
    }
}

#[expect(unsafe_code, reason = "the only way to set limits and the signal at the parent's end before the program begins")]
fn prepare(command: &mut Command, harness: Harness) {
    let parent = nix::unistd::getpid();
    let Harness { limits, group, user } = harness;
    let before = move || {
        for each in SIGNALS {
            // SAFETY: the default disposition runs no code of ours.
            unsafe { signal(each, SigHandler::SigDfl) }?;
        }
        if let Some(group) = &group {
            // Zero is the process that writes.
            nix::unistd::write(group, b"0")?;
        }
        for (resource, limit) in &limits {
            setrlimit(*resource, *limit, *limit)?;
        }
        if let Some(user) = &user {
            nix::unistd::setgroups(&[user.gid, user.shared])?;
            nix::unistd::setgid(user.gid)?;
            nix::unistd::setuid(user.uid)?;
            umask(Mode::from_bits_truncate(0o007));
        }
        // After the change of the user, which takes it back.
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have ended before that took effect.
        if nix::unistd::getppid() != parent {
            return Err(nix::errno::Errno::ESRCH.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made: sigaction, write, setrlimit, setgroups, setgid, setuid, umask, prctl,
    // getppid. Nothing is allocated and no lock is taken.
    unsafe {
        command.pre_exec(before);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    #[expect(unsafe_code, reason = "ignoring a signal is the premise")]
    async fn children_of_a_process_that_ignores_signals_do_not() {
        // SAFETY: no handler of ours is involved.
        let ignore = |each| unsafe { signal(each, SigHandler::SigIgn) }.unwrap();
        let before = SIGNALS.map(ignore);
        let mut command = Command::new("grep");
        command.args(["SigIgn", "/proc/self/status"]);
        // Held to the end: its children end with it.
        let spawner = Spawner::new().unwrap();
        let spawned = spawner.spawn(command, Harness::default()).await;
        for (each, former) in SIGNALS.into_iter().zip(before) {
            // SAFETY: as it was.
            unsafe { signal(each, former) }.unwrap();
        }
        let mut out = String::new();
        spawned.unwrap().stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
        let ignored = u64::from_str_radix(out.trim().trim_start_matches("SigIgn:").trim(), 16).unwrap();
        for each in SIGNALS {
            assert_eq!(ignored >> (each as u64 - 1) & 1, 0, "{each} in {out}");
        }
    }
}
