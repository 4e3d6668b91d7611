//! Waiting for a condition with a deadline; the only place of the tests that lets time pass.

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(10);

/// Waits until the condition holds; panics with `what` when the deadline passes first.
pub async fn eventually(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    eventually_async(what, deadline, async || condition().then_some(())).await;
}

/// Waits until the question has an answer, and gives it; panics with `what` when the deadline passes first.
pub async fn eventually_async<T>(what: &str, deadline: Duration, mut question: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(began.elapsed() < deadline, "not within {deadline:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_that_comes_true_ends_the_wait() {
        let mut asked = 0;
        eventually("third time", Duration::from_secs(5), || {
            asked += 1;
            asked == 3
        })
        .await;
        assert_eq!(asked, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "not within 30ms: never")]
    async fn a_condition_that_never_holds_fails() {
        eventually("never", Duration::from_millis(30), || false).await;
    }
}
