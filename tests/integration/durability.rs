//! What was answered OK survives `kill -9`: rounds of concurrent writes, a kill at a random moment, a restart, and a look at every record.
//!
//! Each writer writes down what it sent and what was acknowledged. After the restart every acknowledged record has to be there, once; one that
//! was under way may be there or not, whole. 10 rounds, or 200 with `VT_LONG=1`; `VT_SEED` repeats the moments of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use vt_testkit::{Client, TestServer};

/// Records in one insert into the history.
const BATCH: u32 = 20;
/// Writers of each kind.
const WRITERS: u32 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_survive_kill_9_once() {
    let rounds = if long() { 200 } else { 10 };
    let mut random = random();
    let mut server = TestServer::demo().await;
    let mut client = server.administrator().await;
    let platform = crate::demonstration::platform(&client).await;
    let mut ledger = Ledger::default();
    let mut restarts = Vec::new();

    for round in 1..=rounds {
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            for kind in [Kind::Replaced, Kind::Created, Kind::History] {
                writers.spawn(write(client.clone(), platform.clone(), Writer { kind, round, number }, ledger.last(kind, number)));
            }
        }
        for kind in [Kind::Tag, Kind::Priority] {
            writers.spawn(write(client.clone(), platform.clone(), Writer { kind, round, number: 0 }, ledger.last(kind, 0)));
        }
        // The random moment of the kill is the test's subject, not a wait for something.
        tokio::time::sleep(Duration::from_millis(random.random_range(30..600))).await;
        server.kill().await;
        while let Some(written) = writers.join_next().await {
            ledger.add(written.unwrap());
        }
        restarts.push(server.start_again().await);
        client = client.at(server.url());
        if round % 50 == 0 {
            client.log_in("admin", "correct horse battery").await;
        }
        ledger.check(&client, &platform, Some(round)).await;
    }

    ledger.check(&client, &platform, None).await;
    let acknowledged = ledger.acknowledged();
    assert!(acknowledged.values().all(|count| *count >= rounds / 2), "too little was acknowledged to say anything: {acknowledged:?}");
    restarts.sort();
    println!(
        "{rounds} rounds, acknowledged {acknowledged:?}, restarts {:?} median, {:?} slowest",
        restarts[restarts.len() / 2],
        restarts.last().unwrap()
    );
}

#[tokio::test]
async fn the_first_administrator_is_there_whole_or_not_at_all() {
    let rounds = if long() { 40 } else { 4 };
    let mut random = random();
    for round in 0..rounds {
        let mut server = TestServer::start().await;
        let (client, code) = (server.client(), server.code().unwrap());
        let sending = client.clone();
        let pending = tokio::spawn({
            let code = code.clone();
            async move { sending.try_setup(&code, "admin", "correct horse battery").await.is_ok_and(|answer| answer.status < 400) }
        });
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        server.kill().await;
        let acknowledged = pending.await.unwrap();
        server.start_again().await;
        let mut client = client.at(server.url());
        let body = json!({"username": "admin", "password": "correct horse battery"});
        let there = client.post("/authenticate", &body).await.status == 200;
        assert!(there || !acknowledged, "round {round}: the administrator is lost");
        assert_eq!(server.code().is_none(), there, "round {round}: a code and a user, or neither");
        if !there {
            assert!(client.setup(&code, "admin", "correct horse battery").await.status < 400, "round {round}: the code is lost");
            client.log_in("admin", "correct horse battery").await;
        }
    }
}

#[tokio::test]
async fn a_log_out_is_not_undone_by_kill_9() {
    let mut server = TestServer::start().await;
    let client = server.administrator().await;
    client.with_token(Some(&client.tokens().refresh)).delete("/authenticate").await.expect(204);
    server.kill().await;
    server.start_again().await;
    let client = client.at(server.url());
    client.with_token(Some(&client.tokens().refresh)).put("/authenticate", &json!({})).await.expect(401);
}

