//! What the launcher tells becomes events for those who watch, and alerts for those who look later.

use std::sync::Weak;

use vt_backends::{InstalledAgent, LaunchObserver, RunState};
use vt_types::StatusWord;

use super::Inner;

pub struct Observer(pub Weak<Inner>);

impl LaunchObserver for Observer {
    fn on_state(&self, agent: &InstalledAgent, state: &RunState) {
        let Some(inner) = self.0.upgrade() else { return };
        inner.tell(&agent.identity, word(state));
        // VOLTTRON's words are key and beginning of the text.
        let key = format!("Agent {}({}) stopped unexpectedly", agent.name, agent.uuid);
        let text = match state {
            // Told once, not at each attempt.
            RunState::BackingOff { reason, failures: 1, .. } => format!("{key}: {reason}"),
            RunState::Failed { reason, .. } => format!("{key}: {reason}. Attempts to restart failed"),
            _ => return,
        };
        inner.deps.control.send_alert(&key, StatusWord::Bad, text);
    }
}

fn word(state: &RunState) -> &'static str {
    match state {
        RunState::NeverStarted => "never_started",
        RunState::Running { .. } => "running",
        RunState::Stopped { .. } => "stopped",
        RunState::BackingOff { .. } => "backing_off",
        RunState::Failed { .. } => "failed",
    }
}
