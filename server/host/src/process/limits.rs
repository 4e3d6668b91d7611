//! What an agent may use of the machine. Where the platform's control group (version 2) is delegated to it, each agent gets one of its own
//! with bounds on memory, processor and processes; elsewhere the kernel's limits per process bound memory and open files, and a share of
//! the processor cannot be held, nor a number of processes unless the agent has a user of its own. Source: cgroup-v2.rst of the Linux kernel, setrlimit(2), agents.md §1.10.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use serde_json::Value;

use super::spawn::Harness;

/// Length of the window in which processor time is shared out, microseconds.
const CPU_PERIOD_US: u64 = 100_000;
/// Largest `execreqs.json`, bytes.
const REQUIREMENTS_BYTES_MAX: u64 = 1 << 20;

/// Bounds of one agent; `None` for no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory, bytes.
    pub memory_bytes: Option<u64>,
    /// Processor time, percent of one processor.
    pub cpu_percent: Option<u64>,
    /// Open files.
    pub open_files: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
}

impl Limits {
    /// Whether a control group would hold any of them.
    fn want_group(&self) -> bool {
        self.memory_bytes.is_some() || self.cpu_percent.is_some() || self.processes.is_some()
    }

    /// These bounds, or those that the package's `execreqs.json` in `information` asks for where they are lower.
    ///
    /// # Errors
    /// If this machine does not have what the package says it cannot do without.
    pub fn of_package(self, information: &Path) -> Result<Self, String> {
        let path = information.join("execreqs.json");
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(self),
            Ok(metadata) if metadata.len() > REQUIREMENTS_BYTES_MAX => return Err(format!("{} is too large", path.display())),
            Ok(_) | Err(_) => {}
        }
        let text =
            fs::read_to_string(&path).map_err(|error| format!("error reading execution requirements: {}: {error}", path.display()))?;
        let requirements: Value =
            serde_json::from_str(&text).map_err(|error| format!("error reading execution requirements: {}: {error}", path.display()))?;
        let unmet = unmet(&requirements["hard_requirements"]);
        if !unmet.is_empty() {
            return Err(format!("hard resource requirements not met: {}", unmet.join(", ")));
        }
        let memory = requirements["requirements"]["memory.soft_limit_in_bytes"].as_u64();
        let memory_bytes = [self.memory_bytes, memory].into_iter().flatten().min();
        Ok(Self { memory_bytes, ..self })
    }

    /// Limits of the kernel per user, for an agent that has a user of its own.
    pub(super) fn of_user(&self, has_user: bool) -> Option<(Resource, u64)> {
        self.processes.filter(|_| has_user).map(|processes| (Resource::RLIMIT_NPROC, processes))
    }

    /// Limits of the kernel per process. Memory is counted as data, since Python maps far more than it uses.
    fn of_process(&self, group_holds: bool) -> Vec<(Resource, u64)> {
        let mut wanted = Vec::new();
        if !group_holds && let Some(bytes) = self.memory_bytes {
            wanted.push((Resource::RLIMIT_DATA, bytes));
        }
        if let Some(files) = self.open_files {
            wanted.push((Resource::RLIMIT_NOFILE, files));
        }
        // Nobody but root may go beyond what holds now.
        wanted.into_iter().map(|(resource, limit)| (resource, getrlimit(resource).map_or(limit, |(_, hard)| limit.min(hard)))).collect()
    }
}

/// Requirements that this machine does not meet, each with what there is.
fn unmet(requirements: &Value) -> Vec<String> {
    let kernel = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default().trim().to_owned();
    let memory = || {
        let information = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let line = information.lines().find_map(|line| line.strip_prefix("MemTotal:").map(str::to_owned)).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() * 1024
    };
    let mut unmet = Vec::new();
    for (name, wanted) in requirements.as_object().into_iter().flatten() {
        let available = match name.as_str() {
            "kernel.name" => kernel("ostype"),
            "kernel.release" => kernel("osrelease"),
            "kernel.version" => kernel("version"),
            "architecture" => std::env::consts::ARCH.to_owned(),
            "memory.total" => {
                let total = memory();
                if wanted.as_u64().is_none_or(|wanted| wanted > total) {
                    unmet.push(format!("{name}: {wanted} ({total})"));
                }
                continue;
            }
            _ => {
                tracing::warn!(requirement = name, "a requirement of a package is not known here and taken as met");
                continue;
            }
        };
        if wanted.as_str() != Some(available.as_str()) {
            unmet.push(format!("{name}: {wanted} ({available})"));
        }
    }
    unmet
}

/// The platform's control group, if it is delegated.
#[derive(Debug, Clone)]
pub struct Groups {
    own: Option<PathBuf>,
}

impl Groups {
    /// Looks below `root` (`/sys/fs/cgroup`) for the group that `membership` (`/proc/self/cgroup`) names, and prepares it for subgroups:
    /// a group with subgroups must not hold processes itself, so the platform moves into one of them.
    pub fn prepare(root: &Path, membership: &str, limits: &Limits) -> Self {
        if !limits.want_group() {
            return Self { own: None };
        }
        let name = membership.lines().find_map(|line| line.strip_prefix("0::/"));
        let prepared = name.ok_or_else(|| io::Error::other("no control groups of version 2")).and_then(|name| {
            let own = root.join(name);
            let controllers = fs::read_to_string(own.join("cgroup.controllers"))?;
            if !["memory", "cpu", "pids"].iter().all(|wanted| controllers.split_whitespace().any(|found| found == *wanted)) {
                return Err(io::Error::other("memory, cpu and pids are not all delegated"));
            }
            let platform = own.join("platform");
            make_directory(&platform)?;
            fs::write(platform.join("cgroup.procs"), std::process::id().to_string())?;
            fs::write(own.join("cgroup.subtree_control"), "+memory +cpu +pids")?;
            Ok(own)
        });
        match prepared {
            Ok(own) => Self { own: Some(own) },
            Err(error) => {
                tracing::warn!(%error, "agents get no control groups of their own: memory and open files are limited per process, processor time and the number of processes are not");
                Self { own: None }
            }
        }
    }