#[tokio::test]
async fn a_session_outlives_a_restart() {
    let mut server = TestServer::start().await;
    let client = server.administrator().await;
    server.kill().await;
    server.start_again().await;
    client.at(server.url()).get("/vui").await.expect(200);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// One entry of the config store, replaced again and again.
    Replaced,
    /// A new entry each time.
    Created,
    /// Batches inserted into the historian.
    History,
    /// The tag of an agent.
    Tag,
    /// The start priority of an agent.
    Priority,
}

#[derive(Debug, Clone, Copy)]
struct Writer {
    kind: Kind,
    round: u32,
    number: u32,
}

/// What one writer did in one round: numbers rise by one; the last sent one may be unacknowledged.
#[derive(Debug)]
struct Written {
    writer: Writer,
    first: u32,
    sent: u32,
    acknowledged: u32,
}

async fn write(client: Client, platform: String, writer: Writer, last: u32) -> Written {
    let first = if matches!(writer.kind, Kind::Created | Kind::History) { 1 } else { last + 1 };
    let mut written = Written { writer, first, sent: first - 1, acknowledged: first - 1 };
    loop {
        let number = written.sent + 1;
        let request = request(&client, &platform, writer, number);
        written.sent = number;
        match client.try_send(request).await {
            Ok(answer) if answer.status < 300 => written.acknowledged = number,
            Ok(answer) => panic!("{writer:?} {number}: {answer:?}"),
            Err(_) => return written,
        }
    }
}

fn request(client: &Client, platform: &str, writer: Writer, number: u32) -> RequestBuilder {
    let Writer { kind, round, number: who } = writer;
    let agents = format!("/vui/platforms/{platform}/agents");
    match kind {
        Kind::Replaced => client.request(Method::PUT, &format!("{agents}/durable.agent/configs/counter-{who}")).json(&json!({"n": number})),
        Kind::Created => client
            .request(Method::POST, &format!("{agents}/durable.agent/configs?config-name=r{round}/w{who}/{number}"))
            .json(&json!({"n": number})),
        Kind::Tag => client.request(Method::PUT, &format!("{agents}/platform.actuator/tag")).json(&json!({"tag": format!("t{number}")})),
        Kind::Priority => client.request(Method::PUT, &format!("{agents}/platform.actuator/enabled?priority={}", number % 100)),
        Kind::History => {
            let records: Vec<Value> = (0..BATCH)
                .map(|index| {
                    let value = number * BATCH + index;
                    json!({"topic": format!("record/{}", history_topic(round, who)), "headers": {"Date": moment(value), "TimeStamp": moment(value)}, "message": value})
                })
                .collect();
            client.request(Method::POST, &format!("{agents}/platform.historian/rpc/insert")).json(&json!([records]))
        }
    }
}

fn history_topic(round: u32, writer: u32) -> String {
    format!("durable/r{round}/w{writer}")
}

