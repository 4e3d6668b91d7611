//! Which other platforms this one is linked to: `external_platform_discovery.json` of the home, `{"<name>": {"vip-address",
//! "instance-name", "serverkey"}}`, edited by people and by tools while the platform runs. Source: vip-zmq.md §9.1.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use vt_transport_zmq::{Platform, Platforms};
use vt_vip::routing_table;

/// How often the file is looked at.
const POLL_PERIOD: Duration = Duration::from_secs(1);
/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Keeps the links in step with the file until `stop`. A file that cannot be understood is told once and changes nothing.
pub async fn follow(home: PathBuf, platforms: Arc<Platforms>, stop: CancellationToken) {
    let path = home.join("external_platform_discovery.json");
    let mut seen = None;
    let mut ticks = tokio::time::interval(POLL_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let stamp = stamp(&path).await;
        if seen.as_ref() == Some(&stamp) {
            continue;
        }
        seen = Some(stamp);
        match read(&path).await {
            Ok(known) => {
                for (platform, problem) in platforms.set(known) {
                    tracing::error!(platform = platform.name, address = platform.address, problem, "a platform cannot be linked");
                }
            }
            Err(problem) => tracing::error!(path = %path.display(), problem, "the links to other platforms stay as they were"),
        }
    }
}

/// Size and time of change; `None` for no file.
async fn stamp(path: &Path) -> Option<(u64, Option<SystemTime>)> {
    let facts = tokio::fs::metadata(path).await.ok()?;
    Some((facts.len(), facts.modified().ok()))
}

async fn read(path: &Path) -> Result<Vec<Platform>, String> {
    match tokio::fs::metadata(path).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Ok(facts) if facts.len() > FILE_BYTES_MAX => return Err(format!("it has more than {FILE_BYTES_MAX} bytes")),
        _ => {}
    }
    let text = tokio::fs::read(path).await.map_err(|error| error.to_string())?;
    parse(&text)
}

fn parse(text: &[u8]) -> Result<Vec<Platform>, String> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    let entries: Map<String, Value> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    entries
        .into_iter()
        .map(|(name, entry)| {
            let entry = routing_table::Platform::decode(entry.to_string().as_bytes()).map_err(|error| format!("{name:?}: {error}"))?;
            Ok(Platform {
                name: entry.name,
                address: entry.vip_address,
                server_key: vt_types::PublicKey::new(*entry.server_key.as_bytes()),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_and_what_is_wrong_is_named() {
        let good = br#"{"p2": {"vip-address": "tcp://h:22916", "instance-name": "p2", "serverkey": "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM"}}"#;
        let platforms = parse(good).unwrap();
        assert_eq!((platforms[0].name.as_str(), platforms[0].address.as_str()), ("p2", "tcp://h:22916"));
        assert_eq!(parse(b" \n"), Ok(Vec::new()));
        assert!(
            parse(br#"{"p2": {"vip-address": "tcp://h:22916", "instance-name": "p2", "serverkey": "short"}}"#).unwrap_err().contains("p2")
        );
        assert!(parse(b"[").is_err());
    }
}
