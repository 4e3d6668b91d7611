//! Speed of the endpoint with native peers over TCP and CURVE, all in this process and on its cores: messages per second from one publisher
//! to one and to ten subscribers, the latency of a call, also while strangers knock, and 1,000 connected peers. Prints one JSON line per
//! row: `{"row", "value", "unit", "target", "limited_by"}`. Run: `cargo bench -p vt-transport-zmq`.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench prints its rows, and ends when something is not as it should be")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use vt_backends::{Authenticator, ConnectAttempt, Verdict};
use vt_bus::{Bus, PeerKind};
use vt_transport_zmq::{
    Config, Dealer, DealerConfig, DealerEvent, Endpoint, Facts, KeyPair, Listen, Parts, Platforms, Statistics, ZmqChannels,
};
use vt_types::{Identity, Params, PublicKey, RpcRequest, SystemClock, TopicPrefix};
use vt_vip::{Message, pubsub, router, rpc};

/// The one of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MESSAGES: u64 = 300_000;
const CALLS: usize = 20_000;
const PEERS: usize = 1000;
/// Handshakes with keys that nobody knows.
const STRANGERS: u64 = 10_000;
/// What a stranger calls itself.
const STRANGER: &str = "stranger";

/// Strangers whose key has come.
static KNOCKED: AtomicU64 = AtomicU64::new(0);

/// Lets everybody in but strangers, who are left waiting.
struct Everybody;

#[async_trait]
impl Authenticator for Everybody {
    async fn admit(&self, attempt: &ConnectAttempt) -> Verdict {
        let verdict = self.judge(attempt);
        KNOCKED.fetch_add(u64::from(verdict == Verdict::Pending), Relaxed);
        verdict
    }

    fn judge(&self, attempt: &ConnectAttempt) -> Verdict {
        if attempt.identity.as_str().starts_with(STRANGER) {
            return Verdict::Pending;
        }
        Verdict::Admitted { user_id: Arc::from(attempt.identity.as_str()) }
    }

    async fn changed(&self, _: u64) -> u64 {
        std::future::pending().await
    }
}

struct Site {
    bus: Bus,
    address: String,
    key: PublicKey,
    statistics: Arc<Statistics>,
    stop: CancellationToken,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [mode, address, key] = &arguments[..]
        && mode == STRANGER
    {
        return runtime.block_on(knock(address, key));
    }
    // Names of parts, to run only those; cargo adds options of its own.
    let parts: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| *wanted == part);
    runtime.block_on(async {
        if is_wanted("pubsub") {
            for subscribers in [1, 10] {
                fan_out(subscribers).await;
            }
        }
        if is_wanted("calls") {
            let site = site("tcp://127.0.0.1:0", KeyPair::throw_away());
            callee(&site).await;
            let (median, p99) = calls(&mut site.peer("caller").await, CALLS).await;
            row("zmq curve rpc round trip, median", median, "us", 0.0, "four passages of a TCP socket");
            row("zmq curve rpc round trip, p99", p99, "us", 1000.0, "four passages of a TCP socket");
        }
        if is_wanted("strangers") {
            strangers().await;
        }
        if is_wanted("peers") {
            thousand().await;
        }
    });
}

fn row(name: &str, value: f64, unit: &str, target: f64, limited_by: &str) {
    println!("{}", json!({"row": name, "value": (value * 10.0).round() / 10.0, "unit": unit, "target": target, "limited_by": limited_by}));
}

fn site(address: &str, keys: KeyPair) -> Site {
    let bus = Bus::new(vt_bus::Config::default(), Arc::new(SystemClock));
    let endpoint = Endpoint::bind(&[Listen::parse(address).expect("an address")]).expect("bound");
    let address = endpoint.addresses()[0].clone();
    let (statistics, stop, key) = (Arc::new(Statistics::default()), CancellationToken::new(), keys.public);
    let parts = Parts {
        channels: ZmqChannels::default(),
        bus: bus.clone(),
        config: Config { keys: Some(keys.clone()), ..Config::default() },
        facts: Facts { router_id: "bench".into(), ..Facts::default() },
        authenticator: Arc::new(Everybody),
        platforms: Arc::new(Platforms::new(bus.clone(), "bench", keys, Arc::new(SystemClock))),
        statistics: Arc::clone(&statistics),
    };
    tokio::spawn(endpoint.serve(parts, stop.clone()));
    Site { bus, address, key, statistics, stop }
}

