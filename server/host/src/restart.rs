//! When to start a failed agent again, and when to give up. Pure: time and randomness come in as arguments.

use std::time::Duration;

use crate::HostConfig;

/// Jitter never lengthens or shortens a pause by more than this part of it.
const JITTER: f64 = 0.1;

/// What the supervisor remembers of an agent's failures.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct FailureRecord {
    /// Failures in a row.
    pub failures: u32,
    /// Threads of earlier runs that still hang.
    pub abandoned: u32,
}

/// What to do after a failure.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start again after this pause.
    RestartAfter(Duration),
    /// Give up.
    GiveUp,
}

impl FailureRecord {
    /// Notes a failure after `ran` of running. `random` is from 0 (inclusive) to 1.
    pub fn failed(&mut self, ran: Duration, config: &HostConfig, random: f64) -> Verdict {
        if ran >= config.backoff_reset_after {
            self.failures = 0;
        }
        self.failures += 1;
        if self.failures >= config.failures_max || self.abandoned >= config.abandoned_max {
            return Verdict::GiveUp;
        }
        Verdict::RestartAfter(pause(self.failures, config).mul_f64(1.0 + JITTER * (2.0 * random - 1.0)))
    }
}

fn pause(failures: u32, config: &HostConfig) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    config.backoff_first.saturating_mul(1 << doublings).min(config.backoff_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(5);

    #[test]
    fn pauses_double_up_to_the_limit_and_then_the_supervisor_gives_up() {
        let config = HostConfig::default();
        let mut record = FailureRecord::default();
        let pauses: Vec<_> = (0..9).map(|_| record.failed(SHORT, &config, 0.5)).collect();
        let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256].map(|s| Verdict::RestartAfter(Duration::from_secs(s)));
        assert_eq!(pauses, expected);
        assert_eq!(record.failed(SHORT, &config, 0.5), Verdict::GiveUp);
    }

    #[test]
    fn the_pause_never_exceeds_its_limit_however_many_failures() {
        let config = HostConfig { failures_max: u32::MAX, ..HostConfig::default() };
        let mut record = FailureRecord { failures: 4_000_000, abandoned: 0 };
        assert_eq!(record.failed(SHORT, &config, 0.5), Verdict::RestartAfter(Duration::from_secs(300)));
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let config = HostConfig::default();
        for (random, expected_ms) in [(0.0, 900), (0.5, 1000), (1.0, 1100)] {
            let verdict = FailureRecord::default().failed(SHORT, &config, random);
            assert_eq!(verdict, Verdict::RestartAfter(Duration::from_millis(expected_ms)));
        }
    }

    #[test]
    fn a_long_run_starts_the_count_anew() {
        let config = HostConfig::default();
        let mut record = FailureRecord { failures: 9, abandoned: 0 };
        assert_eq!(record.failed(Duration::from_secs(600), &config, 0.5), Verdict::RestartAfter(Duration::from_secs(1)));
        assert_eq!(record.failures, 1);
    }

    #[test]
    fn too_many_hanging_threads_end_it_at_once() {
        let mut record = FailureRecord { failures: 0, abandoned: 3 };
        assert_eq!(record.failed(SHORT, &HostConfig::default(), 0.5), Verdict::GiveUp);
    }
}
