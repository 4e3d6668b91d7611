//! What the operating system says about this process, and what it lets it do. Source: proc(5), getrlimit(2).

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// Open files where the system sets no limit. VOLTTRON's number.
const OPEN_FILES_UNLIMITED: u64 = 8192;

/// Raises the limit on open files as far as the system lets us: devices, browsers and databases share it.
///
/// # Errors
/// The system refuses; the limit stays.
pub fn allow_open_files() -> std::io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = if hard == RLIM_INFINITY { OPEN_FILES_UNLIMITED } else { hard };
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    }
    Ok(())
}

/// Memory and processor time of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessUse {
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Processor time since the start, user and system, seconds.
    pub cpu_s: f64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Threads.
    pub threads: u64,
}

/// Reads it now; zeros where the system does not tell.
pub fn read() -> ProcessUse {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let open_files = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    ProcessUse { open_files, ..parse(&status, &stat) }
}

fn parse(status: &str, stat: &str) -> ProcessUse {
    /// Clock ticks per second; fixed on Linux for user space.
    const TICKS_PER_S: f64 = 100.0;
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    // The second field is the program's name in brackets and may contain blanks.
    let fields: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    ProcessUse {
        resident_bytes: number("VmRSS:").unwrap_or_default() * 1024,
        cpu_s: (ticks(11) + ticks(12)) / TICKS_PER_S,
        open_files: 0,
        threads: number("Threads:").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_understood() {
        let stat = "12 (a b) c) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        let found = parse("VmRSS:\t   2048 kB\nThreads:\t7\n", stat);
        assert_eq!(found, ProcessUse { resident_bytes: 2_097_152, cpu_s: 3.0, open_files: 0, threads: 7 });
        assert!(read().resident_bytes > 0);
    }
}
