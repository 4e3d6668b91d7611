//! Speed of the bus: deliveries per second from one publisher to one and to ten subscribers, and the latency of a call. Prints one JSON
//! line per row: `{"row", "value", "unit", "target", "limited_by"}`. Run: `cargo bench -p vt-bus`.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench prints its rows, and ends when something is not as it should be")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vt_bus::{Bus, Config, Mailbox, PeerHandle, PeerKind};
use vt_types::{Headers, Identity, Params, RpcRequest, SystemClock, Topic, TopicPrefix};

/// The one of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MESSAGES: u64 = 2_000_000;
const CALLS: usize = 200_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for subscribers in [1, 10] {
            let rate = fan_out(subscribers, false).await;
            row(&format!("pubsub 1->{subscribers}, 10-point all message"), rate, "deliveries/s", 1e6, "wake-ups and queue hand-over");
        }
        let rate = fan_out(1, true).await;
        row("pubsub 1->1, message built anew each time", rate, "deliveries/s", 0.0, "allocating the JSON of 10 points and their metadata");
        let (median, p99) = calls().await;
        row("rpc round trip, median", median, "us", 0.0, "two task switches");
        row("rpc round trip, p99", p99, "us", 50.0, "two task switches, between threads");
    });
}

fn row(name: &str, value: f64, unit: &str, target: f64, limited_by: &str) {
    println!("{}", json!({"row": name, "value": (value * 10.0).round() / 10.0, "unit": unit, "target": target, "limited_by": limited_by}));
}

fn connect(bus: &Bus, name: &str) -> (PeerHandle, Mailbox) {
    bus.connect(Identity::parse(name).expect("an identity"), PeerKind::Agent).expect("room")
}

/// What a driver publishes for a device with ten points.
fn message() -> Value {
    let points: Vec<_> = (0..10).map(|n| format!("Point{n}")).collect();
    let values: Value = points.iter().map(|name| (name.clone(), json!(50.0))).collect::<serde_json::Map<_, _>>().into();
    let meta: Value = points
        .iter()
        .map(|name| (name.clone(), json!({"units": "F", "type": "float", "tz": "US/Pacific"})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!([values, meta])
}

async fn fan_out(subscribers: u64, build: bool) -> f64 {
    let bus = Bus::new(Config::default(), Arc::new(SystemClock));
    let (publisher, _inbox) = connect(&bus, "publisher");
    let topic = Topic::parse("devices/campus/building/unit/all").expect("a topic");
    let rounds = if build { MESSAGES / 10 } else { MESSAGES / subscribers };
    let mut readers = Vec::new();
    for n in 0..subscribers {
        let (peer, mut inbox) = connect(&bus, &format!("subscriber{n}"));
        peer.subscribe(&TopicPrefix::parse("devices/").expect("a prefix")).expect("subscribed");
        readers.push(tokio::spawn(async move {
            let (mut got, mut batch) = (0, Vec::with_capacity(1024));
            while got < rounds {
                got += inbox.publications().recv_many(&mut batch, 1024).await as u64;
                batch.clear();
            }
            drop(peer);
        }));
    }
    let shared = Arc::new(message());
    let start = Instant::now();
    let sender = tokio::spawn(async move {
        for n in 0..rounds {
            let message = if build { Arc::new(message()) } else { Arc::clone(&shared) };
            publisher.publish(&topic, Headers::new().with("Date", "2018-12-19T20:38:00.001684+00:00"), message).expect("published");
            // The bus never waits; a publisher that wants no loss does, here by looking at the fullest queue now and then.
            if n % 64 == 0 {
                while publisher.bus().peer_infos().iter().any(|info| info.queued > info.queue_max / 2) {
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    sender.await.expect("sent");
    let lost = bus.statistics().lost;
    assert_eq!(lost, 0, "a rate that includes losses would not be comparable");
    for reader in readers {
        tokio::time::timeout(Duration::from_secs(60), reader).await.expect("nothing was lost").expect("read");
    }
    (rounds * subscribers) as f64 / start.elapsed().as_secs_f64()
}

async fn calls() -> (f64, f64) {
    let bus = Bus::new(Config::default(), Arc::new(SystemClock));
    let (caller, _inbox) = connect(&bus, "caller");
    let (_callee, mut inbox) = connect(&bus, "callee");
    let answering = tokio::spawn(async move {
        while let Some(call) = inbox.calls().recv().await {
            if let Some(reply) = call.reply {
                reply.send(Ok(call.request.params.args.into_iter().next().unwrap_or_default()));
            }
        }
    });
    let callee = Identity::parse("callee").expect("an identity");
    let calling = tokio::spawn(async move {
        let mut times = Vec::with_capacity(CALLS);
        for n in 0..CALLS {
            let start = Instant::now();
            let pending = caller.call(&callee, RpcRequest::new("echo", Params::positional(vec![json!(n)]))).expect("sent");
            pending.await.expect("answered");
            times.push(start.elapsed());
        }
        times
    });
    let mut times = calling.await.expect("called");
    answering.abort();
    times.sort_unstable();
    let micros = |at: usize| times[at].as_secs_f64() * 1e6;
    (micros(times.len() / 2), micros(times.len() * 99 / 100))
}
