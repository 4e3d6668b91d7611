//! What the system says of a process or of one thread of it. Source: proc(5).

use std::path::{Path, PathBuf};

/// Clock ticks per second; fixed on Linux for user space.
const TICKS_PER_S: f64 = 100.0;

/// Processor time and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Processor time since the start, user and system, seconds.
    pub cpu_s: f64,
    /// Resident memory, bytes; a thread has none of its own.
    pub memory_bytes: Option<u64>,
}

/// Of an agent's process or, if it is a thread of the server, of that thread; `None` if the system does not tell.
pub fn of_agent(server: u32, pid: u32) -> Option<Usage> {
    let thread = PathBuf::from(format!("/proc/{server}/task/{pid}"));
    if thread.is_dir() {
        return Some(Usage { memory_bytes: None, ..read(&thread)? });
    }
    of_process(pid)
}

/// Of a process.
pub fn of_process(pid: u32) -> Option<Usage> {
    read(Path::new(&format!("/proc/{pid}")))
}

fn read(folder: &Path) -> Option<Usage> {
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    let status = std::fs::read_to_string(folder.join("status")).ok()?;
    parse(&stat, &status)
}

fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The second field is the program's name in brackets and may contain blanks.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let memory_kib: u64 = resident.split_whitespace().next()?.parse().ok()?;
    Some(Usage { cpu_s: (ticks(11)? + ticks(12)?) / TICKS_PER_S, memory_bytes: Some(memory_kib * 1024) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_understood() {
        let stat = "12 (a b) c) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(parse(stat, "VmRSS:\t   2048 kB\n"), Some(Usage { cpu_s: 3.0, memory_bytes: Some(2_097_152) }));
        let own = std::process::id();
        assert!(of_process(own).unwrap().memory_bytes.unwrap() > 0);
        assert_eq!(of_agent(own, own).unwrap().memory_bytes, None, "a thread");
        assert_eq!(of_process(4_194_399), None);
    }
}