/// A time of its own for every value.
fn moment(value: u32) -> String {
    let (seconds, milliseconds) = (value / 1_000, value % 1_000);
    format!("2026-01-01T{:02}:{:02}:{:02}.{milliseconds:03}000+00:00", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[derive(Debug, Default)]
struct Ledger {
    written: Vec<Written>,
}

impl Ledger {
    fn add(&mut self, written: Written) {
        self.written.push(written);
    }

    /// The last number that a writer of replaced things sent in earlier rounds.
    fn last(&self, kind: Kind, number: u32) -> u32 {
        self.written
            .iter()
            .rev()
            .find(|written| written.writer.kind == kind && written.writer.number == number)
            .map_or(0, |written| written.sent)
    }

    fn acknowledged(&self) -> BTreeMap<Kind, u32> {
        let mut counts = BTreeMap::new();
        for written in &self.written {
            *counts.entry(written.writer.kind).or_default() += written.acknowledged + 1 - written.first;
        }
        counts
    }

    /// Looks at everything of one round, or of all rounds.
    async fn check(&self, client: &Client, platform: &str, round: Option<u32>) {
        let agents = format!("/vui/platforms/{platform}/agents");
        let names = client.get(&format!("{agents}/durable.agent/configs")).await.expect(200).json();
        let names: Vec<&String> = names["links"].as_object().unwrap().keys().collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "an entry is there twice");
        let newest = self.written.iter().map(|written| written.writer.round).max();

        for written in self.written.iter().filter(|written| round.is_none_or(|round| written.writer.round == round)) {
            let Writer { kind, round, number: who } = written.writer;
            // Of what is replaced, only the newest round can still be seen.
            let current = Some(round) == newest;
            match kind {
                Kind::Created => {
                    for number in written.first..=written.acknowledged {
                        let name = format!("r{round}/w{who}/{number}");
                        assert!(names.contains(&&name), "{name} is lost; {written:?}");
                    }
                }
                Kind::History => written.check_history(client, platform).await,
                Kind::Replaced if current && written.acknowledged >= written.first => {
                    let text = client.get(&format!("{agents}/durable.agent/configs/counter-{who}")).await.expect(200).json();
                    let stored: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
                    written.check_number(u32::try_from(stored["n"].as_u64().unwrap()).unwrap());
                }
                Kind::Tag if current && written.acknowledged >= written.first => {
                    let tag = client.get(&format!("{agents}/platform.actuator/tag")).await.expect(200).json();
                    written.check_number(tag["tag"].as_str().unwrap().trim_start_matches('t').parse().unwrap());
                }
                Kind::Priority if current && written.acknowledged >= written.first => {
                    let enabled = client.get(&format!("{agents}/platform.actuator/enabled")).await.expect(200).json();
                    let stored: u32 = enabled["priority"].to_string().trim_matches('"').parse().unwrap();
                    let fits = [written.acknowledged, written.sent].iter().any(|number| number % 100 == stored);
                    assert!(fits, "priority {stored}, but {written:?}");
                }
                Kind::Replaced | Kind::Tag | Kind::Priority => {}
            }
        }
    }
}

impl Written {
    fn check_number(&self, stored: u32) {
        assert!(stored == self.acknowledged || stored == self.sent, "{stored} is stored, but {self:?}");
    }

    async fn check_history(&self, client: &Client, platform: &str) {
        let topic = history_topic(self.writer.round, self.writer.number);
        if self.acknowledged < self.first {
            return;
        }
        let path = format!("/vui/platforms/{platform}/historians/platform.historian/topics/record/{topic}?count=1000000");
        let plain = format!("/vui/platforms/{platform}/historians/platform.historian/topics/{topic}?count=1000000");
        let mut answer = client.get(&path).await;
        if answer.status == 400 {
            answer = client.get(&plain).await;
        }
        let series = answer.expect(200).json();
        let (_, entry) = series.as_object().unwrap().iter().next().unwrap();
        let mut seen: BTreeMap<u32, u32> = BTreeMap::new();
        for pair in entry["value"].as_array().unwrap() {
            let value = u32::try_from(pair[1].as_u64().unwrap()).unwrap();
            assert!(pair[0].as_str().unwrap().starts_with(&moment(value)[..23]), "{pair}");
            *seen.entry(value).or_default() += 1;
        }
        let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "{topic}: there more than once: {twice:?}");
        let wanted = self.first * BATCH..(self.acknowledged + 1) * BATCH;
        let lost: Vec<u32> = wanted.filter(|value| !seen.contains_key(value)).collect();
        assert!(lost.is_empty(), "{topic}: lost {lost:?} of {self:?}");
    }
}

fn long() -> bool {
    std::env::var_os("VT_LONG").is_some_and(|value| value != "0" && !value.is_empty())
}

fn random() -> StdRng {
    let seed = std::env::var("VT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| rand::rng().random());
    println!("VT_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