impl Site {
    async fn peer(&self, name: &str) -> Dealer {
        let identity = Identity::parse(name).expect("an identity");
        let config = DealerConfig::new(&self.address, Some(self.key), KeyPair::throw_away(), identity);
        let mut dealer = Dealer::connect(config).expect("a dealer");
        dealer.send(router::hello("hello")).await.expect("sent");
        message(&mut dealer, b"hello").await;
        dealer
    }
}

/// The next message of a subsystem.
async fn message(dealer: &mut Dealer, subsystem: &[u8]) -> Message {
    loop {
        match dealer.next().await.expect("a dealer") {
            DealerEvent::Message(message) if message.subsystem == subsystem => return message,
            _ => {}
        }
    }
}

/// What a driver publishes for a device with ten points.
fn body() -> String {
    let values: serde_json::Map<_, _> = (0..10).map(|n| (format!("Point{n}"), json!(50.0))).collect();
    let meta: serde_json::Map<_, _> =
        (0..10).map(|n| (format!("Point{n}"), json!({"units": "F", "type": "float", "tz": "US/Pacific"}))).collect();
    json!([values, meta]).to_string()
}

async fn fan_out(subscribers: u64) {
    let site = site("tcp://127.0.0.1:0", KeyPair::throw_away());
    let rounds = MESSAGES / subscribers;
    let mut readers = Vec::new();
    for n in 0..subscribers {
        let mut peer = site.peer(&format!("subscriber{n}")).await;
        let args = pubsub::subscribe(&[TopicPrefix::parse("devices").expect("a prefix")], "", false);
        peer.send(Message::new(Bytes::new(), "s", b"pubsub", args)).await.expect("sent");
        message(&mut peer, b"pubsub").await;
        readers.push(tokio::spawn(async move {
            for _ in 0..rounds {
                message(&mut peer, b"pubsub").await;
            }
        }));
    }
    let mut publisher = site.peer("publisher").await;
    let args = pubsub::publish(
        &"devices/campus/building/unit/all".into(),
        "",
        br#"{"Date": "2018-12-19T20:38:00.001684+00:00"}"#,
        body().as_bytes(),
    );
    let start = Instant::now();
    // VOLTTRON's publishers wait for the count as well, if not for each one at a time. The count says nothing of how far subscribers are,
    // so a publisher that wants no loss looks at the fullest queue now and then.
    let mut open = 0;
    for n in 0..rounds {
        publisher.send(Message::new(Bytes::new(), format!("p.{n}"), b"pubsub", args.clone())).await.expect("sent");
        open += 1;
        while open >= 1000 {
            message(&mut publisher, b"pubsub").await;
            open -= 1;
        }
        while n % 64 == 0 && site.bus.peer_infos().iter().any(|info| info.queued > info.queue_max / 2) {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
    for reader in readers {
        reader.await.expect("a reader");
    }
    let elapsed = start.elapsed().as_secs_f64();
    assert_eq!(site.bus.statistics().lost, 0, "a rate with losses is none");
    let passed = site.statistics.incoming.load(Relaxed) + site.statistics.outgoing.load(Relaxed);
    site.stop.cancel();
    let name = format!("zmq curve pubsub 1->{subscribers}, 10-point all message, native peers");
    let limit = "sealing and opening each frame of each message twice, on the cores that also run the peers";
    row(&name, (rounds * subscribers) as f64 / elapsed, "deliveries/s", 0.0, limit);
    row(&format!("{name}, in and out of the router"), passed as f64 / elapsed, "messages/s", 100_000.0, limit);
}

/// A peer that answers every call.
async fn callee(site: &Site) {
    let mut callee = site.peer("callee").await;
    tokio::spawn(async move {
        loop {
            let call = message(&mut callee, b"RPC").await;
            let rpc::Decoded::Single(rpc::Document::Request { id: Some(id), .. }) = rpc::decode(&call.args[0]) else { continue };
            let args = vec![rpc::encode_response(&id, &Ok(json!(5)))];
            callee.send(Message::new(call.peer, call.id, b"RPC", args)).await.expect("sent");
        }
    });
}

/// Median and 99th percentile of `count` calls one after the other, microseconds.
async fn calls(caller: &mut Dealer, count: usize) -> (f64, f64) {
    let request = RpcRequest::new("get", Params::positional(vec![json!("devices/a"), json!("T")]));
    let mut times = Vec::with_capacity(count);
    for n in 0..count {
        let id = format!("{n}.call");
        let start = Instant::now();
        let args = vec![rpc::encode_request(Some(&id), &request)];
        caller.send(Message::new("callee", id, b"RPC", args)).await.expect("sent");
        message(caller, b"RPC").await;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 100 - 1].as_secs_f64() * 1e6;
    (at(50), at(99))
}

/// What the others notice of strangers, who come from a process of lowest priority, as if from another machine.
async fn strangers() {
    let site = site("tcp://127.0.0.1:0", KeyPair::throw_away());
    callee(&site).await;
    let mut caller = site.peer("caller").await;
    let (quiet, quiet_p99) = calls(&mut caller, CALLS).await;
    let before = resident_bytes();
    let mut storm = tokio::process::Command::new("nice")
        .args(["-n", "19"])
        .arg(std::env::current_exe().expect("this program"))
        .args([STRANGER, &site.address, &site.key.to_string()])
        .kill_on_drop(true)
        .spawn()
        .expect("the strangers' process");
    let start = Instant::now();
    let (mut medians, mut tails, mut most) = (Vec::new(), Vec::new(), 0.0_f64);
    while KNOCKED.load(Relaxed) < STRANGERS {
        assert!(storm.try_wait().expect("the strangers' process").is_none(), "strangers stay until all have knocked");
        let (median, p99) = calls(&mut caller, 500).await;
        medians.push(median);
        tails.push(p99);
        let held = site.statistics.unproven.load(Relaxed);
        if held > 100 {
            most = most.max(resident_bytes().saturating_sub(before) as f64 / held as f64 / 1024.0);
        }
    }
    let middle = |values: &mut Vec<f64>| {
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let limit = "arithmetic of handshakes, one at a time, on the cores that also run the peers";
    row("zmq strangers' handshakes", STRANGERS as f64 / start.elapsed().as_secs_f64(), "1/s", 0.0, limit);
    row("zmq rpc median while strangers knock, against quiet", middle(&mut medians) / quiet * 100.0, "%", 120.0, limit);
    row("zmq rpc p99 while strangers knock, against quiet", middle(&mut tails) / quiet_p99 * 100.0, "%", 0.0, limit);
    row("zmq memory of a stranger", most, "KiB", 64.0, "state of a handshake and its task");
    site.stop.cancel();
}

/// Comes with a new key each time, is not let in, stays, and comes again when it is closed.
async fn knock(address: &str, key: &str) {
    let key = PublicKey::parse(key).expect("a key");
    let mut strangers = Vec::new();
    for n in 0..STRANGERS {
        let identity = Identity::parse(&format!("{STRANGER}{n}")).expect("an identity");
        let config = DealerConfig::new(address, Some(key), KeyPair::throw_away(), identity);
        strangers.push(Dealer::connect(config).expect("a dealer"));
        // More would wait for the accept queue of the system, and not for the router.
        if n % 100 == 99 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    std::future::pending::<()>().await;
}

async fn thousand() {
    let keys = KeyPair::throw_away();
    let first = site("tcp://127.0.0.1:0", keys.clone());
    let before = resident_bytes();
    let mut peers = Vec::with_capacity(PEERS);
    for n in 0..PEERS {
        peers.push(first.peer(&format!("peer{n}")).await);
    }
    let each = (resident_bytes().saturating_sub(before)) as f64 / PEERS as f64 / 1024.0;
    row("zmq 1,000 peers, memory each, both ends", each, "KiB", 0.0, "buffers of both ends of a connection, in this process");
    let address = first.address.clone();
    first.stop.cancel();
    while first.statistics.connected.load(Relaxed) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(first);
    let start = Instant::now();
    let second = site(&address, keys);
    let mut waiting = tokio::task::JoinSet::new();
    for mut peer in peers {
        waiting.spawn(async move {
            loop {
                match peer.next().await.expect("a dealer") {
                    DealerEvent::Connected => peer.send(router::hello("again")).await.expect("sent"),
                    DealerEvent::Message(message) if message.id == "again" => return peer,
                    _ => {}
                }
            }
        });
    }
    let peers = waiting.join_all().await;
    let served = start.elapsed().as_secs_f64();
    row(
        "zmq 1,000 peers served again after a restart",
        served,
        "s",
        0.0,
        "handshakes, and the pause of up to a second before each attempt",
    );
    let cpu = cpu_s();
    tokio::time::sleep(Duration::from_secs(5)).await;
    row("zmq 1,000 idle peers, CPU, both ends", (cpu_s() - cpu) / 5.0 * 100.0, "% of a core", 0.0, "nothing is sent to an idle peer");
    assert_eq!(second.bus.peers().len(), peers.len());
    assert!(second.bus.connect(Identity::known("control"), PeerKind::Service).is_ok());
    second.stop.cancel();
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a stat");
    let fields: Vec<_> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    // User and system time in hundredths of a second, the 14th and 15th field.
    (fields[11].parse::<f64>().expect("a number") + fields[12].parse::<f64>().expect("a number")) / 100.0
}
