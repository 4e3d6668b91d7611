//! From the start of the process to the ready line and to the first value that a device published.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use vt_testkit::{TestServer, eventually_async};

use crate::{platform, quantile, row};

const STARTS: usize = 7;

pub async fn measure() {
    let mut server = TestServer::demo().await;
    let client = server.administrator().await;
    let platform = platform(&client).await;
    let (mut ready, mut published) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        server.end(nix::sys::signal::Signal::SIGTERM, Duration::from_secs(10)).await;
        let began = SystemTime::now();
        ready.push(server.start_again().await.as_secs_f64() * 1e3);
        let client = client.clone().at(server.url());
        let since = began.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        let path = format!("/vui/platforms/{platform}/historians/platform.historian/topics?read-all=true&order=LAST_TO_FIRST&count=200");
        // The history says when a value was published, however late it is asked.
        let first = eventually_async("a published value in the history", Duration::from_secs(60), async || {
            let answer = client.get(&path).await;
            let all = if answer.status == 200 { answer.json() } else { return None };
            let moments = all.as_object()?.values().filter_map(|entry| entry["value"].as_array()).flatten().filter_map(moment);
            moments.filter(|moment| *moment > since).min_by(f64::total_cmp)
        })
        .await;
        published.push((first - since) * 1e3);
    }
    row("start to ready line, median", quantile(&mut ready, 0.5), "ms", 0.0, "opening the databases, loading keys, starting agents");
    row("start to first published value, median", quantile(&mut published, 0.5), "ms", 300.0, "the same, and the driver's first scrape");
}

/// Seconds since 1970 of a `[time, value]` pair.
fn moment(pair: &Value) -> Option<f64> {
    let text = pair[0].as_str()?;
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    // Days since 1970 in the proleptic Gregorian calendar, years counted from March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    let fraction: f64 = text.get(17..26)?.parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century")]
    let whole = (days * 86_400 + number(11..13)? * 3_600 + number(14..16)? * 60) as f64;
    Some(whole + fraction)
}
