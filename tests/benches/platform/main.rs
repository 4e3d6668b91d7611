//! Speed of the whole platform, measured from outside on the release binary: start, memory, REST, websocket viewers, Python clients,
//! many devices. Prints one JSON line per row: `{"row", "value", "unit", "target", "limited_by"}`. The clients run on the same
//! cores as the server, which every row says.
//! Run: `make bench`, or `tests/support/bench.sh rest` for one of the parts.
#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its rows, and ends when something is not as it should be"
)]

mod devices;
mod memory;
mod process;
mod python;
mod rest;
mod start;
mod viewers;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;

fn main() {
    // A thousand sockets need more than the usual 1,024 files, here and in the servers started from here.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let runs = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if runs("start") {
            start::measure().await;
        }
        if runs("memory") {
            memory::measure().await;
        }
        if runs("rest") {
            rest::measure().await;
        }
        if runs("viewers") {
            viewers::measure().await;
        }
        if runs("python") {
            python::measure().await;
        }
        if runs("devices") {
            devices::measure().await;
        }
    });
}

/// Prints one row; a target of 0 is none.
fn row(name: &str, value: f64, unit: &str, target: f64, limited_by: &str) {
    println!(
        "{}",
        json!({"row": name, "value": (value * 100.0).round() / 100.0, "unit": unit, "target": target, "limited_by": limited_by})
    );
}

/// The value at a fraction of the sorted list.
fn quantile(sorted: &mut [f64], fraction: f64) -> f64 {
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index between 0 and the length")]
    let index = (sorted.len() as f64 * fraction) as usize;
    sorted[index.min(sorted.len() - 1)]
}

/// The name of the only platform.
async fn platform(client: &vt_testkit::Client) -> String {
    let platforms = client.get("/vui/platforms").await.expect(200).json();
    platforms["links"].as_object().unwrap().keys().next().unwrap().clone()
}
