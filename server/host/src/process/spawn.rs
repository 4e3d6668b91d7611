//! Starting child processes, all from one thread of their own: the system ends a child when the thread that started it ends (that is what
//! `PR_SET_PDEATHSIG` goes by), so the thread has to live as long as the host does, and children end with it however it ends.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use tokio::process::Child;
use tokio::sync::oneshot;

/// Starts that may wait for the thread; further callers are refused, for each start takes a few milliseconds only.
const WAITING_MAX: usize = 256;

/// What a child gets before its program begins.
#[derive(Default)]
pub struct Harness {
    /// Limits of the kernel, soft and hard.
    pub limits: Vec<(Resource, u64)>,
    /// `cgroup.procs` of its control group, open for writing.
    pub group: Option<File>,
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
    let Harness { limits, group } = harness;
    let before = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have ended before that took effect.
        if nix::unistd::getppid() != parent {
            return Err(nix::errno::Errno::ESRCH.into());
        }
        if let Some(group) = &group {
            // Zero is the process that writes.
            nix::unistd::write(group, b"0")?;
        }
        for (resource, limit) in &limits {
            setrlimit(*resource, *limit, *limit)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made: prctl, getppid, write, setrlimit. Nothing is allocated and no lock is taken.
    unsafe {
        command.pre_exec(before);
    }
}
