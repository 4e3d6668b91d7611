//! A sample as lines of text.

use crate::output::printable;

use super::sample::{Row, Sample};

/// The lines: two of the platform, a header, one per row.
pub fn lines(sample: &Sample) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{} up {}, process {}, CPU {} %, memory {}, {} of {} agents run, {} peers",
            printable(&sample.instance_name),
            duration(sample.uptime_s),
            sample.pid,
            percent(sample.cpu_percent),
            bytes(sample.memory_bytes),
            sample.agents_running,
            sample.agents_installed,
            sample.peers
        ),
        format!(
            "messages/s {:.1}, delivered/s {:.1}, calls/s {:.1}, lost {}, calls failed {}",
            sample.published_per_s, sample.delivered_per_s, sample.calls_per_s, sample.lost, sample.calls_failed
        ),
        String::new(),
    ];
    let width = sample.rows.iter().map(|row| row.identity.chars().count()).max().unwrap_or(0).clamp(8, 40);
    lines.push(format!(
        "{:width$} {:8} {:13} {:>7} {:>6} {:>8} {:>9} {:>9} {:>7} {:>11} {:>8} HEALTH",
        "IDENTITY", "KIND", "STATE", "PID", "CPU%", "MEMORY", "MSG/S", "IN/S", "LOST", "QUEUE", "BACKLOG"
    ));
    lines.extend(sample.rows.iter().map(|row| row_line(row, width)));
    lines
}

/// What the screen says while nobody answers.
pub fn without_answer(problem: &str) -> Vec<String> {
    vec![printable(problem), "Looking again; q ends.".to_owned()]
}

fn row_line(row: &Row, width: usize) -> String {
    let identity: String = printable(&row.identity).chars().take(width).collect();
    let queue = if row.queue_max == 0 { "-".to_owned() } else { format!("{}/{}", row.queued, row.queue_max) };
    let or_dash = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let line = format!(
        "{identity:width$} {:8} {:13} {:>7} {:>6} {:>8} {:>9.1} {:>9.1} {:>7} {queue:>11} {:>8} {}",
        row.kind,
        row.state,
        or_dash(row.pid.map(u64::from)),
        percent(row.cpu_percent),
        bytes(row.memory_bytes),
        row.published_per_s,
        row.delivered_per_s,
        row.lost,
        or_dash(row.backlog),
        printable(&row.health),
    );
    line.trim_end().to_owned()
}

fn percent(percent: Option<f64>) -> String {
    percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1}"))
}

fn bytes(bytes: Option<u64>) -> String {
    match bytes {
        None => "-".to_owned(),
        Some(bytes) if bytes >= 10 << 30 => format!("{} GiB", bytes >> 30),
        Some(bytes) => format!("{} MiB", bytes >> 20),
    }
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min {} s", seconds % 60),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_short() {
        assert_eq!((duration(61), duration(3_700), duration(90_000)), ("1 min 1 s".into(), "1 h 1 min".into(), "1 d 1 h".into()));
        assert_eq!((bytes(None), bytes(Some(3 << 20)), bytes(Some(20 << 30))), ("-".into(), "3 MiB".into(), "20 GiB".into()));
    }
}