    /// What the agent `name` gets before it begins.
    pub fn harness(&self, name: &str, limits: &Limits) -> io::Result<Harness> {
        let Some(own) = self.own.as_ref().filter(|_| limits.want_group()) else {
            return Ok(Harness { limits: limits.of_process(false), ..Harness::default() });
        };
        let path = own.join(format!("agent-{name}"));
        make_directory(&path)?;
        let max = |value: Option<u64>| value.map_or_else(|| "max".to_owned(), |value| value.to_string());
        fs::write(path.join("memory.max"), max(limits.memory_bytes))?;
        fs::write(path.join("pids.max"), max(limits.processes))?;
        let quota = max(limits.cpu_percent.map(|percent| percent * CPU_PERIOD_US / 100));
        fs::write(path.join("cpu.max"), format!("{quota} {CPU_PERIOD_US}"))?;
        let group: File = OpenOptions::new().write(true).create(true).truncate(false).open(path.join("cgroup.procs"))?;
        Ok(Harness { limits: limits.of_process(true), group: Some(group), user: None })
    }

    /// Ends whatever is left in the agent's group, and the group.
    pub fn end(&self, name: &str) {
        let Some(own) = &self.own else { return };
        let path = own.join(format!("agent-{name}"));
        if path.is_dir() {
            // Kernels before 5.14 have no such file; the process group was killed before.
            drop(fs::write(path.join("cgroup.kill"), "1"));
            if let Err(error) = fs::remove_dir(&path) {
                tracing::debug!(path = %path.display(), %error, "a control group stays until its last process has ended");
            }
        }
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LIMITS: Limits = Limits { memory_bytes: Some(1 << 30), cpu_percent: Some(50), open_files: None, processes: Some(32) };

    #[test]
    fn a_delegated_group_gets_a_subgroup_with_the_bounds() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("system.slice/volttron.service");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("cgroup.controllers"), "cpu io memory pids\n").unwrap();
        let groups = Groups::prepare(root.path(), "1:x:/\n0::/system.slice/volttron.service\n", &LIMITS);
        let read = |name: &str| fs::read_to_string(own.join(name)).unwrap();
        assert_eq!(read("platform/cgroup.procs"), std::process::id().to_string());
        assert_eq!(read("cgroup.subtree_control"), "+memory +cpu +pids");
        let harness = groups.harness("u", &LIMITS).unwrap();
        assert!(harness.group.is_some() && harness.limits.is_empty());
        assert_eq!(
            (read("agent-u/memory.max"), read("agent-u/cpu.max"), read("agent-u/pids.max")),
            ("1073741824".into(), "50000 100000".into(), "32".into())
        );
        let unlimited = groups.harness("v", &Limits::default()).unwrap();
        assert!(unlimited.group.is_none() && unlimited.limits.is_empty());
        groups.end("u");
        assert_eq!(read("agent-u/cgroup.kill"), "1");
    }

    #[test]
    fn without_delegation_the_kernels_limits_hold_what_they_can() {
        let root = tempfile::tempdir().unwrap();
        let limits = Limits { open_files: Some(64), ..LIMITS };
        for membership in ["", "0::/\n", "0::/missing\n"] {
            let groups = Groups::prepare(root.path(), membership, &limits);
            let harness = groups.harness("u", &limits).unwrap();
            assert!(harness.group.is_none());
            assert_eq!(harness.limits, [(Resource::RLIMIT_DATA, 1 << 30), (Resource::RLIMIT_NOFILE, 64)]);
        }
    }

    #[test]
    fn a_package_may_ask_for_less_and_may_refuse_the_machine() {
        let information = tempfile::tempdir().unwrap();
        let write = |value: Value| fs::write(information.path().join("execreqs.json"), value.to_string()).unwrap();
        assert_eq!(LIMITS.of_package(information.path()), Ok(LIMITS));
        write(
            json!({"requirements": {"memory.soft_limit_in_bytes": 1000}, "hard_requirements": {"kernel.name": "Linux", "memory.total": 1}}),
        );
        assert_eq!(LIMITS.of_package(information.path()), Ok(Limits { memory_bytes: Some(1000), ..LIMITS }));
        write(json!({"hard_requirements": {"kernel.name": "Plan9", "memory.total": u64::MAX}}));
        let refused = LIMITS.of_package(information.path()).unwrap_err();
        assert!(refused.starts_with("hard resource requirements not met: kernel.name: \"Plan9\" (Linux)"), "{refused}");
        assert!(refused.contains("memory.total"), "{refused}");
        fs::write(information.path().join("execreqs.json"), "{").unwrap();
        assert!(LIMITS.of_package(information.path()).unwrap_err().contains("execreqs.json"));
    }
}
