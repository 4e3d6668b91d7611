//! The wish to end, from outside: the first SIGTERM or SIGINT stops in order, the second at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code after a second signal.
const EXIT_PRESSED: i32 = 130;

/// Cancels `stop` at the first signal and ends the process at the second. Runs until the process ends.
///
/// # Errors
/// If the handlers cannot be installed.
pub fn watch(stop: CancellationToken) -> std::io::Result<impl Future<Output = ()> + Send> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        let mut pressed = false;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if pressed {
                std::process::exit(EXIT_PRESSED);
            }
            pressed = true;
            stop.cancel();
        }
    })
}
