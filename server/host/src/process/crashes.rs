//! When to start a process again that failed, and when to give up. Pure. Source: agents.md §1.9: at the n-th failure in a row (n = 0..4) a
//! restart is booked n times five minutes later, at the sixth an alert is raised and the count begins anew.
//!
//! Differs from VOLTTRON: a failure is noticed at once and not at the next of the passes that `agent-monitor-frequency` sets apart; that
//! setting is how long an agent must run until its failures are forgotten, where VOLTTRON forgets them at once.

use std::time::Duration;

use super::config::ProcessConfig;

/// Failures in a row.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Crashes {
    restarts: u32,
}

/// What to do after a failure.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start again after this pause.
    RestartAfter(Duration),
    /// Give up.
    GiveUp,
}

impl Crashes {
    /// Notes a failure after `ran` of running.
    pub fn failed(&mut self, ran: Duration, config: &ProcessConfig) -> Verdict {
        if ran >= config.reset_after {
            self.restarts = 0;
        }
        if self.restarts >= config.restarts_max {
            self.restarts = 0;
            return Verdict::GiveUp;
        }
        self.restarts += 1;
        Verdict::RestartAfter(config.restart_step * (self.restarts - 1))
    }

    /// Failures in a row so far.
    pub fn count(&self) -> u32 {
        self.restarts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checklist_14_restarts_are_booked_0_5_10_15_and_20_minutes_later_and_the_sixth_failure_is_the_last() {
        let config = ProcessConfig::new("/vh".into());
        let mut crashes = Crashes::default();
        let short = Duration::from_secs(1);
        let verdicts: Vec<_> = (0..6).map(|_| crashes.failed(short, &config)).collect();
        let minutes = |count: u64| Verdict::RestartAfter(Duration::from_secs(count * 60));
        assert_eq!(verdicts, [minutes(0), minutes(5), minutes(10), minutes(15), minutes(20), Verdict::GiveUp]);
        assert_eq!(crashes.failed(short, &config), minutes(0), "the count begins anew");
    }

    #[test]
    fn a_long_run_starts_the_count_anew() {
        let config = ProcessConfig::new("/vh".into());
        let mut crashes = Crashes { restarts: 4 };
        assert_eq!(crashes.failed(config.reset_after, &config), Verdict::RestartAfter(Duration::ZERO));
        assert_eq!(crashes.count(), 1);
    }
}
