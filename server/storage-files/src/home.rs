//! The platform's home: made with its directories, and held by one server at a time. The lock is a lock of the operating system on
//! `$VOLTTRON_HOME/run/server.lock`, which ends with the process however it ends; `VOLTTRON_PID` is what VOLTTRON's scripts and `vctl`
//! look at. Source: VOLTTRON `volttron/platform/main.py`, `scripts/start-volttron`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::atomic::{self, PRIVATE, PUBLIC};
use crate::certificates::CertificateFolder;

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Another server holds it.
    #[error("VOLTTRON is already running on {home}{}; stop it first with: vctl shutdown --platform", process(*.pid))]
    InUse {
        /// The home.
        home: PathBuf,
        /// Its process id, if it is known.
        pid: Option<u32>,
    },
    /// Something at the home's place is no directory.
    #[error("{0} is not a directory; set VOLTTRON_HOME to a directory, or to a place where one can be made")]
    NotDirectory(PathBuf),
    /// A file or directory of the home cannot be read or written.
    #[error("{path}: {source}; check that the directory belongs to the user who starts the server and is on a writable disk")]
    File {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl HomeError {
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::File { path: path.to_owned(), source }
    }
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// A home that is ready for use.
#[derive(Debug, Clone)]
pub struct Home {
    path: PathBuf,
}

impl Home {
    /// Makes the home at `path` with its directories as far as they are missing (a new home has mode 0700), and locks it.
    ///
    /// # Errors
    /// [`HomeError`]; the sentence is for the person who started the server.
    pub fn open(path: &Path) -> Result<(Self, HomeLock), HomeError> {
        if fs::metadata(path).is_ok_and(|found| !found.is_dir()) {
            return Err(HomeError::NotDirectory(path.to_owned()));
        }
        atomic::make_directory(path, 0o700).map_err(HomeError::file(path))?;
        for (name, mode) in [("agents", 0o755), ("configuration_store", 0o755), ("run", 0o700)] {
            let directory = path.join(name);
            atomic::make_directory(&directory, mode).map_err(HomeError::file(&directory))?;
        }
        let home = Self { path: path.to_owned() };
        let lock = HomeLock::take(&home)?;
        Ok((home, lock))
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of sockets.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.path.join("run")
    }

    /// Certificates and keys.
    #[must_use]
    pub fn certificates(&self) -> CertificateFolder {
        CertificateFolder::new(&self.path)
    }

    /// The process id in `VOLTTRON_PID` of the home at `path`, whether or not that process lives.
    #[must_use]
    pub fn recorded_pid(path: &Path) -> Option<u32> {
        fs::read_to_string(path.join("VOLTTRON_PID")).ok()?.trim().parse().ok()
    }
}

/// Holds the home until it is dropped, or until the process ends in whatever way.
#[derive(Debug)]
pub struct HomeLock {
    pid_file: PathBuf,
    _file: File,
}

impl HomeLock {
    fn take(home: &Home) -> Result<Self, HomeError> {
        let path = home.run_dir().join("server.lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(PRIVATE).open(&path).map_err(HomeError::file(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(home)),
            Err(TryLockError::Error(source)) => return Err(HomeError::File { path, source }),
        }
        if Home::recorded_pid(&home.path).is_some_and(is_python_volttron) {
            return Err(in_use(home));
        }
        let pid_file = home.path.join("VOLTTRON_PID");
        // Left by a server that was killed: until we are ready, nobody shall take the platform for running.
        atomic::remove(&pid_file).map_err(HomeError::file(&pid_file))?;
        Ok(Self { pid_file, _file: file })
    }

    /// Writes `VOLTTRON_PID`: the platform is ready.
    ///
    /// # Errors
    /// [`HomeError::File`].
    pub fn announce(&self) -> Result<(), HomeError> {
        atomic::write(&self.pid_file, std::process::id().to_string().as_bytes(), PUBLIC).map_err(HomeError::file(&self.pid_file))
    }
}

impl Drop for HomeLock {
    fn drop(&mut self) {
        if let Err(error) = atomic::remove(&self.pid_file) {
            tracing::warn!(path = %self.pid_file.display(), %error, "the process id file could not be removed");
        }
    }
}

fn in_use(home: &Home) -> HomeError {
    HomeError::InUse { home: home.path.clone(), pid: Home::recorded_pid(&home.path) }
}

/// VOLTTRON itself takes no lock, and its process id may since have been given to any other program.
fn is_python_volttron(pid: u32) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    let python = fs::read_link(process.join("exe"))
        .is_ok_and(|exe| exe.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python")));
    python && fs::read(process.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains("volttron"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_home_is_closed_to_others_and_has_its_directories() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let (home, _lock) = Home::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(home.run_dir().is_dir() && path.join("agents").is_dir() && path.join("configuration_store").is_dir());
    }

    #[test]
    fn a_second_start_is_refused_until_the_first_ends() {
        let home = tempfile::tempdir().unwrap();
        let (_, lock) = Home::open(home.path()).unwrap();
        assert_eq!(Home::recorded_pid(home.path()), None, "not ready yet");
        lock.announce().unwrap();
        let error = Home::open(home.path()).unwrap_err();
        let expected = format!("already running on {} (process {});", home.path().display(), std::process::id());
        assert!(error.to_string().contains(&expected), "{error}");
        assert_eq!(Home::recorded_pid(home.path()), Some(std::process::id()), "the refused start leaves the file alone");
        drop(lock);
        assert_eq!(Home::recorded_pid(home.path()), None);
        Home::open(home.path()).unwrap();
    }

    #[test]
    fn what_a_killed_server_left_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        for left in ["4194399", "1", "garbage", ""] {
            fs::write(home.path().join("VOLTTRON_PID"), left).unwrap();
            let (_, lock) = Home::open(home.path()).unwrap();
            assert!(!home.path().join("VOLTTRON_PID").exists());
            lock.announce().unwrap();
        }
    }

    #[test]
    fn places_that_cannot_be_a_home_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        fs::write(&file, "").unwrap();
        assert!(matches!(Home::open(&file), Err(HomeError::NotDirectory(_))));
        let error = Home::open(&file.join("below")).unwrap_err();
        assert!(error.to_string().contains("/f/below: "), "{error}");
    }
}
