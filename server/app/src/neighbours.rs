//! Keeps the links to other platforms in step with `external_platform_discovery.json`, which people, tools and setup mode edit while the
//! platform runs. Source: vip-zmq.md §9.1.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vt_services::Instances;
use vt_storage_files::FilePlatforms;
use vt_transport_zmq::Platforms;

/// How often the file is looked at.
pub const POLL_PERIOD: Duration = Duration::from_secs(1);

/// Keeps step until `stop`. What cannot be understood is told once, where people see it, and changes nothing.
pub async fn follow(files: FilePlatforms, platforms: Arc<Platforms>, instances: Arc<Instances>, stop: CancellationToken) {
    let mut seen = None;
    let mut ticks = tokio::time::interval(POLL_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let stamp = files.stamp().await.map_err(|error| error.to_string());
        if seen.as_ref() == Some(&stamp) {
            continue;
        }
        seen = Some(stamp);
        let problems = match files.load().await {
            Ok(loaded) => {
                let failed = platforms.set(loaded.records);
                let failed = failed.into_iter().map(|(platform, problem)| {
                    format!("the platform {} at {} cannot be linked: {problem}", platform.name, platform.address)
                });
                loaded.warnings.into_iter().map(|warning| format!("external_platform_discovery.json: {warning}")).chain(failed).collect()
            }
            Err(error) => vec![format!("{error}; the links to other platforms stay as they were")],
        };
        for problem in &problems {
            tracing::error!(problem, "something is wrong with the links to other platforms");
        }
        instances.set_problems(problems);
    }
}
